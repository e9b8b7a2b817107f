//! One row for each way a batch can end, and nothing that looks like an offset where none is.

use std::sync::Arc;
use std::time::Duration;

use esker_metadata_api::MetadataError;
use esker_types::{Offset, ShortBytes};

use super::*;

fn invalid(error: ValidateError) -> AppendError {
    AppendError::Invalid(Arc::new(error))
}

fn batch(error: BatchError) -> AppendError {
    invalid(ValidateError::Batch(error))
}

/// Every error with the code that clients understand and what the caller may do.
fn table() -> Vec<(AppendError, i16, AppendErrorKind)> {
    use AppendErrorKind as Kind;
    let zero = Timestamp::from_millis(0);
    let incomplete = BatchError::Incomplete {
        batch_bytes: 2,
        found_bytes: 1,
    };
    let short = BatchError::Short(ShortBytes {
        position: 0,
        wanted: 61,
    });
    let silence = Duration::from_secs(15);
    vec![
        (AppendError::Acks { acks: 7 }, 21, Kind::Invalid),
        (AppendError::UnknownPartition, 3, Kind::Refresh),
        (
            AppendError::Unconfirmed(MetadataError::Unknown),
            56,
            Kind::Retry,
        ),
        (AppendError::Empty, 87, Kind::Invalid),
        (
            AppendError::TimestampTooEarly { timestamp: zero },
            32,
            Kind::Invalid,
        ),
        (AppendError::Transactional, 48, Kind::Invalid),
        (AppendError::Voided, 6, Kind::Refresh),
        (AppendError::StoreRefused, 56, Kind::Retry),
        (AppendError::NotReserved, 56, Kind::Retry),
        (AppendError::NoSequencer { silence }, 6, Kind::Refresh),
        (AppendError::Undecided, 7, Kind::Indeterminate),
        (AppendError::Stopping, 6, Kind::Closed),
        (batch(BatchError::Checksum), 2, Kind::Corrupt),
        (batch(incomplete), 2, Kind::Corrupt),
        (batch(short), 87, Kind::Invalid),
        (batch(BatchError::Magic { magic: 1 }), 87, Kind::Invalid),
        (batch(BatchError::Codec { code: 7 }), 87, Kind::Invalid),
        (batch(BatchError::Length { length: -1 }), 87, Kind::Invalid),
        (
            batch(BatchError::RecordCount { count: -1 }),
            87,
            Kind::Invalid,
        ),
        (
            batch(BatchError::LastOffsetDelta { delta: -1 }),
            87,
            Kind::Invalid,
        ),
        (invalid(ValidateError::Zstd), 76, Kind::Invalid),
        (invalid(ValidateError::AppendTime), 32, Kind::Invalid),
        (invalid(ValidateError::Control), 87, Kind::Invalid),
        (
            invalid(ValidateError::Trailing { left_bytes: 1 }),
            87,
            Kind::Invalid,
        ),
        (
            invalid(ValidateError::BaseOffset { base_offset: 1 }),
            87,
            Kind::Invalid,
        ),
        (
            invalid(ValidateError::KeyMissing {
                records: vec![3, 5],
            }),
            87,
            Kind::Invalid,
        ),
        (refused(ProduceRefusal::UnknownPartition), 3, Kind::Refresh),
        (
            refused(ProduceRefusal::OutOfOrderSequence),
            45,
            Kind::Invalid,
        ),
        (
            refused(ProduceRefusal::DuplicateForgotten),
            46,
            Kind::Invalid,
        ),
        (refused(ProduceRefusal::ProducerFenced), 47, Kind::Fenced),
        (refused(ProduceRefusal::PredecessorVoid), 6, Kind::Refresh),
        (refused(ProduceRefusal::OffsetsExhausted), 44, Kind::Invalid),
        (
            refused(ProduceRefusal::UnexpectedEnd { end: Offset::ZERO }),
            44,
            Kind::Invalid,
        ),
    ]
}

fn refused(refusal: ProduceRefusal) -> AppendError {
    AppendError::Refused(refusal)
}

#[test]
fn every_error_has_its_code_and_no_offset() {
    for (error, code, kind) in table() {
        let row = row(4, Err(error.clone()));

        assert_eq!((row.index, row.error_code), (4, code), "{error:?}");
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(
            (
                row.base_offset,
                row.log_start_offset,
                row.log_append_time_ms
            ),
            (-1, -1, -1),
            "{error:?}"
        );
        assert_eq!(
            row.error_message.is_some(),
            kind == AppendErrorKind::Invalid
        );
    }
}

#[test]
fn a_code_that_a_client_takes_for_success_or_for_lost_is_never_ours() {
    for (error, code, kind) in table() {
        assert!(code > 0, "{error:?}: neither success nor -1");
        if kind == AppendErrorKind::Indeterminate {
            assert_eq!(
                code, 7,
                "{error:?}: librdkafka takes 7 for possibly written"
            );
        }
    }
}

#[test]
fn success_carries_the_offsets_and_the_time_if_there_is_one() {
    let appended = Appended {
        base_offset: Offset::new(5).unwrap(),
        log_start: Offset::new(2).unwrap(),
        log_append_time: None,
    };
    let stamped = Appended {
        log_append_time: Some(Timestamp::from_millis(99)),
        ..appended
    };

    let plain = row(0, Ok(appended));
    let stamped = row(0, Ok(stamped));

    assert_eq!((plain.base_offset, plain.log_start_offset), (5, 2));
    assert_eq!(plain.log_append_time_ms, -1);
    assert_eq!(stamped.log_append_time_ms, 99);
}

#[test]
fn a_record_without_a_key_is_pointed_at() {
    let row = row(
        0,
        Err(invalid(ValidateError::KeyMissing {
            records: vec![3, 5],
        })),
    );

    let told: Vec<i32> = row
        .record_errors
        .iter()
        .map(|one| one.batch_index)
        .collect();
    assert_eq!(told, [3, 5]);
}

#[tokio::test]
async fn a_slot_that_was_dropped_is_told_as_unknown() {
    let (sender, receiver) = oneshot::channel();
    drop(sender);

    let outcome = Pending::Admitted(receiver).outcome().await;

    assert!(matches!(outcome, Err(AppendError::Undecided)));
}
