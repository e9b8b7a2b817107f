//! Who is there: the processes that clients and other processes reach, and for how long they count.
//!
//! A pod announces itself again and again; one that is not heard for a lease is gone. Nothing of it
//! is durable and nothing about safety rests on it: a table that is wrong costs a client one more
//! look-up, or a request one more hop.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use esker_types::{PodId, SessionId};
use futures::future::BoxFuture;

use crate::MetadataError;
use crate::limits::{POD_SESSIONS_MAX, POD_TEXT_BYTES_MAX, PODS_MAX};

/// What a process does. Any set of roles; an empty one is a process that only forwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Roles(u8);

impl Roles {
    /// Serves Produce itself.
    pub const INGEST: Self = Self(1);
    /// Serves Fetch itself.
    pub const FETCH: Self = Self(2);
    /// Leads the metadata service, or stands by.
    pub const METADATA: Self = Self(4);
    /// All of them.
    pub const ALL: Self = Self(7);

    /// `None` for a bit that this version does not know.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        (bits & !Self::ALL.0 == 0).then_some(Self(bits))
    }

    /// As a number; new roles get new bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether one of `other` is among these.
    #[must_use]
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Where something is reached: a host name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// From 1 on.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What a process tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The process: drawn at its start.
    pub pod: PodId,
    /// The node id that Kafka clients know it by; not negative, kept for its life.
    pub node_id: i32,
    /// What it does.
    pub roles: Roles,
    /// The zone it runs in, where that is known.
    pub zone: Option<String>,
    /// Where Kafka clients reach it; `None`: it takes none.
    pub kafka: Option<Endpoint>,
    /// Where other processes reach its internal API; `None`: it serves none.
    pub internal: Option<Endpoint>,
    /// Its version, for people.
    pub version: String,
    /// It is about to stop: clients are sent elsewhere.
    pub is_draining: bool,
    /// The sessions that it writes, the newest last: their segments may be in its memory.
    pub sessions: Vec<SessionId>,
}

impl Pod {
    /// Whether every text of it is within [`POD_TEXT_BYTES_MAX`], its sessions are no more than
    /// [`POD_SESSIONS_MAX`], and its numbers make sense.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let endpoints = [&self.kafka, &self.internal];
        let hosts = endpoints.into_iter().flatten();
        let mut texts: Vec<&str> = hosts.clone().map(|at| at.host.as_str()).collect();
        texts.push(&self.version);
        texts.extend(self.zone.as_deref());
        let fits = texts.iter().all(|text| text.len() <= POD_TEXT_BYTES_MAX);
        let reached = hosts
            .into_iter()
            .all(|at| at.port > 0 && !at.host.is_empty());
        fits && reached && self.node_id >= 0 && self.sessions.len() <= POD_SESSIONS_MAX
    }
}

/// The processes that count at a moment, by node id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodTable {
    /// Whether every pod had the time to be heard: not so in the first lease of a leader.
    pub is_settled: bool,
    /// By node id, each once.
    pub pods: BTreeMap<i32, Arc<Pod>>,
}

impl PodTable {
    /// Those with all of `roles` that are not about to stop.
    pub fn with(&self, roles: Roles) -> impl Iterator<Item = &Arc<Pod>> {
        let serves = move |pod: &&Arc<Pod>| pod.roles.has(roles) && !pod.is_draining;
        self.pods.values().filter(serves)
    }

    /// This table after `newer` came: all of `newer`, and, while that one is not settled, those of
    /// this one whose node id and process `newer` does not name.
    #[must_use]
    pub fn followed_by(&self, newer: &Arc<Self>) -> Arc<Self> {
        if newer.is_settled || self.pods.is_empty() {
            return Arc::clone(newer);
        }
        let mut pods = newer.pods.clone();
        for (node_id, pod) in &self.pods {
            if newer.pods.values().all(|known| known.pod != pod.pod) && pods.len() < PODS_MAX {
                pods.entry(*node_id).or_insert_with(|| Arc::clone(pod));
            }
        }
        Arc::new(Self {
            is_settled: false,
            pods,
        })
    }
}

/// An announcement that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLease {
    /// The pod counts for so long from the moment it was heard.
    pub lease: Duration,
    /// Who is there, the announcer among them.
    pub table: Arc<PodTable>,
}

/// Why an announcement was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnounceError {
    /// Another living process has the node id: draw another one.
    #[error("node id belongs to another process")]
    NodeIdTaken,
    /// As many as there may be.
    #[error("more pods than allowed")]
    TooManyPods,
    /// A text is too long, a port 0, the node id negative, or there are too many sessions.
    #[error("announcement makes no sense")]
    Malformed,
    /// No answer.
    #[error("announcement was not answered")]
    Metadata(#[source] MetadataError),
}

/// Membership, as every process sees it.
pub trait Pods: Debug + Send + Sync + 'static {
    /// Tells of this process, and hears who else is there. Idempotent; in memory only. A pod that
    /// drains says so, and one that stops just falls silent.
    fn announce(&self, pod: Pod) -> BoxFuture<'_, Result<PodLease, AnnounceError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(node_id: i32, process: u8, roles: Roles) -> Arc<Pod> {
        Arc::new(Pod {
            pod: PodId::from_bytes([process; 16]),
            node_id,
            roles,
            zone: None,
            kafka: Some(Endpoint {
                host: "::1".to_owned(),
                port: 9092,
            }),
            internal: None,
            version: "1".to_owned(),
            is_draining: false,
            sessions: Vec::new(),
        })
    }

    fn table(is_settled: bool, pods: &[Arc<Pod>]) -> Arc<PodTable> {
        let pods = pods.iter().map(|pod| (pod.node_id, Arc::clone(pod)));
        Arc::new(PodTable {
            is_settled,
            pods: pods.collect(),
        })
    }

    fn nodes(table: &PodTable) -> Vec<i32> {
        table.pods.keys().copied().collect()
    }

    #[test]
    fn a_new_leader_that_has_not_heard_all_takes_nobody_away() {
        let before = table(true, &[pod(1, 1, Roles::ALL), pod(2, 2, Roles::ALL)]);
        let early = table(false, &[pod(2, 2, Roles::ALL)]);
        let settled = table(true, &[pod(2, 2, Roles::ALL)]);

        assert_eq!(nodes(&before.followed_by(&early)), [1, 2]);
        assert_eq!(nodes(&before.followed_by(&settled)), [2]);
    }

    #[test]
    fn a_process_that_changed_its_node_id_is_not_there_twice() {
        let before = table(true, &[pod(1, 1, Roles::ALL)]);
        let renamed = table(false, &[pod(7, 1, Roles::ALL)]);

        assert_eq!(nodes(&before.followed_by(&renamed)), [7]);
    }

    #[test]
    fn who_drains_or_lacks_a_role_is_not_chosen() {
        let mut leaving = Pod::clone(&pod(1, 1, Roles::ALL));
        leaving.is_draining = true;
        let all = [
            Arc::new(leaving),
            pod(2, 2, Roles::FETCH),
            pod(3, 3, Roles::INGEST.and(Roles::FETCH)),
        ];
        let table = table(true, &all);

        let chosen = |roles| table.with(roles).map(|pod| pod.node_id).collect::<Vec<_>>();
        assert_eq!(chosen(Roles::INGEST), [3]);
        assert_eq!(chosen(Roles::FETCH), [2, 3]);
        assert_eq!(chosen(Roles::METADATA), [0; 0]);
    }

    #[test]
    fn a_text_or_session_one_past_the_limit_and_a_role_of_the_future_are_refused() {
        let mut odd = Pod::clone(&pod(1, 1, Roles::ALL));
        assert!(odd.is_sound());
        odd.zone = Some("z".repeat(POD_TEXT_BYTES_MAX));
        assert!(odd.is_sound());
        odd.zone = Some("z".repeat(POD_TEXT_BYTES_MAX + 1));
        assert!(!odd.is_sound());
        odd.zone = None;
        odd.node_id = -1;
        assert!(!odd.is_sound());
        odd.node_id = 1;
        odd.sessions = vec![SessionId::from_bytes([1; 16]); POD_SESSIONS_MAX];
        assert!(odd.is_sound());
        odd.sessions.push(SessionId::from_bytes([2; 16]));
        assert!(!odd.is_sound());

        assert_eq!(Roles::from_bits(7), Some(Roles::ALL));
        assert_eq!(Roles::from_bits(8), None);
    }

    #[test]
    fn an_ipv6_endpoint_is_written_with_brackets() {
        let at = pod(1, 1, Roles::ALL).kafka.clone().unwrap();

        assert_eq!(at.to_string(), "[::1]:9092");
    }
}
