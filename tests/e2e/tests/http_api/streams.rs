//! Streams in and out: many records, bounded memory, the same bytes; events that resume.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use esker_e2e::{HttpApi, proved};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::start;

const RECORDS: usize = 60_000;
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const BATCHES: &str = "application/vnd.esker.batches";
/// Far below what the stream carries and what it is read back as, together.
const RESIDENT_BYTES_MAX: u64 = 400 * 1024 * 1024;

/// A line of the process's status: `VmHWM` is the most it ever was, `VmRSS` what it is now.
fn memory_bytes(process: u32, name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find(|line| line.starts_with(&format!("{name}:")))
        .context("no such line")?;
    let kilobytes = line.split_whitespace().nth(1).context("no number")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

fn last_line(text: &str) -> anyhow::Result<Value> {
    let line = text.lines().last().context("no line")?;
    Ok(serde_json::from_str(line)?)
}

async fn values(api: &HttpApi, topic: &str) -> anyhow::Result<Vec<String>> {
    let path = format!("/api/v1/topics/{topic}/partitions/0/records");
    let response = api
        .open(&path, &[("accept", "application/x-ndjson")])
        .await?;
    ensure!(response.status() == 200, "{response:?}");
    let text = response.text().await?;
    let value = |line: &str| {
        let row: Value = serde_json::from_str(line)?;
        Ok(row["value"].as_str().context("no value")?.to_owned())
    };
    text.lines().map(value).collect()
}

#[tokio::test]
async fn a_stream_of_many_records_goes_in_and_comes_out_the_same_in_bounded_memory()
-> anyhow::Result<()> {
    let (_store, esker, api) = start().await?;
    api.create_topic("one", 1).await?;
    api.create_topic("two", 1).await?;
    let filler = "x".repeat(1000);
    let sent: Vec<String> = (0..RECORDS)
        .map(|number| format!("{number} {filler}"))
        .collect();
    let mut body = String::new();
    for value in &sent {
        body.push_str(&format!("{{\"value\":\"{value}\"}}\n"));
    }
    let bytes = body.len();

    let answer = api
        .post_with("/api/v1/topics/one/records", &[NDJSON], body)
        .await?;
    let last = last_line(&answer.text)?;
    ensure!(last["done"] == true && last["records"] == RECORDS, "{last}");
    ensure!(
        values(&api, "one").await? == sent,
        "NDJSON comes back the same"
    );

    let path = "/api/v1/topics/one/partitions/0/records";
    let response = api.open(path, &[("accept", BATCHES)]).await?;
    let batches: Bytes = response.bytes().await?;
    let path = "/api/v1/topics/two/partitions/0/records";
    let copied = api
        .post_with(path, &[("content-type", BATCHES)], batches)
        .await?;
    let last = last_line(&copied.text)?;
    ensure!(last["done"] == true && last["records"] == RECORDS, "{last}");
    ensure!(values(&api, "two").await? == sent, "record batches too");

    let resident = memory_bytes(esker.id(), "VmHWM")?;
    ensure!(resident < RESIDENT_BYTES_MAX, "{resident} bytes resident");
    proved(&format!(
        "{RECORDS} records ({bytes} bytes of NDJSON) in and out as NDJSON and as record batches; \
         at most {} MiB resident",
        resident / 1024 / 1024
    ));
    Ok(())
}

/// A stream in that has sent a line of a mebibyte, and heard that it is in the log.
async fn stream_at_rest(address: std::net::SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let head = "POST /api/v1/topics/t/records HTTP/1.1\r\nHost: h\r\n\
                Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
    // The record is small, its line is not.
    let line = format!("{{\"value\":\"v\"}}{}\n", " ".repeat(1024 * 1024));
    let request = format!("{head}{:x}\r\n{line}\r\n", line.len());
    stream.write_all(request.as_bytes()).await?;
    let mut told = String::new();
    while !told.contains("\"records\":1") {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await?;
        ensure!(count > 0, "the stream ended: {told}");
        told.push_str(&String::from_utf8_lossy(
            bytes.get(..count).unwrap_or_default(),
        ));
    }
    Ok(stream)
}

#[tokio::test]
async fn streams_at_rest_take_little_memory_and_end_when_the_process_stops() -> anyhow::Result<()> {
    const STREAMS: usize = 400;
    const REST_BYTES_MAX: u64 = 100 * 1024 * 1024;
    let (_store, mut esker, api) = start().await?;
    api.create_topic("t", 1).await?;
    let path = "/api/v1/topics/t/partitions/0/records?from=latest&follow=true";
    drop(stream_at_rest(esker.http).await?);
    let before = memory_bytes(esker.id(), "VmRSS")?;

    let mut open = Vec::new();
    for _ in 0..STREAMS {
        open.push(stream_at_rest(esker.http).await?);
    }
    let after = memory_bytes(esker.id(), "VmRSS")?;
    let batches = api.open(path, &[("accept", BATCHES)]).await?;
    let clock = esker_env::Env::system().clock;
    let begun = clock.now();
    let stopped = esker.stop().await?;
    let waited = clock.now().since(begun);
    let rest = batches.bytes().await?;
    let mut last = open.pop().context("no stream")?;
    let mut told = String::new();
    last.read_to_string(&mut told).await?;

    let grown = after.saturating_sub(before);
    ensure!(
        grown < REST_BYTES_MAX,
        "{grown} bytes for {STREAMS} streams at rest"
    );
    ensure!(stopped.success(), "{stopped}");
    ensure!(waited < std::time::Duration::from_secs(10), "{waited:?}");
    ensure!(rest.is_empty(), "{rest:?}");
    ensure!(told.contains("\"done\":false,\"records\":1"), "{told}");
    proved(&format!(
        "{STREAMS} streams at rest behind lines of 1 MiB take {} KiB each; all end with the \
         process, told so, within {waited:?}",
        grown / 1024 / u64::try_from(STREAMS)?
    ));
    Ok(())
}

/// The ids of the next events.
async fn ids(response: &mut reqwest::Response, count: usize) -> anyhow::Result<Vec<u64>> {
    let mut text = String::new();
    loop {
        let lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let ids = lines.filter_map(|line| line.trim().strip_prefix("id: "));
        let ids: Vec<u64> = ids.map(str::parse).collect::<Result<_, _>>()?;
        if ids.len() >= count {
            return Ok(ids);
        }
        let piece = response.chunk().await?.context("the events ended")?;
        text.push_str(std::str::from_utf8(&piece)?);
    }
}

#[tokio::test]
async fn events_resume_behind_the_last_one_seen_also_after_kill_9() -> anyhow::Result<()> {
    let (store, mut esker, api) = start().await?;
    api.create_topic("t", 1).await?;
    let path = "/api/v1/topics/t/partitions/0/records";
    let append = async |api: &HttpApi, value: &str| {
        let kind = [("content-type", "application/octet-stream")];
        let answer = api.post_with(path, &kind, value).await?;
        ensure!(answer.status == 200, "{answer:?}");
        anyhow::Ok(())
    };
    let events = ("accept", "text/event-stream");

    let mut tail = api.open(&format!("{path}?from=latest"), &[events]).await?;
    append(&api, "a").await?;
    append(&api, "b").await?;
    let before = ids(&mut tail, 2).await?;
    esker.kill9()?;
    drop(tail);
    esker = store.esker().await?;
    let api = HttpApi::new(esker.http);
    append(&api, "c").await?;
    let last = before.last().context("no event")?.to_string();
    let mut tail = api
        .open(
            &format!("{path}?from=latest"),
            &[events, ("last-event-id", &last)],
        )
        .await?;
    append(&api, "d").await?;
    let after = ids(&mut tail, 2).await?;
    drop(tail);
    let stopped = esker.stop().await?;

    ensure!(before == [0, 1] && after == [2, 3], "{before:?} {after:?}");
    ensure!(stopped.success(), "{stopped}");
    proved("an SSE client saw 0 and 1, then after kill -9 with Last-Event-ID exactly 2 and 3");
    Ok(())
}
