//! The durable state as an audit reads it: sessions, and of each partition its bounds, extents and
//! producers.

use esker_metadata_api::IndexExtent;
use esker_types::{
    ChainIndex, Offset, ProducerEpoch, ProducerId, SequencerEpoch, SessionId, TopicPartition,
};

use super::{ApplyError, LogState, PartitionLog, SessionRecord};
use crate::limits::{KEYS_PER_PARTITION_MAX, PRODUCERS_PER_PARTITION_MAX, SESSIONS_SETTLED_MAX};
use crate::producers::{ProducerBatch, ProducerLog};

/// What is checkpointed of one partition.
#[derive(Clone, Copy, Debug)]
pub struct PartitionView<'a> {
    log: &'a PartitionLog,
}

/// What is remembered of one producer in one partition.
#[derive(Clone, Copy, Debug)]
pub struct ProducerView<'a> {
    log: &'a ProducerLog,
}

/// A committed batch that is remembered for its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedBatch {
    /// Sequence of its first record.
    pub base_sequence: i32,
    /// Its records.
    pub record_count: u32,
    /// Offset of its first record.
    pub base_offset: Offset,
}

impl LogState {
    /// All sessions that are known, by id.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, SessionRecord)> {
        self.sessions.iter()
    }

    /// Whether no settled session was ever forgotten: then a session that is not known was never
    /// registered.
    #[must_use]
    pub fn remembers_all_sessions(&self) -> bool {
        self.sessions.settled().count() < SESSIONS_SETTLED_MAX
    }

    /// Makes a session known that is over, all of whose segments were taken in by
    /// [`Self::adopt`]: for a rebuild.
    ///
    /// # Errors
    /// [`ApplyError::SessionExists`]: it is known.
    pub fn settle(
        &mut self,
        session: SessionId,
        epoch: SequencerEpoch,
        end: ChainIndex,
    ) -> Result<(), ApplyError> {
        if self.sessions.get(session).is_some() {
            return Err(ApplyError::SessionExists { session });
        }
        let record = SessionRecord {
            epoch,
            decided_upto: end,
            end: Some(end),
        };
        self.sessions.put(session, record);
        Ok(())
    }

    /// All partitions that have a checkpointed batch or a log start, in order.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, PartitionView<'_>)> {
        let logs = self.partitions.iter();
        logs.map(|(at, log)| (*at, PartitionView { log }))
    }

    /// One of them.
    #[must_use]
    pub fn view(&self, topic_partition: TopicPartition) -> Option<PartitionView<'_>> {
        let log = self.partition(topic_partition)?;
        Some(PartitionView { log })
    }
}

impl<'a> PartitionView<'a> {
    /// First offset still there.
    #[must_use]
    pub fn log_start(self) -> Offset {
        self.log.log_start
    }

    /// End of the last checkpointed batch, also when its extent is gone.
    #[must_use]
    pub fn end(self) -> Offset {
        self.log.end
    }

    /// Its extents, ascending and disjoint.
    #[must_use]
    pub fn extents(self) -> &'a [IndexExtent] {
        self.log.extents.all()
    }

    /// The extent that begins at this very offset.
    #[must_use]
    pub fn extent_at(self, base_offset: Offset) -> Option<IndexExtent> {
        let from = self.log.extents.from(base_offset).first()?;
        (from.base_offset == base_offset).then_some(*from)
    }

    /// The producers that are remembered, idempotency keys too, by id.
    pub fn producers(self) -> impl Iterator<Item = (ProducerId, ProducerView<'a>)> {
        let producers = self.log.producers.iter();
        producers.map(|(id, log)| (*id, ProducerView { log }))
    }

    /// One of them.
    #[must_use]
    pub fn producer(self, id: ProducerId) -> Option<ProducerView<'a>> {
        let log = self.log.producers.get(&id)?;
        Some(ProducerView { log })
    }

    /// Whether none was ever forgotten for want of room: then who is not remembered never wrote.
    /// Costs a walk over the producers.
    #[must_use]
    pub fn remembers_all(self) -> bool {
        let keys = self.log.producers.keys().filter(|id| id.is_keyed()).count();
        let others = self.log.producers.len().saturating_sub(keys);
        keys < KEYS_PER_PARTITION_MAX && others < PRODUCERS_PER_PARTITION_MAX
    }
}

impl<'a> ProducerView<'a> {
    /// Its highest epoch.
    #[must_use]
    pub fn epoch(self) -> ProducerEpoch {
        self.log.epoch()
    }

    /// The last batches of that epoch, ascending by offset; at least one.
    pub fn batches(self) -> impl Iterator<Item = RememberedBatch> + 'a {
        self.log.last().iter().map(remembered)
    }
}

fn remembered(batch: &ProducerBatch) -> RememberedBatch {
    RememberedBatch {
        base_sequence: batch.base_sequence.to_wire(),
        record_count: batch.record_count,
        base_offset: batch.base_offset,
    }
}
