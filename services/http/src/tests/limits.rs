//! Claims about limits of time and memory: at the limit, and one past it.

use std::time::Duration;

use futures::SinkExt as _;
use futures::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::connection::{Connections, Guarded};
use crate::limits::{
    ADMIT_WAIT_MAX, BODY_STALL_MAX, BODY_TIME_MAX, CHUNK_BYTES_MAX, CONNECTIONS_MAX,
    HEAD_BYTES_MAX, HEAD_TIME_MAX, LINE_BYTES_MAX, PAGE_BYTES_MAX, PIECE_BYTES_MAX, STREAM_AGE_MAX,
    STREAM_IDLE_MAX, STREAMS_MAX, WRITE_STALL_MAX,
};

const _: () = assert!(CONNECTIONS_MAX >= STREAMS_MAX + REQUESTS_MAX);

const RECORDS: &str = "/api/v1/topics/t/records";
const PARTITION: &str = "/api/v1/topics/t/partitions/1/records";

fn ndjson() -> http::request::Builder {
    Request::post(RECORDS).header(header::CONTENT_TYPE, "application/x-ndjson")
}

fn events() -> Request<Body> {
    let request = Request::get(PARTITION).header(header::ACCEPT, "text/event-stream");
    request.body(Body::empty()).unwrap()
}

/// A body that begins so and never ends.
fn endless(begin: &str) -> Body {
    let begin = Bytes::copy_from_slice(begin.as_bytes());
    let begin = futures::stream::once(async { Ok::<_, std::io::Error>(begin) });
    Body::from_stream(begin.chain(futures::stream::pending()))
}

/// Seconds that pass until the answer is there, and the answer.
async fn timed(world: &World, request: http::request::Builder, body: Body) -> (Duration, Answer) {
    let begun = world.log.env.clock.now();
    let answer = world.send(request, body).await;
    (world.log.env.clock.now().since(begun), answer)
}

fn about(found: Duration, expected: Duration) {
    let most = expected + Duration::from_secs(2);
    assert!(
        found >= expected && found < most,
        "{found:?} is not about {expected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn bodies_that_stall_end_in_time() {
    let world = World::new();
    let whole = Request::post(RECORDS);
    let keyed = ndjson().header("idempotency-key", "k");

    let (body_time, body) = timed(&world, whole, endless("{\"records\":")).await;
    let (line_time, line) = timed(&world, ndjson(), endless("{\"value\":")).await;
    let (chunk_time, chunk) = timed(&world, keyed, endless("{\"value\":\"a\"}\n")).await;
    let (idle_time, idle) = timed(&world, ndjson(), endless("{\"value\":\"b\"}\n")).await;

    about(body_time, BODY_TIME_MAX);
    assert_problem(&body, 408, "request-timeout");
    // A refused body is drained for a moment.
    about(line_time, BODY_STALL_MAX);
    assert_problem(&line, 408, "request-timeout");
    about(chunk_time, BODY_STALL_MAX);
    assert_problem(&chunk, 408, "request-timeout");
    about(idle_time, STREAM_IDLE_MAX);
    assert!(idle.text.contains("request-timeout"), "{}", idle.text);
    assert_eq!(world.values(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_line_of_the_largest_size_is_taken_and_one_byte_more_is_not() {
    let world = World::new();
    let frame = "{\"value\":\"\"}".len();
    let line = |bytes: usize| format!("{{\"value\":\"{}\"}}", "v".repeat(bytes - frame));

    let most = world.send(ndjson(), line(LINE_BYTES_MAX)).await;
    let past = world.send(ndjson(), line(LINE_BYTES_MAX + 1) + "\n").await;
    let endless = world
        .send(ndjson(), endless(&line(LINE_BYTES_MAX + 1)))
        .await;
    let v3 = "/v3/clusters/AQEBAQEBAQEBAQEBAQEBAQ/topics/t/records";
    let document = world
        .send(Request::post(v3), line(LINE_BYTES_MAX + 1))
        .await;

    assert_eq!(most.status, StatusCode::OK, "{}", most.text);
    assert_problem(&past, 413, "too-large");
    assert_eq!(past.body["line"], 1);
    assert_problem(&endless, 413, "too-large");
    assert_eq!(document.body["error_code"], 413, "{}", document.text);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_not_read_while_a_full_chunk_waits_for_the_one_in_front() {
    let world = World::new();
    *world.log.is_stuck.lock().unwrap() = true;
    let (mut sender, body) = futures::channel::mpsc::channel(0);
    let body = Body::from_stream(body.map(Ok::<Bytes, std::io::Error>));
    let mut sent = 0;
    let line = Bytes::from(format!(
        "{{\"value\":\"{}\"}}\n",
        "v".repeat(CHUNK_BYTES_MAX)
    ));
    let feed = async {
        while sender.send(line.clone()).await.is_ok() {
            sent += 1;
        }
    };

    let asked = futures::future::join(world.send(ndjson(), body), feed);
    let asked = esker_env::timeout(&*world.log.env.clock, Duration::from_secs(5), asked).await;

    assert!(asked.is_err(), "it waits");
    assert_eq!(world.log.appends.lock().unwrap().len(), 1);
    assert!(sent <= 5, "{sent} were read");
}

#[tokio::test(start_paused = true)]
async fn streams_have_places_of_their_own_and_an_age() {
    let world = World::new();
    let router = world.router();
    let mut open = Vec::new();
    for _ in 0..STREAMS_MAX {
        open.push(router.clone().oneshot(events()).await.unwrap());
    }

    let beyond = answer(router.clone(), events()).await;
    let page = Request::get(PARTITION).body(Body::empty()).unwrap();
    let page = answer(router.clone(), page).await;
    let begun = world.log.env.clock.now();
    let oldest = open.pop().unwrap().into_body().collect().await.unwrap();
    let age = world.log.env.clock.now().since(begun);
    let after = router.oneshot(events()).await.unwrap();

    assert_problem(&beyond, 429, "overloaded");
    assert_eq!(page.status, StatusCode::OK);
    assert!(oldest.to_bytes().ends_with(b": still here\n\n"));
    about(age, STREAM_AGE_MAX);
    assert_eq!(after.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_stream_reads_pages_and_makes_pieces() {
    let world = World::new();
    let record = json!({"value": "v".repeat(PIECE_BYTES_MAX / 4)});
    world.append(&json!({"records": vec![record; 12]})).await;
    let request = Request::get(PARTITION).header(header::ACCEPT, "application/x-ndjson");

    let response = world
        .router()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let pieces: Vec<_> = futures::StreamExt::collect(response.into_body().into_data_stream()).await;

    let sizes: Vec<_> = pieces
        .into_iter()
        .map(|piece| piece.unwrap().len())
        .collect();
    assert!(sizes.len() >= 3);
    assert!(*sizes.iter().max().unwrap() <= PIECE_BYTES_MAX + PIECE_BYTES_MAX / 4 + 200);
    let queries = world.log.queries.lock().unwrap();
    assert!(
        queries
            .iter()
            .all(|query| query.bytes_max == PAGE_BYTES_MAX)
    );
}

#[tokio::test(start_paused = true)]
async fn without_memory_answers_and_streams_wait_a_little_and_are_refused() {
    let world = World::new();
    world.append(&json!({"records": [{"value": "a"}]})).await;
    let front = world.front(REQUESTS_MAX);
    let held = front.places.body(BODIES_BYTES_MAX).unwrap();
    let read = || Request::get(PARTITION).body(Body::empty()).unwrap();
    let begun = world.log.env.clock.now();

    let refused = answer(router(Arc::clone(&front)), read()).await;
    let waited = world.log.env.clock.now().since(begun);
    let stream = ndjson().body(Body::from("{\"value\":\"b\"}")).unwrap();
    let stream = answer(router(Arc::clone(&front)), stream).await;
    drop(held);
    let after = answer(router(front), read()).await;

    about(waited, ADMIT_WAIT_MAX);
    assert_problem(&refused, 429, "overloaded");
    assert_problem(&stream, 429, "overloaded");
    assert_eq!(after.status, StatusCode::OK);
}

/// A server with room for so many connections.
async fn serving(world: &World, connections_max: usize) -> std::net::SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let connections = Connections {
        router: world.router(),
        clock: Arc::clone(&world.log.env.clock),
        shutdown: world.shutdown.clone(),
        connections_max,
    };
    let mut tasks = esker_env::TaskGroup::new("test server");
    tasks.spawn(connections.serve(socket, Duration::from_secs(1)));
    world.servers.lock().unwrap().push(tasks);
    address
}

async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = vec![0; 4096];
    let count = stream.read(&mut bytes).await.unwrap_or(0);
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

const ALIVE: &str = "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn one_connection_past_the_limit_is_closed_and_the_others_are_served() {
    let world = World::new();
    let address = serving(&world, 2).await;
    let mut one = TcpStream::connect(address).await.unwrap();
    let mut two = TcpStream::connect(address).await.unwrap();
    let first = exchange(&mut one, ALIVE).await;
    let second = exchange(&mut two, ALIVE).await;

    let mut three = TcpStream::connect(address).await.unwrap();
    let third = exchange(&mut three, ALIVE).await;
    let again = exchange(&mut one, ALIVE).await;

    assert!(first.starts_with("HTTP/1.1 200") && second.starts_with("HTTP/1.1 200"));
    assert_eq!(third, "");
    assert!(again.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_closes_its_side_still_gets_its_answer() {
    let world = World::new();
    let address = serving(&world, 2).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let path = "/api/v1/topics/t/partitions/1/records?wait=200";
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();

    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("high_watermark"));
}

#[tokio::test]
async fn a_head_of_almost_the_most_bytes_is_taken() {
    let world = World::new();
    let address = serving(&world, 2).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let filler = "x".repeat(HEAD_BYTES_MAX - 1024);
    let request = format!("GET /livez HTTP/1.1\r\nHost: h\r\nFiller: {filler}\r\n\r\n");

    let answer = exchange(&mut stream, &request).await;

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_ends_the_connection() {
    let world = World::new();
    let address = serving(&world, 2).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost:")
        .await
        .unwrap();
    let begun = world.log.env.clock.now();

    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;

    let waited = world.log.env.clock.now().since(begun);
    assert!(
        waited >= HEAD_TIME_MAX - Duration::from_secs(1),
        "{waited:?}"
    );
    assert!(waited < HEAD_TIME_MAX * 2, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_cut_and_a_slow_one_is_not() {
    let env = Env::system();
    let (ours, mut theirs) = tokio::io::duplex(64);
    let mut ours = Guarded::new(ours, Arc::clone(&env.clock));
    let slow = async {
        let mut bytes = [0; 64];
        for _ in 0..4 {
            env.clock
                .sleep(WRITE_STALL_MAX - Duration::from_secs(1))
                .await;
            theirs.read_exact(&mut bytes).await.unwrap();
        }
    };

    let (written, ()) = tokio::join!(ours.write_all(&[0; 256]), slow);
    let begun = env.clock.now();
    let stuck = ours.write_all(&[0; 256]).await;

    written.unwrap();
    assert_eq!(stuck.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    about(env.clock.now().since(begun), WRITE_STALL_MAX);
    drop(theirs);
}
