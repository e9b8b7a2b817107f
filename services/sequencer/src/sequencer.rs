//! What one epoch knows on top of the durable state. The methods live in the files of their stage.
//!
//! reserve.rs gives out offsets, decide.rs commits and voids, stall.rs probes and seals,
//! watermark.rs says what may be seen, index.rs answers readers, checkpoint.rs makes it durable,
//! recover.rs begins an epoch. Every method takes the durable state as it is at that moment.

use std::collections::BTreeMap;

use esker_types::{MonotonicTime, SequencerEpoch, SessionId, TopicPartition};
use esker_types::{Planted, planted};

use crate::checkpoint::Tail;
use crate::limits::SESSIONS_OPEN_MAX;
use crate::session::Session;
use crate::state::LogState;
use crate::voided::VoidMarks;
use crate::watermark::{Barrier, Partition};
use crate::{CheckpointLag, LogCommand, SequencerConfig};

/// Why no session can be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// As many as allowed are open: one must end first.
    #[error("{SESSIONS_OPEN_MAX} sessions are open, no further one is registered")]
    TooManySessions,
    /// Not all that the take-over decided is durable yet (CP11).
    #[error("sequencer is recovering")]
    Recovering,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequencerFigures {
    /// Sessions without a durable end.
    pub sessions: usize,
    /// Of these, being sealed.
    pub sessions_ending: usize,
    /// Segments reserved and not decided.
    pub undecided_segments: usize,
    /// When the oldest of these was reserved.
    pub undecided_since: Option<MonotonicTime>,
    /// Committed segments not yet checkpointed.
    pub lag: CheckpointLag,
}

/// The sequencer of one epoch.
#[derive(Clone, Debug)]
pub struct Sequencer {
    pub(crate) epoch: SequencerEpoch,
    pub(crate) config: SequencerConfig,
    /// Sessions of this epoch without a durable end.
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    /// Partitions that anything happened to.
    pub(crate) partitions: BTreeMap<TopicPartition, Partition>,
    /// Batches of all reservations that are not decided.
    pub(crate) undecided_batches: usize,
    pub(crate) tail: Tail,
    pub(crate) voided: VoidMarks,
    /// Commands of the take-over that are not durable yet.
    pub(crate) recovering: usize,
    /// Until then a gap in a producer's sequence may come from a session that the take-over ended.
    pub(crate) grace_until: Option<MonotonicTime>,
    pub(crate) decisions: u64,
}

impl Sequencer {
    /// A sequencer that knows nothing beyond the durable state.
    pub(crate) fn new(epoch: SequencerEpoch, config: SequencerConfig) -> Self {
        Self {
            epoch,
            config,
            sessions: BTreeMap::new(),
            partitions: BTreeMap::new(),
            undecided_batches: 0,
            tail: Tail::default(),
            voided: VoidMarks::default(),
            recovering: 0,
            grace_until: None,
            decisions: 0,
        }
    }

    /// Its epoch.
    #[must_use]
    pub fn epoch(&self) -> SequencerEpoch {
        self.epoch
    }

    /// Whether all that the take-over decided is durable: before, nothing may be answered (CP11).
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.recovering == 0 || planted(Planted::ServeBeforeDurable)
    }

    /// The command that registers `session`, a fresh id. The session exists once it is applied.
    ///
    /// # Errors
    /// [`RegisterError`]: nothing was done.
    pub fn register(&self, session: SessionId) -> Result<LogCommand, RegisterError> {
        if !self.is_serving() {
            return Err(RegisterError::Recovering);
        }
        if self.sessions.len() >= SESSIONS_OPEN_MAX {
            return Err(RegisterError::TooManySessions);
        }
        Ok(LogCommand::RegisterSession {
            session,
            epoch: self.epoch,
        })
    }

    /// Notes what is undecided in a partition now (U of R1). Start an epoch check after this, and
    /// answer when [`Self::is_decided`] says so.
    #[must_use]
    pub fn barrier(&self, topic_partition: TopicPartition) -> Barrier {
        let below = self
            .partitions
            .get(&topic_partition)
            .map(Partition::next)
            .unwrap_or_default();
        Barrier {
            topic_partition,
            below,
        }
    }

    /// Whether all that was undecided at [`Self::barrier`] is decided. Can change only when
    /// [`Self::decisions`] does.
    #[must_use]
    pub fn is_decided(&self, barrier: &Barrier) -> bool {
        if planted(Planted::LatestWithoutWait) {
            return true;
        }
        self.partitions
            .get(&barrier.topic_partition)
            .and_then(Partition::first_undecided)
            .is_none_or(|first| first >= barrier.below)
    }

    /// Counts segments that were committed, sessions that ended, topics that were dropped.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.decisions
    }

    /// Figures for metrics.
    #[must_use]
    pub fn figures(&self) -> SequencerFigures {
        let undecided = || {
            self.sessions
                .values()
                .flat_map(|session| session.undecided())
        };
        SequencerFigures {
            sessions: self.sessions.len(),
            sessions_ending: self
                .sessions
                .values()
                .filter(|session| session.phase != crate::session::Phase::Open)
                .count(),
            undecided_segments: undecided().count(),
            undecided_since: undecided().map(|reservation| reservation.reserved_at).min(),
            lag: self.checkpoint_lag(),
        }
    }

    pub(crate) fn partition_mut<'a>(
        partitions: &'a mut BTreeMap<TopicPartition, Partition>,
        state: &LogState,
        topic_partition: TopicPartition,
    ) -> &'a mut Partition {
        partitions
            .entry(topic_partition)
            .or_insert_with(|| Partition::new(state.partition(topic_partition)))
    }
}
