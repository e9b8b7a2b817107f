//! The batch header: what is read, what is refused, what stamping changes.

use super::*;
use crate::forge::{Forged, dump};
use crate::{set_log_append_time, split_batches};

fn java(name: &str) -> Vec<u8> {
    dump(include_str!("../../tests/java_batches.hex"), name).to_vec()
}

#[test]
fn a_java_batch_reads_field_by_field() {
    let batch = java("transactional none");

    let header = BatchHeader::parse(&batch).unwrap();

    assert_eq!(header.base_offset(), 0);
    assert_eq!(usize::try_from(header.batch_bytes()), Ok(batch.len()));
    assert_eq!(header.leader_epoch(), 0);
    assert_eq!(header.compression(), Compression::None);
    assert_eq!(header.attributes(), TRANSACTIONAL_BIT);
    assert!(header.is_transactional());
    assert!(!header.is_control() && !header.is_log_append_time());
    assert_eq!(header.last_offset_delta(), 3);
    assert_eq!(header.record_count(), 4);
    assert_eq!(header.base_timestamp().millis(), 1_700_000_000_000);
    assert_eq!(header.max_timestamp().millis(), 1_700_000_000_005);
    assert_eq!((header.producer_id(), header.producer_epoch()), (4242, 7));
    assert_eq!(header.base_sequence(), 11);
    let (id, epoch, sequence) = header.producer().unwrap();
    assert_eq!((id.to_wire(), epoch.to_wire(), sequence), (4242, 7, 11));
    assert_eq!(header.check(&batch), Ok(()));
}

#[test]
fn every_codec_and_kind_of_java_is_known() {
    for codec in Compression::ALL {
        let batch = java(&format!("small {}", codec.name()));

        let header = BatchHeader::parse(&batch).unwrap();

        assert_eq!(header.compression(), codec);
        assert_eq!(i16::from(codec.code()), header.attributes());
        assert_eq!(header.producer(), None);
    }
    let control = BatchHeader::parse(&java("control none")).unwrap();
    assert!(control.is_control());
    assert_eq!(control.producer(), None, "a marker has no sequence");
    let append_time = BatchHeader::parse(&java("append-time none")).unwrap();
    assert!(append_time.is_log_append_time());
}

#[test]
fn each_flipped_bit_from_the_length_on_is_found() {
    let batch = java("small lz4");

    for bit in 8 * 8..batch.len() * 8 {
        let mut damaged = batch.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let checked = BatchHeader::parse(&damaged).and_then(|header| header.check(&damaged));

        // The leader epoch lies outside the checksum.
        let covered = !(12 * 8..16 * 8).contains(&bit);
        assert_eq!(checked.is_err(), covered, "bit {bit}");
    }
}

#[test]
fn a_batch_cut_anywhere_is_an_error() {
    let batch = java("small none");
    let header = BatchHeader::parse(&batch).unwrap();

    for cut in 0..RECORD_BATCH_HEADER_BYTES {
        let parsed = BatchHeader::parse(&batch[..cut]);
        assert!(matches!(parsed, Err(BatchError::Short(_))), "cut at {cut}");
    }
    for cut in RECORD_BATCH_HEADER_BYTES..batch.len() {
        let checked = header.check(&batch[..cut]);
        let found_bytes = cut;
        let batch_bytes = header.batch_bytes();
        assert_eq!(
            checked,
            Err(BatchError::Incomplete {
                batch_bytes,
                found_bytes
            })
        );
    }
}

#[test]
fn an_impossible_length_is_refused() {
    let length_of = |length: i32| {
        let mut batch = java("small none");
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        BatchHeader::parse(&batch).map(|header| header.batch_bytes())
    };

    for length in [i32::MIN, -1, 0, 48] {
        assert_eq!(length_of(length), Err(BatchError::Length { length }));
    }
    assert_eq!(length_of(49), Ok(61));
    assert_eq!(length_of(i32::MAX), Ok(2_147_483_659));
}

#[test]
fn other_message_formats_are_refused_by_name() {
    for magic in [0, 1, 3, -1] {
        let batch = Forged {
            magic,
            ..Forged::plain(1)
        };

        let parsed = BatchHeader::parse(&batch.bytes());

        assert_eq!(parsed, Err(BatchError::Magic { magic }));
    }
}

#[test]
fn an_unknown_codec_is_refused() {
    for (attributes, code) in [(5, 5), (6, 6), (7, 7)] {
        let batch = Forged {
            attributes,
            ..Forged::plain(1)
        };

        let parsed = BatchHeader::parse(&batch.bytes());

        assert_eq!(parsed, Err(BatchError::Codec { code }));
    }
}

#[test]
fn counts_and_deltas_stop_at_their_limits() {
    let most = i32::try_from(RECORDS_PER_BATCH_MAX).unwrap();
    let parse = |record_count, last_offset_delta| {
        let batch = Forged {
            record_count,
            last_offset_delta,
            ..Forged::plain(1)
        };
        BatchHeader::parse(&batch.bytes()).map(|header| header.record_count())
    };

    assert_eq!(parse(most, most - 1), Ok(RECORDS_PER_BATCH_MAX));
    let count = most + 1;
    assert_eq!(parse(count, most), Err(BatchError::RecordCount { count }));
    let count = -1;
    assert_eq!(parse(count, 0), Err(BatchError::RecordCount { count }));
    let delta = -1;
    assert_eq!(parse(1, delta), Err(BatchError::LastOffsetDelta { delta }));
}

#[test]
fn a_damaged_batch_fails_its_checksum() {
    let mut batch = java("small none");
    let last = batch.len() - 1;
    batch[last] ^= 1;

    let checked = BatchHeader::parse(&batch).unwrap().check(&batch);

    assert_eq!(checked, Err(BatchError::Checksum));
}

#[test]
fn stamping_changes_offset_and_leader_epoch_and_nothing_else() {
    let before = java("small zstd");
    let mut batch = before.clone();
    batch[12..16].copy_from_slice(&(-1_i32).to_be_bytes());
    let base_offset = Offset::new(1 << 40).unwrap();

    stamp(&mut batch, base_offset, LeaderEpoch::CONSTANT);

    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!(header.base_offset(), 1 << 40);
    assert_eq!(header.leader_epoch(), LeaderEpoch::CONSTANT.to_wire());
    assert_eq!(header.check(&batch), Ok(()));
    assert_eq!(batch[8..], before[8..]);
}

#[test]
fn log_append_time_is_what_java_writes() {
    let mut batch = java("small none");
    let now = Timestamp::from_millis(1_800_000_000_000);

    let header = set_log_append_time(&mut batch, now).unwrap();

    assert_eq!(batch, java("append-time none"));
    assert_eq!(BatchHeader::parse(&batch), Ok(header));
    assert_eq!(header.check(&batch), Ok(()));
}

#[test]
fn log_append_time_needs_exactly_one_batch() {
    let mut batch = java("small none");
    batch.push(0);
    let before = batch.clone();

    let rewritten = set_log_append_time(&mut batch, Timestamp::from_millis(1));

    assert!(matches!(rewritten, Err(BatchError::Incomplete { .. })));
    assert_eq!(batch, before);
}

#[test]
fn concatenated_batches_are_split_at_their_ends() {
    let (one, two) = (java("small none"), java("large snappy"));
    let both = [one.as_slice(), two.as_slice(), one.as_slice()].concat();

    let ranges: Result<Vec<_>, _> = split_batches(&both)
        .map(|split| split.map(|(_, range)| range))
        .collect();

    let (end_one, end_two) = (one.len(), one.len() + two.len());
    let expected = [0..end_one, end_one..end_two, end_two..both.len()];
    assert_eq!(ranges.unwrap(), expected);
    assert_eq!(split_batches(&[]).count(), 0);
}

#[test]
fn splitting_ends_at_a_cut_batch() {
    let one = java("small none");
    let both = [one.as_slice(), one.as_slice()].concat();

    for cut in one.len() + 1..both.len() {
        let mut splitter = split_batches(&both[..cut]);

        assert!(splitter.next().unwrap().is_ok());
        assert!(splitter.next().unwrap().is_err(), "cut at {cut}");
        assert!(splitter.next().is_none());
    }
}
