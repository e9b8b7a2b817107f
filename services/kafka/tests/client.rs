//! The client against a listener with a small broker in memory: routing, retries, typed errors.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod broker;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::{Oddity, Running};
use bytes::Bytes;
use esker_env::{Clock, Env, SystemClock, TaskGroup};
use esker_kafka::KafkaError;
use esker_kafka::client::{
    Client, ClientError, FetchOptions, Isolation, NewTopic, OffsetQuery, OffsetToCommit, Target,
};
use esker_kafka::messages::{AlterClientQuotasRequest, ListGroupsRequest};
use esker_types::{MonotonicTime, Timestamp};
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const TOPIC: NewTopic<'_> = NewTopic {
    name: "orders",
    partitions: Some(2),
    replication_factor: None,
    configs: &[("retention.ms", "1000")],
};

async fn client_of(running: &Running) -> Client {
    Client::connect(&running.address.to_string(), "test", Env::system())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_batch_is_produced_fetched_and_listed() {
    let running = broker::start().await;
    let client = client_of(&running).await;
    let batch = Bytes::from_static(b"not looked into by the client");

    let created = client.create_topic(&TOPIC).await.unwrap();
    let first = client.produce("orders", 1, batch.clone()).await.unwrap();
    let second = client.produce("orders", 1, batch.clone()).await.unwrap();
    let fetched = client
        .fetch("orders", 1, 1, FetchOptions::default())
        .await
        .unwrap();
    let isolation = Isolation::ReadUncommitted;
    let latest = client
        .list_offset("orders", 1, OffsetQuery::Latest, isolation)
        .await
        .unwrap();

    assert_eq!(created.partitions, 2);
    assert_eq!((first.base_offset, second.base_offset), (0, 1));
    assert_eq!((fetched.high_watermark, &fetched.records), (2, &batch));
    assert_eq!(latest.offset, 2);
    client.delete_topic("orders").await.unwrap();
    let gone = client.metadata(None).await.unwrap();
    assert!(gone.topics.is_empty());
}

#[tokio::test]
async fn an_answer_that_lacks_the_partition_and_an_unknown_code_are_told_apart() {
    let running = broker::start().await;
    let client = client_of(&running).await;
    client.create_topic(&TOPIC).await.unwrap();
    let produce = || client.produce("orders", 0, Bytes::from_static(b"x"));

    running.broker.answer_oddly(Oddity::Empty);
    let empty = produce().await;
    running.broker.answer_oddly(Oddity::Code(9999));
    let unknown = produce().await;

    assert!(matches!(empty, Err(ClientError::Incomplete { .. })));
    assert!(matches!(
        unknown,
        Err(ClientError::UnknownCode { code: 9999, .. })
    ));
}

#[tokio::test]
async fn a_stale_leader_is_asked_for_again() {
    let running = broker::start().await;
    let client = client_of(&running).await;
    client.create_topic(&TOPIC).await.unwrap();
    running
        .broker
        .refuse_next(KafkaError::NotLeaderOrFollower, 2);

    let produced = client.produce("orders", 0, Bytes::from_static(b"x")).await;

    assert_eq!(produced.unwrap().base_offset, 0);
}

#[tokio::test]
async fn an_unknown_outcome_of_a_produce_is_not_tried_again() {
    let running = broker::start().await;
    let client = client_of(&running).await;
    client.create_topic(&TOPIC).await.unwrap();
    running.broker.refuse_next(KafkaError::RequestTimedOut, 1);

    let produced = client.produce("orders", 0, Bytes::from_static(b"x")).await;

    assert_eq!(
        produced.unwrap_err().code(),
        Some(KafkaError::RequestTimedOut)
    );
    let again = client.produce("orders", 0, Bytes::from_static(b"x")).await;
    assert_eq!(again.unwrap().base_offset, 0);
}

#[tokio::test]
async fn offsets_of_a_group_come_back_and_groups_are_listed_and_described() {
    let running = broker::start().await;
    let client = client_of(&running).await;
    let commit = OffsetToCommit {
        topic: "orders",
        partition: 1,
        offset: 7,
    };

    client.offset_commit("readers", &[commit]).await.unwrap();
    let one = client
        .offset_fetch("readers", Some(&[("orders", 1), ("orders", 0)]))
        .await
        .unwrap();
    let all = client.offset_fetch("readers", None).await.unwrap();
    let groups = client.list_groups().await.unwrap();
    let described = client.describe_group("readers").await.unwrap();

    assert_eq!(
        one.iter().map(|found| found.offset).collect::<Vec<_>>(),
        [Some(7), None]
    );
    assert_eq!(all.len(), 1);
    assert_eq!(groups.len(), 1);
    assert_eq!(described.group_id, groups[0].group_id);
}

#[tokio::test]
async fn a_refusal_of_the_cluster_is_typed() {
    let running = broker::start().await;
    let client = client_of(&running).await;
    client.create_topic(&TOPIC).await.unwrap();

    let twice = client.create_topic(&TOPIC).await.unwrap_err();
    let beyond = client
        .fetch("orders", 0, 99, FetchOptions::default())
        .await
        .unwrap_err();
    let unsupported = client
        .request(Target::Any, &AlterClientQuotasRequest::default())
        .await;
    let unknown = client
        .request(Target::Node(99), &ListGroupsRequest::default())
        .await;

    assert!(matches!(twice, ClientError::Kafka { .. }));
    assert_eq!(twice.code(), Some(KafkaError::TopicAlreadyExists));
    assert_eq!(beyond.code(), Some(KafkaError::OffsetOutOfRange));
    assert!(matches!(
        unsupported,
        Err(ClientError::Unsupported { theirs: None, .. })
    ));
    assert!(matches!(
        unknown,
        Err(ClientError::UnknownBroker { node: 99 })
    ));
}

#[tokio::test]
async fn a_kept_connection_that_the_broker_closed_is_replaced() {
    let mut running = broker::start().await;
    let client = client_of(&running).await;

    let address = running.address;
    running.stop().await;
    let running = broker::start_at(address).await;
    let metadata = client.metadata(None).await;

    assert!(metadata.is_ok(), "{metadata:?}");
    drop(running);
}

#[tokio::test]
async fn nobody_listening_is_unreachable_and_names_the_address() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);

    let failed = Client::connect(&address.to_string(), "test", Env::system()).await;

    let Err(ClientError::Unreachable { address: named, .. }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(named.to_string(), address.to_string());
}

#[tokio::test]
async fn a_client_keeps_its_limit_of_idle_connections_and_not_one_more() {
    let running = broker::start().await;
    let client = client_of(&running).await;
    let most = esker_kafka::limits::CLIENT_IDLE_SOCKETS_MAX;

    let request = ListGroupsRequest::default();
    let asked = (0..=most).map(|_| client.request(Target::Node(1), &request));
    let answers = futures::future::join_all(asked).await;
    let open = u64::try_from(most).unwrap();
    while running.metrics.connections_open() > open {
        tokio::task::yield_now().await;
    }

    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(running.metrics.connections_open(), open);
}

#[tokio::test]
async fn a_connection_idle_beyond_its_limit_is_not_used_again() {
    let running = broker::start().await;
    let clock = Arc::new(Shifted::default());
    let env = Env {
        clock: clock.clone(),
        ..Env::system()
    };
    let address = running.address.to_string();
    let client = Client::connect(&address, "test", env).await.unwrap();

    clock.shift(esker_kafka::limits::CLIENT_SOCKET_IDLE_MAX - Duration::from_secs(1));
    client.metadata(None).await.unwrap();
    let kept = running.metrics.connections_total();
    clock.shift(esker_kafka::limits::CLIENT_SOCKET_IDLE_MAX);
    client.metadata(None).await.unwrap();

    assert_eq!(kept, 1);
    assert_eq!(running.metrics.connections_total(), 2);
}

/// The system's clock, moved forward by hand.
#[derive(Debug, Default)]
struct Shifted {
    system: SystemClock,
    shift: Mutex<Duration>,
}

impl Shifted {
    fn shift(&self, by: Duration) {
        *self.shift.lock().unwrap() += by;
    }
}

impl Clock for Shifted {
    fn now(&self) -> MonotonicTime {
        self.system.now().after(*self.shift.lock().unwrap())
    }

    fn wall(&self) -> Timestamp {
        self.system.wall()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.system.sleep(duration)
    }
}

/// A peer that answers each frame with the next of `replies`, raw, and then stays silent.
async fn scripted(replies: Vec<Vec<u8>>) -> (String, TaskGroup) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let mut tasks = TaskGroup::new("scripted peer");
    tasks.spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        for reply in replies {
            let length = usize::try_from(stream.read_i32().await.unwrap()).unwrap();
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            let frame = [
                &i32::try_from(reply.len()).unwrap().to_be_bytes(),
                &reply[..],
            ]
            .concat();
            stream.write_all(&frame).await.unwrap();
        }
        std::future::pending::<()>().await;
    });
    (address, tasks)
}

#[tokio::test]
async fn an_old_broker_is_asked_again_in_version_0() {
    let refusal = vec![0, 0, 0, 1, 0, 35, 0, 0, 0, 0];
    let versions = vec![0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 0];
    let metadata = vec![0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0];
    let (address, _tasks) = scripted(vec![refusal, versions, metadata]).await;

    // Metadata 0 has no null topics and no flag, so the request cannot be written: the broker is
    // understood, and what it lacks is named.
    let connected = Client::connect(&address, "test", Env::system()).await;

    let Err(ClientError::Unsupported {
        theirs: Some(theirs),
        ..
    }) = connected
    else {
        panic!("{connected:?}");
    };
    assert_eq!((theirs.min, theirs.max), (0, 0));
}

#[tokio::test]
async fn a_peer_that_does_not_speak_kafka_is_malformed() {
    let (short, _tasks) = scripted(vec![vec![0, 0, 0, 9]]).await;

    let connected = Client::connect(&short, "test", Env::system()).await;

    assert!(
        matches!(connected, Err(ClientError::Malformed { .. })),
        "{connected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_no_answer() {
    let (silent, _tasks) = scripted(Vec::new()).await;

    let connected = Client::connect(&silent, "test", Env::system()).await;

    let limit = Duration::from_secs(30);
    let timed_out =
        matches!(&connected, Err(ClientError::NoAnswer { limit: at, .. }) if *at == limit);
    assert!(timed_out, "{connected:?}");
}

#[tokio::test]
async fn a_bootstrap_list_holds_its_limit_and_not_one_more() {
    let most = esker_kafka::limits::BOOTSTRAP_ADDRESSES_MAX;
    let list = |count: usize| vec!["127.0.0.1:1"; count].join(",");

    let at = Client::connect(&list(most), "test", Env::system()).await;
    let beyond = Client::connect(&list(most + 1), "test", Env::system()).await;

    assert!(matches!(at, Err(ClientError::Unreachable { .. })));
    assert!(matches!(beyond, Err(ClientError::BadAddress { .. })));
}
