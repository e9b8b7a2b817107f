//! Claims about the map: stable, spread, by role and zone.

use std::collections::BTreeMap;

use super::*;

fn member(node_id: i32, roles: Roles, zone: Option<&str>) -> Member {
    Member {
        node_id,
        at: Endpoint {
            host: format!("pod-{node_id}"),
            port: 9092,
        },
        zone: zone.map(str::to_owned),
        roles,
        is_draining: false,
    }
}

fn placed(members: Vec<Member>, zone: Option<&str>) -> Placement {
    Placement {
        here: members[0].clone(),
        all: members,
        zone: zone.map(str::to_owned),
        leading: Roles::INGEST,
    }
}

fn alike(count: i32) -> Placement {
    let members = (1..=count).map(|node_id| member(node_id, Roles::ALL, None));
    placed(members.collect(), None)
}

fn topic() -> TopicId {
    TopicId::from_bytes([7; 16])
}

fn partitions(count: u32) -> impl Iterator<Item = PartitionIndex> {
    (0..count).filter_map(PartitionIndex::new)
}

#[test]
fn replicas_are_distinct_listed_and_as_many_as_asked_or_there_are() {
    let three = alike(3);
    for partition in partitions(100) {
        for (factor, wanted) in [(0, 1), (1, 1), (2, 2), (3, 3), (40, 3)] {
            let mut replicas = three.replicas(topic(), partition, factor);
            assert_eq!(replicas.len(), wanted);
            assert_eq!(replicas[0], three.leader(topic(), partition).node_id);
            replicas.sort_unstable();
            replicas.dedup();
            assert_eq!(replicas.len(), wanted);
            assert!(replicas.iter().all(|id| (1..=3).contains(id)));
        }
    }
}

#[test]
fn partitions_spread_and_stay_when_another_process_leaves() {
    let (four, three) = (alike(4), alike(3));
    let mut led = BTreeMap::new();

    for partition in partitions(4000) {
        let before = four.leader(topic(), partition).node_id;
        *led.entry(before).or_insert(0) += 1;
        if before != 4 {
            let after = three.leader(topic(), partition).node_id;
            assert_eq!(after, before, "only what 4 led moves");
        }
    }

    assert_eq!(led.len(), 4);
    assert!(
        led.values().all(|count| (800..1200).contains(count)),
        "{led:?}"
    );
}

#[test]
fn batches_go_to_ingest_and_readers_to_fetch_of_their_zone() {
    let members = vec![
        member(1, Roles::INGEST, Some("a")),
        member(2, Roles::INGEST, Some("b")),
        member(3, Roles::FETCH, Some("a")),
        member(4, Roles::FETCH, Some("b")),
    ];
    let here_b = placed(members.clone(), Some("b"));
    let nowhere = placed(members, Some("c"));

    for partition in partitions(50) {
        assert_eq!(here_b.leader(topic(), partition).node_id, 2);
        assert_eq!(here_b.reader(topic(), partition, None).node_id, 4);
        assert_eq!(here_b.reader(topic(), partition, Some("a")).node_id, 3);
        assert_eq!(here_b.replicas(topic(), partition, 2)[0], 2);
        assert!([3, 4].contains(&here_b.replicas(topic(), partition, 2)[1]));
        assert!(nowhere.leader(topic(), partition).node_id <= 2);
    }
}

#[test]
fn nobody_is_sent_to_a_process_that_drains_while_another_can() {
    let mut members = vec![member(1, Roles::ALL, None), member(2, Roles::ALL, None)];
    members[0].is_draining = true;
    let one_left = placed(members.clone(), None);
    members[1].is_draining = true;
    let none_left = placed(members, None);

    for partition in partitions(50) {
        assert_eq!(one_left.leader(topic(), partition).node_id, 2);
        assert_eq!(none_left.leader(topic(), partition).node_id, 1);
    }
    assert_eq!(one_left.coordinator("g").node_id, 2);
    assert_eq!(one_left.all().len(), 2, "its connections are known still");
}

#[test]
fn a_group_has_one_coordinator_on_every_process() {
    let here = alike(3);
    let mut there = here.clone();
    there.here = there.all[1].clone();

    for group in ["", "a", "readers", "connect-cluster"] {
        let named = here.coordinator(group).node_id;
        assert_eq!(named, there.coordinator(group).node_id);
    }
}

#[test]
fn within_a_role_everybody_named_has_it() {
    let (ingest, fetch) = (Roles::INGEST, Roles::FETCH);
    let seen_by = |here: i32, role: Roles| {
        let others = [(1, ingest), (2, ingest), (3, fetch), (4, fetch)].into_iter();
        let others = others.filter(|(node_id, _)| *node_id != here);
        let mut all = vec![member(here, role, None)];
        all.extend(others.map(|(node_id, roles)| member(node_id, roles, None)));
        placed(all, None).within(role)
    };
    let (writers, readers) = (seen_by(1, ingest), seen_by(3, fetch));
    let ids = |placement: &Placement| placement.all().iter().map(|one| one.node_id).sum::<i32>();
    assert_eq!((ids(&writers), ids(&readers)), (3, 7));

    let mut leaders = BTreeMap::new();
    for partition in partitions(64) {
        let leader = readers.leader(topic(), partition).node_id;
        let reader = readers.reader(topic(), partition, None).node_id;
        assert_eq!(leader, reader, "nobody is sent on");
        *leaders.entry(leader).or_insert(0) += 1;
        let replicas = |placement: &Placement| placement.replicas(topic(), partition, 3);
        assert!(replicas(&readers).iter().all(|id| *id > 2));
        assert!(replicas(&writers).iter().all(|id| *id <= 2));
        assert_eq!(writers.reader(topic(), partition, None), writers.here());
    }
    assert_eq!(leaders.len(), 2, "both serve");
    assert!(readers.coordinator("group").node_id > 2);
}

#[test]
fn single_is_one_broker_for_everything_also_while_this_process_goes() {
    let mut here = member(7, Roles::FETCH, Some("a"));
    here.is_draining = true;
    let others = [member(8, Roles::INGEST, Some("b"))];
    let all: Vec<Member> = [here.clone()].into_iter().chain(others).collect();
    let single = placed(all, Some("b")).seen(ClientsSee::Single);

    let partition = PartitionIndex::default();
    assert_eq!(single.all(), [single.here().clone()]);
    assert_eq!(single.leader(topic(), partition), single.here());
    assert_eq!(single.reader(topic(), partition, Some("b")), single.here());
    assert_eq!(single.coordinator("group"), single.here());
    assert_eq!(single.replicas(topic(), partition, 3), [SINGLE_NODE_ID]);
    assert_eq!(single.here().at, here.at);
    assert!(!single.here().is_draining);
}

#[test]
fn the_address_of_here_is_the_one_its_clients_reach() {
    let pod = |node_id: i32, host: &str| {
        std::sync::Arc::new(Pod {
            pod: esker_types::PodId::from_bytes([u8::try_from(node_id).unwrap(); 16]),
            node_id,
            roles: Roles::ALL,
            zone: None,
            kafka: Some(Endpoint {
                host: host.to_owned(),
                port: 1,
            }),
            internal: None,
            version: String::new(),
            is_draining: false,
            sessions: Vec::new(),
        })
    };
    let table = PodTable {
        is_settled: true,
        pods: [(1, pod(1, "told")), (2, pod(2, "peer"))].into(),
    };

    let placement = Placement::new(member(1, Roles::ALL, None), &table, None);

    let hosts: Vec<&str> = placement
        .all()
        .iter()
        .map(|one| one.at.host.as_str())
        .collect();
    assert_eq!(hosts, ["pod-1", "peer"]);
}
