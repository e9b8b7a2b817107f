//! Claims about places, memory and connections: who holds them, and for how long.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::connection::Connections;
use crate::limits::{ADMIT_WAIT_MAX, STREAMS_MAX};

const RECORDS: &str = "/api/v1/topics/t/records";
const PARTITION: &str = "/api/v1/topics/t/partitions/1/records";
const V3: &str = "/v3/clusters/AQEBAQEBAQEBAQEBAQEBAQ/topics/t/records";
const MEBIBYTE: usize = 1024 * 1024;

fn silent() -> Body {
    Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>())
}

fn all_memory_is_free(front: &Front) -> bool {
    front.places.body(BODIES_BYTES_MAX).is_ok()
}

#[tokio::test(start_paused = true)]
async fn streams_that_say_nothing_hold_no_place_of_a_request() {
    let world = World::new();
    let router = router(world.front(1));
    let batches = "application/vnd.esker.batches";
    let post = |path: &str, kind: &str| {
        let request = Request::post(path).header(header::CONTENT_TYPE, kind);
        request.body(silent()).unwrap()
    };
    let mut open: Vec<_> = [
        post(RECORDS, "application/x-ndjson"),
        post(PARTITION, batches),
        post(V3, "application/json"),
    ]
    .into_iter()
    .map(|request| Box::pin(router.clone().oneshot(request)))
    .collect();
    for stream in &mut open {
        assert!(futures::poll!(stream).is_pending());
    }
    let events = Request::get(PARTITION).header(header::ACCEPT, "text/event-stream");
    let events = router.clone().oneshot(events.body(Body::empty()).unwrap());
    let events = events.await.unwrap();
    let whole = Request::post(RECORDS).body(silent()).unwrap();
    let mut whole = Box::pin(router.clone().oneshot(whole));

    let page = Request::get(PARTITION).body(Body::empty()).unwrap();
    let page = answer(router.clone(), page).await;
    assert!(futures::poll!(&mut whole).is_pending());
    let beside_a_request = Request::get(PARTITION).body(Body::empty()).unwrap();
    let beside_a_request = answer(router, beside_a_request).await;

    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert_problem(&beside_a_request, 429, "overloaded");
    drop((open, events));
}

#[tokio::test(start_paused = true)]
async fn streams_at_rest_hold_no_memory() {
    let world = World::new();
    world.append(&json!({"records": [{"value": "x"}]})).await;
    let front = world.front(REQUESTS_MAX);
    let router = router(Arc::clone(&front));
    let line = Bytes::from(format!("{{\"value\":\"{}\"}}\n", "v".repeat(MEBIBYTE)));
    let mut open = Vec::new();
    for _ in 0..64 {
        let line = futures::stream::iter([Ok::<_, std::io::Error>(line.clone())]);
        let body = Body::from_stream(line.chain(futures::stream::pending()));
        let request = Request::post(RECORDS).header(header::CONTENT_TYPE, "application/x-ndjson");
        let answer = router.clone().oneshot(request.body(body).unwrap()).await;
        let mut lines = answer.unwrap().into_body().into_data_stream();
        lines.next().await.unwrap().unwrap();
        // It looks for more, and there is none.
        assert!(futures::poll!(lines.next()).is_pending());
        open.push(lines);
    }
    for kind in ["text/event-stream", "application/x-ndjson"] {
        let path = format!("{PARTITION}?follow=true");
        let request = Request::get(path).header(header::ACCEPT, kind);
        let answer = router.clone().oneshot(request.body(Body::empty()).unwrap());
        let mut pieces = answer.await.unwrap().into_body().into_data_stream();
        while let std::task::Poll::Ready(piece) = futures::poll!(pieces.next()) {
            piece.unwrap().unwrap();
        }
        open.push(pieces);
    }

    assert!(all_memory_is_free(&front));
    assert_eq!(open.len(), 66);
}

#[tokio::test(start_paused = true)]
async fn a_page_is_paid_for_before_it_is_decoded() {
    let world = World::new();
    let record = json!({"value": "v".repeat(900_000)});
    world.append(&json!({"records": vec![record; 8]})).await;
    let front = world.front(REQUESTS_MAX);
    let router = router(Arc::clone(&front));
    let page = || Request::get(PARTITION).body(Body::empty()).unwrap();
    let held = front.places.body(BODIES_BYTES_MAX - 2 * MEBIBYTE).unwrap();
    let begun = world.log.env.clock.now();

    let refused = answer(router.clone(), page()).await;
    let waited = world.log.env.clock.now().since(begun);
    let decoded = *world.log.decoded.lock().unwrap();
    drop(held);
    let whole = answer(router, page()).await;

    assert_problem(&refused, 429, "overloaded");
    assert!(waited >= ADMIT_WAIT_MAX, "{waited:?}");
    assert!(
        decoded <= 2,
        "{decoded} batches were decoded in two mebibytes"
    );
    assert_eq!(whole.body["records"].as_array().map(Vec::len), Some(8));
    assert!(all_memory_is_free(&front));
}

#[tokio::test]
async fn a_page_is_json_with_any_number_of_rows_and_any_text() {
    let world = World::new();
    let odd = "\u{0}\u{1f}\"\\\u{e9}".repeat(30_000);

    let empty = world.read("").await;
    world.append(&json!({"records": [{"value": odd}]})).await;
    let one = world.read("").await;
    world.append(&json!({"records": [{"value": "b"}]})).await;
    let two = world.read("").await;

    let end = |next: u64| json!({"next_offset": next, "high_watermark": next, "log_start": 0});
    for (page, count) in [(empty, 0), (one, 1), (two, 2)] {
        let mut body = page.body.clone();
        let rows = body.as_object_mut().unwrap().remove("records").unwrap();
        let rows = rows.as_array().unwrap();
        assert_eq!(
            (rows.len(), body),
            (count, end(u64::try_from(count).unwrap()))
        );
        if count > 0 {
            assert_eq!(rows[0]["value"], odd);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_without_a_length_takes_room_as_it_comes() {
    let world = World::new();
    let front = world.front(REQUESTS_MAX);
    let router = router(Arc::clone(&front));
    let send = async |bytes: usize| {
        let text = json!({"records": [{"value": "v".repeat(bytes)}]}).to_string();
        let pieces: Vec<_> = text.as_bytes().chunks(50_000).map(<[u8]>::to_vec).collect();
        let body = futures::stream::iter(pieces).map(Ok::<_, std::io::Error>);
        let request = Request::post(RECORDS).body(Body::from_stream(body));
        answer(router.clone(), request.unwrap()).await
    };
    let held = front.places.body(BODIES_BYTES_MAX - MEBIBYTE).unwrap();

    let small = send(400_000).await;
    let large = send(2 * MEBIBYTE).await;
    drop(held);
    let after = send(2 * MEBIBYTE).await;
    let most = send(BODY_BYTES_MAX).await;

    assert_eq!(small.status, StatusCode::OK, "{}", small.text);
    assert_problem(&large, 429, "overloaded");
    assert_eq!(after.status, StatusCode::OK, "{}", after.text);
    assert_problem(&most, 413, "too-large");
    assert!(all_memory_is_free(&front));
}

/// A server on a socket, and what its handlers share.
async fn serving(world: &World) -> (std::net::SocketAddr, Arc<Front>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let front = world.front(REQUESTS_MAX);
    let connections = Connections {
        router: router(Arc::clone(&front)),
        clock: Arc::clone(&world.log.env.clock),
        shutdown: world.shutdown.clone(),
        connections_max: 10,
    };
    let mut tasks = esker_env::TaskGroup::new("test server");
    tasks.spawn(connections.serve(socket, Duration::from_secs(30)));
    world.servers.lock().unwrap().push(tasks);
    (address, front)
}

/// A stream of batches that has nothing to tell.
async fn quiet_stream(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let accept = "Accept: application/vnd.esker.batches";
    let request = format!("GET {PARTITION}?follow=true HTTP/1.1\r\nHost: h\r\n{accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = vec![0; 1024];
    let count = stream.read(&mut head).await.unwrap();
    assert!(head[..count].starts_with(b"HTTP/1.1 200"));
    stream
}

#[tokio::test]
async fn a_client_that_is_gone_gives_its_place_back_though_there_is_nothing_to_tell_it() {
    let world = World::new();
    let (address, front) = serving(&world).await;
    let stream = quiet_stream(address).await;
    let before = front.places.free_streams();

    // Reset, as a host does that was started anew.
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
    let clock = &*world.log.env.clock;
    let free = front.places.all_streams_free();
    let freed = esker_env::timeout(clock, Duration::from_secs(20), free).await;

    assert_eq!(before, STREAMS_MAX - 1);
    assert!(freed.is_ok(), "the place was given back");
}

#[tokio::test]
async fn streams_end_when_the_process_stops_long_before_they_are_cut() {
    let world = World::new();
    let (address, _front) = serving(&world).await;
    let mut batches = quiet_stream(address).await;
    let mut intake = TcpStream::connect(address).await.unwrap();
    let head = "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked";
    let request = format!("POST {RECORDS} HTTP/1.1\r\nHost: h\r\n{head}\r\n\r\n3\r\n{{}}\n\r\n");
    intake.write_all(request.as_bytes()).await.unwrap();
    let mut told = vec![0; 4096];
    let count = intake.read(&mut told).await.unwrap();
    let mut told = String::from_utf8(told[..count].to_vec()).unwrap();
    let begun = world.log.env.clock.now();

    world.stop.request();
    let mut rest = Vec::new();
    batches.read_to_end(&mut rest).await.unwrap();
    intake.read_to_string(&mut told).await.unwrap();
    let waited = world.log.env.clock.now().since(begun);

    assert_eq!(rest, b"0\r\n\r\n", "the end of a body in order");
    assert!(told.contains("\"done\":false,\"records\":1"), "{told}");
    assert!(told.ends_with("0\r\n\r\n"), "{told}");
    assert!(waited < Duration::from_secs(10), "{waited:?}");
}
