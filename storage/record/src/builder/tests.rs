//! Building: what Java writes, what every reader takes, what does not fit.

use super::*;
use crate::forge::dump;
use crate::{ProduceRules, Record, read_records, validate_produced};

fn at(millis: i64) -> NewRecord {
    NewRecord {
        timestamp: Timestamp::from_millis(millis),
        ..NewRecord::default()
    }
}

/// The four records of the small batches in `tests/java_batches.hex`.
fn small() -> Vec<NewRecord> {
    let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let header =
        |value: Option<Bytes>, key: &'static str| (Bytes::from_static(key.as_bytes()), value);
    vec![
        NewRecord {
            key: text("key"),
            value: text("value"),
            headers: vec![
                header(text("1"), "h"),
                header(text("2"), "h"),
                header(None, "a"),
            ],
            ..at(1_700_000_000_000)
        },
        NewRecord {
            value: text("no key"),
            ..at(1_700_000_000_005)
        },
        NewRecord {
            key: text("tombstone"),
            ..at(1_699_999_999_999)
        },
        NewRecord {
            key: text(""),
            value: text(""),
            ..at(1_700_000_000_002)
        },
    ]
}

fn built(mut builder: BatchBuilder, records: &[NewRecord]) -> Bytes {
    for record in records {
        builder.push(record).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn plain_batches_are_byte_for_byte_those_of_java() {
    let java = include_str!("../../tests/java_batches.hex");
    let plain = BatchBuilder::new(Compression::None);
    let id = ProducerId::from_wire(4242).unwrap();
    let epoch = ProducerEpoch::from_wire(7).unwrap();
    let transactional = plain.clone().producer(id, epoch, 11).transactional();

    assert_eq!(built(plain, &small()), dump(java, "small none"));
    assert_eq!(
        built(transactional, &small()),
        dump(java, "transactional none")
    );
}

#[test]
fn every_codec_s_batch_is_admitted_and_reads_back() {
    let walked = ProduceRules {
        walk_records: true,
        ..ProduceRules::default()
    };
    for codec in Compression::ALL {
        let batch = built(BatchBuilder::new(codec), &small());

        let admitted = validate_produced(batch.clone(), &walked).unwrap();
        let records = read_records(&batch, &ReadLimits::default()).unwrap();
        let records: Vec<Record> = records.map(Result::unwrap).collect();

        assert_eq!(admitted.header().compression(), codec);
        let again = records.into_iter().map(|record| NewRecord {
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        });
        assert_eq!(again.collect::<Vec<_>>(), small());
    }
}

#[test]
fn there_is_no_empty_batch() {
    let builder = BatchBuilder::new(Compression::Lz4);

    assert_eq!(builder.build(), Err(BuildError::Empty));
}

#[test]
fn a_batch_stops_at_its_limit_of_records() {
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..RECORDS_PER_BATCH_MAX {
        builder.push(&at(0)).unwrap();
    }

    assert_eq!(builder.push(&at(0)), Err(BuildError::RecordCount));
    assert_eq!(builder.record_count(), RECORDS_PER_BATCH_MAX);
    let batch = builder.build().unwrap();
    let records = read_records(&batch, &ReadLimits::default()).unwrap();
    assert_eq!(records.filter(Result::is_ok).count(), 1_000_000);
}

#[test]
fn a_record_stops_at_its_limit_of_headers() {
    let count = usize::try_from(HEADERS_PER_RECORD_MAX).unwrap();
    let with = |count| NewRecord {
        headers: vec![(Bytes::new(), None); count],
        ..at(0)
    };
    let mut builder = BatchBuilder::new(Compression::None);

    assert_eq!(builder.push(&with(count)), Ok(()));
    let count = count + 1;
    assert_eq!(
        builder.push(&with(count)),
        Err(BuildError::HeaderCount { count })
    );
}

#[test]
fn a_batch_stops_at_the_bytes_that_readers_take() {
    let most = usize::try_from(DECOMPRESSED_BYTES_MAX).unwrap();
    let framing = 4 + 1 + 1 + 1 + 1 + 4 + 1; // of one record of this size
    let with = |bytes| NewRecord {
        value: Some(Bytes::from(vec![0; bytes])),
        ..at(0)
    };
    let mut builder = BatchBuilder::new(Compression::None);

    assert_eq!(builder.push(&with(most + 1)), Err(BuildError::TooLarge));
    assert_eq!(
        builder.push(&with(most - framing + 1)),
        Err(BuildError::TooLarge)
    );
    assert_eq!(
        builder.record_count(),
        0,
        "a refused record leaves no trace"
    );
    assert_eq!(builder.push(&with(most - framing)), Ok(()));
    assert_eq!(builder.plain_bytes(), RECORD_BATCH_HEADER_BYTES + most);
    assert_eq!(builder.push(&at(0)), Err(BuildError::TooLarge));
}

#[test]
fn a_timestamp_too_far_from_the_first_is_refused() {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(&at(-2)).unwrap();

    assert_eq!(builder.push(&at(i64::MAX)), Err(BuildError::Timestamp));
    assert_eq!(builder.push(&at(i64::MIN)), Ok(()));
}

#[test]
fn what_compresses_past_belief_stays_plain_and_readable() {
    let zeros = NewRecord {
        value: Some(Bytes::from(vec![0; 2 * 1024 * 1024])),
        ..at(0)
    };

    let batch = built(BatchBuilder::new(Compression::Zstd), &[zeros]);

    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!(header.compression(), Compression::None);
    let mut records = read_records(&batch, &ReadLimits::default()).unwrap();
    assert!(records.next().unwrap().is_ok());
}
