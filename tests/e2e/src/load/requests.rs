//! Batches and requests as producers make them, and one figure of a running process.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use esker_env::{Env, timeout};
use esker_kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};
use esker_kafka::messages::{ProduceRequest, StrBytes, TopicName};
use esker_record::{BatchBuilder, Compression, NewRecord};
use esker_types::{ProducerEpoch, ProducerId};

/// The version of Produce that the load speaks.
pub const PRODUCE_VERSION: i16 = 11;
const PRODUCE_TIMEOUT_MS: i32 = 30_000;

/// Identity of an idempotent producer and the first sequence of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchOwner {
    /// Producer id.
    pub id: ProducerId,
    /// Producer epoch.
    pub epoch: ProducerEpoch,
    /// Sequence of the first record.
    pub base_sequence: i32,
}

/// A record batch with one record per value.
///
/// # Errors
/// Too large, or empty.
pub fn batch_of(
    values: impl IntoIterator<Item = Bytes>,
    compression: Compression,
    owner: Option<BatchOwner>,
) -> anyhow::Result<Bytes> {
    let now = Env::system().clock.wall();
    let mut builder = BatchBuilder::new(compression);
    if let Some(owner) = owner {
        builder = builder.producer(owner.id, owner.epoch, owner.base_sequence);
    }
    for value in values {
        builder.push(&NewRecord {
            timestamp: now,
            value: Some(value),
            ..NewRecord::default()
        })?;
    }
    Ok(builder.build()?)
}

/// `text`, filled up to `bytes` with what no compression shrinks much.
#[must_use]
pub fn padded(text: &str, bytes: usize) -> Bytes {
    let mut value = format!("{text}:").into_bytes();
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for byte in text.bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    while value.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend_from_slice(&state.to_be_bytes());
    }
    value.truncate(bytes.max(text.len() + 1));
    Bytes::from(value)
}

/// A request with acks = all.
#[must_use]
pub fn produce_request(
    topic: &str,
    batches: impl IntoIterator<Item = (i32, Bytes)>,
) -> ProduceRequest {
    let partitions = batches.into_iter().map(|(partition, batch)| {
        PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch))
    });
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_data(partitions.collect());
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(PRODUCE_TIMEOUT_MS)
        .with_topic_data(vec![topic])
}

/// One figure of `/metrics`: the sum over all labels.
///
/// # Errors
/// The process does not answer, or has no such figure.
pub async fn metric(http: SocketAddr, name: &str) -> anyhow::Result<f64> {
    let text = reqwest::get(format!("http://{http}/metrics"))
        .await?
        .text()
        .await?;
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let rows = rows.filter(|line| line.split(['{', ' ']).next() == Some(name));
    let values = rows.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values
        .reduce(|sum, value| sum + value)
        .with_context(|| format!("no metric {name}"))
}

/// Tries until it succeeds, at most for `limit`; the last failure is told.
///
/// # Errors
/// The last failure.
pub async fn retried<T>(
    limit: Duration,
    attempt: impl AsyncFn() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let clock = Env::system().clock;
    let deadline = clock.now().after(limit);
    loop {
        let left = deadline.since(clock.now());
        let failure = match timeout(clock.as_ref(), left, attempt()).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failure)) => failure,
            Err(elapsed) => elapsed.into(),
        };
        if clock.now() >= deadline {
            return Err(failure);
        }
        clock.sleep(Duration::from_millis(50)).await;
    }
}
