//! LeaveGroup.

use esker_metadata_api::{
    GroupError, GroupReply, GroupRequest, GroupState, LeaveGroup, LeavingMember,
};

use crate::world::{DELAY, GROUP, World, join, leaving, static_join};

#[test]
fn a_member_that_leaves_makes_the_others_join_again() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);

    let left = world.leave(vec![leaving(&ids[1])]);

    assert_eq!(left, [Ok(())]);
    assert_eq!(
        world.heartbeat(&ids[0], generation),
        Err(GroupError::RebalanceInProgress)
    );
    assert_eq!(
        world.heartbeat(&ids[1], generation),
        Err(GroupError::UnknownMember)
    );
}

#[test]
fn the_last_member_that_leaves_empties_the_group_and_its_generation_rises() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);

    world.leave(vec![leaving(&ids[0])]);
    let state = world.state();
    let (_, ticket) = world.newcomer(&join(""));
    world.advance(DELAY);

    assert_eq!(state, GroupState::Empty);
    assert_eq!(world.describe(GROUP).protocol_type, "consumer");
    assert_eq!(world.joined(ticket).unwrap().generation, generation + 2);
}

#[test]
fn a_group_counts_on_from_an_emptying_that_is_not_durable_yet() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);
    world.held = true;

    world.leave(vec![leaving(&ids[0])]);
    let (_, ticket) = world.newcomer(&join(""));
    world.deliver_all();
    world.advance(DELAY);

    assert_eq!(world.joined(ticket).unwrap().generation, generation + 2);
}

#[test]
fn a_batch_is_answered_member_by_member() {
    let mut world = World::new();
    let (ids, _) = world.stable_group(2);

    let left = world.leave(vec![
        leaving("stranger"),
        leaving(&ids[0]),
        leaving(&ids[0]),
    ]);

    assert_eq!(
        left,
        [
            Err(GroupError::UnknownMember),
            Ok(()),
            Err(GroupError::UnknownMember)
        ]
    );
}

#[test]
fn a_static_member_leaves_by_its_instance_alone() {
    let mut world = World::new();
    let ticket = world.join(static_join("i"));
    world.advance(DELAY);
    let member = world.joined(ticket).unwrap().member;
    let by = |member: &str, instance: &str| LeavingMember {
        member: member.into(),
        instance: Some(instance.into()),
    };

    let refused = world.leave(vec![
        by("other", "i"),
        by("", "unknown"),
        by(&member, "unknown"),
    ]);
    let left = world.leave(vec![by("", "i")]);

    let unknown = Err(GroupError::UnknownMember);
    assert_eq!(
        refused,
        [Err(GroupError::FencedInstance), unknown.clone(), unknown]
    );
    assert_eq!(left, [Ok(())]);
    assert_eq!(world.state(), GroupState::Empty);
}

#[test]
fn a_waiting_join_of_a_member_that_leaves_is_answered() {
    let mut world = World::new();
    let (member, ticket) = world.newcomer(&join(""));

    world.leave(vec![leaving(&member)]);

    assert_eq!(world.joined(ticket), Err(GroupError::UnknownMember));
    assert_eq!(world.state(), GroupState::Empty);
}

#[test]
fn a_member_that_leaves_in_the_middle_of_a_rebalance_lets_it_end() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);
    let ticket = world.join(join(&ids[0]));

    world.leave(vec![leaving(&ids[1])]);

    let joined = world.joined(ticket).unwrap();
    assert_eq!(
        (joined.generation, joined.members.len()),
        (generation + 1, 1)
    );
}

#[test]
fn a_newcomer_gives_back_the_id_it_was_given() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);
    let first = world.join(join(""));
    let Err(GroupError::MemberIdRequired { member }) = world.joined(first) else {
        panic!("a newcomer is given an id");
    };
    let ticket = world.join(join(&ids[0]));

    let left = world.leave(vec![leaving(&member)]);

    assert_eq!(left, [Ok(())]);
    assert_eq!(world.joined(ticket).unwrap().generation, generation + 1);
}

#[test]
fn leaving_a_group_that_is_not_there_is_answered_for_each_member() {
    let mut world = World::new();

    let left = world.leave(vec![leaving("a"), leaving("b")]);
    let ticket = world.ask(GroupRequest::Leave(LeaveGroup {
        group: String::new(),
        members: vec![leaving("a")],
    }));

    assert_eq!(
        left,
        [
            Err(GroupError::UnknownMember),
            Err(GroupError::UnknownMember)
        ]
    );
    let nameless = GroupReply::Left(Err(GroupError::InvalidGroup));
    assert_eq!(world.answer_to(ticket), Some(nameless));
}
