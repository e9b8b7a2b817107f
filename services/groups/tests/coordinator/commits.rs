//! OffsetCommit, OffsetFetch, expiry, deletion (P6, I17, I18).

use std::time::Duration;

use esker_groups::{GroupCommand, GroupConfig};
use esker_metadata_api::{
    CommitOffsets, FetchOffsets, GroupError, GroupReply, GroupRequest, GroupState, OffsetPartition,
};
use esker_types::TopicId;

use crate::world::{GROUP, SESSION, World, commit, committed, join, leaving, partition};

const SECOND: Duration = Duration::from_secs(1);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[test]
fn a_commit_comes_back_verbatim() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);
    let mut sent = committed(u64::MAX >> 1, "\u{1f980} any text");
    sent.leader_epoch = 3;
    let request = CommitOffsets {
        offsets: vec![OffsetPartition {
            topic_partition: partition(1, 2),
            committed: sent.clone(),
        }],
        ..commit(&ids[0], generation, 0)
    };

    let ticket = world.ask(GroupRequest::Commit(request));

    let accepted = GroupReply::Committed(Ok(vec![Ok(())]));
    assert_eq!(world.answer_to(ticket), Some(accepted));
    assert_eq!(world.fetch(GROUP), [(partition(1, 2), sent)]);
}

#[test]
fn a_later_commit_takes_the_place_of_the_earlier_even_when_it_goes_back() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);

    world.commit(&ids[0], generation, 9).unwrap();
    world.commit(&ids[0], generation, 4).unwrap();

    assert_eq!(world.fetch(GROUP), [(partition(1, 0), committed(4, ""))]);
}

#[test]
fn a_commit_is_answered_and_read_only_when_durable() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);
    world.held = true;

    let ticket = world.ask(GroupRequest::Commit(commit(&ids[0], generation, 5)));
    let before = (world.is_waiting(ticket), world.fetch(GROUP).len());
    world.deliver_all();

    assert_eq!(before, (true, 0));
    assert!(!world.is_waiting(ticket));
    assert_eq!(world.fetch(GROUP).len(), 1);
}

#[test]
fn only_the_current_member_of_the_current_generation_commits() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);
    let (alive, stopped) = (ids[0].as_str(), ids[1].as_str());
    world.commit(stopped, generation, 5).unwrap();

    world.advance_alive(SESSION + SECOND, &[(alive, generation)]);
    let ticket = world.join(join(alive));
    let joined = world.joined(ticket).unwrap();
    world.assign(alive, joined.generation, &[]);
    world.commit(alive, joined.generation, 6).unwrap();

    assert_eq!(
        world.commit(stopped, generation, 1),
        Err(GroupError::UnknownMember)
    );
    assert_eq!(
        world.commit(stopped, joined.generation, 1),
        Err(GroupError::UnknownMember)
    );
    assert_eq!(
        world.commit(alive, generation, 1),
        Err(GroupError::IllegalGeneration)
    );
    assert_eq!(
        world.commit("", -1, 1),
        Err(GroupError::UnknownMember),
        "not from outside"
    );
    assert_eq!(world.fetch(GROUP)[0].1.offset, 6);
}

#[test]
fn anybody_commits_to_a_group_without_members_when_it_claims_no_generation() {
    let mut world = World::new();
    let (ids, _) = world.stable_group(1);
    world.leave(vec![leaving(&ids[0])]);

    let outside = world.commit("", -1, 3);
    let member_of_old = world.commit(&ids[0], 1, 4);
    let mut other = commit("x", 1, 4);
    other.group = "new".into();
    let no_such_group = world.ask(GroupRequest::Commit(other));

    assert_eq!(outside, Ok(vec![Ok(())]));
    assert_eq!(member_of_old, Err(GroupError::UnknownMember));
    let illegal = GroupReply::Committed(Err(GroupError::IllegalGeneration));
    assert_eq!(world.answer_to(no_such_group), Some(illegal));
    assert_eq!(world.fetch(GROUP)[0].1.offset, 3);
}

#[test]
fn a_group_may_be_known_by_offsets_alone_even_without_a_name() {
    let mut world = World::new();
    let nameless = CommitOffsets {
        group: String::new(),
        ..commit("", -1, 3)
    };

    let ticket = world.ask(GroupRequest::Commit(nameless));

    assert_eq!(
        world.answer_to(ticket),
        Some(GroupReply::Committed(Ok(vec![Ok(())])))
    );
    assert_eq!(world.fetch("").len(), 1);
    assert_eq!(world.describe("").state, GroupState::Empty);
}

#[test]
fn a_commit_counts_as_a_heartbeat() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);

    for offset in 0..4 {
        world.advance(SESSION / 2);
        world.commit(&ids[0], generation, offset).unwrap();
    }

    assert_eq!(world.heartbeat(&ids[0], generation), Ok(()));
}

#[test]
fn each_partition_of_a_commit_is_judged_alone() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);
    world.deleted.insert(TopicId::from_bytes([9; 16]));
    let at = |topic, metadata: &str| OffsetPartition {
        topic_partition: partition(topic, 0),
        committed: committed(1, metadata),
    };
    let long = "x".repeat(esker_groups::limits::OFFSET_METADATA_BYTES_MAX + 1);
    let offsets = vec![at(9, ""), at(2, &long), at(3, &long[1..])];

    let request = CommitOffsets {
        offsets,
        ..commit(&ids[0], generation, 0)
    };
    let ticket = world.ask(GroupRequest::Commit(request));

    let outcomes = vec![
        Err(GroupError::UnknownPartition),
        Err(GroupError::OffsetMetadataTooLarge),
        Ok(()),
    ];
    assert_eq!(
        world.answer_to(ticket),
        Some(GroupReply::Committed(Ok(outcomes)))
    );
    assert_eq!(
        world.fetch(GROUP),
        [(partition(3, 0), committed(1, &long[1..]))]
    );
}

#[test]
fn a_commit_of_nothing_is_answered_at_once() {
    let mut world = World::new();
    world.held = true;

    let nothing = CommitOffsets {
        offsets: Vec::new(),
        ..commit("", -1, 0)
    };
    let ticket = world.ask(GroupRequest::Commit(nothing));

    assert_eq!(
        world.answer_to(ticket),
        Some(GroupReply::Committed(Ok(Vec::new())))
    );
    assert!(world.journal.is_empty());
}

#[test]
fn asked_for_partitions_without_an_offset_are_left_out() {
    let mut world = World::new();
    world.commit("", -1, 3).unwrap();
    let ask = |group: &str| {
        GroupRequest::Fetch(FetchOffsets {
            group: group.into(),
            partitions: Some(vec![partition(1, 0), partition(1, 1)]),
        })
    };

    let known = world.ask(ask(GROUP));
    let unknown = world.ask(ask("unknown"));
    let invalid = world.ask(ask(
        &"x".repeat(esker_groups::limits::GROUP_TEXT_BYTES_MAX + 1)
    ));

    let found = vec![(partition(1, 0), committed(3, ""))];
    assert_eq!(world.answer_to(known), Some(GroupReply::Offsets(Ok(found))));
    assert_eq!(
        world.answer_to(unknown),
        Some(GroupReply::Offsets(Ok(Vec::new())))
    );
    let refused = GroupReply::Offsets(Err(GroupError::InvalidGroup));
    assert_eq!(world.answer_to(invalid), Some(refused));
}

#[test]
fn offsets_of_a_deleted_topic_are_gone_and_do_not_come_back() {
    let mut world = World::new();
    let topic = partition(1, 0).topic;
    world.commit("", -1, 3).unwrap();
    world.held = true;

    world.append(GroupCommand::DropTopic { topic });
    let crossed = world.ask(GroupRequest::Commit(commit("", -1, 4)));
    world.deleted.insert(topic);
    world.deliver_all();

    assert!(!world.is_waiting(crossed));
    assert!(world.fetch(GROUP).is_empty());
    assert_eq!(world.offsets.offset_count(), 0);
}

#[test]
fn offsets_expire_a_week_after_the_group_emptied_and_the_group_with_them() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);
    world.commit(&ids[0], generation, 5).unwrap();
    world.advance_alive(WEEK / 100, &[(&ids[0], generation)]);
    world.leave(vec![leaving(&ids[0])]);

    world.advance(WEEK - SECOND);
    let before = world.fetch(GROUP).len();
    world.advance(Duration::from_secs(601));

    assert_eq!(before, 1);
    assert!(world.fetch(GROUP).is_empty());
    assert_eq!(world.state(), GroupState::Dead);
    assert_eq!((world.offsets.group_count(), world.offsets.bytes()), (0, 0));
}

#[test]
fn offsets_of_a_group_with_members_do_not_expire() {
    let config = GroupConfig {
        offset_retention: SECOND,
        ..GroupConfig::default()
    };
    let mut world = World::with(config);
    let (ids, generation) = world.stable_group(1);
    world.commit(&ids[0], generation, 5).unwrap();

    world.advance_alive(Duration::from_secs(1300), &[(&ids[0], generation)]);

    assert_eq!(world.fetch(GROUP).len(), 1);
}

#[test]
fn each_offset_of_a_group_without_members_expires_a_week_after_its_own_commit() {
    let mut world = World::new();
    world.commit("", -1, 3).unwrap();
    world.advance(WEEK / 2);
    let second = CommitOffsets {
        offsets: vec![OffsetPartition {
            topic_partition: partition(2, 0),
            committed: committed(4, ""),
        }],
        ..commit("", -1, 0)
    };
    world.ask(GroupRequest::Commit(second));

    world.advance(WEEK / 2 + Duration::from_secs(601));
    let after_the_first = world.fetch(GROUP);
    world.advance(WEEK / 2);

    assert_eq!(after_the_first, [(partition(2, 0), committed(4, ""))]);
    assert_eq!(world.state(), GroupState::Dead);
}

#[test]
fn a_commit_on_its_way_survives_an_expiry_decided_before_it() {
    let mut world = World::new();
    world.commit("", -1, 3).unwrap();
    world.held = true;

    world.advance(WEEK + Duration::from_secs(601));
    let commands = world.journal.len();
    world.ask(GroupRequest::Commit(commit("", -1, 4)));
    world.deliver_all();

    assert!(commands > 0);
    assert_eq!(world.fetch(GROUP), [(partition(1, 0), committed(4, ""))]);
}
