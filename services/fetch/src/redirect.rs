//! Which readers are sent to another process (KIP-392), and which do not go.
//!
//! A client that understands preferred read replicas asks that one until it loses it. One that does
//! not asks here again at once, and is served here for a while: it loses one answer in
//! [`REDIRECT_EVERY`], never a record. One that never said what software it is (KIP-511) is not
//! sent: kafkajs goes silent for 5 minutes when told of a process it has not heard of yet.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use esker_kafka::RequestContext;
use esker_types::{MonotonicTime, TopicPartition};

use crate::limits::{REDIRECT_EVERY, REDIRECTS_MAX};

/// First Fetch whose answer can name a preferred read replica.
const REPLICA_FROM: i16 = 11;

/// Knows who serves the records of a partition.
pub trait ReadPlacement: Debug + Send + Sync + 'static {
    /// Whether this process serves whoever comes: then nothing else is asked.
    fn serves_all(&self) -> bool;

    /// Whether this process is about to stop: who comes back is sent away again.
    fn leaves(&self) -> bool;

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

    /// Whether who asks so may be sent elsewhere.
    pub(crate) fn may_send(&self, context: &RequestContext) -> bool {
        let sends = |placement: &Arc<dyn ReadPlacement>| !placement.serves_all();
        let knows = context.is_software_named && context.api_version >= REPLICA_FROM;
        knows && self.placement.as_ref().is_some_and(sends)
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
        let is_told = last.is_some_and(|last| now.since(*last) < REDIRECT_EVERY);
        if is_told && !placement.leaves() {
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
    struct Elsewhere {
        leaves: bool,
    }

    impl ReadPlacement for Elsewhere {
        fn serves_all(&self) -> bool {
            false
        }

        fn leaves(&self) -> bool {
            self.leaves
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
        Redirects::new(Some(Arc::new(Elsewhere { leaves: false })))
    }

    #[test]
    fn who_comes_back_to_a_process_that_is_about_to_stop_is_sent_again() {
        let redirects = Redirects::new(Some(Arc::new(Elsewhere { leaves: true })));
        let now = MonotonicTime::default();

        for _ in 0..3 {
            let told = redirects.elsewhere(now, 1, partition(1), "b");
            assert_eq!(told, Some(22));
        }
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

    fn context(api_version: i16, is_software_named: bool) -> RequestContext {
        let address = ([127, 0, 0, 1], 9092).into();
        RequestContext {
            api_version,
            correlation_id: 1,
            client_id: None,
            client_address: address,
            local_address: address,
            received: MonotonicTime::default(),
            connection_id: 1,
            is_software_named,
        }
    }

    #[test]
    fn a_client_that_does_not_say_what_it_is_is_sent_nowhere() {
        assert!(!redirects().may_send(&context(11, false)));
        let leaving = Redirects::new(Some(Arc::new(Elsewhere { leaves: true })));
        assert!(!leaving.may_send(&context(11, false)));
    }

    #[test]
    fn an_old_client_and_a_partition_of_ours_are_served_here() {
        let redirects = redirects();
        let now = MonotonicTime::default();

        assert!(redirects.may_send(&context(11, true)));
        assert!(!redirects.may_send(&context(10, true)));
        assert!(!Redirects::new(None).may_send(&context(11, true)));
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
