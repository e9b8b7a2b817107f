//! J5 and J10 against buckets in every state that appends, take-overs and collections can leave.

use std::sync::Arc;

use bytes::Bytes;
use esker_object::{Fault, FaultRule, KeyClass, Operation, StoreErrorKind};

use super::*;
use crate::config::JournalConfig;
use crate::fixtures::{CLUSTER, Log, World, at, leader, log_of};
use crate::follower::{Journal, JournalParts};
use crate::identity::JournalIdentity;
use crate::limits::ADDRESS_BYTES_MAX;
use crate::object::DecodeError;
use crate::place::SealRef;
use crate::snapshot::write_snapshot;
use crate::writer::HandedSnapshot;

/// Writes a roll of owner 1 with these commands, a seal behind them that names owner 1 again.
async fn plant_roll(world: &World, roll: u64, commands: &[&str], prev: Option<SealRef>) -> SealRef {
    world.plant_head(roll, &leader(1, 1), prev).await;
    let mut place = 0;
    for command in commands {
        place += 1;
        world.plant_entry(at(roll, place), 1, command).await;
    }
    world
        .plant_seal(at(roll, place + 1), &leader(1, 1), None)
        .await
}

/// Roll 0: a, b, c. Roll 1: d, e. Roll 2, not sealed: f.
async fn world_of_three_rolls() -> World {
    let world = World::new();
    let prev = plant_roll(&world, 0, &["a", "b", "c"], None).await;
    let prev = plant_roll(&world, 1, &["d", "e"], Some(prev)).await;
    world.plant_head(2, &leader(1, 1), Some(prev)).await;
    world.plant_entry(at(2, 1), 1, "f").await;
    world
}

async fn write(world: &World, roll: u64, commands: &[&str]) {
    let snapshot = HandedSnapshot {
        roll: RollNumber::new(roll),
        parts: log_of(commands).snapshot(),
    };
    let written = write_snapshot(&world.reader(), &world.env, snapshot).await;
    assert!(written.is_ok());
}

fn whole() -> Log {
    log_of(&["a", "b", "c", "d", "e", "f"])
}

async fn try_open(world: &World, address: String) -> Result<Follower<Log>, ReplayError> {
    let parts = JournalParts {
        bucket: Arc::new(world.faulty.clone()),
        env: world.env.clone(),
        cluster: CLUSTER,
    };
    let identity = JournalIdentity {
        address,
        ..world.identity("")
    };
    Journal::open(parts, identity, JournalConfig::default()).await
}

async fn refusal(world: &World) -> ReplayError {
    try_open(world, String::new()).await.unwrap_err()
}

fn missing_verdicts(roll: u64, times: u64) -> FaultRule {
    let key = at(roll + 1, 0).key(CLUSTER);
    FaultRule::new(Fault::Missing)
        .on(Operation::Get)
        .key_containing(key.as_str())
        .times(times)
}

#[tokio::test(start_paused = true)]
async fn a_cold_reader_reads_every_roll_from_the_first() {
    let world = world_of_three_rolls().await;

    let follower = world.open("cold").await;

    assert_eq!(*follower.state(), whole());
    assert_eq!(follower.leader(), Some(&leader(1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_cold_reader_begins_at_the_newest_snapshot() {
    let world = world_of_three_rolls().await;
    write(&world, 1, &["a", "b", "c"]).await;
    write(&world, 2, &["a", "b", "c", "d", "e"]).await;

    let follower = world.open("cold").await;

    assert_eq!(*follower.state(), whole());
    let below = world.faulty.requests().into_iter();
    let below = below.filter(|(_, key)| key.as_str().contains("/journal/0000000000000000"));
    assert_eq!(below.count(), 0, "nothing below it is read");
}

#[tokio::test(start_paused = true)]
async fn an_idle_look_costs_two_gets_and_nothing_else() {
    let world = world_of_three_rolls().await;
    let mut follower = world.open("standby").await;
    let before = world.faulty.requests().len();

    follower.catch_up().await.unwrap();

    let requests = world.faulty.requests().split_off(before);
    let wanted = [at(3, 0), at(2, 2)].map(|place| (Operation::Get, place.key(CLUSTER)));
    assert_eq!(requests, wanted);
}

#[tokio::test(start_paused = true)]
async fn nothing_beyond_a_missing_place_is_applied_until_it_is_there() {
    let world = world_of_three_rolls().await;
    world.plant_entry(at(2, 3), 1, "h").await;
    let mut follower = world.open("standby").await;
    assert_eq!(*follower.state(), whole());

    world.plant_entry(at(2, 2), 1, "g").await;
    follower.catch_up().await.unwrap();

    let tail = &follower.state().commands[6..];
    assert_eq!(tail, ["g", "h"]);
}

#[tokio::test(start_paused = true)]
async fn rolls_longer_than_any_window_are_read_in_order() {
    let world = World::new();
    let count = REPLAY_READS_MAX * 3 + 1;
    let commands: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let prev = plant_roll(&world, 0, &commands, None).await;
    let unsealed = world.open("before the verdict").await;
    world.plant_head(1, &leader(1, 1), Some(prev)).await;

    let sealed = world.open("behind the verdict").await;

    assert_eq!(*unsealed.state(), log_of(&commands));
    assert_eq!(*sealed.state(), log_of(&commands));
}

#[tokio::test(start_paused = true)]
async fn an_empty_listing_is_no_damage_and_the_way_up_finds_the_snapshot() {
    let world = world_of_three_rolls().await;
    write(&world, 2, &["a", "b", "c", "d", "e"]).await;
    for place in [at(0, 1), at(0, 2), at(0, 3), at(1, 1), at(1, 2)] {
        world.delete(place).await;
    }
    world
        .faulty
        .add(FaultRule::new(Fault::Missing).on(Operation::List));

    let follower = world.open("cold").await;

    assert_eq!(*follower.state(), whole());
    assert!(world.faulty.struck() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_listed_snapshot_that_is_gone_leads_up_to_a_later_one() {
    let world = world_of_three_rolls().await;
    write(&world, 1, &["a", "b", "c"]).await;
    for place in [at(0, 1), at(0, 2), at(0, 3), at(1, 1), at(1, 2)] {
        world.delete(place).await;
    }
    // The listing is old: it shows the snapshot of roll 1 alone, which is collected meanwhile.
    let gone = ObjectKey::snapshot_done(CLUSTER, 1);
    let rule = FaultRule::new(Fault::Missing).on(Operation::Get);
    world.faulty.add(rule.key_containing(gone.as_str()));
    let newest = ObjectKey::snapshot_done(CLUSTER, 2);
    let listed = refuse_then_write(&world, &newest).await;

    assert_eq!(*listed.state(), whole());
}

/// Opens a follower whose listing happens before the snapshot of roll 2 is written.
async fn refuse_then_write(world: &World, newest: &ObjectKey) -> Follower<Log> {
    let gate = esker_object::Gate::new();
    let after_list = FaultRule::new(Fault::GateAfter(gate.clone())).on(Operation::List);
    world.faulty.add(after_list.times(1));
    let opened = world.open("cold");
    let meanwhile = async {
        gate.arrived(1).await;
        write(world, 2, &["a", "b", "c", "d", "e"]).await;
        assert!(world.holds(newest).await);
        gate.open();
    };
    futures::future::join(opened, meanwhile).await.0
}

#[tokio::test(start_paused = true)]
async fn a_listing_never_proves_damage() {
    let world = world_of_three_rolls().await;
    // A listed snapshot that is no use, and nothing above it: the entries are all there.
    let key = ObjectKey::snapshot_done(CLUSTER, 2);
    world.plant(&key, Bytes::from_static(b"rotten")).await;

    let follower = world.open("cold").await;

    assert_eq!(*follower.state(), whole());
}

#[tokio::test(start_paused = true)]
async fn collected_entries_without_any_usable_snapshot_are_damage() {
    let world = world_of_three_rolls().await;
    world.delete(at(0, 2)).await;

    let outcome = refusal(&world).await;

    assert!(matches!(outcome, ReplayError::Damaged { roll } if roll == RollNumber::new(3)));
    assert!(!outcome.is_passing());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_too_old_looks_upwards_only() {
    let world = World::new();
    let prev = plant_roll(&world, 0, &["a", "b", "c"], None).await;
    world.plant_head(1, &leader(1, 1), Some(prev)).await;
    let mut follower = world.open("old").await;
    for (place, command) in [(1, "d"), (2, "e")] {
        world.plant_entry(at(1, place), 1, command).await;
    }
    let prev = world.plant_seal(at(1, 3), &leader(1, 1), None).await;
    world.plant_head(2, &leader(1, 1), Some(prev)).await;
    world.plant_entry(at(2, 1), 1, "f").await;
    write(&world, 1, &["a", "b", "c"]).await;
    write(&world, 2, &["a", "b", "c", "d", "e"]).await;
    for place in [at(1, 1), at(1, 2)] {
        world.delete(place).await;
    }
    // The snapshot of roll 1 is still there, though of no use any more.
    let before = world.faulty.requests().len();

    follower.catch_up().await.unwrap();

    assert_eq!(*follower.state(), whole());
    let requests = world.faulty.requests().split_off(before);
    let used: Vec<_> = requests
        .iter()
        .filter(|(_, key)| key.class() == KeyClass::Snapshot)
        .collect();
    let of_roll_2 =
        |(_, key): &&&(Operation, ObjectKey)| key.as_str().contains("/snapshots/0000000000000002/");
    assert_eq!(used.iter().filter(of_roll_2).count(), used.len());
    assert!(!used.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_missing_place_older_than_the_verdict_proves_nothing() {
    let world = world_of_three_rolls().await;
    world.faulty.add(missing_verdicts(2, 1));
    let mut follower = world.open("slow").await;
    // Roll 2 goes on, ends, and is collected, while the follower looks with an old answer in hand.
    world.plant_entry(at(2, 2), 1, "g").await;
    let prev = world.plant_seal(at(2, 3), &leader(1, 1), None).await;
    world.plant_head(3, &leader(1, 1), Some(prev)).await;
    write(&world, 3, &["a", "b", "c", "d", "e", "f", "g"]).await;
    for place in [at(2, 1), at(2, 2)] {
        world.delete(place).await;
    }
    world.faulty.heal();
    world.faulty.add(missing_verdicts(2, 1));

    follower.catch_up().await.unwrap();
    assert_eq!(*follower.state(), whole(), "the end, for now");
    follower.catch_up().await.unwrap();

    assert_eq!(follower.state().commands.len(), 7);
    assert_eq!(world.faulty.struck(), 2);
}

/// Roll 2 was followed up to `f`. Then `g` and `h` came, roll 3 began, all is collected, and a
/// stale challenger has put its seal on the collected place of `g`.
async fn world_with_a_stray_seal() -> (World, Follower<Log>) {
    let world = world_of_three_rolls().await;
    let follower = world.open("old").await;
    for (place, command) in [(2, "g"), (3, "h")] {
        world.plant_entry(at(2, place), 1, command).await;
    }
    let prev = world.plant_seal(at(2, 4), &leader(1, 1), None).await;
    world.plant_head(3, &leader(1, 1), Some(prev)).await;
    write(&world, 3, &["a", "b", "c", "d", "e", "f", "g", "h"]).await;
    for place in [at(2, 1), at(2, 2), at(2, 3)] {
        world.delete(place).await;
    }
    let _ = world.plant_seal(at(2, 2), &leader(9, 2), None).await;
    (world, follower)
}

#[tokio::test(start_paused = true)]
async fn a_stray_seal_among_the_entries_of_an_ended_roll_means_too_old() {
    let (_world, mut follower) = world_with_a_stray_seal().await;

    follower.catch_up().await.unwrap();

    assert_eq!(follower.state().commands.len(), 8);
    assert_eq!(follower.leader(), Some(&leader(1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_seal_met_on_the_way_counts_only_if_the_verdict_names_it() {
    let (world, mut follower) = world_with_a_stray_seal().await;
    world.faulty.add(missing_verdicts(2, 1));

    follower.catch_up().await.unwrap();

    assert_eq!(follower.state().commands.len(), 8);
    assert_eq!(world.faulty.struck(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_seal_met_before_any_verdict_is_dropped_when_the_verdict_names_another() {
    let (world, mut follower) = world_with_a_stray_seal().await;
    world.faulty.add(missing_verdicts(2, 2));

    follower.catch_up().await.unwrap();
    let announced = follower.leader().cloned();
    follower.catch_up().await.unwrap();

    assert_eq!(announced, Some(leader(9, 2)), "for a while it was believed");
    assert_eq!(follower.state().commands.len(), 8);
    assert_eq!(follower.leader(), Some(&leader(1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_roll_whose_owner_never_came_is_passed_over() {
    let world = World::new();
    world.plant_head(0, &leader(1, 1), None).await;
    world.plant_entry(at(0, 1), 1, "a").await;
    let prev = world.plant_seal(at(0, 2), &leader(2, 2), None).await;
    let mut follower = world.open("standby").await;
    assert_eq!(follower.leader(), Some(&leader(2, 2)), "announced");
    let prev = world.plant_seal(at(1, 0), &leader(3, 3), Some(prev)).await;
    follower.catch_up().await.unwrap();
    assert_eq!(follower.leader(), Some(&leader(3, 3)));
    world.plant_head(2, &leader(3, 3), Some(prev)).await;
    world.plant_entry(at(2, 1), 3, "b").await;

    follower.catch_up().await.unwrap();

    let cold = world.open("cold").await;
    assert_eq!(*follower.state(), log_of(&["a", "b"]));
    assert_eq!(cold.state(), follower.state());
}

#[tokio::test(start_paused = true)]
async fn objects_that_contradict_each_other_stop_the_reader() {
    let is_contradiction = |outcome| matches!(outcome, ReplayError::Contradiction { .. });

    // An entry of another epoch than its roll.
    let world = world_of_three_rolls().await;
    world.plant_entry(at(2, 2), 9, "g").await;
    assert!(is_contradiction(refusal(&world).await));

    // A head of a lower epoch than the roll before.
    let world = World::new();
    world.plant_head(0, &leader(1, 5), None).await;
    let prev = world.plant_seal(at(0, 1), &leader(2, 6), None).await;
    world.plant_head(1, &leader(2, 4), Some(prev)).await;
    assert!(is_contradiction(refusal(&world).await));

    // A head by somebody whom the seal does not name.
    let world = World::new();
    world.plant_head(0, &leader(1, 1), None).await;
    let prev = world.plant_seal(at(0, 1), &leader(2, 2), None).await;
    world.plant_head(1, &leader(3, 2), Some(prev)).await;
    world.faulty.add(missing_verdicts(0, 1));
    assert!(is_contradiction(refusal(&world).await));

    // A roll that ends below entries that were read.
    let world = world_of_three_rolls().await;
    let mut follower = world.open("standby").await;
    world.plant_entry(at(2, 2), 1, "g").await;
    follower.catch_up().await.unwrap();
    let prev = SealRef {
        place: Place::FIRST_ENTRY,
        write_id: world.env.rng.write_id(),
    };
    world.plant_head(3, &leader(1, 1), Some(prev)).await;
    assert!(is_contradiction(follower.catch_up().await.unwrap_err()));
}

#[tokio::test(start_paused = true)]
async fn a_command_of_an_unknown_version_stops_the_reader_each_time() {
    let world = world_of_three_rolls().await;
    let mut follower = world.open("standby").await;
    world.plant_entry(at(2, 2), 1, "unreadable").await;

    let first = follower.catch_up().await.unwrap_err();
    let second = follower.catch_up().await.unwrap_err();

    for outcome in [first, second] {
        assert!(matches!(outcome, ReplayError::Command { roll, .. } if roll == RollNumber::new(2)));
    }
    assert_eq!(
        *follower.state(),
        Log::default(),
        "a half-read state is dropped"
    );
}

#[tokio::test(start_paused = true)]
async fn another_clusters_object_and_a_newer_snapshot_stop_the_reader() {
    let world = world_of_three_rolls().await;
    let stranger = esker_types::ClusterId::from_bytes([9; 16]);
    let head = crate::object::Head {
        roll: RollNumber::new(3),
        leader: leader(1, 1),
        prev: Some(crate::fixtures::seal_ref(2, 2)),
    };
    let object = head.encode(stranger, world.env.rng.write_id());
    world.plant(&at(3, 0).key(CLUSTER), object).await;
    let other = refusal(&world).await;

    let world = world_of_three_rolls().await;
    write(&world, 2, &["a"]).await;
    let key = ObjectKey::snapshot_done(CLUSTER, 2);
    let done = esker_object::Bucket::get(&world.memory, &key, esker_object::ReadRange::Full).await;
    let mut future = done.unwrap().unwrap().bytes.to_vec();
    future[4] = 2; // the version of the header
    esker_object::Bucket::delete(&world.memory, &key)
        .await
        .unwrap();
    world.plant(&key, Bytes::from(future)).await;
    let newer = refusal(&world).await;

    assert!(matches!(
        other,
        ReplayError::Object {
            source: DecodeError::OtherCluster { .. },
            ..
        }
    ));
    assert!(matches!(
        newer,
        ReplayError::Object {
            source: DecodeError::Header(_),
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn an_object_written_for_another_place_is_refused() {
    let world = world_of_three_rolls().await;
    let entry = Entry {
        at: at(2, 9),
        epoch: esker_types::SequencerEpoch::FIRST,
        commands: vec![Bytes::new()],
    };
    let object = entry.encode(CLUSTER, world.env.rng.write_id());
    world.plant(&at(2, 2).key(CLUSTER), object).await;

    let outcome = refusal(&world).await;

    assert!(matches!(
        outcome,
        ReplayError::Object {
            source: DecodeError::Misplaced,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_bit_that_flips_on_the_way_is_read_again() {
    let world = world_of_three_rolls().await;
    let rule = FaultRule::new(Fault::Flip).on(Operation::Get);
    let reads = u64::from(crate::limits::UNREADABLE_READS_MAX);
    world.faulty.add(rule.clone().times(reads - 1));
    assert_eq!(*world.open("lucky").await.state(), whole());
    world.faulty.heal();
    world.faulty.add(rule.times(reads));

    let outcome = refusal(&world).await;

    assert!(matches!(outcome, ReplayError::Object { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_empty_bucket_has_no_leader_and_a_bucket_without_its_first_head_is_refused() {
    let world = World::new();
    let follower = world.open("first").await;
    assert_eq!(follower.leader(), None);

    let key = ObjectKey::snapshot_done(CLUSTER, 3);
    world.plant(&key, Bytes::from_static(b"left over")).await;
    let snapshot_only = refusal(&world).await;

    let world = world_of_three_rolls().await;
    world.delete(at(0, 0)).await;
    let headless = refusal(&world).await;

    assert!(matches!(snapshot_only, ReplayError::Incomplete));
    assert!(matches!(headless, ReplayError::Incomplete));
}

#[tokio::test(start_paused = true)]
async fn a_first_head_that_appears_while_we_look_is_no_missing_part() {
    let world = world_of_three_rolls().await;
    let key = at(0, 0).key(CLUSTER);
    let rule = FaultRule::new(Fault::Missing).on(Operation::Get);
    world.faulty.add(rule.key_containing(key.as_str()).times(1));

    let follower = world.open("second").await;

    assert_eq!(*follower.state(), whole());
    assert_eq!(world.faulty.struck(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_and_an_address_that_is_too_long_are_told_apart() {
    let world = world_of_three_rolls().await;
    let passing = FaultRule::new(Fault::FailBefore(StoreErrorKind::Exhausted)).times(1);
    world.faulty.add(passing);

    let store = refusal(&world).await;
    let address = "a".repeat(ADDRESS_BYTES_MAX + 1);
    let too_long = try_open(&world, address).await.unwrap_err();

    assert!(matches!(store, ReplayError::Store(_)) && store.is_passing());
    assert!(matches!(
        too_long,
        ReplayError::Address {
            address_bytes: 1025
        }
    ));
    assert!(!too_long.is_passing());
}
