//! Which broker stands where, as Kafka's wire has it; `esker-cluster` decides.

use std::sync::{Arc, Mutex, PoisonError};

use esker_cluster::{Member, Membership, Placement};
use esker_kafka::messages::{BrokerId, StrBytes};
use esker_metadata_api::{Endpoint, PodTable};
use esker_types::{PartitionIndex, TopicId};

use crate::config::AdminConfig;

/// What a client id says of the zone of its client, as in `app,zone=eu-1a`.
const ZONE_KEY: &str = "zone=";

pub(crate) fn id(member: &Member) -> BrokerId {
    BrokerId(member.node_id)
}

pub(crate) fn wire_host(member: &Member) -> StrBytes {
    StrBytes::from_string(member.at.host.clone())
}

pub(crate) fn wire_rack(member: &Member) -> Option<StrBytes> {
    member.zone.clone().map(StrBytes::from_string)
}

/// The zone that a client names in its client id: between `zone=` and the next comma.
pub(crate) fn zone_of(client_id: &str) -> Option<&str> {
    let mut parts = client_id.split(',').map(str::trim);
    let zone = parts.find_map(|part| part.strip_prefix(ZONE_KEY))?;
    (!zone.is_empty()).then_some(zone)
}

/// The brokers that clients of one listener and one zone see.
#[derive(Clone, Debug)]
pub(crate) struct Brokers(Placement);

impl Brokers {
    fn new(
        config: &AdminConfig,
        membership: &Membership,
        table: &PodTable,
        zone: Option<&str>,
    ) -> Self {
        let pod = membership.here();
        let here = Member {
            node_id: pod.node_id,
            at: Endpoint {
                host: config.advertised_host.clone(),
                port: config.advertised_port,
            },
            zone: pod.zone.clone(),
            roles: pod.roles,
            is_draining: pod.is_draining,
        };
        Self(Placement::new(here, table, zone))
    }

    /// Every broker, by rising node id.
    pub(crate) fn all(&self) -> &[Member] {
        self.0.all()
    }

    /// This process, also the controller that clients see.
    pub(crate) fn here(&self) -> &Member {
        self.0.here()
    }

    /// Who holds a partition, the leader first. Never empty.
    pub(crate) fn replicas(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        replication_factor: u16,
    ) -> Vec<BrokerId> {
        let replicas = self.0.replicas(topic, partition, replication_factor);
        replicas.into_iter().map(BrokerId).collect()
    }

    /// Who coordinates a group.
    pub(crate) fn coordinator(&self, group: &str) -> &Member {
        self.0.coordinator(group)
    }
}

/// The brokers of clients without a zone are worked out once for each table.
#[derive(Debug)]
pub(crate) struct BrokerView {
    membership: Membership,
    last: Mutex<Option<(Arc<PodTable>, Arc<Brokers>)>>,
}

impl BrokerView {
    pub(crate) fn new(membership: Membership) -> Self {
        Self {
            membership,
            last: Mutex::new(None),
        }
    }

    /// This process's node id now.
    pub(crate) fn node_id(&self) -> i32 {
        self.membership.here().node_id
    }

    /// As clients of `zone` see them.
    pub(crate) fn of(&self, config: &AdminConfig, zone: Option<&str>) -> Arc<Brokers> {
        let table = self.membership.table();
        let is_known = |zone: &&str| {
            let zone = Some(*zone);
            table.pods.values().any(|pod| pod.zone.as_deref() == zone)
        };
        let brokers = |zone| Arc::new(Brokers::new(config, &self.membership, &table, zone));
        if let Some(zone) = zone.filter(is_known) {
            return brokers(Some(zone));
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_ref() {
            Some((of, known)) if Arc::ptr_eq(of, &table) => Arc::clone(known),
            _ => {
                let fresh = brokers(None);
                *last = Some((Arc::clone(&table), Arc::clone(&fresh)));
                fresh
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_is_what_stands_between_the_key_and_the_next_comma() {
        assert_eq!(zone_of("app,zone=eu-1a,x=y"), Some("eu-1a"));
        assert_eq!(zone_of("zone=b"), Some("b"));
        assert_eq!(zone_of("app, zone=c"), Some("c"));
        assert_eq!(zone_of("timezone=utc"), None);
        assert_eq!(zone_of("zone="), None);
        assert_eq!(zone_of(""), None);
    }
}
