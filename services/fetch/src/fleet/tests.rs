//! Who is asked in which order, for how long, and that processes cannot wait for each other.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use esker_cache::{CacheConfig, PlainCache, SegmentCache};
use esker_object::{
    Bucket as _, FaultyBucket, KeyClass, MemoryBucket, ObjectKey, Operation, PutOutcome,
};
use esker_types::{ByteRange, ChainIndex, ClusterId, SegmentId};
use futures::future::join_all;

use super::*;
use crate::limits::PEER_REST;

const BLOCK: u64 = 1024 * 1024;
const BLOCKS: u64 = 12;
const CLUSTER: ClusterId = ClusterId::from_bytes([2; 16]);

fn at(port: u16) -> Endpoint {
    Endpoint {
        host: "pod".to_owned(),
        port,
    }
}

fn segment() -> SegmentId {
    SegmentId {
        session: SessionId::from_bytes([1; 16]),
        index: ChainIndex::ZERO,
    }
}

fn id(block: u64) -> BlockId {
    let segment = segment();
    BlockId { segment, block }
}

/// Every block is of process `owner`, or of the two in turn; the session of process `writer`.
#[derive(Clone, Debug, Default)]
struct Places {
    here: u16,
    owner: Option<u16>,
    writer: Option<u16>,
    is_shared: bool,
}

impl BlockPlaces for Places {
    fn owner(&self, block: BlockId) -> Option<Endpoint> {
        let shared = if block.block.is_multiple_of(2) { 1 } else { 2 };
        let owner = self.is_shared.then_some(shared).or(self.owner)?;
        (owner != self.here).then(|| at(owner))
    }

    fn writer(&self, _: SessionId) -> Option<Endpoint> {
        self.writer.map(at)
    }
}

/// Other processes: desks of caches, or answers; one without either is silent.
#[derive(Debug, Default)]
struct Others {
    desks: Mutex<BTreeMap<u16, BlockDesk>>,
    answers: Mutex<BTreeMap<u16, Result<PeerAnswer, NoPeerAnswer>>>,
    asked: Mutex<Vec<(u16, PeerQuestion)>>,
}

impl Others {
    fn answer(&self, port: u16, answer: Result<PeerAnswer, NoPeerAnswer>) {
        self.answers.lock().unwrap().insert(port, answer);
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl BlockTransport for Others {
    fn ask<'a>(
        &'a self,
        at: &'a Endpoint,
        block: BlockId,
        question: PeerQuestion,
        _: Duration,
    ) -> BoxFuture<'a, Result<PeerAnswer, NoPeerAnswer>> {
        self.asked.lock().unwrap().push((at.port, question));
        let desk = self.desks.lock().unwrap().get(&at.port).cloned();
        let answer = self.answers.lock().unwrap().get(&at.port).cloned();
        async move {
            match (desk, answer) {
                (Some(desk), _) => Ok(match desk.answer(block, question).await {
                    // On its way over the network a block is copied, and the first one let go.
                    PeerAnswer::Block(bytes) => PeerAnswer::Block(Bytes::copy_from_slice(&bytes)),
                    other => other,
                }),
                (None, Some(answer)) => answer,
                (None, None) => std::future::pending().await,
            }
        }
        .boxed()
    }
}

/// A bucket with one object, all of it `b`.
async fn bucket() -> FaultyBucket {
    let bucket = FaultyBucket::new(Arc::new(MemoryBucket::new()), Env::system());
    let bytes = usize::try_from(BLOCKS * BLOCK).unwrap();
    let key = ObjectKey::session_place(CLUSTER, segment());
    let put = bucket.put_if_absent(&key, vec![b'b'; bytes].into()).await;
    assert!(matches!(put, PutOutcome::Created));
    bucket
}

fn gets(bucket: &FaultyBucket) -> usize {
    bucket.count(Operation::Get, KeyClass::Session)
}

/// One process of the fleet.
#[derive(Debug)]
struct Process {
    fleet: Arc<Fleet>,
    cache: Arc<dyn SegmentCache>,
}

impl Process {
    fn new(bucket: &FaultyBucket, others: &Arc<Others>, places: Places) -> Self {
        let here = places.here;
        let transport: Arc<dyn BlockTransport> = others.clone();
        let fleet = Fleet::new(Arc::new(places), transport, Env::system());
        let peers: Arc<dyn BlockPeers> = fleet.clone();
        let config = CacheConfig::default().among_peers();
        let shared = Arc::new(bucket.clone());
        let cache = PlainCache::among(peers, shared, CLUSTER, Env::system(), config);
        let cache: Arc<dyn SegmentCache> = Arc::new(cache);
        if here > 0 {
            let desk = BlockDesk::new(Arc::clone(&cache), 2 * BLOCK, &fleet);
            others.desks.lock().unwrap().insert(here, desk);
        }
        Self { fleet, cache }
    }

    async fn read(&self, block: u64, heat: Heat) -> u8 {
        let range = ByteRange::at(block * BLOCK, 1).unwrap();
        let read = self.cache.read(segment(), range, heat).await;
        read.unwrap().concat()[0]
    }
}

/// One process whose blocks all belong to process 7, and its session to process 8.
async fn owned() -> (FaultyBucket, Arc<Others>, Process) {
    let (bucket, others) = (bucket().await, Arc::new(Others::default()));
    let places = Places {
        owner: Some(7),
        writer: Some(8),
        ..Places::default()
    };
    let process = Process::new(&bucket, &others, places);
    (bucket, others, process)
}

fn block_of(letter: u8) -> Result<PeerAnswer, NoPeerAnswer> {
    let bytes = usize::try_from(BLOCK).unwrap();
    Ok(PeerAnswer::Block(vec![letter; bytes].into()))
}

#[tokio::test(start_paused = true)]
async fn the_owner_is_asked_first_then_the_writer_then_the_bucket() {
    let (bucket, others, process) = owned().await;
    others.answer(7, block_of(b'o'));
    others.answer(8, block_of(b'w'));

    let owner = process.read(0, Heat::Hot).await;
    others.answer(7, Ok(PeerAnswer::Failed));
    let writer = process.read(1, Heat::Hot).await;
    let cold = process.read(2, Heat::Cold).await;
    others.answer(8, Ok(PeerAnswer::NotHere));
    let neither = process.read(3, Heat::Hot).await;

    assert_eq!([owner, writer, cold, neither], *b"owbb");
    let (hot, cached) = (PeerQuestion::Load(Heat::Hot), PeerQuestion::Cached);
    let asked = [
        (7, hot),
        (7, hot),
        (8, cached),
        (7, PeerQuestion::Load(Heat::Cold)),
        (7, hot),
        (8, cached),
    ];
    assert_eq!(*others.asked.lock().unwrap(), asked);
    let stats = process.fleet.stats();
    assert_eq!((stats.owner.blocks, stats.owner.failed), (1, 3));
    assert_eq!((stats.writer.blocks, stats.writer.not_here), (1, 1));
    assert_eq!((gets(&bucket), stats.received_bytes), (2, 2 * BLOCK));
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_past_its_time_is_left_alone_and_tried_again() {
    let (bucket, others, process) = owned().await;
    let clock = Env::system().clock;
    let start = clock.now();

    let first = process.read(0, Heat::Hot).await;
    let waited = clock.now().since(start);
    let second = process.read(1, Heat::Hot).await;
    let rested = clock.now().since(start) - waited;
    let asked = others.asked();
    clock.sleep(PEER_REST.delay_first).await;
    others.answer(7, block_of(b'o'));
    let third = process.read(2, Heat::Hot).await;

    assert_eq!([first, second, third], *b"bbo");
    let most = OWNER_WAIT + WRITER_WAIT;
    assert!(
        waited >= most && waited < most + Duration::from_millis(20),
        "{waited:?}"
    );
    assert!(rested < Duration::from_millis(20), "{rested:?}");
    assert_eq!((asked, gets(&bucket)), (2, 2));
    let stats = process.fleet.stats();
    assert_eq!((stats.owner.lost, stats.owner.rested), (1, 1));
    assert_eq!((stats.writer.lost, stats.writer.rested), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_is_busy_is_asked_again_for_the_next_block_and_who_is_lost_is_not() {
    let (_, others, process) = owned().await;
    others.answer(7, Err(NoPeerAnswer::Busy));
    process.read(0, Heat::Cold).await;
    process.read(1, Heat::Cold).await;
    let busy = others.asked();

    others.answer(7, Err(NoPeerAnswer::Lost));
    process.read(2, Heat::Cold).await;
    process.read(3, Heat::Cold).await;

    assert_eq!((busy, others.asked()), (2, 3));
    let stats = process.fleet.stats();
    assert_eq!(
        (stats.owner.busy, stats.owner.lost, stats.owner.rested),
        (2, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn scans_through_two_processes_get_each_block_once() {
    let (bucket, others) = (bucket().await, Arc::new(Others::default()));
    let places = |here| Places {
        here,
        is_shared: true,
        ..Places::default()
    };
    let processes = [1, 2].map(|here| Process::new(&bucket, &others, places(here)));

    let scans = processes.iter().map(|process| {
        let reads = (0..BLOCKS).map(|block| process.read(block, Heat::Cold));
        join_all(reads)
    });
    let read = join_all(scans).await.concat();

    assert!(read.iter().all(|byte| *byte == b'b'));
    assert_eq!(u64::try_from(gets(&bucket)), Ok(BLOCKS));
    let given = processes.each_ref().map(|process| process.fleet.stats());
    assert_eq!(given.map(|stats| stats.served_blocks), [BLOCKS / 2; 2]);
    assert_eq!(given.map(|stats| stats.owner.blocks), [BLOCKS / 2; 2]);
}

#[tokio::test(start_paused = true)]
async fn two_processes_that_take_each_other_for_the_owner_both_get_their_bytes_at_once() {
    let (bucket, others) = (bucket().await, Arc::new(Others::default()));
    let places = |here, owner| Places {
        here,
        owner: Some(owner),
        ..Places::default()
    };
    let left = Process::new(&bucket, &others, places(1, 2));
    let right = Process::new(&bucket, &others, places(2, 1));
    let clock = Env::system().clock;
    let start = clock.now();

    let one = join_all((0..BLOCKS).map(|block| left.read(block, Heat::Cold)));
    let two = join_all((0..BLOCKS).map(|block| right.read(block, Heat::Cold)));
    let (one, two) = futures::join!(one, two);

    assert!(one.iter().chain(&two).all(|byte| *byte == b'b'));
    assert!(clock.now().since(start) < OWNER_WAIT);
    assert!(u64::try_from(gets(&bucket)).unwrap() <= 2 * BLOCKS);
}

/// A cache whose loads wait for a word.
#[derive(Debug)]
struct Waiting {
    inner: Arc<dyn SegmentCache>,
    may_go: AtomicBool,
    loads: Mutex<u32>,
}

impl SegmentCache for Waiting {
    fn insert(&self, segment: SegmentId, object: Bytes) {
        self.inner.insert(segment, object);
    }

    fn read(
        &self,
        segment: SegmentId,
        range: ByteRange,
        heat: Heat,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, esker_cache::ReadError>> {
        self.inner.read(segment, range, heat)
    }

    fn read_now(
        &self,
        segment: SegmentId,
        range: ByteRange,
        heat: Heat,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, esker_cache::ReadError>> {
        self.inner.read_now(segment, range, heat)
    }

    fn read_for_peer(
        &self,
        block: BlockId,
        question: PeerQuestion,
    ) -> BoxFuture<'_, Result<Option<Bytes>, esker_cache::ReadError>> {
        if question == PeerQuestion::Cached || self.may_go.load(Ordering::Relaxed) {
            return self.inner.read_for_peer(block, question);
        }
        *self.loads.lock().unwrap() += 1;
        std::future::pending().boxed()
    }

    fn missing_bytes(&self, segment: SegmentId, range: ByteRange) -> u64 {
        self.inner.missing_bytes(segment, range)
    }

    fn forget(&self, segment: SegmentId, range: ByteRange) {
        self.inner.forget(segment, range);
    }

    fn stats(&self) -> esker_cache::CacheStats {
        self.inner.stats()
    }
}

#[tokio::test(start_paused = true)]
async fn one_load_for_others_past_their_share_waits_and_cached_bytes_do_not() {
    let (_bucket, _others, process) = owned().await;
    process
        .cache
        .insert(segment(), Bytes::from_static(b"written"));
    let waiting = Arc::new(Waiting {
        inner: Arc::clone(&process.cache),
        may_go: AtomicBool::new(false),
        loads: Mutex::new(0),
    });
    let cache: Arc<dyn SegmentCache> = waiting.clone();
    let desk = BlockDesk::new(cache, 2 * BLOCK + 1, &process.fleet);
    let load = PeerQuestion::Load(Heat::Cold);
    let loads = (0..3).map(|block| desk.answer(id(block), load));
    let mut loads = Box::pin(join_all(loads));
    assert!(futures::poll!(&mut loads).is_pending());

    let begun = *waiting.loads.lock().unwrap();
    let cached = desk.answer(id(0), PeerQuestion::Cached).await;
    drop(loads);
    waiting.may_go.store(true, Ordering::Relaxed);
    let first = desk.answer(id(0), load).await;
    let second = desk.answer(id(0), load).await;
    let mut third = Box::pin(desk.answer(id(0), load));
    let early = futures::poll!(&mut third).is_pending();
    drop(first);

    let written = PeerAnswer::Block(Bytes::from_static(b"written"));
    assert_eq!((begun, cached), (2, written.clone()));
    assert!(early, "blocks on their way count until they are gone");
    assert_eq!((second, third.await), (written.clone(), written));
    assert_eq!(process.fleet.stats().served_blocks, 4);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_loaded_for_others_is_told_as_that() {
    let (_bucket, _others, process) = owned().await;
    let desk = BlockDesk::new(Arc::clone(&process.cache), 0, &process.fleet);
    let mut nowhere = id(0);
    nowhere.segment.index = ChainIndex::new(9);

    let failed = desk.answer(nowhere, PeerQuestion::Load(Heat::Hot)).await;
    let not_here = desk.answer(nowhere, PeerQuestion::Cached).await;

    assert_eq!(
        (failed, not_here),
        (PeerAnswer::Failed, PeerAnswer::NotHere)
    );
    let stats = process.fleet.stats();
    assert_eq!((stats.served_failed, stats.served_not_here), (1, 1));
}
