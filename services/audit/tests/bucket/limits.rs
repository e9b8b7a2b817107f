//! One past each limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use esker_audit::{AuditParts, Depth, FindingKind, RebuildPlan, Silent, audit, limits};
use esker_object::{
    Bucket, KeyClass, ListedObject, MemoryBucket, ObjectKey, ObjectRead, PutOutcome, ReadRange,
    StoreError,
};
use esker_types::{ChainIndex, SegmentId, SessionId};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::world::{Acknowledged, CLUSTER, World, at};

/// Counts the reads of one class, all of them and those at once.
#[derive(Clone, Debug)]
struct Watched {
    memory: MemoryBucket,
    class: KeyClass,
    open: Arc<AtomicUsize>,
    open_max: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
    /// Snapshots are listed so often; each time another list of one appears, which is damaged.
    moves: Option<Arc<AtomicUsize>>,
}

impl Watched {
    fn new(world: &World, class: KeyClass) -> Self {
        Self {
            memory: world.memory.clone(),
            class,
            open: Arc::default(),
            open_max: Arc::default(),
            reads: Arc::default(),
            moves: None,
        }
    }

    fn parts(&self, world: &World) -> AuditParts {
        AuditParts {
            bucket: Arc::new(self.clone()),
            ..world.parts()
        }
    }
}

impl Bucket for Watched {
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        self.memory.put_if_absent(key, body)
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
        if key.class() != self.class {
            return self.memory.get(key, range);
        }
        async move {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
            self.open_max.fetch_max(open, Ordering::Relaxed);
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.memory.get(key, range).await
        }
        .boxed()
    }

    fn head<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        self.memory.head(key)
    }

    fn list_after<'a>(
        &'a self,
        prefix: &'a ObjectKey,
        after: Option<&'a ObjectKey>,
        count_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>> {
        async move {
            if let Some(moves) = self.moves.as_ref()
                && *prefix == ObjectKey::snapshots(CLUSTER)
            {
                let roll = moves.fetch_add(1, Ordering::Relaxed) + 100;
                let key = ObjectKey::snapshot_done(CLUSTER, u64::try_from(roll).unwrap_or(0));
                let _ = self
                    .memory
                    .put_if_absent(&key, Bytes::from_static(b"?"))
                    .await;
            }
            self.memory.list_after(prefix, after, count_max).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        self.memory.delete(key)
    }
}

/// A killed process with so many segments of one session.
async fn segments(count: usize) -> World {
    let world = World::new().await;
    let process = world.start().await;
    let topic = process.topic("orders").await;
    let mut pod = process.register().await;
    for _ in 0..count {
        let mut acknowledged = Acknowledged::new();
        pod.append(&process, at(&topic, 0), &mut acknowledged).await;
    }
    process.kill();
    world
}

#[tokio::test(start_paused = true)]
async fn no_more_objects_are_read_at_once_than_the_limits_say() {
    let world = segments(limits::QUICK_READS_MAX + 8).await;
    let run = async |class, depth| {
        let watched = Watched::new(&world, class);
        let parts = watched.parts(&world);
        let report = Box::pin(audit(&parts, depth, &Silent)).await.unwrap();
        assert!(!report.is_damaged(), "{:?}", report.findings.rows());
        watched.open_max.load(Ordering::Relaxed)
    };

    let quick = run(KeyClass::Session, Depth::Quick).await;
    let deep = run(KeyClass::Session, Depth::Deep).await;
    let journal = run(KeyClass::Journal, Depth::Deep).await;

    assert_eq!(quick, limits::QUICK_READS_MAX);
    assert_eq!(deep, limits::DEEP_READS_MAX);
    assert!(journal <= limits::JOURNAL_READS_MAX, "{journal}");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_makes_no_sense_is_read_so_often_and_one_too_large_never() {
    let world = segments(1).await;
    let sessions = world.keys(&ObjectKey::sessions(CLUSTER)).await;
    world.change(&sessions[0], |bytes| bytes[70] ^= 1).await;
    let watched = Watched::new(&world, KeyClass::Session);

    let report = Box::pin(audit(&watched.parts(&world), Depth::Deep, &Silent))
        .await
        .unwrap();

    assert!(
        report
            .findings
            .counts()
            .contains_key(&FindingKind::ObjectDamaged)
    );
    let reads = watched.reads.load(Ordering::Relaxed);
    assert_eq!(reads, usize::try_from(limits::READS_MAX).unwrap());
    let large = usize::try_from(limits::SESSION_OBJECT_BYTES_MAX).unwrap() + 1;
    world
        .change(&sessions[0], |bytes| *bytes = vec![0; large])
        .await;
    let watched = Watched::new(&world, KeyClass::Session);
    let report = Box::pin(audit(&watched.parts(&world), Depth::Deep, &Silent))
        .await
        .unwrap();
    assert!(
        report
            .findings
            .counts()
            .contains_key(&FindingKind::ObjectDamaged)
    );
    assert_eq!(watched.reads.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_moves_on_is_read_again_so_often() {
    let world = segments(1).await;
    let moves = Arc::new(AtomicUsize::new(0));
    let watched = Watched {
        moves: Some(Arc::clone(&moves)),
        ..Watched::new(&world, KeyClass::Snapshot)
    };

    let report = Box::pin(audit(&watched.parts(&world), Depth::Quick, &Silent))
        .await
        .unwrap();

    assert!(report.is_damaged());
    let passes = usize::try_from(limits::JOURNAL_PASSES_MAX).unwrap();
    assert_eq!(
        moves.load(Ordering::Relaxed),
        passes + 1,
        "and once by the replay"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_takes_more_segments_than_it_adopts_at_once() {
    let world = segments(limits::ADOPTED_MAX + 1).await;
    world.lose_journal().await;

    let report = world.rebuild(RebuildPlan::default()).await.unwrap();

    assert_eq!(
        report.segments,
        u64::try_from(limits::ADOPTED_MAX + 1).unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn past_the_limit_odd_sessions_are_only_counted() {
    let world = World::new().await;
    world.start().await.stop().await;
    let damaged = Bytes::from_static(b"no segment");
    for number in 0..=limits::UNKNOWN_SESSIONS_MAX {
        let number = u128::try_from(number).unwrap();
        let segment = SegmentId {
            session: SessionId::from_bytes((number << 100 | number).to_be_bytes()),
            index: ChainIndex::ZERO,
        };
        let key = ObjectKey::session_place(CLUSTER, segment);
        let _ = world.memory.put_if_absent(&key, damaged.clone()).await;
    }

    let report = world.audit(Depth::Quick).await;

    let counted = report.findings.counts()[&FindingKind::SealMissing];
    let told = u64::try_from(limits::UNKNOWN_SESSIONS_MAX).unwrap();
    assert_eq!(
        counted,
        told + 1,
        "the last one stands for all further ones"
    );
    let rows = report.findings.rows().iter();
    let last = rows
        .filter(|row| row.what.contains("more sessions"))
        .count();
    assert!(last <= 1);
}
