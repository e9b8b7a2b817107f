//! What a client knows of the cluster: brokers, the controller, who leads which partition.

use std::collections::BTreeMap;

use kafka_protocol::messages::MetadataResponse;

use super::{ClientError, Target};

/// `host:port` of a broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

/// A broker as Metadata names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broker {
    /// Its node id.
    pub node: i32,
    /// Where it listens.
    pub address: Address,
}

/// The client's map. Names partitions as they were at the last Metadata response.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    brokers: BTreeMap<i32, Address>,
    controller: Option<i32>,
    leaders: BTreeMap<String, BTreeMap<i32, i32>>,
    /// Preferred read replicas, of partitions that have one.
    readers: BTreeMap<String, BTreeMap<i32, i32>>,
}

impl Address {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// [`ClientError::BadAddress`] for anything else.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let bad = || ClientError::BadAddress {
            given: text.to_owned(),
        };
        let (host, port) = text.trim().rsplit_once(':').ok_or_else(bad)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let port = port.parse().map_err(|_| bad())?;
        if host.is_empty() || (bare.is_none() && host.contains(':')) {
            return Err(bad());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }

    /// The host: a name, an IPv4 or a bare IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Cluster {
    /// The broker that serves a partition's records, where the leader has named one that is there.
    pub(super) fn reader(&self, topic: &str, partition: i32) -> Option<Target> {
        let node = *self.readers.get(topic)?.get(&partition)?;
        self.brokers
            .contains_key(&node)
            .then_some(Target::Node(node))
    }

    /// Remembers or forgets it.
    pub(super) fn set_reader(&mut self, topic: &str, partition: i32, node: Option<i32>) {
        let readers = self.readers.entry(topic.to_owned()).or_default();
        match node {
            Some(node) => readers.insert(partition, node),
            None => readers.remove(&partition),
        };
        if readers.is_empty() {
            self.readers.remove(topic);
        }
    }

    /// Takes over brokers and controller, and the leaders of the topics that are named.
    pub(super) fn learn(&mut self, response: &MetadataResponse) {
        let brokers = response.brokers.iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            let host = broker.host.to_string();
            Some((broker.node_id.0, Address { host, port }))
        });
        self.brokers = brokers.collect();
        self.controller = Some(response.controller_id.0).filter(|node| *node >= 0);
        for topic in &response.topics {
            let Some(name) = &topic.name else { continue };
            let led = topic
                .partitions
                .iter()
                .filter(|partition| partition.leader_id.0 >= 0);
            let leaders = led.map(|partition| (partition.partition_index, partition.leader_id.0));
            self.leaders.insert(name.to_string(), leaders.collect());
        }
    }

    pub(super) fn addresses(&self) -> Vec<Address> {
        self.brokers.values().cloned().collect()
    }

    pub(super) fn brokers(&self) -> Vec<Broker> {
        let brokers = self.brokers.iter();
        let brokers = brokers.map(|(node, address)| Broker {
            node: *node,
            address: address.clone(),
        });
        brokers.collect()
    }

    pub(super) fn address(&self, node: i32) -> Result<Address, ClientError> {
        let address = self.brokers.get(&node).cloned();
        address.ok_or(ClientError::UnknownBroker { node })
    }

    /// A broker that FindCoordinator named, which Metadata may not have.
    pub(super) fn add(&mut self, node: i32, host: &str, port: i32) {
        if let Ok(port) = u16::try_from(port) {
            let host = host.to_owned();
            self.brokers.insert(node, Address { host, port });
        }
    }

    pub(super) fn controller(&self) -> Target {
        let known = self
            .controller
            .filter(|node| self.brokers.contains_key(node));
        known.map_or(Target::Any, Target::Node)
    }

    pub(super) fn leader(&self, topic: &str, partition: i32) -> Option<Target> {
        let leader = self.leaders.get(topic)?.get(&partition)?;
        Some(Target::Node(*leader))
    }

    pub(super) fn forget(&mut self, topic: &str) {
        self.leaders.remove(topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_are_written_and_malformed_ones_do_not() {
        for good in ["localhost:9092", "127.0.0.1:1", "[::1]:9092"] {
            assert_eq!(Address::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "localhost",
            ":9092",
            "localhost:x",
            "::1:9092",
            "a:70000",
        ] {
            let refused = Address::parse(bad);
            assert!(
                matches!(refused, Err(ClientError::BadAddress { .. })),
                "{bad}"
            );
        }
    }
}
