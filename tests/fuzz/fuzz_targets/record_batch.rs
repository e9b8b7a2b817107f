//! F3: any bytes as produced batches and as concatenated ones: no panic; what is admitted can be
//! stamped, rewritten and split, and is then still what it was.
#![no_main]

use bytes::Bytes;
use esker_record::{
    BatchHeader, ProduceRules, ReadLimits, read_records, set_log_append_time, split_batches, stamp,
    validate_produced,
};
use esker_types::{LeaderEpoch, Offset, Timestamp};
use libfuzzer_sys::fuzz_target;

const ATTRIBUTES_AT: usize = 21;

fuzz_target!(|bytes: &[u8]| {
    for split in split_batches(bytes) {
        let Ok((header, range)) = split else {
            break;
        };
        assert_eq!(u32::try_from(range.len()), Ok(header.batch_bytes()));
    }
    // With a right checksum the fuzzer comes past it.
    let mut bytes = bytes.to_vec();
    if let Some(checked) = bytes.get(ATTRIBUTES_AT..) {
        let crc = crc32c::crc32c(checked);
        bytes[17..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    }
    let rules = ProduceRules {
        walk_records: true,
        ..ProduceRules::default()
    };
    let Ok(admitted) = validate_produced(Bytes::from(bytes.clone()), &rules) else {
        return;
    };
    stamp(&mut bytes, Offset::ZERO, LeaderEpoch::CONSTANT);
    set_log_append_time(&mut bytes, Timestamp::from_millis(7)).expect("one whole batch");
    let header = BatchHeader::parse(&bytes).expect("still a batch");
    header.check(&bytes).expect("with a right checksum");
    let records = read_records(&Bytes::from(bytes), &ReadLimits::default()).expect("readable");
    let count = records.inspect(|record| assert!(record.is_ok())).count();
    assert_eq!(u32::try_from(count), Ok(admitted.header().record_count()));
});
