//! J7: parts before their list, writers never mixed, damage and absence make a snapshot unusable.

use std::time::Duration;

use esker_object::{Fault, FaultRule, Gate, KeyClass, Operation, StoreErrorKind};

use super::*;
use crate::fixtures::{CLUSTER, World};

const ROLL: RollNumber = RollNumber::FIRST;

fn snapshot(parts: &[&'static str]) -> HandedSnapshot {
    HandedSnapshot {
        roll: ROLL.after(),
        parts: parts
            .iter()
            .map(|part| Bytes::from_static(part.as_bytes()))
            .collect(),
    }
}

fn done_key() -> ObjectKey {
    ObjectKey::snapshot_done(CLUSTER, ROLL.after().get())
}

async fn read(world: &World) -> Option<Vec<Bytes>> {
    let read = read_snapshot(&world.reader(), ROLL.after()).await.unwrap();
    read.map(|snapshot| snapshot.parts)
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_reads_back_in_the_order_of_its_parts() {
    let world = World::new();
    let parts = ["a", "bb", "", "c"];

    let bytes = write_snapshot(&world.reader(), &world.env, snapshot(&parts)).await;

    assert_eq!(bytes.unwrap(), 4);
    assert_eq!(read(&world).await.unwrap(), parts);
    assert_eq!(world.faulty.count(Operation::Put, KeyClass::Snapshot), 5);
}

#[tokio::test(start_paused = true)]
async fn the_list_is_not_written_before_every_part_is_known() {
    let world = World::new();
    let gate = Gate::new();
    let held = FaultRule::new(Fault::GateAfter(gate.clone())).key_containing("/00000001");
    world.faulty.add(held);
    let reader = world.reader();
    let write = write_snapshot(&reader, &world.env, snapshot(&["a", "b", "c"]));
    tokio::pin!(write);
    let limit = Duration::from_secs(3600);

    let early = esker_env::timeout(world.env.clock.as_ref(), limit, &mut write).await;

    assert!(early.is_err(), "the outcome of part 1 is not known");
    assert!(!world.holds(&done_key()).await);
    gate.open();
    write.await.unwrap();
    assert!(world.holds(&done_key()).await && world.faulty.struck() == 1);
}

#[tokio::test(start_paused = true)]
async fn parts_of_two_writers_are_never_mixed() {
    let world = World::new();
    let reader = world.reader();
    // The first writer stops behind its parts; the second, with another layout, is whole.
    let refuse = FaultRule::new(Fault::Refuse(StoreErrorKind::Denied))
        .on(Operation::Put)
        .key_containing("/done")
        .times(1);
    world.faulty.add(refuse);
    let first = write_snapshot(&reader, &world.env, snapshot(&["old-1", "old-2", "old-3"])).await;
    assert!(matches!(first, Err(SnapshotFailure::Settle(_))));
    assert_eq!(read(&world).await, None);

    let second = write_snapshot(&reader, &world.env, snapshot(&["new-1", "new-2"])).await;

    assert!(second.is_ok());
    assert_eq!(read(&world).await.unwrap(), ["new-1", "new-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_or_damaged_part_makes_a_snapshot_unusable() {
    let faults = [Fault::Missing, Fault::Flip, Fault::Truncate];
    for fault in faults {
        let world = World::new();
        let written = write_snapshot(&world.reader(), &world.env, snapshot(&["a", "b"])).await;
        assert!(written.is_ok());
        let rule = FaultRule::new(fault).on(Operation::Get);
        world.faulty.add(rule.key_containing("/00000001"));

        assert_eq!(read(&world).await, None);

        assert!(world.faulty.struck() > 0);
        world.faulty.heal();
        assert!(read(&world).await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_its_list_does_not_describe_is_not_used() {
    let world = World::new();
    let reader = world.reader();
    let write_id = world.env.rng.write_id();
    let roll = ROLL.after();
    let bytes = Bytes::from_static(b"other bytes");
    let part = SnapshotPart {
        roll,
        part: 0,
        bytes,
    }
    .encode(CLUSTER, write_id);
    let rows = vec![PartRow::of(b"listed")];
    let done = SnapshotDone { roll, parts: rows }.encode(CLUSTER, write_id);
    let key = ObjectKey::snapshot_part(CLUSTER, roll.get(), write_id, 0);
    world.plant(&key, part).await;
    world.plant(&done_key(), done).await;

    let read = read_snapshot(&reader, roll).await.unwrap();

    assert!(read.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_part_taken_by_another_write_stops_the_snapshot() {
    let world = World::new();
    let rule = FaultRule::new(Fault::FalseExists).on(Operation::Put);
    world.faulty.add(rule.key_containing("/00000000"));
    let stranger = world.env.rng.write_id();
    let part = SnapshotPart {
        roll: ROLL.after(),
        part: 0,
        bytes: Bytes::from_static(b"theirs"),
    };
    // The writer's own id is the next one drawn: the seed is the same.
    let again = World::new();
    let _ = again.env.rng.write_id();
    let next = again.env.rng.write_id();
    let key = ObjectKey::snapshot_part(CLUSTER, ROLL.after().get(), next, 0);
    world.plant(&key, part.encode(CLUSTER, stranger)).await;

    let outcome = write_snapshot(&world.reader(), &world.env, snapshot(&["ours"])).await;

    assert!(matches!(outcome, Err(SnapshotFailure::Taken { key: taken }) if taken == key));
    assert!(!world.holds(&done_key()).await);
}

#[tokio::test(start_paused = true)]
async fn parts_under_way_at_once_are_bounded() {
    let world = World::new();
    let gate = Gate::new();
    let slow = FaultRule::new(Fault::GateBefore(gate.clone())).on(Operation::Put);
    world.faulty.add(slow);
    let parts = vec!["part"; SNAPSHOT_REQUESTS_MAX + 1];
    let reader = world.reader();
    let write = write_snapshot(&reader, &world.env, snapshot(&parts));
    tokio::pin!(write);
    let limit = Duration::from_secs(3600);

    let early = esker_env::timeout(world.env.clock.as_ref(), limit, &mut write).await;

    assert!(early.is_err());
    let under_way = world.faulty.count(Operation::Put, KeyClass::Snapshot);
    assert_eq!(under_way, SNAPSHOT_REQUESTS_MAX);
    gate.open();
    assert!(write.await.is_ok());
}
