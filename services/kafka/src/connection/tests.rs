//! One connection over an in-memory socket in virtual time: order, pipeline, limits, ends.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use esker_env::{ShutdownTrigger, TaskGroup};
use kafka_protocol::messages::{
    ApiVersionsRequest, HeartbeatRequest, HeartbeatResponse, ProduceRequest, ProduceResponse,
    RequestHeader,
};
use kafka_protocol::protocol::Encodable;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::oneshot;

use super::*;
use crate::budget::Budget;
use crate::limits;
use crate::request::{Response, request_header_version};

/// Replies at once, unless told to hold a correlation id's reply back.
#[derive(Debug, Default)]
struct Scripted {
    admitted: Mutex<Vec<i32>>,
    named: Mutex<Vec<bool>>,
    held: Mutex<BTreeMap<i32, oneshot::Receiver<Reply>>>,
}

fn usual(request: &Request) -> Reply {
    match request {
        Request::Produce(request) if request.acks == 0 => Reply::Nothing,
        Request::Produce(_) => Reply::Message(Response::Produce(ProduceResponse::default())),
        _ => Reply::Message(Response::Heartbeat(HeartbeatResponse::default())),
    }
}

impl Scripted {
    fn hold(&self, correlation_id: i32) -> oneshot::Sender<Reply> {
        let (sender, receiver) = oneshot::channel();
        self.held.lock().unwrap().insert(correlation_id, receiver);
        sender
    }

    fn admitted(&self) -> Vec<i32> {
        self.admitted.lock().unwrap().clone()
    }
}

impl Service for Scripted {
    fn admit(
        &self,
        context: RequestContext,
        request: Request,
    ) -> BoxFuture<'_, BoxFuture<'static, Reply>> {
        let id = context.correlation_id;
        self.admitted.lock().unwrap().push(id);
        self.named.lock().unwrap().push(context.is_software_named);
        let held = self.held.lock().unwrap().remove(&id);
        let reply = usual(&request);
        let reply = async move {
            match held {
                Some(held) => held.await.unwrap_or(Reply::Close),
                None => reply,
            }
        };
        std::future::ready(reply.boxed()).boxed()
    }
}

/// A client's end, and what the connection behind it uses.
struct Bench {
    client: DuplexStream,
    service: Arc<Scripted>,
    metrics: Arc<Metrics>,
    env: Env,
    trigger: ShutdownTrigger,
    tasks: TaskGroup,
}

fn bench(config: ListenerConfig, socket_bytes: usize) -> Bench {
    let (client, server) = tokio::io::duplex(socket_bytes);
    let (trigger, shutdown) = Shutdown::new();
    let service = Arc::new(Scripted::default());
    let metrics = Arc::<Metrics>::default();
    let env = Env::system();
    let connection = Connection {
        service: service.clone(),
        env: env.clone(),
        budget: Budget::new(&config, Arc::clone(&env.clock), Arc::clone(&metrics))
            .for_connection(&config),
        config: Arc::new(config),
        metrics: Arc::clone(&metrics),
        shutdown,
        client_address: SocketAddr::from(([127, 0, 0, 1], 1)),
        local_address: SocketAddr::from(([127, 0, 0, 1], 2)),
        id: 1,
        is_software_named: AtomicBool::default(),
    };
    let mut tasks = TaskGroup::new("test");
    let (reader, writer) = tokio::io::split(server);
    tasks.spawn(connection.run(reader, writer));
    Bench {
        client,
        service,
        metrics,
        env,
        trigger,
        tasks,
    }
}

fn frame(request: &Request, version: i16, correlation_id: i32) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    let api = request.api();
    RequestHeader::default()
        .with_request_api_key(api.key())
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .encode(&mut frame, request_header_version(api, version))
        .unwrap();
    request.encode_body(&mut frame, version).unwrap();
    let length = i32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

fn produce(acks: i16) -> Request {
    Request::Produce(ProduceRequest::default().with_acks(acks))
}

fn heartbeat() -> Request {
    Request::Heartbeat(HeartbeatRequest::default())
}

impl Bench {
    async fn send(&mut self, request: &Request, correlation_id: i32) {
        self.client
            .write_all(&frame(request, 3, correlation_id))
            .await
            .unwrap();
    }

    /// Correlation id and body of the next reply; `None` at the connection's end.
    async fn reply(&mut self) -> Option<(i32, Vec<u8>)> {
        let length = self.client.read_i32().await.ok()?;
        let correlation_id = self.client.read_i32().await.unwrap();
        let mut body = vec![0; usize::try_from(length - 4).unwrap()];
        self.client.read_exact(&mut body).await.unwrap();
        Some((correlation_id, body))
    }

    /// Virtual time moves on only when nothing else can.
    async fn settle(&self) {
        self.env.clock.sleep(Duration::from_millis(1)).await;
    }

    async fn is_silent(&mut self) -> bool {
        let limit = Duration::from_millis(1);
        let clock = Arc::clone(&self.env.clock);
        esker_env::timeout(clock.as_ref(), limit, self.client.read_u8())
            .await
            .is_err()
    }
}

fn small() -> Bench {
    bench(ListenerConfig::default(), 1024 * 1024)
}

fn done() -> Reply {
    Reply::Message(Response::Produce(ProduceResponse::default()))
}

#[tokio::test(start_paused = true)]
async fn produce_replies_keep_request_order_when_they_finish_out_of_order() {
    let mut bench = small();
    let (first, second) = (bench.service.hold(1), bench.service.hold(2));
    for id in 1..=3 {
        bench.send(&produce(-1), id).await;
    }

    bench.settle().await;
    assert_eq!(bench.service.admitted(), [1, 2, 3], "all overlap");
    second.send(done()).unwrap();
    assert!(
        bench.is_silent().await,
        "the second and third wait for the first"
    );
    first.send(done()).unwrap();

    for id in 1..=3 {
        assert_eq!(bench.reply().await.unwrap().0, id);
    }
}

#[tokio::test(start_paused = true)]
async fn any_other_request_waits_for_earlier_replies_and_nothing_is_read_past_it() {
    let mut bench = small();
    let (first, second) = (bench.service.hold(1), bench.service.hold(2));
    bench.send(&produce(-1), 1).await;
    bench.send(&heartbeat(), 2).await;
    bench.send(&produce(-1), 3).await;

    bench.settle().await;
    assert_eq!(bench.service.admitted(), [1]);
    first.send(done()).unwrap();
    bench.settle().await;
    assert_eq!(bench.service.admitted(), [1, 2]);
    second.send(usual(&heartbeat())).unwrap();
    bench.settle().await;

    assert_eq!(bench.service.admitted(), [1, 2, 3]);
    for id in 1..=3 {
        assert_eq!(bench.reply().await.unwrap().0, id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_its_limit_of_requests_in_flight_and_not_one_more() {
    let mut bench = small();
    let most = i32::try_from(limits::PIPELINE_MAX).unwrap();
    let mut held: Vec<_> = (0..=most).map(|id| bench.service.hold(id)).collect();
    for id in 0..=most {
        bench.send(&produce(-1), id).await;
    }

    bench.settle().await;
    let before = bench.service.admitted().len();
    held.remove(0).send(done()).unwrap();
    bench.settle().await;

    assert_eq!(before, usize::try_from(most).unwrap());
    assert_eq!(bench.service.admitted().len(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_bounded_and_in_the_end_closed() {
    let mut bench = bench(ListenerConfig::default(), 512);
    let many = [&frame(&produce(-1), 3, 7)[..]; 1000].concat();

    let clock = Arc::clone(&bench.env.clock);
    let write = bench.client.write_all(&many);
    let write = esker_env::timeout(clock.as_ref(), Duration::from_secs(1), write).await;
    let in_flight = bench.metrics.request_bytes_in_flight();
    bench.env.clock.sleep(limits::IDLE_TIMEOUT).await;
    let ended = bench.tasks.join_next().await;

    assert!(write.is_err(), "its requests are not read without end");
    let one = u64::try_from(frame(&produce(-1), 3, 7).len()).unwrap();
    assert!(in_flight <= one * u64::from(limits::PIPELINE_MAX) + one);
    assert!(matches!(ended, Some(Ok(()))));
    assert_eq!(bench.metrics.request_bytes_in_flight(), 0);
    assert_eq!(bench.metrics.refusals(Refusal::Idle), 1);
}

#[tokio::test(start_paused = true)]
async fn bytes_of_one_connection_in_flight_hold_their_limit() {
    let bytes = frame(&produce(-1), 3, 0).len() - 4;
    let config = ListenerConfig {
        connection_bytes_max: 3 * bytes + 1,
        ..ListenerConfig::default()
    };
    let mut bench = bench(config, 1024 * 1024);
    let _held: Vec<_> = (0..5).map(|id| bench.service.hold(id)).collect();

    for id in 0..5 {
        bench.send(&produce(-1), id).await;
    }
    bench.settle().await;

    assert_eq!(bench.service.admitted().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_frame_above_the_limit_closes_before_memory_is_taken() {
    let mut bench = small();
    let length = i32::try_from(limits::FRAME_BYTES_MAX + 1).unwrap();

    bench.client.write_i32(length).await.unwrap();

    assert_eq!(bench.reply().await, None);
    assert_eq!(bench.metrics.refusals(Refusal::FrameLength), 1);
}

#[tokio::test(start_paused = true)]
async fn a_frame_shorter_than_any_request_closes() {
    let mut bench = small();
    let length = i32::try_from(limits::FRAME_BYTES_MIN - 1).unwrap();

    bench.client.write_i32(length).await.unwrap();

    assert_eq!(bench.reply().await, None);
    assert_eq!(bench.metrics.refusals(Refusal::FrameLength), 1);
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_is_closed_after_its_time_limit() {
    let mut bench = small();
    let whole = frame(&produce(-1), 3, 1);
    let begun = bench.env.clock.now();

    bench
        .client
        .write_all(&whole[..whole.len() / 2])
        .await
        .unwrap();
    let end = bench.reply().await;

    assert_eq!(end, None);
    assert_eq!(bench.metrics.refusals(Refusal::PartialFrame), 1);
    let waited = bench.env.clock.now().since(begun);
    assert!(waited >= limits::PARTIAL_FRAME_TIMEOUT && waited < limits::IDLE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn silence_is_closed_after_the_idle_limit() {
    let mut bench = small();
    let begun = bench.env.clock.now();

    let end = bench.reply().await;

    assert_eq!(end, None);
    assert!(bench.env.clock.now().since(begun) >= limits::IDLE_TIMEOUT);
    assert_eq!(bench.metrics.refusals(Refusal::Idle), 1);
}

#[tokio::test(start_paused = true)]
async fn api_versions_in_an_unknown_version_is_answered_in_version_0_and_the_connection_stays() {
    let mut bench = small();
    let mut unknown = frame(&Request::ApiVersions(ApiVersionsRequest::default()), 2, 5);
    unknown[6..8].copy_from_slice(&99_i16.to_be_bytes());

    bench.client.write_all(&unknown).await.unwrap();
    let refused = bench.reply().await.unwrap();
    bench.send(&produce(-1), 6).await;

    assert_eq!(refused, (5, vec![0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]));
    assert_eq!(bench.reply().await.unwrap().0, 6);
}

#[tokio::test(start_paused = true)]
async fn requests_tell_whether_the_client_has_said_what_software_it_is() {
    let mut bench = small();
    let unnamed = Request::ApiVersions(ApiVersionsRequest::default());
    let named = ApiVersionsRequest::default()
        .with_client_software_name("a-client".into())
        .with_client_software_version("1.0".into());

    // One of version 2 has no name, one of version 3 must have one.
    for (request, version) in [
        (&unnamed, 2),
        (&unnamed, 3),
        (&Request::ApiVersions(named), 3),
    ] {
        let asked = frame(request, version, 1);
        bench.client.write_all(&asked).await.unwrap();
        bench.reply().await.unwrap();
        bench.send(&heartbeat(), 2).await;
        bench.reply().await.unwrap();
    }

    assert_eq!(*bench.service.named.lock().unwrap(), [false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn unserved_keys_and_versions_close_without_an_answer() {
    for (place, value) in [(4..6, 4_i16), (6..8, 2), (6..8, 12)] {
        let mut bench = small();
        let mut wrong = frame(&produce(-1), 3, 1);
        wrong[place].copy_from_slice(&value.to_be_bytes());

        bench.client.write_all(&wrong).await.unwrap();

        assert_eq!(bench.reply().await, None);
        assert_eq!(bench.metrics.refusals(Refusal::Unsupported), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn produce_without_acknowledgement_gets_no_answer() {
    let mut bench = small();

    bench.send(&produce(0), 1).await;
    bench.send(&heartbeat(), 2).await;

    assert_eq!(bench.reply().await.unwrap().0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_the_connection_after_the_replies_before_it() {
    let mut bench = small();
    let close = bench.service.hold(2);
    close.send(Reply::Close).unwrap();

    for id in 1..=3 {
        bench.send(&produce(-1), id).await;
    }

    assert_eq!(bench.reply().await.unwrap().0, 1);
    assert_eq!(bench.reply().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_another_api_is_a_bug_that_closes() {
    let mut bench = small();
    bench.service.hold(1).send(done()).unwrap();

    bench.send(&heartbeat(), 1).await;

    assert_eq!(bench.reply().await, None);
    assert_eq!(bench.metrics.refusals(Refusal::Reply), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_was_admitted_and_reads_no_more() {
    let mut bench = small();
    let first = bench.service.hold(1);
    bench.send(&produce(-1), 1).await;
    bench.settle().await;

    bench.trigger.request();
    bench.settle().await;
    bench.send(&produce(-1), 2).await;
    bench.settle().await;
    first.send(done()).unwrap();

    assert_eq!(bench.reply().await.unwrap().0, 1);
    assert_eq!(bench.reply().await, None);
    assert_eq!(bench.service.admitted(), [1]);
}
