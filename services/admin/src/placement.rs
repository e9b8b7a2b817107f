//! Which broker stands where, as Kafka's wire has it; `esker-cluster` decides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use esker_cluster::{Member, Membership, Placement};
use esker_kafka::messages::{BrokerId, StrBytes};
use esker_metadata_api::{Endpoint, PodTable};
use esker_types::{PartitionIndex, TopicId};

use crate::config::AdminConfig;

pub(crate) fn id(member: &Member) -> BrokerId {
    BrokerId(member.node_id)
}

pub(crate) fn wire_host(member: &Member) -> StrBytes {
    StrBytes::from_string(member.at.host.clone())
}

pub(crate) fn wire_rack(member: &Member) -> Option<StrBytes> {
    member.zone.clone().map(StrBytes::from_string)
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
        Self(Placement::new(here, table, zone).seen(config.clients_see))
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

/// Brokers by the zone of their clients, worked out once for each table.
#[derive(Debug)]
pub(crate) struct BrokerView {
    membership: Membership,
    last: Mutex<Option<Known>>,
}

/// What one table makes of each zone that was asked for: at most one more than it has processes.
#[derive(Debug)]
struct Known {
    table: Arc<PodTable>,
    by_zone: BTreeMap<Option<String>, Arc<Brokers>>,
}

impl BrokerView {
    pub(crate) fn new(membership: Membership) -> Self {
        Self {
            membership,
            last: Mutex::new(None),
        }
    }

    /// This process's node id now, as clients have it.
    pub(crate) fn node_id(&self, config: &AdminConfig) -> i32 {
        config.clients_see.node_id(self.membership.here().node_id)
    }

    /// As clients of `zone` see them; one without a process is as none.
    pub(crate) fn of(&self, config: &AdminConfig, zone: Option<String>) -> Arc<Brokers> {
        let table = self.membership.table();
        let is_known = |zone: &String| {
            let zone = Some(zone.as_str());
            table.pods.values().any(|pod| pod.zone.as_deref() == zone)
        };
        let zone = zone.filter(is_known);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last
            .as_ref()
            .is_none_or(|last| !Arc::ptr_eq(&last.table, &table))
        {
            *last = None;
        }
        let known = last.get_or_insert_with(|| Known {
            table: Arc::clone(&table),
            by_zone: BTreeMap::new(),
        });
        if let Some(brokers) = known.by_zone.get(&zone) {
            return Arc::clone(brokers);
        }
        let brokers = Brokers::new(config, &self.membership, &table, zone.as_deref());
        let brokers = Arc::new(brokers);
        known.by_zone.insert(zone, Arc::clone(&brokers));
        brokers
    }
}
