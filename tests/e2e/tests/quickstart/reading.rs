//! Records come back byte for byte: every codec, every offset, over Kafka and over HTTP.

use anyhow::{Context as _, ensure};
use esker_e2e::{HttpApi, HttpRecord, Kcat, KcatRecord, Program, StoreKind, proved};
use esker_testkit::EskerProcess;

use crate::start;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// Records of each batch.
const BATCH_RECORDS: usize = 24;

/// Key and value of a record as it was stored.
type KeyValue = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Keys and values with nulls, bytes that are no text, and enough of the same to compress.
fn records(salt: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let record = |number: usize| {
        let byte = u8::try_from((salt * 31 + number * 7) % 256).unwrap_or_default();
        match number % 4 {
            0 => (Vec::new(), format!("text {salt} {number}\n").into_bytes()),
            1 => (vec![0xff, byte], vec![byte; 300 + number]),
            2 => (format!("key {number}").into_bytes(), Vec::new()),
            _ => (vec![b'k', byte], vec![0, 0xfe, byte, b'\n', 0]),
        }
    };
    (0..BATCH_RECORDS).map(record).collect()
}

/// As kcat's `-Z` sends them: what is empty is null.
fn non_empty(bytes: &[u8]) -> Option<Vec<u8>> {
    (!bytes.is_empty()).then(|| bytes.to_vec())
}

fn wanted(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<KeyValue> {
    let row = |(key, value): &(Vec<u8>, Vec<u8>)| (non_empty(key), non_empty(value));
    records.iter().map(row).collect()
}

fn of_kcat(record: &KcatRecord) -> KeyValue {
    (record.key.clone(), record.value.clone())
}

fn of_http(record: &HttpRecord) -> KeyValue {
    (record.key.clone(), record.value.clone())
}

pub(crate) async fn codecs(kind: StoreKind) -> anyhow::Result<()> {
    let (_store, esker) = start(kind).await?;
    let (kcat, api) = (Kcat::new(esker.kafka), HttpApi::new(esker.http));
    let headers = ["-H", "trace=abc", "-H", "trace=again", "-H", "empty="];

    for (salt, codec) in CODECS.into_iter().enumerate() {
        let topic = format!("codec-{codec}");
        let records = records(salt);
        kcat.produce(&topic, &records, &[&["-z", codec][..], &headers].concat())
            .await?;

        let read = kcat.consume(&topic, "beginning", &[]).await?;
        let by_http = api.read(&topic, 0, "from=earliest").await?;

        let wanted = wanted(&records);
        ensure!(
            read.iter().map(of_kcat).collect::<Vec<_>>() == wanted,
            "{codec}: {read:?}"
        );
        ensure!(
            by_http.iter().map(of_http).collect::<Vec<_>>() == wanted,
            "{codec}: {by_http:?}"
        );
        for (place, (record, http)) in read.iter().zip(&by_http).enumerate() {
            ensure!(
                record.headers == b"trace=abc,trace=again,empty=",
                "{record:?}"
            );
            let named = http
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_deref()));
            let wanted: [(&str, Option<&[u8]>); 3] = [
                ("trace", Some(b"abc")),
                ("trace", Some(b"again")),
                ("empty", Some(b"")),
            ];
            ensure!(named.eq(wanted), "{http:?}");
            ensure!(
                usize::try_from(record.offset)? == place,
                "{record:?} at {place}"
            );
            ensure!(
                usize::try_from(http.offset)? == place,
                "{http:?} at {place}"
            );
        }
    }

    proved(&format!(
        "{kind:?}: kcat's {BATCH_RECORDS} records per codec of {CODECS:?} come back byte for byte \
         over Kafka and HTTP: null keys, null values, headers in order"
    ));
    Ok(())
}

fn http_records() -> Vec<HttpRecord> {
    let mut headers = HttpRecord::new(Some(b"key"), Some(b"with headers"));
    headers.headers = vec![
        ("a".to_owned(), Some(b"1".to_vec())),
        ("a".to_owned(), Some(vec![0xff, 0xfe])),
    ];
    vec![
        HttpRecord::new(None, Some("héllo".as_bytes())),
        HttpRecord::new(Some(&[0xff, 0x00, 0xfe]), Some(&[0x80, 0x0a, 0x00])),
        HttpRecord::new(Some(b"tombstone"), None),
        HttpRecord::new(Some(b""), Some(b"")),
        headers,
    ]
}

pub(crate) async fn curl_and_kcat(kind: StoreKind) -> anyhow::Result<()> {
    let (_store, esker) = start(kind).await?;
    let (kcat, api) = (Kcat::new(esker.kafka), HttpApi::new(esker.http));
    api.create_topic("shared", 1).await?;
    let written = http_records();

    // HTTP writes, kcat reads.
    let places = api.append("shared", Some(0), &written).await?;
    let read = kcat.consume("shared", "beginning", &[]).await?;
    ensure!(read.len() == written.len(), "{read:?}");
    for ((record, (_, offset)), http) in read.iter().zip(&places).zip(&written) {
        ensure!(of_kcat(record) == of_http(http), "{record:?} {http:?}");
        ensure!(
            u64::try_from(record.offset)? == *offset,
            "{record:?} at {offset}"
        );
    }
    let last = read.last().context("records")?;
    ensure!(
        last.headers == b"a=1,a=\xff\xfe",
        "headers: {:?}",
        last.headers
    );

    // The real curl writes text, kcat writes bytes, the real curl reads both.
    let url = api.url("/api/v1/topics/shared/records");
    let body = r#"{"records":[{"key":"c","value":"by curl"}]}"#;
    Program::new("curl")
        .args(["-sSf", &url, "-d", body])
        .succeed()
        .await?;
    let bytes = [(b"k".to_vec(), vec![0xff, 0x01])];
    kcat.produce("shared", &bytes, &["-H", "from=kcat"]).await?;
    let first = written.len();
    let url = api.url("/api/v1/topics/shared/partitions/0/records");
    let url = format!("{url}?offset={first}");
    let got = Program::new("curl").args(["-sSf", &url]).succeed().await?;
    let got: serde_json::Value = serde_json::from_slice(&got.stdout)?;
    let rows = got["records"].as_array().context("no records")?;
    ensure!(rows.len() == 2, "{got}");
    ensure!(
        rows[0]["value"] == "by curl" && rows[0]["offset"] == first,
        "{got}"
    );
    ensure!(
        rows[1]["value"] == serde_json::json!({ "base64": "/wE=" }),
        "{got}"
    );
    ensure!(rows[1]["headers"][0]["value"] == "kcat", "{got}");
    ensure!(
        got["next_offset"] == first + 2 && got["high_watermark"] == first + 2,
        "{got}"
    );

    proved(&format!(
        "{kind:?}: curl and kcat read what the other wrote at the same offsets: bytes that are no \
         text, nulls, empty values, headers twice by name"
    ));
    Ok(())
}

/// Every offset as a start, over Kafka and over HTTP.
async fn from_everywhere(esker: &EskerProcess, wanted: &[KeyValue]) -> anyhow::Result<()> {
    let (kcat, api) = (Kcat::new(esker.kafka), HttpApi::new(esker.http));
    let count = wanted.len();
    // From the middle on and then around, so that a cold cache meets every kind of start.
    for offset in (0..count).map(|step| (step + count / 2) % count) {
        let rest = wanted.get(offset..).unwrap_or_default();
        let read = kcat
            .consume("offsets", &offset.to_string(), &["-p", "0"])
            .await?;
        ensure!(
            read.iter().map(of_kcat).eq(rest.iter().cloned()),
            "from {offset}: {read:?}"
        );
        ensure!(
            read.first().map(|row| row.offset) == i64::try_from(offset).ok(),
            "{offset}"
        );
        let by_http = api.read("offsets", 0, &format!("offset={offset}")).await?;
        ensure!(
            by_http.iter().map(of_http).eq(rest.iter().cloned()),
            "{offset}: {by_http:?}"
        );
        let first = by_http.first().map(|row| row.offset);
        ensure!(
            first == u64::try_from(offset).ok(),
            "from {offset}: {first:?}"
        );
    }
    Ok(())
}

pub(crate) async fn every_offset(kind: StoreKind) -> anyhow::Result<()> {
    let (store, mut esker) = start(kind).await?;
    let kcat = Kcat::new(esker.kafka);
    let mut all = Vec::new();
    for (salt, codec) in CODECS.into_iter().enumerate() {
        let records = records(salt);
        // One batch per codec: the linger gathers what kcat reads at once.
        kcat.produce("offsets", &records, &["-z", codec, "-X", "linger.ms=200"])
            .await?;
        all.extend(wanted(&records));
    }

    from_everywhere(&esker, &all).await.context("warm")?;
    esker.kill9()?;
    let esker = store.esker().await?;
    from_everywhere(&esker, &all)
        .await
        .context("after kill -9 and a cold start")?;

    proved(&format!(
        "{kind:?}: each of {} offsets inside batches of {CODECS:?} is a start that reads exactly \
         the rest, by kcat and HTTP, warm and after kill -9",
        all.len()
    ));
    Ok(())
}
