//! Batches that Kafka's Java client wrote, read here: every codec, record by record.

use crate::forge::{self, Forged};
use crate::{Compression, ReadLimits, Record, RecordError, read_records};
use bytes::Bytes;

const JAVA: &str = include_str!("../../tests/java_batches.hex");
const FRAMES: &str = include_str!("../../tests/lz4_frames.hex");

fn read(batch: &Bytes) -> Result<Vec<Record>, RecordError> {
    read_records(batch, &ReadLimits::default())?.collect()
}

#[test]
fn small_batches_of_java_hold_the_records_that_were_sent() {
    for codec in Compression::ALL {
        let batch = forge::dump(JAVA, &format!("small {}", codec.name()));

        let records = read(&batch).unwrap();

        let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [0, 1, 2, 3]);
        let times = [
            1_700_000_000_000,
            1_700_000_000_005,
            1_699_999_999_999,
            1_700_000_000_002,
        ];
        let read: Vec<i64> = records
            .iter()
            .map(|record| record.timestamp.millis())
            .collect();
        assert_eq!(read, times);
        let keys: Vec<Option<&[u8]>> = records.iter().map(|record| record.key.as_deref()).collect();
        assert_eq!(
            keys,
            [Some(b"key".as_slice()), None, Some(b"tombstone"), Some(b"")]
        );
        let values: Vec<Option<&[u8]>> = records
            .iter()
            .map(|record| record.value.as_deref())
            .collect();
        assert_eq!(
            values,
            [Some(b"value".as_slice()), Some(b"no key"), None, Some(b"")]
        );
        let text = Bytes::from_static;
        let headers = [
            (text(b"h"), Some(text(b"1"))),
            (text(b"h"), Some(text(b"2"))),
            (text(b"a"), None),
        ];
        assert_eq!(records[0].headers, headers);
    }
}

#[test]
fn large_batches_of_java_span_blocks_and_read_whole() {
    let alphabet = b"0123456789abcdefghijklmnopqrstuvwxyz";
    for codec in &Compression::ALL[1..] {
        let batch = forge::dump(JAVA, &format!("large {}", codec.name()));

        let records = read(&batch).unwrap();

        assert_eq!(records.len(), 3);
        for (shift, record) in records.iter().enumerate() {
            let value = record.value.as_deref().unwrap();
            assert_eq!(value.len(), 100_000);
            let right = |(at, byte): (usize, &u8)| alphabet[(at + shift) % 36] == *byte;
            assert!(value.iter().enumerate().all(right));
        }
    }
}

#[test]
fn records_of_an_append_time_batch_carry_the_batch_s_time() {
    let records = read(&forge::dump(JAVA, "append-time none")).unwrap();

    assert_eq!(records.len(), 4);
    assert!(
        records
            .iter()
            .all(|record| record.timestamp.millis() == 1_800_000_000_000)
    );
}

#[test]
fn a_marker_of_java_reads_as_its_one_control_record() {
    let records = read(&forge::dump(JAVA, "control none")).unwrap();

    assert_eq!(
        records[0].key.as_deref(),
        Some([0, 0, 0, 1].as_slice()),
        "version 0, commit"
    );
}

#[test]
fn frames_of_other_lz4_writers_hold_the_same_records() {
    let java = read(&forge::dump(JAVA, "large gzip")).unwrap();
    for (name, frame) in forge::dumps(FRAMES) {
        let batch = Forged {
            base_timestamp: 1_700_000_000_000,
            ..Forged::packed(forge::LZ4, 3, frame.to_vec())
        };

        assert_eq!(read(&batch.bytes()).unwrap(), java, "{name}");
    }
}
