//! Another leader takes over in each phase: nobody is asked to do more than needed, nothing told
//! is taken back (rows 37 and 38 of the fault matrix, I4, I17).

use std::time::Duration;

use esker_metadata_api::{GroupError, GroupState};

use crate::world::{DELAY, GROUP, SESSION, World, assignment_of, join, leaving, static_join};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn members_of_a_stable_group_go_on_with_heartbeats_and_commits() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(3);
    let before = world.describe(GROUP);

    world.take_over();

    assert_eq!(world.describe(GROUP), before);
    for id in &ids {
        assert_eq!(world.heartbeat(id, generation), Ok(()));
        assert_eq!(world.commit(id, generation, 1), Ok(vec![Ok(())]));
        let ticket = world.sync(id, generation);
        assert_eq!(world.synced(ticket).unwrap().assignment, assignment_of(id));
    }
    assert!(world.journal.is_empty());
}

#[test]
fn a_restored_member_has_a_whole_session_timeout() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);
    world.advance(SESSION - SECOND);

    world.take_over();
    world.advance(SESSION - SECOND);
    let first = world.heartbeat(&ids[0], generation);
    world.advance(SECOND);
    let second = world.heartbeat(&ids[1], generation);

    assert_eq!(first, Ok(()));
    assert_eq!(second, Err(GroupError::UnknownMember));
}

#[test]
fn a_follower_that_joins_again_after_a_take_over_stays_in_the_generation() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);

    world.take_over();
    let ticket = world.join(join(&ids[1]));

    assert_eq!(world.joined(ticket).unwrap().generation, generation);
    assert_eq!(world.state(), GroupState::Stable);
}

#[test]
fn a_rebalance_under_way_begins_anew_in_a_later_generation() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);
    let tickets = [world.join(join(&ids[0])), world.join(join(&ids[1]))];
    let told = world.joined(tickets[0]).unwrap().generation;

    world.take_over();
    let stale = world.sync(&ids[0], told);
    let beat = world.heartbeat(&ids[0], generation);
    let commit = world.commit(&ids[0], generation, 1);
    let (_, next) = world.rebalance(&ids);

    assert_eq!(told, generation + 1);
    assert_eq!(world.synced(stale), Err(GroupError::IllegalGeneration));
    assert_eq!(beat, Err(GroupError::RebalanceInProgress));
    assert_eq!(
        commit,
        Ok(vec![Ok(())]),
        "still the owner by all that is durable"
    );
    assert_eq!(next, told + 1, "nobody is told one generation twice");
}

#[test]
fn an_assignment_that_was_not_durable_is_gone_and_was_told_to_nobody() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(2);
    world.held = true;
    let tickets = [
        world.assign(&ids[0], generation, &ids),
        world.sync(&ids[1], generation),
    ];

    world.take_over();
    world.held = false;

    assert!(tickets.iter().all(|ticket| world.is_waiting(*ticket)));
    assert_eq!(
        world.heartbeat(&ids[0], generation),
        Err(GroupError::UnknownMember)
    );
    let (_, next) = world.stable_group(1);
    assert_eq!(next, generation + 1);
}

#[test]
fn an_assignment_that_was_durable_but_not_told_is_told_by_the_next_leader() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(2);
    world.assign(&ids[0], generation, &ids);

    world.take_over();
    let ticket = world.sync(&ids[1], generation);

    assert_eq!(
        world.synced(ticket).unwrap().assignment,
        assignment_of(&ids[1])
    );
}

#[test]
fn a_commit_that_was_not_durable_is_neither_answered_nor_kept() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);
    world.commit(&ids[0], generation, 5).unwrap();
    world.held = true;
    let request = crate::world::commit(&ids[0], generation, 6);
    let ticket = world.ask(esker_metadata_api::GroupRequest::Commit(request));

    world.take_over();

    assert!(world.is_waiting(ticket));
    assert_eq!(world.fetch(GROUP)[0].1.offset, 5);
}

#[test]
fn a_member_that_was_dropped_stays_fenced_once_the_next_generation_is_durable() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);
    world.leave(vec![leaving(&ids[1])]);
    let (_, next) = world.rebalance(&ids[..1]);

    world.take_over();

    assert_eq!(
        world.commit(&ids[1], generation, 1),
        Err(GroupError::UnknownMember)
    );
    assert_eq!(
        world.commit(&ids[1], next, 1),
        Err(GroupError::UnknownMember)
    );
    assert_eq!(world.commit(&ids[0], next, 1), Ok(vec![Ok(())]));
}

#[test]
fn an_emptied_group_goes_on_counting_generations() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);
    world.leave(vec![leaving(&ids[0])]);

    world.take_over();
    let (_, next) = world.stable_group(1);

    assert_eq!(next, generation + 2);
}

#[test]
fn a_generation_taken_by_a_group_without_a_summary_is_skipped() {
    let mut world = World::new();
    let (_, ticket) = world.newcomer(&join(""));
    world.advance(DELAY);
    let told = world.joined(ticket).unwrap().generation;

    world.take_over();
    let late = world.join(join("client-of-the-old-leader"));
    let (_, next) = world.stable_group(1);

    assert_eq!(world.joined(late), Err(GroupError::UnknownMember));
    assert_eq!((told, next), (1, 2));
}

#[test]
fn generations_told_to_a_static_member_rise_over_take_overs_in_the_middle_of_rebalances() {
    let mut world = World::new();
    let ticket = world.join(static_join("a"));
    world.advance(DELAY);
    let first = world.joined(ticket).unwrap();
    world.assign_with(&first, "range");
    let _ = world.newcomer(&join(""));

    world.take_over();
    let ticket = world.join(static_join("a"));
    let second = world.joined(ticket).unwrap();
    world.take_over();
    let ticket = world.join(static_join("a"));
    let third = world.joined(ticket).unwrap();

    let told = [&first, &second, &third].map(|joined| joined.generation);
    assert!(told.is_sorted_by(|left, right| left < right), "{told:?}");
}

#[test]
fn nothing_is_due_in_a_coordinator_without_groups_but_the_sweep() {
    let mut world = World::new();
    let first = world.coordinator.next_deadline();

    world.take_over();

    assert_eq!(first, world.coordinator.next_deadline());
    assert_eq!(
        first.unwrap().since_start(),
        esker_groups::limits::EXPIRY_SWEEP_INTERVAL
    );
}
