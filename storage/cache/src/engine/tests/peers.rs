//! Which of owner, writer and bucket is asked, in which order, and with whose permits.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use esker_object::{KeyClass, Operation};
use futures::future::join_all;

use super::*;
use crate::PeerQuestion;

const BLOCK: u64 = 1024 * 1024;
const CLUSTER: ClusterId = ClusterId::from_bytes([2; 16]);

/// Other processes that answer as they are told.
#[derive(Debug, Default)]
struct Fake {
    is_elsewhere: AtomicBool,
    is_stuck: AtomicBool,
    owner: Mutex<Option<Bytes>>,
    writer: Mutex<Option<Bytes>>,
    asked: Mutex<Vec<&'static str>>,
}

impl Fake {
    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl BlockPeers for Fake {
    fn owner_is_elsewhere(&self, _: BlockId) -> bool {
        self.is_elsewhere.load(Relaxed)
    }

    fn of_owner(&self, _: BlockId, heat: Heat) -> BoxFuture<'_, Option<Bytes>> {
        let name = match heat {
            Heat::Hot => "hot owner",
            Heat::Cold => "cold owner",
        };
        self.asked.lock().unwrap().push(name);
        if self.is_stuck.load(Relaxed) {
            return futures::future::pending().boxed();
        }
        let bytes = self.owner.lock().unwrap().clone();
        async move { bytes }.boxed()
    }

    fn of_writer(&self, _: BlockId) -> BoxFuture<'_, Option<Bytes>> {
        self.asked.lock().unwrap().push("writer");
        let bytes = self.writer.lock().unwrap().clone();
        async move { bytes }.boxed()
    }
}

struct World {
    fake: Arc<Fake>,
    bucket: FaultyBucket,
    cache: PlainCache,
    config: CacheConfig,
}

/// One object of ten blocks in the bucket, and one of its bytes is `b`.
async fn world() -> World {
    let fake = Arc::new(Fake::default());
    let bucket = FaultyBucket::new(Arc::new(MemoryBucket::new()), Env::system());
    let key = ObjectKey::session_place(CLUSTER, segment());
    let object = Bytes::from(vec![b'b'; usize::try_from(10 * BLOCK).unwrap()]);
    let _ = bucket.put_if_absent(&key, object).await;
    let config = CacheConfig {
        cached_bytes: 8 * BLOCK,
        hot_load_bytes: 2 * BLOCK_BYTES,
        cold_load_bytes: 2 * BLOCK_BYTES,
        ask_bytes: 2 * BLOCK_BYTES,
        ..CacheConfig::default()
    };
    let peers: Arc<dyn BlockPeers> = fake.clone();
    let shared = Arc::new(bucket.clone());
    World {
        cache: PlainCache::among(peers, shared, CLUSTER, Env::system(), config),
        fake,
        bucket,
        config,
    }
}

fn of(letter: u8, bytes: u64) -> Option<Bytes> {
    Some(vec![letter; usize::try_from(bytes).unwrap()].into())
}

impl World {
    /// One byte of a block.
    async fn read(&self, block: u64, heat: Heat) -> u8 {
        let range = ByteRange::at(block * BLOCK, 1).unwrap();
        let read = self.cache.read(segment(), range, heat).await;
        read.unwrap().concat()[0]
    }

    fn gets(&self) -> usize {
        self.bucket.count(Operation::Get, KeyClass::Session)
    }
}

#[tokio::test]
async fn what_another_process_owns_is_asked_of_it_once_and_kept() {
    let world = world().await;
    world.fake.is_elsewhere.store(true, Relaxed);
    *world.fake.owner.lock().unwrap() = of(b'o', BLOCK);

    let first = [
        world.read(0, Heat::Cold).await,
        world.read(1, Heat::Hot).await,
    ];
    let again = [
        world.read(0, Heat::Hot).await,
        world.read(1, Heat::Cold).await,
    ];

    assert_eq!((first, again), ([b'o'; 2], [b'o'; 2]));
    assert_eq!(world.fake.asked(), ["cold owner", "hot owner"]);
    assert_eq!((world.gets(), world.cache.stats().owner_blocks), (0, 2));
}

#[tokio::test]
async fn an_owner_that_gives_nothing_or_one_byte_past_a_block_leaves_it_to_the_bucket() {
    let world = world().await;
    world.fake.is_elsewhere.store(true, Relaxed);

    for (block, given) in (0..).zip([None, of(b'o', 0), of(b'o', BLOCK + 1)]) {
        *world.fake.owner.lock().unwrap() = given;
        assert_eq!(world.read(block, Heat::Cold).await, b'b', "{block}");
    }

    let stats = world.cache.stats();
    assert_eq!(
        (world.gets(), stats.cold_loads, stats.owner_blocks),
        (3, 3, 0)
    );
    assert_eq!((stats.ask_bytes, stats.cold_load_bytes), (0, 0));
}

#[tokio::test]
async fn only_loads_at_the_end_of_the_log_ask_the_writer() {
    let world = world().await;
    *world.fake.writer.lock().unwrap() = of(b'w', BLOCK);

    let hot = world.read(0, Heat::Hot).await;
    let cold = world.read(1, Heat::Cold).await;
    *world.fake.writer.lock().unwrap() = None;
    let evicted = world.read(2, Heat::Hot).await;

    assert_eq!((hot, cold, evicted), (b'w', b'b', b'b'));
    assert_eq!(world.fake.asked(), ["writer", "writer"]);
    let stats = world.cache.stats();
    assert_eq!(
        (world.gets(), stats.writer_blocks, stats.hot_loads),
        (2, 1, 1)
    );
}

#[tokio::test]
async fn what_was_found_wrong_comes_from_the_bucket_and_then_peers_are_asked_again() {
    let world = world().await;
    world.fake.is_elsewhere.store(true, Relaxed);
    *world.fake.owner.lock().unwrap() = of(b'x', BLOCK);
    let wrong = world.read(0, Heat::Hot).await;
    world.fake.asked();

    world.cache.forget(segment(), ByteRange::new(0, 1).unwrap());
    let right = world.read(0, Heat::Hot).await;
    let asked_meanwhile = world.fake.asked();
    let gets = world.gets();
    // Forgotten by whoever evicts: memory is full of other blocks.
    for block in 1..10 {
        world.read(block, Heat::Hot).await;
    }
    let later = world.read(0, Heat::Hot).await;

    assert_eq!((wrong, right, later), (b'x', b'b', b'x'));
    assert_eq!((asked_meanwhile, gets), (vec![], 1));
}

#[tokio::test]
async fn who_is_asked_as_an_owner_does_not_wait_for_another_one() {
    let world = world().await;
    world.fake.is_elsewhere.store(true, Relaxed);
    world.fake.is_stuck.store(true, Relaxed);
    let range = ByteRange::new(0, 1).unwrap();
    let mut own = world.cache.read(segment(), range, Heat::Cold);
    assert!(futures::poll!(&mut own).is_pending());

    let block = BlockId {
        segment: segment(),
        block: 0,
    };
    let load = PeerQuestion::Load(Heat::Cold);
    let given = world.cache.read_for_peer(block, load).await.unwrap();

    assert_eq!(given, of(b'b', BLOCK));
    assert_eq!(world.fake.asked(), ["cold owner"], "for the own reader");
}

#[tokio::test]
async fn one_question_past_the_budget_waits_and_holds_up_no_load() {
    let world = world().await;
    world.fake.is_elsewhere.store(true, Relaxed);
    world.fake.is_stuck.store(true, Relaxed);
    let range = |block: u64| ByteRange::at(block * BLOCK, 1).unwrap();
    let asks = u64::from(world.config.ask_bytes) / BLOCK;
    let reads = (0..=asks).map(|block| world.cache.read(segment(), range(block), Heat::Cold));
    let mut reads = Box::pin(join_all(reads));
    assert!(futures::poll!(&mut reads).is_pending());

    let asked = world.fake.asked();
    world.fake.is_elsewhere.store(false, Relaxed);
    let loaded = world.read(9, Heat::Cold).await;

    assert_eq!(u64::try_from(asked.len()), Ok(asks));
    assert_eq!(loaded, b'b');
    assert_eq!(world.cache.stats().ask_bytes, asks * BLOCK);
    drop(reads);
    assert_eq!(world.cache.stats().ask_bytes, 0);
}
