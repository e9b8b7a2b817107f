//! Why an operation on a chain failed: one enum per operation, and what a foreign object was.
//!
//! Doubt is part of each answer: an error of a create says whether our object may exist.

use esker_object::{ObjectKey, StoreError};
use esker_types::{ClusterId, HeaderError};

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
