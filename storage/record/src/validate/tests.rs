//! Admission: what each rule refuses, and by which error.

use super::*;
use crate::BatchBuilder;
use crate::forge::{self, Forged, dump, dumps};
use crate::limits::{DECOMPRESSED_BYTES_FLOOR, RECORDS_PER_BATCH_MAX};

const JAVA: &str = include_str!("../../tests/java_batches.hex");

fn walked() -> ProduceRules {
    ProduceRules {
        walk_records: true,
        ..ProduceRules::default()
    }
}

fn refusal(batch: &Forged) -> ValidateError {
    validate_produced(batch.bytes(), &ProduceRules::default()).unwrap_err()
}

#[test]
fn what_java_producers_write_is_admitted_unchanged() {
    let produced = dumps(JAVA)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("control") && !name.starts_with("append-time"));
    for (name, bytes) in produced {
        let batch = validate_produced(bytes.clone(), &walked());

        let batch = batch.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(*batch.bytes(), bytes);
        assert_eq!(BatchHeader::parse(&bytes), Ok(*batch.header()));
    }
}

#[test]
fn damage_is_told_from_a_cut() {
    let bytes = Forged::plain(2).bytes();
    let mut damaged = bytes.to_vec();
    damaged[70] ^= 4;

    let refused = |bytes| validate_produced(bytes, &ProduceRules::default()).unwrap_err();

    assert!(matches!(
        refused(Bytes::from(damaged)),
        ValidateError::Batch(BatchError::Checksum)
    ));
    assert!(matches!(
        refused(bytes.slice(..bytes.len() - 1)),
        ValidateError::Batch(BatchError::Incomplete { .. })
    ));
    assert!(matches!(
        refused(bytes.slice(..60)),
        ValidateError::Batch(BatchError::Short(_))
    ));
}

#[test]
fn a_second_batch_behind_the_first_is_refused() {
    let one = Forged::plain(1).bytes();
    let two = Bytes::from([one.as_ref(), one.as_ref()].concat());

    let refused = validate_produced(two, &ProduceRules::default()).unwrap_err();

    assert!(matches!(refused, ValidateError::Trailing { left_bytes } if left_bytes == one.len()));
}

#[test]
fn a_batch_one_byte_past_the_topic_s_limit_is_refused() {
    let bytes = Forged::plain(3).bytes();
    let exact = ProduceRules {
        batch_bytes_max: u32::try_from(bytes.len()).unwrap(),
        ..ProduceRules::default()
    };
    let smaller = ProduceRules {
        batch_bytes_max: exact.batch_bytes_max - 1,
        ..exact
    };

    assert!(validate_produced(bytes.clone(), &exact).is_ok());
    let refused = validate_produced(bytes, &smaller).unwrap_err();
    assert!(matches!(
        refused,
        ValidateError::TooLarge { batch_bytes, batch_bytes_max }
            if batch_bytes == batch_bytes_max + 1
    ));
}

#[test]
fn the_count_must_be_the_span_of_the_offsets_and_not_zero() {
    let with = |record_count, last_offset_delta| Forged {
        record_count,
        last_offset_delta,
        ..Forged::plain(3)
    };

    for batch in [with(3, 3), with(3, 1), with(0, 0), with(2, i32::MAX)] {
        assert!(matches!(refusal(&batch), ValidateError::Count { .. }));
    }
}

#[test]
fn more_records_than_the_bytes_can_hold_are_refused() {
    let claim = |codec, body: usize, count| Forged::packed(codec, count, vec![0; body]);
    let most = i32::try_from(DECOMPRESSED_BYTES_FLOOR / u64::from(RECORD_BYTES_MIN)).unwrap();
    let admitted = |batch: Forged| validate_produced(batch.bytes(), &ProduceRules::default());

    assert!(admitted(claim(forge::PLAIN, 14, 2)).is_ok());
    let refused = admitted(claim(forge::PLAIN, 13, 2)).unwrap_err();
    assert!(matches!(
        refused,
        ValidateError::TooManyRecords {
            record_count: 2,
            ..
        }
    ));
    assert!(admitted(claim(forge::GZIP, 10, most)).is_ok());
    let refused = admitted(claim(forge::GZIP, 10, most + 1)).unwrap_err();
    assert!(matches!(refused, ValidateError::TooManyRecords { .. }));
    let one_past = i32::try_from(RECORDS_PER_BATCH_MAX).unwrap() + 1;
    let refused = admitted(claim(forge::GZIP, 10, one_past)).unwrap_err();
    assert!(matches!(
        refused,
        ValidateError::Batch(BatchError::RecordCount { .. })
    ));
}

#[test]
fn what_only_the_log_may_write_is_refused() {
    let based = Forged {
        base_offset: 1,
        ..Forged::plain(1)
    };
    let append_time = validate_produced(dump(JAVA, "append-time none"), &walked());
    let control = validate_produced(dump(JAVA, "control none"), &walked());

    assert!(matches!(
        refusal(&based),
        ValidateError::BaseOffset { base_offset: 1 }
    ));
    assert!(matches!(
        append_time.unwrap_err(),
        ValidateError::AppendTime
    ));
    assert!(matches!(control.unwrap_err(), ValidateError::Control));
}

#[test]
fn zstd_needs_a_request_that_knows_it() {
    let old = ProduceRules {
        zstd_allowed: false,
        ..ProduceRules::default()
    };

    let refused = validate_produced(dump(JAVA, "small zstd"), &old).unwrap_err();

    assert!(matches!(refused, ValidateError::Zstd));
    assert!(validate_produced(dump(JAVA, "small lz4"), &old).is_ok());
}

#[test]
fn a_producer_is_named_whole_or_not_at_all() {
    let with = |producer_id, producer_epoch, base_sequence, attributes| Forged {
        producer_id,
        producer_epoch,
        base_sequence,
        attributes,
        ..Forged::plain(1)
    };
    let halves = [
        with(1, 0, -1, 0),
        with(1, -1, 0, 0),
        with(-2, 0, 0, 0),
        with(-1, -1, -1, 1 << 4),
    ];

    for half in halves {
        assert!(matches!(refusal(&half), ValidateError::Producer { .. }));
    }
    let whole = with(1, 0, 0, 1 << 4).bytes();
    assert!(validate_produced(whole, &ProduceRules::default()).is_ok());
}

#[test]
fn timestamps_are_bounded_by_the_header_and_when_walked_by_each_record() {
    let limit = Timestamp::from_millis(1000);
    let rules = ProduceRules {
        timestamp_max: Some(limit),
        ..walked()
    };
    let loud = Forged {
        max_timestamp: 1001,
        ..Forged::plain(1)
    };
    let quiet = Forged {
        body: forge::record(1, 0, None, None, &[]),
        ..Forged::plain(1)
    };

    for batch in [loud, quiet] {
        let refused = validate_produced(batch.bytes(), &rules).unwrap_err();
        assert!(matches!(
            refused,
            ValidateError::TimestampTooLate { timestamp, timestamp_max }
                if timestamp_max == limit && timestamp.millis() == 1001
        ));
    }
    assert!(validate_produced(Forged::plain(1).bytes(), &rules).is_ok());
}

#[test]
fn a_compacted_topic_takes_no_record_without_a_key() {
    let keyed = ProduceRules {
        keys_required: true,
        ..ProduceRules::default()
    };
    let batch = |keys: &[Option<&'static str>]| {
        let mut builder = BatchBuilder::new(Compression::Zstd);
        for key in keys {
            let key = key.map(|text| Bytes::from_static(text.as_bytes()));
            let record = crate::NewRecord {
                key,
                ..crate::NewRecord::default()
            };
            builder.push(&record).unwrap();
        }
        builder.build().unwrap()
    };
    let refused = |keys: &[Option<&'static str>]| match validate_produced(batch(keys), &keyed) {
        Err(ValidateError::KeyMissing { records }) => records,
        other => panic!("{other:?}"),
    };

    let some = refused(&[Some("k"), None, Some("k"), None]);
    let many = refused(&vec![None; KEYLESS_RECORDS_TOLD_MAX + 1]);

    assert_eq!(some, [1, 3]);
    assert_eq!(many.len(), KEYLESS_RECORDS_TOLD_MAX);
    assert!(validate_produced(batch(&[Some("k")]), &keyed).is_ok());
}

#[test]
fn walking_finds_what_the_header_hides() {
    let cut = Forged::packed(
        forge::PLAIN,
        2,
        forge::record(0, 0, None, Some(b"no second"), &[]),
    );
    let skipping = Forged {
        body: [
            forge::record(0, 1, None, None, &[]),
            forge::record(0, 2, None, None, &[]),
        ]
        .concat(),
        last_offset_delta: 1,
        ..Forged::plain(2)
    };
    let not_gzip = Forged::packed(forge::GZIP, 1, vec![7; 50]);

    for batch in [cut, skipping, not_gzip] {
        let refused = validate_produced(batch.bytes(), &walked());
        assert!(
            matches!(refused, Err(ValidateError::Records(_))),
            "{batch:?}"
        );
    }
}

#[test]
fn log_append_time_is_written_into_an_admitted_batch() {
    let now = Timestamp::from_millis(1_800_000_000_000);
    let produced = dump(JAVA, "small none");
    let shared = validate_produced(produced.clone(), &walked()).unwrap();
    let alone = validate_produced(Bytes::from(produced.to_vec()), &walked()).unwrap();

    for batch in [shared, alone] {
        let stamped = batch.with_log_append_time(now);

        assert_eq!(*stamped.bytes(), dump(JAVA, "append-time none"));
        assert!(stamped.header().is_log_append_time());
    }
    assert_eq!(
        produced,
        dump(JAVA, "small none"),
        "the request is as before"
    );
}
