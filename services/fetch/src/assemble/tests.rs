//! Batches are taken whole, from the right one on; every way an extent can be wrong is found.

use esker_record::{BatchBuilder, Compression, NewRecord, stamp};
use esker_types::{ByteRange, ChainIndex, SegmentId, SessionId, Timestamp};

use super::*;

fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

/// A stamped batch of `records` records with this many value bytes.
fn batch(base: u64, records: u64, value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None);
    for number in 0..records {
        let record = NewRecord {
            timestamp: Timestamp::from_millis(i64::try_from(number).unwrap()),
            value: Some(Bytes::from(vec![7; value_bytes])),
            ..NewRecord::default()
        };
        builder.push(&record).unwrap();
    }
    let mut bytes = builder.build().unwrap().to_vec();
    stamp(&mut bytes, offset(base), esker_types::LeaderEpoch::CONSTANT);
    bytes
}

/// Three batches of 5 records: offsets 10 to 24.
fn three() -> (IndexExtent, Vec<u8>) {
    let bytes = [batch(10, 5, 50), batch(15, 5, 50), batch(20, 5, 50)].concat();
    (extent(10, 25, bytes.len()), bytes)
}

fn extent(base: u64, end: u64, bytes: usize) -> IndexExtent {
    IndexExtent {
        base_offset: offset(base),
        end_offset: offset(end),
        segment: SegmentId {
            session: SessionId::from_bytes([1; 16]),
            index: ChainIndex::ZERO,
        },
        range: ByteRange::at(64, u32::try_from(bytes).unwrap()).unwrap(),
        max_timestamp: Timestamp::NONE,
    }
}

fn limit(bytes: u64) -> Limit {
    Limit {
        bytes,
        records: None,
        first_whole: true,
    }
}

fn slices(bytes: &[u8], piece: usize) -> Slices {
    let all = Bytes::copy_from_slice(bytes);
    let starts = (0..bytes.len()).step_by(piece);
    Slices::new(starts.map(|at| all.slice(at..bytes.len().min(at + piece))))
}

/// Progress, bytes and next offset of one take.
fn take(from: u64, limit: Limit, extent: &IndexExtent, bytes: &Slices) -> (Progress, Assembled) {
    let mut assembler = Assembler::new(offset(from), limit);
    assembler.begin(extent);
    let progress = assembler.take(bytes).unwrap();
    (progress, assembler.finish())
}

fn fault(extent: &IndexExtent, bytes: &[u8]) -> BatchFault {
    let mut assembler = Assembler::new(Offset::ZERO, limit(u64::MAX));
    assembler.begin(extent);
    assembler.take(&slices(bytes, bytes.len())).unwrap_err()
}

#[test]
fn batches_are_cut_the_same_however_the_bytes_are_sliced() {
    let (extent, bytes) = three();
    let one = bytes.len() / 3;

    for piece in [1, 7, 61, one - 1, one, one + 1, bytes.len()] {
        for (from, skipped, next) in [
            (0, 0, 25),
            (10, 0, 25),
            (14, 0, 25),
            (15, 1, 25),
            (24, 2, 25),
        ] {
            let (progress, found) = take(from, limit(u64::MAX), &extent, &slices(&bytes, piece));

            assert_eq!(progress, Progress::Through);
            assert_eq!(
                found.records.concat(),
                bytes[skipped * one..],
                "{piece} {from}"
            );
            assert_eq!(found.next_offset, offset(next));
        }
    }
}

#[test]
fn limits_end_between_batches_and_only_the_first_may_pass_them() {
    let (extent, bytes) = three();
    let one = u64::try_from(bytes.len() / 3).unwrap();
    let all = slices(&bytes, 100);

    for (bytes_max, batches) in [
        (0, 1),
        (one, 1),
        (2 * one - 1, 1),
        (2 * one, 2),
        (3 * one, 3),
    ] {
        let (_, found) = take(10, limit(bytes_max), &extent, &all);
        assert_eq!(found.bytes, batches * one, "{bytes_max}");
    }
    let strict = Limit {
        first_whole: false,
        ..limit(one - 1)
    };
    let (progress, found) = take(10, strict, &extent, &all);
    assert_eq!((progress, found.bytes), (Progress::Full, 0));
    for (records, batches) in [(0, 0), (1, 1), (5, 1), (6, 2), (11, 3)] {
        let limit = Limit {
            records: Some(records),
            ..limit(u64::MAX)
        };
        let (_, found) = take(10, limit, &extent, &all);
        assert_eq!(found.bytes, batches * one, "{records} records");
    }
    let some = Limit {
        records: Some(3),
        ..limit(u64::MAX)
    };
    let (_, found) = take(13, some, &extent, &all);
    assert_eq!(found.bytes, 2 * one, "two records of the first count");
}

#[test]
fn bytes_that_are_not_there_yet_are_asked_for_and_the_walk_goes_on() {
    let (extent, bytes) = three();
    let one = bytes.len() / 3;
    let mut assembler = Assembler::new(offset(20), limit(10));
    let mut have = slices(&bytes[..10], 10);
    assembler.begin(&extent);

    let mut asked = Vec::new();
    while let Progress::Needs(end) = assembler.take(&have).unwrap() {
        let end = usize::try_from(end).unwrap().min(bytes.len());
        assert!(end > have.len(), "every step asks for more");
        asked.push(end);
        have.append(slices(&bytes[have.len()..end], 50));
    }

    assert_eq!(assembler.finish().records.concat(), bytes[2 * one..]);
    assert_eq!(asked.len(), 4, "three headers and the last body: {asked:?}");
}

#[test]
fn an_extent_that_reaches_below_what_was_taken_repeats_nothing() {
    let (extent, bytes) = three();
    let all = slices(&bytes, 1000);
    let mut assembler = Assembler::new(offset(10), limit(u64::MAX));

    for _ in 0..2 {
        assembler.begin(&extent);
        assert_eq!(assembler.take(&all), Ok(Progress::Through));
    }

    assert_eq!(assembler.finish().records.concat(), bytes);
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = batch(10, 2, 20);
    let extent = extent(10, 12, bytes.len());

    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = fault(&extent, &damaged);
    }
    assert_eq!(
        fault(&extent, &{
            let mut damaged = bytes.clone();
            damaged[100] ^= 1;
            damaged
        }),
        BatchFault::Batch(BatchError::Checksum)
    );
}

#[test]
fn a_flipped_bit_in_a_header_never_moves_records_to_other_offsets() {
    // esker-faults --row 33, SeaweedFS, long: a base offset of 1850 came as 1854, and what was in
    // front of the next batch was served, since there was room for it.
    let (extent, bytes) = three();
    let one = bytes.len() / 3;
    for (from, first) in [(10, 0), (15, 1), (20, 2)] {
        for (batch, bit) in (0..3).flat_map(|batch| (0..61 * 8).map(move |bit| (batch, bit))) {
            let mut damaged = bytes.clone();
            damaged[batch * one + bit / 8] ^= 1 << (bit % 8);
            let mut assembler = Assembler::new(offset(from), limit(u64::MAX));
            assembler.begin(&extent);

            let _ = assembler.take(&slices(&damaged, 1000));

            let taken = assembler.finish().records.concat();
            let all = &bytes[first * one..];
            let place = (from, batch, bit);
            assert_eq!(taken, all[..taken.len()], "{place:?}");
            if batch >= first {
                assert!(taken.len() <= (batch - first) * one, "{place:?}");
            }
        }
    }
}

#[test]
fn a_leader_epoch_that_no_batch_has_is_found() {
    let mut bytes = batch(10, 2, 20);
    let extent = extent(10, 12, bytes.len());
    bytes[15] ^= 1;

    assert_eq!(fault(&extent, &bytes), BatchFault::LeaderEpoch { found: 1 });
}

#[test]
fn a_batch_that_is_not_in_its_place_is_found() {
    let (extent_of_three, bytes) = three();
    let length = bytes.len();
    let cases = [
        (extent(11, 25, length), "begins below its extent"),
        (extent(10, 24, length), "ends above its extent"),
    ];

    for (extent, why) in cases {
        let found = fault(&extent, &bytes);
        assert!(
            matches!(found, BatchFault::Offsets { .. }),
            "{why}: {found}"
        );
    }
    let expected = offset(26);
    let found = offset(25);
    assert_eq!(
        fault(&extent(10, 26, length), &bytes),
        BatchFault::End { expected, found }
    );
    let cut = fault(&extent(10, 25, length - 1), &bytes[..length - 1]);
    assert!(matches!(cut, BatchFault::Bytes { .. }), "{cut}");
    let stub = [&bytes[..], &[0; 60]].concat();
    let cut = fault(&extent(10, 26, stub.len()), &stub);
    assert_eq!(cut, BatchFault::Bytes { batch_bytes: 0 });
    let mut negative = bytes.clone();
    negative[..8].copy_from_slice(&(-5_i64).to_be_bytes());
    let found = fault(&extent_of_three, &negative);
    assert!(matches!(found, BatchFault::Offsets { .. }), "{found}");
    let swapped = [batch(15, 5, 50), batch(10, 5, 50)].concat();
    let found = fault(&extent(10, 20, swapped.len()), &swapped);
    assert!(matches!(found, BatchFault::Offsets { .. }), "{found}");
}

#[test]
fn what_is_good_in_front_of_a_fault_stays_taken() {
    let (extent, mut bytes) = three();
    let one = bytes.len() / 3;
    bytes[one + 100] ^= 1;
    let mut assembler = Assembler::new(offset(10), limit(u64::MAX));
    assembler.begin(&extent);

    let outcome = assembler.take(&slices(&bytes, 1000));

    assert_eq!(outcome, Err(BatchFault::Batch(BatchError::Checksum)));
    assert!(assembler.has_any());
    let found = assembler.finish();
    assert_eq!(
        (found.records.concat().len(), found.next_offset),
        (one, offset(15))
    );
}
