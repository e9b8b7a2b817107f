//! A tiny S3 in memory: conditional put with checksum, ranged get, head, list, delete.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use esker_env::TaskGroup;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;
type Answer = Response<Full<Bytes>>;

/// CRC-64/NVME, bit by bit.
fn crc64_nvme(bytes: &[u8]) -> u64 {
    let sum = bytes.iter().fold(u64::MAX, |sum, byte| {
        (0..8).fold(sum ^ u64::from(*byte), |sum, _| match sum & 1 {
            0 => sum >> 1,
            _ => sum >> 1 ^ 0x9a6c_9329_ac4b_c9b5,
        })
    });
    !sum
}

/// A running store.
#[derive(Debug)]
pub(super) struct FakeStore {
    pub(super) address: SocketAddr,
    objects: Objects,
    puts: Arc<Mutex<u32>>,
    _tasks: TaskGroup,
}

impl FakeStore {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (objects, puts) = (Objects::default(), Arc::new(Mutex::new(0)));
        let mut tasks = TaskGroup::new("fake store");
        let (shared, count) = (Arc::clone(&objects), Arc::clone(&puts));
        tasks.spawn(async move {
            let mut connections = TaskGroup::new("fake store connections");
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, count) = (Arc::clone(&shared), Arc::clone(&count));
                connections.spawn(async move {
                    let service = service_fn(|request| answer(&shared, &count, request));
                    let served = http1::Builder::new();
                    let _ = served.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self {
            address,
            objects,
            puts,
            _tasks: tasks,
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.objects
            .lock()
            .unwrap()
            .keys()
            .any(|path| path.ends_with(key))
    }

    /// Puts that arrived, whatever became of them.
    pub(super) fn puts(&self) -> u32 {
        *self.puts.lock().unwrap()
    }
}

fn plain(status: u16, body: impl Into<Bytes>) -> Answer {
    Response::builder()
        .status(status)
        .header("etag", "\"1\"")
        .header("last-modified", "Tue, 24 Nov 2026 06:00:00 GMT")
        .body(Full::new(body.into()))
        .unwrap()
}

fn error(status: u16, code: &str) -> Answer {
    plain(status, format!("<Error><Code>{code}</Code></Error>"))
}

async fn answer(
    objects: &Objects,
    puts: &Mutex<u32>,
    request: Request<Incoming>,
) -> Result<Answer, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let path = parts.uri.path().trim_start_matches('/').to_owned();
    let mut objects = objects.lock().unwrap();
    if parts.method == Method::PUT {
        *puts.lock().unwrap() += 1;
        let digest: String = Sha256::digest(&body)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let signed = header("x-amz-content-sha256").filter(|wanted| wanted != "UNSIGNED-PAYLOAD");
        if signed.is_some_and(|wanted| wanted != digest) {
            return Ok(error(400, "XAmzContentSHA256Mismatch"));
        }
        let sum = BASE64_STANDARD.encode(crc64_nvme(&body).to_be_bytes());
        if header("x-amz-checksum-crc64nvme").is_some_and(|wanted| wanted != sum) {
            return Ok(error(400, "BadDigest"));
        }
        if header("if-none-match").is_some() && objects.contains_key(&path) {
            return Ok(error(412, "PreconditionFailed"));
        }
        objects.insert(path, body);
        return Ok(plain(200, ""));
    }
    if parts.method == Method::DELETE {
        objects.remove(&path);
        return Ok(plain(204, ""));
    }
    if let Some(query) = parts
        .uri
        .query()
        .filter(|query| query.contains("list-type"))
    {
        return Ok(plain(200, list(&objects, &path, query)));
    }
    let Some(body) = objects.get(&path) else {
        return Ok(error(404, "NoSuchKey"));
    };
    if parts.method == Method::HEAD {
        let mut reply = plain(200, "");
        reply
            .headers_mut()
            .insert("content-length", body.len().into());
        return Ok(reply);
    }
    Ok(match header("range") {
        Some(range) => part(body, range.strip_prefix("bytes=").unwrap()),
        None => plain(200, body.clone()),
    })
}

fn part(body: &Bytes, range: &str) -> Answer {
    let (from, to) = range.split_once('-').unwrap();
    let (start, end) = match (from, to) {
        ("", count) => {
            let count: usize = count.parse().unwrap();
            (body.len().saturating_sub(count), body.len())
        }
        (from, "") => (from.parse().unwrap(), body.len()),
        (from, to) => {
            let end: usize = to.parse().unwrap();
            (from.parse().unwrap(), (end + 1).min(body.len()))
        }
    };
    if start >= end {
        return error(416, "InvalidRange");
    }
    let mut reply = plain(206, body.slice(start..end));
    let content_range = format!("bytes {start}-{}/{}", end - 1, body.len());
    reply
        .headers_mut()
        .insert("content-range", content_range.parse().unwrap());
    reply
}

fn list(objects: &BTreeMap<String, Bytes>, bucket: &str, query: &str) -> String {
    let value = |name: &str| {
        let found = query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then(|| value.replace("%2F", "/"))
        });
        found.unwrap_or_default()
    };
    let bucket = bucket.trim_end_matches('/');
    let (prefix, after) = (value("prefix"), value("start-after"));
    let count_max = value("max-keys").parse().unwrap_or(1000);
    let rows = objects.iter().filter_map(|(path, body)| {
        let key = path.strip_prefix(bucket)?.strip_prefix('/')?;
        (key.starts_with(&prefix) && key > after.as_str()).then_some((key, body.len()))
    });
    let rows: String = rows
        .take(count_max)
        .map(|(key, size)| {
            format!(
                "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>1</ETag>\
                 <LastModified>2026-11-24T06:00:00Z</LastModified></Contents>"
            )
        })
        .collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>")
}
