//! Both forms keep the contract; what only a misbehaving store can cause.

use esker_object::{
    Fault, FaultRule, FaultyBucket, Gate, ListedObject, MemoryBucket, PutOutcome, StoreError,
};
use esker_types::{ChainIndex, SessionId};
use futures::future::BoxFuture;
use proptest::prelude::*;

use super::*;
use crate::{BlockCache, PlainCache, ReadErrorKind, SegmentCache, conformance};

mod peers;

#[tokio::test(start_paused = true)]
async fn the_form_on_foyer_keeps_the_contract() {
    conformance(|bucket, cluster, env, config| {
        Arc::new(BlockCache::new(bucket, cluster, env, config))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_plain_form_keeps_the_contract() {
    conformance(|bucket, cluster, env, config| {
        Arc::new(PlainCache::new(bucket, cluster, env, config))
    })
    .await;
}

/// Answers every get with too many bytes, as a proxy that ignores ranges does.
#[derive(Debug)]
struct Overlong;

impl Bucket for Overlong {
    fn put_if_absent<'a>(&'a self, _: &'a ObjectKey, _: Bytes) -> BoxFuture<'a, PutOutcome> {
        async { PutOutcome::Exists }.boxed()
    }

    fn get<'a>(
        &'a self,
        _: &'a ObjectKey,
        _: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
        let object_bytes = 3 * u64::from(BLOCK_BYTES);
        let bytes = Bytes::from(vec![0; usize::try_from(object_bytes).unwrap()]);
        let read = ObjectRead {
            bytes,
            object_bytes,
        };
        async { Ok(Some(read)) }.boxed()
    }

    fn head<'a>(&'a self, _: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        async { Ok(None) }.boxed()
    }

    fn list_after<'a>(
        &'a self,
        _: &'a ObjectKey,
        _: Option<&'a ObjectKey>,
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn delete<'a>(&'a self, _: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        async { Ok(()) }.boxed()
    }
}

fn segment() -> SegmentId {
    SegmentId {
        session: SessionId::from_bytes([1; 16]),
        index: ChainIndex::ZERO,
    }
}

fn plain(bucket: impl Bucket) -> PlainCache {
    let cluster = ClusterId::from_bytes([2; 16]);
    let config = CacheConfig::default();
    PlainCache::new(Arc::new(bucket), cluster, Env::system(), config)
}

#[tokio::test]
async fn more_bytes_than_asked_for_are_corrupt_not_served() {
    let cache = plain(Overlong);
    let range = ByteRange::new(0, 4).unwrap();

    let outcome = cache.read(segment(), range, Heat::Hot).await;

    let error = outcome.unwrap_err();
    assert!(matches!(error, ReadError::Corrupt { .. }));
    assert_eq!(error.kind(), ReadErrorKind::Corrupt);
    let stats = cache.stats();
    assert_eq!((stats.cached_bytes, stats.memory_bytes), (0, 0));
}

#[tokio::test]
async fn one_read_waits_for_a_bounded_number_of_blocks() {
    let blocks = u64::try_from(READ_BLOCKS_PARALLEL).unwrap() + 1;
    let object_bytes = blocks * u64::from(BLOCK_BYTES);
    let inner = MemoryBucket::new();
    let key = ObjectKey::session_place(ClusterId::from_bytes([2; 16]), segment());
    let object = Bytes::from(vec![0; usize::try_from(object_bytes).unwrap()]);
    let _ = inner.put_if_absent(&key, object).await;
    let bucket = FaultyBucket::new(Arc::new(inner), Env::system());
    let gate = Gate::new();
    bucket.add(FaultRule::new(Fault::GateBefore(gate.clone())));
    let cache = plain(bucket.clone());
    let range = ByteRange::new(0, object_bytes).unwrap();

    let mut read = cache.read(segment(), range, Heat::Cold);
    assert!(futures::poll!(&mut read).is_pending());

    assert_eq!(bucket.requests().len(), READ_BLOCKS_PARALLEL);
    gate.open();
    assert_eq!(read.await.unwrap().len(), READ_BLOCKS_PARALLEL + 1);
}

/// The byte at a place of object `number`.
fn byte_at(number: u64, at: u64) -> u8 {
    u8::try_from((at / 7 + number * 31) % 251).unwrap()
}

/// Reads random ranges of random objects; every fourth one is given up at once.
async fn read_at_random(cache: Arc<dyn SegmentCache>, rng: esker_env::Rng, objects: u64) {
    let mut held = Vec::new();
    for _ in 0..100 {
        let number = rng.below(objects);
        let segment = SegmentId {
            index: ChainIndex::new(number),
            ..segment()
        };
        let start = rng.below(2_500_000);
        let range = ByteRange::new(start, start + 1 + rng.below(2_500_000 - start)).unwrap();
        let heat = [Heat::Hot, Heat::Cold][usize::from(rng.below(2) == 0)];
        let mut read = cache.read(segment, range, heat);
        if rng.below(4) == 0 {
            let _ = futures::poll!(&mut read);
            cache.forget(segment, range);
            continue;
        }
        let slices = read.await.unwrap();
        let found = slices.concat();
        assert_eq!(u64::try_from(found.len()), Ok(range.byte_count()));
        for step in [0, found.len() / 2, found.len() - 1] {
            let at = range.start() + u64::try_from(step).unwrap();
            assert_eq!(found[step], byte_at(number, at));
        }
        held.push(slices);
        if held.len() > 2 {
            held.clear();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_on_many_threads_get_their_bytes_and_give_all_memory_back() {
    let bucket = MemoryBucket::new();
    for number in 0..12_u64 {
        let segment = SegmentId {
            index: ChainIndex::new(number),
            ..segment()
        };
        let key = ObjectKey::session_place(ClusterId::from_bytes([2; 16]), segment);
        let object: Bytes = (0..2_500_000).map(|at| byte_at(number, at)).collect();
        let _ = bucket.put_if_absent(&key, object).await;
    }
    let config = CacheConfig {
        cached_bytes: 8 * u64::from(BLOCK_BYTES),
        held_bytes: 200 * u64::from(BLOCK_BYTES),
        ..CacheConfig::default()
    };
    let cluster = ClusterId::from_bytes([2; 16]);
    let cache = BlockCache::new(Arc::new(bucket), cluster, Env::system(), config);
    let rng = esker_env::Rng::from_seed(7);
    let mut readers = esker_env::TaskGroup::new("readers");

    for reader in 0..16 {
        let rng = rng.stream(&format!("reader {reader}"));
        readers.spawn(read_at_random(Arc::new(cache.clone()), rng, 12));
    }
    readers.join_all().await.unwrap();

    let stats = cache.stats();
    assert_eq!(stats.memory_bytes, stats.cached_bytes);
    assert!(stats.cached_bytes <= config.cached_bytes);
    assert_eq!((stats.loads_in_flight, stats.overloads), (0, 0));
    assert_eq!((stats.hot_load_bytes, stats.cold_load_bytes), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_of_any_object_reads_exactly(
        object_bytes in 1_u64..5_000_000,
        ends in (0.0..1.0_f64, 0.0..1.0_f64),
        written in any::<bool>(),
    ) {
        #[expect(clippy::as_conversions, reason = "a share of a length, drawn for a test")]
        let place = |share: f64| (share * object_bytes as f64) as u64;
        let (start, end) = (place(ends.0.min(ends.1)), place(ends.0.max(ends.1)) + 1);
        let range = ByteRange::new(start, end.min(object_bytes)).unwrap();
        let object: Bytes = (0..object_bytes)
            .map(|at| u8::try_from((at / 3) % 251).unwrap())
            .collect();
        let bucket = MemoryBucket::new();
        let cache = plain(bucket.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

        let read = runtime.block_on(async {
            if written {
                cache.insert(segment(), object.clone());
            } else {
                let key = ObjectKey::session_place(ClusterId::from_bytes([2; 16]), segment());
                let _ = bucket.put_if_absent(&key, object.clone()).await;
            }
            cache.read(segment(), range, Heat::Cold).await
        });

        let wanted = part_of(&object, range).unwrap();
        prop_assert_eq!(read.unwrap().concat(), wanted);
    }
}
