//! What an audit ends with.

use std::sync::Arc;

use esker_metadata_api::Topic;
use esker_types::ClusterId;

use crate::audit::Depth;
use crate::finding::Findings;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditFigures {
    /// Objects that were listed.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Bytes of objects that were read.
    pub read_bytes: u64,
    /// Sessions that have an object.
    pub sessions: u64,
    /// Segments of theirs.
    pub segments: u64,
    /// Seals of theirs.
    pub session_seals: u64,
    /// Rolls of the journal.
    pub rolls: u64,
    /// Entries of the journal.
    pub journal_entries: u64,
    /// The roll of the newest snapshot; 0 without one.
    pub snapshot_roll: u64,
    /// Partitions with a record or a log start.
    pub partitions: u64,
    /// Extents of the checkpointed index.
    pub extents: u64,
    /// Segments behind the checkpoint, which are in no index yet.
    pub tail_segments: u64,
    /// Offsets between the log start and the end of all partitions.
    pub offsets: u64,
    /// Gaps between the log start and the end of a partition, which no record has.
    pub void_ranges: u64,
    /// Offsets in them.
    pub void_offsets: u64,
    /// Of these offsets, those for which a void segment was found that was to have them.
    pub void_offsets_seen: u64,
}

/// What an audit ends with.
#[derive(Clone, Debug)]
pub struct AuditReport {
    /// Whose bucket.
    pub cluster: ClusterId,
    /// How it was read.
    pub depth: Depth,
    /// What was found.
    pub findings: Findings,
    /// What was looked at.
    pub figures: AuditFigures,
    /// The topics, by name; empty when the journal cannot be read.
    pub topics: Vec<Arc<Topic>>,
}

impl AuditReport {
    /// Whether anything means damage.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.findings.damage() > 0
    }
}
