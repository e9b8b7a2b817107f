//! Uploads: success is known, never guessed; a seal, a 409 or a stranger is no success.

use esker_object::{Fault, Gate, StoreErrorKind};
use esker_types::{ClusterId, ObjectKind};
use futures::FutureExt as _;

use super::world::{
    CLUSTER, SESSION, World, key_of, object_of, on_put, place, segment, wide_segment,
};
use crate::{Chain, ChainTail, ForeignObject, PlaceHolder, UploadError};

#[tokio::test(start_paused = true)]
async fn an_upload_is_one_put_and_extends_the_tail() {
    let world = World::new();
    let mut tail = ChainTail::new(SESSION);
    let built = segment(place(0), 1);

    let uploaded = world.chain().upload(place(0), built.object.clone()).await;

    let uploaded = uploaded.unwrap();
    assert_eq!(
        (uploaded.session(), uploaded.index()),
        (SESSION, place(0).index)
    );
    let committed = tail.extend(uploaded).unwrap();
    assert_eq!(committed.index(), place(0).index);
    assert_eq!(world.requests(), (1, 0, 1));
    assert_eq!(world.stored(&key_of(0)).await, Some(built.object));
}

async fn ends_in_uploaded(world: &World, chain: &Chain, fault: Fault) {
    let built = segment(place(3), 1);
    world.faulty.add(on_put(fault.clone()).times(1));

    let uploaded = chain.upload(place(3), built.object.clone()).await;
    world.faulty.release_held().await;

    assert_eq!(uploaded.unwrap().index(), place(3).index, "{fault:?}");
    assert_eq!(world.faulty.struck(), 1);
    assert_eq!(world.stored(&key_of(3)).await, Some(built.object));
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_a_conflict_and_a_late_put_end_in_uploaded() {
    for fault in [
        Fault::FailAfter(StoreErrorKind::Retry),
        Fault::FailAfter(StoreErrorKind::Throttled),
        Fault::Conflict,
        Fault::FalseExists,
        Fault::Hold,
    ] {
        let world = World::new();
        ends_in_uploaded(&world, &world.plain_chain(), fault.clone()).await;
        let world = World::new();
        ends_in_uploaded(&world, &world.chain(), fault).await;
    }
    for hang in [Fault::HangBefore, Fault::HangAfter] {
        let world = World::new();
        ends_in_uploaded(&world, &world.chain(), hang).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sealed_place_is_told_as_sealed_and_stays_sealed() {
    let world = World::new();
    let chain = world.chain();
    assert_eq!(chain.seal(place(2)).await.unwrap(), PlaceHolder::Seal);
    let before = world.requests();

    let error = chain.upload(place(2), segment(place(2), 1).object).await;

    let after = world.requests();
    assert!(matches!(error, Err(UploadError::Sealed { segment }) if segment == place(2)));
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 2));
    assert_eq!(chain.look(place(2)).await.unwrap(), PlaceHolder::Seal);
}

#[tokio::test(start_paused = true)]
async fn a_segment_put_after_doubt_meets_the_seal_that_came_in_between() {
    let world = World::new();
    let chain = world.chain();
    world.faulty.add(on_put(Fault::Hold).times(1));
    let built = segment(place(0), 1);
    let gate = Gate::new();
    world
        .faulty
        .add(on_put(Fault::GateBefore(gate.clone())).times(1));
    let sealing = async {
        gate.arrived(1).await;
        let outcome = chain.seal(place(0)).await.unwrap();
        gate.open();
        outcome
    };

    let (uploaded, sealed) = futures::join!(chain.upload(place(0), built.object), sealing);
    let released = world.faulty.release_held().await;

    assert_eq!(sealed, PlaceHolder::Seal);
    assert!(matches!(uploaded, Err(UploadError::Sealed { .. })));
    assert!(matches!(released[..], [esker_object::PutOutcome::Exists]));
    assert_eq!(chain.look(place(0)).await.unwrap(), PlaceHolder::Seal);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_at_our_place_is_a_stranger() {
    let other_cluster = ClusterId::from_bytes([3; 16]);
    let objects = [
        segment(place(1), 9).object,
        object_of(ObjectKind::JournalEntry, CLUSTER, 9, b"entry"),
        object_of(ObjectKind::Segment, other_cluster, 1, b"segment"),
        vec![7; 200].into(),
    ];
    let mut found = Vec::new();
    for object in objects {
        let world = World::new();
        world.plant(&key_of(1), object).await;

        let error = world
            .chain()
            .upload(place(1), segment(place(1), 1).object)
            .await;

        match error.unwrap_err() {
            UploadError::Stranger { segment, source } if segment == place(1) => found.push(source),
            error => panic!("{error:?}"),
        }
    }
    assert!(
        matches!(found[0], ForeignObject::OtherWrite { write_id } if write_id.bytes() == [9; 16])
    );
    assert!(matches!(
        found[1],
        ForeignObject::Kind {
            kind: ObjectKind::JournalEntry
        }
    ));
    assert!(
        matches!(found[2], ForeignObject::OtherCluster { found, .. } if found == other_cluster)
    );
    assert!(matches!(found[3], ForeignObject::Header(_)));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_only_without_doubt() {
    let world = World::new();
    let chain = world.chain();
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Full)).times(1));
    world.faulty.add(on_put(Fault::Hold).times(1));
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Denied)));
    let object = segment(place(0), 1).object;

    let refused = chain.upload(place(0), object.clone()).await;
    let in_doubt = chain.upload(place(0), object.clone()).await;
    let late = world.faulty.release_held().await;
    world.faulty.heal();
    let again = chain.upload(place(0), object).await;

    assert!(matches!(refused, Err(UploadError::Refused { segment, .. }) if segment == place(0)));
    assert!(
        matches!(in_doubt, Err(UploadError::Indeterminate { segment, .. }) if segment == place(0))
    );
    assert!(
        matches!(late[..], [esker_object::PutOutcome::Created]),
        "so it was in doubt"
    );
    assert_eq!(
        again.unwrap().index(),
        place(0).index,
        "the same bytes find out"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_upload_is_found_out_by_the_same_bytes() {
    let world = World::new();
    let chain = world.chain();
    let gate = Gate::new();
    world
        .faulty
        .add(on_put(Fault::GateAfter(gate.clone())).times(1));
    let object = segment(place(0), 1).object;
    {
        let upload = std::pin::pin!(chain.upload(place(0), object.clone()));
        let arrived = std::pin::pin!(gate.arrived(1));
        let _dropped = futures::future::select(upload, arrived).await;
    }

    let again = chain.upload(place(0), object).await;

    assert_eq!(again.unwrap().index(), place(0).index);
}

#[tokio::test(start_paused = true)]
async fn only_a_segment_of_this_cluster_and_place_is_put() {
    let world = World::new();
    let chain = world.chain();
    let other_cluster = Chain::new(
        world.durable.clone(),
        world.env.clone(),
        ClusterId::from_bytes([3; 16]),
    );
    let wrong = [
        chain.upload(place(1), segment(place(2), 1).object),
        chain.upload(
            place(1),
            object_of(ObjectKind::SessionSeal, CLUSTER, 1, b"seal"),
        ),
        chain.upload(place(1), vec![0; 10].into()),
        other_cluster.upload(place(1), segment(place(1), 1).object),
    ];
    for upload in wrong {
        let ended = std::panic::AssertUnwindSafe(upload).catch_unwind().await;

        assert!(ended.is_err());
    }
    assert_eq!(world.requests(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn segments_in_flight_overlap_and_commit_in_order() {
    let world = World::new();
    let chain = world.chain();
    let gate = Gate::new();
    world
        .faulty
        .add(on_put(Fault::GateBefore(gate.clone())).times(1));
    let mut tail = ChainTail::new(SESSION);
    let segments: Vec<_> = (0..3).map(|n| wide_segment(place(n), 1, 2, 100)).collect();
    let [first, second, third] = [0, 1, 2].map(|n: usize| {
        let built = &segments[n];
        chain.upload(built.footer.segment, built.object.clone())
    });
    let others = async {
        gate.arrived(1).await;
        let (second, third) = futures::join!(second, third);
        let waiting = [second, third].map(|landed| tail.extend(landed.unwrap()).unwrap_err());
        gate.open();
        waiting
    };

    let (first, waiting) = futures::join!(first, others);
    let first = tail.extend(first.unwrap()).unwrap();

    assert_eq!(first.index(), place(0).index);
    for (uploaded, n) in waiting.into_iter().zip(1..) {
        assert_eq!(tail.extend(uploaded).unwrap().index(), place(n).index);
    }
    assert_eq!(world.requests(), (3, 0, 3));
}
