//! Why an operation on a chain failed: one enum per operation, and what a foreign object was.
//!
//! Doubt is part of each answer: an error of a create says whether our object may exist.

use esker_object::{ObjectKey, StoreError};
use esker_segment::FooterError;
use esker_types::{ClusterId, HeaderError, ObjectKind, SegmentId, WriteId};

use crate::SessionSealError;

/// What stands at a key of ours and cannot be there unless somebody else writes below our prefix,
/// or the bytes rotted: stop and let a person look.
#[derive(Debug, thiserror::Error)]
pub enum ForeignObject {
    /// The first 64 bytes are no header this build can read.
    #[error("object header cannot be read")]
    Header(#[source] HeaderError),
    /// Another cluster wrote it.
    #[error("object belongs to cluster {found}, not to {expected}")]
    OtherCluster {
        /// Who wrote it.
        found: ClusterId,
        /// Whose chain this is.
        expected: ClusterId,
    },
    /// Its length is not what its header says.
    #[error("object has {object_bytes} bytes, its header says {header_bytes}")]
    Length {
        /// The length of the object.
        object_bytes: u64,
        /// The length by its header, header included.
        header_bytes: u64,
    },
    /// Neither a segment nor a session seal.
    #[error("object is a {kind:?}, which no chain of sessions holds")]
    Kind {
        /// What it says it is.
        kind: ObjectKind,
    },
    /// A segment at our own place that we did not write: two processes use one session.
    #[error("segment was made by write {write_id}, not by ours")]
    OtherWrite {
        /// The write that made it.
        write_id: WriteId,
    },
    /// It says that it belongs to another place.
    #[error("object says it is {found}")]
    OtherPlace {
        /// The place it names.
        found: SegmentId,
    },
    /// A segment whose footer makes no sense.
    #[error("segment footer cannot be read")]
    Footer(#[source] FooterError),
    /// A session seal that makes no sense.
    #[error("session seal cannot be read")]
    Seal(#[source] SessionSealError),
    /// The store returned another number of bytes than was asked for.
    #[error("read returned {read_bytes} bytes instead of {wanted_bytes}")]
    CutRead {
        /// Asked for.
        wanted_bytes: u64,
        /// Received.
        read_bytes: u64,
    },
}

/// Why a create ended without it being known who is there.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The store refuses for a reason that a person must clear (rights, bucket, space, feature).
    #[error("create was given up, in doubt: {in_doubt}")]
    Store {
        /// Our object may exist: some attempt may have been executed, or may still be. `false`:
        /// surely nothing was written and nothing will be.
        in_doubt: bool,
        /// The refusal.
        #[source]
        source: StoreError,
    },
    /// The key is taken by something that is no object of this cluster; ours is not there.
    #[error("key {key} is taken by a foreign object")]
    Foreign {
        /// The key.
        key: ObjectKey,
        /// What stands there.
        #[source]
        source: ForeignObject,
    },
}

impl SettleError {
    /// Whether our object may exist, now or later.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        match self {
            Self::Store { in_doubt, .. } => *in_doubt,
            Self::Foreign { .. } => false,
        }
    }
}

/// Why a segment is not known to be written.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// A session seal holds our place. The outcome of this segment is *unknown* all the same (W7):
    /// answer the unacked batches as retriable, register a new session, wait for `Dead`.
    #[error("session is sealed at {segment}")]
    Sealed {
        /// Our place.
        segment: SegmentId,
    },
    /// Something holds our place that cannot be there: stop the process loudly.
    #[error("place of segment {segment} is held by a stranger")]
    Stranger {
        /// Our place.
        segment: SegmentId,
        /// What stands there.
        #[source]
        source: ForeignObject,
    },
    /// The store refuses until a person acts; surely nothing was written and nothing will be.
    #[error("put of segment {segment} was refused")]
    Refused {
        /// Our place.
        segment: SegmentId,
        /// The refusal.
        #[source]
        source: StoreError,
    },
    /// The store refuses until a person acts, but an earlier attempt may have been executed or may
    /// still be: call again with the same bytes, or give the session up (W7).
    #[error("put of segment {segment} has unknown outcome")]
    Indeterminate {
        /// Our place.
        segment: SegmentId,
        /// The refusal.
        #[source]
        source: StoreError,
    },
}

/// Why it is not known what a place holds.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The store did not answer, or refuses: look again.
    #[error("look at {segment} failed")]
    Store {
        /// The place.
        segment: SegmentId,
        /// The failure.
        #[source]
        source: StoreError,
    },
    /// What stands there is neither a segment nor a seal of this place: damage, stop and alarm.
    #[error("place {segment} is held by a foreign object")]
    Foreign {
        /// The place.
        segment: SegmentId,
        /// What stands there.
        #[source]
        source: ForeignObject,
    },
}

/// Why a place is not known to be sealed or taken.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The store refuses until a person acts; surely no seal was written and none will be.
    #[error("put of the session seal at {segment} was refused")]
    Refused {
        /// The place.
        segment: SegmentId,
        /// The refusal.
        #[source]
        source: StoreError,
    },
    /// The store refuses until a person acts; our seal may stand there or may come: seal again.
    #[error("put of the session seal at {segment} has unknown outcome")]
    Indeterminate {
        /// The place.
        segment: SegmentId,
        /// The refusal.
        #[source]
        source: StoreError,
    },
    /// What stands there is neither a segment nor a seal of this place: damage, stop and alarm.
    #[error("place {segment} is held by a foreign object")]
    Foreign {
        /// The place.
        segment: SegmentId,
        /// What stands there.
        #[source]
        source: ForeignObject,
    },
}

/// Why a chain could not be walked to its end.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// A place could not be read.
    #[error("walk met a place that cannot be read")]
    Look(#[source] LookError),
    /// The first missing place could not be sealed.
    #[error("walk could not seal the end of the chain")]
    Seal(#[source] SealError),
    /// Nothing stands below the session's durable end: damage, stop and alarm, never skip.
    #[error("segment {segment} is missing below the durable end of its session")]
    Missing {
        /// The place.
        segment: SegmentId,
    },
    /// A seal stands below the session's durable end: damage, stop and alarm, never skip.
    #[error("session is sealed at {segment}, below its durable end")]
    SealedBelowEnd {
        /// The place.
        segment: SegmentId,
    },
}

impl WalkError {
    /// `true`: part of the log is lost or foreign, walking again does not help; a person must look.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::SealedBelowEnd { .. } => true,
            Self::Look(LookError::Foreign { .. }) | Self::Seal(SealError::Foreign { .. }) => true,
            Self::Look(LookError::Store { .. })
            | Self::Seal(SealError::Refused { .. } | SealError::Indeterminate { .. }) => false,
        }
    }
}
