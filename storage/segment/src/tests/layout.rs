//! The rules of a segment: the decoder refuses what breaks them, the builder stops.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use esker_record::limits::RECORDS_PER_BATCH_MAX;
use esker_types::limits::{
    BATCHES_PER_SEGMENT_MAX, OFFSET_MAX, RECORD_BATCH_BYTES_MAX, SEGMENT_BYTES_MAX,
};
use esker_types::{Offset, Timestamp};

use super::{batch, head, partition, placed, producer, small};
use crate::limits::{FOOTER_BYTES_MAX, SEGMENT_OBJECT_BYTES_MAX};
use crate::{LayoutError, PlacedBatch, SegmentBuilder, SegmentFooter};

fn one_at(base: u64) -> PlacedBatch {
    PlacedBatch {
        topic_partition: partition(1, 0),
        base_offset: Offset::new(base).unwrap(),
        record_count: 1,
        max_timestamp: Timestamp::from_millis(5),
        producer: None,
        transactional: false,
    }
}

fn lay_out(batches: &[(PlacedBatch, u32)]) -> Result<SegmentFooter, LayoutError> {
    let batches = batches.iter().map(|(placed, bytes)| (*placed, *bytes, 0));
    SegmentFooter::lay_out(head().segment, head().epoch, batches)
}

#[test]
fn a_segment_has_a_batch() {
    assert_eq!(lay_out(&[]), Err(LayoutError::Empty));
}

#[test]
fn offsets_of_a_partition_leave_no_gap_and_do_not_overlap() {
    for found in [9, 10, 12] {
        let result = lay_out(&[(one_at(10), 70), (one_at(found), 70)]);

        let (expected, found) = (Offset::new(11).unwrap(), Offset::new(found).unwrap());
        assert_eq!(result, Err(LayoutError::OffsetGap { expected, found }));
    }
    assert!(lay_out(&[(one_at(10), 70), (one_at(11), 70)]).is_ok());
}

#[test]
fn a_partition_lies_in_one_place() {
    let other = PlacedBatch {
        topic_partition: partition(1, 1),
        ..one_at(0)
    };

    let result = lay_out(&[(one_at(0), 70), (other, 70), (one_at(1), 70)]);

    let topic_partition = partition(1, 0);
    assert_eq!(result, Err(LayoutError::Scattered { topic_partition }));
}

#[test]
fn a_batch_stops_at_its_limits_of_bytes_and_records() {
    let of = |record_count| PlacedBatch {
        record_count,
        ..one_at(0)
    };

    assert!(lay_out(&[(one_at(0), RECORD_BATCH_BYTES_MAX)]).is_ok());
    assert!(lay_out(&[(one_at(0), 61)]).is_ok());
    for batch_bytes in [0, 60, RECORD_BATCH_BYTES_MAX + 1] {
        let result = lay_out(&[(one_at(0), batch_bytes)]);
        assert_eq!(result, Err(LayoutError::BatchBytes { batch_bytes }));
    }
    assert!(lay_out(&[(of(RECORDS_PER_BATCH_MAX), 70)]).is_ok());
    for record_count in [0, RECORDS_PER_BATCH_MAX + 1] {
        let result = lay_out(&[(of(record_count), 70)]);
        assert_eq!(result, Err(LayoutError::RecordCount { record_count }));
    }
}

#[test]
fn a_segment_stops_at_its_limit_of_bytes() {
    let rest = SEGMENT_BYTES_MAX - RECORD_BATCH_BYTES_MAX;
    let of = |bytes| lay_out(&[(one_at(0), RECORD_BATCH_BYTES_MAX), (one_at(1), bytes)]);

    assert!(of(rest).is_ok());
    let batches_bytes = u64::from(SEGMENT_BYTES_MAX) + 1;
    assert_eq!(
        of(rest + 1),
        Err(LayoutError::SegmentBytes { batches_bytes })
    );
}

#[test]
fn a_segment_stops_at_its_limit_of_batches() {
    let of = |count: u32| {
        let batches: Vec<_> = (0..count).map(|at| (one_at(u64::from(at)), 61)).collect();
        lay_out(&batches)
    };

    assert!(of(BATCHES_PER_SEGMENT_MAX).is_ok());
    let count = BATCHES_PER_SEGMENT_MAX + 1;
    assert_eq!(of(count), Err(LayoutError::BatchCount { count }));
}

#[test]
fn the_largest_footer_has_exactly_the_largest_length() {
    let batches: Vec<_> = (0..BATCHES_PER_SEGMENT_MAX)
        .map(|at| {
            let topic = u8::try_from(at % 7).unwrap();
            let placed = PlacedBatch {
                topic_partition: partition(topic, at / 7),
                producer: Some(producer(0)),
                ..one_at(0)
            };
            (placed, 61)
        })
        .collect();

    let footer = lay_out(&batches).unwrap();

    let encoded = footer.encode();
    assert_eq!(u32::try_from(encoded.len()), Ok(FOOTER_BYTES_MAX));
    assert_eq!(SegmentFooter::decode(&encoded), Ok(footer));
    let most = 64 + SEGMENT_BYTES_MAX + FOOTER_BYTES_MAX + 12;
    assert_eq!(SEGMENT_OBJECT_BYTES_MAX, most);
}

#[test]
fn offsets_stop_at_the_largest() {
    let last = |record_count| PlacedBatch {
        base_offset: Offset::new(OFFSET_MAX - 1).unwrap(),
        record_count,
        ..one_at(0)
    };

    assert!(lay_out(&[(last(1), 70)]).is_ok());
    let base_offset = last(2).base_offset;
    let exhausted = LayoutError::OffsetsExhausted { base_offset };
    assert_eq!(lay_out(&[(last(2), 70)]), Err(exhausted));
}

#[test]
fn a_sequence_is_not_negative() {
    let before_zero = PlacedBatch {
        producer: Some(producer(-1)),
        ..one_at(0)
    };

    let result = lay_out(&[(before_zero, 70)]);

    assert_eq!(result, Err(LayoutError::BaseSequence { base_sequence: -1 }));
}

/// True when the builder stops instead of taking `batch` under `placed`.
fn stops(placed: PlacedBatch, batch: &[u8]) -> bool {
    let before = self::batch(1, None);
    let mut builder = SegmentBuilder::new(head());
    builder.push(super::placed(partition(1, 0), 10, &before), &before);
    catch_unwind(AssertUnwindSafe(|| builder.push(placed, batch))).is_err()
}

#[test]
fn the_builder_stops_rather_than_write_a_wrong_segment() {
    let bytes = batch(2, Some(producer(1)));
    let right = placed(partition(1, 0), 11, &bytes);
    assert!(!stops(right, &bytes));

    let cut = bytes.slice(..bytes.len() - 1);
    let two = Bytes::from([bytes.as_ref(), bytes.as_ref()].concat());
    for wrong in [&bytes[..40], &cut, &two] {
        assert!(stops(right, wrong));
    }
    let changes: [fn(&mut PlacedBatch); 7] = [
        |placed| placed.base_offset = Offset::ZERO,
        |placed| placed.base_offset = Offset::new(12).unwrap(),
        |placed| placed.record_count = 1,
        |placed| placed.max_timestamp = Timestamp::from_millis(1),
        |placed| placed.producer = None,
        |placed| placed.producer = Some(producer(2)),
        |placed| placed.transactional = false,
    ];
    for change in changes {
        let mut wrong = right;
        change(&mut wrong);
        assert!(stops(wrong, &bytes), "{wrong:?}");
    }
}

#[test]
fn nothing_is_built_of_no_batches() {
    let built = catch_unwind(|| SegmentBuilder::new(head()).finish());

    assert!(built.is_err());
}

#[test]
fn a_footer_changed_by_hand_is_not_written() {
    let changes: [fn(&mut SegmentFooter); 3] = [
        |footer| footer.batches.swap(0, 1),
        |footer| {
            footer
                .batches
                .retain(|batch| batch.base_offset.get() != 100)
        },
        |footer| footer.batches.clear(),
    ];
    for change in changes {
        let mut footer = small().footer;
        change(&mut footer);
        assert!(catch_unwind(|| footer.encode()).is_err());
    }
}
