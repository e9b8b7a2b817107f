//! What both forms of the cache do: hit, or join the one load of a block.
//!
//! Order of a load: a permit of its heat's budget, memory, one ranged get, a check of what came,
//! the store, the waiters. Everything before the get can be dropped without a trace. A load never
//! waits for memory: who has a permit ends in the time of a get. Who waits for memory has nothing.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use esker_env::{Env, timeout};
use esker_object::{Bucket, ObjectKey, ObjectRead, ReadRange};
use esker_types::{ByteRange, ClusterId, SegmentId};
use futures::future::FutureExt as _;
use futures::stream::{self, StreamExt as _};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::flight::{Flights, Joined};
use crate::key::{BlockRead, EntryKey, Part, block_range, blocks_of};
use crate::limits::{BLOCK_BYTES, OBJECT_BYTES_MAX, READ_BLOCKS_PARALLEL, READ_BYTES_MAX};
use crate::memory::{Allowance, Memory};
use crate::metrics::Counters;
use crate::store::Store;
use crate::{CacheConfig, CacheStats, Heat, ReadError};

#[derive(Debug)]
pub(crate) struct Engine {
    store: Arc<dyn Store>,
    bucket: Arc<dyn Bucket>,
    cluster: ClusterId,
    env: Env,
    config: CacheConfig,
    memory: Memory,
    loads: [Semaphore; 2],
    flights: Arc<Flights>,
    counters: Counters,
}

/// Memory for one block that a read has waited for, until one of its loads needs it.
#[derive(Clone, Debug, Default)]
struct Reserve(Arc<Mutex<Option<Allowance>>>);

impl Reserve {
    fn keep(&self, allowance: Allowance) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(allowance);
    }

    fn take(&self) -> Option<Allowance> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take()
    }
}

fn budget(bytes: u32) -> Semaphore {
    Semaphore::new(usize::try_from(bytes).unwrap_or(Semaphore::MAX_PERMITS))
}

/// `range` of `bytes`; `None` when they end earlier.
fn part_of(bytes: &Bytes, range: ByteRange) -> Option<Bytes> {
    let start = usize::try_from(range.start()).ok()?;
    let end = usize::try_from(range.end()).ok()?;
    (end <= bytes.len()).then(|| bytes.slice(start..end))
}

/// Whether a read has exactly the bytes that the object has in `range`.
fn is_whole(read: &ObjectRead, range: ByteRange) -> bool {
    let there = range
        .end()
        .min(read.object_bytes)
        .saturating_sub(range.start());
    u64::try_from(read.bytes.len()) == Ok(there)
}

impl Engine {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        bucket: Arc<dyn Bucket>,
        cluster: ClusterId,
        env: Env,
        config: CacheConfig,
    ) -> Arc<Self> {
        assert_eq!(config.check(), Ok(()), "settings are checked before use");
        Arc::new(Self {
            store,
            bucket,
            cluster,
            env,
            config,
            memory: Memory::new(config.cached_bytes.saturating_add(config.held_bytes)),
            loads: [
                budget(config.hot_load_bytes),
                budget(config.cold_load_bytes),
            ],
            flights: Arc::default(),
            counters: Counters::default(),
        })
    }

    pub(crate) fn insert(&self, segment: SegmentId, object: Bytes) {
        let key = EntryKey {
            segment,
            part: Part::Whole,
        };
        let weight = u32::try_from(object.len()).unwrap_or(u32::MAX);
        let fits = weight <= OBJECT_BYTES_MAX && u64::from(weight) <= self.store.entry_bytes_max();
        let allowance = fits.then(|| self.memory.take_now(weight)).flatten();
        let Some(allowance) = allowance else {
            self.counters.inserts_left_out.fetch_add(1, Relaxed);
            return;
        };
        self.store.put(key, allowance.pay_for(object), Heat::Hot);
        self.counters.inserts.fetch_add(1, Relaxed);
    }

    pub(crate) fn forget(&self, segment: SegmentId, range: ByteRange) {
        let blocks = blocks_of(range).map(|read| Part::Block(read.block));
        for part in std::iter::once(Part::Whole).chain(blocks) {
            self.store.remove(&EntryKey { segment, part });
        }
        self.counters.forgets.fetch_add(1, Relaxed);
    }

    pub(crate) fn missing_bytes(&self, segment: SegmentId, range: ByteRange) -> u64 {
        let is_there = |part| self.store.get(&EntryKey { segment, part }).is_some();
        if is_there(Part::Whole) {
            return 0;
        }
        // Where the object ends is not known: about as far behind the range as the range reaches.
        let bytes = |read: &BlockRead| u64::from(BLOCK_BYTES).min(2 * read.wanted.end());
        let missing = blocks_of(range).filter(|read| !is_there(Part::Block(read.block)));
        missing.map(|read| bytes(&read)).sum()
    }

    /// Reads again, with nothing in hand but the memory for one block, each time that comes free,
    /// until the time is over.
    pub(crate) async fn read(
        self: &Arc<Self>,
        segment: SegmentId,
        range: ByteRange,
        heat: Heat,
    ) -> Result<Vec<Bytes>, ReadError> {
        let clock = &*self.env.clock;
        let until = clock.now().after(self.config.memory_wait);
        let reserve = Reserve::default();
        loop {
            match self.attempt(segment, range, heat, &reserve).await {
                Err(ReadError::Overloaded { .. }) => {}
                outcome => return outcome,
            }
            let wait = self.memory.take(BLOCK_BYTES);
            let freed = timeout(clock, until.since(clock.now()), wait).await;
            let Some(freed) = freed.ok().flatten().filter(|_| clock.now() < until) else {
                return Err(self.overloaded(segment));
            };
            reserve.keep(freed);
        }
    }

    pub(crate) async fn read_now(
        self: &Arc<Self>,
        segment: SegmentId,
        range: ByteRange,
        heat: Heat,
    ) -> Result<Vec<Bytes>, ReadError> {
        match self
            .attempt(segment, range, heat, &Reserve::default())
            .await
        {
            Err(ReadError::Overloaded { .. }) => Err(self.overloaded(segment)),
            outcome => outcome,
        }
    }

    fn overloaded(&self, segment: SegmentId) -> ReadError {
        let error = ReadError::Overloaded { segment };
        self.counters.failed(&error);
        error
    }

    async fn attempt(
        self: &Arc<Self>,
        segment: SegmentId,
        range: ByteRange,
        heat: Heat,
        reserve: &Reserve,
    ) -> Result<Vec<Bytes>, ReadError> {
        let bytes = range.byte_count();
        if bytes > READ_BYTES_MAX {
            return Err(ReadError::TooLarge { bytes });
        }
        let whole = EntryKey {
            segment,
            part: Part::Whole,
        };
        if let Some(object) = self.store.get(&whole) {
            self.counters.object_hits.fetch_add(1, Relaxed);
            let part = part_of(&object, range).ok_or(ReadError::Corrupt { segment, range })?;
            return Ok(vec![part]);
        }
        // All of them end before the first failure is told: the next attempt finds what came.
        let blocks = stream::iter(blocks_of(range))
            .map(|read| self.block_part(segment, read, heat, reserve))
            .buffered(READ_BLOCKS_PARALLEL);
        let slices: Vec<Result<Bytes, ReadError>> = blocks.collect().await;
        let slices = slices.into_iter().collect::<Result<Vec<Bytes>, _>>()?;
        let found: usize = slices.iter().map(Bytes::len).sum();
        assert_eq!(u64::try_from(found), Ok(bytes), "a read is never short");
        Ok(slices)
    }

    async fn block_part(
        self: &Arc<Self>,
        segment: SegmentId,
        read: BlockRead,
        heat: Heat,
        reserve: &Reserve,
    ) -> Result<Bytes, ReadError> {
        let key = EntryKey {
            segment,
            part: Part::Block(read.block),
        };
        let bytes = match self.store.get(&key) {
            Some(bytes) => {
                self.counters.block_hits.fetch_add(1, Relaxed);
                bytes
            }
            None => self.load_shared(key, read.block, heat, reserve).await?,
        };
        part_of(&bytes, read.wanted).ok_or(ReadError::Corrupt {
            segment,
            range: read.wanted,
        })
    }

    async fn load_shared(
        self: &Arc<Self>,
        key: EntryKey,
        block: u64,
        heat: Heat,
        reserve: &Reserve,
    ) -> Result<Bytes, ReadError> {
        let begin = || {
            let (engine, reserve) = (Arc::clone(self), reserve.clone());
            async move { engine.load(key, block, heat, &reserve).await }.boxed()
        };
        match self.flights.join(key, || self.store.get(&key), begin) {
            Joined::Ready(bytes) => {
                self.counters.block_hits.fetch_add(1, Relaxed);
                Ok(bytes)
            }
            Joined::Other(load) => {
                self.counters.joins.fetch_add(1, Relaxed);
                load.await
            }
            Joined::Own(load) => load.await,
        }
    }

    async fn load(
        &self,
        key: EntryKey,
        block: u64,
        heat: Heat,
        reserve: &Reserve,
    ) -> Result<Bytes, ReadError> {
        let outcome = self.load_block(key.segment, block, heat, reserve).await;
        match &outcome {
            Ok(bytes) => {
                if u64::try_from(bytes.len()).is_ok_and(|len| len <= self.store.entry_bytes_max()) {
                    self.store.put(key, bytes.clone(), heat);
                }
            }
            // Told by whoever gives up for it.
            Err(ReadError::Overloaded { .. }) => {}
            Err(error) => self.counters.failed(error),
        }
        outcome
    }

    async fn load_block(
        &self,
        segment: SegmentId,
        block: u64,
        heat: Heat,
        reserve: &Reserve,
    ) -> Result<Bytes, ReadError> {
        let range = block_range(block).ok_or(ReadError::TooLarge { bytes: u64::MAX })?;
        let _permit = self.load_permit(heat).await;
        let free = self.memory.take_now(BLOCK_BYTES);
        let allowance = free.or_else(|| reserve.take());
        let allowance = allowance.ok_or(ReadError::Overloaded { segment })?;
        let key = ObjectKey::session_place(self.cluster, segment);
        self.counters.load_begun(heat);
        let read = self.bucket.get(&key, ReadRange::Bounded(range)).await;
        let read = read.map_err(|source| ReadError::Store {
            segment,
            source: Arc::new(source),
        })?;
        let read = read.ok_or(ReadError::Reaped { segment })?;
        self.counters.loaded(heat, read.bytes.len());
        if !is_whole(&read, range) {
            return Err(ReadError::Corrupt { segment, range });
        }
        Ok(allowance.pay_for(read.bytes))
    }

    async fn load_permit(&self, heat: Heat) -> Option<SemaphorePermit<'_>> {
        let [hot, cold] = &self.loads;
        let budget = match heat {
            Heat::Hot => hot,
            Heat::Cold => cold,
        };
        let permit = budget.acquire_many(BLOCK_BYTES).await;
        assert!(permit.is_ok(), "a load budget is never closed");
        permit.ok()
    }

    pub(crate) fn stats(&self) -> CacheStats {
        let in_flight = |budget: &Semaphore, bytes: u32| {
            let free = u32::try_from(budget.available_permits()).unwrap_or(u32::MAX);
            u64::from(bytes.saturating_sub(free))
        };
        let [hot, cold] = &self.loads;
        CacheStats {
            cached_bytes: self.store.bytes(),
            memory_bytes: self.memory.used_bytes(),
            memory_bytes_max: self
                .config
                .cached_bytes
                .saturating_add(self.config.held_bytes),
            hot_load_bytes: in_flight(hot, self.config.hot_load_bytes),
            cold_load_bytes: in_flight(cold, self.config.cold_load_bytes),
            loads_in_flight: u64::try_from(self.flights.count()).unwrap_or(u64::MAX),
            ..self.counters.snapshot()
        }
    }
}

#[cfg(test)]
mod tests;
