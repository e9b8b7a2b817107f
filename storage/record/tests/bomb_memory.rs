//! Decompression bombs under a counting allocator: the most memory ever live is a record and a few
//! windows, whatever the bytes would expand to. One test, so nothing else counts.
//!
//! zstd's own window is allocated by the C library and not seen here; `limits.rs` bounds it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

#[expect(dead_code, reason = "the tests inside the crate use the rest")]
#[path = "../src/forge.rs"]
mod forge;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write as _;

use bytes::Bytes;
use esker_record::{
    CodecError, ProduceRules, ReadLimits, RecordError, ValidateError, limits, read_records,
    validate_produced,
};
use forge::Forged;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn took(bytes: usize) {
    let live = LIVE.get().saturating_add(bytes);
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

fn gave_back(bytes: usize) {
    LIVE.set(LIVE.get().saturating_sub(bytes));
}

#[expect(
    unsafe_code,
    reason = "an allocator cannot be written without it; tests only"
)]
// SAFETY: every call is handed to the system's allocator unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        gave_back(layout.size());
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1024 * 1024;

/// Reads all records; gives how many were read, the error, and the most memory live meanwhile.
fn drain(batch: &Bytes) -> (usize, Option<RecordError>, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let mut read = 0;
    let mut error = None;
    match read_records(batch, &ReadLimits::default()) {
        Err(refused) => error = Some(refused),
        Ok(records) => {
            for record in records {
                match record {
                    Ok(_) => read += 1,
                    Err(refused) => error = Some(refused),
                }
            }
        }
    }
    (read, error, PEAK.get() - before)
}

/// One record that claims `bytes` bytes, then so many zeros.
fn claim(bytes: usize) -> Vec<u8> {
    let mut plain = forge::varint(i64::try_from(bytes).unwrap());
    plain.resize(plain.len() + bytes, 0);
    plain
}

#[test]
fn bombs_take_no_more_memory_than_one_record_and_a_few_windows() {
    one_huge_record_past_the_ratio();
    a_record_that_only_claims_to_be_huge();
    many_records_under_the_cap();
    blocks_that_claim_what_they_cannot_become();
}

fn one_huge_record_past_the_ratio() {
    let plain = claim(63 * MIB);
    type Packer = fn(&[u8]) -> Vec<u8>;
    let packers: [(i16, Packer); 2] = [(forge::GZIP, forge::gzip), (forge::ZSTD, forge::zstd)];
    for (codec, pack) in packers {
        let packed = pack(&plain);
        assert!(packed.len() * 1024 < plain.len(), "codec {codec} is a bomb");
        let batch = Forged::packed(codec, 1, packed).bytes();

        let (read, error, peak) = drain(&batch);

        assert_eq!(read, 0);
        assert!(
            matches!(error, Some(RecordError::TooLarge { .. })),
            "codec {codec}: {error:?}"
        );
        // The length alone gives it away: nothing is taken for the record.
        assert!(peak < MIB / 4, "codec {codec}: {peak} bytes");
        let walked = ProduceRules {
            walk_records: true,
            ..ProduceRules::default()
        };
        let refused = validate_produced(batch, &walked).unwrap_err();
        assert!(matches!(
            refused,
            ValidateError::Records(RecordError::TooLarge { .. })
        ));
    }
}

fn a_record_that_only_claims_to_be_huge() {
    // 60 MiB claimed within the cap of 64 KiB compressed bytes; a few of them come.
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    });
    let noise: Vec<u8> = noise.take(70_000).collect();
    let plain = [forge::varint(60 << 20), noise].concat();
    let batch = Forged::packed(forge::GZIP, 1, forge::gzip(&plain)).bytes();
    assert!(batch.len() > 64 * 1024);

    let (read, error, peak) = drain(&batch);

    assert_eq!(read, 0);
    assert!(
        matches!(error, Some(RecordError::Short { record: 0 })),
        "{error:?}"
    );
    assert!(
        peak < MIB / 2,
        "memory grows with the bytes that come: {peak}"
    );
}

fn many_records_under_the_cap() {
    let value = vec![7; MIB / 2];
    let plain: Vec<u8> = (0..100)
        .flat_map(|delta| forge::record(0, delta, None, Some(&value), &[]))
        .collect();
    type Packer = fn(&[u8]) -> Vec<u8>;
    let packers: [(i16, Packer); 3] = [
        (forge::SNAPPY, xerial),
        (forge::LZ4, forge::lz4),
        (forge::GZIP, gzip_fast),
    ];
    for (codec, pack) in packers {
        let batch = Forged::packed(codec, 100, pack(&plain)).bytes();

        let (read, error, peak) = drain(&batch);

        assert!(error.is_none(), "codec {codec}: {error:?}");
        assert_eq!(read, 100);
        // One record while it grows, one block of at most 4 MiB, read-ahead, the decoder.
        let bound = MIB / 2 * 2 + 4 * MIB + limits::READ_AHEAD_BYTES + MIB / 4;
        assert!(
            peak < bound,
            "codec {codec}: {peak} bytes of {}",
            plain.len()
        );
    }
}

/// At the lowest level, so that the ratio stays believable.
fn gzip_fast(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Blocks of 32 KiB in Java's framing.
fn xerial(plain: &[u8]) -> Vec<u8> {
    let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in plain.chunks(32 * 1024) {
        let packed = forge::snappy(block);
        framed.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_be_bytes());
        framed.extend_from_slice(&packed);
    }
    framed
}

fn blocks_that_claim_what_they_cannot_become() {
    let snappy = Forged::packed(forge::SNAPPY, 1, vec![0xff, 0xff, 0xff, 0x1f, 0, 0, 0]).bytes();
    let lz4_block = [
        0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 2, 0, 0, 0, 0x1f, 0, 0, 0, 0, 0,
    ];
    let lz4 = Forged::packed(forge::LZ4, 1, lz4_block.to_vec()).bytes();

    let (_, error, peak) = drain(&snappy);
    assert!(
        matches!(error, Some(RecordError::Codec(CodecError::Snappy(_)))),
        "{error:?}"
    );
    assert!(peak < 64 * 1024, "{peak}");
    // A frame of 4 MiB blocks takes room for what its bytes can become, not for a block.
    let (read, _, peak) = drain(&lz4);
    assert_eq!(read, 0);
    assert!(peak < 64 * 1024, "{peak}");
}
