//! Reads partitions and writes down every answer: readers beside the load, and the last reading.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use esker_e2e::load::{Connection, padded};
use esker_env::{Env, Shutdown};
use esker_history::format::{Done, Isolation, Operation, Poll, Read};
use esker_kafka::KafkaError;
use esker_kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use esker_kafka::messages::fetch_response::PartitionData;
use esker_kafka::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, StrBytes,
    TopicName,
};
use esker_record::{ReadLimits, Record, read_records, split_batches};

use crate::recorder::{End, Recorder, key, nothing, value};

const API_VERSIONS: (ApiKey, i16) = (ApiKey::ApiVersions, 3);
const FETCH: (ApiKey, i16) = (ApiKey::Fetch, 12);
const WAIT_MS: i32 = 200;
const PARTITION_BYTES_MAX: i32 = 256 * 1024;
const ANSWER_BYTES_MAX: i32 = 1024 * 1024;
/// The size to which producers fill their values.
const VALUE_BYTES: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// A process that can be asked: its name and its Kafka address.
pub(crate) type PodAddress = (String, SocketAddr);

/// Reads some partitions of a topic from given offsets on.
#[derive(Debug)]
pub(crate) struct Reader {
    p: u32,
    topic: String,
    /// What the history calls the topic.
    label: String,
    recorder: Recorder,
    next: BTreeMap<i32, u64>,
    is_last: bool,
    answer_within: Duration,
    /// Partitions that were answered with an error, by the code's name.
    pub(crate) errors: BTreeMap<String, u64>,
    /// A running hash of offsets and values, by partition.
    pub(crate) hashes: BTreeMap<i32, u64>,
    /// High watermarks that it was told.
    pub(crate) ends: u64,
}

impl Reader {
    /// At offset 0 of each partition.
    pub(crate) fn new(recorder: &Recorder, topic: &str, partitions: &[i32], is_last: bool) -> Self {
        Self::labelled(recorder, (topic, topic), partitions, is_last)
    }

    /// The same; the history calls the topic by another name.
    pub(crate) fn labelled(
        recorder: &Recorder,
        (topic, label): (&str, &str),
        partitions: &[i32],
        is_last: bool,
    ) -> Self {
        let reader = Self {
            p: recorder.process(),
            topic: topic.to_owned(),
            label: label.to_owned(),
            recorder: recorder.clone(),
            next: partitions.iter().map(|at| (*at, 0)).collect(),
            is_last,
            answer_within: Duration::from_secs(3),
            errors: BTreeMap::new(),
            hashes: BTreeMap::new(),
            ends: 0,
        };
        let at = reader.next.iter();
        let at = at.map(|(partition, next)| (key(label, *partition), *next));
        recorder.assign(reader.p, at.collect());
        reader
    }

    /// Where it goes on in a partition.
    pub(crate) fn position(&self, partition: i32) -> u64 {
        self.next.get(&partition).copied().unwrap_or(0)
    }

    /// Follows until asked to stop, through any pod that answers.
    pub(crate) async fn follow(
        &mut self,
        pods: &[PodAddress],
        first: usize,
        stop: &Shutdown,
    ) -> anyhow::Result<()> {
        let clock = Env::system().clock;
        let mut turn = first;
        while !stop.is_requested() {
            let (name, address) = pods.get(turn % pods.len()).context("a pod")?;
            turn += 1;
            if let Ok(mut connection) = Connection::open(*address).await
                && self.introduce(&mut connection).await
            {
                while !stop.is_requested() && self.poll(name, &mut connection).await? {}
            }
            clock.sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Says what it is, as clients do that are sent to other pods; false without an answer.
    async fn introduce(&self, connection: &mut Connection) -> bool {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("esker-faults"))
            .with_client_software_version(StrBytes::from_static_str("1"));
        let asked = connection.ask(API_VERSIONS, &request, self.answer_within);
        let told: anyhow::Result<ApiVersionsResponse> = asked.await;
        told.is_ok()
    }

    /// One fetch of all its partitions; false when this connection is of no more use.
    ///
    /// # Errors
    /// An answer that no reader may get.
    pub(crate) async fn poll(
        &mut self,
        pod: &str,
        connection: &mut Connection,
    ) -> anyhow::Result<bool> {
        let poll = Poll {
            keys: self.next.keys().map(|at| key(&self.label, *at)).collect(),
            iso: Isolation::Ru,
            last: self.is_last,
            txn: None,
        };
        let request = self.request();
        let op = self
            .recorder
            .begin(self.p, Some(pod), Operation::Poll(poll));
        let asked = connection.ask(FETCH, &request, self.answer_within);
        let reply: FetchResponse = match asked.await {
            Ok(reply) => reply,
            Err(_) => {
                self.recorder.end(op, End::Fail, nothing());
                return Ok(false);
            }
        };
        let mut read = BTreeMap::new();
        let mut is_well = reply.error_code == 0;
        let mut refused = None;
        for answer in reply.responses.iter().flat_map(|topic| &topic.partitions) {
            if answer.error_code != 0 {
                is_well = false;
                refused = refused.or(self.refuse(answer).err());
                continue;
            }
            if answer.preferred_read_replica.0 >= 0 {
                // It is sent elsewhere, and served here if it asks again.
                continue;
            }
            self.ends += 1;
            let part = self.take(answer)?;
            read.insert(key(&self.label, answer.partition_index), part);
        }
        let end = if read.is_empty() { End::Fail } else { End::Ok };
        self.recorder.end(op, end, Done { read, ..nothing() });
        match refused {
            Some(refused) => Err(refused),
            None => Ok(is_well),
        }
    }

    fn request(&self) -> FetchRequest {
        let partitions = self.next.iter().map(|(partition, next)| {
            FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(i64::try_from(*next).unwrap_or(i64::MAX))
                .with_partition_max_bytes(PARTITION_BYTES_MAX)
        });
        let topic = FetchTopic::default()
            .with_topic(TopicName(StrBytes::from_string(self.topic.clone())))
            .with_partitions(partitions.collect());
        FetchRequest::default()
            .with_max_wait_ms(WAIT_MS)
            .with_min_bytes(1)
            .with_max_bytes(ANSWER_BYTES_MAX)
            .with_topics(vec![topic])
    }

    /// Readers may be told to ask again, and nothing else.
    fn refuse(&mut self, answer: &PartitionData) -> anyhow::Result<()> {
        let error = KafkaError::from_code(answer.error_code).context("an unknown code")?;
        *self.errors.entry(error.to_string()).or_insert(0) += 1;
        ensure!(
            error.is_retriable(),
            "a reader of {} at {} was refused with {error}",
            key(&self.label, answer.partition_index),
            self.position(answer.partition_index)
        );
        Ok(())
    }

    fn take(&mut self, answer: &PartitionData) -> anyhow::Result<Read> {
        let told = |offset: i64| u64::try_from(offset).ok();
        let mut read = Read {
            hw: told(answer.high_watermark),
            lso: told(answer.last_stable_offset),
            log_start: told(answer.log_start_offset),
            ..Read::default()
        };
        let partition = answer.partition_index;
        let from = self.position(partition);
        let bytes = answer.records.clone().unwrap_or_default();
        if let Err(error) = self.take_records(partition, &bytes, &mut read) {
            tracing::warn!(%error, partition, "records that cannot be read");
            read.corrupt.push(from);
        }
        Ok(read)
    }

    fn take_records(
        &mut self,
        partition: i32,
        bytes: &Bytes,
        read: &mut Read,
    ) -> anyhow::Result<()> {
        let from = self.position(partition);
        for split in split_batches(bytes) {
            let (_, range) = split?;
            for record in read_records(&bytes.slice(range), &ReadLimits::default())? {
                let record = record?;
                let offset = u64::try_from(record.offset)?;
                if offset < from {
                    continue;
                }
                match value_of(&record) {
                    Ok(value) => {
                        read.recs.push((offset, value));
                        let hash = self
                            .hashes
                            .entry(partition)
                            .or_insert(0xcbf2_9ce4_8422_2325);
                        for word in [offset, value] {
                            *hash = (*hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
                        }
                    }
                    Err(_) => read.corrupt.push(offset),
                }
                self.next.insert(partition, offset + 1);
            }
        }
        Ok(())
    }
}

/// The identity of a record; its whole value must be what its producer sent.
fn value_of(record: &Record) -> anyhow::Result<u64> {
    value_in(record.value.as_ref().context("a record without value")?)
}

/// The identity that a value carries.
///
/// # Errors
/// The value is not what its producer sent.
pub(crate) fn value_in(bytes: &[u8]) -> anyhow::Result<u64> {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split(':');
    let mut part = || parts.next().with_context(|| format!("value {text:?}"));
    let (producer, number): (u32, u64) = (part()?.parse()?, part()?.parse()?);
    if padded(&format!("{producer}:{number}"), VALUE_BYTES) != *bytes {
        bail!("the value of {producer}:{number} is not what was sent");
    }
    Ok(value(producer, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_one_wrong_bit_is_nobodys() {
        let good = padded("7:12", VALUE_BYTES);
        let mut bad = good.to_vec();
        bad[60] ^= 1;

        assert_eq!(value_in(&good).unwrap(), value(7, 12));
        assert!(value_in(&bad).is_err());
    }
}
