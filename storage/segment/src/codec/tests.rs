//! Hostile footers, field by field: each is refused by name, and none takes memory it should not.

use super::*;
use crate::tests::small;

/// Where things lie in the footer of the small segment.
const COUNT_AT: usize = 34;
const FIRST_RUN_AT: usize = 38;
const PARTITION_AT: usize = FIRST_RUN_AT + 16;
const OFFSET_AT: usize = FIRST_RUN_AT + 20;
const RUN_COUNT_AT: usize = FIRST_RUN_AT + 28;
const FIRST_BATCH_AT: usize = FIRST_RUN_AT + 32;
const FLAGS_AT: usize = FIRST_BATCH_AT + 20;
const PRODUCER_AT: usize = FIRST_BATCH_AT + 21;
const SECOND_BATCH_AT: usize = PRODUCER_AT + 14;
const SECOND_RUN_AT: usize = SECOND_BATCH_AT + 21;

fn with(at: usize, bytes: &[u8]) -> Result<SegmentFooter, FooterError> {
    let mut encoded = small().footer.encode();
    encoded[at..at + bytes.len()].copy_from_slice(bytes);
    SegmentFooter::decode(&encoded)
}

fn with_u32(at: usize, value: u32) -> Result<SegmentFooter, FooterError> {
    with(at, &value.to_be_bytes())
}

#[test]
fn a_version_from_the_future_is_refused_by_name() {
    assert_eq!(with(0, &[2]), Err(FooterError::Version { version: 2 }));
    assert_eq!(with(0, &[0]), Err(FooterError::Version { version: 0 }));
}

#[test]
fn unknown_flags_are_refused() {
    assert_eq!(with(1, &[1]), Err(FooterError::Flags { flags: 1 }));
    assert_eq!(
        with(FLAGS_AT, &[0x84]),
        Err(FooterError::Flags { flags: 0x84 })
    );
}

#[test]
fn a_count_that_the_bytes_cannot_hold_is_refused_before_memory_is_taken() {
    for count in [9, 1000, u32::MAX] {
        assert!(matches!(
            with_u32(COUNT_AT, count),
            Err(FooterError::Short(_))
        ));
    }
}

#[test]
fn a_count_past_the_limit_is_refused_whatever_follows() {
    let count = BATCHES_PER_SEGMENT_MAX + 1;
    let mut encoded = small().footer.encode();
    encoded[COUNT_AT..FIRST_RUN_AT].copy_from_slice(&count.to_be_bytes());
    encoded.resize(encoded.len() + 21 * 16_385, 0);

    let decoded = SegmentFooter::decode(&encoded);

    let too_many = LayoutError::BatchCount { count };
    assert_eq!(decoded, Err(FooterError::Layout(too_many)));
}

#[test]
fn counts_of_batches_and_runs_must_agree() {
    let empty = FooterError::Layout(LayoutError::Empty);
    assert_eq!(with_u32(COUNT_AT, 0), Err(empty));
    assert!(matches!(
        with_u32(COUNT_AT, 2),
        Err(FooterError::Trailing { .. })
    ));
    assert!(matches!(with_u32(COUNT_AT, 4), Err(FooterError::Short(_))));
    let count = 0;
    assert_eq!(
        with_u32(RUN_COUNT_AT, 0),
        Err(FooterError::RunCount { count, left: 3 })
    );
    let count = 4;
    assert_eq!(
        with_u32(RUN_COUNT_AT, 4),
        Err(FooterError::RunCount { count, left: 3 })
    );
}

#[test]
fn a_partition_and_an_offset_past_their_limits_are_refused() {
    let partition = 10_000;
    assert_eq!(
        with_u32(PARTITION_AT, partition),
        Err(FooterError::Partition { partition })
    );
    let offset = 1_u64 << 63;
    let decoded = with(OFFSET_AT, &offset.to_be_bytes());
    assert_eq!(decoded, Err(FooterError::Offset { offset }));
}

#[test]
fn a_run_past_the_largest_offset_is_refused() {
    let decoded = with(OFFSET_AT, &((1_u64 << 63) - 2).to_be_bytes());

    let exhausted = matches!(
        decoded,
        Err(FooterError::Layout(LayoutError::OffsetsExhausted { .. }))
    );
    assert!(exhausted, "{decoded:?}");
}

#[test]
fn a_batch_of_impossible_bytes_or_records_is_refused() {
    for batch_bytes in [0, 60, u32::MAX] {
        let impossible = LayoutError::BatchBytes { batch_bytes };
        let decoded = with_u32(FIRST_BATCH_AT, batch_bytes);
        assert_eq!(decoded, Err(FooterError::Layout(impossible)));
    }
    for record_count in [0, u32::MAX] {
        let impossible = LayoutError::RecordCount { record_count };
        let decoded = with_u32(FIRST_BATCH_AT + 4, record_count);
        assert_eq!(decoded, Err(FooterError::Layout(impossible)));
    }
}

#[test]
fn a_negative_producer_is_refused() {
    let decoded = with(PRODUCER_AT, &(-1_i64).to_be_bytes());
    assert!(matches!(
        decoded,
        Err(FooterError::Producer {
            producer_id: -1,
            ..
        })
    ));
    let decoded = with(PRODUCER_AT + 8, &(-3_i16).to_be_bytes());
    assert!(matches!(
        decoded,
        Err(FooterError::Producer {
            producer_epoch: -3,
            ..
        })
    ));
    let decoded = with(PRODUCER_AT + 10, &(-1_i32).to_be_bytes());
    let sequence = LayoutError::BaseSequence { base_sequence: -1 };
    assert_eq!(decoded, Err(FooterError::Layout(sequence)));
}

#[test]
fn a_partition_in_two_runs_is_refused_even_when_they_meet() {
    let first = small().footer.batches[0];
    let mut run = [0; 28];
    run[..16].copy_from_slice(&first.topic_partition.topic.bytes());
    run[16..20].copy_from_slice(&first.topic_partition.partition.get().to_be_bytes());
    run[20..].copy_from_slice(&104_u64.to_be_bytes());

    let decoded = with(SECOND_RUN_AT, &run);

    let topic_partition = first.topic_partition;
    let scattered = LayoutError::Scattered { topic_partition };
    assert_eq!(decoded, Err(FooterError::Layout(scattered)));
}
