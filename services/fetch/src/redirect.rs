//! Which readers are sent to another process (KIP-392), and which do not go.
//!
//! A client that understands preferred read replicas asks that one until it loses it. One that does
//! not asks here again at once, and is served here for a while: it loses one answer in
//! [`REDIRECT_EVERY`], never a record.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use esker_types::{MonotonicTime, TopicPartition};

use crate::limits::{REDIRECT_EVERY, REDIRECTS_MAX};

/// First Fetch whose answer can name a preferred read replica.
const REPLICA_FROM: i16 = 11;

/// Knows who serves the records of a partition.
pub trait ReadPlacement: Debug + Send + Sync + 'static {
    /// Whether this process serves whoever comes: then nothing else is asked.
    fn serves_all(&self) -> bool;

    /// The node id of the process that readers of `rack` ask; `None`: this one.
    fn reader(&self, topic_partition: TopicPartition, rack: Option<&str>) -> Option<i32>;
}

/// Who was sent away lately.
#[derive(Debug)]
pub(crate) struct Redirects {
    placement: Option<Arc<dyn ReadPlacement>>,
    told: Mutex<BTreeMap<(u64, TopicPartition), MonotonicTime>>,
}

impl Redirects {
    pub(crate) fn new(placement: Option<Arc<dyn ReadPlacement>>) -> Self {
        Self {
            placement,
            told: Mutex::default(),
        }
    }

    /// Whether any reader of this version may be sent elsewhere.
    pub(crate) fn may_send(&self, version: i16) -> bool {
        let sends = |placement: &Arc<dyn ReadPlacement>| !placement.serves_all();
        version >= REPLICA_FROM && self.placement.as_ref().is_some_and(sends)
    }

    /// Where this reader is sent; `None`: it is served here. Asked only if [`Self::may_send`].
    pub(crate) fn elsewhere(
        &self,
        now: MonotonicTime,
        connection_id: u64,
        topic_partition: TopicPartition,
        rack: &str,
    ) -> Option<i32> {
        let placement = self.placement.as_ref()?;
        let key = (connection_id, topic_partition);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the placement is asked: it weighs all processes.
        let last = told.get(&key);
        if last.is_some_and(|last| now.since(*last) < REDIRECT_EVERY) {
            return None;
        }
        let rack = (!rack.is_empty()).then_some(rack);
        let reader = placement.reader(topic_partition, rack)?;
        told.insert(key, now);
        if told.len() > REDIRECTS_MAX {
            // Connections count up: the first one is the oldest and most likely closed.
            told.pop_first();
        }
        Some(reader)
    }
}

#[cfg(test)]
mod tests {
    use esker_types::{PartitionIndex, TopicId};

    use super::*;

    #[derive(Debug)]
    struct Elsewhere;

    impl ReadPlacement for Elsewhere {
        fn serves_all(&self) -> bool {
            false
        }

        fn reader(&self, at: TopicPartition, rack: Option<&str>) -> Option<i32> {
            match (at.partition.get(), rack) {
                (0, _) => None,
                (_, Some("b")) => Some(22),
                _ => Some(21),
            }
        }
    }

    fn partition(index: u32) -> TopicPartition {
        TopicPartition {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionIndex::new(index).unwrap(),
        }
    }

    fn redirects() -> Redirects {
        Redirects::new(Some(Arc::new(Elsewhere)))
    }

    #[test]
    fn a_reader_is_sent_once_and_served_when_it_comes_back_at_once() {
        let redirects = redirects();
        let now = MonotonicTime::default();
        let ask = |now| redirects.elsewhere(now, 1, partition(1), "b");

        assert_eq!(ask(now), Some(22));
        assert_eq!(ask(now), None);
        assert_eq!(ask(now.after(REDIRECT_EVERY)), Some(22));
        assert_eq!(ask(now.after(REDIRECT_EVERY)), None);
    }

    #[test]
    fn an_old_client_and_a_partition_of_ours_are_served_here() {
        let redirects = redirects();
        let now = MonotonicTime::default();

        assert!(redirects.may_send(11) && !redirects.may_send(10));
        assert!(!Redirects::new(None).may_send(11));
        assert_eq!(redirects.elsewhere(now, 1, partition(0), ""), None);
        assert_eq!(redirects.elsewhere(now, 1, partition(1), ""), Some(21));
    }

    #[test]
    fn one_reader_past_the_limit_forgets_the_oldest_connection() {
        let redirects = redirects();
        let now = MonotonicTime::default();
        let most = u64::try_from(REDIRECTS_MAX).unwrap();
        for connection in 0..=most {
            let _ = redirects.elsewhere(now, connection, partition(1), "");
        }

        assert_eq!(redirects.told.lock().unwrap().len(), REDIRECTS_MAX);
        let oldest = redirects.elsewhere(now, 0, partition(1), "");
        assert_eq!(oldest, Some(21), "told anew");
    }
}
