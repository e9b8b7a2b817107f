//! Reads for HTTP: one partition, whole batches, no Kafka wire types.

use std::time::Duration;

use bytes::Bytes;
use esker_types::{Offset, Timestamp, TopicPartition};

/// A read of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The first offset wanted. The batch that holds it comes whole.
    pub offset: Offset,
    /// Bytes of batches; the first one comes even when it is larger.
    pub bytes_max: u32,
    /// Ends with the batch that reaches so many records, those below `offset` not counted.
    pub records_max: Option<u32>,
    /// How long to wait at the log's end for one batch.
    pub wait: Duration,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadReply {
    /// Whole record batches, one each, stamped with their offsets; checksums were verified. None at
    /// the log's end.
    pub batches: Vec<Bytes>,
    /// One past the last visible record.
    pub high_watermark: Offset,
    /// First offset still there.
    pub log_start: Offset,
    /// Where to go on: one past the last record in `batches`, or the offset asked for.
    pub next_offset: Offset,
}

/// Where a question about offsets leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: Offset,
    /// Timestamp of the record there; [`Timestamp::NONE`] for the log's start and end.
    pub timestamp: Timestamp,
}
