//! What fetch asks: where the bytes of an offset are, and to be told as the log grows.
//!
//! Only committed ranges below the high watermark are ever told; they are true for ever (R3).

use std::fmt::Debug;
use std::sync::Arc;

use esker_types::{ByteRange, Offset, SegmentId, Timestamp, TopicPartition};
use futures::future::BoxFuture;

use crate::{MetadataError, TopicTable};

/// One partition's bytes in one segment: whole record batches, offsets ascending, stamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexExtent {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// One past the last record.
    pub end_offset: Offset,
    /// The object.
    pub segment: SegmentId,
    /// Where in the object.
    pub range: ByteRange,
    /// Largest timestamp of its records.
    pub max_timestamp: Timestamp,
}

/// A partition's log grew, or lost its front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionAdvance {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// First offset still there.
    pub log_start: Offset,
    /// One past the last visible record. Never falls.
    pub high_watermark: Offset,
    /// What became visible, ascending; nothing lies between two of them but gaps.
    pub extents: Vec<IndexExtent>,
    /// High watermark before: a follower whose own is lower has missed something and looks up.
    pub previous_high_watermark: Offset,
}

/// One pushed update.
#[derive(Clone, Debug)]
pub enum FeedUpdate {
    /// The log of a partition advanced.
    Advanced(Arc<PartitionAdvance>),
    /// Topics were created, changed or deleted.
    Topics(Arc<TopicTable>),
    /// Updates were lost: forget what is known of partitions, look up afresh.
    Resync,
}

/// A follower's end of the feed. Ends when the leader does.
pub trait IndexFeed: Debug + Send + 'static {
    /// The next update; `None` when the leader is gone. Cancel safe.
    fn next(&mut self) -> BoxFuture<'_, Option<FeedUpdate>>;
}

/// A piece of the index, from the extent that holds (or follows) the asked offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSlice {
    /// First offset still there.
    pub log_start: Offset,
    /// One past the last visible record.
    pub high_watermark: Offset,
    /// Ascending; empty when nothing at or above the offset is visible.
    pub extents: Vec<IndexExtent>,
}

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The high watermark, current (R1): covers every acknowledgement given before the question.
    Latest,
    /// The log start offset.
    Earliest,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// The first record with at least this timestamp.
    AtTimestamp(Timestamp),
}

/// Where to find the offset asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedOffset {
    /// This offset.
    Known(Offset),
    /// Inside this extent: read it to find the record. When none in it fits (possible only for a
    /// timestamp query), ask again from its end with the same query.
    Inside(IndexExtent),
    /// No record fits.
    Nothing,
}

/// Why an index question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogIndexError {
    /// No such topic incarnation or partition, currently (R1).
    #[error("topic or partition does not exist")]
    UnknownPartition,
    /// Undecided ranges held the answer up for too long: try again.
    #[error("log end is not decided yet")]
    NotDecided,
    /// No answer.
    #[error("index question was not answered")]
    Metadata(#[source] MetadataError),
}

/// The segment index, as fetch sees it.
pub trait LogIndex: Debug + Send + Sync + 'static {
    /// Follows the leader. The first update is `Topics`; partitions appear as they advance.
    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn IndexFeed>, MetadataError>>;

    /// Extents from the one that holds `offset` (or the next above it), at most `extents_max`.
    /// May lag behind acknowledgements, never wrong.
    fn look_up(
        &self,
        topic_partition: TopicPartition,
        offset: Offset,
        extents_max: usize,
    ) -> BoxFuture<'_, Result<IndexSlice, LogIndexError>>;

    /// Resolves an offset question; `from` bounds timestamp queries from below.
    fn list_offset(
        &self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
        from: Offset,
    ) -> BoxFuture<'_, Result<ListedOffset, LogIndexError>>;
}
