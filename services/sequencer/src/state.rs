//! The durable state: what a new sequencer begins with. Changed by [`LogState::apply`] only.
//!
//! Deterministic: the same commands in the same order give the same state. A command that cannot be
//! applied changes nothing and means a damaged journal or a bug: the shell stops.

mod apply;
mod partition;
mod sessions;
mod view;

use std::collections::BTreeMap;

use esker_types::{Offset, SessionId, TopicPartition};

pub use apply::ApplyError;
pub(crate) use partition::{PartitionLog, index_extent, producer_batch};
pub use sessions::SessionRecord;
pub(crate) use sessions::Sessions;
pub use view::{PartitionView, ProducerView, RememberedBatch};

/// Sessions and the checkpointed index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    pub(crate) sessions: Sessions,
    pub(crate) partitions: BTreeMap<TopicPartition, PartitionLog>,
}

impl LogState {
    /// The state of a new cluster.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// What is durable of a session; `None` for one that was never registered or that ended, was
    /// checkpointed and forgotten. Nothing of either can become committed any more.
    #[must_use]
    pub fn session(&self, session: SessionId) -> Option<SessionRecord> {
        self.sessions.get(session)
    }

    /// First offset of the partition still there.
    #[must_use]
    pub fn log_start(&self, topic_partition: TopicPartition) -> Offset {
        self.partitions
            .get(&topic_partition)
            .map_or(Offset::ZERO, |log| log.log_start)
    }

    /// Number of extents in the checkpointed index.
    #[must_use]
    pub fn extent_count(&self) -> usize {
        self.partitions
            .values()
            .map(|log| log.extents.all().len())
            .sum()
    }

    pub(crate) fn partition(&self, topic_partition: TopicPartition) -> Option<&PartitionLog> {
        self.partitions.get(&topic_partition)
    }
}
