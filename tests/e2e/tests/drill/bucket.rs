//! Hands on the bucket behind a stopped server's back, and runs of the tools on it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use esker_e2e::load::{ProducerKind, ProducerPlan};
use esker_e2e::{Program, Ran, TestStore, esker};
use esker_object::{Bucket, ObjectKey, PutOutcome, ReadRange};
use serde_json::Value;

pub(crate) const TOPIC: &str = "drill";
pub(crate) const PARTITIONS: i32 = 4;

/// A tool's run and its JSON.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) ran: Ran,
    pub(crate) report: Value,
}

/// `esker <command>` on this store.
pub(crate) fn tool(store: &TestStore, command: &str) -> anyhow::Result<Program> {
    let s3 = store.endpoint().map(TestStore::s3_arguments);
    Ok(esker()?
        .args([command, "--store", &store.url(), "-o", "json"])
        .args(s3.unwrap_or_default())
        .limit(Duration::from_secs(120)))
}

pub(crate) async fn told(program: Program) -> anyhow::Result<Told> {
    let ran = program.run().await?;
    let report = serde_json::from_slice(&ran.stdout).with_context(|| ran.tell())?;
    Ok(Told { ran, report })
}

/// `esker verify` finds no damage.
pub(crate) async fn is_clean(store: &TestStore, more: &[&str]) -> anyhow::Result<Told> {
    let told = told(tool(store, "verify")?.args(more)).await?;
    ensure!(told.ran.status.code() == Some(0), "{}", told.ran.tell());
    ensure!(told.report["verdict"] == "clean", "{}", told.ran.tell());
    Ok(told)
}

/// `esker verify` ends with 1 and finds this kind at this key.
pub(crate) async fn finds(store: &TestStore, kind: &str, key: &ObjectKey) -> anyhow::Result<()> {
    let told = told(tool(store, "verify")?).await?;
    ensure!(told.ran.status.code() == Some(1), "{}", told.ran.tell());
    let findings = told.report["findings"].as_array();
    let mut findings = findings.into_iter().flatten();
    let is_it = |row: &&Value| row["kind"] == kind && row["key"] == key.as_str();
    let found = findings.find(is_it).with_context(|| told.ran.tell())?;
    ensure!(found["severity"] == "damage", "{found}");
    ensure!(
        found["to_do"]
            .as_str()
            .is_some_and(|words| !words.is_empty()),
        "{found}"
    );
    Ok(())
}

/// Keys that hold this text, in order.
pub(crate) async fn keys(bucket: &dyn Bucket, folder: &str) -> anyhow::Result<Vec<ObjectKey>> {
    let mut keys = Vec::new();
    for digit in "0123456789abcdef".chars() {
        let prefix = ObjectKey::from_listing(&digit.to_string()).context("a prefix")?;
        let mut after = None;
        loop {
            let page = bucket.list_after(&prefix, after.as_ref(), 1000).await?;
            after = page.last().map(|row| row.key.clone());
            let wanted = page.into_iter().map(|row| row.key);
            keys.extend(wanted.filter(|key| key.as_str().contains(folder)));
            if after.is_none() {
                break;
            }
        }
    }
    Ok(keys)
}

pub(crate) async fn change(
    bucket: &dyn Bucket,
    key: &ObjectKey,
    change: impl FnOnce(&mut Vec<u8>),
) -> anyhow::Result<Bytes> {
    let read = bucket.get(key, ReadRange::Full).await?;
    let whole = read.context("an object")?.bytes;
    let mut bytes = whole.to_vec();
    change(&mut bytes);
    put(bucket, key, bytes.into()).await?;
    Ok(whole)
}

/// Puts these bytes in place of what is there.
pub(crate) async fn put(bucket: &dyn Bucket, key: &ObjectKey, bytes: Bytes) -> anyhow::Result<()> {
    bucket.delete(key).await?;
    let put = bucket.put_if_absent(key, bytes).await;
    ensure!(matches!(put, PutOutcome::Created), "{put:?}");
    Ok(())
}

/// The bucket of a server that does not run.
pub(crate) async fn open(store: &TestStore) -> anyhow::Result<Arc<dyn Bucket>> {
    store.bucket().await
}

/// Three idempotent producers and two plain ones.
pub(crate) fn producers(address: std::net::SocketAddr, seed: u64) -> Vec<ProducerPlan> {
    let kinds = [
        ProducerKind::Idempotent,
        ProducerKind::Idempotent,
        ProducerKind::Idempotent,
        ProducerKind::Plain,
        ProducerKind::Plain,
    ];
    let plans = (1..).zip(kinds).map(|(producer, kind)| ProducerPlan {
        producer,
        kind,
        addresses: vec![address],
        topic: TOPIC.to_owned(),
        partitions: PARTITIONS,
        in_flight: 5,
        pause: Duration::from_millis(4),
        answer_within: Duration::from_secs(10),
        finish_within: Duration::from_secs(30),
        seed: seed ^ u64::from(producer),
    });
    plans.collect()
}
