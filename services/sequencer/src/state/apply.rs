//! Applies durable commands. Each is checked whole before anything changes.

use std::collections::BTreeMap;

use esker_metadata_api::IndexExtent;
use esker_segment::SegmentFooter;
use esker_types::{ChainIndex, Offset, SegmentId, SequencerEpoch, SessionId, TopicPartition};

use super::partition::{index_extent, producer_batch};
use super::{LogState, SessionRecord};
use crate::LogCommand;

/// A command that does not fit the state: the journal is damaged, or Esker has a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Session ids are never used again (I6).
    #[error("session {session} is registered already")]
    SessionExists {
        /// The session.
        session: SessionId,
    },
    /// The session is not registered, or settled and forgotten.
    #[error("session {session} is not registered")]
    SessionUnknown {
        /// The session.
        session: SessionId,
    },
    /// A session ends once, and not below what is checkpointed (CP5).
    #[error("session {session} cannot end at {end}")]
    SessionEnd {
        /// The session.
        session: SessionId,
        /// The end asked for.
        end: ChainIndex,
    },
    /// Not the next segment of its session, or at or above the session's end (CP5, CP16).
    #[error("segment {segment} cannot be checkpointed where {expected} comes next")]
    SegmentTurn {
        /// The segment.
        segment: SegmentId,
        /// The next place of its session.
        expected: ChainIndex,
    },
    /// The segment was written under another epoch than its session (J11).
    #[error("segment {segment} has epoch {epoch}, not that of its session")]
    SegmentEpoch {
        /// The segment.
        segment: SegmentId,
        /// The epoch found.
        epoch: SequencerEpoch,
    },
    /// An offset of the extent has another content already (CP2).
    #[error("offset {base_offset} of segment {segment} is taken")]
    OffsetTaken {
        /// The segment.
        segment: SegmentId,
        /// Base offset of the extent.
        base_offset: Offset,
    },
}

/// Extents of one command: checked against one another while they are gathered.
type NewExtents = BTreeMap<(TopicPartition, Offset), IndexExtent>;

impl LogState {
    /// Applies a durable command; `exists` tells which partitions the catalogue has at this point.
    ///
    /// # Errors
    /// [`ApplyError`]: the state is as before; stop and alarm.
    pub fn apply(
        &mut self,
        command: &LogCommand,
        exists: &dyn Fn(TopicPartition) -> bool,
    ) -> Result<(), ApplyError> {
        match command {
            LogCommand::RegisterSession { session, epoch } => self.register(*session, *epoch),
            LogCommand::EndSession { session, end } => self.end(*session, *end),
            LogCommand::Checkpoint { segments } => self.checkpoint(segments, exists),
            LogCommand::DropTopic { topic } => {
                self.partitions.retain(|at, _| at.topic != *topic);
                Ok(())
            }
            LogCommand::MoveLogStart {
                topic_partition,
                log_start,
            } => {
                if exists(*topic_partition) {
                    self.move_log_start(*topic_partition, *log_start);
                }
                Ok(())
            }
        }
    }

    fn register(&mut self, session: SessionId, epoch: SequencerEpoch) -> Result<(), ApplyError> {
        if self.sessions.get(session).is_some() {
            return Err(ApplyError::SessionExists { session });
        }
        let record = SessionRecord {
            epoch,
            decided_upto: ChainIndex::ZERO,
            end: None,
        };
        self.sessions.put(session, record);
        Ok(())
    }

    fn end(&mut self, session: SessionId, end: ChainIndex) -> Result<(), ApplyError> {
        let record = self.known(session)?;
        let moved = record.end.is_some_and(|known| known != end);
        if moved || end < record.decided_upto {
            return Err(ApplyError::SessionEnd { session, end });
        }
        let end = Some(end);
        self.sessions.put(session, SessionRecord { end, ..record });
        Ok(())
    }

    fn known(&self, session: SessionId) -> Result<SessionRecord, ApplyError> {
        self.sessions
            .get(session)
            .ok_or(ApplyError::SessionUnknown { session })
    }

    /// K1: one atomic change with the entries, `decided_upto`, ends and producers of all segments.
    fn checkpoint(
        &mut self,
        segments: &[SegmentFooter],
        exists: &dyn Fn(TopicPartition) -> bool,
    ) -> Result<(), ApplyError> {
        let sessions = self.sessions_after(segments)?;
        self.adopt(segments, exists)?;
        for (session, record) in sessions {
            self.sessions.put(session, record);
        }
        Ok(())
    }

    /// Takes committed segments into the index whose sessions are settled and forgotten: their
    /// entries, ends and producers, in any order (D5). For checkpoints, and for a rebuild of the
    /// state from the bucket, where no session is known but by its chain.
    ///
    /// # Errors
    /// [`ApplyError::OffsetTaken`]: the state is as before; two segments claim one offset (CP2).
    pub fn adopt(
        &mut self,
        segments: &[SegmentFooter],
        exists: &dyn Fn(TopicPartition) -> bool,
    ) -> Result<(), ApplyError> {
        let extents = self.extents_of(segments, exists)?;
        for ((topic_partition, _), extent) in &extents {
            let log = self.partitions.entry(*topic_partition).or_default();
            log.end = log.end.max(extent.end_offset);
            let added = log.extents.insert(*extent);
            assert_eq!(added, Ok(()), "CP2: checked before");
        }
        self.add_producers(segments, exists);
        for (topic_partition, _) in extents.keys() {
            if let Some(log) = self.partitions.get_mut(topic_partition) {
                log.trim();
                log.expire_producers();
            }
        }
        Ok(())
    }

    /// The sessions as they will be; nothing is skipped, nothing comes twice (CP16).
    fn sessions_after(
        &self,
        segments: &[SegmentFooter],
    ) -> Result<BTreeMap<SessionId, SessionRecord>, ApplyError> {
        let mut after = BTreeMap::new();
        for footer in segments {
            let SegmentId { session, index } = footer.segment;
            let mut record = match after.get(&session) {
                Some(record) => *record,
                None => self.known(session)?,
            };
            let expected = record.decided_upto;
            let past_end = record.end.is_some_and(|end| index >= end);
            if index != expected || past_end {
                let segment = footer.segment;
                return Err(ApplyError::SegmentTurn { segment, expected });
            }
            if footer.epoch != record.epoch {
                return Err(ApplyError::SegmentEpoch {
                    segment: footer.segment,
                    epoch: footer.epoch,
                });
            }
            record.decided_upto = expected.after();
            after.insert(session, record);
        }
        Ok(after)
    }

    /// The new entries; batches of unknown topics are skipped (§9).
    fn extents_of(
        &self,
        segments: &[SegmentFooter],
        exists: &dyn Fn(TopicPartition) -> bool,
    ) -> Result<NewExtents, ApplyError> {
        let mut extents = NewExtents::new();
        for footer in segments {
            let segment = footer.segment;
            for extent in footer.extents() {
                let topic_partition = extent.topic_partition;
                if !exists(topic_partition) {
                    continue;
                }
                let base_offset = extent.base_offset;
                let extent = index_extent(segment, &extent);
                let taken = self
                    .partition(topic_partition)
                    .is_some_and(|log| log.extents.overlaps(&extent));
                if taken || overlaps(&extents, topic_partition, &extent) {
                    return Err(ApplyError::OffsetTaken {
                        segment,
                        base_offset,
                    });
                }
                extents.insert((topic_partition, base_offset), extent);
            }
        }
        Ok(extents)
    }

    fn add_producers(
        &mut self,
        segments: &[SegmentFooter],
        exists: &dyn Fn(TopicPartition) -> bool,
    ) {
        for footer in segments {
            let runs = footer
                .batches
                .chunk_by(|one, next| one.topic_partition == next.topic_partition);
            for run in runs {
                let log = run
                    .first()
                    .filter(|batch| exists(batch.topic_partition))
                    .and_then(|batch| self.partitions.get_mut(&batch.topic_partition));
                let Some(log) = log else {
                    continue;
                };
                for (stamp, batch) in run.iter().filter_map(producer_batch) {
                    log.add_producer_batch(stamp, batch);
                }
            }
        }
    }

    fn move_log_start(&mut self, topic_partition: TopicPartition, log_start: Offset) {
        let log = self.partitions.entry(topic_partition).or_default();
        log.log_start = log.log_start.max(log_start);
        log.trim();
    }
}

fn overlaps(extents: &NewExtents, topic_partition: TopicPartition, extent: &IndexExtent) -> bool {
    let first = (topic_partition, Offset::ZERO);
    let last = extents
        .range(first..(topic_partition, extent.end_offset))
        .next_back();
    last.is_some_and(|(_, last)| last.end_offset > extent.base_offset)
}
