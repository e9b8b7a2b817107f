//! What the HTTP front needs from the rest of the process: small traits that the binary fills.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_metadata_api::{Admin, Topic};
use esker_types::{Offset, PartitionIndex, Timestamp, TopicPartition};
use futures::future::BoxFuture;

use crate::Problem;

/// A header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Its name; names may repeat, their order is kept.
    pub name: String,
    /// Its value.
    pub value: Option<Bytes>,
}

/// A record to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// The partition; `None` lets the key choose as Kafka's Java client does, or spreads keyless
    /// ones.
    pub partition: Option<PartitionIndex>,
    /// Its time; `None` for now.
    pub timestamp: Option<Timestamp>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<RecordHeader>,
}

/// Where an appended record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset.
    pub offset: Offset,
}

/// Appends through the same path as Kafka's Produce.
pub trait Appender: Debug + Send + Sync + 'static {
    /// Appends `records` to `topic`; each partition's share is one batch. Answers when all are
    /// committed, in the order given.
    ///
    /// # Cancel safety
    /// Dropped, the records may be appended all the same.
    fn append(
        &self,
        topic: Arc<Topic>,
        records: Vec<NewRecord>,
    ) -> BoxFuture<'_, Result<Vec<RecordPlace>, Problem>>;
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its time.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers: names as stored, which need not be UTF-8.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Where to begin reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// At this offset.
    Offset(Offset),
    /// At the first record with at least this time; at the end when there is none.
    Timestamp(Timestamp),
    /// At the log's start.
    Earliest,
    /// At the log's end, so many offsets back.
    Tail(u64),
}

/// A read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadQuery {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// Where to begin.
    pub from: ReadFrom,
    /// Records at most.
    pub records_max: u32,
    /// Bytes of stored batches to look at, about; at least one batch is.
    pub bytes_max: u32,
    /// How long to wait when there is nothing yet.
    pub wait: Duration,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// The records.
    pub records: Vec<ReadRecord>,
    /// Where the next read begins.
    pub next_offset: Offset,
    /// One past the last visible record.
    pub high_watermark: Offset,
    /// First offset still there.
    pub log_start: Offset,
}

/// Reads through the same path as Kafka's Fetch.
pub trait LogReader: Debug + Send + Sync + 'static {
    /// Reads records.
    fn read(&self, query: ReadQuery) -> BoxFuture<'_, Result<ReadOutcome, Problem>>;

    /// Start and end of a partition's log, current.
    fn bounds(
        &self,
        topic_partition: TopicPartition,
    ) -> BoxFuture<'_, Result<(Offset, Offset), Problem>>;
}

/// What operators ask.
pub trait Health: Debug + Send + Sync + 'static {
    /// Why the process cannot serve now; `None` when it can.
    fn not_ready(&self) -> Option<String>;
    /// This leadership's own id, if the process leads: how standbys tell its life from another's.
    fn owner(&self) -> Option<String>;
    /// All metrics in Prometheus' text format.
    fn metrics(&self) -> String;
}

/// Everything the front works with.
#[derive(Clone, Debug)]
pub struct HttpParts {
    /// Topics.
    pub admin: Arc<dyn Admin>,
    /// Appends.
    pub appender: Arc<dyn Appender>,
    /// Reads.
    pub reader: Arc<dyn LogReader>,
    /// Health and metrics.
    pub health: Arc<dyn Health>,
}
