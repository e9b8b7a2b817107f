//! Seals: one winner at each place, doubt said, several ahead stop a busy pod.

use std::panic::AssertUnwindSafe;

use esker_object::{Fault, Gate, PutOutcome, StoreErrorKind};
use esker_types::{ObjectKind, SequencerEpoch};
use futures::FutureExt as _;

use super::world::{CLUSTER, SESSION, World, key_of, object_of, on_get, on_put, place, segment};
use crate::limits::SEAL_AHEAD_MAX;
use crate::{PlaceHolder, SealError, SealedAhead, SessionSeal, UploadError};

#[tokio::test(start_paused = true)]
async fn a_seal_is_one_put_and_names_who_sealed() {
    let world = World::new();
    let pod = world.chain();
    let sequencer = world.chain().sealing_as(SequencerEpoch::new(7));

    let by_pod = pod.seal(place(0)).await.unwrap();
    let by_sequencer = sequencer.seal(place(1)).await.unwrap();

    assert_eq!(
        (by_pod, by_sequencer),
        (PlaceHolder::Seal, PlaceHolder::Seal)
    );
    assert_eq!(world.requests(), (2, 0, 2));
    for (index, sealer_epoch) in [(0, None), (1, Some(SequencerEpoch::new(7)))] {
        let object = world.stored(&key_of(index)).await.unwrap();
        let seal = SessionSeal {
            place: place(index),
            sealer_epoch,
        };
        assert_eq!(SessionSeal::decode(&object), Ok(seal));
    }
}

#[tokio::test(start_paused = true)]
async fn a_taken_place_says_by_whom_and_costs_two_reads() {
    let world = World::new();
    let chain = world.chain();
    let built = world.plant_segment(0).await;
    let _ = chain.seal(place(1)).await.unwrap();
    let before = world.requests();

    let segment = chain.seal(place(0)).await.unwrap();
    let seal = chain.seal(place(1)).await.unwrap();

    let after = world.requests();
    assert_eq!(segment, PlaceHolder::Segment(built.footer));
    assert_eq!(seal, PlaceHolder::Seal);
    assert_eq!((after.0 - before.0, after.1 - before.1), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn a_seal_and_a_segment_at_one_place_have_one_winner() {
    for seal_is_late in [true, false] {
        for lost_replies in [0, 1, 2] {
            let world = World::new();
            let chain = world.chain();
            let gate = Gate::new();
            let late = on_put(Fault::GateBefore(gate.clone()));
            world
                .faulty
                .add(late.skip(u64::from(seal_is_late)).times(1));
            let lost = on_put(Fault::FailAfter(StoreErrorKind::Retry));
            world.faulty.add(lost.times(lost_replies));
            let built = segment(place(0), 1);
            let upload = async {
                let upload = chain.upload(place(0), built.object.clone()).await;
                if seal_is_late {
                    gate.open();
                }
                upload
            };
            let seal = async {
                let seal = chain.seal(place(0)).await;
                if !seal_is_late {
                    gate.open();
                }
                seal.unwrap()
            };

            let (uploaded, sealed) = futures::join!(upload, seal);

            if seal_is_late {
                assert!(uploaded.is_ok());
                assert_eq!(sealed, PlaceHolder::Segment(built.footer));
            } else {
                assert!(matches!(uploaded, Err(UploadError::Sealed { .. })));
                assert_eq!(sealed, PlaceHolder::Seal);
            }
            assert_eq!(chain.look(place(0)).await.unwrap(), sealed, "for ever");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_ends_in_a_seal() {
    for fault in [
        Fault::FailAfter(StoreErrorKind::Retry),
        Fault::FailBefore(StoreErrorKind::Throttled),
        Fault::Refuse(StoreErrorKind::Exhausted),
        Fault::Conflict,
        Fault::FalseExists,
        Fault::Hold,
    ] {
        let world = World::new();
        world.faulty.add(on_put(fault.clone()).times(3));
        world
            .faulty
            .add(on_get(Fault::Refuse(StoreErrorKind::Retry)).times(1));
        let chain = world.plain_chain();

        let sealed = chain.seal(place(0)).await.unwrap();
        let late = world.faulty.release_held().await;

        world.faulty.heal();
        assert_eq!(sealed, PlaceHolder::Seal, "{fault:?}");
        assert!(late.iter().all(|late| matches!(late, PutOutcome::Exists)));
        assert_eq!(chain.look(place(0)).await.unwrap(), PlaceHolder::Seal);
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_taken_and_then_free_is_not_called_missing_before_a_create() {
    let world = World::new();
    let built = world.plant_segment(0).await;
    world.faulty.add(on_get(Fault::Missing).times(2));

    let sealed = world.plain_chain().seal(place(0)).await.unwrap();

    assert_eq!(sealed, PlaceHolder::Segment(built.footer));
    assert_eq!(world.requests(), (3, 3, 6));
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_is_given_up_says_whether_it_may_come() {
    let world = World::new();
    let chain = world.chain();
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Denied)).times(1));
    world.faulty.add(on_put(Fault::Hold).times(1));
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Denied)));

    let refused = chain.seal(place(0)).await;
    let in_doubt = chain.seal(place(0)).await;
    let late = world.faulty.release_held().await;

    assert!(matches!(refused, Err(SealError::Refused { segment, .. }) if segment == place(0)));
    assert!(
        matches!(in_doubt, Err(SealError::Indeterminate { segment, .. }) if segment == place(0))
    );
    assert!(matches!(late[..], [PutOutcome::Created]));
}

#[tokio::test(start_paused = true)]
async fn a_taken_place_that_may_not_be_read_is_in_doubt() {
    let world = World::new();
    world.plant_segment(0).await;
    world
        .faulty
        .add(on_get(Fault::Refuse(StoreErrorKind::Denied)));

    let error = world.plain_chain().seal(place(0)).await;

    assert!(matches!(error, Err(SealError::Indeterminate { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_object_at_the_place_is_damage() {
    let world = World::new();
    let entry = object_of(ObjectKind::JournalEntry, CLUSTER, 1, b"entry");
    world.plant(&key_of(0), entry).await;

    let error = world.chain().seal(place(0)).await;

    assert!(matches!(error, Err(SealError::Foreign { segment, .. }) if segment == place(0)));
}

#[tokio::test(start_paused = true)]
async fn seals_ahead_find_the_lowest_place_without_a_segment() {
    let world = World::new();
    let chain = world.chain();
    let first = world.plant_segment(4).await;
    let second = world.plant_segment(5).await;
    world.plant_segment(7).await;

    let ahead = chain.seal_ahead(SESSION, place(4).index, 5).await.unwrap();

    assert_eq!(
        ahead,
        SealedAhead {
            segments: vec![first.footer, second.footer],
            end: Some(place(6).index),
        }
    );
    for sealed in [6, 8] {
        assert_eq!(chain.look(place(sealed)).await.unwrap(), PlaceHolder::Seal);
    }
    assert_eq!(chain.look(place(9)).await.unwrap(), PlaceHolder::Missing);
}

#[tokio::test(start_paused = true)]
async fn seals_ahead_that_all_meet_segments_find_no_end() {
    let world = World::new();
    for index in 0..3 {
        world.plant_segment(index).await;
    }

    let ahead = world
        .chain()
        .seal_ahead(SESSION, place(0).index, 3)
        .await
        .unwrap();

    assert_eq!((ahead.segments.len(), ahead.end), (3, None));
}

#[tokio::test(start_paused = true)]
async fn a_failed_seal_matters_only_in_front_of_the_end() {
    let world = World::new();
    let chain = world.plain_chain();
    world.plant_segment(0).await;
    let denied = |index: u64| {
        let key = key_of(index);
        on_put(Fault::Refuse(StoreErrorKind::Denied)).key_containing(key.as_str())
    };
    world.faulty.add(denied(2));
    let behind = chain.seal_ahead(SESSION, place(0).index, 3).await;
    world.faulty.add(denied(5));
    world.plant_segment(4).await;
    let in_front = chain.seal_ahead(SESSION, place(4).index, 3).await;

    assert_eq!(behind.unwrap().end, Some(place(1).index));
    assert!(matches!(in_front, Err(SealError::Refused { segment, .. }) if segment == place(5)));
}

#[tokio::test(start_paused = true)]
async fn seals_ahead_stop_at_their_limit() {
    let world = World::new();
    let chain = world.chain();

    let most = chain
        .seal_ahead(SESSION, place(0).index, SEAL_AHEAD_MAX)
        .await;
    let requests = world.requests();
    for count in [0, SEAL_AHEAD_MAX + 1] {
        let more = chain.seal_ahead(SESSION, place(0).index, count);
        assert!(AssertUnwindSafe(more).catch_unwind().await.is_err());
    }

    assert_eq!(most.unwrap().end, Some(place(0).index));
    assert_eq!(requests.0, usize::try_from(SEAL_AHEAD_MAX).unwrap());
    assert_eq!(world.requests(), requests);
}

#[test]
fn epoch_zero_seals_for_nobody() {
    let sealing = std::panic::catch_unwind(|| {
        let _ = World::new().chain().sealing_as(SequencerEpoch::new(0));
    });

    assert!(sealing.is_err());
}
