//! JoinGroup and the rebalance: who is let in, how long it waits, who leads.

use std::time::Duration;

use esker_groups::GroupConfig;
use esker_groups::limits::NEW_MEMBER_JOIN_TIMEOUT;
use esker_metadata_api::{GroupError, GroupState, JoinGroup};

use crate::world::{DELAY, REBALANCE, SESSION, World, join, leaving, protocols};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_newcomer_is_sent_away_with_an_id_and_joins_with_it() {
    let mut world = World::new();

    let (member, ticket) = world.newcomer(&join(""));
    world.advance(DELAY);

    let joined = world.joined(ticket).unwrap();
    assert!(member.starts_with("client-"), "{member}");
    assert_eq!(
        (joined.generation, &joined.member, &joined.leader),
        (1, &member, &member)
    );
    assert_eq!(
        (joined.protocol_type.as_str(), joined.protocol.as_str()),
        ("consumer", "range")
    );
}

#[test]
fn an_older_client_joins_without_an_id() {
    let mut world = World::new();

    let ticket = world.join(JoinGroup {
        member_id_required: false,
        ..join("")
    });
    world.advance(DELAY);

    assert_eq!(world.joined(ticket).unwrap().generation, 1);
}

#[test]
fn an_id_given_to_a_newcomer_lapses_after_its_session_timeout() {
    let mut world = World::new();
    let first = world.join(join(""));
    let Err(GroupError::MemberIdRequired { member }) = world.joined(first) else {
        panic!("a newcomer is given an id");
    };

    world.advance(SESSION);
    let late = world.join(join(&member));

    assert_eq!(world.joined(late), Err(GroupError::UnknownMember));
    assert_eq!(world.state(), GroupState::Dead, "nothing is left of it");
}

#[test]
fn the_first_rebalance_waits_for_more_members_and_longer_while_they_come() {
    let mut world = World::new();
    let (_, first) = world.newcomer(&join(""));

    world.advance(DELAY - SECOND);
    let (_, second) = world.newcomer(&join(""));
    world.advance(SECOND);
    let prolonged = world.is_waiting(first) && world.is_waiting(second);
    world.advance(DELAY);

    assert!(prolonged, "a member came, so the wait begins anew");
    assert_eq!(world.joined(first).unwrap().generation, 1);
    assert_eq!(world.joined(second).unwrap().generation, 1);
}

#[test]
fn the_first_rebalance_is_prolonged_at_most_to_the_rebalance_timeout() {
    let mut world = World::new();
    let patient = JoinGroup {
        rebalance_timeout: 3 * DELAY,
        ..join("")
    };
    let (_, first) = world.newcomer(&patient);

    for _ in 0..3 {
        world.advance(DELAY - SECOND);
        let _ = world.newcomer(&patient);
        world.advance(SECOND);
    }

    assert_eq!(world.joined(first).unwrap().members.len(), 4);
}

#[test]
fn the_leader_gets_the_metadata_of_all_and_the_others_none() {
    let mut world = World::new();
    let with = |metadata| JoinGroup {
        protocols: protocols(&[("range", metadata)]),
        ..join("")
    };
    let (a, first) = world.newcomer(&with("ma"));
    let (b, second) = world.newcomer(&with("mb"));

    world.advance(2 * DELAY);

    let (leader, follower) = (world.joined(first).unwrap(), world.joined(second).unwrap());
    let told: Vec<_> = leader
        .members
        .iter()
        .map(|m| (m.member.as_str(), &m.metadata[..]))
        .collect();
    assert_eq!(leader.leader, a, "the first to join leads");
    assert_eq!(told, [(a.as_str(), &b"ma"[..]), (b.as_str(), &b"mb"[..])]);
    assert!(follower.members.is_empty());
}

#[test]
fn the_protocol_is_the_one_most_members_like_best_of_those_that_all_can_do() {
    let mut world = World::new();
    let with = |list: &[(&str, &str)]| JoinGroup {
        protocols: protocols(list),
        ..join("")
    };
    let tickets = [
        world
            .newcomer(&with(&[("alone", ""), ("a", ""), ("b", "")]))
            .1,
        world.newcomer(&with(&[("b", ""), ("a", "")])).1,
        world.newcomer(&with(&[("b", ""), ("a", "")])).1,
    ];

    world.advance(2 * DELAY);

    for ticket in tickets {
        assert_eq!(world.joined(ticket).unwrap().protocol, "b");
    }
}

#[test]
fn a_member_that_fits_no_common_protocol_is_refused() {
    let mut world = World::new();
    world.stable_group(1);
    let refused = [
        JoinGroup {
            protocols: protocols(&[("sticky", "")]),
            ..join("")
        },
        JoinGroup {
            protocols: Vec::new(),
            ..join("")
        },
        JoinGroup {
            protocol_type: "connect".into(),
            ..join("")
        },
    ];

    for request in refused {
        let ticket = world.join(request);
        assert_eq!(world.joined(ticket), Err(GroupError::InconsistentProtocol));
    }
    assert_eq!(world.state(), GroupState::Stable);
}

#[test]
fn an_empty_group_takes_any_protocol_type_but_none() {
    let mut world = World::new();
    let connect = JoinGroup {
        protocol_type: "connect".into(),
        ..join("")
    };

    let none = world.join(JoinGroup {
        protocol_type: String::new(),
        ..join("")
    });
    let (_, ticket) = world.newcomer(&connect);
    world.advance(DELAY);

    assert_eq!(world.joined(none), Err(GroupError::InconsistentProtocol));
    assert_eq!(world.joined(ticket).unwrap().protocol_type, "connect");
}

#[test]
fn a_group_without_a_name_and_a_session_out_of_bounds_are_refused() {
    let mut world = World::new();
    let session = |session_timeout| JoinGroup {
        session_timeout,
        ..join("")
    };
    let millisecond = Duration::from_millis(1);
    let config = GroupConfig::default();

    let nameless = world.join(JoinGroup {
        group: String::new(),
        ..join("")
    });
    let short = world.join(session(config.session_timeout_min - millisecond));
    let long = world.join(session(config.session_timeout_max + millisecond));
    let shortest = world.join(session(config.session_timeout_min));

    assert_eq!(world.joined(nameless), Err(GroupError::InvalidGroup));
    assert_eq!(world.joined(short), Err(GroupError::InvalidSessionTimeout));
    assert_eq!(world.joined(long), Err(GroupError::InvalidSessionTimeout));
    assert!(matches!(
        world.joined(shortest),
        Err(GroupError::MemberIdRequired { .. })
    ));
}

#[test]
fn an_id_nobody_gave_out_is_unknown() {
    let mut world = World::new();

    let no_group = world.join(join("made-up"));
    world.stable_group(1);
    let no_member = world.join(join("made-up"));

    assert_eq!(world.joined(no_group), Err(GroupError::UnknownMember));
    assert_eq!(world.joined(no_member), Err(GroupError::UnknownMember));
}

#[test]
fn a_newcomer_to_a_stable_group_has_all_join_again() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);

    let (third, ticket) = world.newcomer(&join(""));
    let told = world.heartbeat(&ids[1], generation);
    let again: Vec<_> = ids.iter().map(|id| world.join(join(id))).collect();

    assert_eq!(told, Err(GroupError::RebalanceInProgress));
    let joined = world.joined(ticket).unwrap();
    assert_eq!((joined.generation, joined.member), (generation + 1, third));
    for (id, ticket) in ids.iter().zip(again) {
        let joined = world.joined(ticket).unwrap();
        assert_eq!(
            (joined.generation, &joined.leader),
            (generation + 1, &ids[0]),
            "{id}"
        );
    }
}

#[test]
fn a_follower_that_says_nothing_new_stays_in_the_generation() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);

    let ticket = world.join(join(&ids[1]));

    let joined = world.joined(ticket).unwrap();
    assert_eq!((joined.generation, joined.members.len()), (generation, 0));
    assert_eq!(world.state(), GroupState::Stable);
}

#[test]
fn new_metadata_of_a_follower_and_any_join_of_the_leader_begin_a_rebalance() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);
    let changed = JoinGroup {
        protocols: protocols(&[("range", "new")]),
        ..join(&ids[1])
    };

    let follower = world.join(changed);
    let leader = world.join(join(&ids[0]));
    let first = world.joined(leader).unwrap();
    world.assign(&ids[0], first.generation, &ids);
    let (_, second) = world.rebalance(&ids);

    let renewed = first
        .members
        .iter()
        .filter(|one| &one.metadata[..] == b"new");
    assert_eq!(world.joined(follower).unwrap().generation, generation + 1);
    assert_eq!(renewed.count(), 1);
    assert_eq!(second, generation + 2);
}

#[test]
fn a_join_repeated_before_the_assignment_is_answered_the_same() {
    let mut world = World::new();
    let (ids, generation) = world.told_group(2);

    let leader = world.join(join(&ids[0]));
    let follower = world.join(join(&ids[1]));

    let (leader, follower) = (
        world.joined(leader).unwrap(),
        world.joined(follower).unwrap(),
    );
    assert_eq!((leader.generation, leader.members.len()), (generation, 2));
    assert_eq!(
        (follower.generation, follower.members.len()),
        (generation, 0)
    );
    assert_eq!(world.state(), GroupState::CompletingRebalance);
}

#[test]
fn a_waiting_join_is_answered_when_the_same_member_joins_again() {
    let mut world = World::new();
    let (member, first) = world.newcomer(&join(""));

    let second = world.join(join(&member));
    world.advance(DELAY);

    assert_eq!(world.joined(first), Err(GroupError::RebalanceInProgress));
    assert_eq!(world.joined(second).unwrap().member, member);
}

#[test]
fn a_rebalance_ends_without_those_that_do_not_come_and_another_leads() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(3);

    let gone = world.join(join(&ids[0]));
    world.coordinator.cancel(world.at().now, gone);
    let ticket = world.join(join(&ids[1]));
    let alive = [(ids[0].as_str(), generation), (ids[2].as_str(), generation)];
    world.advance_alive(REBALANCE - SECOND, &alive);
    let before = world.is_waiting(ticket);
    world.advance(SECOND);

    let joined = world.joined(ticket).unwrap();
    assert!(before, "it waits as long as its most patient member allows");
    assert_eq!(
        (joined.generation, &joined.leader),
        (generation + 1, &ids[1])
    );
    assert_eq!(joined.members.len(), 1);
    for absent in [&ids[0], &ids[2]] {
        assert_eq!(
            world.heartbeat(absent, generation),
            Err(GroupError::UnknownMember)
        );
    }
}

#[test]
fn the_most_patient_member_sets_the_rebalance_timeout() {
    let mut world = World::new();
    let patient = JoinGroup {
        rebalance_timeout: 2 * REBALANCE,
        ..join("")
    };
    let (a, first) = world.newcomer(&join(""));
    let (b, _) = world.newcomer(&patient);
    world.advance(2 * DELAY);
    let generation = world.joined(first).unwrap().generation;
    world.assign(&a, generation, &[]);
    world.sync(&b, generation);

    let ticket = world.join(join(&a));
    world.advance_alive(2 * REBALANCE - SECOND, &[(&b, generation)]);
    let before = world.is_waiting(ticket);
    world.advance(SECOND);

    assert!(before);
    assert_eq!(world.joined(ticket).unwrap().members.len(), 1);
}

#[test]
fn a_newcomer_with_an_id_holds_up_a_rebalance_until_it_joins_or_lapses() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(1);
    let _ = world.join(join(""));

    let ticket = world.join(join(&ids[0]));
    let before = world.is_waiting(ticket);
    world.advance(SESSION);

    assert!(before, "somebody is about to join");
    assert_eq!(world.joined(ticket).unwrap().generation, generation + 1);
}

#[test]
fn a_new_members_first_join_waits_five_minutes_at_most() {
    let mut world = World::new();
    let patient = JoinGroup {
        rebalance_timeout: 2 * NEW_MEMBER_JOIN_TIMEOUT,
        ..join("")
    };
    let (old, ticket) = world.newcomer(&patient);
    world.advance(DELAY);
    let generation = world.joined(ticket).unwrap().generation;
    world.assign(&old, generation, &[]);

    let (_, ticket) = world.newcomer(&join(""));
    world.advance_alive(NEW_MEMBER_JOIN_TIMEOUT - SECOND, &[(&old, generation)]);
    let before = world.is_waiting(ticket);
    world.advance(SECOND);

    assert!(
        before,
        "it sends no heartbeats while it waits, and needs none"
    );
    assert_eq!(world.joined(ticket), Err(GroupError::UnknownMember));
}

#[test]
fn no_member_hears_of_a_generation_before_it_is_durable() {
    let mut world = World::new();
    world.held = true;
    let (_, ticket) = world.newcomer(&join(""));

    world.advance(DELAY + SECOND);
    let before = world.is_waiting(ticket);
    world.deliver_all();

    assert!(before);
    assert_eq!(world.joined(ticket).unwrap().generation, 1);
}

#[test]
fn a_claim_of_a_rebalance_that_came_to_nothing_does_not_serve_the_next() {
    let mut world = World::new();
    world.held = true;
    let (first, _) = world.newcomer(&join(""));
    world.leave(vec![leaving(&first)]);
    let (_, ticket) = world.newcomer(&join(""));

    world.deliver();
    world.advance(DELAY);
    let before = world.is_waiting(ticket);
    world.deliver_all();

    assert!(before, "only the first claim was durable");
    assert_eq!(world.joined(ticket).unwrap().generation, 2);
}

#[test]
fn a_caller_that_goes_away_is_not_answered_and_its_member_may_come_back() {
    let mut world = World::new();
    let (member, gone) = world.newcomer(&join(""));

    world.coordinator.cancel(world.at().now, gone);
    let ticket = world.join(join(&member));
    world.advance(DELAY);

    assert!(world.is_waiting(gone));
    assert_eq!(world.joined(ticket).unwrap().member, member);
    assert_eq!(world.coordinator.waiting_count(), 0);
}

#[test]
fn a_member_whose_caller_went_away_is_dropped_after_its_session_timeout() {
    let mut world = World::new();
    let (ids, generation) = world.stable_group(2);
    let (member, gone) = world.newcomer(&join(""));

    world.coordinator.cancel(world.at().now, gone);
    let others = [(ids[0].as_str(), generation), (ids[1].as_str(), generation)];
    world.advance_alive(SESSION, &others);
    let late = world.join(join(&member));

    assert_eq!(world.joined(late), Err(GroupError::UnknownMember));
    assert_eq!(world.coordinator.member_count(), 2);
    assert_eq!(world.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_first_rebalance_that_everybody_left_ends_in_an_empty_group() {
    let mut world = World::new();
    let (member, gone) = world.newcomer(&join(""));

    world.coordinator.cancel(world.at().now, gone);
    world.advance(DELAY);
    let late = world.join(join(&member));

    assert_eq!(world.joined(late), Err(GroupError::UnknownMember));
    assert_eq!(world.state(), GroupState::Empty);
}

#[test]
fn a_rebalance_that_may_not_wait_ends_at_once() {
    let config = GroupConfig {
        initial_rebalance_delay: Duration::ZERO,
        ..GroupConfig::default()
    };
    let mut world = World::with(config);
    let hasty = JoinGroup {
        rebalance_timeout: Duration::ZERO,
        ..join("")
    };

    let (member, ticket) = world.newcomer(&hasty);
    world.tick();

    assert_eq!(world.joined(ticket).unwrap().generation, 1);
    let beat = world.heartbeat(&member, 1);
    assert_eq!(
        beat,
        Err(GroupError::UnknownMember),
        "it had no time to sync"
    );
    assert_eq!(world.state(), GroupState::Empty);
}
