//! Marks never fall, knowledge is bounded, watchers are woken.

use std::time::Duration;

use esker_types::{
    ByteRange, ChainIndex, PartitionIndex, SegmentId, SessionId, Timestamp, TopicId,
};
use futures::FutureExt as _;

use super::*;

fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_bytes([1; 16]),
        partition: PartitionIndex::new(partition).unwrap(),
    }
}

fn extent(base: u64, end: u64) -> IndexExtent {
    IndexExtent {
        base_offset: offset(base),
        end_offset: offset(end),
        segment: SegmentId {
            session: SessionId::from_bytes([1; 16]),
            index: ChainIndex::new(base),
        },
        range: ByteRange::new(0, 10).unwrap(),
        max_timestamp: Timestamp::NONE,
    }
}

/// When the push told of an end.
fn pushed_at(to: u64) -> MonotonicTime {
    MonotonicTime::from_start(Duration::from_millis(to))
}

/// One extent of `partition` from `from` to `to`, told by the push.
fn push(view: &View, partition: u32, from: u64, to: u64) {
    let advance = PartitionAdvance {
        topic_partition: at(partition),
        log_start: Offset::ZERO,
        high_watermark: offset(to),
        extents: vec![extent(from, to)],
        previous_high_watermark: offset(from),
    };
    view.advance(&advance, pushed_at(to));
}

fn limits() -> ViewLimits {
    ViewLimits::new(1_000_000)
}

fn bases(found: &Found) -> Vec<u64> {
    let Found::Extents(stretch) = found else {
        return Vec::new();
    };
    let extents = stretch.extents.iter();
    extents.map(|extent| extent.base_offset.get()).collect()
}

fn asked(partition: u32, from: u64, view: &View) -> Asked {
    Asked {
        topic_partition: at(partition),
        offset: offset(from),
        extents_max: 2,
        generation: view.generation(),
    }
}

fn slice(extents: &[(u64, u64)], high_watermark: u64) -> IndexSlice {
    IndexSlice {
        log_start: Offset::ZERO,
        high_watermark: offset(high_watermark),
        extents: extents
            .iter()
            .map(|(base, end)| extent(*base, *end))
            .collect(),
    }
}

#[test]
fn a_partition_keeps_a_bounded_number_of_extents() {
    let view = View::new(limits());
    let most = u64::try_from(PARTITION_EXTENTS_MAX).unwrap();

    for base in 0..=most {
        push(&view, 0, base, base + 1);
    }

    assert_eq!(view.size().extents, PARTITION_EXTENTS_MAX);
    assert_eq!(view.find(at(0), offset(0), 1), Found::Unknown);
    assert_eq!(bases(&view.find(at(0), offset(1), 1)), [1]);
}

#[test]
fn all_partitions_together_keep_a_bounded_number_of_extents() {
    let view = View::new(ViewLimits::new(100));

    for base in 0..50 {
        for partition in 0..7 {
            push(&view, partition, base, base + 1);
            assert!(view.size().extents <= 100);
        }
    }

    for partition in 0..7 {
        let marks = view.marks(at(partition)).unwrap();
        assert_eq!(
            marks.high_watermark,
            offset(50),
            "marks are never forgotten"
        );
    }
    let kept = view.size().extents;
    assert!(kept > 50, "{kept} kept: it forgets no more than it must");
}

#[test]
fn one_partition_past_the_limit_is_answered_but_not_kept() {
    let view = View::new(ViewLimits {
        partitions_max: 2,
        ..limits()
    });
    push(&view, 0, 0, 1);
    push(&view, 1, 0, 1);
    push(&view, 2, 0, 1);

    let answer = view.learn(asked(3, 0, &view), 100, &slice(&[(0, 5)], 5));

    assert_eq!(bases(&answer), [0]);
    assert_eq!(view.size().partitions, 2);
    assert_eq!(limits().partitions_max, PARTITIONS_MAX);
}

#[test]
fn a_watch_past_the_limit_is_refused_and_none_outlives_its_holder() {
    let view = View::new(ViewLimits {
        watches_max: 3,
        ..limits()
    });
    let seen = |partition| Seen {
        topic_partition: at(partition),
        high_watermark: Offset::ZERO,
    };

    let first = view.watch(&[seen(0), seen(1), seen(0)], 0).unwrap();
    let second = view.watch(&[seen(0)], 0).unwrap();
    assert_eq!(
        view.size().watches,
        3,
        "a partition named twice counts once"
    );
    assert!(view.watch(&[seen(2)], 0).is_none(), "one past the limit");
    drop(first);
    assert!(view.watch(&[seen(1), seen(2)], 0).is_some());
    drop(second);

    assert_eq!(view.size().watches, 0);
    assert_eq!(limits().watches_max, WATCHES_MAX);
}

#[test]
fn a_watch_wakes_for_what_came_before_it_and_for_what_comes_after() {
    let view = View::new(limits());
    push(&view, 0, 0, 5);
    let watch = |high_watermark| {
        let seen = Seen {
            topic_partition: at(0),
            high_watermark: offset(high_watermark),
        };
        view.watch(&[seen], 0).unwrap()
    };
    let is_woken = |watch: &Watch| watch.woken().now_or_never().is_some();

    assert!(is_woken(&watch(4)), "it has grown since it was seen");
    let waiting = watch(5);
    assert!(!is_woken(&waiting));
    push(&view, 1, 0, 5);
    assert!(!is_woken(&waiting), "another partition");
    push(&view, 0, 5, 6);
    assert!(is_woken(&waiting) && !is_woken(&waiting));
    view.begin_generation();
    assert!(is_woken(&waiting));
    assert!(is_woken(&watch(6)), "the feed began anew since it was seen");
}

#[test]
fn only_a_reader_close_to_the_end_is_hot() {
    let view = View::new(limits());
    let count = u64::try_from(HOT_EXTENTS).unwrap() + 1;
    for base in 0..count {
        push(&view, 0, base, base + 1);
    }
    let is_hot = |from| match view.find(at(0), offset(from), 1) {
        Found::Extents(stretch) => stretch.hot,
        other => panic!("{from} is known: {other:?}"),
    };

    assert!(!is_hot(0) && is_hot(1) && is_hot(count - 1));
}

#[test]
fn a_stretch_tells_when_the_feed_last_told_that_the_log_grew() {
    let view = View::new(limits());
    push(&view, 0, 0, 4);
    push(&view, 0, 4, 9);
    let start = PartitionAdvance {
        topic_partition: at(0),
        log_start: offset(1),
        high_watermark: offset(9),
        extents: Vec::new(),
        previous_high_watermark: offset(9),
    };
    view.advance(&start, pushed_at(10));
    let Found::Extents(stretch) = view.find(at(0), offset(5), 1) else {
        panic!("5 is known");
    };

    assert_eq!(stretch.marks.log_start, offset(1));
    assert_eq!(stretch.grew, Some(pushed_at(9)), "its start alone rose");
}

#[test]
fn a_reader_that_catches_up_does_not_displace_the_tail() {
    let view = View::new(limits());
    view.begin_generation();
    push(&view, 0, 100, 110);

    let old = view.learn(asked(0, 0, &view), 100, &slice(&[(0, 10), (10, 20)], 110));
    let known = view.find(at(0), offset(12), 100);
    let tail = view.find(at(0), offset(105), 100);

    assert_eq!(bases(&old), [0, 10]);
    assert_eq!(bases(&known), [10]);
    assert_eq!(bases(&tail), [100]);
    assert_eq!(view.find(at(0), offset(20), 100), Found::Unknown);
    assert_eq!(
        view.find(at(0), offset(110), 1),
        Found::AtEnd(view.marks(at(0)).unwrap())
    );
}

#[test]
fn a_look_up_from_an_older_feed_does_not_make_the_end_the_logs_end() {
    let view = View::new(limits());
    let stale = asked(0, 5, &view);
    view.begin_generation();

    assert_eq!(view.learn(stale, 1, &slice(&[], 5)), Found::Unknown);

    let fresh = view.learn(asked(0, 5, &view), 1, &slice(&[], 5));
    assert!(matches!(fresh, Found::AtEnd(_)));
    let above = view.find(at(0), offset(6), 1);
    assert!(matches!(above, Found::AboveEnd(_)));
}

#[test]
fn log_start_moves_up_and_what_lies_below_is_forgotten() {
    let view = View::new(limits());
    push(&view, 0, 0, 5);
    push(&view, 0, 5, 9);
    let start = |log_start| PartitionAdvance {
        topic_partition: at(0),
        log_start: offset(log_start),
        high_watermark: offset(9),
        extents: Vec::new(),
        previous_high_watermark: offset(9),
    };

    view.advance(&start(6), pushed_at(1));
    view.advance(&start(2), pushed_at(2));

    assert_eq!(view.marks(at(0)).unwrap().log_start, offset(6));
    assert!(matches!(
        view.find(at(0), offset(5), 1),
        Found::BelowStart(_)
    ));
    assert_eq!(bases(&view.find(at(0), offset(6), 1)), [5]);
    assert_eq!(view.size().extents, 1);
}

#[test]
fn an_older_topic_table_forgets_nothing() {
    let view = View::new(limits());
    push(&view, 0, 0, 5);
    let empty = |version| {
        let mut table = TopicTable::default();
        table.version = version;
        table
    };
    let mut newer = empty(7);
    newer.insert(esker_metadata_api::Topic {
        id: at(0).topic,
        name: esker_metadata_api::TopicName::new("t").unwrap(),
        partition_count: std::num::NonZeroU32::MIN,
        replication_factor: 1,
        configs: BTreeMap::new(),
        defaults: std::sync::Arc::default(),
    });

    view.retain_topics(&newer);
    view.retain_topics(&empty(7));
    assert_eq!(view.size().partitions, 1);
    view.retain_topics(&empty(9));

    assert_eq!((view.size().partitions, view.size().extents), (0, 0));
}

#[test]
fn distrust_forgets_where_bytes_are_but_not_the_marks() {
    let view = View::new(limits());
    push(&view, 0, 0, 5);

    view.distrust(at(0));

    assert_eq!(view.find(at(0), offset(0), 1), Found::Unknown);
    assert_eq!(view.marks(at(0)).unwrap().high_watermark, offset(5));
    assert_eq!(view.size().extents, 0);
    let again = view.learn(asked(0, 0, &view), 1, &slice(&[(0, 5)], 5));
    assert_eq!(bases(&again), [0]);
    assert_eq!(bases(&view.find(at(0), offset(3), 1)), [0]);
}
