//! What both forms of the cache do: hit, or join the one load of a block.
//!
//! Order of a load: the block's owner, if that is another process; a permit of its heat's budget,
//! memory, the object's writer (hot loads only), one ranged get, a check of what came, the store,
//! the waiters. What waits for an owner has permits of its own: two processes that are each other's
//! owners must not wait for permits that the other's questions hold. A load never waits for memory:
//! who has a permit ends in the time of its questions. Who waits for memory has nothing.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use esker_env::{Env, timeout};
use esker_object::{Bucket, ObjectKey, ObjectRead, ReadRange};
use esker_types::{ByteRange, ClusterId, SegmentId};
use futures::future::FutureExt as _;
use futures::stream::{self, StreamExt as _};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::cache::PeerQuestion;
use crate::flight::{FlightKey, Flights, Joined, Way};
use crate::key::{BlockRead, EntryKey, Part, block_range, blocks_of};
use crate::limits::{BLOCK_BYTES, OBJECT_BYTES_MAX, READ_BLOCKS_PARALLEL, READ_BYTES_MAX};
use crate::memory::{Allowance, Memory};
use crate::metrics::Counters;
use crate::peers::Distrusted;
use crate::store::Store;
use crate::{BlockId, BlockPeers, CacheConfig, CacheStats, Heat, ReadError};

#[derive(Debug)]
pub(crate) struct Engine {
    store: Arc<dyn Store>,
    peers: Option<Arc<dyn BlockPeers>>,
    distrusted: Distrusted,
    bucket: Arc<dyn Bucket>,
    cluster: ClusterId,
    env: Env,
    config: CacheConfig,
    memory: Memory,
    loads: [Semaphore; 2],
    asks: [Semaphore; 2],
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

/// What a load is for.
#[derive(Clone, Debug)]
struct Errand {
    heat: Heat,
    way: Way,
    reserve: Reserve,
}

fn budget(bytes: u32) -> Semaphore {
    Semaphore::new(usize::try_from(bytes).unwrap_or(Semaphore::MAX_PERMITS))
}

/// The right to load one block. Waits in turn; cancel safe.
async fn permit_of(budgets: &[Semaphore; 2], heat: Heat) -> Option<SemaphorePermit<'_>> {
    let [hot, cold] = budgets;
    let budget = match heat {
        Heat::Hot => hot,
        Heat::Cold => cold,
    };
    let permit = budget.acquire_many(BLOCK_BYTES).await;
    assert!(permit.is_ok(), "a load budget is never closed");
    permit.ok()
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
        peers: Option<Arc<dyn BlockPeers>>,
        bucket: Arc<dyn Bucket>,
        (cluster, env, config): (ClusterId, Env, CacheConfig),
    ) -> Arc<Self> {
        assert_eq!(config.check(), Ok(()), "settings are checked before use");
        let can_ask = peers.is_none() || config.ask_bytes >= BLOCK_BYTES;
        assert!(can_ask, "settings have bytes for what peers are asked for");
        Arc::new(Self {
            store,
            peers,
            distrusted: Distrusted::default(),
            bucket,
            cluster,
            env,
            config,
            memory: Memory::new(config.cached_bytes.saturating_add(config.held_bytes)),
            loads: [
                budget(config.hot_load_bytes),
                budget(config.cold_load_bytes),
            ],
            asks: [budget(config.ask_bytes), budget(config.ask_bytes)],
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
        let (object, now) = (allowance.pay_for(object), self.env.clock.now());
        self.store.put(key, object, Heat::Hot, now);
        self.counters.inserts.fetch_add(1, Relaxed);
    }

    pub(crate) fn forget(&self, segment: SegmentId, range: ByteRange) {
        let blocks = blocks_of(range).map(|read| Part::Block(read.block));
        for part in std::iter::once(Part::Whole).chain(blocks) {
            let key = EntryKey { segment, part };
            self.store.remove(&key);
            if self.peers.is_some() && part != Part::Whole {
                self.distrusted.add(key);
            }
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
            None => {
                let way = self.way_of(&key, read.block);
                let errand = Errand {
                    heat,
                    way,
                    reserve: reserve.clone(),
                };
                self.load_shared(key, read.block, errand).await?
            }
        };
        part_of(&bytes, read.wanted).ok_or(ReadError::Corrupt {
            segment,
            range: read.wanted,
        })
    }

    /// Other processes, unless what they may have was found wrong.
    fn trusted_peers(&self, key: &EntryKey) -> Option<&Arc<dyn BlockPeers>> {
        let peers = self.peers.as_ref()?;
        (!self.distrusted.has(key)).then_some(peers)
    }

    /// Whether a peer's bytes can be the block. While it was asked, what it has may have been found
    /// wrong.
    fn may_be(&self, key: &EntryKey, bytes: &Bytes) -> bool {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        (1..=BLOCK_BYTES).contains(&length) && !self.distrusted.has(key)
    }

    /// On which way this process's own readers come to a block.
    fn way_of(&self, key: &EntryKey, block: u64) -> Way {
        let segment = key.segment;
        let elsewhere = self
            .trusted_peers(key)
            .is_some_and(|peers| peers.owner_is_elsewhere(BlockId { segment, block }));
        if elsewhere { Way::Owner } else { Way::Here }
    }

    pub(crate) async fn read_for_peer(
        self: &Arc<Self>,
        BlockId { segment, block }: BlockId,
        question: PeerQuestion,
    ) -> Result<Option<Bytes>, ReadError> {
        let range = block_range(block).ok_or(ReadError::TooLarge { bytes: u64::MAX })?;
        let at = |part| EntryKey { segment, part };
        if let Some(object) = self.store.get(&at(Part::Whole)) {
            let end = u64::try_from(object.len()).unwrap_or(u64::MAX);
            let there = ByteRange::new(range.start(), range.end().min(end));
            let bytes = there.and_then(|there| part_of(&object, there));
            return bytes.map(Some).ok_or(ReadError::Corrupt { segment, range });
        }
        let key = at(Part::Block(block));
        match (self.store.get(&key), question) {
            (Some(bytes), _) => Ok(Some(bytes)),
            (None, PeerQuestion::Cached) => Ok(None),
            (None, PeerQuestion::Load(heat)) => {
                let errand = Errand {
                    heat,
                    way: Way::Here,
                    reserve: Reserve::default(),
                };
                self.load_shared(key, block, errand).await.map(Some)
            }
        }
    }

    async fn load_shared(
        self: &Arc<Self>,
        key: EntryKey,
        block: u64,
        errand: Errand,
    ) -> Result<Bytes, ReadError> {
        let flight = FlightKey {
            entry: key,
            way: errand.way,
        };
        let begin = || {
            let engine = Arc::clone(self);
            async move { engine.load(key, block, &errand).await }.boxed()
        };
        match self.flights.join(flight, || self.store.get(&key), begin) {
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

    async fn load(&self, key: EntryKey, block: u64, errand: &Errand) -> Result<Bytes, ReadError> {
        let outcome = match self.ask_owner(key, block, errand).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => self.load_block(key, block, errand).await,
            Err(error) => Err(error),
        };
        match &outcome {
            Ok(bytes) => {
                if u64::try_from(bytes.len()).is_ok_and(|len| len <= self.store.entry_bytes_max()) {
                    let now = self.env.clock.now();
                    self.store.put(key, bytes.clone(), errand.heat, now);
                }
            }
            // Told by whoever gives up for it.
            Err(ReadError::Overloaded { .. }) => {}
            Err(error) => self.counters.failed(error),
        }
        outcome
    }

    /// The block from the process of this zone that owns it. `None`: it is loaded here.
    async fn ask_owner(
        &self,
        key: EntryKey,
        block: u64,
        errand: &Errand,
    ) -> Result<Option<Bytes>, ReadError> {
        let segment = key.segment;
        let is_elsewhere = errand.way == Way::Owner;
        let Some(peers) = self.trusted_peers(&key).filter(|_| is_elsewhere) else {
            return Ok(None);
        };
        let _permit = permit_of(&self.asks, errand.heat).await;
        let allowance = self.allowance(errand);
        let allowance = allowance.ok_or(ReadError::Overloaded { segment })?;
        let bytes = peers
            .of_owner(BlockId { segment, block }, errand.heat)
            .await;
        let Some(bytes) = bytes.filter(|bytes| self.may_be(&key, bytes)) else {
            errand.reserve.keep(allowance);
            return Ok(None);
        };
        self.counters.owner_blocks.fetch_add(1, Relaxed);
        Ok(Some(allowance.pay_for(bytes)))
    }

    async fn load_block(
        &self,
        key: EntryKey,
        block: u64,
        errand: &Errand,
    ) -> Result<Bytes, ReadError> {
        let (segment, heat) = (key.segment, errand.heat);
        let range = block_range(block).ok_or(ReadError::TooLarge { bytes: u64::MAX })?;
        let _permit = permit_of(&self.loads, heat).await;
        let allowance = self.allowance(errand);
        let allowance = allowance.ok_or(ReadError::Overloaded { segment })?;
        let peers = self.trusted_peers(&key).filter(|_| heat == Heat::Hot);
        if let Some(peers) = peers {
            let bytes = peers.of_writer(BlockId { segment, block }).await;
            if let Some(bytes) = bytes.filter(|bytes| self.may_be(&key, bytes)) {
                self.counters.writer_blocks.fetch_add(1, Relaxed);
                return Ok(allowance.pay_for(bytes));
            }
        }
        let object = ObjectKey::session_place(self.cluster, segment);
        self.counters.load_begun(heat);
        let read = self.bucket.get(&object, ReadRange::Bounded(range)).await;
        let read = read.map_err(|source| ReadError::Store {
            segment,
            source: Arc::new(source),
        })?;
        let read = read.ok_or(ReadError::Reaped { segment })?;
        self.counters.loaded(heat, read.bytes.len());
        if !is_whole(&read, range) {
            return Err(ReadError::Corrupt { segment, range });
        }
        if self.peers.is_some() {
            self.distrusted.remove(&key);
        }
        Ok(allowance.pay_for(read.bytes))
    }

    /// Memory for one block, if there is some.
    fn allowance(&self, errand: &Errand) -> Option<Allowance> {
        let free = self.memory.take_now(BLOCK_BYTES);
        free.or_else(|| errand.reserve.take())
    }

    pub(crate) fn stats(&self) -> CacheStats {
        let in_flight = |budget: &Semaphore, bytes: u32| {
            let free = u32::try_from(budget.available_permits()).unwrap_or(u32::MAX);
            u64::from(bytes.saturating_sub(free))
        };
        let [hot, cold] = &self.loads;
        let asked = self.asks.iter();
        let asked = asked.map(|budget| in_flight(budget, self.config.ask_bytes));
        CacheStats {
            cached_bytes: self.store.bytes(),
            memory_bytes: self.memory.used_bytes(),
            memory_bytes_max: self
                .config
                .cached_bytes
                .saturating_add(self.config.held_bytes),
            hot_load_bytes: in_flight(hot, self.config.hot_load_bytes),
            cold_load_bytes: in_flight(cold, self.config.cold_load_bytes),
            ask_bytes: asked.sum(),
            loads_in_flight: u64::try_from(self.flights.count()).unwrap_or(u64::MAX),
            ..self.counters.snapshot()
        }
    }
}

#[cfg(test)]
mod tests;
