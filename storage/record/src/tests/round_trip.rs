//! Any records, under any codec: what is built is admitted, and reads back the same.

use crate::forge::Forged;
use crate::{
    BatchBuilder, BatchHeader, Compression, NewRecord, ProduceRules, ReadLimits, Record,
    read_records, set_log_append_time, split_batches, stamp, validate_produced,
};
use bytes::Bytes;
use esker_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = NewRecord> {
    let header = (bytes(), proptest::option::of(bytes()));
    let millis = 0_i64..2_000_000_000_000;
    let optional = || proptest::option::of(bytes());
    (millis, optional(), optional(), vec(header, 0..5)).prop_map(|(millis, key, value, headers)| {
        NewRecord {
            timestamp: Timestamp::from_millis(millis),
            key,
            value,
            headers,
        }
    })
}

fn codec() -> impl Strategy<Value = Compression> {
    proptest::sample::select(Compression::ALL.as_slice())
}

fn build(codec: Compression, records: &[NewRecord]) -> Bytes {
    let id = ProducerId::from_wire(9).unwrap();
    let mut builder = BatchBuilder::new(codec).producer(id, ProducerEpoch::default(), 3);
    for record in records {
        builder.push(record).unwrap();
    }
    builder.build().unwrap()
}

fn read(batch: &Bytes) -> Vec<Record> {
    let records = read_records(batch, &ReadLimits::default()).unwrap();
    records.map(Result::unwrap).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_built_reads_back(
        codec in codec(),
        records in vec(record(), 1..40),
        base in 0_u64..1 << 62,
    ) {
        let rules = ProduceRules { walk_records: true, ..ProduceRules::default() };
        let batch = build(codec, &records);

        let admitted = validate_produced(batch.clone(), &rules).unwrap();
        let mut stamped = batch.to_vec();
        stamp(&mut stamped, Offset::new(base).unwrap(), LeaderEpoch::CONSTANT);
        let again = read(&Bytes::from(stamped));

        let last = records.iter().map(|record| record.timestamp).max();
        prop_assert_eq!(Some(admitted.header().max_timestamp()), last);
        prop_assert_eq!(again.len(), records.len());
        for ((read, built), delta) in again.iter().zip(&records).zip(0..) {
            prop_assert_eq!(read.offset, i64::try_from(base).unwrap() + delta);
            prop_assert_eq!(read.timestamp, built.timestamp);
            prop_assert_eq!(&read.key, &built.key);
            prop_assert_eq!(&read.value, &built.value);
            prop_assert_eq!(&read.headers, &built.headers);
        }
    }

    #[test]
    fn append_time_replaces_all_times_and_nothing_else(
        codec in codec(),
        records in vec(record(), 1..10),
        now: i64,
    ) {
        let batch = build(codec, &records);
        let mut rewritten = batch.to_vec();
        let now = Timestamp::from_millis(now);

        set_log_append_time(&mut rewritten, now).unwrap();

        let after = read(&Bytes::from(rewritten));
        for (after, before) in after.into_iter().zip(read(&batch)) {
            prop_assert_eq!(after, Record { timestamp: now, ..before });
        }
    }

    #[test]
    fn concatenated_batches_split_where_they_were_joined(
        parts in vec((codec(), vec(record(), 1..5)), 0..6),
    ) {
        let build = |(codec, records): &(_, Vec<_>)| build(*codec, records);
        let batches: Vec<Bytes> = parts.iter().map(build).collect();
        let joined = batches.concat();

        let split: Vec<&[u8]> = split_batches(&joined)
            .map(|split| &joined[split.unwrap().1])
            .collect();

        prop_assert_eq!(split, batches);
    }

    #[test]
    fn foreign_bytes_never_panic(
        noise in vec(any::<u8>(), 0..300),
        codec in 0_i16..8,
        count in 0_i32..50,
    ) {
        let _ = BatchHeader::parse(&noise);
        let _ = validate_produced(Bytes::from(noise.clone()), &ProduceRules::default());
        let forged = Forged::packed(codec, count, noise);
        if let Ok(records) = read_records(&forged.bytes(), &ReadLimits::default()) {
            let _ = records.count();
        }
    }

    #[test]
    fn damaged_streams_under_a_right_checksum_never_panic(
        codec in 1_i16..5,
        records in vec(record(), 1..10),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let built = build(Compression::ALL[usize::try_from(codec).unwrap()], &records);
        let mut body = built[61..].to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        let count = i32::try_from(records.len()).unwrap();
        let forged = Forged::packed(codec, count, body);

        if let Ok(records) = read_records(&forged.bytes(), &ReadLimits::default()) {
            let _ = records.count();
        }
    }
}
