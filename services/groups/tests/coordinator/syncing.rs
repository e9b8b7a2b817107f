//! SyncGroup and Heartbeat: assignments, and what happens in the middle.

use std::time::Duration;

use bytes::Bytes;
use esker_groups::GroupCommand;
use esker_metadata_api::{GroupError, GroupReply, GroupRequest, GroupState, SyncGroup};

use crate::world::{
    DELAY, GROUP, REBALANCE, SESSION, World, assignment_of, join, leaving, protocols, sync,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn followers_wait_for_the_leaders_assignment() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(3);

    let followers = [
        world.sync(&ids[1], generation),
        world.sync(&ids[2], generation),
    ];
    let before = followers.iter().all(|ticket| world.is_waiting(*ticket));
    let leader = world.assign(&ids[0], generation, &ids);

    let told = world.synced(leader).unwrap();
    assert!(before);
    assert_eq!(
        (told.protocol_type.as_str(), told.protocol.as_str()),
        ("consumer", "range")
    );
    assert_eq!(told.assignment, assignment_of(&ids[0]));
    for (id, ticket) in ids[1..].iter().zip(followers) {
        assert_eq!(world.synced(ticket).unwrap().assignment, assignment_of(id));
    }
    assert_eq!(world.state(), GroupState::Stable);
}

#[test]
fn assignments_go_to_members_only_and_those_left_out_get_none() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(2);
    let stranger = "stranger".to_owned();

    let leader = world.assign(&ids[0], generation, &[ids[0].clone(), stranger]);
    let follower = world.sync(&ids[1], generation);

    assert_eq!(
        world.synced(leader).unwrap().assignment,
        assignment_of(&ids[0])
    );
    assert_eq!(world.synced(follower).unwrap().assignment, Bytes::new());
    assert_eq!(world.describe(GROUP).members.len(), 2);
}

#[test]
fn a_member_left_out_loses_what_it_had_in_the_generation_before() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);
    let joins = [world.join(join(&ids[0])), world.join(join(&ids[1]))];
    let next = joins.map(|ticket| world.joined(ticket).unwrap().generation);

    world.assign(&ids[0], next[0], &ids[..1]);
    let follower = world.sync(&ids[1], next[1]);

    assert_eq!(next, [generation + 1; 2]);
    assert_eq!(world.synced(follower).unwrap().assignment, Bytes::new());
}

#[test]
fn no_member_gets_its_assignment_before_it_is_durable() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(3);
    world.held = true;

    let early = world.sync(&ids[1], generation);
    let leader = world.assign(&ids[0], generation, &ids);
    let late = world.sync(&ids[2], generation);
    let repeated = world.assign(&ids[0], generation, &ids);
    let waiting = [early, late, repeated]
        .iter()
        .all(|ticket| world.is_waiting(*ticket));
    let commands = world.journal.len();
    world.deliver_all();

    assert!(waiting);
    assert_eq!(commands, 1, "a repeated assignment is not appended again");
    assert_eq!(
        world.synced(leader),
        Err(GroupError::RebalanceInProgress),
        "superseded"
    );
    for ticket in [early, late, repeated] {
        assert!(world.synced(ticket).is_ok());
    }
}

#[test]
fn a_sync_to_a_stable_group_is_answered_at_once() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);

    let again = world.sync(&ids[1], generation);

    assert_eq!(
        world.synced(again).unwrap().assignment,
        assignment_of(&ids[1])
    );
}

#[test]
fn a_sync_that_does_not_fit_is_refused() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(1);
    let id = ids[0].as_str();
    let ours = || sync(id, generation);
    let refused = [
        (
            SyncGroup {
                group: String::new(),
                ..ours()
            },
            GroupError::InvalidGroup,
        ),
        (
            SyncGroup {
                group: "other".into(),
                ..ours()
            },
            GroupError::UnknownMember,
        ),
        (sync("stranger", generation), GroupError::UnknownMember),
        (sync(id, generation + 1), GroupError::IllegalGeneration),
        (sync(id, generation - 1), GroupError::IllegalGeneration),
        (
            SyncGroup {
                protocol_type: Some("connect".into()),
                ..ours()
            },
            GroupError::InconsistentProtocol,
        ),
        (
            SyncGroup {
                protocol: Some("sticky".into()),
                ..ours()
            },
            GroupError::InconsistentProtocol,
        ),
        (
            SyncGroup {
                instance: Some("i".into()),
                ..ours()
            },
            GroupError::UnknownMember,
        ),
    ];

    for (request, error) in refused {
        let ticket = world.ask(GroupRequest::Sync(request));
        assert_eq!(world.synced(ticket), Err(error));
    }
    let older = SyncGroup {
        protocol_type: None,
        protocol: None,
        ..ours()
    };
    let ticket = world.ask(GroupRequest::Sync(older));
    assert!(
        world.synced(ticket).is_ok(),
        "older clients do not name the protocol"
    );
}

#[test]
fn a_sync_while_members_join_again_is_sent_away() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);
    let _ = world.newcomer(&join(""));

    let ticket = world.sync(&ids[1], generation);

    assert_eq!(world.synced(ticket), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_newcomer_in_the_middle_of_sync_sends_the_waiting_away_to_a_new_generation() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(2);
    let follower = world.sync(&ids[1], generation);
    world.held = true;
    let leader = world.assign(&ids[0], generation, &ids);

    let (third, joining) = world.newcomer(&join(""));
    let summaries = |world: &World| {
        let summary =
            |(command, _): &&(GroupCommand, _)| matches!(command, GroupCommand::Rebalanced { .. });
        world.journal.iter().filter(summary).count()
    };
    let on_its_way = summaries(&world);
    world.deliver_all();
    let still_preparing = world.state();
    world.held = false;
    let again: Vec<_> = ids.iter().map(|id| world.join(join(id))).collect();

    assert_eq!(world.synced(follower), Err(GroupError::RebalanceInProgress));
    assert_eq!(world.synced(leader), Err(GroupError::RebalanceInProgress));
    assert_eq!(
        on_its_way, 1,
        "the old assignment becomes durable all the same"
    );
    assert_eq!(
        still_preparing,
        GroupState::PreparingRebalance,
        "and changes nothing"
    );
    for ticket in again.into_iter().chain([joining]) {
        assert_eq!(world.joined(ticket).unwrap().generation, generation + 1);
    }
    let all = [ids[0].clone(), ids[1].clone(), third];
    let ticket = world.assign(&ids[0], generation + 1, &all);
    assert_eq!(
        world.synced(ticket).unwrap().assignment,
        assignment_of(&ids[0])
    );
}

#[test]
fn a_leader_that_leaves_while_others_wait_sends_them_into_a_new_generation() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(3);
    let waiting = [
        world.sync(&ids[1], generation),
        world.sync(&ids[2], generation),
    ];

    let left = world.leave(vec![leaving(&ids[0])]);
    let again = [world.join(join(&ids[1])), world.join(join(&ids[2]))];

    assert_eq!(left, [Ok(())]);
    for ticket in waiting {
        assert_eq!(world.synced(ticket), Err(GroupError::RebalanceInProgress));
    }
    let told: Vec<_> = again
        .iter()
        .map(|ticket| world.joined(*ticket).unwrap())
        .collect();
    assert_eq!(told[0].generation, generation + 1);
    assert_eq!(told[0].leader, told[1].leader);
    assert!(ids[1..].contains(&told[0].leader));
    assert_eq!(
        told.iter().map(|one| one.members.len()).sum::<usize>(),
        2,
        "one of them leads"
    );
}

#[test]
fn a_leader_that_leaves_while_it_waits_itself_is_answered() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(2);
    world.held = true;
    let leader = world.assign(&ids[0], generation, &ids);

    world.leave(vec![leaving(&ids[0])]);
    world.deliver_all();

    assert_eq!(world.synced(leader), Err(GroupError::UnknownMember));
    assert_eq!(world.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_leader_that_does_not_assign_in_time_is_dropped_and_the_others_go_on() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(2);
    let waiting = world.sync(&ids[1], generation);

    world.advance_alive(REBALANCE, &[(&ids[0], generation)]);
    let again = world.join(join(&ids[1]));

    assert_eq!(world.synced(waiting), Err(GroupError::RebalanceInProgress));
    let joined = world.joined(again).unwrap();
    assert_eq!(
        (joined.generation, &joined.leader),
        (generation + 1, &ids[1])
    );
    assert_eq!(
        world.heartbeat(&ids[0], generation),
        Err(GroupError::UnknownMember)
    );
}

#[test]
fn a_follower_that_never_asks_for_its_assignment_is_dropped() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(2);
    world.assign(&ids[0], generation, &ids);

    let both = [(ids[0].as_str(), generation), (ids[1].as_str(), generation)];
    world.advance_alive(REBALANCE - SECOND, &both);
    let before = world.state();
    world.advance(SECOND);

    assert_eq!(before, GroupState::Stable);
    assert_eq!(world.state(), GroupState::PreparingRebalance);
    assert_eq!(
        world.heartbeat(&ids[1], generation),
        Err(GroupError::UnknownMember)
    );
}

#[test]
fn a_sync_of_the_same_member_takes_the_place_of_the_one_that_waits() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(2);

    let first = world.sync(&ids[1], generation);
    let second = world.sync(&ids[1], generation);
    world.assign(&ids[0], generation, &ids);

    assert_eq!(world.synced(first), Err(GroupError::RebalanceInProgress));
    assert!(world.synced(second).is_ok());
}

#[test]
fn a_heartbeat_says_what_the_member_must_do() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(1);
    let id = ids[0].as_str();

    assert_eq!(
        world.heartbeat(id, generation),
        Ok(()),
        "told, not yet assigned"
    );
    world.assign(id, generation, &[]);
    assert_eq!(world.heartbeat(id, generation), Ok(()));
    assert_eq!(
        world.heartbeat(id, generation + 1),
        Err(GroupError::IllegalGeneration)
    );
    assert_eq!(
        world.heartbeat("stranger", generation),
        Err(GroupError::UnknownMember)
    );
    let _ = world.newcomer(&join(""));
    assert_eq!(
        world.heartbeat(id, generation),
        Err(GroupError::RebalanceInProgress)
    );
}

#[test]
fn a_member_that_is_not_heard_of_is_dropped_and_one_that_is_stays() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);

    world.advance_alive(SESSION + SECOND, &[(&ids[0], generation)]);

    assert_eq!(
        world.heartbeat(&ids[1], generation),
        Err(GroupError::UnknownMember)
    );
    assert_eq!(
        world.heartbeat(&ids[0], generation),
        Err(GroupError::RebalanceInProgress)
    );
}

#[test]
fn a_member_that_waits_needs_no_heartbeats() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(2);
    let waiting = world.sync(&ids[1], generation);

    world.advance_alive(2 * SESSION, &[(&ids[0], generation)]);
    let leader = world.assign(&ids[0], generation, &ids);
    world.advance_alive(SESSION - SECOND, &[(&ids[0], generation)]);

    assert!(world.synced(waiting).is_ok());
    assert!(world.synced(leader).is_ok());
    assert_eq!(
        world.heartbeat(&ids[1], generation),
        Ok(()),
        "its session began with the answer"
    );
}

#[test]
fn a_cooperative_group_commits_with_the_old_generation_until_all_have_joined() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);
    let (_, third) = world.newcomer(&join(""));

    let while_joining = world.commit(&ids[0], generation, 7);
    let leader = world.join(join(&ids[0]));
    let after_own_join = world.commit(&ids[0], generation, 8);
    world.join(join(&ids[1]));
    let next = world.joined(leader).unwrap().generation;
    let while_assigning = world.commit(&ids[0], next, 9);
    let stale = world.commit(&ids[0], generation, 10);

    assert_eq!(while_joining, Ok(vec![Ok(())]));
    assert_eq!(after_own_join, Ok(vec![Ok(())]));
    assert_eq!(while_assigning, Err(GroupError::RebalanceInProgress));
    assert_eq!(stale, Err(GroupError::IllegalGeneration));
    assert!(world.joined(third).is_ok());
    assert_eq!(world.fetch(GROUP)[0].1.offset, 8);
}

#[test]
fn tools_see_metadata_and_assignments_of_a_stable_group_only() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(1);
    let before = world.describe(GROUP);
    world.assign(&ids[0], generation, &ids);

    let after = world.describe(GROUP);

    let (told, stable) = (&before.members[0], &after.members[0]);
    assert_eq!(
        (before.protocol.as_str(), after.protocol.as_str()),
        ("", "range")
    );
    assert_eq!((told.metadata.len(), told.assignment.len()), (0, 0));
    assert_eq!(
        (&stable.metadata[..], &stable.assignment),
        (&b"m"[..], &assignment_of(&ids[0]))
    );
    assert_eq!(
        (stable.client_id.as_str(), stable.client_host.as_str()),
        ("client", "/10.0.0.1")
    );
    assert_eq!(stable.member, ids[0]);
}

#[test]
fn a_list_names_each_group_with_its_state() {
    let mut world = World::new();
    world.stable_group(1);
    let other = |group: &str| esker_metadata_api::JoinGroup {
        group: group.into(),
        protocols: protocols(&[("p", "")]),
        protocol_type: "connect".into(),
        ..join("")
    };
    world.newcomer(&other("b"));
    let mut simple = crate::world::commit("", -1, 1);
    simple.group = "offsets-only".into();
    world.ask(GroupRequest::Commit(simple));

    let ticket = world.ask(GroupRequest::List);

    let Some(GroupReply::Listed(listed)) = world.answer_to(ticket) else {
        panic!("a List is answered at once");
    };
    let rows: Vec<_> = listed
        .iter()
        .map(|row| (row.group.as_str(), row.protocol_type.as_str(), row.state))
        .collect();
    let expected = [
        ("b", "connect", GroupState::PreparingRebalance),
        ("g", "consumer", GroupState::Stable),
        ("offsets-only", "", GroupState::Empty),
    ];
    assert_eq!(rows, expected);
    world.advance(DELAY);
}
