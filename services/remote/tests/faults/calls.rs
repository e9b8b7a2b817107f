//! One server that fails: what of a call is known, and what comes after.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use esker_env::Env;
use esker_metadata_api::{Admin as _, LogIndex as _, MetadataError, Sequencer as _};
use esker_remote::limits::DIAL_RETRY;
use esker_remote::{ConnectError, KeepAlive, PeerCondition, RemoteMetadata, ServerConfig};
use esker_types::ProducerId;
use futures::FutureExt as _;

use crate::proxy::Proxy;
use crate::stage::running::{Client, Serving, anywhere, config, parts, server_config, until};
use crate::stage::samples::{SESSION, registered};
use crate::stage::scripted::{CLUSTER, Scripted};

fn id(value: i64) -> ProducerId {
    ProducerId::from_wire(value).unwrap()
}

fn quick() -> KeepAlive {
    KeepAlive {
        interval: Duration::from_millis(50),
        timeout: Duration::from_millis(50),
    }
}

/// A server where one was before.
fn at(listen: SocketAddr) -> ServerConfig {
    ServerConfig {
        listen,
        ..server_config(CLUSTER)
    }
}

/// Asks until somebody answers.
async fn answered(remote: &RemoteMetadata) -> ProducerId {
    loop {
        match remote.producer_id().await {
            Ok(id) => return id,
            Err(error) => assert_eq!(error, MetadataError::Unavailable),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let service = Arc::new(Scripted::default());
    let serving = Serving::of(&service, CLUSTER).await;
    let address = serving.address;
    serving.stop().await;
    let client = Client::start(config(&[address], CLUSTER));

    let asked = client.remote.producer_id().await;
    let ended = client.remote.end_session(SESSION).await;
    let followed = client.remote.follow().await;

    assert_eq!(asked, Err(MetadataError::Unavailable));
    assert_eq!(ended, Err(MetadataError::Unavailable));
    assert_eq!(followed.err(), Some(MetadataError::Unavailable));
    let status = client.remote.peers().remove(0).condition;
    assert!(
        matches!(&status, PeerCondition::Failed(why) if matches!(**why, ConnectError::Dial(_))),
        "{status:?}"
    );
    client.stop().await;
}

#[tokio::test]
async fn a_call_in_hand_when_its_server_dies_is_unknown_and_the_next_server_is_found() {
    let service = Arc::new(Scripted::default());
    let serving = Serving::of(&service, CLUSTER).await;
    let address = serving.address;
    let client = Client::start(config(&[address], CLUSTER));
    let mut call = client.remote.producer_id();
    tokio::select! {
        _ = &mut call => unreachable!("nobody answers"),
        () = service.was_asked(1) => {}
    }

    serving.kill().await;
    let interrupted = call.await;
    let down = client.remote.producer_id().await;
    service.script().producer_id.push_back(Ok(id(8)));
    let serving = Serving::start(at(address), parts(&service)).await;
    let again = answered(&client.remote).await;

    assert_eq!(interrupted, Err(MetadataError::Unknown));
    assert_eq!(down, Err(MetadataError::Unavailable));
    assert_eq!(again, id(8));
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_answers_what_it_has_in_hand_and_takes_nothing_more() {
    let service = Arc::new(Scripted::default());
    let serving = Serving::of(&service, CLUSTER).await;
    let client = Client::start(config(&[serving.address], CLUSTER));
    let mut held = client.remote.register(None);
    tokio::select! {
        _ = &mut held => unreachable!("nobody answers"),
        () = service.was_asked(1) => {}
    }
    service.script().producer_id.push_back(Ok(id(1)));
    let before = client.remote.producer_id().await;

    let mut stopping = serving.stop().boxed();
    // The stop waits for the call that nobody answers, until it has waited long enough.
    let early = (&mut stopping).now_or_never();
    let refused = loop {
        // Calls that were on their way are answered; none is lost.
        service.script().producer_id.push_back(Ok(id(2)));
        match client.remote.producer_id().await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let (held, ()) = tokio::join!(held, stopping);

    assert_eq!(before, Ok(id(1)));
    assert!(early.is_none());
    assert_eq!(refused, MetadataError::Unavailable);
    assert_eq!(held, Err(MetadataError::Unknown));
    client.stop().await;
}

#[tokio::test]
async fn a_silent_connection_is_found_by_pings_and_its_calls_are_unknown() {
    let service = Arc::new(Scripted::default());
    let serving = Serving::of(&service, CLUSTER).await;
    let proxy = Proxy::to(serving.address).await;
    let mut client_config = config(&[proxy.address], CLUSTER);
    client_config.keep_alive = quick();
    let client = Client::start(client_config);
    service.script().producer_id.push_back(Ok(id(1)));
    let before = client.remote.producer_id().await;

    proxy.fall_silent();
    let silent = client.remote.producer_id().await;
    proxy.speak_again();
    service.script().producer_id.push_back(Ok(id(2)));
    let after = answered(&client.remote).await;

    assert_eq!(before, Ok(id(1)));
    assert_eq!(silent, Err(MetadataError::Unknown));
    assert_eq!(after, id(2));
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn a_server_drops_clients_that_fell_silent() {
    let service = Arc::new(Scripted::default());
    let mut server_config = server_config(CLUSTER);
    server_config.keep_alive = quick();
    let serving = Serving::start(server_config, parts(&service)).await;
    let proxy = Proxy::to(serving.address).await;
    let client = Client::start(config(&[proxy.address], CLUSTER));
    let mut call = client.remote.producer_id();
    tokio::select! {
        _ = &mut call => unreachable!("nobody answers"),
        () = service.was_asked(1) => {}
    }

    proxy.fall_silent();

    until(|| serving.metrics.connections() == 0).await;
    until(|| service.dropped() == 1).await;
    drop(call);
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_here_and_there() {
    let service = Arc::new(Scripted::default());
    let serving = Serving::of(&service, CLUSTER).await;
    let mut client_config = config(&[serving.address], CLUSTER);
    client_config.deadlines.call = Duration::from_millis(100);
    let client = Client::start(client_config);

    let late = client.remote.register(None).await;
    until(|| service.dropped() == 1).await;

    assert_eq!(late, Err(MetadataError::Unknown));
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn a_dial_that_takes_too_long_leaves_nothing_sent() {
    // It takes connections and says nothing.
    let mute = tokio::net::TcpListener::bind(anywhere()).await.unwrap();
    let mut client_config = config(&[mute.local_addr().unwrap()], CLUSTER);
    client_config.dial_timeout = Duration::from_millis(50);
    let client = Client::start(client_config);

    let asked = client.remote.producer_id().await;

    assert_eq!(asked, Err(MetadataError::Unavailable));
    let status = client.remote.peers().remove(0).condition;
    assert!(
        matches!(&status, PeerCondition::Failed(why)
            if matches!(**why, ConnectError::TimedOut { .. })),
        "{status:?}"
    );
    client.stop().await;
}

#[tokio::test]
async fn a_dropped_call_is_dropped_at_the_server() {
    let service = Arc::new(Scripted::default());
    let serving = Serving::of(&service, CLUSTER).await;
    let client = Client::start(config(&[serving.address], CLUSTER));
    let mut call = client.remote.register(None);
    tokio::select! {
        _ = &mut call => unreachable!("nobody answers"),
        () = service.was_asked(1) => {}
    }

    drop(call);

    until(|| service.dropped() == 1).await;
    service.script().register.push_back(Ok(registered()));
    assert_eq!(client.remote.register(None).await, Ok(registered()));
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn many_calls_at_once_make_one_dial_and_none_sleeps_through_its_end() {
    let service = Arc::new(Scripted::default());
    let serving = Serving::of(&service, CLUSTER).await;
    let address = serving.address;
    serving.stop().await;
    let client = Client::start(config(&[address], CLUSTER));
    let clock = Env::system().clock;
    let begin = clock.now();

    let down = futures::future::join_all((0..500).map(|_| client.remote.producer_id())).await;
    let dials = client.remote.metrics().dials();
    let waited = clock.now().since(begin);
    let ids = (0..500).map(|value| Ok(id(value)));
    service.script().producer_id.extend(ids);
    let serving = Serving::start(at(address), parts(&service)).await;
    let first = answered(&client.remote).await;
    let up = futures::future::join_all((1..500).map(|_| client.remote.producer_id())).await;

    assert!(
        down.iter()
            .all(|answer| *answer == Err(MetadataError::Unavailable))
    );
    // The first rest is at least half of its bound.
    let rests = waited.as_nanos() / (DIAL_RETRY.delay_first.as_nanos() / 2);
    assert!(
        u128::from(dials) <= 2 + rests,
        "{dials} dials in {waited:?}"
    );
    assert_eq!(first, id(0));
    assert!(up.iter().all(Result::is_ok), "{up:?}");
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn without_its_task_a_client_finds_no_leader() {
    let service = Arc::new(Scripted::default());
    let serving = Serving::of(&service, CLUSTER).await;
    let client = Client::start(config(&[serving.address], CLUSTER));
    let remote = client.remote.clone();
    service.script().producer_id.push_back(Ok(id(1)));
    let before = remote.producer_id().await;
    let mut held = remote.register(None);
    tokio::select! {
        _ = &mut held => unreachable!("nobody answers"),
        () = service.was_asked(2) => {}
    }

    client.stop().await;
    let held = held.await;
    let after = remote.producer_id().await;

    assert_eq!(before, Ok(id(1)));
    assert_eq!(held, Err(MetadataError::Unknown));
    assert_eq!(after, Err(MetadataError::Unavailable));
    serving.stop().await;
}
