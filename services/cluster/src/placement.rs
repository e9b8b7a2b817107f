//! Which process stands where: leaders, replicas and coordinators by rendezvous hash.
//!
//! A stable map: it changes only with the set of processes, and then only for what the one that
//! came or went had. Clients of a zone are sent to that zone while it has somebody to send to.

use esker_metadata_api::{Endpoint, Pod, PodTable, Roles};
use esker_types::{PartitionIndex, TopicId};

/// Of the one broker that clients see with [`ClientsSee::Single`].
const SINGLE_NODE_ID: i32 = 0;

/// Which processes clients of this one are told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientsSee {
    /// All that take clients.
    #[default]
    All,
    /// This one and those that share one of these roles: leaders, replicas, readers and
    /// coordinators are among them, and leaders write if any of the roles does.
    Within(Roles),
    /// One broker, node 0, that leads and coordinates everything: whichever process a
    /// balancer in front of all hands a connection to. Every process serves every request.
    Single,
}

impl ClientsSee {
    /// The node id that clients have for the process with the id `own`.
    #[must_use]
    pub fn node_id(self, own: i32) -> i32 {
        match self {
            Self::All | Self::Within(_) => own,
            Self::Single => SINGLE_NODE_ID,
        }
    }
}

/// A process that clients can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its node id; not negative.
    pub node_id: i32,
    /// Where clients reach it.
    pub at: Endpoint,
    /// The zone it runs in.
    pub zone: Option<String>,
    /// What it does.
    pub roles: Roles,
    /// It is about to stop.
    pub is_draining: bool,
}

impl Member {
    /// `None` for one that takes no clients.
    #[must_use]
    pub fn of(pod: &Pod) -> Option<Self> {
        Some(Self {
            node_id: pod.node_id,
            at: pod.kafka.clone()?,
            zone: pod.zone.clone(),
            roles: pod.roles,
            is_draining: pod.is_draining,
        })
    }

    fn can(&self, roles: Roles) -> bool {
        self.roles.has(roles) && !self.is_draining
    }
}

/// The processes as clients of one zone see them, by rising node id, each once.
#[derive(Clone, Debug)]
pub struct Placement {
    here: Member,
    all: Vec<Member>,
    zone: Option<String>,
    /// What leaders can do.
    leading: Roles,
}

impl Placement {
    /// Of the processes in `table`, and `here` as its clients reach it. `zone` is the clients';
    /// without one, or with one that has nobody, all zones are alike.
    #[must_use]
    pub fn new(here: Member, table: &PodTable, zone: Option<&str>) -> Self {
        let others = table.pods.values().filter_map(|pod| Member::of(pod));
        let mut all: Vec<Member> = others
            .filter(|member| member.node_id != here.node_id)
            .collect();
        all.push(here.clone());
        all.sort_by_key(|member| member.node_id);
        let zone = zone.map(str::to_owned);
        Self {
            here,
            all,
            zone,
            leading: Roles::INGEST,
        }
    }

    /// The same with nobody in it but whom clients are told of.
    #[must_use]
    pub fn seen(self, whom: ClientsSee) -> Self {
        match whom {
            ClientsSee::All => self,
            ClientsSee::Within(roles) => self.within(roles),
            ClientsSee::Single => self.single(),
        }
    }

    fn within(mut self, roles: Roles) -> Self {
        let here = self.here.node_id;
        self.all
            .retain(|member| member.node_id == here || member.roles.has_any(roles));
        if !roles.has(Roles::INGEST) {
            self.leading = Roles::FETCH;
        }
        self
    }

    /// The one broker is in no zone, and stays when this process goes.
    fn single(self) -> Self {
        let here = Member {
            node_id: SINGLE_NODE_ID,
            zone: None,
            roles: Roles::ALL,
            is_draining: false,
            ..self.here
        };
        Self {
            all: vec![here.clone()],
            here,
            zone: None,
            leading: Roles::INGEST,
        }
    }

    /// Every process that takes clients, by rising node id.
    #[must_use]
    pub fn all(&self) -> &[Member] {
        &self.all
    }

    /// This process. Also the controller that clients see: it surely is up, and every process
    /// takes every request.
    #[must_use]
    pub fn here(&self) -> &Member {
        &self.here
    }

    /// Those who can do `roles` in the clients' zone; in all zones if there are none; else any.
    fn able(&self, roles: Roles, zone: Option<&str>) -> Vec<&Member> {
        let able: Vec<&Member> = self.all.iter().filter(|one| one.can(roles)).collect();
        let near = |member: &&&Member| zone.is_some() && member.zone.as_deref() == zone;
        let close: Vec<&Member> = able.iter().filter(near).copied().collect();
        match (close.is_empty(), able.is_empty()) {
            (false, _) => close,
            (true, false) => able,
            (true, true) => vec![&self.here],
        }
    }

    fn best<'a>(key: Fingerprint, able: &[&'a Member]) -> Option<&'a Member> {
        able.iter().copied().max_by_key(|one| key.score(one))
    }

    fn key(topic: TopicId, partition: PartitionIndex) -> Fingerprint {
        let mut key = Fingerprint::default();
        key.add(&topic.bytes());
        key.add(&partition.get().to_be_bytes());
        key
    }

    /// Who takes the batches of a partition, so that they meet in one session; or, within roles
    /// that do not write, who serves its records.
    #[must_use]
    pub fn leader(&self, topic: TopicId, partition: PartitionIndex) -> &Member {
        let able = self.able(self.leading, self.zone.as_deref());
        Self::best(Self::key(topic, partition), &able).unwrap_or(&self.here)
    }

    /// Who serves the records of a partition to readers of `zone` (the clients' own without one):
    /// KIP-392's preferred read replica.
    #[must_use]
    pub fn reader(&self, topic: TopicId, partition: PartitionIndex, zone: Option<&str>) -> &Member {
        let able = self.able(Roles::FETCH, zone.or(self.zone.as_deref()));
        Self::best(Self::key(topic, partition), &able).unwrap_or(&self.here)
    }

    /// Who holds a partition, the leader first, then who serves its records, then others by their
    /// weight: as many as its replication factor, but no more than there are. Never empty.
    #[must_use]
    pub fn replicas(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        replication_factor: u16,
    ) -> Vec<i32> {
        let leader = self.leader(topic, partition).node_id;
        let key = Self::key(topic, partition);
        let mut others: Vec<(bool, u64, i32)> = self
            .all
            .iter()
            .filter(|member| member.node_id != leader)
            .map(|member| (member.can(Roles::FETCH), key.score(member), member.node_id))
            .collect();
        others.sort_by(|left, right| right.cmp(left));
        let mut replicas = vec![leader];
        replicas.extend(others.into_iter().map(|(_, _, node_id)| node_id));
        replicas.truncate(usize::from(replication_factor.max(1)));
        replicas
    }

    /// Who coordinates a group: any process can, one of the clients' zone is near.
    #[must_use]
    pub fn coordinator(&self, group: &str) -> &Member {
        let mut key = Fingerprint::default();
        key.add(group.as_bytes());
        let able = self.able(Roles::default(), self.zone.as_deref());
        Self::best(key, &able).unwrap_or(&self.here)
    }
}

/// FNV-1a: stable over builds and processes, which the standard hasher is not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn score(self, member: &Member) -> u64 {
        self.weight(member.node_id)
    }

    /// The weight of a process for this key, mixed so that neighbouring ids differ in all bits.
    pub(crate) fn weight(mut self, node_id: i32) -> u64 {
        self.add(&node_id.to_be_bytes());
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
