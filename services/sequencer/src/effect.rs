//! What the shell must do for the sequencer, and what it tells it back.

use esker_metadata_api::{PartitionAdvance, SessionEnd};
use esker_types::{ChainIndex, SegmentId, SessionId};

use crate::LogCommand;

/// To be carried out by the shell, in any order and at any time; `Append` exactly once each, and in
/// the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A high watermark or log start moved: tell the followers (H2).
    Advanced(PartitionAdvance),
    /// Look who holds this place; answer with [`crate::Sequencer::probed`].
    Probe(SegmentId),
    /// Seal this place of the session unless a segment is there (Q1). A segment was first: answer
    /// with [`crate::Sequencer::probed`]. A seal is there now: [`crate::Sequencer::sealed_at`].
    /// Neither could be found out: [`crate::Sequencer::seal_failed`].
    Seal(SessionId, ChainIndex),
    /// Append to the journal. Once durable: apply to [`crate::LogState`], then
    /// [`crate::Sequencer::command_applied`].
    Append(LogCommand),
    /// `ended` is durable: `Dead(session, end)` may be told (W7).
    Ended(SessionId, SessionEnd),
    /// What stands at this place cannot be: a segment that nobody reserved, or a seal where a
    /// segment was committed. Stop and alarm.
    Damaged(SegmentId),
}

/// Who holds a place, as far as a look could tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nobody, at the time of the look. Proves nothing (Q2).
    Missing,
    /// A segment of the session.
    Segment,
    /// A session seal.
    Seal,
    /// The look failed.
    Unknown,
}

/// What is known of the end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndAnswer {
    /// Durable.
    Ended(SessionEnd),
    /// On the way: [`Effect::Ended`] follows.
    Pending,
    /// Never registered, or ended so long ago that it is forgotten.
    Unknown,
}
