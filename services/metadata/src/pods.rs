//! Which pods are there: a pure table of announcements, with time told by its caller.
//!
//! Invariants: a node id belongs to one process at a time, a process has one node id; a pod counts
//! from an announcement for [`POD_LEASE`]; nothing is durable, so a new leader hears everybody anew
//! and says for one lease that its table is not settled. Cost: one small message a pod and
//! [`esker_metadata_api::limits::POD_ANNOUNCE_EVERY`], no request to the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use esker_metadata_api::limits::PODS_MAX;
use esker_metadata_api::{AnnounceError, Pod, PodLease, PodTable};
use esker_types::MonotonicTime;

use crate::limits::POD_LEASE;

#[derive(Clone, Debug)]
struct Heard {
    pod: Arc<Pod>,
    at: MonotonicTime,
}

/// The pods that a leader has heard.
#[derive(Clone, Debug)]
pub(crate) struct PodRegistry {
    since: MonotonicTime,
    heard: BTreeMap<i32, Heard>,
    /// As of the last change.
    table: Arc<PodTable>,
}

impl PodRegistry {
    /// Of a leader that began at `now`.
    pub(crate) fn new(now: MonotonicTime) -> Self {
        Self {
            since: now,
            heard: BTreeMap::new(),
            table: Arc::default(),
        }
    }

    /// Takes an announcement.
    pub(crate) fn announce(
        &mut self,
        now: MonotonicTime,
        pod: Pod,
    ) -> Result<PodLease, AnnounceError> {
        if !pod.is_sound() {
            return Err(AnnounceError::Malformed);
        }
        self.forget_silent(now);
        let holder = self.heard.get(&pod.node_id);
        if holder.is_some_and(|holder| holder.pod.pod != pod.pod) {
            return Err(AnnounceError::NodeIdTaken);
        }
        let process = pod.pod;
        self.heard
            .retain(|node_id, heard| heard.pod.pod != process || *node_id == pod.node_id);
        if self.heard.len() >= PODS_MAX && !self.heard.contains_key(&pod.node_id) {
            return Err(AnnounceError::TooManyPods);
        }
        let known = self.heard.get(&pod.node_id).map(|heard| &heard.pod);
        let pod = match known {
            Some(known) if **known == pod => Arc::clone(known),
            _ => Arc::new(pod),
        };
        self.heard.insert(pod.node_id, Heard { pod, at: now });
        Ok(PodLease {
            lease: POD_LEASE,
            table: self.table(now),
        })
    }

    fn forget_silent(&mut self, now: MonotonicTime) {
        self.heard
            .retain(|_, heard| now.since(heard.at) < POD_LEASE);
    }

    /// Who counts now.
    fn table(&mut self, now: MonotonicTime) -> Arc<PodTable> {
        let is_settled = now.since(self.since) >= POD_LEASE;
        let is_same = self.table.is_settled == is_settled
            && self.table.pods.len() == self.heard.len()
            && self.heard.iter().all(|(node_id, heard)| {
                let told = self.table.pods.get(node_id);
                told.is_some_and(|told| Arc::ptr_eq(told, &heard.pod))
            });
        if !is_same {
            let pods = self.heard.iter();
            self.table = Arc::new(PodTable {
                is_settled,
                pods: pods
                    .map(|(node_id, heard)| (*node_id, Arc::clone(&heard.pod)))
                    .collect(),
            });
        }
        Arc::clone(&self.table)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use esker_metadata_api::{Endpoint, Roles};
    use esker_types::PodId;

    use super::*;

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_start(Duration::from_secs(seconds))
    }

    fn pod(process: u64, node_id: i32) -> Pod {
        Pod {
            pod: PodId::from_bytes(u128::from(process).to_be_bytes()),
            node_id,
            roles: Roles::ALL,
            zone: None,
            kafka: Some(Endpoint {
                host: "127.0.0.1".to_owned(),
                port: 9092,
            }),
            internal: None,
            version: "1".to_owned(),
            is_draining: false,
            sessions: Vec::new(),
        }
    }

    fn nodes(lease: &PodLease) -> Vec<i32> {
        lease.table.pods.keys().copied().collect()
    }

    #[test]
    fn a_pod_counts_while_it_is_heard_and_a_silent_one_is_gone_after_its_lease() {
        let mut registry = PodRegistry::new(at(0));
        registry.announce(at(1), pod(1, 1)).unwrap();

        let both = registry.announce(at(2), pod(2, 2)).unwrap();
        let later = at(1).after(POD_LEASE);
        let one = registry.announce(later, pod(2, 2)).unwrap();

        assert_eq!(nodes(&both), [1, 2]);
        assert!(!both.table.is_settled);
        assert_eq!(nodes(&one), [2]);
        assert!(one.table.is_settled);
    }

    #[test]
    fn a_node_id_has_one_process_until_that_one_falls_silent() {
        let mut registry = PodRegistry::new(at(0));
        registry.announce(at(0), pod(1, 1)).unwrap();

        let taken = registry.announce(at(1), pod(2, 1));
        let free = registry.announce(at(0).after(POD_LEASE), pod(2, 1));

        assert_eq!(taken, Err(AnnounceError::NodeIdTaken));
        assert_eq!(nodes(&free.unwrap()), [1]);
    }

    #[test]
    fn a_process_that_draws_another_node_id_gives_the_old_one_back() {
        let mut registry = PodRegistry::new(at(0));
        registry.announce(at(0), pod(1, 1)).unwrap();
        let renamed = registry.announce(at(1), pod(1, 9)).unwrap();

        assert_eq!(nodes(&renamed), [9]);
        assert!(registry.announce(at(1), pod(2, 1)).is_ok());
    }

    #[test]
    fn one_pod_past_the_limit_is_refused_and_those_there_are_heard_on() {
        let mut registry = PodRegistry::new(at(0));
        for number in 0..PODS_MAX {
            let node_id = i32::try_from(number).unwrap();
            let process = u64::try_from(number).unwrap();
            registry.announce(at(1), pod(process, node_id)).unwrap();
        }
        let many = i32::try_from(PODS_MAX).unwrap();

        let beyond = registry.announce(at(1), pod(u64::MAX, many));
        let known = registry.announce(at(1), pod(0, 0));
        let malformed = registry.announce(at(1), pod(0, -1));

        assert_eq!(beyond, Err(AnnounceError::TooManyPods));
        assert_eq!(known.unwrap().table.pods.len(), PODS_MAX);
        assert_eq!(malformed, Err(AnnounceError::Malformed));
    }

    #[test]
    fn a_table_without_a_change_is_the_same_one() {
        let mut registry = PodRegistry::new(at(0));
        let first = registry.announce(at(100), pod(1, 1)).unwrap();
        let second = registry.announce(at(101), pod(1, 1)).unwrap();
        let mut leaving = pod(1, 1);
        leaving.is_draining = true;
        let third = registry.announce(at(102), leaving).unwrap();

        assert!(Arc::ptr_eq(&first.table, &second.table));
        assert!(third.table.pods[&1].is_draining);
    }
}
