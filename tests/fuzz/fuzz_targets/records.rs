//! F4 and F5: any bytes as the records of a sound header, under each codec: no panic, no more
//! output than the cap; records that read are written and read again as the same.
#![no_main]

use bytes::Bytes;
use esker_record::{
    BatchBuilder, Compression, NewRecord, ReadLimits, Record, RecordError, read_records,
};
use libfuzzer_sys::fuzz_target;

const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;

/// A batch with a right length and checksum around `body`.
fn batch(codec: u8, count: u16, body: &[u8]) -> Bytes {
    let mut checked = Vec::new();
    checked.extend_from_slice(&i16::from(codec % 5).to_be_bytes());
    checked.extend_from_slice(&i32::from(count).saturating_sub(1).max(0).to_be_bytes());
    checked.extend_from_slice(&[0; 16]);
    checked.extend_from_slice(&[0xff; 14]);
    checked.extend_from_slice(&i32::from(count).to_be_bytes());
    checked.extend_from_slice(body);
    let length = u32::try_from(checked.len() + 9).expect("the fuzzer's inputs are small");
    let mut batch = vec![0; 8];
    batch.extend_from_slice(&length.to_be_bytes());
    batch.extend_from_slice(&[0, 0, 0, 0, 2]);
    batch.extend_from_slice(&crc32c::crc32c(&checked).to_be_bytes());
    batch.extend_from_slice(&checked);
    Bytes::from(batch)
}

fn read(batch: &Bytes) -> Result<Vec<Record>, RecordError> {
    let limits = ReadLimits {
        decompressed_bytes_max: OUTPUT_BYTES_MAX,
    };
    read_records(batch, &limits)?.collect()
}

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (codec, count, body) = input;
    let Ok(records) = read(&batch(codec, count, body)) else {
        return;
    };
    let mut builder = BatchBuilder::new(Compression::Snappy);
    for record in &records {
        let built = builder.push(&NewRecord {
            timestamp: record.timestamp,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
        });
        if built.is_err() {
            return; // a timestamp too far from the first
        }
    }
    let Ok(built) = builder.build() else {
        return; // no record
    };
    let again = read_records(&built, &ReadLimits::default()).expect("what we write, we read");
    for (again, record) in again.zip(&records) {
        let again = again.expect("what we write, we read");
        assert_eq!(again.timestamp, record.timestamp);
        assert_eq!((&again.key, &again.value), (&record.key, &record.value));
        assert_eq!(again.headers, record.headers);
    }
});
