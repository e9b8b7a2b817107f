//! Static membership: the instance keeps its place, whoever uses its old id is fenced.

use std::time::Duration;

use esker_metadata_api::{
    GroupError, GroupReply, GroupRequest, GroupState, HeartbeatGroup, JoinGroup, JoinedGroup,
    SyncGroup,
};

use crate::world::{
    DELAY, GROUP, REBALANCE, SESSION, World, assignment_of, commit, join, protocols, static_join,
    sync,
};

const SECOND: Duration = Duration::from_secs(1);

/// A stable group of the instances `a` and `b`, told in this order; `a` leads.
fn stable(world: &mut World) -> [JoinedGroup; 2] {
    let tickets = [world.join(static_join("a")), world.join(static_join("b"))];
    world.advance(2 * DELAY);
    let [a, b] = tickets.map(|ticket| world.joined(ticket).unwrap());
    assert_eq!(a.leader, a.member);
    let all = [a.member.clone(), b.member.clone()];
    world.assign(&a.member, a.generation, &all);
    let ticket = world.sync(&b.member, b.generation);
    world.synced(ticket).unwrap();
    [a, b]
}

#[test]
fn a_static_newcomer_joins_without_being_sent_away_first() {
    let mut world = World::new();

    let ticket = world.join(static_join("a"));
    world.advance(DELAY);

    let joined = world.joined(ticket).unwrap();
    assert!(joined.member.starts_with("a-"));
    assert_eq!(joined.members[0].instance.as_deref(), Some("a"));
}

#[test]
fn an_instance_that_comes_back_gets_a_new_id_and_its_old_assignment() {
    let mut world = World::new();
    let [a, b] = stable(&mut world);

    let ticket = world.join(static_join("b"));
    let again = world.joined(ticket).unwrap();
    let ticket = world.sync(&again.member, again.generation);

    assert_ne!(again.member, b.member);
    assert_eq!((again.generation, &again.leader), (b.generation, &a.member));
    assert!(!again.skip_assignment);
    assert_eq!(
        world.synced(ticket).unwrap().assignment,
        assignment_of(&b.member)
    );
    assert_eq!(
        world.state(),
        GroupState::Stable,
        "nobody has to join again"
    );
    assert_eq!(world.heartbeat(&a.member, a.generation), Ok(()));
}

#[test]
fn the_old_id_of_an_instance_is_fenced_everywhere() {
    let mut world = World::new();
    let [_, b] = stable(&mut world);
    let ticket = world.join(static_join("b"));
    world.joined(ticket).unwrap();
    let instance = Some("b".to_owned());
    let requests = [
        GroupRequest::Join(JoinGroup {
            instance: instance.clone(),
            ..join(&b.member)
        }),
        GroupRequest::Sync(SyncGroup {
            instance: instance.clone(),
            ..sync(&b.member, 1)
        }),
        GroupRequest::Heartbeat(HeartbeatGroup {
            group: GROUP.into(),
            member: b.member.clone(),
            instance: instance.clone(),
            generation: 1,
        }),
        GroupRequest::Commit(esker_metadata_api::CommitOffsets {
            instance,
            ..commit(&b.member, 1, 5)
        }),
    ];

    for request in requests {
        let ticket = world.ask(request);
        let fenced = match world.answer_to(ticket) {
            Some(GroupReply::Joined(Err(error)))
            | Some(GroupReply::Synced(Err(error)))
            | Some(GroupReply::Heartbeat(Err(error)))
            | Some(GroupReply::Committed(Err(error))) => error,
            other => panic!("not refused: {other:?}"),
        };
        assert_eq!(fenced, GroupError::FencedInstance);
    }
    assert!(world.fetch(GROUP).is_empty());
}

#[test]
fn the_new_id_of_an_instance_is_durable_before_it_is_told() {
    let mut world = World::new();
    stable(&mut world);
    world.held = true;

    let ticket = world.join(static_join("b"));
    let before = world.is_waiting(ticket);
    world.deliver_all();
    let again = world.joined(ticket).unwrap();
    world.take_over();

    assert!(before);
    assert_eq!(world.heartbeat(&again.member, again.generation), Ok(()));
}

#[test]
fn a_leader_that_comes_back_may_skip_the_assignment() {
    let mut world = World::new();
    let [a, b] = stable(&mut world);

    let ticket = world.join(static_join("a"));
    let again = world.joined(ticket).unwrap();

    assert!(again.skip_assignment);
    assert_eq!(
        (&again.leader, again.generation),
        (&again.member, a.generation)
    );
    assert_eq!(again.members.len(), 2);
    assert_eq!(world.heartbeat(&b.member, b.generation), Ok(()));
}

#[test]
fn an_older_leader_that_comes_back_is_told_that_its_old_self_leads() {
    let mut world = World::new();
    let [a, _] = stable(&mut world);
    let older = JoinGroup {
        skip_assignment_supported: false,
        ..static_join("a")
    };

    let ticket = world.join(older);

    let again = world.joined(ticket).unwrap();
    assert!(!again.skip_assignment);
    assert_eq!((again.leader, again.members.len()), (a.member, 0));
    assert_eq!(world.state(), GroupState::Stable);
}

#[test]
fn an_instance_that_comes_back_with_other_metadata_for_the_same_protocol_changes_nothing() {
    let mut world = World::new();
    let [_, b] = stable(&mut world);
    let other = JoinGroup {
        protocols: protocols(&[("range", "other")]),
        ..static_join("b")
    };

    let ticket = world.join(other);

    assert_eq!(world.joined(ticket).unwrap().generation, b.generation);
    assert_eq!(world.state(), GroupState::Stable);
}

#[test]
fn an_instance_that_would_change_the_protocol_begins_a_rebalance() {
    let mut world = World::new();
    let both = |instance, list| JoinGroup {
        protocols: protocols(list),
        ..static_join(instance)
    };
    let first = world.join(both("a", &[("x", ""), ("y", "")]));
    world.advance(DELAY);
    let a = world.joined(first).unwrap();
    world.assign_with(&a, "x");

    let ticket = world.join(both("a", &[("y", ""), ("x", "")]));

    let again = world.joined(ticket).unwrap();
    assert_eq!(
        (again.generation, again.protocol.as_str()),
        (a.generation + 1, "y")
    );
}

#[test]
fn an_instance_that_comes_back_before_the_assignment_begins_a_rebalance() {
    let mut world = World::new();
    let tickets = [world.join(static_join("a")), world.join(static_join("b"))];
    world.advance(2 * DELAY);
    let [a, b] = tickets.map(|ticket| world.joined(ticket).unwrap());
    let waiting = world.sync(&b.member, b.generation);

    let back = world.join(static_join("b"));
    let sent_away = world.heartbeat(&a.member, a.generation);
    let leader = JoinGroup {
        instance: Some("a".into()),
        ..join(&a.member)
    };
    let leader = world.join(leader);

    assert_eq!(world.synced(waiting), Err(GroupError::FencedInstance));
    assert_eq!(sent_away, Err(GroupError::RebalanceInProgress));
    assert_eq!(world.joined(leader).unwrap().generation, a.generation + 1);
    assert_eq!(world.joined(back).unwrap().generation, a.generation + 1);
}

#[test]
fn an_instance_that_comes_back_while_it_waits_fences_itself() {
    let mut world = World::new();
    let first = world.join(static_join("a"));

    let second = world.join(static_join("a"));
    world.advance(DELAY);

    assert_eq!(world.joined(first), Err(GroupError::FencedInstance));
    assert_eq!(world.joined(second).unwrap().members.len(), 1);
}

#[test]
fn an_id_that_is_not_the_instances_own_is_fenced_and_an_unknown_instance_unknown() {
    let mut world = World::new();
    let [a, _] = stable(&mut world);
    let with = |instance: &str| JoinGroup {
        instance: Some(instance.into()),
        ..join(&a.member)
    };

    let others = world.join(with("b"));
    let unknown = world.join(with("c"));

    assert_eq!(world.joined(others), Err(GroupError::FencedInstance));
    assert_eq!(world.joined(unknown), Err(GroupError::UnknownMember));
}

#[test]
fn a_static_member_that_is_away_keeps_its_place_over_a_rebalance() {
    let mut world = World::new();
    let slow = |instance| JoinGroup {
        session_timeout: 20 * SESSION,
        ..static_join(instance)
    };
    let tickets = [world.join(slow("a")), world.join(slow("b"))];
    world.advance(2 * DELAY);
    let [a, b] = tickets.map(|ticket| world.joined(ticket).unwrap());
    world.assign(&a.member, a.generation, &[]);
    world.sync(&b.member, b.generation);

    let leader = JoinGroup {
        instance: Some("a".into()),
        ..join(&a.member)
    };
    let ticket = world.join(leader);
    world.advance(REBALANCE);

    let joined = world.joined(ticket).unwrap();
    assert_eq!(
        (joined.generation, joined.members.len()),
        (a.generation + 1, 2)
    );
}

#[test]
fn a_rebalance_to_which_nobody_comes_waits_for_the_static_members() {
    let mut world = World::new();
    let slow = JoinGroup {
        session_timeout: 20 * SESSION,
        ..static_join("a")
    };
    let first = world.join(slow.clone());
    world.advance(DELAY);
    let a = world.joined(first).unwrap();
    world.assign_with(&a, "range");
    let (_, newcomer) = world.newcomer(&join(""));

    world.coordinator.cancel(world.at().now, newcomer);
    world.advance(2 * REBALANCE);
    let state = world.state();
    let back = world.join(slow);

    let again = world.joined(back).unwrap();
    assert_eq!(state, GroupState::PreparingRebalance);
    assert_eq!(
        (again.generation, &again.leader),
        (a.generation + 1, &again.member)
    );
    assert_eq!(again.members.len(), 1, "the newcomer is gone");
}

#[test]
fn an_instance_comes_back_to_a_full_group() {
    let config = esker_groups::GroupConfig {
        group_members_max: 2,
        ..Default::default()
    };
    let mut world = World::with(config);
    let [_, b] = stable(&mut world);

    let third = world.join(static_join("c"));
    let back = world.join(static_join("b"));

    assert_eq!(world.joined(third), Err(GroupError::GroupFull));
    assert_eq!(world.joined(back).unwrap().generation, b.generation);
    world.advance(SECOND);
}
