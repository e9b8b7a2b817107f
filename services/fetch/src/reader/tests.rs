//! Remedies in their order; reads in flight are bounded.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use esker_cache::{BlockId, CacheStats, PeerQuestion};
use esker_types::{ChainIndex, Offset, SessionId, Timestamp};
use futures::future::{BoxFuture, FutureExt as _};

use super::*;
use crate::planner::Span;

fn segment(index: u64) -> SegmentId {
    SegmentId {
        session: SessionId::from_bytes([1; 16]),
        index: ChainIndex::new(index),
    }
}

fn extent(index: u64) -> IndexExtent {
    IndexExtent {
        base_offset: Offset::ZERO,
        end_offset: Offset::new(1).unwrap(),
        segment: segment(index),
        range: ByteRange::new(0, 100).unwrap(),
        max_timestamp: Timestamp::NONE,
    }
}

#[test]
fn each_remedy_is_tried_once_and_in_order() {
    let extent = extent(1);
    let segment = extent.segment;
    let range = extent.range;
    let fault = Trouble::Fault {
        extent,
        source: BatchFault::Bytes { batch_bytes: 1 },
    };
    let cache = |source| Trouble::Cache { extent, source };
    let corrupt = cache(CacheError::Corrupt { segment, range });
    let gone = cache(CacheError::Reaped { segment });
    let busy = cache(CacheError::Overloaded { segment });
    let (again, elsewhere) = (Some(Remedy::ReadAgain), Some(Remedy::LocateAgain));

    for wrong in [&fault, &corrupt] {
        assert_eq!(wrong.remedy(None), Remedy::ReadAgain);
        assert_eq!(wrong.remedy(again), Remedy::LocateAgain);
        assert_eq!(wrong.remedy(elsewhere), Remedy::GiveUp);
    }
    assert_eq!(gone.remedy(None), Remedy::LocateAgain);
    assert_eq!(gone.remedy(again), Remedy::LocateAgain);
    assert_eq!(gone.remedy(elsewhere), Remedy::GiveUp);
    for tried in [None, again, elsewhere] {
        assert_eq!(busy.remedy(tried), Remedy::GiveUp);
    }
}

/// Never answers; counts the reads that were begun.
#[derive(Debug, Default)]
struct Stuck {
    begun: AtomicUsize,
}

impl SegmentCache for Stuck {
    fn insert(&self, _: SegmentId, _: Bytes) {}

    fn read(
        &self,
        _: SegmentId,
        _: ByteRange,
        _: Heat,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, CacheError>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        std::future::pending().boxed()
    }

    fn read_now(
        &self,
        segment: SegmentId,
        range: ByteRange,
        heat: Heat,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, CacheError>> {
        self.read(segment, range, heat)
    }

    fn read_for_peer(
        &self,
        _: BlockId,
        _: PeerQuestion,
    ) -> BoxFuture<'_, Result<Option<Bytes>, CacheError>> {
        std::future::pending().boxed()
    }

    fn missing_bytes(&self, _: SegmentId, _: ByteRange) -> u64 {
        0
    }

    fn forget(&self, _: SegmentId, _: ByteRange) {}

    fn stats(&self) -> CacheStats {
        CacheStats::default()
    }
}

#[tokio::test]
async fn one_request_has_a_bounded_number_of_reads_in_flight() {
    let stuck = Arc::new(Stuck::default());
    let cache: Arc<dyn SegmentCache> = Arc::<Stuck>::clone(&stuck);
    let reader = Reader::new(cache);
    let part = |index: usize| {
        let extent = extent(u64::try_from(index).unwrap());
        let range = extent.range;
        let spans = vec![Span { extent, range }];
        PartPlan { spans }
    };
    let plan = ReadPlan {
        parts: (0..=READS_PARALLEL).map(part).collect(),
        available_bytes: 0,
    };

    let mut reading = Box::pin(reader.read(&plan, |_| Heat::Cold));
    assert!(futures::poll!(&mut reading).is_pending());

    assert_eq!(stuck.begun.load(Ordering::Relaxed), READS_PARALLEL);
}

#[test]
fn a_piece_is_small_up_to_an_eighth_of_the_blocks_it_lies_in() {
    let block = u64::from(BLOCK_BYTES);
    let range = |start, end| ByteRange::new(start, end).unwrap();
    let eighth = block / COPIED_BELOW;

    assert!(is_small(eighth, range(0, eighth)));
    assert!(!is_small(eighth + 1, range(0, eighth + 1)));
    // It lies in two.
    assert!(is_small(
        2 * eighth,
        range(block - 1, block + 2 * eighth - 1)
    ));
    assert!(!is_small(block, range(0, block)));
}

/// One block, in memory that others share.
#[derive(Debug)]
struct OneBlock(Bytes);

impl SegmentCache for OneBlock {
    fn insert(&self, _: SegmentId, _: Bytes) {}

    fn read(
        &self,
        _: SegmentId,
        range: ByteRange,
        _: Heat,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, CacheError>> {
        let at = |byte: u64| usize::try_from(byte).unwrap();
        let slice = self.0.slice(at(range.start())..at(range.end()));
        std::future::ready(Ok(vec![slice])).boxed()
    }

    fn read_now(
        &self,
        segment: SegmentId,
        range: ByteRange,
        heat: Heat,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, CacheError>> {
        self.read(segment, range, heat)
    }

    fn read_for_peer(
        &self,
        _: BlockId,
        _: PeerQuestion,
    ) -> BoxFuture<'_, Result<Option<Bytes>, CacheError>> {
        std::future::pending().boxed()
    }

    fn missing_bytes(&self, _: SegmentId, _: ByteRange) -> u64 {
        0
    }

    fn forget(&self, _: SegmentId, _: ByteRange) {}

    fn stats(&self) -> CacheStats {
        CacheStats::default()
    }
}

#[tokio::test]
async fn a_small_piece_does_not_keep_its_block_and_a_large_one_is_shared() {
    let block = Bytes::from(vec![7; usize::try_from(BLOCK_BYTES).unwrap()]);
    for (bytes, is_shared) in [(1000, false), (500_000, true)] {
        let reader = Reader::new(Arc::new(OneBlock(block.clone())));
        let range = ByteRange::new(10, 10 + bytes).unwrap();
        let extent = IndexExtent { range, ..extent(1) };
        let spans = vec![Span { extent, range }];
        let plan = ReadPlan {
            parts: vec![PartPlan { spans }],
            available_bytes: 0,
        };

        let read = reader.read(&plan, |_| Heat::Cold).await;
        let how = ReadOn {
            heat: Heat::Cold,
            hands: Hands::Full,
        };
        let read_on = reader.read_on(&extent, 0, bytes, how).await.unwrap();

        let read = read[0][0].as_ref().unwrap();
        let length = usize::try_from(bytes).unwrap();
        for slices in [read, &read_on] {
            let found = slices.contiguous(0, length).unwrap();
            assert_eq!(found, block.slice(10..10 + length));
            assert_eq!(found.as_ptr() == block.slice(10..).as_ptr(), is_shared);
        }
    }
}
