//! Hostile footers under a counting allocator: decoding takes no more than a fixed multiple of the
//! bytes that are there, whatever the counts say. One test, so nothing else counts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use esker_segment::{PlacedBatch, ProducerStamp, SegmentFooter, read_tail};
use esker_types::{
    ChainIndex, Offset, PartitionIndex, ProducerEpoch, ProducerId, SegmentId, SequencerEpoch,
    SessionId, Timestamp, TopicId, TopicPartition,
};

/// Bytes of memory for each byte of a footer: a batch is 21 bytes stored and about 100 decoded.
const MEMORY_FACTOR: usize = 8;
const MEMORY_SLACK_BYTES: usize = 1024;
const MUTATIONS: u32 = 50_000;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[expect(
    unsafe_code,
    reason = "an allocator cannot be written without it; tests only"
)]
// SAFETY: every call is handed to the system's allocator unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.get().saturating_add(layout.size());
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
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

/// 60 batches: runs of one to three, every second one of a producer.
fn footer() -> SegmentFooter {
    let batches = (0_u32..60).map(|number| {
        let stamp = ProducerStamp {
            producer_id: ProducerId::from_wire(1).unwrap(),
            producer_epoch: ProducerEpoch::from_wire(0).unwrap(),
            base_sequence: 4,
        };
        let topic_partition = TopicPartition {
            topic: TopicId::from_bytes([7; 16]),
            partition: PartitionIndex::new(number / 3).unwrap(),
        };
        let placed = PlacedBatch {
            topic_partition,
            base_offset: Offset::new(u64::from(number % 3)).unwrap(),
            record_count: 1,
            max_timestamp: Timestamp::from_millis(5),
            producer: number.is_multiple_of(2).then_some(stamp),
            transactional: false,
        };
        (placed, 70, 0)
    });
    let segment = SegmentId {
        session: SessionId::from_bytes([1; 16]),
        index: ChainIndex::ZERO,
    };
    SegmentFooter::lay_out(segment, SequencerEpoch::FIRST, batches).unwrap()
}

struct Noise(u32);

impl Noise {
    fn draw(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        usize::try_from(self.0).unwrap() % bound
    }
}

#[test]
fn a_hostile_footer_takes_no_more_memory_than_its_bytes_allow() {
    const TELLING: [u8; 8] = [0, 1, 2, 0x3f, 0x40, 0x7f, 0x80, 0xff];
    let sound = footer().encode();
    let mut noise = Noise(1);
    let mut refused = 0;
    for _ in 0..MUTATIONS {
        let mut hostile = sound.clone();
        for _ in 0..=noise.draw(4) {
            let at = noise.draw(hostile.len());
            hostile[at] = TELLING[noise.draw(TELLING.len())];
        }
        hostile.truncate(hostile.len() - noise.draw(2) * noise.draw(hostile.len()));

        let (peak, decoded) = peak_of(|| SegmentFooter::decode(&hostile));

        refused += u32::from(decoded.is_err());
        let most = hostile.len() * MEMORY_FACTOR + MEMORY_SLACK_BYTES;
        assert!(peak <= most, "{peak} bytes for {}", hostile.len());
        let object_bytes = u64::try_from(hostile.len()).unwrap() + 64;
        let (peak, _) = peak_of(|| read_tail(object_bytes, &hostile));
        assert!(peak <= most, "{peak} bytes for a tail of {}", hostile.len());
    }
    assert!(refused > MUTATIONS / 2, "most mutations are hostile");
}
