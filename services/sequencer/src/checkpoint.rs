//! Committed segments on their way into the durable state: which go into the next checkpoint.
//!
//! K1: whole segments, in number order per session (here: in the order in which they were
//! committed). K2: the lag is bounded. No acknowledgement, high watermark or read waits for it.

use std::collections::{BTreeMap, VecDeque};

use esker_segment::SegmentFooter;
use esker_segment::limits::FOOTER_BYTES_MAX;
use esker_types::SegmentId;
use esker_types::limits::BATCHES_PER_SEGMENT_MAX;
use esker_types::{Planted, planted};

use crate::limits::{CHECKPOINT_BYTES_MAX, LOG_COMMAND_BYTES_MAX};
use crate::{LogCommand, Sequencer};

/// Bytes that a batch adds to a checkpoint, at most.
const BATCH_BYTES: u32 = FOOTER_BYTES_MAX.div_ceil(BATCHES_PER_SEGMENT_MAX);
/// Bytes that a segment without batches adds to a checkpoint, at most.
const SEGMENT_BYTES: usize = 64;

const _: () = assert!(
    CHECKPOINT_BYTES_MAX < LOG_COMMAND_BYTES_MAX / 2,
    "a checkpoint and one more segment fit a command"
);
const _: () = assert!(
    BATCH_BYTES < 128 && BATCHES_PER_SEGMENT_MAX <= 16_384,
    "the share of the largest segment, 2 MiB, fits a command (K1)"
);

/// How far the durable index lies behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointLag {
    /// Committed segments that are not durably in the index.
    pub segments: usize,
    /// Bytes of their footers, about.
    pub bytes: usize,
    /// Of these segments, not in a checkpoint on its way either.
    pub segments_waiting: usize,
    /// Bytes of the footers of these.
    pub bytes_waiting: usize,
}

/// Committed segments that are not checkpointed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    segments: BTreeMap<SegmentId, SegmentFooter>,
    /// Not in a checkpoint command yet, in the order of commitment.
    waiting: VecDeque<SegmentId>,
    lag: CheckpointLag,
}

impl Tail {
    pub(crate) fn push(&mut self, footer: SegmentFooter) {
        let bytes = footer_bytes(&footer);
        let segment = footer.segment;
        let before = self.segments.insert(segment, footer);
        assert!(before.is_none(), "CP18: a segment is committed once");
        self.waiting.push_back(segment);
        self.lag.segments += 1;
        self.lag.bytes += bytes;
        self.lag.segments_waiting += 1;
        self.lag.bytes_waiting += bytes;
    }

    /// The next segments, at most `bytes_max` bytes but at least one.
    fn take(&mut self, bytes_max: usize) -> Vec<SegmentFooter> {
        let mut taken = Vec::new();
        let mut taken_bytes = 0;
        while let Some(segment) = self.waiting.front()
            && let Some(footer) = self.segments.get(segment)
        {
            let bytes = footer_bytes(footer);
            if !taken.is_empty() && taken_bytes + bytes > bytes_max {
                break;
            }
            taken_bytes += bytes;
            taken.push(footer.clone());
            self.waiting.pop_front();
        }
        self.lag.segments_waiting -= taken.len();
        self.lag.bytes_waiting -= taken_bytes;
        taken
    }

    /// The segment is durably in the index.
    pub(crate) fn remove(&mut self, segment: SegmentId) {
        let removed = self.segments.remove(&segment);
        assert!(
            removed.is_some(),
            "CP16: a committed segment is checkpointed once, by its own sequencer (CP10)"
        );
        self.lag.segments -= 1;
        self.lag.bytes -= removed.as_ref().map_or(0, footer_bytes);
    }
}

fn footer_bytes(footer: &SegmentFooter) -> usize {
    let batch_bytes = usize::try_from(BATCH_BYTES).unwrap_or(usize::MAX);
    SEGMENT_BYTES + batch_bytes * footer.batches.len()
}

impl Sequencer {
    /// How far the durable index lies behind: a checkpoint is due when this grows.
    #[must_use]
    pub fn checkpoint_lag(&self) -> CheckpointLag {
        self.tail.lag
    }

    /// The next checkpoint; `None` when nothing waits. Append it to the journal exactly once;
    /// several may be on their way, in this order.
    pub fn checkpoint(&mut self) -> Option<LogCommand> {
        let mut segments = self.tail.take(CHECKPOINT_BYTES_MAX);
        if planted(Planted::CheckpointDropsBatch)
            && let Some(last) = segments.last_mut()
            && last.batches.len() > 1
        {
            last.batches.pop();
        }
        if planted(Planted::CheckpointOutOfOrder) {
            segments.reverse();
        }
        (!segments.is_empty()).then_some(LogCommand::Checkpoint { segments })
    }
}
