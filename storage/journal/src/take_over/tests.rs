//! Take-over 1 to 3 against owners who are gone, busy, or long since replaced.

use bytes::Bytes;
use esker_object::{Fault, FaultRule, KeyClass, Operation, StoreErrorKind};

use super::*;
use crate::fixtures::{CLUSTER, Log, World, at, leader, log_of, lost, won};
use crate::object::{Decoded, JournalObject, decode};
use crate::place::Place;
use crate::snapshot::write_snapshot;
use crate::writer::HandedSnapshot;

/// Roll 0 of owner 1: a, b, and the next place free.
async fn world_of_one_roll() -> World {
    let world = World::new();
    world.plant_head(0, &leader(1, 1), None).await;
    world.plant_entry(at(0, 1), 1, "a").await;
    world.plant_entry(at(0, 2), 1, "b").await;
    world
}

async fn object_at(world: &World, place: PlaceId) -> Decoded {
    let key = place.key(CLUSTER);
    let range = esker_object::ReadRange::Full;
    let read = esker_object::Bucket::get(&world.memory, &key, range).await;
    decode(CLUSTER, &read.unwrap().unwrap().bytes).unwrap()
}

async fn seal_at(world: &World, place: PlaceId) -> Option<Seal> {
    match object_at(world, place).await.object {
        JournalObject::Seal(seal) => Some(seal),
        _ => None,
    }
}

fn puts(world: &World) -> Vec<String> {
    let requests = world.faulty.requests().into_iter();
    let puts = requests.filter(|(operation, _)| *operation == Operation::Put);
    puts.map(|(_, key)| key.to_string()).collect()
}

fn keys(places: &[PlaceId]) -> Vec<String> {
    let keys = places.iter().map(|place| place.key(CLUSTER).to_string());
    keys.collect()
}

#[tokio::test(start_paused = true)]
async fn a_warm_take_over_is_a_seal_at_the_first_missing_place_and_a_head_that_names_it() {
    let world = world_of_one_roll().await;
    let follower = world.open("new").await;

    let leadership = won(follower.take_over().await.unwrap());

    assert_eq!(
        puts(&world),
        keys(&[at(0, 3), at(1, 0)]),
        "2 PUTs in sequence"
    );
    assert_eq!(leadership.state, log_of(&["a", "b"]));
    assert_eq!(leadership.epoch, SequencerEpoch::new(2));
    assert_eq!(leadership.roll, RollNumber::new(1));
    let seal = object_at(&world, at(0, 3)).await;
    let JournalObject::Head(head) = object_at(&world, at(1, 0)).await.object else {
        panic!("not a head");
    };
    let prev = head.prev.unwrap();
    assert_eq!((prev.place, prev.write_id), (Place::new(3), seal.write_id));
    assert_eq!(head.leader.address, "new");
}

#[tokio::test(start_paused = true)]
async fn a_warm_take_over_reads_two_places_and_a_get_for_each_missed_entry() {
    let world = world_of_one_roll().await;
    let follower = world.open("new").await;
    world.plant_entry(at(0, 3), 1, "c").await;
    let before = world.faulty.count(Operation::Get, KeyClass::Journal);

    let leadership = won(follower.take_over().await.unwrap());

    let gets = world.faulty.count(Operation::Get, KeyClass::Journal) - before;
    assert_eq!(leadership.state.commands.len(), 3);
    assert!(
        gets <= 4,
        "verdict, the entry, and the places behind it: {gets}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_seal_goes_to_the_lowest_missing_place_and_what_lies_beyond_is_void() {
    let world = world_of_one_roll().await;
    world.plant_entry(at(0, 4), 1, "void").await;
    let follower = world.open("new").await;

    let leadership = won(follower.take_over().await.unwrap());

    assert_eq!(leadership.state, log_of(&["a", "b"]));
    assert!(seal_at(&world, at(0, 3)).await.is_some());
    let cold = world.open("cold").await;
    assert_eq!(*cold.state(), log_of(&["a", "b"]));
}

#[tokio::test(start_paused = true)]
async fn the_first_start_creates_the_head_of_roll_0_and_one_process_wins_it() {
    let world = World::new();
    let first = world.open("first").await;
    let second = world.open("second").await;

    let leadership = won(first.take_over().await.unwrap());
    let follower = lost(second.take_over().await.unwrap());

    assert_eq!(leadership.epoch, SequencerEpoch::FIRST);
    assert_eq!(leadership.roll, RollNumber::FIRST);
    assert_eq!(follower.leader().unwrap().address, "first");
    assert_eq!(
        puts(&world),
        keys(&[at(0, 0)]),
        "no seal of a roll without owner"
    );
}

#[tokio::test(start_paused = true)]
async fn of_two_that_start_first_at_once_the_loser_does_not_take_the_others_head_as_its_own() {
    let world = World::new();
    let gate = esker_object::Gate::new();
    let rule = FaultRule::new(Fault::GateBefore(gate.clone())).on(Operation::Put);
    world.faulty.add(rule.times(1));
    let slow = world.open("slow").await.take_over();
    let quick = async {
        gate.arrived(1).await;
        let leadership = won(world.open("quick").await.take_over().await.unwrap());
        gate.open();
        leadership
    };

    let (slow, quick) = futures::future::join(slow, quick).await;

    let follower = lost(slow.unwrap());
    assert_eq!(follower.leader().unwrap().address, "quick");
    assert_eq!(quick.roll, RollNumber::FIRST);
}

#[tokio::test(start_paused = true)]
async fn lost_replies_and_late_puts_do_not_make_a_challenger_lose_to_itself() {
    for fault in [
        Fault::FailAfter(StoreErrorKind::Retry),
        Fault::FailBefore(StoreErrorKind::Retry),
        Fault::Conflict,
        Fault::FalseExists,
    ] {
        let world = world_of_one_roll().await;
        let follower = world.open("new").await;
        world
            .faulty
            .add(FaultRule::new(fault).on(Operation::Put).times(3));

        let leadership = won(follower.take_over().await.unwrap());

        assert_eq!(leadership.roll, RollNumber::new(1));
        assert_eq!(world.faulty.struck(), 3);
    }
}

/// Writes an entry of the owner at `place` just before the challenger's first put to it.
async fn busy_owner(world: &World, follower: Follower<Log>, entries: u64) -> TakeOver<Log> {
    let gate = esker_object::Gate::new();
    let rule = FaultRule::new(Fault::GateBefore(gate.clone())).on(Operation::Put);
    world.faulty.add(rule.times(1));
    let owner = async {
        gate.arrived(1).await;
        for place in 3..3 + entries {
            world.plant_entry(at(0, place), 1, "late").await;
        }
        gate.open();
    };
    let (outcome, ()) = futures::future::join(follower.take_over(), owner).await;
    outcome.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_owner_who_still_appends_is_sealed_at_many_places_at_once() {
    let world = world_of_one_roll().await;
    let follower = world.open("new").await;

    let leadership = won(busy_owner(&world, follower, 2).await);

    assert_eq!(leadership.state, log_of(&["a", "b", "late", "late"]));
    // The first seal met an entry; then places 5 to 5 + 2K at once; then the head.
    let mut wanted = vec![at(0, 3)];
    wanted.extend((5..=13).map(|place| at(0, place)));
    wanted.push(at(1, 0));
    assert_eq!(puts(&world), keys(&wanted));
    let JournalObject::Head(head) = object_at(&world, at(1, 0)).await.object else {
        panic!("not a head");
    };
    assert_eq!(head.prev.unwrap().place, Place::new(5), "the lowest counts");
}

#[tokio::test(start_paused = true)]
async fn of_many_seals_the_lowest_with_only_entries_below_counts_though_it_is_a_strangers() {
    let world = world_of_one_roll().await;
    let follower = world.open("new").await;
    let gate = esker_object::Gate::new();
    let rule = FaultRule::new(Fault::GateBefore(gate.clone())).on(Operation::Put);
    // The first put is let through to an entry, the seals ahead wait.
    world.faulty.add(rule.skip(1).times(9));
    let others = async {
        gate.arrived(9).await;
        let _ = world.plant_seal(at(0, 4), &leader(9, 2), None).await;
        gate.open();
    };
    world.plant_entry(at(0, 3), 1, "late").await;
    let mut stale = follower;
    stale.position = Position::Reading {
        roll: RollNumber::FIRST,
        leader: leader(1, 1),
        next: Place::new(3),
    };
    world.faulty.add(
        FaultRule::new(Fault::Missing)
            .on(Operation::Get)
            .key_containing(at(0, 3).key(CLUSTER).as_str())
            .times(1),
    );

    let (outcome, ()) = futures::future::join(stale.take_over(), others).await;

    let follower = lost(outcome.unwrap());
    assert_eq!(follower.leader(), Some(&leader(9, 2)));
    assert!(
        seal_at(&world, at(0, 5)).await.is_some(),
        "ours, which means nothing"
    );
    assert!(
        !world.holds(&at(1, 0).key(CLUSTER)).await,
        "no head of ours"
    );
}

#[tokio::test(start_paused = true)]
async fn another_challengers_seal_is_followed_not_challenged() {
    let world = world_of_one_roll().await;
    let follower = world.open("late").await;
    let _ = world.plant_seal(at(0, 3), &leader(9, 2), None).await;

    let follower = lost(follower.take_over().await.unwrap());

    assert_eq!(follower.leader(), Some(&leader(9, 2)));
    assert!(puts(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_announced_owner_who_does_not_come_is_challenged_at_place_0() {
    let world = world_of_one_roll().await;
    let announced = world.plant_seal(at(0, 3), &leader(9, 2), None).await;
    let follower = world.open("new").await;
    assert_eq!(follower.leader(), Some(&leader(9, 2)));

    let leadership = won(follower.take_over().await.unwrap());

    assert_eq!(puts(&world), keys(&[at(1, 0), at(2, 0)]));
    assert_eq!(leadership.epoch, SequencerEpoch::new(3));
    let seal = seal_at(&world, at(1, 0)).await.unwrap();
    assert_eq!(seal.prev, Some(announced), "it is a verdict like a head");
    let cold = world.open("cold").await;
    assert_eq!(*cold.state(), log_of(&["a", "b"]));
    assert_eq!(cold.leader().unwrap().address, "new");
}

#[tokio::test(start_paused = true)]
async fn an_announced_owner_who_comes_at_last_is_challenged_in_its_roll() {
    let world = world_of_one_roll().await;
    let prev = world.plant_seal(at(0, 3), &leader(9, 2), None).await;
    let follower = world.open("new").await;
    let key = at(1, 0).key(CLUSTER);
    let rule = FaultRule::new(Fault::Missing).on(Operation::Get);
    world.faulty.add(rule.key_containing(key.as_str()).times(1));
    world.plant_head(1, &leader(9, 2), Some(prev)).await;

    let leadership = won(follower.take_over().await.unwrap());

    assert_eq!(leadership.roll, RollNumber::new(2));
    assert_eq!(leadership.epoch, SequencerEpoch::new(3));
    assert!(seal_at(&world, at(1, 1)).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_place_0_of_its_roll_sealed_is_deposed_before_it_led() {
    let world = world_of_one_roll().await;
    let follower = world.open("slow").await;
    let gate = esker_object::Gate::new();
    let rule = FaultRule::new(Fault::GateBefore(gate.clone())).on(Operation::Put);
    world.faulty.add(rule.skip(1).times(1));
    let other = async {
        gate.arrived(1).await;
        let leadership = won(world.open("quick").await.take_over().await.unwrap());
        gate.open();
        leadership
    };

    let (outcome, quick) = futures::future::join(follower.take_over(), other).await;

    let follower = lost(outcome.unwrap());
    assert_eq!(follower.leader().unwrap().address, "quick");
    assert_eq!(quick.roll, RollNumber::new(2));
    assert_eq!(quick.epoch, SequencerEpoch::new(3));
}

#[tokio::test(start_paused = true)]
async fn a_seal_on_a_collected_place_is_never_gone_on_with() {
    // A follower that stands in front of c; then c and d come, roll 1 begins, all is collected.
    let world = world_of_one_roll().await;
    let follower = world.open("old").await;
    for (place, command) in [(3, "c"), (4, "d")] {
        world.plant_entry(at(0, place), 1, command).await;
    }
    let prev = world.plant_seal(at(0, 5), &leader(1, 1), None).await;
    world.plant_head(1, &leader(1, 1), Some(prev)).await;
    let snapshot = HandedSnapshot {
        roll: RollNumber::new(1),
        parts: crate::state::JournalState::snapshot(&log_of(&["a", "b", "c", "d"])),
    };
    let written = write_snapshot(&world.reader(), &world.env, snapshot).await;
    assert!(written.is_ok());
    for place in 1..5 {
        world.delete(at(0, place)).await;
    }
    // The verdict is looked at first, and that answer is old.
    let key = at(1, 0).key(CLUSTER);
    let rule = FaultRule::new(Fault::Missing).on(Operation::Get);
    world.faulty.add(rule.key_containing(key.as_str()).times(1));

    let follower = lost(follower.take_over().await.unwrap());

    assert!(seal_at(&world, at(0, 3)).await.is_some(), "a stray seal");
    assert_eq!(*follower.state(), log_of(&["a", "b", "c", "d"]));
    assert_eq!(
        follower.leader(),
        Some(&leader(1, 1)),
        "who leads all the same"
    );
    let cold = world.open("cold").await;
    assert_eq!(cold.state(), follower.state());
}

#[tokio::test(start_paused = true)]
async fn a_leader_found_meanwhile_is_not_challenged() {
    let world = world_of_one_roll().await;
    let late = world.open("late").await;
    let quick = won(world.open("quick").await.take_over().await.unwrap());
    let before = puts(&world).len();

    let follower = lost(late.take_over().await.unwrap());

    assert_eq!(follower.leader().unwrap().address, "quick");
    assert_eq!(puts(&world).len(), before);
    assert_eq!(quick.roll, RollNumber::new(1));
}

#[tokio::test(start_paused = true)]
async fn an_owner_who_rolls_while_it_is_challenged_is_challenged_in_its_new_roll() {
    let world = world_of_one_roll().await;
    let follower = world.open("new").await;
    let prev = world.plant_seal(at(0, 3), &leader(1, 1), None).await;
    world.plant_head(1, &leader(1, 1), Some(prev)).await;
    world.plant_entry(at(1, 1), 1, "c").await;

    let leadership = won(follower.take_over().await.unwrap());

    assert_eq!(leadership.roll, RollNumber::new(2));
    assert_eq!(leadership.state, log_of(&["a", "b", "c"]));
}

#[tokio::test(start_paused = true)]
async fn an_owner_who_is_always_ahead_is_given_up_on_after_bounded_rounds() {
    let world = world_of_one_roll().await;
    let follower = world.open("new").await;
    // Every seal meets somebody, and what is read then is an entry of the owner's.
    for round in 0..CHALLENGE_ROUNDS_MAX {
        let first = 3 + u64::try_from(round).unwrap() * 9;
        for place in first..first + 9 {
            world.plant_entry(at(0, place), 1, "late").await;
            let key = at(0, place).key(CLUSTER);
            let missing = FaultRule::new(Fault::Missing).on(Operation::Get);
            // Seen by nobody before it was put to.
            let times = if place == first { 1 } else { 0 };
            world
                .faulty
                .add(missing.key_containing(key.as_str()).times(times));
        }
    }

    let outcome = follower.take_over().await.unwrap();

    let follower = lost(outcome);
    assert_eq!(follower.leader(), Some(&leader(1, 1)));
    assert_eq!(puts(&world).len(), 1 + (CHALLENGE_ROUNDS_MAX - 1) * 9);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_ends_a_take_over_with_the_reason() {
    let world = world_of_one_roll().await;
    let follower = world.open("new").await;
    let rule = FaultRule::new(Fault::Refuse(StoreErrorKind::Denied)).on(Operation::Put);
    world.faulty.add(rule);
    let refused = follower.take_over().await;
    world.faulty.heal();
    let follower = world.open("new").await;
    let rule = FaultRule::new(Fault::Refuse(StoreErrorKind::Denied)).on(Operation::Get);
    world.faulty.add(rule);

    let unread = follower.take_over().await;

    assert!(matches!(refused, Err(TakeOverError::Settle(error)) if !error.is_in_doubt()));
    assert!(matches!(unread, Err(TakeOverError::Replay(_))));
}

#[tokio::test(start_paused = true)]
async fn a_take_over_bears_missing_rights_and_failures_that_pass() {
    for operation in [Operation::Put, Operation::Get] {
        let world = world_of_one_roll().await;
        let follower = world.open("new").await;
        let failed = FaultRule::new(Fault::Refuse(StoreErrorKind::Exhausted)).on(operation);
        let denied = FaultRule::new(Fault::Refuse(StoreErrorKind::Denied)).on(operation);
        world.faulty.add(failed.times(10));
        world.faulty.add(denied.times(10));

        let outcome = follower.take_over().await.unwrap();

        assert_eq!(won(outcome).state, log_of(&["a", "b"]), "{operation:?}");
        assert_eq!(world.faulty.struck(), 20);
    }
}

#[tokio::test(start_paused = true)]
async fn a_take_over_that_was_dropped_half_way_does_no_harm_to_the_next() {
    let world = world_of_one_roll().await;
    // The seal is written, then the process is gone.
    let gate = esker_object::Gate::new();
    let rule = FaultRule::new(Fault::GateBefore(gate.clone())).on(Operation::Put);
    world.faulty.add(rule.skip(1).times(1));
    let first = world.open("dropped").await.take_over();
    futures::future::select(Box::pin(first), Box::pin(gate.arrived(1))).await;

    let follower = world.open("next").await;
    assert_eq!(follower.leader().unwrap().address, "dropped");
    let leadership = won(follower.take_over().await.unwrap());

    assert_eq!(leadership.state, log_of(&["a", "b"]));
    assert_eq!(leadership.epoch, SequencerEpoch::new(3));
    // The dropped one's head may come any time later: place 0 is taken.
    let late = Head {
        roll: RollNumber::new(1),
        leader: leader(5, 2),
        prev: Some(crate::fixtures::seal_ref(3, 3)),
    };
    let object: Bytes = late.encode(CLUSTER, world.env.rng.write_id());
    let patience = esker_object::Patience::NONE;
    let outcome = create(&world.reader(), &world.env, at(1, 0), object, patience).await;
    assert!(matches!(outcome, Ok(Settled::Other(_))));
}
