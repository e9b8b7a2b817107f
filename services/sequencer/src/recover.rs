//! Begins an epoch: steps 2 to 5 of the take-over, given the chains that the shell has walked.
//!
//! Nothing is assigned here: offsets come from the durable state and from footers (I5). The
//! sequencer serves only when all that it decided is durable (CP11); by then the durable state
//! knows all about producers.

use std::collections::BTreeMap;

use esker_segment::SegmentFooter;
use esker_types::{ChainIndex, Offset, SegmentId, SequencerEpoch, SessionId, TopicPartition};
use esker_types::{Planted, planted};

use crate::state::{LogState, SessionRecord, index_extent};
use crate::{LogCommand, Sequencer, SequencerConfig};

/// A session whose chain must be read before an epoch can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionToWalk {
    /// The session.
    pub session: SessionId,
    /// First place to read: what lies below is in the index, and may be gone from the bucket (C3).
    pub from: ChainIndex,
    /// Where it ended: read exactly up to it, a place missing below it is damage. `None`: read to
    /// the first place that is not a segment and seal it.
    pub end: Option<ChainIndex>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkedSession {
    /// The session.
    pub session: SessionId,
    /// The footers of places `from..end`.
    pub segments: Vec<SegmentFooter>,
    /// The place that holds the seal.
    pub end: ChainIndex,
}

/// A new epoch.
#[derive(Debug)]
pub struct Recovered {
    /// Its sequencer.
    pub sequencer: Sequencer,
    /// To be appended before anything is served, in this order.
    pub commands: Vec<LogCommand>,
}

/// Chains that do not fit the durable state: stop and alarm, never skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A session was registered by this epoch or a later one (J11).
    #[error("session {session} was registered in epoch {epoch}, not before this one")]
    Epoch {
        /// The session.
        session: SessionId,
        /// Its epoch.
        epoch: SequencerEpoch,
    },
    /// A session that must be read was not (CP1).
    #[error("session {session} was not walked")]
    NotWalked {
        /// The session.
        session: SessionId,
    },
    /// A session that need not be read was, or one twice.
    #[error("session {session} was walked without need")]
    NotWanted {
        /// The session.
        session: SessionId,
    },
    /// The chain ends elsewhere than it must, or has other segments than places.
    #[error("chain of session {session} does not reach from {from} to {end}")]
    Chain {
        /// The session.
        session: SessionId,
        /// First place to read.
        from: ChainIndex,
        /// Its end.
        end: ChainIndex,
    },
    /// A footer names another segment or epoch than the chain it is in.
    #[error("segment {segment} holds the footer of another one")]
    Footer {
        /// The place that was read.
        segment: SegmentId,
    },
    /// Two committed batches claim one offset (CP2).
    #[error("offset {base_offset} of segment {segment} is taken")]
    OffsetTaken {
        /// The segment.
        segment: SegmentId,
        /// Base offset of the extent.
        base_offset: Offset,
    },
}

impl LogState {
    /// The sessions whose chains a new sequencer must read and, where they have no end, seal.
    #[must_use]
    pub fn sessions_to_walk(&self) -> Vec<SessionToWalk> {
        let to_walk = |(session, record): (SessionId, SessionRecord)| SessionToWalk {
            session,
            from: match planted(Planted::WalkedFromZero) {
                true => ChainIndex::ZERO,
                false => record.decided_upto,
            },
            end: record.end,
        };
        let skipped = usize::from(planted(Planted::SessionNotWalked));
        let unsettled = self.sessions.unsettled().map(to_walk);
        unsettled.skip(skipped).collect()
    }
}

impl Sequencer {
    /// Begins `epoch` from the durable state and the chains of all
    /// [`LogState::sessions_to_walk`].
    ///
    /// # Errors
    /// [`RecoverError`]: the bucket or the journal is damaged.
    pub fn recover(
        epoch: SequencerEpoch,
        config: SequencerConfig,
        state: &LogState,
        exists: &dyn Fn(TopicPartition) -> bool,
        walked: Vec<WalkedSession>,
    ) -> Result<Recovered, RecoverError> {
        check_epochs(epoch, state)?;
        let walked = check_walked(state, walked)?;
        let mut sequencer = Self::new(epoch, config);
        let mut commands = Vec::new();
        for (session, chain) in walked {
            if state
                .session(session)
                .is_some_and(|known| known.end.is_none())
            {
                let end = chain.end;
                commands.push(LogCommand::EndSession { session, end });
            }
            for footer in chain.segments {
                sequencer.recover_segment(state, exists, footer)?;
            }
        }
        while let Some(checkpoint) = sequencer.checkpoint() {
            commands.push(checkpoint);
        }
        sequencer.recovering = commands.len();
        Ok(Recovered {
            sequencer,
            commands,
        })
    }

    fn recover_segment(
        &mut self,
        state: &LogState,
        exists: &dyn Fn(TopicPartition) -> bool,
        footer: SegmentFooter,
    ) -> Result<(), RecoverError> {
        let segment = footer.segment;
        for extent in footer.extents() {
            let topic_partition = extent.topic_partition;
            if !exists(topic_partition) {
                continue;
            }
            let partition = Self::partition_mut(&mut self.partitions, state, topic_partition);
            let log = state.partition(topic_partition);
            if !partition.recover(log, index_extent(segment, &extent)) {
                return Err(RecoverError::OffsetTaken {
                    segment,
                    base_offset: extent.base_offset,
                });
            }
        }
        self.tail.push(footer);
        Ok(())
    }
}

fn check_epochs(epoch: SequencerEpoch, state: &LogState) -> Result<(), RecoverError> {
    for (session, record) in state.sessions.iter() {
        if record.epoch >= epoch {
            let epoch = record.epoch;
            return Err(RecoverError::Epoch { session, epoch });
        }
    }
    Ok(())
}

/// Each session that must be walked, once, and no other.
fn check_walked(
    state: &LogState,
    walked: Vec<WalkedSession>,
) -> Result<BTreeMap<SessionId, WalkedSession>, RecoverError> {
    let mut by_session = BTreeMap::new();
    for chain in walked {
        let session = chain.session;
        let wanted = state.session(session).filter(|known| !known.is_settled());
        let Some(record) = wanted else {
            return Err(RecoverError::NotWanted { session });
        };
        check_chain(record, &chain)?;
        if by_session.insert(session, chain).is_some() {
            return Err(RecoverError::NotWanted { session });
        }
    }
    for (session, _) in state.sessions.unsettled() {
        if !by_session.contains_key(&session) && !planted(Planted::SessionNotWalked) {
            return Err(RecoverError::NotWalked { session });
        }
    }
    Ok(by_session)
}

fn check_chain(record: SessionRecord, chain: &WalkedSession) -> Result<(), RecoverError> {
    let session = chain.session;
    let mut index = record.decided_upto;
    for footer in &chain.segments {
        let segment = SegmentId { session, index };
        if footer.segment != segment || footer.epoch != record.epoch {
            return Err(RecoverError::Footer { segment });
        }
        index = index.after();
    }
    let ends_there = record.end.is_none_or(|end| end == chain.end);
    if index != chain.end || !ends_there {
        return Err(RecoverError::Chain {
            session,
            from: record.decided_upto,
            end: chain.end,
        });
    }
    Ok(())
}
