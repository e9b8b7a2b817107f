//! Hostile frames under a counting allocator: the guard takes no memory at all, and what it passes
//! decodes, without an error, within the memory that it stated. One test, so nothing else counts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use esker_env::Rng;
use esker_kafka::{GuardedFrame, decode_request, guard_frame, limits};

/// Mutated frames in one run; the issue asks for a million.
const MUTATIONS: u32 = 1_000_000;
const CORPUS: [&str; 2] = [include_str!("frames.hex"), include_str!("java_frames.hex")];

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

/// Runs `work` and gives the most memory that was live at once because of it.
fn peak_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    (PEAK.get() - before, result)
}

fn corpus() -> Vec<Vec<u8>> {
    let byte = |line: &str, at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
    let lines = CORPUS
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            (0..line.len())
                .step_by(2)
                .map(|at| byte(line, at))
                .collect()
        })
        .collect()
}

fn index(rng: &Rng, bound: usize) -> usize {
    usize::try_from(rng.below(u64::try_from(bound).unwrap())).unwrap()
}

const TELLING: [u8; 10] = [0x00, 0x01, 0x02, 0x0f, 0x40, 0x7f, 0x80, 0x81, 0xfe, 0xff];
const LENGTHS: [&[u8]; 9] = [
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0, 0, 0],
    &[0, 0, 0x27, 0x10],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x7f, 0xff],
    &[0x80, 0x80, 0x01],
    &[0xff, 0xff],
    &[0x90, 0x4e],
];

/// One to four random changes: bytes, lengths, cuts, doubled and foreign pieces.
fn mutate(frame: &mut Vec<u8>, other: &[u8], rng: &Rng) {
    for _ in 0..=rng.below(4) {
        if frame.is_empty() {
            return;
        }
        let at = index(rng, frame.len());
        match rng.below(8) {
            0 => frame[at] ^= 1 << rng.below(8),
            1 | 2 => frame[at] = TELLING[index(rng, TELLING.len())],
            3 | 4 => {
                let length = LENGTHS[index(rng, LENGTHS.len())];
                let end = (at + length.len()).min(frame.len());
                frame[at..end].copy_from_slice(&length[..end - at]);
            }
            5 => frame.truncate(at),
            6 => {
                let end = at + index(rng, frame.len() - at + 1);
                let piece = frame[at..end].to_vec();
                frame.splice(at..at, piece);
            }
            _ => {
                let from = index(rng, other.len());
                frame.truncate(at);
                frame.extend(&other[from..]);
            }
        }
    }
}

/// Requests whose decoded form is as large as the guard lets it become.
fn large() -> Vec<Vec<u8>> {
    let header = |key: u8, version: u8| vec![0, key, 0, version, 0, 0, 0, 1, 0xff, 0xff];
    // DescribeGroups 0: 10 000 empty names.
    let mut groups = header(15, 0);
    groups.extend([0, 0, 0x27, 0x10]);
    groups.extend([0; 20_000]);
    // Metadata 9: 1000 topics with no name's bytes and 3 unknown tagged fields each.
    let mut topics = header(3, 9);
    topics.extend([0, 0xe9, 0x07]);
    for _ in 0..1000 {
        topics.extend([1, 3, 5, 0, 6, 0, 7, 0]);
    }
    topics.extend([0, 0, 0, 0]);
    // The same with 64 tagged fields in one struct.
    let mut tags = header(16, 3);
    tags.extend([0, 64]);
    tags.extend((0..64).flat_map(|tag| [tag, 0]));
    vec![groups, topics, tags]
}

/// Memory that guarding and decoding took; `None` when the guard refused.
fn check(frame: &[u8]) -> Option<GuardedFrame> {
    let (guarding, guarded) = peak_of(|| guard_frame(frame));
    assert_eq!(guarding, 0, "the guard takes no memory: {frame:02x?}");
    let guarded = guarded.ok()?;
    let most = frame.len() * limits::DECODED_FACTOR + limits::DECODED_SLACK_BYTES;
    assert!(guarded.memory_bytes <= most);
    let shared = Bytes::copy_from_slice(frame);
    let (decoding, decoded) = peak_of(|| decode_request(&guarded, shared.clone()));
    assert!(
        decoding <= guarded.memory_bytes,
        "{decoding} bytes taken, {} stated: {frame:02x?}",
        guarded.memory_bytes
    );
    assert!(decoded.is_ok(), "{decoded:?}: {frame:02x?}");
    Some(guarded)
}

#[test]
fn a_million_mutated_frames_neither_panic_nor_take_more_memory_than_stated() {
    let corpus = corpus();
    let rng = Rng::from_seed(0x00e5_4e12);
    for frame in corpus.iter().chain(&large()) {
        assert!(check(frame).is_some(), "the corpus passes: {frame:02x?}");
    }
    let (counted, _) = peak_of(|| vec![0_u8; 4096]);
    assert_eq!(counted, 4096, "the allocator counts");

    let mut passed = 0_u32;
    for _ in 0..MUTATIONS {
        let mut frame = corpus[index(&rng, corpus.len())].clone();
        mutate(&mut frame, &corpus[index(&rng, corpus.len())], &rng);
        passed += u32::from(check(&frame).is_some());
    }

    println!("{MUTATIONS} mutated frames, {passed} passed the guard and were decoded");
    assert!(passed > MUTATIONS / 50, "mutations reach the codec too");
}
