//! Read-ahead: while a sequential reader digests an answer, what it will ask for next is loaded.
//!
//! Only for readers that catch up: a fetch that begins where an earlier cold answer ended. Others,
//! and readers at the tail, cause no loads. Reads go through the cache on the cold budget and their
//! bytes are left there; whatever does not fit the queue is not read ahead. Nothing waits for it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use esker_cache::{Heat, SegmentCache};
use esker_env::Shutdown;
use esker_types::{ByteRange, Offset, SegmentId, TopicPartition};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;

use crate::limits::{AHEAD_PARALLEL, AHEAD_PLACES_MAX, AHEAD_QUEUE_MAX};
use crate::locate::{Located, ReadIntent};
use crate::metrics::Counters;
use crate::pipeline::{Job, Served};
use crate::planner::{self, ReadPlan};

type AheadRead = (SegmentId, ByteRange);

/// Who reads in sequence, and the way to the loads.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    queue: mpsc::Sender<AheadRead>,
    places: Mutex<Places>,
    counters: Arc<Counters>,
}

/// Where the last cold answers ended: the next offsets of sequential readers.
#[derive(Debug, Default)]
struct Places {
    known: BTreeSet<(TopicPartition, Offset)>,
    oldest_first: VecDeque<(TopicPartition, Offset)>,
}

/// The loads.
#[derive(Debug)]
pub(crate) struct ReadAheadTask {
    queue: mpsc::Receiver<AheadRead>,
    cache: Arc<dyn SegmentCache>,
    shutdown: Shutdown,
}

impl ReadAhead {
    pub(crate) fn new(
        cache: Arc<dyn SegmentCache>,
        counters: Arc<Counters>,
        shutdown: Shutdown,
    ) -> (Self, ReadAheadTask) {
        let (sender, queue) = mpsc::channel(AHEAD_QUEUE_MAX);
        let ahead = Self {
            queue: sender,
            places: Mutex::default(),
            counters,
        };
        let task = ReadAheadTask {
            queue,
            cache,
            shutdown,
        };
        (ahead, task)
    }

    /// An answer began at `from` and ended at `to`: whether its reader goes on from an earlier one.
    /// Past the limit the oldest place is forgotten.
    fn is_sequential(&self, at: TopicPartition, from: Offset, to: Offset) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let went_on = places.known.remove(&(at, from));
        if places.known.insert((at, to)) {
            places.oldest_first.push_back((at, to));
        }
        // Places that were gone on from are still in the queue; they leave it in their turn.
        while places.oldest_first.len() > AHEAD_PLACES_MAX {
            if let Some(oldest) = places.oldest_first.pop_front() {
                places.known.remove(&oldest);
            }
        }
        went_on
    }

    /// Loads what the sequential readers among `job`'s intents will ask for after this answer.
    pub(crate) fn follow(&self, job: &Job, located: &[Located], served: &Served) {
        let is_cold =
            |located: &Located| matches!(located, Located::Ready(stretch) if !stretch.hot);
        // A limit in records is a person's, who may not go on.
        if job.records_max.is_some() || !located.iter().any(is_cold) {
            return;
        }
        let mut next = Vec::new();
        let mut rests = Vec::new();
        let answers = job.intents.iter().zip(located).zip(&served.parts);
        for ((intent, located), part) in answers {
            let (Located::Ready(stretch), Ok(part)) = (located, part) else {
                continue;
            };
            let is_cold = !stretch.hot && !part.records.is_empty();
            let at = intent.topic_partition;
            if is_cold && self.is_sequential(at, intent.offset, part.next_offset) {
                let mut rest = stretch.clone();
                rest.extents
                    .retain(|extent| extent.end_offset > part.next_offset);
                rests.push(Located::Ready(rest));
                next.push(ReadIntent {
                    offset: part.next_offset,
                    ..*intent
                });
            }
        }
        if !next.is_empty() {
            self.load(&planner::plan(&next, &rests, job.bytes_max, 0));
        }
    }

    fn load(&self, plan: &ReadPlan) {
        for read in plan.reads(|_| Heat::Cold) {
            self.push(read.segment, read.range);
        }
    }

    fn push(&self, segment: SegmentId, range: ByteRange) {
        let is_taken = self.queue.try_send((segment, range)).is_ok();
        self.counters.read_ahead(is_taken);
    }
}

impl ReadAheadTask {
    /// Runs until the stop is requested.
    pub(crate) async fn run(mut self) {
        let mut loads = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.requested() => return,
                Some(()) = loads.next(), if !loads.is_empty() => {}
                next = self.queue.recv(), if loads.len() < AHEAD_PARALLEL => {
                    let Some((segment, range)) = next else { return };
                    let cache = Arc::clone(&self.cache);
                    loads.push(async move {
                        // The reader itself will meet what is wrong, and tell.
                        let _ = cache.read_now(segment, range, Heat::Cold).await;
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use bytes::Bytes;
    use esker_cache::{BlockId, CacheStats, PeerQuestion, ReadError};
    use esker_env::TaskGroup;
    use esker_types::{ChainIndex, PartitionIndex, SessionId, TopicId};
    use futures::future::{BoxFuture, FutureExt as _};

    use super::*;

    fn partition(index: u32) -> TopicPartition {
        TopicPartition {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionIndex::new(index).unwrap(),
        }
    }

    fn offset(offset: u64) -> Offset {
        Offset::new(offset).unwrap()
    }

    /// A cache whose loads never end.
    #[derive(Debug, Default)]
    struct Stuck {
        reads: AtomicUsize,
    }

    impl SegmentCache for Stuck {
        fn insert(&self, _: SegmentId, _: Bytes) {}

        fn read(
            &self,
            _: SegmentId,
            _: ByteRange,
            _: Heat,
        ) -> BoxFuture<'_, Result<Vec<Bytes>, ReadError>> {
            self.reads.fetch_add(1, Relaxed);
            futures::future::pending().boxed()
        }

        fn read_now(
            &self,
            segment: SegmentId,
            range: ByteRange,
            heat: Heat,
        ) -> BoxFuture<'_, Result<Vec<Bytes>, ReadError>> {
            self.read(segment, range, heat)
        }

        fn read_for_peer(
            &self,
            _: BlockId,
            _: PeerQuestion,
        ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
            futures::future::pending().boxed()
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
    async fn one_read_past_the_limits_is_left_to_the_reader() {
        let cache = Arc::new(Stuck::default());
        let (stop, shutdown) = Shutdown::new();
        let counters = Arc::<Counters>::default();
        let shared: Arc<dyn SegmentCache> = cache.clone();
        let (ahead, task) = ReadAhead::new(shared, Arc::clone(&counters), shutdown);
        let mut tasks = TaskGroup::new("ahead");
        tasks.spawn(task.run());

        for index in 0..=AHEAD_PARALLEL + AHEAD_QUEUE_MAX {
            let segment = SegmentId {
                session: SessionId::from_bytes([5; 16]),
                index: ChainIndex::new(u64::try_from(index).unwrap()),
            };
            ahead.push(segment, ByteRange::new(0, 10).unwrap());
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }

        let stats = counters.snapshot();
        assert_eq!(cache.reads.load(Relaxed), AHEAD_PARALLEL);
        assert_eq!(stats.reads_ahead_left_out, 1, "{stats:?}");
        stop.request();
        tasks.join_next().await.unwrap().unwrap();
    }

    fn places_only() -> ReadAhead {
        let (queue, _) = mpsc::channel(1);
        ReadAhead {
            queue,
            places: Mutex::default(),
            counters: Arc::default(),
        }
    }

    #[test]
    fn a_reader_that_goes_on_is_sequential_and_one_that_jumps_is_not() {
        let ahead = places_only();

        assert!(!ahead.is_sequential(partition(0), offset(0), offset(10)));
        assert!(ahead.is_sequential(partition(0), offset(10), offset(20)));
        assert!(!ahead.is_sequential(partition(0), offset(10), offset(20)));
        assert!(!ahead.is_sequential(partition(1), offset(20), offset(30)));
    }

    #[test]
    fn one_place_past_the_limit_forgets_the_oldest() {
        let ahead = places_only();
        let most = u64::try_from(AHEAD_PLACES_MAX).unwrap();

        for place in 0..=most {
            ahead.is_sequential(partition(0), offset(u64::MAX >> 2), offset(place));
        }

        assert!(!ahead.is_sequential(partition(0), offset(0), offset(1_000_000)));
        assert!(ahead.is_sequential(partition(0), offset(most), offset(1_000_001)));
    }
}
