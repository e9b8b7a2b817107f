//! Why one partition cannot be answered.

use esker_metadata_api::{LogIndexError, MetadataError};
use esker_types::{Offset, SegmentId};

/// A partition without an answer. The others of the request are not touched by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No such topic incarnation or partition, currently (R1).
    #[error("topic or partition does not exist")]
    UnknownPartition,
    /// Below the log's start or, as the sequencer says now (R1), above its end.
    #[error("offset is outside of {log_start} to {high_watermark}")]
    OutOfRange {
        /// First offset still there.
        log_start: Offset,
        /// One past the last visible record.
        high_watermark: Offset,
    },
    /// The log reaches there, but this process does not see it yet, or nobody could say so: later.
    #[error("offset is not visible here yet")]
    NotVisible,
    /// Undecided segments held the answer up for too long: later.
    #[error("log end is not decided yet")]
    NotDecided,
    /// No answer within the time allowed: later.
    #[error("no answer in time")]
    TimedOut,
    /// Its bytes cannot be had, also after the index was asked again and the cache was passed by.
    #[error("segment {segment} cannot be read")]
    Unreadable {
        /// The object.
        segment: SegmentId,
    },
    /// The metadata service gave no answer: later.
    #[error("index question was not answered")]
    Metadata(#[source] MetadataError),
}

impl From<LogIndexError> for ReadError {
    fn from(error: LogIndexError) -> Self {
        match error {
            LogIndexError::UnknownPartition => Self::UnknownPartition,
            LogIndexError::NotDecided => Self::NotDecided,
            LogIndexError::Metadata(source) => Self::Metadata(source),
        }
    }
}
