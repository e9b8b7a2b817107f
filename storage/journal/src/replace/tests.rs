//! A journal that lost objects is ended and begun again; who still writes is found or stopped.

use esker_object::{Fault, FaultRule, Operation, StoreErrorKind};

use super::*;
use crate::config::JournalConfig;
use crate::fixtures::{CLUSTER, Log, World, at, leader, log_of, won};
use crate::state::JournalState as _;

fn parts(world: &World) -> JournalParts {
    JournalParts {
        bucket: std::sync::Arc::new(world.recorder.clone()),
        env: world.env.clone(),
        cluster: CLUSTER,
    }
}

async fn end(world: &World, old: &OldJournal) -> Result<Fence, ReplaceError> {
    let epoch = SequencerEpoch::new(9);
    fence(parts(world), world.identity("rebuild"), epoch, old).await
}

fn last(roll: u64, place: u64) -> OldJournal {
    OldJournal {
        last: Some((RollNumber::new(roll), place)),
        ..OldJournal::default()
    }
}

/// Rolls 0 and 1, of which an entry, a seal and a head are lost.
async fn damaged() -> (World, OldJournal) {
    let world = World::new();
    world.plant_head(0, &leader(1, 1), None).await;
    world.plant_entry(at(0, 1), 1, "a").await;
    world.plant_entry(at(1, 2), 2, "c").await;
    let old = OldJournal {
        openings_missing: vec![RollNumber::new(1)],
        seals_missing: vec![(RollNumber::FIRST, 2), (RollNumber::new(1), 1)],
        ..last(1, 2)
    };
    (world, old)
}

#[tokio::test(start_paused = true)]
async fn a_damaged_journal_goes_on_with_the_state_that_was_handed_in() {
    let (world, old) = damaged().await;
    let before = world.recorder.puts().len();

    let fence = end(&world, &old).await.unwrap();
    let roll = fence.begin(log_of(&["a", "b", "c"]).snapshot()).await;

    assert_eq!(roll.unwrap(), RollNumber::new(2));
    let puts = world.recorder.puts().len() - before;
    assert_eq!(puts, 8, "3 missing places, seal, head, 2 parts, list");
    for place in [at(0, 1), at(1, 2)] {
        assert!(world.holds(&place.key(CLUSTER)).await, "{place} is left");
    }
    let follower = world.open("next").await;
    assert_eq!(*follower.state(), log_of(&["a", "b", "c"]));
    let mut leader = world.lead("next", JournalConfig::default()).await;
    leader.write("d").await;
    leader.stop().await;
    let cold = world.open("cold").await;
    assert_eq!(*cold.state(), log_of(&["a", "b", "c", "d"]));
    assert_eq!(cold.leader().unwrap().epoch, SequencerEpoch::new(10));
}

#[tokio::test(start_paused = true)]
async fn a_journal_of_which_nothing_is_left_begins_at_roll_1() {
    let world = World::new();

    let fence = end(&world, &OldJournal::default()).await.unwrap();
    let roll = fence.begin(log_of(&["a"]).snapshot()).await.unwrap();

    assert_eq!(roll, RollNumber::new(1));
    let follower = world.open("next").await;
    assert_eq!(*follower.state(), log_of(&["a"]));
    assert_eq!(won(follower.take_over().await.unwrap()).roll.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_was_only_ended_cannot_be_started_from() {
    let world = World::new();
    let session = esker_types::SegmentId {
        session: esker_types::SessionId::from_bytes([1; 16]),
        index: esker_types::ChainIndex::ZERO,
    };
    let segment = ObjectKey::session_place(CLUSTER, session);
    world.plant(&segment, Bytes::from_static(b"segment")).await;

    let _fence = end(&world, &OldJournal::default()).await.unwrap();
    let identity = world.identity("next");
    let config = JournalConfig::default();
    let opened = crate::Journal::open::<Log>(parts(&world), identity, config).await;

    assert!(
        matches!(opened, Err(crate::ReplayError::Incomplete)),
        "{opened:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_owner_who_still_lives_is_stopped_and_answers_nothing_more() {
    let world = World::new();
    let mut alive = world.lead("alive", JournalConfig::default()).await;
    alive.write("a").await;

    let fence = end(&world, &last(0, 1)).await.unwrap();
    fence.begin(log_of(&["a"]).snapshot()).await.unwrap();
    alive.append("b").await;

    let event = loop {
        let event = alive.next().await;
        if !event.starts_with("roll") {
            break event;
        }
    };
    assert_eq!(event, "deposed by rebuild");
    assert_eq!(*world.open("next").await.state(), log_of(&["a"]));
    alive.tasks.join_all().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_taken_meanwhile_shows_that_somebody_writes() {
    let (world, old) = damaged().await;
    world.plant_entry(at(1, 3), 2, "d").await;
    let key = at(1, 3).key(CLUSTER);

    let ended = end(&world, &old).await;

    assert!(matches!(ended, Err(ReplaceError::InUse { key: found }) if found == key));
}

#[tokio::test(start_paused = true)]
async fn a_roll_that_begins_meanwhile_shows_that_somebody_writes() {
    let world = World::new();
    let fence = end(&world, &OldJournal::default()).await.unwrap();
    let prev = crate::fixtures::seal_ref(1, 1);
    world.plant_head(1, &leader(3, 2), Some(prev)).await;

    let begun = fence.begin(Vec::new()).await;

    let key = at(1, 0).key(CLUSTER);
    assert!(matches!(begun, Err(ReplaceError::InUse { key: found }) if found == key));
}

#[tokio::test(start_paused = true)]
async fn a_refusing_store_and_a_state_past_the_limits_are_told() {
    let world = World::new();
    let denied = StoreErrorKind::Denied;
    let rule = FaultRule::new(Fault::Refuse(denied)).on(Operation::Put);

    let too_many = vec![Bytes::new(); SNAPSHOT_PARTS_MAX + 1];
    let fence = end(&world, &OldJournal::default()).await.unwrap();
    let too_many = fence.begin(too_many).await;
    world.faulty.add(rule);
    let refused = end(&world, &last(0, 1)).await;

    let count = SNAPSHOT_PARTS_MAX + 1;
    assert!(matches!(too_many, Err(ReplaceError::TooLarge { part_count }) if part_count == count));
    assert!(matches!(refused, Err(ReplaceError::Settle(_))));
}
