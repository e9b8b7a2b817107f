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
