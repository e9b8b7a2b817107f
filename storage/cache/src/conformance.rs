//! What every form of the cache must do, as one suite that each form runs.
//!
//! Panics with the broken claim: it is called by tests only (feature `test-util`), on a runtime
//! whose time is paused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_env::Env;
use esker_object::{
    Bucket, Fault, FaultRule, FaultyBucket, Gate, KeyClass, MemoryBucket, ObjectKey, Operation,
    PutOutcome, StoreErrorKind,
};
use esker_types::{ByteRange, ChainIndex, ClusterId, SegmentId, SessionId};
use futures::future::{FutureExt as _, join_all};

use crate::limits::{BLOCK_BYTES, OBJECT_BYTES_MAX, READ_BYTES_MAX};
use crate::{BlockId, CacheConfig, Heat, PeerQuestion, ReadError, SegmentCache};

/// Makes the form under test.
pub type MakeCache = fn(Arc<dyn Bucket>, ClusterId, Env, CacheConfig) -> Arc<dyn SegmentCache>;

const BLOCK: u64 = 1024 * 1024;
const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);

struct World {
    bucket: FaultyBucket,
    cache: Arc<dyn SegmentCache>,
    config: CacheConfig,
}

fn config() -> CacheConfig {
    CacheConfig {
        cached_bytes: u64::from(BLOCK_BYTES) * 8,
        held_bytes: u64::from(BLOCK_BYTES) * 4 + u64::from(OBJECT_BYTES_MAX),
        hot_load_bytes: BLOCK_BYTES * 2,
        cold_load_bytes: BLOCK_BYTES * 2,
        ask_bytes: 0,
        memory_wait: Duration::from_secs(5),
    }
}

fn world(make: MakeCache) -> World {
    let env = Env::system();
    let bucket = FaultyBucket::new(Arc::new(MemoryBucket::new()), env.clone());
    let config = config();
    let cache = make(Arc::new(bucket.clone()), CLUSTER, env, config);
    World {
        bucket,
        cache,
        config,
    }
}

fn segment(number: u8) -> SegmentId {
    SegmentId {
        session: SessionId::from_bytes([number; 16]),
        index: ChainIndex::new(u64::from(number)),
    }
}

/// Bytes whose every stretch is telling, and different for each segment.
fn object(number: u8, bytes: u64) -> Bytes {
    let byte = |at: u64| u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap_or(0);
    (0..bytes).map(|at| byte(at) ^ number).collect()
}

fn range(start: u64, end: u64) -> ByteRange {
    let range = ByteRange::new(start, end);
    assert!(range.is_some(), "the suite makes ranges that are not empty");
    range.unwrap_or_else(|| unreachable!())
}

fn part(object: &Bytes, wanted: ByteRange) -> Bytes {
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
    object.slice(at(wanted.start())..at(wanted.end()))
}

impl World {
    async fn keep(&self, number: u8, bytes: u64) -> Bytes {
        let object = object(number, bytes);
        let key = ObjectKey::session_place(CLUSTER, segment(number));
        let put = self.bucket.put_if_absent(&key, object.clone()).await;
        assert!(matches!(put, PutOutcome::Created), "a free key is taken");
        object
    }

    async fn read(&self, number: u8, wanted: ByteRange) -> Result<Bytes, ReadError> {
        let slices = self.cache.read(segment(number), wanted, Heat::Cold).await?;
        Ok(slices.concat().into())
    }

    fn gets(&self) -> usize {
        self.bucket.count(Operation::Get, KeyClass::Session)
    }
}

/// Runs every claim against caches that `make` makes.
pub async fn conformance(make: MakeCache) {
    a_written_object_is_read_without_a_request(make).await;
    an_object_too_large_is_left_out(make).await;
    a_cold_block_is_asked_for_once(make).await;
    many_readers_share_one_load(make).await;
    a_dropped_reader_leaves_the_load_to_the_others(make).await;
    failures_are_not_remembered(make).await;
    what_is_not_as_the_index_says_is_corrupt(make).await;
    cold_loads_do_not_hold_up_hot_ones(make).await;
    memory_is_bounded_by_what_slow_readers_hold(make).await;
    forgotten_bytes_are_read_again(make).await;
    a_peer_is_given_whole_blocks(make).await;
    a_question_for_cached_bytes_loads_nothing(make).await;
}

async fn a_written_object_is_read_without_a_request(make: MakeCache) {
    let world = world(make);
    let object = object(1, 3 * BLOCK + 5);

    world.cache.insert(segment(1), object.clone());

    for wanted in [
        range(0, 1),
        range(BLOCK - 1, BLOCK + 1),
        range(0, 3 * BLOCK + 5),
        range(3 * BLOCK, 3 * BLOCK + 5),
    ] {
        let slices = world.cache.read(segment(1), wanted, Heat::Hot).await;
        let slices = slices.unwrap_or_default();
        assert_eq!(slices.concat(), part(&object, wanted), "{wanted:?}");
        let first = slices.first().map(|slice| slice.as_ptr());
        let wanted_at = part(&object, wanted).as_ptr();
        assert_eq!(first, Some(wanted_at), "bytes are shared, not copied");
    }
    let all = range(0, 3 * BLOCK + 5);
    assert_eq!(world.cache.missing_bytes(segment(1), all), 0);
    assert_eq!(world.cache.missing_bytes(segment(2), all), 3 * BLOCK + 10);
    let past = world.read(1, range(3 * BLOCK, 3 * BLOCK + 6)).await;
    assert!(matches!(past, Err(ReadError::Corrupt { .. })));
    assert_eq!(world.gets(), 0, "what was written costs no request");
}

async fn an_object_too_large_is_left_out(make: MakeCache) {
    let world = world(make);
    let fits = world.config.cached_bytes.min(u64::from(OBJECT_BYTES_MAX));

    world.cache.insert(segment(1), object(1, fits));
    world.cache.insert(segment(2), object(2, fits + 1));
    let larger = object(3, u64::from(OBJECT_BYTES_MAX) + 1);
    world.cache.insert(segment(3), larger);

    let stats = world.cache.stats();
    assert_eq!((stats.inserts, stats.inserts_left_out), (1, 2));
    assert_eq!(stats.cached_bytes, fits);
    assert_eq!(stats.memory_bytes, fits, "what is left out is not paid for");
    let wanted = range(0, READ_BYTES_MAX + 1);
    let read = world.read(1, wanted).await;
    assert!(matches!(read, Err(ReadError::TooLarge { .. })), "{read:?}");
}

async fn a_cold_block_is_asked_for_once(make: MakeCache) {
    let world = world(make);
    let object = world.keep(1, 2 * BLOCK + 10).await;
    let other = world.keep(2, 10).await;

    for (wanted, gets) in [
        (range(5, 9), 1),
        (range(0, BLOCK), 1),
        (range(BLOCK - 3, BLOCK + 3), 2),
        (range(2 * BLOCK, 2 * BLOCK + 10), 3),
        (range(0, 2 * BLOCK + 10), 3),
    ] {
        let read = world.read(1, wanted).await;

        assert_eq!(read.ok(), Some(part(&object, wanted)), "{wanted:?}");
        assert_eq!(world.gets(), gets, "{wanted:?}");
    }
    let read = world.read(2, range(0, 10)).await;
    assert_eq!(read.ok(), Some(other), "objects have entries of their own");
    let stats = world.cache.stats();
    assert_eq!((stats.cold_loads, stats.loads_in_flight), (4, 0));
    assert_eq!(stats.cached_bytes, 2 * BLOCK + 20);
    assert_eq!(stats.cold_loaded_bytes, 2 * BLOCK + 20);
}

async fn many_readers_share_one_load(make: MakeCache) {
    let world = world(make);
    let object = world.keep(1, BLOCK).await;
    let wanted = range(10, 20);

    let reads = (0..50).map(|_| world.read(1, wanted));
    let outcomes = join_all(reads).await;

    for outcome in outcomes {
        assert_eq!(outcome.ok(), Some(part(&object, wanted)));
    }
    assert_eq!(world.gets(), 1, "one get, however many readers");
}

async fn a_dropped_reader_leaves_the_load_to_the_others(make: MakeCache) {
    let world = world(make);
    let object = world.keep(1, BLOCK).await;
    let gate = Gate::new();
    let slow = FaultRule::new(Fault::GateBefore(gate.clone())).on(Operation::Get);
    world.bucket.add(slow);
    let wanted = range(0, 4);
    let mut first = world.read(1, wanted).boxed();
    let mut second = world.read(1, wanted).boxed();
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());

    drop(first);
    gate.open();

    assert_eq!(second.await.ok(), Some(part(&object, wanted)));
    assert_eq!(world.gets(), 1, "the load went on");

    let gate = Gate::new();
    world.bucket.heal();
    world.keep(2, BLOCK).await;
    let slow = FaultRule::new(Fault::GateBefore(gate.clone())).on(Operation::Get);
    world.bucket.add(slow);
    let mut only = world.read(2, wanted).boxed();
    assert!(futures::poll!(&mut only).is_pending());
    drop(only);
    let stats = world.cache.stats();
    assert_eq!(stats.loads_in_flight, 0, "a load without readers ends");
    assert_eq!(stats.cold_load_bytes, 0, "and gives its permits back");
    assert_eq!(stats.memory_bytes, stats.cached_bytes);
}

async fn failures_are_not_remembered(make: MakeCache) {
    let world = world(make);
    let wanted = range(0, 4);

    let missing = world.read(1, wanted).await;
    let object = world.keep(1, BLOCK).await;
    let fault = Fault::Refuse(StoreErrorKind::Exhausted);
    world.bucket.add(FaultRule::new(fault).times(1));
    let failed = world.read(1, wanted).await;
    let found = world.read(1, wanted).await;

    assert!(
        matches!(missing, Err(ReadError::Reaped { .. })),
        "{missing:?}"
    );
    assert!(matches!(failed, Err(ReadError::Store { .. })), "{failed:?}");
    assert_eq!(found.ok(), Some(part(&object, wanted)));
    assert_eq!(world.gets(), 3);
    let stats = world.cache.stats();
    assert_eq!((stats.reaped, stats.store_failures), (1, 1));
    assert_eq!(stats.memory_bytes, BLOCK, "failed loads hold no memory");
}

async fn what_is_not_as_the_index_says_is_corrupt(make: MakeCache) {
    let world = world(make);
    world.keep(1, BLOCK + 10).await;

    let cut = FaultRule::new(Fault::Truncate).times(1);
    world.bucket.add(cut.on(Operation::Get));
    let short = world.read(1, range(0, 4)).await;
    let past = world.read(1, range(BLOCK, BLOCK + 11)).await;
    let beyond = world.read(1, range(5 * BLOCK, 5 * BLOCK + 1)).await;

    for outcome in [short, past, beyond] {
        assert!(
            matches!(outcome, Err(ReadError::Corrupt { .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(world.bucket.struck(), 1);
    assert!(world.read(1, range(0, BLOCK + 10)).await.is_ok());
}

async fn cold_loads_do_not_hold_up_hot_ones(make: MakeCache) {
    let world = world(make);
    for number in 1..=4 {
        world.keep(number, BLOCK).await;
    }
    let gate = Gate::new();
    let slow = FaultRule::new(Fault::GateBefore(gate.clone())).on(Operation::Get);
    world.bucket.add(slow.times(2));
    let wanted = range(0, 4);
    let mut cold = join_all((1..=3).map(|number| world.read(number, wanted))).boxed();
    assert!(futures::poll!(&mut cold).is_pending());

    let hot = world.cache.read(segment(4), wanted, Heat::Hot).await;

    assert!(hot.is_ok());
    let stats = world.cache.stats();
    assert_eq!(stats.cold_load_bytes, 2 * BLOCK, "the third waits its turn");
    assert_eq!(world.gets(), 3);
    gate.open();
    assert!(cold.await.iter().all(Result::is_ok));
    assert_eq!(world.cache.stats().cold_load_bytes, 0);
}

async fn memory_is_bounded_by_what_slow_readers_hold(make: MakeCache) {
    let world = world(make);
    let most = world.config.cached_bytes + world.config.held_bytes;
    let blocks = u8::try_from(most / BLOCK).unwrap_or(u8::MAX);
    let mut held = Vec::new();

    for number in 0..blocks {
        world.keep(number, BLOCK).await;
        held.push(world.read(number, range(0, 1)).await);
        let slices = world.cache.read(segment(number), range(0, 1), Heat::Cold);
        held.push(slices.await.map(|mut slices| slices.remove(0)));
    }
    world.keep(blocks, BLOCK).await;
    let refused = world.read(blocks, range(0, 1)).await;
    world.cache.insert(segment(200), object(200, 1));

    assert!(held.iter().all(Result::is_ok), "all of it could be read");
    assert!(
        matches!(refused, Err(ReadError::Overloaded { .. })),
        "one block past the limit: {refused:?}"
    );
    let stats = world.cache.stats();
    assert_eq!((stats.memory_bytes, stats.memory_bytes_max), (most, most));
    assert!(stats.cached_bytes <= world.config.cached_bytes);
    assert_eq!((stats.overloads, stats.inserts_left_out), (1, 1));

    drop(held);
    assert!(world.read(blocks, range(0, 1)).await.is_ok());
    let stats = world.cache.stats();
    assert_eq!(stats.memory_bytes, stats.cached_bytes, "nothing is held");
}

async fn forgotten_bytes_are_read_again(make: MakeCache) {
    let world = world(make);
    let object = world.keep(1, 2 * BLOCK).await;
    let wanted = range(BLOCK - 1, BLOCK + 1);
    world.cache.insert(segment(1), Bytes::from_static(b"wrong"));

    world.cache.forget(segment(1), wanted);
    let first = world.read(1, wanted).await;
    world.cache.forget(segment(1), range(0, 1));
    let second = world.read(1, wanted).await;

    assert_eq!(first.ok(), Some(part(&object, wanted)));
    assert_eq!(second.ok(), Some(part(&object, wanted)));
    assert_eq!(world.gets(), 3, "one of two blocks was forgotten");
    assert_eq!(world.cache.stats().forgets, 2);
}

fn block(number: u8, block: u64) -> BlockId {
    BlockId {
        segment: segment(number),
        block,
    }
}

async fn a_peer_is_given_whole_blocks(make: MakeCache) {
    let world = world(make);
    let load = PeerQuestion::Load(Heat::Cold);
    let stored = world.keep(1, 2 * BLOCK + 5).await;
    let written = object(2, BLOCK + 7);
    world.cache.insert(segment(2), written.clone());

    let asked = [(1, 0), (1, 2), (2, 0), (2, 1)];
    let mut given = Vec::new();
    for (number, at) in asked {
        let bytes = world.cache.read_for_peer(block(number, at), load).await;
        given.push(bytes.ok().flatten());
    }
    let past = world.cache.read_for_peer(block(2, 2), load).await;
    let nowhere = world.cache.read_for_peer(block(1, u64::MAX), load).await;

    let wanted = [
        part(&stored, range(0, BLOCK)),
        part(&stored, range(2 * BLOCK, 2 * BLOCK + 5)),
        part(&written, range(0, BLOCK)),
        part(&written, range(BLOCK, BLOCK + 7)),
    ];
    assert_eq!(given, wanted.map(Some));
    assert!(matches!(past, Err(ReadError::Corrupt { .. })), "{past:?}");
    assert!(
        matches!(nowhere, Err(ReadError::TooLarge { .. })),
        "{nowhere:?}"
    );
    assert_eq!(world.gets(), 2);
}

async fn a_question_for_cached_bytes_loads_nothing(make: MakeCache) {
    let world = world(make);
    let object = world.keep(1, BLOCK).await;

    let before = world.cache.read_for_peer(block(1, 0), PeerQuestion::Cached);
    let before = before.await;
    let read = world.read(1, range(0, 1)).await;
    let after = world.cache.read_for_peer(block(1, 0), PeerQuestion::Cached);
    let after = after.await;

    assert!(read.is_ok() && matches!(before, Ok(None)), "{before:?}");
    assert_eq!(after.ok().flatten(), Some(object));
    assert_eq!(world.gets(), 1, "the reader's");
}
