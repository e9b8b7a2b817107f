//! Why bytes of a segment cannot be had.

use std::sync::Arc;

use esker_object::StoreError;
use esker_types::{ByteRange, SegmentId};

/// What the caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadErrorKind {
    /// Passing: read again later.
    Retry,
    /// The object is gone: plan again from the index.
    Refresh,
    /// The bucket holds something else than the index says: forget the bytes, read once more, then
    /// tell a person.
    Corrupt,
}

/// A read that failed. Shared by all who waited for the same block, hence `Clone`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The object does not exist (any more): plan again from the index, never skip.
    #[error("segment {segment} is gone")]
    Reaped {
        /// The object.
        segment: SegmentId,
    },
    /// The object ends before the range does, or the store answered with more or fewer bytes than
    /// it has there.
    #[error("segment {segment} does not hold {range:?} as the index says")]
    Corrupt {
        /// The object.
        segment: SegmentId,
        /// What was asked of the bucket, or of the cached object.
        range: ByteRange,
    },
    /// The store failed; retries were made below.
    #[error("read of segment {segment} failed")]
    Store {
        /// The object.
        segment: SegmentId,
        /// What the store said.
        #[source]
        source: Arc<StoreError>,
    },
    /// All memory is held by readers that have not finished; nothing was loaded.
    #[error("no memory became free to read segment {segment}")]
    Overloaded {
        /// The object.
        segment: SegmentId,
    },
    /// More bytes than one read may ask for.
    #[error("read of {bytes} bytes is larger than allowed")]
    TooLarge {
        /// Bytes asked for.
        bytes: u64,
    },
}

impl ReadError {
    /// What may be done about it.
    #[must_use]
    pub fn kind(&self) -> ReadErrorKind {
        match self {
            Self::Reaped { .. } => ReadErrorKind::Refresh,
            Self::Corrupt { .. } => ReadErrorKind::Corrupt,
            Self::Store { .. } | Self::Overloaded { .. } | Self::TooLarge { .. } => {
                ReadErrorKind::Retry
            }
        }
    }
}
