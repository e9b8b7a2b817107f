//! One past each limit.

use bytes::Bytes;
use esker_groups::limits::{
    ASSIGNMENT_BYTES_MAX, COMMIT_COMMAND_BYTES, COORDINATOR_BYTES_MAX,
    EXPIRED_GROUPS_PER_SWEEP_MAX, EXPIRY_SWEEP_INTERVAL, GROUP_BYTES_MAX, GROUP_MEMBERS_MAX,
    GROUP_TEXT_BYTES_MAX, GROUPS_MAX, MEMBER_METADATA_BYTES_MAX, MEMBER_PROTOCOLS_MAX,
    OFFSET_METADATA_BYTES_MAX, OFFSETS_BYTES_MAX, PENDING_MEMBERS_MAX, SNAPSHOT_PART_BYTES,
};
use esker_groups::{GroupCommand, GroupConfig, GroupOffsets};
use esker_metadata_api::{
    CommitOffsets, GroupError, GroupReply, GroupRequest, JoinGroup, OffsetPartition, SyncGroup,
};
use esker_types::Timestamp;

use crate::world::{DELAY, GROUP, World, commit, committed, join, partition, static_join, sync};

/// A Join whose only protocol has so many bytes of metadata.
fn heavy(instance: usize, metadata_bytes: usize) -> JoinGroup {
    JoinGroup {
        protocols: vec![("range".into(), Bytes::from(vec![0; metadata_bytes]))],
        ..static_join(&instance.to_string())
    }
}

#[test]
fn a_full_group_takes_no_more_members() {
    assert_eq!(GroupConfig::default().group_members_max, GROUP_MEMBERS_MAX);
    let config = GroupConfig {
        group_members_max: 2,
        ..GroupConfig::default()
    };
    let mut world = World::with(config);
    world.stable_group(2);

    let third = world.join(join(""));

    assert_eq!(world.joined(third), Err(GroupError::GroupFull));
}

#[test]
fn a_member_that_comes_back_too_late_to_a_full_rebalance_loses_its_place() {
    let config = GroupConfig {
        group_members_max: 2,
        ..GroupConfig::default()
    };
    let mut world = World::with(config);
    let (ids, generation) = world.stable_group(2);
    let begin = world.join(join(&ids[0]));
    let newcomer = world.join(static_join("new"));

    let late = world.join(join(&ids[1]));

    assert_eq!(world.joined(late), Err(GroupError::GroupFull));
    assert_eq!(world.joined(begin).unwrap().generation, generation + 1);
    assert_eq!(world.joined(newcomer).unwrap().generation, generation + 1);
    assert_eq!(
        world.heartbeat(&ids[1], generation),
        Err(GroupError::UnknownMember)
    );
}

#[test]
fn ids_are_given_to_a_bounded_number_of_newcomers() {
    let mut world = World::new();
    for _ in 0..PENDING_MEMBERS_MAX {
        let ticket = world.join(join(""));
        assert!(matches!(
            world.joined(ticket),
            Err(GroupError::MemberIdRequired { .. })
        ));
    }

    let one_more = world.join(join(""));

    assert_eq!(world.joined(one_more), Err(GroupError::GroupFull));
}

#[test]
fn a_member_offers_a_bounded_number_of_protocols_and_bytes() {
    let mut world = World::new();
    let many = |count: usize| {
        let protocols = (0..count).map(|n| (n.to_string(), Bytes::new())).collect();
        JoinGroup {
            protocols,
            ..static_join("many")
        }
    };

    let too_many = world.join(many(MEMBER_PROTOCOLS_MAX + 1));
    let too_large = world.join(heavy(1, MEMBER_METADATA_BYTES_MAX));
    let just_fits = world.join(many(MEMBER_PROTOCOLS_MAX));

    assert_eq!(world.joined(too_many), Err(GroupError::GroupFull));
    assert_eq!(world.joined(too_large), Err(GroupError::GroupFull));
    assert!(world.is_waiting(just_fits));
}

#[test]
fn texts_are_as_long_as_kafka_allows() {
    let mut world = World::new();
    let long = "x".repeat(GROUP_TEXT_BYTES_MAX + 1);

    let group = world.join(JoinGroup {
        group: long.clone(),
        ..join("")
    });
    let client = world.join(JoinGroup {
        client_id: long.clone(),
        ..join("")
    });
    let instance = world.join(static_join(&long));
    let longest = world.join(static_join(&long[1..]));
    world.advance(DELAY);

    assert_eq!(world.joined(group), Err(GroupError::InvalidGroup));
    assert_eq!(world.joined(client), Err(GroupError::GroupFull));
    assert_eq!(world.joined(instance), Err(GroupError::GroupFull));
    let joined = world.joined(longest).unwrap();
    assert!(
        joined.member.len() < GROUP_TEXT_BYTES_MAX,
        "an id holds only the head of it"
    );
}

#[test]
fn a_group_holds_a_bounded_number_of_bytes_and_gives_them_back() {
    let mut world = World::new();
    let each = MEMBER_METADATA_BYTES_MAX - 1024;
    let fit = GROUP_BYTES_MAX / MEMBER_METADATA_BYTES_MAX;
    for instance in 0..fit {
        let ticket = world.join(heavy(instance, each));
        assert!(world.is_waiting(ticket), "{instance}");
    }

    let one_more = world.join(heavy(fit, each));
    let replaced = world.join(heavy(0, each));
    let held = world.coordinator.member_bytes();
    world.advance(10 * DELAY);
    world.advance(100 * DELAY);

    assert_eq!(world.joined(one_more), Err(GroupError::GroupFull));
    assert!(!matches!(
        world.answer_to(replaced),
        Some(GroupReply::Joined(Err(_)))
    ));
    assert!(held > GROUP_BYTES_MAX - 2 * MEMBER_METADATA_BYTES_MAX && held <= GROUP_BYTES_MAX);
    assert_eq!(
        (
            world.coordinator.member_count(),
            world.coordinator.member_bytes()
        ),
        (0, 0)
    );
}

#[test]
fn all_groups_together_hold_a_bounded_number_of_bytes() {
    let mut world = World::new();
    let metadata = Bytes::from(vec![0; MEMBER_METADATA_BYTES_MAX - 1024]);
    let mut refused = None;
    for n in 0..=COORDINATOR_BYTES_MAX / MEMBER_METADATA_BYTES_MAX + 16 {
        let ticket = world.join(JoinGroup {
            group: (n / 8).to_string(),
            protocols: vec![("range".into(), metadata.clone())],
            ..static_join(&n.to_string())
        });
        if !world.is_waiting(ticket) {
            refused = Some(world.joined(ticket));
            break;
        }
    }

    assert_eq!(refused, Some(Err(GroupError::GroupFull)));
    let held = world.coordinator.member_bytes();
    assert!(held <= COORDINATOR_BYTES_MAX);
    assert!(held > COORDINATOR_BYTES_MAX - 2 * MEMBER_METADATA_BYTES_MAX);
}

#[test]
fn assignments_are_bounded_one_by_one_and_together() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(20);
    let with = |count: usize, bytes: usize| {
        let body = Bytes::from(vec![0; bytes]);
        let assignments = ids
            .iter()
            .take(count)
            .map(|id| (id.clone(), body.clone()))
            .collect();
        GroupRequest::Sync(SyncGroup {
            assignments,
            ..sync(&ids[0], generation)
        })
    };

    let one_too_large = world.ask(with(1, MEMBER_METADATA_BYTES_MAX + 1));
    let all_too_large = world.ask(with(13, MEMBER_METADATA_BYTES_MAX));
    let largest = world.ask(with(12, MEMBER_METADATA_BYTES_MAX));

    assert_eq!(12 * MEMBER_METADATA_BYTES_MAX, ASSIGNMENT_BYTES_MAX);
    assert_eq!(world.synced(one_too_large), Err(GroupError::GroupFull));
    assert_eq!(world.synced(all_too_large), Err(GroupError::GroupFull));
    assert_eq!(
        world.synced(largest).unwrap().assignment.len(),
        MEMBER_METADATA_BYTES_MAX
    );
}

#[test]
fn a_large_commit_is_cut_into_commands_and_answered_with_the_last() {
    let mut world = World::new();
    world.held = true;
    let metadata = "x".repeat(OFFSET_METADATA_BYTES_MAX);
    let offsets = (0..600).map(|n| OffsetPartition {
        topic_partition: partition(1, n),
        committed: committed(u64::from(n), &metadata),
    });

    let request = CommitOffsets {
        offsets: offsets.collect(),
        ..commit("", -1, 0)
    };
    let ticket = world.ask(GroupRequest::Commit(request));
    let sizes: Vec<usize> = world
        .journal
        .iter()
        .map(|(one, _)| one.encode().len())
        .collect();
    let last = world.journal.pop_back().unwrap();
    world.deliver_all();
    let before_the_last = world.is_waiting(ticket);
    world.journal.push_back(last);
    world.deliver_all();

    let slack = OFFSET_METADATA_BYTES_MAX + 1024;
    assert_eq!(sizes.len(), 3);
    assert!(
        sizes
            .iter()
            .all(|bytes| *bytes <= COMMIT_COMMAND_BYTES + slack)
    );
    assert!(before_the_last && !world.is_waiting(ticket));
    assert_eq!(world.fetch(GROUP).len(), 600);
}

#[test]
fn a_snapshot_comes_in_parts_of_bounded_size() {
    let mut world = World::new();
    let metadata = "x".repeat(OFFSET_METADATA_BYTES_MAX);
    for topic in 1..5 {
        let offsets = (0..600).map(|n| OffsetPartition {
            topic_partition: partition(topic, n),
            committed: committed(u64::from(n), &metadata),
        });
        let request = CommitOffsets {
            offsets: offsets.collect(),
            ..commit("", -1, 0)
        };
        world.ask(GroupRequest::Commit(request));
    }

    let parts = world.offsets.snapshot();

    assert!(parts.len() > 1, "about 9 MiB");
    assert!(parts.iter().all(|part| part.len() <= SNAPSHOT_PART_BYTES));
    assert_eq!(GroupOffsets::restore(&parts).unwrap(), world.offsets);
}

#[test]
fn committed_offsets_take_a_bounded_number_of_bytes() {
    let mut world = World::new();
    let metadata = "x".repeat(OFFSET_METADATA_BYTES_MAX);
    let per_group = 9000;
    let fill = |world: &mut World, group: String| {
        let offsets = (0..per_group).map(|n| (partition(1, n), committed(1, &metadata)));
        let command = GroupCommand::Commit {
            group,
            at: Timestamp::from_millis(0),
            offsets: offsets.collect(),
        };
        world.offsets.apply(&command, &|_| true);
    };
    while world.offsets.bytes() + 40 * 1024 * 1024 < OFFSETS_BYTES_MAX {
        let group = format!("full-{}", world.offsets.group_count());
        fill(&mut world, group);
    }
    let one = |group: &str, n: u32| {
        GroupRequest::Commit(CommitOffsets {
            group: group.into(),
            offsets: vec![OffsetPartition {
                topic_partition: partition(2, n),
                committed: committed(1, &metadata),
            }],
            ..commit("", -1, 0)
        })
    };

    let mut outcome = None;
    for n in 0..9999 {
        let ticket = world.ask(one(GROUP, n));
        match world.answer_to(ticket) {
            Some(GroupReply::Committed(Ok(_))) => {}
            other => {
                outcome = other;
                break;
            }
        }
    }
    let overwrites = world.ask(one(GROUP, 0));
    let joins = world.join(JoinGroup {
        group: "x".repeat(GROUP_TEXT_BYTES_MAX),
        ..join("")
    });

    assert_eq!(
        outcome,
        Some(GroupReply::Committed(Err(GroupError::GroupFull)))
    );
    assert!(world.offsets.bytes() <= OFFSETS_BYTES_MAX);
    let stored = GroupReply::Committed(Ok(vec![Ok(())]));
    assert_eq!(
        world.answer_to(overwrites),
        Some(stored),
        "what is there may change"
    );
    assert_eq!(world.joined(joins), Err(GroupError::GroupFull));
}

#[test]
fn there_are_so_many_groups_and_no_more_and_they_expire_step_by_step() {
    let mut world = World::new();
    for n in 0..GROUPS_MAX {
        let command = GroupCommand::Commit {
            group: n.to_string(),
            at: Timestamp::from_millis(0),
            offsets: vec![(partition(1, 0), committed(1, ""))],
        };
        world.offsets.apply(&command, &|_| true);
    }

    let new_commit = world.ask(GroupRequest::Commit(commit("", -1, 1)));
    let new_join = world.join(join(""));
    let old = world.join(JoinGroup {
        group: "7".into(),
        ..join("")
    });
    world.advance(EXPIRY_SWEEP_INTERVAL);

    let full = GroupReply::Committed(Err(GroupError::GroupFull));
    assert_eq!(world.answer_to(new_commit), Some(full));
    assert_eq!(world.joined(new_join), Err(GroupError::GroupFull));
    assert!(matches!(
        world.joined(old),
        Err(GroupError::MemberIdRequired { .. })
    ));
    assert_eq!(
        world.offsets.group_count(),
        GROUPS_MAX - EXPIRED_GROUPS_PER_SWEEP_MAX
    );
}
