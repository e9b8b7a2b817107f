//! Why an audit or a rebuild could not be done. What is found in a bucket is no error.

use esker_chain::SealError;
use esker_journal::ReplaceError;
use esker_object::{ClusterError, StoreError};
use esker_types::{Offset, SegmentId};

/// The bucket could not be audited; nothing is known of what was not read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store failed for longer than it is waited for, or needs a person.
    #[error("store could not be read")]
    Store(#[source] StoreError),
    /// `cluster.json` cannot be used.
    #[error("cluster.json cannot be read")]
    Cluster(#[source] ClusterError),
    /// There is no `cluster.json`, and nobody named the cluster.
    #[error("prefix holds no cluster.json: name the cluster with --cluster-id, or check the URL")]
    NoCluster,
}

/// The journal was not rebuilt. Nothing was deleted or overwritten, and the bucket can be rebuilt
/// again.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The bucket could not be read.
    #[error("bucket could not be read")]
    Audit(#[source] AuditError),
    /// The journal is sound.
    #[error("journal is sound: nothing needs to be rebuilt")]
    Sound,
    /// Segments are missing or unreadable that others follow.
    #[error("{segments} segments are missing or cannot be read, the first is {first}")]
    Lost {
        /// How many.
        segments: u64,
        /// The first of them.
        first: SegmentId,
    },
    /// Two committed segments claim one offset.
    #[error("offset {base_offset} of segment {segment} is taken by another segment")]
    OffsetTaken {
        /// The later one.
        segment: SegmentId,
        /// The offset.
        base_offset: Offset,
    },
    /// The leader that the journal names answers.
    #[error("the leader at {address} is alive")]
    LeaderAlive {
        /// Its address.
        address: String,
    },
    /// A process writes to the bucket.
    #[error("a process still writes to this bucket: {sessions} sessions began meanwhile")]
    InUse {
        /// How many.
        sessions: u64,
    },
    /// A session could not be sealed.
    #[error("session could not be sealed")]
    Seal(#[source] SealError),
    /// `cluster.json` could not be written again.
    #[error("cluster.json could not be written")]
    Cluster(#[source] ClusterError),
    /// The journal could not be begun again.
    #[error("journal could not be begun again")]
    Journal(#[source] ReplaceError),
}

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
