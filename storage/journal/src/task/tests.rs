//! The leader's loop against lost replies, hangs, challengers and stops.

use std::time::Duration;

use bytes::Bytes;
use esker_object::{Fault, FaultRule, FaultyBucket, Gate, KeyClass, Operation, StoreErrorKind};
use futures::FutureExt as _;

use super::*;
use crate::error::AppendError;
use crate::fixtures::{CLUSTER, World, at, leader, log_of, won};
use crate::state::JournalState;
use crate::writer::HandedSnapshot;
use crate::{RollNumber, SnapshotRefused};

fn config() -> JournalConfig {
    JournalConfig::default()
}

/// More than any entry of these tests has bytes.
const ENTRY_WEIGHT: u64 = 1 << 20;

/// A snapshot is due after two entries; no other rolls.
fn snapshots_often() -> JournalConfig {
    JournalConfig {
        snapshot_weight_min: 2 * ENTRY_WEIGHT,
        entry_weight_min: ENTRY_WEIGHT,
        roll_entries_max: 2,
        collection_grace: Duration::from_secs(60),
        ..config()
    }
}

fn puts(bucket: &FaultyBucket) -> usize {
    bucket.count(Operation::Put, KeyClass::Journal)
}

fn gets(bucket: &FaultyBucket) -> usize {
    bucket.count(Operation::Get, KeyClass::Journal)
}

fn on_put(fault: Fault) -> FaultRule {
    FaultRule::new(fault).on(Operation::Put)
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_commands_makes_no_request() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    assert_eq!(journal.next().await, "roll 0");
    journal.write("a").await;
    let before = world.faulty.requests().len();

    assert!(journal.is_silent().await);

    assert_eq!(world.faulty.requests().len(), before);
    journal.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_is_told_when_its_place_is_known_and_not_before() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    assert_eq!(journal.next().await, "roll 0");
    let gate = Gate::new();
    world.faulty.add(on_put(Fault::GateAfter(gate.clone())));
    journal.append("a").await;

    assert!(journal.is_silent().await, "the store has not answered");

    assert_eq!(journal.writer.stats().places_in_flight, 1);
    assert!(world.holds(&at(0, 1).key(CLUSTER)).await);
    gate.open();
    assert_eq!(journal.next().await, "0 a");
    journal.stop().await;
}

#[tokio::test(start_paused = true)]
async fn answers_leave_in_append_order_whatever_the_store_does_first() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    assert_eq!(journal.next().await, "roll 0");
    let gate = Gate::new();
    let first = on_put(Fault::GateBefore(gate.clone()));
    world
        .faulty
        .add(first.key_containing(at(0, 1).key(CLUSTER).as_str()));
    journal.append("a").await;
    gate.arrived(1).await;
    journal.append("b").await;

    assert!(journal.is_silent().await);

    assert!(
        world.holds(&at(0, 2).key(CLUSTER)).await,
        "b is there, but not durable"
    );
    gate.open();
    assert_eq!(journal.next().await, "0 a");
    assert_eq!(journal.next().await, "1 b");
    journal.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_put_is_repeated_with_the_same_bytes_until_its_outcome_is_known() {
    for fault in [
        Fault::FailBefore(StoreErrorKind::Retry),
        Fault::FailAfter(StoreErrorKind::Retry),
        Fault::Refuse(StoreErrorKind::Throttled),
        Fault::Conflict,
        Fault::Hold,
        Fault::FalseExists,
    ] {
        let world = World::new();
        let mut journal = world.lead("leader", config()).await;
        assert_eq!(journal.next().await, "roll 0");
        world.faulty.add(on_put(fault).times(3));

        journal.append("a").await;
        journal.append("b").await;

        assert_eq!(journal.next().await, "0 a");
        assert_eq!(journal.next().await, "1 b");
        let key = at(0, 1).key(CLUSTER);
        let puts = world.recorder.puts().into_iter();
        let mut bodies: Vec<Bytes> = puts
            .filter(|(put, _)| *put == key)
            .map(|(_, body)| body)
            .collect();
        assert!(bodies.len() >= 2 && world.faulty.struck() == 3);
        bodies.dedup();
        assert_eq!(bodies.len(), 1, "J1: the same bytes at the same key");
        let _ = world.faulty.release_held().await;
        journal.stop().await;
        let cold = world.open("cold").await;
        assert_eq!(*cold.state(), log_of(&["a", "b"]), "once each");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_who_was_replaced_hears_it_at_its_next_append() {
    let world = World::new();
    let mut old = world.lead("old", config()).await;
    assert_eq!(old.next().await, "roll 0");
    old.write("a").await;
    let mut new = world.lead("new", config()).await;
    assert_eq!(new.next().await, "roll 1");

    old.append("b").await;

    assert_eq!(old.next().await, "deposed by new");
    assert_eq!(old.next().await, "end");
    let after = old.writer.append(Bytes::from_static(b"c")).await;
    assert_eq!(after, Err(AppendError::Closed));
    assert_eq!(
        old.writer.epoch_check().await,
        Err(EpochCheckError::Deposed)
    );
    new.write("d").await;
    assert_eq!(new.state, log_of(&["a", "d"]));
    new.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_became_durable_unheard_is_told_neither_way() {
    let world = World::new();
    let mut old = world.lead("old", config()).await;
    assert_eq!(old.next().await, "roll 0");
    // Place 1 is written but its answer is late; place 2 is sealed by the challenger.
    let slow = Gate::new();
    let late = on_put(Fault::GateAfter(slow.clone()));
    world
        .faulty
        .add(late.key_containing(at(0, 1).key(CLUSTER).as_str()));
    old.append("a").await;
    slow.arrived(1).await;
    let mut new = world.lead("new", config()).await;

    old.append("b").await;

    assert_eq!(old.next().await, "deposed by new", "no word of a or b");
    slow.open();
    assert_eq!(old.next().await, "end");
    assert_eq!(new.next().await, "roll 1");
    assert_eq!(new.state, log_of(&["a"]), "it is durable all the same");
    new.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hangs_is_taken_over_and_its_late_puts_change_nothing() {
    let world = World::new();
    let mut old = world.lead("old", config()).await;
    old.write("a").await;
    let gate = Gate::new();
    world
        .faulty
        .add(on_put(Fault::GateBefore(gate.clone())).times(4));
    for command in ["b", "c", "d", "e"] {
        old.append(command).await;
        world.env.clock.sleep(Duration::from_millis(5)).await;
    }
    gate.arrived(4).await;
    let mut new = world.lead("new", config()).await;
    new.write("f").await;

    gate.open();

    assert_eq!(old.next().await, "deposed by new");
    let cold = world.open("cold").await;
    assert_eq!(*cold.state(), log_of(&["a", "f"]));
    new.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_leader_answers_many_questions_with_one_get() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    journal.write("a").await;
    let (before_gets, before) = (gets(&world.faulty), world.faulty.requests().len());

    let questions = (0..100).map(|_| journal.writer.epoch_check());
    let answers = futures::future::join_all(questions).await;

    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(gets(&world.faulty) - before_gets, 1);
    assert_eq!(world.faulty.requests().len() - before, 1);
    journal.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_leader_answers_questions_without_a_get() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    journal.write("a").await;
    let before = gets(&world.faulty);
    journal.append("b").await;

    let answer = journal.writer.epoch_check().await;

    assert_eq!(answer, Ok(()));
    assert_eq!(gets(&world.faulty), before);
    assert_eq!(journal.next().await, "1 b");
    journal.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deposed_leader_that_never_writes_learns_it_from_the_check() {
    let world = World::new();
    let mut old = world.lead("old", config()).await;
    assert_eq!(old.next().await, "roll 0");
    assert_eq!(old.writer.epoch_check().await, Ok(()));
    let new = world.lead("new", config()).await;

    let answer = old.writer.epoch_check().await;

    assert_eq!(answer, Err(EpochCheckError::Deposed));
    assert_eq!(old.next().await, "deposed by new");
    new.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_check_waits_for_a_silent_store_and_stops_at_one_that_refuses() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    assert_eq!(journal.next().await, "roll 0");
    let passing = FaultRule::new(Fault::FailBefore(StoreErrorKind::Exhausted));
    world.faulty.add(passing.on(Operation::Get).times(5));

    let waited = journal.writer.epoch_check().await;

    assert_eq!(waited, Ok(()));
    assert_eq!(world.faulty.struck(), 5);
    let denied = FaultRule::new(Fault::Refuse(StoreErrorKind::Denied));
    world.faulty.add(denied.on(Operation::Get));
    let refused = journal.writer.epoch_check().await;
    assert_eq!(refused, Err(EpochCheckError::Closed));
    let event = journal.events.next().await;
    assert!(matches!(
        event,
        Some(JournalEvent::Failed {
            reason: JournalFailure::Look(ReplayError::Store(_))
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_a_put_ends_the_journal_with_the_reason() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    assert_eq!(journal.next().await, "roll 0");
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Denied)));

    journal.append("a").await;

    let event = journal.events.next().await;
    assert!(matches!(
        event,
        Some(JournalEvent::Failed {
            reason: JournalFailure::Settle(_)
        })
    ));
    assert_eq!(journal.next().await, "end");
    assert_eq!(
        journal.writer.epoch_check().await,
        Err(EpochCheckError::Closed)
    );
}

#[tokio::test(start_paused = true)]
async fn rights_that_return_within_the_limit_cost_the_journal_nothing_but_the_wait() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    assert_eq!(journal.next().await, "roll 0");
    let clock = world.env.clock.clone();
    let denied = FaultRule::new(Fault::Refuse(StoreErrorKind::Denied));
    world.faulty.add(denied.clone().on(Operation::Put));
    world.faulty.add(denied.on(Operation::Get));
    let margin = Duration::from_secs(3);

    let check = journal.writer.epoch_check();
    let rights = async {
        clock.sleep(DENIED_MAX.saturating_sub(margin)).await;
        world.faulty.heal();
    };
    let (checked, ()) = futures::join!(check, rights);
    let denied = FaultRule::new(Fault::Refuse(StoreErrorKind::Denied));
    world.faulty.add(denied.on(Operation::Put));
    journal.append("a").await;
    journal.append("b").await;
    clock.sleep(DENIED_MAX.saturating_sub(margin)).await;
    let meanwhile = journal.events.next().now_or_never();
    world.faulty.heal();

    assert_eq!(checked, Ok(()));
    assert!(
        meanwhile.is_none(),
        "nothing is durable, nothing has failed"
    );
    assert_eq!(journal.next().await, "0 a");
    assert_eq!(journal.next().await, "1 b");
}

#[tokio::test(start_paused = true)]
async fn rights_that_do_not_return_end_the_journal_at_the_limit() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    assert_eq!(journal.next().await, "roll 0");
    let denied = on_put(Fault::Refuse(StoreErrorKind::Denied));
    world.faulty.add(denied);
    let start = world.env.clock.now();

    journal.append("a").await;
    let event = journal.events.next().await;

    let took = world.env.clock.now().since(start);
    assert!(
        took >= DENIED_MAX && took < DENIED_MAX + Duration::from_secs(3),
        "{took:?}"
    );
    let failed = matches!(
        event,
        Some(JournalEvent::Failed {
            reason: JournalFailure::Settle(error)
        }) if !error.is_in_doubt()
    );
    assert!(failed, "a refusal is a definite not done");
}

#[tokio::test(start_paused = true)]
async fn a_full_store_makes_commands_wait_and_loses_none() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    assert_eq!(journal.next().await, "roll 0");
    let full = on_put(Fault::Refuse(StoreErrorKind::Full)).times(5);
    world.faulty.add(full);

    journal.append("a").await;
    journal.append("b").await;

    assert_eq!(journal.next().await, "0 a");
    assert_eq!(journal.next().await, "1 b");
    assert_eq!(world.faulty.struck(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_entry_of_somebody_else_at_our_place_stops_the_journal() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    assert_eq!(journal.next().await, "roll 0");
    world.plant_entry(at(0, 1), 1, "whose?").await;

    journal.append("a").await;

    let event = journal.events.next().await;
    let Some(JournalEvent::Failed {
        reason: JournalFailure::ForeignObject { key },
    }) = event
    else {
        panic!("not stopped: {event:?}");
    };
    assert_eq!(key, at(0, 1).key(CLUSTER));
}

#[tokio::test(start_paused = true)]
async fn a_roll_costs_two_puts_and_a_snapshot_shows_the_state_at_its_start() {
    let world = World::new();
    let mut journal = world.lead("leader", snapshots_often()).await;
    assert_eq!(journal.next().await, "roll 0");
    let before = puts(&world.faulty);
    for command in ["a", "b"] {
        journal.write(command).await;
    }
    journal.append("c").await;
    assert_eq!(journal.next().await, "roll 1 snapshot");
    let parts = journal.state.snapshot();
    let part_count = parts.len();
    // The command of roll 1 is durable before the snapshot is even handed in.
    assert_eq!(journal.next().await, "2 c");

    let roll = RollNumber::new(1);
    journal.writer.snapshot(roll, parts).unwrap();
    world.env.clock.sleep(Duration::from_secs(1)).await;

    let read = crate::snapshot::read_snapshot(&world.reader(), roll).await;
    let restored = crate::fixtures::Log::restore(&read.unwrap().unwrap().parts);
    assert_eq!(restored.unwrap(), log_of(&["a", "b"]), "nothing of roll 1");
    assert_eq!(
        puts(&world.faulty) - before,
        3 + 2,
        "three entries, seal and head"
    );
    let snapshot_puts = world.faulty.count(Operation::Put, KeyClass::Snapshot);
    assert_eq!(snapshot_puts, part_count + 1);
    journal.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_collected_before_the_snapshot_is_whole_and_the_grace_is_over() {
    let world = World::new();
    let mut journal = world.lead("leader", snapshots_often()).await;
    let gate = Gate::new();
    let late = on_put(Fault::GateBefore(gate.clone())).key_containing("/done");
    world.faulty.add(late);
    journal.write("a").await;
    journal.write("b").await;
    assert_eq!(journal.next().await, "roll 1 snapshot");
    let parts = journal.state.snapshot();
    journal.writer.snapshot(RollNumber::new(1), parts).unwrap();
    gate.arrived(1).await;
    let deletions = || world.faulty.count(Operation::Delete, KeyClass::Journal);

    assert!(journal.is_silent().await);
    assert_eq!(deletions(), 0, "the list of parts is not written");
    gate.open();
    world.env.clock.sleep(Duration::from_secs(59)).await;
    assert_eq!(deletions(), 0, "slow readers are spared");
    world.env.clock.sleep(Duration::from_secs(2)).await;

    assert_eq!(deletions(), 2);
    let stats = journal.writer.stats();
    assert_eq!((stats.commands, stats.rolls), (2, 2));
    assert_eq!((stats.places, stats.places_in_flight), (4, 0));
    assert_eq!((stats.snapshots, stats.collections), (1, 1));
    for place in [at(0, 0), at(0, 3), at(1, 0)] {
        assert!(world.holds(&place.key(CLUSTER)).await, "{place}");
    }
    journal.stop().await;
    assert_eq!(*world.open("cold").await.state(), log_of(&["a", "b"]));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_fails_is_asked_for_again_and_hurts_no_append() {
    let world = World::new();
    let mut journal = world.lead("leader", snapshots_often()).await;
    let denied = on_put(Fault::Refuse(StoreErrorKind::Denied)).class(KeyClass::Snapshot);
    world.faulty.add(denied.times(1));
    for command in ["a", "b"] {
        journal.write(command).await;
    }
    assert_eq!(journal.next().await, "roll 1 snapshot");
    let parts = journal.state.snapshot();
    journal.writer.snapshot(RollNumber::new(1), parts).unwrap();
    world.env.clock.sleep(Duration::from_secs(1)).await;

    for command in ["c", "d"] {
        journal.write(command).await;
    }

    assert_eq!(journal.next().await, "roll 2 snapshot");
    assert_eq!(world.faulty.struck(), 1);
    journal.stop().await;
}

#[tokio::test(start_paused = true)]
async fn only_the_snapshot_that_was_asked_for_is_taken_and_only_once() {
    let world = World::new();
    let mut journal = world.lead("leader", snapshots_often()).await;
    let refused = |roll| {
        Err(SnapshotRefused::NotWanted {
            roll: RollNumber::new(roll),
        })
    };
    let hand_in = |roll| journal.writer.snapshot(RollNumber::new(roll), Vec::new());
    assert_eq!(hand_in(0), refused(0));
    for command in ["a", "b"] {
        journal.write(command).await;
    }
    assert_eq!(journal.next().await, "roll 1 snapshot");
    let hand_in = |roll| journal.writer.snapshot(RollNumber::new(roll), Vec::new());

    assert_eq!(hand_in(2), refused(2));
    assert_eq!(hand_in(1), Ok(()));
    assert_eq!(hand_in(1), refused(1));

    let writer = journal.writer.clone();
    journal.stop().await;
    let after = writer.snapshot(RollNumber::new(1), Vec::new());
    assert_eq!(after, Err(SnapshotRefused::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_counts_what_it_replayed_towards_the_next_snapshot() {
    let world = World::new();
    let long = JournalConfig {
        roll_entries_max: 100,
        snapshot_weight_min: 3 * ENTRY_WEIGHT,
        entry_weight_min: ENTRY_WEIGHT,
        ..config()
    };
    world.plant_head(0, &leader(1, 1), None).await;
    for place in 1..=3 {
        world.plant_entry(at(0, place), 1, "command").await;
    }

    let mut journal = world.lead("new", long).await;

    assert_eq!(journal.next().await, "roll 1 snapshot");
    journal.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_what_was_taken_become_durable_and_refuses_the_rest() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    assert_eq!(journal.next().await, "roll 0");
    world
        .faulty
        .add(on_put(Fault::Slow(Duration::from_secs(5))));
    journal.append("a").await;
    let writer = journal.writer.clone();

    journal.stop.request();

    assert_eq!(journal.next().await, "0 a");
    assert_eq!(journal.next().await, "end");
    let after = writer.append(Bytes::from_static(b"b")).await;
    assert_eq!(after, Err(AppendError::Closed));
    assert_eq!(writer.epoch_check().await, Err(EpochCheckError::Closed));
    assert!(journal.tasks.join_all().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_bounded_though_the_store_hangs() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    assert_eq!(journal.next().await, "roll 0");
    world.faulty.add(on_put(Fault::HangBefore));
    journal.append("a").await;
    let start = world.env.clock.now();

    journal.stop.request();

    assert_eq!(journal.next().await, "end", "a is unknown, not failed");
    let waited = world.env.clock.now().since(start);
    assert!(waited >= config().drain_timeout && waited < config().drain_timeout * 2);
}

#[tokio::test(start_paused = true)]
async fn a_seal_met_during_a_stop_still_deposes() {
    let world = World::new();
    let mut old = world.lead("old", config()).await;
    assert_eq!(old.next().await, "roll 0");
    let new = world.lead("new", config()).await;
    old.append("a").await;

    old.stop.request();

    assert_eq!(old.next().await, "deposed by new");
    new.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_who_listens_no_more_ends_the_journal() {
    let world = World::new();
    let journal = world.lead("leader", config()).await;
    drop(journal.events);

    let _ = journal.writer.append(Bytes::from_static(b"a")).await;

    assert!(journal.tasks.join_all().await.is_ok());
    assert_eq!(
        journal.writer.epoch_check().await,
        Err(EpochCheckError::Closed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_never_ran_or_was_aborted_closes_the_writer() {
    let world = World::new();
    let follower = world.open("leader").await;
    let leadership = won(follower.take_over().await.unwrap());

    drop(leadership.task);

    let after = leadership.writer.append(Bytes::from_static(b"a")).await;
    assert_eq!(after, Err(AppendError::Closed));
    let check = leadership.writer.epoch_check().await;
    assert_eq!(check, Err(EpochCheckError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_panic_behind_the_loop_reaches_the_owner() {
    let world = World::new();
    let follower = world.open("leader").await;
    let mut leadership = won(follower.take_over().await.unwrap());
    // There is no snapshot 0: writing one is a mistake of ours.
    let (roll, parts) = (RollNumber::FIRST, Vec::new());
    leadership
        .task
        .background
        .write(HandedSnapshot { roll, parts });
    let mut journal = crate::fixtures::Running::start(leadership, world.env.clone());
    assert_eq!(journal.next().await, "roll 0");

    let event = journal.events.next().await;

    assert!(matches!(
        event,
        Some(JournalEvent::Failed {
            reason: JournalFailure::Task(_)
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn who_deposed_us_is_not_waited_for_long() {
    let world = World::new();
    let mut old = world.lead("old", config()).await;
    assert_eq!(old.next().await, "roll 0");
    let new = world.lead("new", config()).await;
    // The first read says that a seal is there; the second, of its names, hangs.
    let hang = FaultRule::new(Fault::HangBefore).on(Operation::Get);
    world.faulty.add(hang.skip(1));
    let start = world.env.clock.now();

    old.append("a").await;

    assert_eq!(old.next().await, "deposed by nobody knows");
    assert!(world.env.clock.now().since(start) < DEPOSED_BY_TIMEOUT * 2);
    world.faulty.heal();
    new.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_sees_only_what_the_bucket_holds() {
    let world = World::new();
    let mut journal = world.lead("leader", config()).await;
    let mut standby = world.open("standby").await;
    let gate = Gate::new();
    let first = on_put(Fault::GateBefore(gate.clone()));
    world
        .faulty
        .add(first.key_containing(at(0, 1).key(CLUSTER).as_str()));
    assert_eq!(journal.next().await, "roll 0");
    journal.append("a").await;
    gate.arrived(1).await;
    journal.append("b").await;
    world.env.clock.sleep(Duration::from_secs(1)).await;

    standby.catch_up().await.unwrap();
    let early = standby.state().clone();
    gate.open();
    assert_eq!(journal.next().await, "0 a");
    standby.catch_up().await.unwrap();

    assert_eq!(early, log_of(&[]), "b is not durable, though it is there");
    assert_eq!(*standby.state(), log_of(&["a", "b"]));
    journal.stop().await;
}
