//! Bytes that no client sends: the connection that sent them ends, all others are served.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use esker_e2e::{
    HttpApi, HttpRecord, Kcat, StoreKind, TestStore, Wire, proved, request, resident_peak,
};
use esker_env::Rng;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Generous for a debug build with its caches; a decoder that trusts a length takes gigabytes.
const RESIDENT_BYTES_MAX: u64 = 700 * 1024 * 1024;
const SEED: u64 = 20_260_727;

async fn serves(kafka: SocketAddr, http: SocketAddr, number: usize) -> anyhow::Result<()> {
    let value = format!("still {number}").into_bytes();
    let records = [(b"k".to_vec(), value.clone())];
    Kcat::new(kafka).produce("hostile", &records, &[]).await?;
    let read = HttpApi::new(http)
        .read("hostile", 0, "from=earliest")
        .await?;
    let last = read.last().context("no record")?;
    ensure!(last.value.as_deref() == Some(&value[..]), "{last:?}");
    Ok(())
}

/// Whole streams of bytes, each for a connection of its own.
fn hostile_streams(rng: &Rng) -> Vec<Vec<u8>> {
    let framed = |bytes: &[u8]| {
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        [&length.to_be_bytes()[..], bytes].concat()
    };
    let mut streams = vec![
        i32::MAX.to_be_bytes().to_vec(),
        i32::MIN.to_be_bytes().to_vec(),
        (-1_i32).to_be_bytes().to_vec(),
        0_i32.to_be_bytes().to_vec(),
        framed(&[]),
        framed(&[0, 3]),
        // Metadata version 0 that says it has two thousand million topics.
        framed(&request(3, 0, &i32::MAX.to_be_bytes())),
        // Produce version 9 whose tagged header and arrays are missing or endless.
        framed(&request(0, 9, &[0xff; 64])),
        framed(&request(1, 12, &[0xff; 64])),
        // Versions and keys that do not exist.
        framed(&request(0, 99, &[])),
        framed(&request(999, 0, &[])),
        framed(&request(-1, -1, &[])),
        b"GET / HTTP/1.1\r\nHost: wrong-port\r\n\r\n".to_vec(),
        // A TLS client hello.
        [&[0x16, 3, 1, 0, 0xa5, 1][..], &[0x5a; 160]].concat(),
    ];
    for _ in 0..200 {
        let length = usize::try_from(rng.below(300)).unwrap_or_default();
        let bytes = random_bytes(rng, length);
        streams.push(bytes.clone());
        streams.push(framed(&bytes));
        // A sound header in front of nonsense reaches the decoders.
        let key = i16::try_from(rng.below(70)).unwrap_or_default();
        let version = i16::try_from(rng.below(14)).unwrap_or_default();
        streams.push(framed(&request(key, version, &bytes)));
    }
    streams
}

fn random_bytes(rng: &Rng, length: usize) -> Vec<u8> {
    let byte = |_| u8::try_from(rng.below(256)).unwrap_or_default();
    (0..length).map(byte).collect()
}

/// Sends a stream and hangs up after an answer, a close, or nothing to come.
async fn send(kafka: SocketAddr, stream: &[u8]) -> anyhow::Result<()> {
    let mut socket = TcpStream::connect(kafka).await?;
    // The peer may close while we write: that is an answer too.
    let _ = socket.write_all(stream).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let clock = esker_env::Env::system().clock;
    let read = tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut answer);
    let limit = std::time::Duration::from_secs(10);
    let ended = esker_env::timeout(clock.as_ref(), limit, read).await;
    ensure!(ended.is_ok(), "neither an answer nor a close: {stream:?}");
    Ok(())
}

#[tokio::test]
async fn hostile_frames_end_their_connection_and_nothing_else() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let streams = hostile_streams(&Rng::from_seed(SEED));
    serves(esker.kafka, esker.http, 0).await?;

    // Half frames that stay open all the while.
    let mut half = Vec::new();
    for number in 0..40_u8 {
        let mut wire = Wire::connect(esker.kafka).await?;
        let part: &[u8] = if number % 2 == 0 {
            &[0, 0]
        } else {
            &[0, 0, 16, 0, 0, 3, 0]
        };
        wire.send_raw(part).await?;
        half.push(wire);
    }
    for (number, stream) in streams.iter().enumerate() {
        send(esker.kafka, stream).await?;
        if number % 150 == 0 {
            serves(esker.kafka, esker.http, number).await?;
        }
    }

    serves(esker.kafka, esker.http, streams.len())
        .await
        .context("at the end")?;
    let resident = resident_peak(esker.id())?;
    ensure!(
        resident < RESIDENT_BYTES_MAX,
        "{resident} bytes were resident"
    );
    let log = std::fs::read_to_string(&esker.log)?;
    ensure!(!log.contains("panicked"), "{}", esker.log_tail());
    proved(&format!(
        "{} hostile streams (seed {SEED}) and {} half frames left others served; at most {} MiB \
         were resident, nothing panicked",
        streams.len(),
        half.len(),
        resident >> 20
    ));
    Ok(())
}

#[tokio::test]
async fn an_unknown_request_is_answered_or_closed_at_once() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;

    // ApiVersions of a far future: answered in version 0 with UNSUPPORTED_VERSION (35).
    let mut wire = Wire::connect(esker.kafka).await?;
    wire.send(&request(18, 99, &[])).await?;
    let versions = wire.reply().await?.context("closed")?;
    // A key that does not exist: closed.
    let mut wire = Wire::connect(esker.kafka).await?;
    wire.send(&request(999, 0, &[])).await?;
    let unknown = wire.reply().await?;

    ensure!(
        versions.get(4..6) == Some(&35_i16.to_be_bytes()[..]),
        "{versions:?}"
    );
    ensure!(unknown.is_none(), "{unknown:?}");
    proved("ApiVersions 99 is answered UNSUPPORTED_VERSION, an unknown key closes the connection");
    Ok(())
}

#[tokio::test]
async fn http_misuse_is_a_problem_document_that_says_what_to_do() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let api = HttpApi::new(esker.http);
    api.create_topic("t", 2).await?;
    let records = "/api/v1/topics/t/records";
    let read = "/api/v1/topics/t/partitions/0/records";
    // A request that never ends keeps nobody waiting.
    let mut slow = TcpStream::connect(esker.http).await?;
    slow.write_all(b"POST /api/v1/topics HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        .await?;

    let posts: [(&str, &[u8], u16, &str); 9] = [
        (records, b"{", 400, "JSON"),
        (records, b"\xff\xfe", 400, "JSON"),
        (records, br#"{"records":[]}"#, 400, "no records"),
        (records, br#"{"records":[{"vale":"x"}]}"#, 400, "vale"),
        (
            records,
            br#"{"records":[{"value":{"base64":"*"}}]}"#,
            400,
            "base64",
        ),
        (
            records,
            br#"{"records":[{"partition":7,"value":"x"}]}"#,
            404,
            "partition 7",
        ),
        (
            "/api/v1/topics/none/records",
            br#"{"records":[{"value":"x"}]}"#,
            404,
            "none",
        ),
        ("/api/v1/topics", br#"{"name":"a/b"}"#, 400, "a/b"),
        ("/api/v1/topics", br#"{"name":"t"}"#, 409, "already exists"),
    ];
    for (path, body, status, word) in posts {
        let answer = api.post_bytes(path, body.to_vec()).await?;
        check(&answer, status, word)?;
    }
    let gets = [
        (format!("{read}?ofset=1"), 400, "ofset"),
        (format!("{read}?offset=-1"), 400, "offset"),
        (format!("{read}?offset=99"), 416, ""),
        (format!("{read}?offset=1&tail=1"), 400, "one of"),
        (
            "/api/v1/topics/t/partitions/9/records".to_owned(),
            404,
            "partition",
        ),
        ("/api/v1/topics/none".to_owned(), 404, "none"),
        ("/api/v2/topics".to_owned(), 404, "/openapi.json"),
        (records.to_owned(), 405, ""),
    ];
    for (path, status, word) in &gets {
        check(&api.get(path).await?, *status, word)?;
    }
    let huge = json!({ "records": [{ "value": "x".repeat(40 * 1024 * 1024) }] });
    let huge = api.post(records, &huge).await;
    let large = json!({ "records": [{ "value": "x".repeat(2 * 1024 * 1024) }] });
    let large = api.post(records, &large).await?;

    // The body is refused while it is still on its way: an answer or a closed connection.
    if let Ok(answer) = &huge {
        check(answer, 413, "")?;
    }
    check(&large, 413, "")?;
    api.append("t", Some(0), &[HttpRecord::new(None, Some(b"fine"))])
        .await?;
    let read = api.read("t", 0, "from=earliest").await?;
    ensure!(read.len() == 1, "only the good record is there: {read:?}");
    proved(&format!(
        "{} misuses of HTTP get problem documents with what is wrong; a slow request disturbs \
         nobody; only the good record was written",
        posts.len() + gets.len() + 2
    ));
    Ok(())
}

fn check(answer: &esker_e2e::Answer, status: u16, word: &str) -> anyhow::Result<()> {
    ensure!(answer.status == status, "{status} wanted: {answer:?}");
    let kind = answer.body["type"].as_str().unwrap_or_default();
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    ensure!(
        kind.starts_with("/problems/") && !detail.is_empty(),
        "{answer:?}"
    );
    ensure!(answer.body["status"] == status, "{answer:?}");
    ensure!(detail.contains(word), "{word:?} is missing: {answer:?}");
    Ok(())
}
