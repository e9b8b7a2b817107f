//! Who goes first: the partition that got nothing last time for want of room.
//!
//! Partitions get their share in the request's order. A client that never changes the order would
//! otherwise starve the last ones for as long as the first ones have records.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use esker_types::TopicPartition;

use crate::limits::STARVED_MAX;

/// The starved partition of each connection, for the connections that have one.
#[derive(Debug, Default)]
pub(crate) struct Fairness {
    starved: Mutex<BTreeMap<u64, TopicPartition>>,
}

impl Fairness {
    /// The partition that the next response on the connection begins with.
    pub(crate) fn first(&self, connection_id: u64) -> Option<TopicPartition> {
        let starved = self.starved.lock().unwrap_or_else(PoisonError::into_inner);
        starved.get(&connection_id).copied()
    }

    /// Remembers who got nothing although there was something. Past the limit the oldest connection
    /// is forgotten: most likely it is closed.
    pub(crate) fn remember(&self, connection_id: u64, partition: Option<TopicPartition>) {
        let mut starved = self.starved.lock().unwrap_or_else(PoisonError::into_inner);
        match partition {
            Some(partition) => starved.insert(connection_id, partition),
            None => starved.remove(&connection_id),
        };
        if starved.len() > STARVED_MAX {
            starved.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use esker_types::{PartitionIndex, TopicId};

    use super::*;

    fn partition(index: u32) -> TopicPartition {
        TopicPartition {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionIndex::new(index).unwrap(),
        }
    }

    #[test]
    fn a_starved_partition_is_remembered_until_it_was_served() {
        let fairness = Fairness::default();

        fairness.remember(7, Some(partition(3)));
        assert_eq!(fairness.first(7), Some(partition(3)));
        assert_eq!(fairness.first(8), None);

        fairness.remember(7, None);
        assert_eq!(fairness.first(7), None);
    }

    #[test]
    fn one_connection_past_the_limit_forgets_the_oldest() {
        let fairness = Fairness::default();
        let most = u64::try_from(STARVED_MAX).unwrap();

        for connection in 0..=most {
            fairness.remember(connection, Some(partition(1)));
        }

        assert_eq!(fairness.first(0), None);
        assert_eq!(fairness.first(1), Some(partition(1)));
    }
}
