//! Tells the fetch role which partitions another process serves to readers.

use esker_cluster::{Member, Membership, Placement};
use esker_fetch::ReadPlacement;
use esker_metadata_api::{Endpoint, Roles};
use esker_types::TopicPartition;

/// By the cluster's placement: a process with the role fetch serves everybody who comes, another
/// one sends readers to the process of their zone that has it.
#[derive(Debug)]
pub(crate) struct ReadersElsewhere {
    membership: Membership,
}

impl ReadersElsewhere {
    pub(crate) fn new(membership: Membership) -> Self {
        Self { membership }
    }
}

impl ReadPlacement for ReadersElsewhere {
    fn serves_all(&self) -> bool {
        self.membership.here().roles.has(Roles::FETCH)
    }

    fn reader(&self, at: TopicPartition, rack: Option<&str>) -> Option<i32> {
        let pod = self.membership.here();
        let here = Member {
            node_id: pod.node_id,
            // Not looked at: readers are told node ids.
            at: pod.kafka.clone().unwrap_or_else(|| Endpoint {
                host: String::new(),
                port: 0,
            }),
            zone: pod.zone.clone(),
            roles: pod.roles,
            is_draining: pod.is_draining,
        };
        let table = self.membership.table();
        let placement = Placement::new(here, &table, pod.zone.as_deref());
        let reader = placement.reader(at.topic, at.partition, rack).node_id;
        (reader != pod.node_id).then_some(reader)
    }
}

#[cfg(test)]
mod tests {
    use esker_metadata_api::Pod;
    use esker_types::{PartitionIndex, PodId, TopicId};

    use super::*;

    fn pod(node_id: i32, roles: Roles, zone: &str) -> Pod {
        Pod {
            pod: PodId::from_bytes([u8::try_from(node_id).unwrap(); 16]),
            node_id,
            roles,
            zone: Some(zone.to_owned()),
            kafka: Some(Endpoint {
                host: "127.0.0.1".to_owned(),
                port: 9092,
            }),
            internal: None,
            version: String::new(),
            is_draining: false,
            sessions: Vec::new(),
        }
    }

    fn at() -> TopicPartition {
        TopicPartition {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionIndex::default(),
        }
    }

    #[test]
    fn readers_go_to_fetch_of_their_zone_and_are_served_where_there_is_none() {
        let fetch = [pod(2, Roles::FETCH, "a"), pod(3, Roles::FETCH, "b")];
        let ingest = Membership::fixed(pod(1, Roles::INGEST, "a"), fetch.clone());
        let whole = Membership::fixed(pod(1, Roles::ALL, "a"), fetch);
        let alone = Membership::fixed(pod(1, Roles::INGEST, "a"), []);

        let reader = |membership: &Membership, rack| {
            let readers = ReadersElsewhere::new(membership.clone());
            (!readers.serves_all()).then(|| readers.reader(at(), rack))?
        };
        assert_eq!(reader(&ingest, None), Some(2));
        assert_eq!(reader(&ingest, Some("b")), Some(3));
        assert_eq!(reader(&whole, Some("b")), None);
        assert_eq!(reader(&alone, None), None);
    }
}
