//! Looks: one read tells missing, segment and seal; what names another place does not count.

use bytes::Bytes;
use esker_object::{Fault, StoreErrorKind};
use esker_segment::FOOTER_TAIL_BYTES;
use esker_types::{ClusterId, OBJECT_HEADER_BYTES, ObjectHeader, ObjectKind, WriteId};

use super::world::{CLUSTER, World, key_of, object_of, on_get, place, segment, wide_segment};
use crate::limits::FOREIGN_READS_MAX;
use crate::{ForeignObject, LookError, PlaceHolder, SessionSeal};

fn seal_of(index: u64) -> Bytes {
    let seal = SessionSeal {
        place: place(index),
        sealer_epoch: None,
    };
    seal.encode(CLUSTER, WriteId::from_bytes([1; 16]))
}

#[tokio::test(start_paused = true)]
async fn one_read_tells_missing_segment_and_seal() {
    let world = World::new();
    let chain = world.chain();
    let small = world.plant_segment(1).await;
    let large = wide_segment(place(2), 1, 3, 100_000);
    world.plant(&key_of(2), large.object).await;
    world.plant(&key_of(3), seal_of(3)).await;

    let looks = [0, 1, 2, 3].map(|index| chain.look(place(index)));
    let held = futures::future::join_all(looks).await;

    let held: Vec<_> = held.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        held,
        [
            PlaceHolder::Missing,
            PlaceHolder::Segment(small.footer),
            PlaceHolder::Segment(large.footer),
            PlaceHolder::Seal,
        ]
    );
    assert_eq!(world.requests(), (0, 4, 4), "one get each");
}

#[tokio::test(start_paused = true)]
async fn a_footer_longer_than_the_first_read_takes_a_second() {
    let world = World::new();
    let wide = wide_segment(place(0), 1, 2000, 10);
    assert!(wide.footer.encode().len() > usize::try_from(FOOTER_TAIL_BYTES).unwrap());
    world.plant(&key_of(0), wide.object).await;

    let holder = world.chain().look(place(0)).await.unwrap();

    assert_eq!(holder, PlaceHolder::Segment(wide.footer));
    assert_eq!(world.requests(), (0, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_object_gone_between_the_two_reads_is_missing() {
    let world = World::new();
    world
        .plant(&key_of(0), wide_segment(place(0), 1, 2000, 10).object)
        .await;
    world.faulty.add(on_get(Fault::Missing).skip(1).times(1));

    let holder = world.chain().look(place(0)).await.unwrap();

    assert_eq!(holder, PlaceHolder::Missing);
    assert_eq!(world.faulty.struck(), 1);
}

/// What a look at place 5 finds foreign in `object`.
async fn foreign(object: Bytes) -> ForeignObject {
    let world = World::new();
    world.plant(&key_of(5), object).await;
    let error = world.chain().look(place(5)).await.unwrap_err();
    let reads = usize::try_from(FOREIGN_READS_MAX).unwrap();
    assert_eq!(world.requests(), (0, reads, reads), "read again to be sure");
    match error {
        LookError::Foreign { segment, source } if segment == place(5) => source,
        error => panic!("{error:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_counts_only_at_the_place_it_names() {
    let seal = foreign(seal_of(6)).await;
    let small = foreign(segment(place(6), 1).object).await;
    let large = foreign(wide_segment(place(6), 1, 3, 100_000).object).await;

    for source in [seal, small, large] {
        assert!(
            matches!(source, ForeignObject::OtherPlace { found } if found == place(6)),
            "{source:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_of_another_cluster_is_foreign() {
    let other = ClusterId::from_bytes([3; 16]);
    let seal = SessionSeal {
        place: place(5),
        sealer_epoch: None,
    };
    let mut segment = segment(place(5), 1).object.to_vec();
    let mut header = ObjectHeader::decode(&segment).unwrap();
    header.cluster = other;
    segment[..OBJECT_HEADER_BYTES].copy_from_slice(&header.encode());

    let of_seal = foreign(seal.encode(other, WriteId::from_bytes([1; 16]))).await;
    let of_segment = foreign(segment.into()).await;

    for source in [of_seal, of_segment] {
        assert!(
            matches!(source, ForeignObject::OtherCluster { found, expected }
                if found == other && expected == CLUSTER),
            "{source:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_neither_are_foreign() {
    let head = foreign(object_of(ObjectKind::JournalHead, CLUSTER, 1, b"head")).await;
    let bare = foreign(Bytes::from_static(b"bare")).await;
    let longer = foreign([seal_of(5).as_ref(), b"!"].concat().into()).await;
    let no_footer = foreign(object_of(ObjectKind::Segment, CLUSTER, 1, &[0; 100])).await;
    let large = foreign(vec![0; 100_000].into()).await;
    let no_seal = foreign(object_of(ObjectKind::SessionSeal, CLUSTER, 1, b"seal")).await;

    assert!(matches!(
        head,
        ForeignObject::Kind {
            kind: ObjectKind::JournalHead
        }
    ));
    assert!(matches!(bare, ForeignObject::Header(_)));
    assert!(matches!(
        longer,
        ForeignObject::Length {
            object_bytes: 97,
            header_bytes: 96
        }
    ));
    assert!(matches!(no_footer, ForeignObject::Footer(_)));
    assert!(matches!(large, ForeignObject::Footer(_)));
    assert!(matches!(no_seal, ForeignObject::Seal(_)));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_was_damaged_on_its_way_is_repeated() {
    for fault in [Fault::Flip, Fault::Truncate] {
        for (wrong_reads, known) in [(FOREIGN_READS_MAX - 1, true), (FOREIGN_READS_MAX, false)] {
            let world = World::new();
            let built = world.plant_segment(5).await;
            let times = u64::from(wrong_reads);
            world.faulty.add(on_get(fault.clone()).times(times));

            let looked = world.plain_chain().look(place(5)).await;

            match looked {
                Ok(holder) => assert_eq!(holder, PlaceHolder::Segment(built.footer)),
                Err(LookError::Foreign {
                    source: ForeignObject::CutRead { .. },
                    ..
                }) => {
                    assert!(matches!(fault, Fault::Truncate) && !known);
                }
                Err(error) => {
                    assert!(matches!(error, LookError::Foreign { .. }));
                    assert!(matches!(fault, Fault::Flip) && !known);
                }
            }
            assert_eq!(world.faulty.struck(), times);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_no_missing_place() {
    for kind in [StoreErrorKind::Denied, StoreErrorKind::Throttled] {
        let world = World::new();
        world.faulty.add(on_get(Fault::Refuse(kind)));

        let error = world.chain().look(place(0)).await.unwrap_err();

        assert!(matches!(error, LookError::Store { segment, .. } if segment == place(0)));
    }
}
