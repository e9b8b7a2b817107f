//! Each limit of a server or client: at it all is served, one past it is refused.

use std::sync::Arc;
use std::time::Duration;

use esker_metadata_api::{
    Admin as _, GroupReply, GroupRequest, LogIndex as _, MetadataError, Sequencer as _,
};
use esker_remote::limits::{
    CALLS_IN_FLIGHT_MAX, CALLS_PER_CLIENT_MAX, CONNECTIONS_MAX, FEEDS_PER_CLIENT_MAX,
    HEADER_BYTES_MAX, MESSAGE_BYTES_MAX, REQUEST_BYTES_RECEIVED_MAX, STREAMS_PER_CONNECTION_MAX,
};
use esker_remote::{ConnectError, PeerCondition, RemoteConfig, ServerConfig};
use esker_types::ProducerId;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;

use crate::stage::running::{Client, Serving, anywhere, config, parts, server_config, until};
use crate::stage::samples::registered;
use crate::stage::scripted::{CLUSTER, Scripted};

fn id() -> ProducerId {
    ProducerId::from_wire(1).unwrap()
}

async fn serving(service: &Arc<Scripted>, change: impl FnOnce(&mut ServerConfig)) -> Serving {
    let mut server_config = server_config(CLUSTER);
    change(&mut server_config);
    Serving::start(server_config, parts(service)).await
}

fn client(serving: &Serving, change: impl FnOnce(&mut RemoteConfig)) -> Client {
    let mut client_config = config(&[serving.address], CLUSTER);
    change(&mut client_config);
    Client::start(client_config)
}

fn describe(bytes: usize) -> GroupRequest {
    GroupRequest::Describe(vec!["g".repeat(bytes)])
}

#[tokio::test]
async fn the_defaults_are_the_limits() {
    let server = ServerConfig::new(anywhere(), CLUSTER);
    let client = config(&[anywhere()], CLUSTER);

    assert_eq!(server.connections_max, CONNECTIONS_MAX);
    assert_eq!(server.streams_max, STREAMS_PER_CONNECTION_MAX);
    assert_eq!(server.calls_max, CALLS_IN_FLIGHT_MAX);
    assert_eq!(server.message_bytes_max, MESSAGE_BYTES_MAX);
    assert_eq!(server.request_bytes_max, REQUEST_BYTES_RECEIVED_MAX);
    assert_eq!(client.calls_max, CALLS_PER_CLIENT_MAX);
    assert_eq!(client.feeds_max, FEEDS_PER_CLIENT_MAX);
    assert_eq!(client.message_bytes_max, MESSAGE_BYTES_MAX);
    let streams = usize::try_from(STREAMS_PER_CONNECTION_MAX).unwrap();
    assert!(
        CALLS_PER_CLIENT_MAX + FEEDS_PER_CLIENT_MAX < streams,
        "none waits in HTTP/2"
    );
}

#[tokio::test]
async fn one_connection_more_than_allowed_is_closed_and_the_others_live() {
    let service = Arc::new(Scripted::default());
    service.script().producer_id.extend([Ok(id()), Ok(id())]);
    let serving = serving(&service, |config| config.connections_max = 1).await;
    let first = client(&serving, |_| {});
    let before = first.remote.producer_id().await;
    let second = client(&serving, |_| {});

    let beyond = second.remote.producer_id().await;
    let after = first.remote.producer_id().await;

    assert_eq!((before, after), (Ok(id()), Ok(id())));
    assert_eq!(beyond, Err(MetadataError::Unavailable));
    let condition = second.remote.peers().remove(0).condition;
    assert!(
        matches!(&condition, PeerCondition::Failed(why)
            if matches!(**why, ConnectError::NoGreeting | ConnectError::Http(_))),
        "{condition:?}"
    );
    assert!(serving.metrics.refusals() >= 1);
    first.stop().await;
    second.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn a_server_that_takes_no_call_welcomes_nobody() {
    let service = Arc::new(Scripted::default());
    let serving = serving(&service, |config| config.calls_max = 0).await;
    let client = client(&serving, |_| {});

    let asked = client.remote.producer_id().await;

    assert_eq!(asked, Err(MetadataError::Unavailable));
    let condition = client.remote.peers().remove(0).condition;
    assert!(
        matches!(&condition, PeerCondition::Failed(why) if matches!(**why, ConnectError::Busy)),
        "{condition:?}"
    );
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn one_stream_more_than_allowed_waits_for_another_to_end() {
    let service = Arc::new(Scripted::default());
    let serving = serving(&service, |config| config.streams_max = 1).await;
    let client = client(&serving, |_| {});
    let mut held = client.remote.register(None);
    tokio::select! {
        _ = &mut held => unreachable!("nobody answers"),
        () = service.was_asked(1) => {}
    }
    service.script().producer_id.push_back(Ok(id()));

    let mut waiting = client.remote.producer_id();
    for _ in 0..1000 {
        assert!(futures::poll!(&mut waiting).is_pending());
        tokio::task::yield_now().await;
    }
    let asked = service.asked().len();
    drop(held);

    assert_eq!(asked, 1);
    assert_eq!(waiting.await, Ok(id()));
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn one_call_more_than_a_server_takes_is_refused_and_nothing_is_done() {
    let service = Arc::new(Scripted::default());
    let serving = serving(&service, |config| config.calls_max = 1).await;
    let client = client(&serving, |_| {});
    let mut held = client.remote.register(None);
    // The client's own question for a feed may hold the only place for a moment.
    loop {
        tokio::select! {
            answer = &mut held => {
                assert_eq!(answer, Err(MetadataError::Overloaded));
                held = client.remote.register(None);
            }
            () = service.was_asked(1) => break,
        }
    }

    let beyond = client.remote.producer_id().await;
    let asked = service.asked().len();
    drop(held);
    until(|| service.dropped() == 1).await;
    service.script().producer_id.push_back(Ok(id()));
    let mut after = client.remote.producer_id().await;
    while after == Err(MetadataError::Overloaded) {
        after = client.remote.producer_id().await;
    }

    assert_eq!((beyond, asked), (Err(MetadataError::Overloaded), 1));
    assert_eq!(after, Ok(id()));
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn one_call_more_than_a_client_makes_is_refused_before_it_is_sent() {
    let service = Arc::new(Scripted::default());
    let (_topics, own) = mpsc::channel(1);
    service.script().follow.push_back(Ok(own));
    let serving = serving(&service, |_| {}).await;
    let client = client(&serving, |config| config.calls_max = 1);
    // Its own feed stands, so it asks for none meanwhile.
    until(|| service.script().follow.is_empty()).await;
    let mut held = client.remote.register(None);
    loop {
        tokio::select! {
            answer = &mut held => {
                assert_eq!(answer, Err(MetadataError::Overloaded));
                tokio::task::yield_now().await;
                held = client.remote.register(None);
            }
            () = service.was_asked(1) => break,
        }
    }

    let beyond = client.remote.producer_id().await;

    assert_eq!(beyond, Err(MetadataError::Overloaded));
    assert_eq!(service.asked().len(), 1);
    service.script().register.push_back(Ok(registered()));
    drop(held);
    assert_eq!(client.remote.register(None).await, Ok(registered()));
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn one_feed_more_than_a_client_follows_is_refused_until_another_ends() {
    let service = Arc::new(Scripted::default());
    let feeds: Vec<_> = (0..4).map(|_| mpsc::channel(1)).collect();
    let mut senders = Vec::new();
    for (sender, receiver) in feeds {
        service.script().follow.push_back(Ok(receiver));
        senders.push(sender);
    }
    let serving = serving(&service, |_| {}).await;
    let client = client(&serving, |config| config.feeds_max = 1);

    let first = client.remote.follow().await.unwrap();
    let beyond = client.remote.follow().await;
    drop(first);
    let after = client.remote.follow().await;

    assert_eq!(beyond.err(), Some(MetadataError::Overloaded));
    assert!(after.is_ok());
    drop(after);
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn a_message_one_byte_too_long_is_not_sent_or_not_taken() {
    let service = Arc::new(Scripted::default());
    let reply = || GroupReply::Described(Vec::new());
    service
        .script()
        .group
        .extend([Ok(reply()), Ok(reply()), Ok(reply())]);
    let serving = serving(&service, |config| config.message_bytes_max = 1000).await;
    let careful = client(&serving, |config| config.message_bytes_max = 100);
    let careless = client(&serving, |_| {});
    // A name of 100 bytes and two fields around it, each with its tag and length.
    let own = 100 - 4;
    let theirs = 1000 - 6;

    let whole = careful.remote.group(describe(own)).await;
    let longer = careful.remote.group(describe(own + 1)).await;
    let asked = service.asked().len();
    let largest = careless.remote.group(describe(theirs)).await;
    let refused = careless.remote.group(describe(theirs + 1)).await;

    assert_eq!(whole, Ok(reply()));
    assert_eq!((longer, asked), (Err(MetadataError::Overloaded), 1));
    assert_eq!(largest, Ok(reply()));
    assert_eq!(refused, Err(MetadataError::Overloaded));
    assert_eq!(service.asked().len(), 2);
    careful.stop().await;
    careless.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn an_answer_too_long_for_its_reader_is_an_unknown_outcome() {
    let service = Arc::new(Scripted::default());
    let listed = GroupReply::Listed(vec![esker_metadata_api::GroupOverview {
        group: "g".repeat(200),
        protocol_type: String::new(),
        state: esker_metadata_api::GroupState::Empty,
    }]);
    service.script().group.push_back(Ok(listed));
    let serving = serving(&service, |_| {}).await;
    let client = client(&serving, |config| config.message_bytes_max = 100);

    let answer = client.remote.group(GroupRequest::List).await;

    assert_eq!(answer, Err(MetadataError::Unknown));
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn more_bytes_than_a_server_receives_at_once_are_refused() {
    let service = Arc::new(Scripted::default());
    let reply = || GroupReply::Described(Vec::new());
    service.script().group.extend([Ok(reply()), Ok(reply())]);
    let serving = serving(&service, |config| config.request_bytes_max = 4096).await;
    let client = client(&serving, |_| {});

    let fits = client.remote.group(describe(4000)).await;
    let beyond = client.remote.group(describe(4097)).await;
    let after = client.remote.group(describe(4000)).await;

    assert_eq!((fits, after), (Ok(reply()), Ok(reply())));
    assert_eq!(beyond, Err(MetadataError::Overloaded));
    assert_eq!(service.asked().len(), 2);
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn headers_beyond_their_limit_are_not_taken() {
    let service = Arc::new(Scripted::default());
    let serving = serving(&service, |_| {}).await;
    let status = |bytes: usize| {
        let address = serving.address;
        async move {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let io = TokioIo::new(stream);
            let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
            let (mut sender, connection) = builder.handshake(io).await.unwrap();
            let mut tasks = esker_env::TaskGroup::new("a stranger");
            tasks.spawn(async move {
                let _ = connection.await;
            });
            let request = http::Request::post("http://esker/esker.internal.v1.Metadata/Nothing")
                .header("x-long", "x".repeat(bytes))
                .body(tonic::body::Body::empty())
                .unwrap();
            let answer = sender.send_request(request).await;
            answer.map(|answer| answer.status().as_u16()).ok()
        }
    };
    let limit = usize::try_from(HEADER_BYTES_MAX).unwrap();

    assert_eq!(
        status(limit / 2).await,
        Some(200),
        "gRPC says no in its own words"
    );
    assert_ne!(status(limit + 1).await, Some(200));
    serving.stop().await;
}

#[tokio::test]
async fn a_call_that_does_not_say_what_every_call_must_is_refused() {
    let service = Arc::new(Scripted::default());
    let serving = serving(&service, |_| {}).await;
    let limit = Duration::from_secs(5);
    let stranger = client(&serving, |config| config.deadlines.call = limit);

    // No greeting at all: the bytes of another protocol.
    let stream = tokio::net::TcpStream::connect(serving.address)
        .await
        .unwrap();
    stream.writable().await.unwrap();
    let _ = stream.try_write(b"GET / HTTP/1.1\r\n\r\n");
    let mut closed = vec![0; 1];
    loop {
        stream.readable().await.unwrap();
        match stream.try_read(&mut closed) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }

    service.script().producer_id.push_back(Ok(id()));
    assert_eq!(
        stranger.remote.producer_id().await,
        Ok(id()),
        "others are served"
    );
    stranger.stop().await;
    serving.stop().await;
}
