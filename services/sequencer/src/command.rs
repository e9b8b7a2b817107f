//! What changes the durable state: one value per atomic journal command.

use esker_segment::SegmentFooter;
use esker_types::{ChainIndex, Offset, SequencerEpoch, SessionId, TopicId, TopicPartition};

/// A command. Made by [`crate::Sequencer`] (or by the catalogue), appended to the journal, applied
/// to [`crate::LogState`] once durable. Format: docs/formats/metadata-log.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogCommand {
    /// A session of this epoch exists (W1): durable before the pod is answered.
    RegisterSession {
        /// Its id, never used before.
        session: SessionId,
        /// The sequencer that registers it.
        epoch: SequencerEpoch,
    },
    /// `ended(session) = end`: a seal was seen there, all below is committed (C2).
    EndSession {
        /// The session.
        session: SessionId,
        /// The first place that is void for ever.
        end: ChainIndex,
    },
    /// These committed segments, whole, in number order per session, are in the index (K1).
    Checkpoint {
        /// Their footers.
        segments: Vec<SegmentFooter>,
    },
    /// The topic is deleted: its index entries and producers go.
    DropTopic {
        /// The topic's incarnation.
        topic: TopicId,
    },
    /// The log of a partition loses its front: entries fully below go.
    MoveLogStart {
        /// The partition.
        topic_partition: TopicPartition,
        /// First offset still there, at most the high watermark. A lower one than now is ignored.
        log_start: Offset,
    },
}
