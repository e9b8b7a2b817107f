//! A listener on a real socket: its limits, its stop, and what a panic costs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use esker_env::{Env, Shutdown, ShutdownTrigger, TaskGroup};
use esker_kafka::messages::{HeartbeatRequest, HeartbeatResponse};
use esker_kafka::{
    Api, ListenError, Listener, ListenerConfig, Metrics, Refusal, Reply, Request, RequestContext,
    Response, Service,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Answers heartbeats; panics for correlation id 666; never answers 777.
#[derive(Debug)]
struct Echo;

impl Service for Echo {
    fn admit(
        &self,
        context: RequestContext,
        _request: Request,
    ) -> BoxFuture<'_, BoxFuture<'static, Reply>> {
        assert_ne!(context.correlation_id, 666, "planted");
        let reply = Reply::Message(Response::Heartbeat(HeartbeatResponse::default()));
        let reply = match context.correlation_id {
            777 => std::future::pending().boxed(),
            _ => std::future::ready(reply).boxed(),
        };
        std::future::ready(reply).boxed()
    }
}

struct Running {
    address: std::net::SocketAddr,
    metrics: Arc<Metrics>,
    trigger: ShutdownTrigger,
    tasks: TaskGroup,
}

async fn start(config: ListenerConfig) -> Running {
    let config = ListenerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        ..config
    };
    let (trigger, shutdown) = Shutdown::new();
    let listener = Listener::bind(config, Arc::new(Echo), Env::system())
        .await
        .unwrap();
    let (address, metrics) = (listener.local_address(), listener.metrics());
    let mut tasks = TaskGroup::new("test");
    tasks.spawn(listener.run(shutdown));
    Running {
        address,
        metrics,
        trigger,
        tasks,
    }
}

async fn send(stream: &mut TcpStream, correlation_id: i32) {
    let mut body = BytesMut::new();
    body.put_i16(Api::Heartbeat.key());
    body.put_i16(0);
    body.put_i32(correlation_id);
    body.put_i16(-1);
    let request = Request::Heartbeat(HeartbeatRequest::default());
    request.encode_body(&mut body, 0).unwrap();
    let length = i32::try_from(body.len()).unwrap();
    stream
        .write_all(&[&length.to_be_bytes()[..], &body].concat())
        .await
        .unwrap();
}

/// The correlation id of the next reply; `None` when the connection has ended.
async fn reply(stream: &mut TcpStream) -> Option<i32> {
    let mut frame = [0; 10];
    stream.read_exact(&mut frame).await.ok()?;
    Some(i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]))
}

#[tokio::test]
async fn connections_of_one_address_hold_their_limit_and_a_closed_one_makes_room() {
    let config = ListenerConfig {
        connections_per_address_max: 3,
        ..ListenerConfig::default()
    };
    let running = start(config).await;
    let mut open = Vec::new();
    for id in 0..3 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        send(&mut stream, id).await;
        assert_eq!(reply(&mut stream).await, Some(id));
        open.push(stream);
    }

    let mut beyond = TcpStream::connect(running.address).await.unwrap();
    let refused = beyond.read(&mut [0]).await;
    drop(open.pop());
    while running.metrics.connections_open() > 2 {
        tokio::task::yield_now().await;
    }
    let mut again = TcpStream::connect(running.address).await.unwrap();
    send(&mut again, 9).await;

    assert!(matches!(refused, Ok(0) | Err(_)));
    assert_eq!(running.metrics.refusals(Refusal::ConnectionsPerAddress), 1);
    assert_eq!(reply(&mut again).await, Some(9));
}

#[tokio::test]
async fn a_panic_in_a_handler_costs_one_connection() {
    let running = start(ListenerConfig::default()).await;
    let mut other = TcpStream::connect(running.address).await.unwrap();
    let mut doomed = TcpStream::connect(running.address).await.unwrap();
    send(&mut other, 1).await;
    assert_eq!(reply(&mut other).await, Some(1));

    send(&mut doomed, 666).await;
    let ended = reply(&mut doomed).await;
    send(&mut other, 2).await;

    assert_eq!(ended, None);
    assert_eq!(reply(&mut other).await, Some(2));
    while running.metrics.refusals(Refusal::Panic) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_stop_closes_connections_and_frees_the_port() {
    let mut running = start(ListenerConfig::default()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    send(&mut stream, 1).await;
    assert_eq!(reply(&mut stream).await, Some(1));

    running.trigger.request();
    let ended = running.tasks.join_next().await;

    assert!(matches!(ended, Some(Ok(()))));
    assert_eq!(reply(&mut stream).await, None);
    assert!(TcpStream::connect(running.address).await.is_err());
    assert_eq!(running.metrics.connections_open(), 0);
}

#[tokio::test]
async fn replies_that_never_come_are_cut_at_the_drain_limit() {
    let config = ListenerConfig {
        drain_timeout: std::time::Duration::from_millis(20),
        ..ListenerConfig::default()
    };
    let mut running = start(config).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    send(&mut stream, 777).await;
    while running.metrics.requests(Api::Heartbeat) == 0 {
        tokio::task::yield_now().await;
    }

    running.trigger.request();
    let ended = running.tasks.join_next().await;

    assert!(matches!(ended, Some(Ok(()))));
    assert_eq!(reply(&mut stream).await, None);
}

#[tokio::test]
async fn a_port_in_use_is_a_typed_error_that_names_it() {
    let running = start(ListenerConfig::default()).await;
    let config = ListenerConfig {
        listen: running.address,
        ..ListenerConfig::default()
    };

    let second = Listener::bind(config, Arc::new(Echo), Env::system()).await;

    let Err(ListenError::Bind { address, .. }) = second else {
        panic!("the port is taken");
    };
    assert_eq!(address, running.address);
}
