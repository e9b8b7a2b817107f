//! Tells the fetch role which partitions another process serves to readers.

use esker_cluster::{ClientsSee, Member, Membership, Placement};
use esker_fetch::ReadPlacement;
use esker_metadata_api::{Endpoint, Roles};
use esker_types::TopicPartition;

/// By the cluster's placement: a process with the role fetch serves everybody who comes, another
/// one sends readers to the process of their zone that has it.
///
/// One that is about to stop sends all to others, a leader if need be: clients of librdkafka stay
/// for minutes with a replica that has gone without a word. Nobody is sent to a process that its
/// clients are not told of.
#[derive(Debug)]
pub(crate) struct ReadersElsewhere {
    membership: Membership,
    clients_see: ClientsSee,
}

impl ReadersElsewhere {
    pub(crate) fn new(membership: Membership, clients_see: ClientsSee) -> Self {
        Self {
            membership,
            clients_see,
        }
    }
}

impl ReadPlacement for ReadersElsewhere {
    fn serves_all(&self) -> bool {
        let here = self.membership.here();
        let may_serve = match self.clients_see {
            ClientsSee::All => here.roles.has(Roles::FETCH),
            ClientsSee::Within(roles) => here.roles.has(Roles::FETCH) || !roles.has(Roles::FETCH),
            ClientsSee::Single => return true,
        };
        may_serve && !here.is_draining
    }

    fn leaves(&self) -> bool {
        self.clients_see != ClientsSee::Single && self.membership.here().is_draining
    }

    fn reader(&self, at: TopicPartition, rack: Option<&str>) -> Option<i32> {
        if self.clients_see == ClientsSee::Single {
            return None;
        }
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
        let placement = Placement::new(here, &table, pod.zone.as_deref()).seen(self.clients_see);
        let mut reader = placement.reader(at.topic, at.partition, rack).node_id;
        if reader == pod.node_id && pod.is_draining {
            reader = placement.leader(at.topic, at.partition).node_id;
        }
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
            let readers = ReadersElsewhere::new(membership.clone(), ClientsSee::All);
            (!readers.serves_all()).then(|| readers.reader(at(), rack))?
        };
        assert_eq!(reader(&ingest, None), Some(2));
        assert_eq!(reader(&ingest, Some("b")), Some(3));
        assert_eq!(reader(&whole, Some("b")), None);
        assert_eq!(reader(&alone, None), None);
    }

    #[test]
    fn who_is_about_to_stop_sends_readers_to_another_fetch_process_else_to_the_leader() {
        let leaving = |others: &[Pod]| {
            let membership = Membership::fixed(pod(1, Roles::FETCH, "a"), others.to_vec());
            membership.drain();
            let readers = ReadersElsewhere::new(membership, ClientsSee::All);
            assert!(readers.leaves() && !readers.serves_all());
            readers.reader(at(), None)
        };
        let (ingest, fetch) = (pod(2, Roles::INGEST, "a"), pod(3, Roles::FETCH, "a"));

        assert_eq!(leaving(&[ingest.clone(), fetch]), Some(3));
        assert_eq!(leaving(&[ingest]), Some(2));
        assert_eq!(leaving(&[]), None, "there is nobody");
    }

    #[test]
    fn nobody_is_sent_where_clients_of_one_role_know_nobody() {
        let fetch = pod(3, Roles::FETCH, "a");
        let here = pod(1, Roles::INGEST, "a");
        let membership = Membership::fixed(here, [pod(2, Roles::INGEST, "a"), fetch]);
        let readers = ReadersElsewhere::new(membership.clone(), ClientsSee::Within(Roles::INGEST));
        assert!(readers.serves_all());
        membership.drain();
        assert!(!readers.serves_all());
        assert_eq!(readers.reader(at(), None), Some(2));
    }

    #[test]
    fn behind_one_address_nobody_is_sent_anywhere_also_by_who_is_about_to_stop() {
        let here = pod(1, Roles::INGEST, "a");
        let membership = Membership::fixed(here, [pod(3, Roles::FETCH, "a")]);
        let readers = ReadersElsewhere::new(membership.clone(), ClientsSee::Single);
        assert!(readers.serves_all() && !readers.leaves());
        membership.drain();
        assert!(readers.serves_all() && !readers.leaves());
        assert_eq!(readers.reader(at(), None), None);
    }
}
