//! Shares follow the order of the request; neighbours become one read.

use esker_types::{ChainIndex, PartitionIndex, SessionId, Timestamp, TopicId, TopicPartition};

use super::*;
use crate::view::{Marks, Stretch};

fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

fn segment(index: u64) -> SegmentId {
    SegmentId {
        session: SessionId::from_bytes([1; 16]),
        index: ChainIndex::new(index),
    }
}

/// 100 offsets in 1000 bytes of segment `index`, from byte `at` on.
fn extent(index: u64, base: u64, at: u64) -> IndexExtent {
    IndexExtent {
        base_offset: offset(base),
        end_offset: offset(base + 100),
        segment: segment(index),
        range: ByteRange::new(at, at + 1000).unwrap(),
        max_timestamp: Timestamp::NONE,
    }
}

fn intent(partition: u32, from: u64, bytes_max: u32) -> ReadIntent {
    ReadIntent {
        topic_partition: TopicPartition {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionIndex::new(partition).unwrap(),
        },
        offset: offset(from),
        bytes_max,
    }
}

fn ready(extents: &[IndexExtent]) -> Located {
    Located::Ready(Stretch {
        marks: Marks::default(),
        extents: extents.to_vec(),
        hot: false,
        grew: None,
    })
}

fn planned_bytes(plan: &ReadPlan) -> Vec<Vec<u64>> {
    let bytes = |span: &Span| span.range.byte_count();
    let parts = plan.parts.iter();
    parts
        .map(|part| part.spans.iter().map(bytes).collect())
        .collect()
}

#[test]
fn shares_follow_the_order_and_the_first_partition_always_gets_one() {
    let located = [
        ready(&[extent(1, 0, 64), extent(2, 100, 64)]),
        Located::AtEnd(Marks::default()),
        ready(&[extent(3, 0, 64)]),
        ready(&[extent(4, 0, 64)]),
    ];
    let intents = [
        intent(0, 0, 1500),
        intent(1, 0, 1500),
        intent(2, 0, 200),
        intent(3, 0, 1500),
    ];

    let roomy = plan(&intents, &located, 10_000, 0);
    let tight = plan(&intents, &located, 1600, 0);
    let nothing = plan(&intents, &located, 0, 0);
    let rotated = plan(&intents, &located, 600, 3);

    assert_eq!(roomy.available_bytes, 1500 + 200 + 1000);
    assert_eq!(
        planned_bytes(&roomy),
        [vec![1000, 500], vec![], vec![200], vec![1000]]
    );
    assert_eq!(
        planned_bytes(&tight),
        [vec![1000, 500], vec![], vec![100], vec![]]
    );
    assert_eq!(planned_bytes(&nothing), [vec![1], vec![], vec![], vec![]]);
    assert_eq!(planned_bytes(&rotated), [vec![], vec![], vec![], vec![600]]);
}

#[test]
fn what_lies_in_front_of_the_offset_is_read_but_not_counted() {
    let located = [ready(&[extent(1, 0, 64), extent(2, 100, 64)])];

    let halfway = plan(&[intent(0, 50, 400)], &located, 10_000, 0);
    let beyond = plan(&[intent(0, 90, 400)], &located, 10_000, 0);

    assert_eq!(planned_bytes(&halfway), [vec![900]]);
    assert_eq!(planned_bytes(&beyond), [vec![1000, 300]]);
    assert_eq!(beyond.available_bytes, 400);
    let all = plan(&[intent(0, 90, 9000)], &located, 10_000, 0);
    assert_eq!(all.available_bytes, 1100);
}

#[test]
fn the_order_begins_at_the_starved_partition_and_goes_round() {
    assert_eq!(order(4, 0).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(order(4, 2).collect::<Vec<_>>(), [2, 3, 0, 1]);
    assert_eq!(order(4, 4).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(order(0, 0).count(), 0);
}

#[test]
fn neighbours_are_read_as_one_and_far_ones_apart() {
    let far = 64 + 3000 + MERGE_GAP_BYTES;
    let located = [
        ready(&[extent(1, 0, 2064)]),
        ready(&[extent(1, 0, 64)]),
        ready(&[extent(1, 0, 1064), extent(2, 100, 64)]),
        ready(&[extent(1, 0, far)]),
        ready(&[extent(1, 0, far + 1000 + MERGE_GAP_BYTES + 1)]),
    ];
    let intents: Vec<_> = (0..5).map(|partition| intent(partition, 0, 5000)).collect();
    let plan = plan(&intents, &located, 50_000, 0);

    let reads = plan.reads(|part| if part == 1 { Heat::Hot } else { Heat::Cold });

    let ranges: Vec<_> = reads
        .iter()
        .map(|read| {
            (
                read.segment.index.get(),
                read.range.start(),
                read.range.end(),
                read.heat,
            )
        })
        .collect();
    let last = far + 1000 + MERGE_GAP_BYTES + 1;
    assert_eq!(
        ranges,
        [
            (1, 64, far + 1000, Heat::Hot),
            (1, last, last + 1000, Heat::Cold),
            (2, 64, 1064, Heat::Cold),
        ]
    );
    let at = |part, span| SpanAt { part, span };
    assert_eq!(
        reads[0].targets,
        [
            (at(1, 0), 0..1000),
            (at(2, 0), 1000..2000),
            (at(0, 0), 2000..3000),
            (at(3, 0), far - 64..far - 64 + 1000),
        ]
    );
}

#[test]
fn a_joined_read_is_never_larger_than_the_cache_allows() {
    let half = READ_BYTES_MAX / 2;
    let wide = |at: u64, bytes: u64| IndexExtent {
        range: ByteRange::new(at, at + bytes).unwrap(),
        ..extent(1, 0, 64)
    };
    let intents = [intent(0, 0, u32::MAX), intent(1, 0, u32::MAX)];

    for (second, reads) in [(half, 1), (half + 1, 2)] {
        let located = [ready(&[wide(0, half)]), ready(&[wide(half, second)])];
        let plan = plan(&intents, &located, u32::MAX, 0);

        assert_eq!(plan.reads(|_| Heat::Cold).len(), reads);
    }
}
