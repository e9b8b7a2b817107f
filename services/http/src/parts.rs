//! What the HTTP front needs from the rest of the process: small traits that the binary fills.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_metadata_api::{Admin, Topic, TopicAdmin};
use esker_types::{Offset, PartitionIndex, Timestamp, TopicPartition};
use futures::future::BoxFuture;

use crate::Problem;
use crate::idempotency::AppendKey;

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
    /// Its time, as stored.
    pub timestamp: Timestamp,
}

/// Records to be appended, with what must hold for it.
#[derive(Clone, Debug)]
pub struct AppendRecords {
    /// The topic.
    pub topic: Arc<Topic>,
    /// Each partition's share is one batch.
    pub records: Vec<NewRecord>,
    /// With a key, a share that is in the log already is not appended again: its first offsets are
    /// told.
    pub key: Option<AppendKey>,
    /// Append only when the (one) partition ends here.
    pub expected_end: Option<Offset>,
}

/// The outcome of each record, in the order given. Records of one partition share their fate.
pub type PendingAppend = BoxFuture<'static, Vec<Result<RecordPlace, Problem>>>;

/// Appends through the same path as Kafka's Produce.
pub trait Appender: Debug + Send + Sync + 'static {
    /// Queues records; done when they are queued. What is queued one after the other into one
    /// partition keeps that order, idempotency keys and conditions aside.
    ///
    /// # Errors
    /// Nothing is appended.
    ///
    /// # Cancel safety
    /// Dropped before it is done, some of the shares may be appended; the outcome dropped, all are
    /// appended all the same.
    fn append(&self, records: AppendRecords) -> BoxFuture<'_, Result<PendingAppend, Problem>>;

    /// Queues one record batch of Kafka's format, magic 2, base offset 0, as its client made it.
    /// The place is that of its first record.
    ///
    /// # Errors
    /// Nothing is appended.
    fn append_batch(
        &self,
        topic_partition: TopicPartition,
        batch: Bytes,
    ) -> BoxFuture<'_, Result<PendingBatch, Problem>>;

    /// Bytes of the record batch that begins `bytes`, and its records; `None` while its head is
    /// not there.
    ///
    /// # Errors
    /// No record batch begins so.
    fn batch_head(&self, bytes: &[u8]) -> Result<Option<BatchHead>, Problem>;
}

/// What the head of a record batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHead {
    /// All of its bytes.
    pub batch_bytes: u32,
    /// Its records.
    pub record_count: u32,
}

/// The outcome of a batch: the place of its first record.
pub type PendingBatch = BoxFuture<'static, Result<RecordPlace, Problem>>;

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

/// Which end of the log a read goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadEnd {
    /// Covers every append that was answered before the question: may cost a look at the store.
    Current,
    /// As this process has heard: told soonest, the newest may come a moment later.
    Heard,
}

/// A read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadQuery {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// Where to begin.
    pub from: ReadFrom,
    /// Ends with the batch that reaches so many records.
    pub records_max: Option<u32>,
    /// Bytes of stored batches, about; at least one batch comes.
    pub bytes_max: u32,
    /// How long to wait when there is nothing yet.
    pub wait: Duration,
    /// Which end it goes by.
    pub end: ReadEnd,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// The offset at which it began.
    pub begin: Offset,
    /// Whole record batches, as stored; the first may begin below `begin`.
    pub batches: Vec<Bytes>,
    /// Where the next read begins.
    pub next_offset: Offset,
    /// One past the last visible record.
    pub high_watermark: Offset,
    /// First offset still there.
    pub log_start: Offset,
}

/// Records of a batch, decoded one after the other.
pub type RecordIterator = Box<dyn Iterator<Item = Result<ReadRecord, Problem>> + Send>;

/// Reads through the same path as Kafka's Fetch.
pub trait LogReader: Debug + Send + Sync + 'static {
    /// Reads record batches.
    fn read(&self, query: ReadQuery) -> BoxFuture<'_, Result<ReadOutcome, Problem>>;

    /// The records of one of these batches, none of a control batch.
    ///
    /// # Errors
    /// The batch cannot be read.
    fn records(&self, batch: &Bytes) -> Result<RecordIterator, Problem>;

    /// Start and end of a partition's log, current.
    fn bounds(
        &self,
        topic_partition: TopicPartition,
    ) -> BoxFuture<'_, Result<(Offset, Offset), Problem>>;

    /// The offset that `from` names, current.
    fn locate(
        &self,
        topic_partition: TopicPartition,
        from: ReadFrom,
    ) -> BoxFuture<'_, Result<Offset, Problem>>;
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
    /// Topics and groups.
    pub admin: Arc<dyn Admin>,
    /// Changes of topics.
    pub topic_admin: Arc<dyn TopicAdmin>,
    /// Appends.
    pub appender: Arc<dyn Appender>,
    /// Reads.
    pub reader: Arc<dyn LogReader>,
    /// Health and metrics.
    pub health: Arc<dyn Health>,
}
