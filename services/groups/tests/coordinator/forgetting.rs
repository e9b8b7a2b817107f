//! Deletion of groups and offsets, and expiry of what a living group no longer reads.

use std::time::Duration;

use esker_groups::GroupCommand;
use esker_groups::limits::DELETED_OFFSETS_PER_COMMAND_MAX;
use esker_metadata_api::{
    CommitOffsets, GroupError, GroupRequest, GroupState, JoinGroup, OffsetPartition,
};
use esker_types::TopicPartition;

use crate::world::{
    DELAY, GROUP, SESSION, World, commit, committed, join, leaving, partition, static_join,
    subscription,
};

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const SWEEP: Duration = Duration::from_secs(601);

/// A stable group of one consumer that reads `topics`: its member and generation.
fn reading(world: &mut World, topics: &[&str]) -> (String, i32) {
    let request = JoinGroup {
        protocols: vec![("range".into(), subscription(topics))],
        ..join("")
    };
    let (id, ticket) = world.newcomer(&request);
    world.advance(DELAY);
    let joined = world.joined(ticket).unwrap();
    let ids = [id.clone()];
    let synced = world.assign(&id, joined.generation, &ids);
    world.synced(synced).unwrap();
    (id, joined.generation)
}

fn commit_to(world: &mut World, member: &str, generation: i32, at: &[TopicPartition]) {
    let one = |at: &TopicPartition| OffsetPartition {
        topic_partition: *at,
        committed: committed(5, ""),
    };
    world.ask(GroupRequest::Commit(CommitOffsets {
        offsets: at.iter().map(one).collect(),
        ..commit(member, generation, 5)
    }));
}

fn stored(world: &mut World) -> Vec<TopicPartition> {
    world.fetch(GROUP).into_iter().map(|(at, _)| at).collect()
}

#[test]
fn a_group_is_deleted_only_without_members() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);
    world.commit(&ids[0], generation, 5).unwrap();

    let with_members = world.delete(&[GROUP]);
    world.leave(vec![leaving(&ids[0])]);
    let without = world.delete(&["nobody", GROUP]);
    let again = world.delete(&[GROUP]);
    world.take_over();

    assert_eq!(with_members, [Err(GroupError::NotEmpty)]);
    assert_eq!(without, [Err(GroupError::UnknownGroup), Ok(())]);
    assert_eq!(again, [Err(GroupError::UnknownGroup)]);
    assert_eq!(world.state(), GroupState::Dead);
    assert!(world.fetch(GROUP).is_empty());
}

#[test]
fn a_group_whose_last_session_is_over_is_deleted_though_no_tick_has_come_yet() {
    let mut world = World::new();
    let (_, _) = world.stable_group(1);

    world.elapsed += SESSION - Duration::from_millis(1);
    let alive = world.delete(&[GROUP]);
    world.elapsed += Duration::from_millis(1);
    let over = world.delete(&[GROUP]);
    world.take_over();

    assert_eq!(alive, [Err(GroupError::NotEmpty)]);
    assert_eq!(over, [Ok(())]);
    assert_eq!(world.state(), GroupState::Dead);
}

#[test]
fn a_deletion_is_answered_when_it_is_durable() {
    let mut world = World::new();
    world.commit("", -1, 5).unwrap();
    world.held = true;

    let ticket = world.ask(GroupRequest::Delete(vec![GROUP.into()]));
    let before = world.is_waiting(ticket);
    world.deliver_all();

    assert!(before && !world.is_waiting(ticket));
    assert_eq!(world.offsets.group_count(), 0);
}

#[test]
fn a_member_that_joins_behind_a_deletion_is_in_a_group_without_offsets() {
    let mut world = World::new();
    world.commit("", -1, 5).unwrap();
    world.held = true;

    world.ask(GroupRequest::Delete(vec![GROUP.into()]));
    let ticket = world.join(static_join("a"));
    world.deliver_all();
    world.held = false;
    world.advance(DELAY);

    assert_eq!(world.joined(ticket).unwrap().generation, 1);
    assert!(world.fetch(GROUP).is_empty());
}

#[test]
fn offsets_of_a_group_without_members_are_deleted_one_by_one() {
    let mut world = World::new();
    let all = [partition(1, 0), partition(1, 1), partition(2, 0)];
    commit_to(&mut world, "", -1, &all);

    let unknown = world.delete_offsets("nobody", &all);
    let deleted = world.delete_offsets(GROUP, &[partition(1, 1), partition(3, 0)]);
    world.take_over();

    assert_eq!(unknown, Err(GroupError::UnknownGroup));
    assert_eq!(deleted, Ok(vec![Ok(()), Ok(())]));
    assert_eq!(stored(&mut world), [partition(1, 0), partition(2, 0)]);
    assert_eq!(world.offsets.offset_count(), 2);
}

#[test]
fn offsets_of_a_topic_that_a_member_reads_stay() {
    let mut world = World::new();
    let (id, generation) = reading(&mut world, &["t1"]);
    let all = [partition(1, 0), partition(2, 0)];
    commit_to(&mut world, &id, generation, &all);

    let deleted = world.delete_offsets(GROUP, &all);

    assert_eq!(
        deleted,
        Ok(vec![Err(GroupError::SubscribedToTopic), Ok(())])
    );
    assert_eq!(stored(&mut world), [partition(1, 0)]);
}

#[test]
fn a_group_whose_members_do_not_say_what_they_read_keeps_its_offsets() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);
    commit_to(&mut world, &ids[0], generation, &[partition(1, 0)]);
    let unreadable = world.delete_offsets(GROUP, &[partition(1, 0)]);
    let mut connect = World::new();
    let request = JoinGroup {
        protocol_type: "connect".into(),
        ..static_join("a")
    };
    connect.join(request);
    connect.advance(DELAY);
    let other_type = connect.delete_offsets(GROUP, &[partition(1, 0)]);

    assert_eq!(unreadable, Ok(vec![Err(GroupError::SubscribedToTopic)]));
    assert_eq!(other_type, Err(GroupError::NotEmpty));
    assert_eq!(stored(&mut world), [partition(1, 0)]);
}

#[test]
fn one_offset_more_than_a_command_deletes_takes_two_commands() {
    let mut world = World::new();
    let place = |index: usize| {
        let topic = u8::try_from(1 + index / 10_000).unwrap();
        partition(topic, u32::try_from(index % 10_000).unwrap())
    };
    let all: Vec<_> = (0..=DELETED_OFFSETS_PER_COMMAND_MAX).map(place).collect();
    commit_to(&mut world, "", -1, &all);
    world.held = true;

    let ticket = world.ask(GroupRequest::DeleteOffsets(
        esker_metadata_api::DeleteOffsets {
            group: GROUP.into(),
            partitions: all
                .iter()
                .map(|at| (*at, crate::world::topic_name(at.topic)))
                .collect(),
        },
    ));
    let commands = world.journal.len();
    world.deliver();
    let after_the_first = (world.is_waiting(ticket), world.offsets.offset_count());
    world.deliver();

    assert_eq!(commands, 2);
    assert_eq!(after_the_first, (true, 1));
    assert!(!world.is_waiting(ticket));
    assert_eq!(world.offsets.offset_count(), 0);
}

#[test]
fn offsets_that_a_stable_group_no_longer_reads_expire() {
    let mut world = World::new();
    let (id, generation) = reading(&mut world, &["t1"]);
    let all = [partition(1, 0), partition(2, 0)];
    commit_to(&mut world, &id, generation, &all);

    world.advance_alive(WEEK - SWEEP, &[(&id, generation)]);
    let before = stored(&mut world);
    commit_to(&mut world, &id, generation, &[partition(3, 0)]);
    world.advance_alive(SWEEP * 2, &[(&id, generation)]);

    assert_eq!(before, all);
    assert_eq!(stored(&mut world), [partition(1, 0), partition(3, 0)]);
    assert_eq!(world.state(), GroupState::Stable);
}

#[test]
fn an_expiry_on_its_way_spares_what_is_committed_meanwhile() {
    let mut world = World::new();
    let (id, generation) = reading(&mut world, &["t1"]);
    commit_to(&mut world, &id, generation, &[partition(2, 0)]);
    world.advance_alive(WEEK - SWEEP, &[(&id, generation)]);
    world.held = true;

    commit_to(&mut world, &id, generation, &[partition(2, 0)]);
    world.advance_alive(SWEEP * 2, &[(&id, generation)]);
    let is_expiry = |command: &GroupCommand| matches!(command, GroupCommand::DeleteOffsets { .. });
    let expiries = world.journal.iter().filter(|(one, _)| is_expiry(one));
    let expiries = expiries.count();
    world.deliver_all();

    assert!(expiries > 0);
    assert_eq!(stored(&mut world), [partition(2, 0)]);
}
