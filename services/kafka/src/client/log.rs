//! One partition's log for a client: produce, fetch, list offsets. Record batches stay raw bytes.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, ListOffsetsRequest, ProduceRequest, TopicName,
};

use super::error::check;
use super::topics::text;
use super::{Client, ClientError, Target};

/// Last version of Produce that names topics and needs no `transaction.version` 2.
const PRODUCE_VERSION_MAX: i16 = 11;
/// Last version of Fetch that names topics.
const FETCH_VERSION_MAX: i16 = 12;

/// Where a batch was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Offset of its first record.
    pub base_offset: i64,
    /// The broker's timestamp in milliseconds, when the topic uses LogAppendTime; else -1.
    pub log_append_time_ms: i64,
}

/// Which records a reader sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All below the high watermark.
    #[default]
    ReadUncommitted,
    /// Only those of committed transactions, and outside any.
    ReadCommitted,
}

/// How much is fetched and how long is waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// How long the broker may wait for `bytes_min`.
    pub wait_max: Duration,
    /// Fewest bytes worth an answer before `wait_max`.
    pub bytes_min: i32,
    /// Most bytes, though at least one whole batch comes.
    pub bytes_max: i32,
    /// Which records are seen.
    pub isolation: Isolation,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            wait_max: Duration::from_millis(500),
            bytes_min: 1,
            bytes_max: 8 * 1024 * 1024,
            isolation: Isolation::ReadUncommitted,
        }
    }
}

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where readers must stop for now.
    pub high_watermark: i64,
    /// The same for committed transactions.
    pub last_stable_offset: i64,
    /// The first offset that is kept; -1 from old brokers.
    pub log_start_offset: i64,
    /// Whole record batches, the last of which old brokers may cut. The first may begin below the
    /// offset that was asked for.
    pub records: Bytes,
}

/// A place in a log to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The first offset that is kept.
    Earliest,
    /// Behind the last record.
    Latest,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// The first record at or after so many milliseconds since 1970.
    At(i64),
}

/// An offset that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; -1 when no record fits.
    pub offset: i64,
    /// The record's timestamp; -1 when it is not about a record.
    pub timestamp: i64,
}

impl Isolation {
    fn to_wire(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

impl OffsetQuery {
    fn to_wire(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::At(timestamp) => timestamp,
        }
    }

    /// First version of ListOffsets that knows the question.
    fn version_min(self) -> i16 {
        match self {
            Self::MaxTimestamp => 7,
            Self::Latest | Self::Earliest | Self::At(_) => 1,
        }
    }
}

impl Client {
    /// Appends one record batch (v2, uncompressed or compressed) to a partition, with acks = all.
    /// Tries again only while the cluster says that nothing was appended.
    ///
    /// # Errors
    /// [`ClientError::Kafka`] with the partition's error; [`ClientError::Closed`] and
    /// [`ClientError::NoAnswer`] leave it unknown whether the batch was appended.
    pub async fn produce(
        &self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> Result<Produced, ClientError> {
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch));
        let of_topic = TopicProduceData::default()
            .with_name(TopicName(text(topic)))
            .with_partition_data(vec![data]);
        let timeout_ms = i32::try_from(self.request_timeout.as_millis()).unwrap_or(i32::MAX);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(timeout_ms)
            .with_topic_data(vec![of_topic]);
        self.retrying(Some(topic), ClientError::is_surely_undone, || async {
            let leader = self.leader(topic, partition).await?;
            let response = self
                .request_at_most(leader, &request, PRODUCE_VERSION_MAX)
                .await?;
            let topics = response.responses.iter();
            let mut partitions = topics.flat_map(|topic| &topic.partition_responses);
            let api = ApiKey::Produce;
            let answer = partitions.next().ok_or(ClientError::Incomplete { api })?;
            check(api, answer.error_code, answer.error_message.as_ref())?;
            Ok(Produced {
                base_offset: answer.base_offset,
                log_append_time_ms: answer.log_append_time_ms,
            })
        })
        .await
    }

    /// Reads one partition from `offset` on.
    ///
    /// # Errors
    /// [`ClientError::Kafka`] with the partition's error (`OFFSET_OUT_OF_RANGE` is not retried), or
    /// as [`Self::request_at_most`].
    pub async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        options: FetchOptions,
    ) -> Result<Fetched, ClientError> {
        let wanted = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(options.bytes_max);
        let of_topic = FetchTopic::default()
            .with_topic(TopicName(text(topic)))
            .with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_max_wait_ms(i32::try_from(options.wait_max.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(options.bytes_min)
            .with_max_bytes(options.bytes_max)
            .with_isolation_level(options.isolation.to_wire())
            .with_topics(vec![of_topic]);
        self.retrying(Some(topic), ClientError::is_retriable, || async {
            let reader = self.with_cluster(|cluster| cluster.reader(topic, partition));
            let target = match reader {
                Some(reader) => reader,
                None => self.leader(topic, partition).await?,
            };
            let asked = self.fetch_from(target, &request).await;
            let elsewhere = match asked {
                Ok((_, Some(node))) if target != Target::Node(node) => node,
                Ok((fetched, _)) => return Ok(fetched),
                Err(error) => {
                    self.with_cluster(|cluster| cluster.set_reader(topic, partition, None));
                    return Err(error);
                }
            };
            // KIP-392: that broker serves this partition's records.
            self.with_cluster(|cluster| cluster.set_reader(topic, partition, Some(elsewhere)));
            let asked = self.fetch_from(Target::Node(elsewhere), &request).await;
            if asked.is_err() {
                self.with_cluster(|cluster| cluster.set_reader(topic, partition, None));
            }
            asked.map(|(fetched, _)| fetched)
        })
        .await
    }

    /// What one broker says, and who else is to be asked.
    async fn fetch_from(
        &self,
        target: Target,
        request: &FetchRequest,
    ) -> Result<(Fetched, Option<i32>), ClientError> {
        let response = self
            .request_at_most(target, request, FETCH_VERSION_MAX)
            .await?;
        fetched(&response)
    }

    /// Finds an offset of one partition.
    ///
    /// # Errors
    /// [`ClientError::Kafka`] with the partition's error, [`ClientError::Unsupported`] when the
    /// broker does not know the question, or as [`Self::request_at_most`].
    pub async fn list_offset(
        &self,
        topic: &str,
        partition: i32,
        query: OffsetQuery,
        isolation: Isolation,
    ) -> Result<ListedOffset, ClientError> {
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(query.to_wire());
        let of_topic = ListOffsetsTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(isolation.to_wire())
            .with_topics(vec![of_topic]);
        self.retrying(Some(topic), ClientError::is_retriable, || async {
            let leader = self.leader(topic, partition).await?;
            let versions = query.version_min()..=i16::MAX;
            let response = self.request_within(leader, &request, versions).await?;
            let api = ApiKey::ListOffsets;
            let topics = response.topics.iter();
            let mut partitions = topics.flat_map(|topic| &topic.partitions);
            let answer = partitions.next().ok_or(ClientError::Incomplete { api })?;
            check(api, answer.error_code, None)?;
            Ok(ListedOffset {
                offset: answer.offset,
                timestamp: answer.timestamp,
            })
        })
        .await
    }
}

fn fetched(response: &FetchResponse) -> Result<(Fetched, Option<i32>), ClientError> {
    let api = ApiKey::Fetch;
    check(api, response.error_code, None)?;
    let topics = response.responses.iter();
    let mut partitions = topics.flat_map(|topic| &topic.partitions);
    let answer = partitions.next().ok_or(ClientError::Incomplete { api })?;
    check(api, answer.error_code, None)?;
    let elsewhere = Some(answer.preferred_read_replica.0).filter(|node| *node >= 0);
    let fetched = Fetched {
        high_watermark: answer.high_watermark,
        last_stable_offset: answer.last_stable_offset,
        log_start_offset: answer.log_start_offset,
        records: answer.records.clone().unwrap_or_default(),
    };
    Ok((fetched, elsewhere))
}
