//! Which broker stands where: replicas and coordinators by rendezvous hash.
//!
//! A stable map: it changes only with the set of brokers, and then only for what the broker that
//! came or went had. All processes with the same set compute the same.

use esker_kafka::messages::{BrokerId, StrBytes};
use esker_types::{PartitionIndex, TopicId};

use crate::config::AdminConfig;

/// A process that clients can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its node id; not negative.
    pub node_id: i32,
    /// The host that clients reach it by.
    pub host: String,
    /// The port that goes with it.
    pub port: u16,
    /// The zone it runs in.
    pub rack: Option<String>,
}

impl Broker {
    pub(crate) fn id(&self) -> BrokerId {
        BrokerId(self.node_id)
    }

    pub(crate) fn wire_host(&self) -> StrBytes {
        StrBytes::from_string(self.host.clone())
    }

    pub(crate) fn wire_rack(&self) -> Option<StrBytes> {
        self.rack.clone().map(StrBytes::from_string)
    }
}

/// All brokers that clients of the listener see, by node id, each once.
#[derive(Clone, Debug)]
pub(crate) struct Brokers {
    here: Broker,
    all: Vec<Broker>,
}

impl Brokers {
    pub(crate) fn new(config: &AdminConfig) -> Self {
        let here = Broker {
            node_id: config.node_id,
            host: config.advertised_host.clone(),
            port: config.advertised_port,
            rack: config.rack.clone(),
        };
        let mut all = vec![here.clone()];
        for peer in &config.peers {
            if all.iter().all(|broker| broker.node_id != peer.node_id) {
                all.push(peer.clone());
            }
        }
        all.sort_by_key(|broker| broker.node_id);
        Self { here, all }
    }

    /// Every broker, by rising node id.
    pub(crate) fn all(&self) -> &[Broker] {
        &self.all
    }

    /// This process. Also the controller that clients see: it surely is up, and every process
    /// takes every request.
    pub(crate) fn here(&self) -> &Broker {
        &self.here
    }

    /// Who holds a partition, the leader first: as many as its replication factor, but no more than
    /// there are. Never empty.
    pub(crate) fn replicas(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        replication_factor: u16,
    ) -> Vec<BrokerId> {
        let mut key = Fingerprint::default();
        key.add(&topic.bytes());
        key.add(&partition.get().to_be_bytes());
        let mut ranked: Vec<(u64, BrokerId)> = self
            .all
            .iter()
            .map(|broker| (key.score(broker), broker.id()))
            .collect();
        ranked.sort_by(|left, right| right.cmp(left));
        ranked.truncate(usize::from(replication_factor.max(1)));
        ranked.into_iter().map(|(_, id)| id).collect()
    }

    /// Who coordinates a group.
    pub(crate) fn coordinator(&self, group: &str) -> &Broker {
        let mut key = Fingerprint::default();
        key.add(group.as_bytes());
        let best = self.all.iter().max_by_key(|broker| key.score(broker));
        best.unwrap_or(&self.here)
    }
}

/// FNV-1a: stable over builds and processes, which the standard hasher is not.
#[derive(Clone, Copy, Debug)]
struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The weight of `broker` for this key, mixed so that neighbouring node ids differ in all bits.
    fn score(mut self, broker: &Broker) -> u64 {
        self.add(&broker.node_id.to_be_bytes());
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn brokers(count: i32) -> Brokers {
        let peer = |node_id: i32| Broker {
            node_id,
            host: format!("pod-{node_id}"),
            port: 9092,
            rack: None,
        };
        Brokers::new(&AdminConfig {
            node_id: 1,
            peers: (2..=count).map(peer).collect(),
            ..AdminConfig::default()
        })
    }

    fn topic() -> TopicId {
        TopicId::from_bytes([7; 16])
    }

    #[test]
    fn a_peer_whose_node_id_is_taken_is_left_out() {
        let mut config = AdminConfig::default();
        let double = Broker {
            node_id: config.node_id,
            host: String::from("elsewhere"),
            port: 1,
            rack: None,
        };
        config.peers = vec![double];

        let brokers = Brokers::new(&config);

        assert_eq!(brokers.all(), [brokers.here().clone()]);
        assert_eq!(brokers.here().host, config.advertised_host);
    }

    #[test]
    fn replicas_are_distinct_listed_and_as_many_as_asked_or_there_are() {
        let three = brokers(3);
        for index in 0..100 {
            let partition = PartitionIndex::new(index).unwrap();
            for (factor, wanted) in [(0, 1), (1, 1), (2, 2), (3, 3), (40, 3)] {
                let mut replicas = three.replicas(topic(), partition, factor);
                assert_eq!(replicas.len(), wanted);
                replicas.sort();
                replicas.dedup();
                assert_eq!(replicas.len(), wanted);
                assert!(replicas.iter().all(|id| (1..=3).contains(&id.0)));
            }
        }
    }

    #[test]
    fn partitions_spread_and_stay_when_another_broker_leaves() {
        let (four, three) = (brokers(4), brokers(3));
        let leader = |brokers: &Brokers, index| {
            brokers.replicas(topic(), PartitionIndex::new(index).unwrap(), 1)[0].0
        };
        let mut led = BTreeMap::new();

        for index in 0..4000 {
            let before = leader(&four, index);
            *led.entry(before).or_insert(0) += 1;
            if before != 4 {
                assert_eq!(leader(&three, index), before, "only what 4 led moves");
            }
        }

        assert_eq!(led.len(), 4);
        assert!(
            led.values().all(|count| (800..1200).contains(count)),
            "{led:?}"
        );
    }

    #[test]
    fn a_group_has_one_coordinator_on_every_process() {
        let here = brokers(3);
        let mut config = AdminConfig {
            node_id: 2,
            ..AdminConfig::default()
        };
        config.peers = here
            .all()
            .iter()
            .filter(|peer| peer.node_id != 2)
            .cloned()
            .collect();
        let there = Brokers::new(&config);

        for group in ["", "a", "readers", "connect-cluster"] {
            let named = here.coordinator(group).node_id;
            assert_eq!(named, there.coordinator(group).node_id);
        }
    }
}
