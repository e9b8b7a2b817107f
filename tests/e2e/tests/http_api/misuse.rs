//! Clients that stall, close half, read nothing, or send what is no record: others are served.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use esker_e2e::proved;
use esker_env::{Env, timeout};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::start;

async fn raw(address: SocketAddr, request: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

fn post(path: &str, kind: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\n{more}\r\n")
}

#[tokio::test]
async fn clients_that_hang_cost_nobody_else_anything() -> anyhow::Result<()> {
    let (_store, esker, api) = start().await?;
    api.create_topic("t", 1).await?;
    let path = "/api/v1/topics/t/records";
    let one = "/api/v1/topics/t/partitions/0/records";
    let large = json!({"records": [{"value": "x".repeat(500_000)}]});
    for _ in 0..40 {
        api.post(path, &large).await?;
    }
    let mut hanging = Vec::new();
    for _ in 0..200 {
        let chunked = "Transfer-Encoding: chunked\r\n";
        let begin = post(path, "application/x-ndjson", chunked) + "4\r\n{\"va\r\n";
        hanging.push(raw(esker.http, &begin).await?);
        hanging.push(raw(esker.http, "GET /livez HTTP/1.1\r\nHo").await?);
        // Asks for 20 MB and reads nothing.
        let accept = "Accept: application/x-ndjson\r\n";
        let get = format!("GET {one} HTTP/1.1\r\nHost: h\r\n{accept}\r\n");
        hanging.push(raw(esker.http, &get).await?);
    }
    let clock = Env::system().clock;
    let others = json!({"records": [{"value": "others"}]});
    let asked = api.post(path, &others);
    let appended = timeout(&*clock, Duration::from_secs(20), asked).await??;
    let tail = timeout(&*clock, Duration::from_secs(20), api.read("t", 0, "tail=1")).await??;

    ensure!(appended.status == 200, "{appended:?}");
    ensure!(tail.len() == 1, "{tail:?}");
    ensure!(hanging.len() == 600);
    proved("with 600 hanging connections an append and a read are served");
    Ok(())
}

#[tokio::test]
async fn a_client_that_closes_its_side_is_answered_and_one_that_breaks_off_appends_nothing()
-> anyhow::Result<()> {
    let (_store, esker, api) = start().await?;
    api.create_topic("t", 1).await?;
    let path = "/api/v1/topics/t/records";
    let body = "{\"value\":\"whole\"}\n";
    let length = format!("Content-Length: {}\r\nConnection: close\r\n", body.len());
    let request = post(path, "application/x-ndjson", &length) + body;
    let mut half = raw(esker.http, &request).await?;
    half.shutdown().await?;
    let mut answer = String::new();
    half.read_to_string(&mut answer).await?;

    let longer = post(path, "application/json", "Content-Length: 1000\r\n") + "{\"records\":[";
    drop(raw(esker.http, &longer).await?);
    let read = api.read("t", 0, "from=earliest").await?;

    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    ensure!(answer.contains("\"done\":true"), "{answer}");
    ensure!(read.len() == 1, "{read:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_json_base64_ndjson_or_batch_is_told_and_appends_nothing() -> anyhow::Result<()>
{
    let (_store, _esker, api) = start().await?;
    api.create_topic("t", 1).await?;
    let path = "/api/v1/topics/t/partitions/0/records";
    let cases: [(&str, &[u8], u16, &str); 8] = [
        (
            "application/json",
            b"{\"records\":[{\"value\":\"a\"",
            400,
            "line 1",
        ),
        (
            "application/json",
            b"{\"records\":[{\"value\":{\"base64\":\"%\"}}]}",
            400,
            "records[0]",
        ),
        (
            "application/x-ndjson",
            b"{\"value\":\"a\xff\"}\n",
            400,
            "\"line\":1",
        ),
        (
            "application/x-ndjson",
            b"\n\n{\"valeu\":1}\n",
            400,
            "\"line\":3",
        ),
        ("application/vnd.esker.batches", &[0; 100], 400, "batch 1"),
        ("application/vnd.esker.batches", b"short", 400, "batch 1"),
        ("application/xml", b"<a/>", 415, "application/xml"),
        ("application/json", &[b' '; 9 * 1024 * 1024], 413, "8388608"),
    ];
    for (kind, body, status, word) in cases {
        let answer = api.post_with(path, &[("content-type", kind)], body).await?;
        ensure!(answer.status == status, "{kind}: {answer:?}");
        ensure!(answer.text.contains(word), "{kind}: {answer:?}");
    }
    let read = api.read("t", 0, "from=earliest").await?;
    ensure!(read.is_empty(), "{read:?}");
    Ok(())
}
