//! J4 and J7: what goes, what stays for ever, and in which order.

use bytes::Bytes;
use esker_object::{Fault, FaultRule, KeyClass, Operation, StoreErrorKind};

use super::*;
use crate::fixtures::{CLUSTER, World, at, leader};
use crate::place::SealRef;
use crate::snapshot::write_snapshot;
use crate::writer::HandedSnapshot;

/// Writes roll `roll` with its head, `entries` entries and, at the next place, the seal of `next`.
async fn plant_roll(
    world: &World,
    roll: u64,
    entries: u64,
    prev: Option<SealRef>,
    next: u64,
) -> SealRef {
    world.plant_head(roll, &leader(1, 1), prev).await;
    for place in 1..=entries {
        world.plant_entry(at(roll, place), 1, "command").await;
    }
    let next = leader(u8::try_from(next).unwrap(), next);
    world.plant_seal(at(roll, entries + 1), &next, None).await
}

/// Rolls 0 to 3 with three entries each, all by owner 1, and the head of roll 4.
async fn world_of_four_rolls() -> World {
    let world = World::new();
    let mut prev = None;
    for roll in 0..4 {
        prev = Some(plant_roll(&world, roll, 3, prev, 1).await);
    }
    world.plant_head(4, &leader(1, 1), prev).await;
    world
}

async fn write(world: &World, roll: u64) {
    let snapshot = HandedSnapshot {
        roll: RollNumber::new(roll),
        parts: vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")],
    };
    let written = write_snapshot(&world.reader(), &world.env, snapshot).await;
    assert!(written.is_ok());
}

async fn run(world: &World, done: u64, collected: u64) -> Result<RollNumber, CollectError> {
    let (done, collected) = (RollNumber::new(done), RollNumber::new(collected));
    collect(&world.reader(), done, collected).await
}

fn place_keys(world: &World) -> Vec<String> {
    let keys = world.memory.keys().into_iter();
    let places = keys.filter(|key| key.class() == KeyClass::Journal);
    let short = places.map(|key| {
        let mut parts = key.as_str().rsplit('/');
        let (place, roll) = (parts.next().unwrap(), parts.next().unwrap());
        let number = |text: &str| text.parse::<u64>().unwrap();
        format!("{}/{}", number(roll), number(place))
    });
    short.collect()
}

#[tokio::test(start_paused = true)]
async fn entries_below_a_snapshot_go_and_seals_and_heads_stay_for_ever() {
    let world = world_of_four_rolls().await;
    write(&world, 3).await;

    let collected = run(&world, 3, 0).await.unwrap();

    assert_eq!(collected, RollNumber::new(3));
    let left = ["0/0", "0/4", "1/0", "1/4", "2/0", "2/4"];
    let above = ["3/0", "3/1", "3/2", "3/3", "3/4", "4/0"];
    assert_eq!(place_keys(&world), [left, above].concat());
}

#[tokio::test(start_paused = true)]
async fn a_second_collection_touches_only_what_is_new() {
    let world = world_of_four_rolls().await;
    write(&world, 2).await;
    let collected = run(&world, 2, 0).await.unwrap();
    let before = world.faulty.count(Operation::Delete, KeyClass::Journal);
    write(&world, 3).await;

    let again = run(&world, 3, collected.get()).await;

    assert_eq!(again.unwrap(), RollNumber::new(3));
    let deleted = world.faulty.count(Operation::Delete, KeyClass::Journal) - before;
    assert_eq!(deleted, 3, "the entries of roll 2");
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_finds_what_is_collected_without_a_memory() {
    let world = world_of_four_rolls().await;
    write(&world, 2).await;
    let _ = run(&world, 2, 0).await.unwrap();
    write(&world, 4).await;
    let before = world.faulty.count(Operation::Delete, KeyClass::Journal);

    let collected = run(&world, 4, 0).await;

    assert_eq!(collected.unwrap(), RollNumber::new(4));
    let deleted = world.faulty.count(Operation::Delete, KeyClass::Journal) - before;
    assert_eq!(deleted, 6, "the entries of rolls 2 and 3");
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_broke_off_is_finished_by_the_next() {
    let world = world_of_four_rolls().await;
    write(&world, 4).await;
    let rule = FaultRule::new(Fault::Refuse(StoreErrorKind::Denied)).on(Operation::Delete);
    world
        .faulty
        .add(rule.key_containing("/0000000000000001/").skip(1).times(1));

    let broken = run(&world, 4, 0).await;

    assert!(matches!(broken, Err(CollectError::Store(_))));
    assert!(
        place_keys(&world).contains(&"1/1".to_owned()),
        "place 1 goes last"
    );
    world.faulty.heal();
    assert!(run(&world, 4, 0).await.is_ok());
    let is_entry = |key: &String| !key.ends_with("/0") && !key.ends_with("/4");
    assert!(!place_keys(&world).iter().any(is_entry));
}

#[tokio::test(start_paused = true)]
async fn a_roll_without_a_verdict_is_not_collected() {
    let world = world_of_four_rolls().await;
    write(&world, 4).await;
    world.delete(at(3, 0)).await;

    let outcome = run(&world, 4, 0).await;

    assert!(matches!(outcome, Err(CollectError::NoVerdict { roll }) if roll == RollNumber::new(2)));
    assert_eq!(world.faulty.count(Operation::Delete, KeyClass::Journal), 0);
}

#[tokio::test(start_paused = true)]
async fn void_entries_go_but_seals_among_them_stay() {
    let world = World::new();
    // Owner 1 had places 2 to 4 in flight; challenger 2 sealed 2, another one sealed 5.
    let prev = plant_roll(&world, 0, 1, None, 2).await;
    for place in [3, 4] {
        world.plant_entry(at(0, place), 1, "void").await;
    }
    let _ = world.plant_seal(at(0, 5), &leader(3, 2), None).await;
    world.plant_head(1, &leader(2, 2), Some(prev)).await;
    write(&world, 1).await;

    let collected = run(&world, 1, 0).await;

    assert!(collected.is_ok());
    assert_eq!(place_keys(&world), ["0/0", "0/2", "0/5", "1/0"]);
}

#[tokio::test(start_paused = true)]
async fn a_roll_whose_owner_never_came_keeps_its_seal() {
    let world = World::new();
    let prev = plant_roll(&world, 0, 1, None, 2).await;
    let prev = world.plant_seal(at(1, 0), &leader(3, 3), Some(prev)).await;
    world.plant_head(2, &leader(3, 3), Some(prev)).await;
    write(&world, 2).await;

    let collected = run(&world, 2, 0).await;

    assert!(collected.is_ok());
    assert_eq!(place_keys(&world), ["0/0", "0/2", "1/0", "2/0"]);
}

fn snapshot_keys(world: &World) -> Vec<ObjectKey> {
    let keys = world.memory.keys().into_iter();
    keys.filter(|key| key.class() == KeyClass::Snapshot)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn older_snapshots_go_list_first_and_the_newest_stays() {
    let world = world_of_four_rolls().await;
    for roll in [1, 2, 3] {
        write(&world, roll).await;
    }

    let _ = run(&world, 3, 0).await.unwrap();

    let left = snapshot_keys(&world);
    assert_eq!(left.len(), 3, "two parts and their list: {left:?}");
    assert!(left.contains(&ObjectKey::snapshot_done(CLUSTER, 3)));
    let deleted = world.faulty.requests().into_iter();
    let deleted: Vec<_> = deleted
        .filter(|(operation, key)| {
            *operation == Operation::Delete && key.class() == KeyClass::Snapshot
        })
        .map(|(_, key)| key.as_str().ends_with("/done"))
        .collect();
    assert_eq!(deleted, [true, true, false, false, false, false]);
}

#[tokio::test(start_paused = true)]
async fn unfinished_parts_above_the_newest_snapshot_are_not_swept() {
    let world = world_of_four_rolls().await;
    write(&world, 3).await;
    let writer = world.env.rng.write_id();
    let part = |roll| ObjectKey::snapshot_part(CLUSTER, roll, writer, 0);
    for roll in [2, 3, 4] {
        world.plant(&part(roll), Bytes::from_static(b"part")).await;
    }

    let _ = run(&world, 3, 0).await.unwrap();

    assert!(world.holds(&part(4)).await, "somebody is writing it");
    assert!(
        !world.holds(&part(3)).await,
        "the list of roll 3 does not name it"
    );
    assert!(
        !world.holds(&part(2)).await,
        "a list above exists, none of its own"
    );
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_gone_itself_makes_nothing_superfluous() {
    let world = world_of_four_rolls().await;
    write(&world, 2).await;
    let writer = world.env.rng.write_id();
    let part = ObjectKey::snapshot_part(CLUSTER, 3, writer, 0);
    world.plant(&part, Bytes::from_static(b"part")).await;

    let outcome = collect_snapshots(&world.reader(), RollNumber::new(3)).await;

    assert!(outcome.is_ok());
    assert_eq!(snapshot_keys(&world).len(), 4);
    assert_eq!(world.faulty.count(Operation::Delete, KeyClass::Snapshot), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_head_stops_a_collection() {
    let world = world_of_four_rolls().await;
    write(&world, 4).await;
    let rule = FaultRule::new(Fault::Flip).on(Operation::Get);
    world.faulty.add(rule.class(KeyClass::Journal));

    let outcome = run(&world, 4, 0).await;

    assert!(matches!(outcome, Err(CollectError::Object { .. })));
    assert_eq!(world.faulty.count(Operation::Delete, KeyClass::Journal), 0);
}

#[tokio::test(start_paused = true)]
async fn a_listing_of_many_pages_is_read_to_its_end() {
    let world = World::new();
    let writer = world.env.rng.write_id();
    let count = LIST_PAGE_ROWS * 2 + 1;
    for part in (0_u32..).take(count) {
        let key = ObjectKey::snapshot_part(CLUSTER, 1, writer, part);
        world.plant(&key, Bytes::new()).await;
    }

    let rows = list_snapshots(&world.reader()).await.unwrap();

    assert_eq!(rows.len(), count);
    assert_eq!(world.faulty.count(Operation::List, KeyClass::Snapshot), 3);
    assert!(count < LIST_PAGES_MAX * LIST_PAGE_ROWS);
}

#[test]
fn keys_that_are_not_of_a_snapshot_are_left_alone() {
    let parse_text = |text: &str| {
        let key = ObjectKey::from_listing(&format!("{CLUSTER}/{text}")).unwrap();
        parse(CLUSTER, &key)
    };
    let roll = RollNumber::new(7);

    let done = parse(CLUSTER, &ObjectKey::snapshot_done(CLUSTER, 7));

    assert_eq!(done, Some((roll, SnapshotKey::Done)));
    let part = parse_text("snapshots/0000000000000007/00/00000000");
    assert_eq!(part, Some((roll, SnapshotKey::Part)));
    for text in [
        "journal/0000000000000007/done",
        "snapshots/done",
        "snapshots/7/done",
        "snapshots/x/done",
        "snapshots/0000000000000007/a/b/c",
    ] {
        assert_eq!(parse_text(text), None, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn deletions_under_way_at_once_are_bounded() {
    let world = World::new();
    let entries = u64::try_from(DELETIONS_MAX).unwrap() + 2;
    let prev = plant_roll(&world, 0, entries, None, 1).await;
    world.plant_head(1, &leader(1, 1), Some(prev)).await;
    write(&world, 1).await;
    let hang = FaultRule::new(Fault::HangBefore).on(Operation::Delete);
    world.faulty.add(hang);
    let limit = std::time::Duration::from_secs(3600);

    let stuck = esker_env::timeout(world.env.clock.as_ref(), limit, run(&world, 1, 0)).await;

    assert!(stuck.is_err());
    let under_way = world.faulty.count(Operation::Delete, KeyClass::Journal);
    assert_eq!(under_way, DELETIONS_MAX);
}
