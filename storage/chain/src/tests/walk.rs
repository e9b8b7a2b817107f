//! Walks: in order, to the true end, never past a seal; what is missing below a durable end is
//! damage.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use esker_object::{Fault, FaultRule, Gate, Operation, StoreErrorKind};
use esker_segment::SegmentFooter;
use esker_types::ObjectKind;
use futures::{FutureExt as _, StreamExt as _};

use super::world::{CLUSTER, SESSION, World, key_of, object_of, on_get, on_put, place, segment};
use crate::limits::{SEAL_AHEAD_MAX, WALK_READ_AHEAD_FIRST, WALK_READ_AHEAD_MAX};
use crate::{LookError, PlaceHolder, SealError, UploadError, WalkEnd, WalkError, Walked};

/// Segments `0..count` in the store, and their footers.
async fn chain_of(world: &World, count: u64) -> Vec<SegmentFooter> {
    let mut footers = Vec::new();
    for index in 0..count {
        footers.push(world.plant_segment(index).await.footer);
    }
    footers
}

async fn walk_from(world: &World, from: u64, until: WalkEnd) -> Result<Walked, WalkError> {
    world.chain().walk(SESSION, place(from).index, until).await
}

fn at(index: u64) -> WalkEnd {
    WalkEnd::At(place(index).index)
}

#[tokio::test(start_paused = true)]
async fn an_open_walk_reads_all_and_seals_the_first_missing_place() {
    for count in [0, 1, 2, 5, 40] {
        let world = World::new();
        let footers = chain_of(&world, count).await;

        let walked = walk_from(&world, 0, WalkEnd::Open).await.unwrap();

        assert_eq!(walked.session, SESSION);
        assert_eq!(walked.segments, footers);
        assert_eq!(walked.end, place(count).index);
        assert_eq!(
            world.chain().look(place(count)).await.unwrap(),
            PlaceHolder::Seal
        );
        let again = walk_from(&world, 0, WalkEnd::Open).await.unwrap();
        assert_eq!(again, walked, "walking again changes nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_walk_begins_where_it_is_told() {
    let world = World::new();
    let footers = chain_of(&world, 6).await;

    let open = walk_from(&world, 4, WalkEnd::Open).await.unwrap();
    let nothing = walk_from(&world, 6, WalkEnd::Open).await.unwrap();

    assert_eq!(open.segments, footers[4..]);
    assert_eq!((nothing.segments.len(), nothing.end), (0, place(6).index));
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_costs_one_put_and_few_gets() {
    let world = World::new();
    chain_of(&world, 1).await;
    world
        .faulty
        .add(on_get(Fault::Slow(Duration::from_millis(10))));

    let _ = walk_from(&world, 1, WalkEnd::Open).await.unwrap();

    assert_eq!(
        world.requests(),
        (1, WALK_READ_AHEAD_FIRST, 1 + WALK_READ_AHEAD_FIRST)
    );
}

#[tokio::test(start_paused = true)]
async fn a_walk_never_goes_past_a_seal() {
    let world = World::new();
    let footers = chain_of(&world, 3).await;
    let _ = world.chain().seal(place(3)).await.unwrap();
    for index in 4..8 {
        world.plant_segment(index).await;
    }
    let puts = world.requests().0;

    let walked = walk_from(&world, 0, WalkEnd::Open).await.unwrap();

    assert_eq!(walked.segments, footers, "CP5");
    assert_eq!(walked.end, place(3).index);
    assert_eq!(world.requests().0, puts, "nothing more is sealed");
}

#[tokio::test(start_paused = true)]
async fn a_missing_place_below_others_is_the_end() {
    let world = World::new();
    let footers = chain_of(&world, 2).await;
    world.plant_segment(3).await;

    let walked = walk_from(&world, 0, WalkEnd::Open).await.unwrap();
    let late = world
        .chain()
        .upload(place(2), segment(place(2), 1).object)
        .await;

    assert_eq!(walked.segments, footers);
    assert_eq!(walked.end, place(2).index);
    assert!(
        matches!(late, Err(UploadError::Sealed { .. })),
        "and stays the end"
    );
}

#[tokio::test(start_paused = true)]
async fn a_walk_goes_on_when_a_segment_turns_up_in_front_of_its_seal() {
    let world = World::new();
    let mut footers = chain_of(&world, 1).await;
    let gate = Gate::new();
    world
        .faulty
        .add(on_put(Fault::GateBefore(gate.clone())).times(1));
    let turn_up = async {
        gate.arrived(1).await;
        let first = world.plant_segment(1).await.footer;
        let second = world.plant_segment(2).await.footer;
        gate.open();
        [first, second]
    };

    let (walked, turned_up) = futures::join!(walk_from(&world, 0, WalkEnd::Open), turn_up);

    footers.extend(turned_up);
    let walked = walked.unwrap();
    assert_eq!(walked.segments, footers);
    assert_eq!(walked.end, place(3).index);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_keeps_writing_is_stopped_by_seals_ahead() {
    let world = World::new();
    let chain = world.chain();
    let round_trip = Duration::from_millis(10);
    world.faulty.add(FaultRule::new(Fault::Slow(round_trip)));
    let busy_pod = async {
        world.env.clock.sleep(round_trip / 2).await;
        let uploads = futures::stream::iter(0..10_000).map(|index| {
            let object = segment(place(index), 1).object;
            chain.upload(place(index), object)
        });
        let mut uploads = uploads.buffered(8);
        let mut written = 0;
        while let Some(Ok(uploaded)) = uploads.next().await {
            assert_eq!(uploaded.index(), place(written).index);
            written += 1;
        }
        written
    };

    let (walked, written) = futures::join!(walk_from(&world, 0, WalkEnd::Open), busy_pod);

    let walked = walked.unwrap();
    assert_eq!(
        walked.end,
        place(written).index,
        "every written segment is found"
    );
    assert_eq!(u64::try_from(walked.segments.len()).unwrap(), written);
    assert!(
        (16..100).contains(&written),
        "{written} until it is caught up with"
    );
    let seals = world.memory.keys().len() - walked.segments.len();
    assert!(
        seals > 1 && seals <= usize::try_from(SEAL_AHEAD_MAX).unwrap(),
        "{seals} seals"
    );
}

#[tokio::test(start_paused = true)]
async fn two_that_walk_at_once_find_the_same_end() {
    let world = World::new();
    let footers = chain_of(&world, 3).await;
    world
        .faulty
        .add(on_put(Fault::FailAfter(StoreErrorKind::Retry)).times(1));

    let (left, right) = futures::join!(
        walk_from(&world, 0, WalkEnd::Open),
        walk_from(&world, 0, WalkEnd::Open),
    );

    let (left, right) = (left.unwrap(), right.unwrap());
    assert_eq!(left, right);
    assert_eq!(left.segments, footers);
}

#[tokio::test(start_paused = true)]
async fn a_walk_to_a_durable_end_reads_exactly_what_lies_below() {
    let world = World::new();
    let footers = chain_of(&world, 9).await;

    let walked = walk_from(&world, 2, at(7)).await.unwrap();
    let nothing = walk_from(&world, 7, at(7)).await.unwrap();

    assert_eq!(walked.segments, footers[2..7]);
    assert_eq!((nothing.segments.len(), nothing.end), (0, place(7).index));
    assert_eq!(
        world.requests(),
        (0, 5, 5),
        "C3: nothing at or behind the end"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_below_a_durable_end_is_damage() {
    let world = World::new();
    chain_of(&world, 3).await;
    world.plant_segment(4).await;

    let missing = walk_from(&world, 0, at(5)).await.unwrap_err();

    assert!(matches!(missing, WalkError::Missing { segment } if segment == place(3)));
    assert!(missing.is_damage());
    assert_eq!(world.requests().0, 0, "nothing is sealed");
}

#[tokio::test(start_paused = true)]
async fn a_seal_below_a_durable_end_is_damage() {
    let world = World::new();
    chain_of(&world, 2).await;
    let _ = world.chain().seal(place(2)).await.unwrap();
    world.plant_segment(3).await;

    let sealed = walk_from(&world, 0, at(4)).await.unwrap_err();

    assert!(matches!(sealed, WalkError::SealedBelowEnd { segment } if segment == place(2)));
    assert!(sealed.is_damage());
}

#[tokio::test(start_paused = true)]
async fn a_foreign_object_is_damage_and_a_refusing_store_is_not() {
    let world = World::new();
    chain_of(&world, 1).await;
    world
        .plant(
            &key_of(1),
            object_of(ObjectKind::Probe, CLUSTER, 1, b"probe"),
        )
        .await;

    let foreign = walk_from(&world, 0, WalkEnd::Open).await.unwrap_err();
    world
        .faulty
        .add(on_get(Fault::Refuse(StoreErrorKind::Denied)));
    let unread = walk_from(&world, 0, at(1)).await.unwrap_err();
    world.faulty.heal();
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Full)));
    let unsealed = walk_from(&world, 5, WalkEnd::Open).await.unwrap_err();
    world.faulty.heal();
    world.faulty.add(
        on_get(Fault::Missing)
            .key_containing(key_of(1).as_str())
            .times(2),
    );
    let foreign_seal = walk_from(&world, 1, WalkEnd::Open).await.unwrap_err();

    assert!(matches!(foreign, WalkError::Look(LookError::Foreign { .. })) && foreign.is_damage());
    assert!(matches!(unread, WalkError::Look(LookError::Store { .. })) && !unread.is_damage());
    assert!(matches!(
        unsealed,
        WalkError::Seal(SealError::Refused { .. })
    ));
    assert!(!unsealed.is_damage());
    assert!(matches!(
        foreign_seal,
        WalkError::Seal(SealError::Foreign { .. })
    ));
    assert!(foreign_seal.is_damage());
}

#[tokio::test(start_paused = true)]
async fn footers_are_read_ahead_up_to_the_limit() {
    let world = World::new();
    chain_of(&world, 40).await;
    let gate = Gate::new();
    world.faulty.add(on_get(Fault::GateBefore(gate.clone())));
    let count_when_stuck = async {
        gate.arrived(1).await;
        world.pass(1).await;
        let stuck = world.faulty.requests().len();
        gate.open();
        stuck
    };

    let (walked, stuck) = futures::join!(walk_from(&world, 0, at(40)), count_when_stuck);

    assert_eq!(walked.unwrap().segments.len(), 40);
    assert_eq!(stuck, WALK_READ_AHEAD_MAX);
}

#[tokio::test(start_paused = true)]
async fn an_open_walk_widens_its_reading_with_what_it_finds() {
    let world = World::new();
    chain_of(&world, 40).await;

    let _ = walk_from(&world, 0, WalkEnd::Open).await.unwrap();

    let gets = world.faulty.requests();
    let gets = gets
        .iter()
        .filter(|(operation, _)| *operation == Operation::Get)
        .count();
    assert!(
        gets <= 40 + WALK_READ_AHEAD_MAX,
        "{gets} gets for 40 segments"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hundred_segments_take_some_ten_round_trips() {
    let world = World::new();
    chain_of(&world, 100).await;
    let round_trip = Duration::from_millis(10);
    world.faulty.add(FaultRule::new(Fault::Slow(round_trip)));
    let start = world.env.clock.now();

    let _ = walk_from(&world, 0, WalkEnd::Open).await.unwrap();

    let elapsed = world.env.clock.now().since(start);
    assert!(elapsed <= round_trip * 12, "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_walk_does_not_begin_behind_its_end() {
    let world = World::new();

    let walk = AssertUnwindSafe(walk_from(&world, 2, at(1)))
        .catch_unwind()
        .await;

    assert!(walk.is_err());
}
