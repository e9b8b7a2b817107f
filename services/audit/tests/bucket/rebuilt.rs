//! A journal that is lost or damaged is made again: what was acknowledged is there, at its offset.

use bytes::Bytes;
use esker_audit::{RebuildError, RebuildPlan, Silent, rebuild};
use esker_metadata::TopicOrigin;
use esker_metadata_api::{BatchVerdict, Topic};
use esker_object::{
    Bucket, Fault, FaultRule, FaultyBucket, KeyClass, ListedObject, MemoryBucket, ObjectKey,
    ObjectRead, Operation, PutOutcome, ReadRange, StoreError, StoreErrorKind,
};
use esker_types::{ChainIndex, Offset, SegmentId};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::world::{Acknowledged, CLUSTER, Pod, Probe, World, at};

/// What a bucket holds after a kill under load.
struct Killed {
    world: World,
    topic: std::sync::Arc<Topic>,
    acknowledged: Acknowledged,
    producer: esker_metadata_api::ProducerSpan,
    pod: Pod,
}

/// Two epochs, two sessions each, plain and idempotent batches, a kill with writes in flight.
async fn killed() -> Killed {
    let world = World::new().await;
    let mut acknowledged = Acknowledged::new();
    let process = world.start().await;
    let topic = process.topic("orders").await;
    let mut pod = process.register().await;
    for _ in 0..4 {
        pod.append(&process, at(&topic, 1), &mut acknowledged).await;
    }
    process.kill();
    let process = world.start().await;
    let mut producer = process.producer().await;
    let mut pod = process.register().await;
    let mut other = process.register().await;
    for _ in 0..3 {
        let wanted = (2, Some(producer));
        let reserved = pod.reserve(&process, at(&topic, 0), wanted).await;
        pod.write(&process, &reserved, &mut acknowledged).await;
        producer.base_sequence += 2;
        other
            .append(&process, at(&topic, 1), &mut acknowledged)
            .await;
    }
    let _lost = other.reserve(&process, at(&topic, 1), (1, None)).await;
    let behind = other.reserve(&process, at(&topic, 1), (1, None)).await;
    other.upload(&process, &behind).await;
    process.kill();
    Killed {
        world,
        topic,
        acknowledged,
        producer,
        pod,
    }
}

fn place(pod: &Pod, index: u64) -> ObjectKey {
    let session = pod.registered.session;
    let index = ChainIndex::new(index);
    ObjectKey::session_place(CLUSTER, SegmentId { session, index })
}

/// Behind the last acknowledged record.
fn end_of(acknowledged: &Acknowledged, partition: esker_types::TopicPartition) -> Offset {
    let batches = acknowledged.get(&partition).into_iter().flatten();
    let ends = batches.filter_map(|(base, count)| base.after(*count));
    ends.max().unwrap_or(Offset::ZERO)
}

/// Starts on the rebuilt bucket: everything is there, a retry finds itself, and work goes on above
/// all that was acknowledged (P2).
async fn goes_on(killed: &mut Killed) {
    let Killed {
        world,
        topic,
        acknowledged,
        producer,
        ..
    } = killed;
    world.is_clean().await;
    let process = world.start().await;
    process.holds(acknowledged).await;
    let mut pod = process.register().await;
    let mut retry = *producer;
    retry.base_sequence -= 2;
    let again = pod.verdict(&process, at(topic, 0), (2, Some(retry))).await;
    assert!(matches!(again, BatchVerdict::Duplicate { .. }), "{again:?}");
    for (partition, wanted) in [(0, (2, Some(*producer))), (1, (1, None))] {
        let partition = at(topic, partition);
        let before = end_of(acknowledged, partition);
        let reserved = pod.reserve(&process, partition, wanted).await;
        assert!(reserved.base_offset >= before, "{partition:?}: {before}");
        pod.write(&process, &reserved, acknowledged).await;
    }
    let fresh = process.producer().await;
    assert!(fresh.producer_id > producer.producer_id);
    process.holds(acknowledged).await;
    process.stop().await;
    world.is_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_journal_is_rebuilt_with_names_that_were_written_down() {
    let mut killed = killed().await;
    killed.world.lose_journal().await;
    let mut given = Topic::clone(&killed.topic);
    given.partition_count = std::num::NonZeroU32::new(7).unwrap();
    let plan = RebuildPlan {
        given: vec![given],
        ..RebuildPlan::default()
    };

    let report = killed.world.rebuild(plan).await.unwrap();

    assert_eq!(report.roll, Some(1));
    assert_eq!((report.segments, report.void_segments), (10, 1));
    assert_eq!(report.sessions_open, 2, "the first session was sealed");
    assert_eq!(report.topics.len(), 1);
    assert_eq!(report.topics[0].origin, TopicOrigin::Given);
    assert_eq!(report.topics[0].topic.partition_count.get(), 7);
    goes_on(&mut killed).await;
}

#[tokio::test(start_paused = true)]
async fn topics_whose_names_nobody_knows_get_one_of_their_id() {
    let mut killed = killed().await;
    killed.world.lose_journal().await;

    let report = killed.world.rebuild(RebuildPlan::default()).await.unwrap();

    let topic = &report.topics[0];
    assert_eq!(topic.origin, TopicOrigin::Derived);
    assert_eq!(
        topic.topic.name.as_str(),
        format!("recovered-{}", killed.topic.id)
    );
    assert_eq!(topic.topic.partition_count.get(), 2);
    goes_on(&mut killed).await;
}

#[tokio::test(start_paused = true)]
async fn names_are_salvaged_from_what_is_left_of_a_damaged_journal() {
    let mut killed = killed().await;
    let journal = killed.world.keys(&ObjectKey::journal(CLUSTER)).await;
    let entry = ObjectKey::journal_place(CLUSTER, 1, 1);
    assert!(journal.contains(&entry));
    killed.world.change(&entry, |bytes| bytes[70] ^= 1).await;

    let report = killed.world.rebuild(RebuildPlan::default()).await.unwrap();

    assert_eq!(report.topics[0].origin, TopicOrigin::Journal);
    assert_eq!(report.topics[0].topic.name.as_str(), "orders");
    assert_eq!((report.roll, report.old_unreadable), (Some(2), 1));
    for key in journal {
        assert!(!killed.world.bytes(&key).await.is_empty(), "{key} is left");
    }
    goes_on(&mut killed).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_without_a_part_and_lost_heads_are_no_obstacle() {
    let mut killed = killed().await;
    for _ in 0..20 {
        killed.world.start().await.stop().await;
    }
    let snapshots = killed.world.keys(&ObjectKey::snapshots(CLUSTER)).await;
    let log_part = snapshots
        .iter()
        .find(|key| key.as_str().ends_with("/00000001"));
    killed.world.delete(log_part.unwrap()).await;
    for roll in [3, 20] {
        let key = ObjectKey::journal_place(CLUSTER, roll, 0);
        killed.world.delete(&key).await;
    }

    let report = killed.world.rebuild(RebuildPlan::default()).await.unwrap();

    assert_eq!(report.topics.len(), 1);
    assert!(report.old_snapshot_roll.is_some());
    assert_eq!(
        report.topics[0].topic.name.as_str(),
        "orders",
        "its part is there"
    );
    goes_on(&mut killed).await;
}

#[tokio::test(start_paused = true)]
async fn a_sound_journal_is_left_alone_unless_forced() {
    let mut killed = killed().await;

    let refused = killed.world.rebuild(RebuildPlan::default()).await;
    let forced = RebuildPlan {
        forces: true,
        ..RebuildPlan::default()
    };
    let rebuilt = killed.world.rebuild(forced).await.unwrap();

    assert!(matches!(refused, Err(RebuildError::Sound)));
    assert_eq!(rebuilt.topics[0].origin, TopicOrigin::Journal);
    goes_on(&mut killed).await;
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_tells_the_same_and_writes_nothing() {
    let killed = killed().await;
    killed.world.lose_journal().await;
    let everything = ObjectKey::everything(CLUSTER);
    let before = killed.world.keys(&everything).await;
    let plan = |is_dry| RebuildPlan {
        is_dry,
        ..RebuildPlan::default()
    };

    let dry = killed.world.rebuild(plan(true)).await.unwrap();
    let untouched = killed.world.keys(&everything).await;
    let done = killed.world.rebuild(plan(false)).await.unwrap();

    assert_eq!(untouched, before);
    assert_eq!((dry.roll, done.roll), (None, Some(1)));
    assert_eq!((dry.segments, dry.extents), (done.segments, done.extents));
    assert_eq!(dry.topics.len(), done.topics.len());
}

#[tokio::test(start_paused = true)]
async fn a_missing_cluster_file_is_written_again_and_a_sound_journal_kept() {
    let mut killed = killed().await;
    killed.world.delete(&ObjectKey::cluster()).await;

    let report = killed.world.rebuild(RebuildPlan::default()).await.unwrap();

    assert!(report.cluster_file_missing);
    assert_eq!(report.roll, None);
    goes_on(&mut killed).await;
}

#[tokio::test(start_paused = true)]
async fn lost_segments_stop_a_rebuild_until_the_loss_is_accepted() {
    let mut killed = killed().await;
    killed.world.lose_journal().await;
    let key = place(&killed.pod, 1);
    killed.world.change(&key, |bytes| bytes.truncate(100)).await;

    let refused = killed.world.rebuild(RebuildPlan::default()).await;
    let plan = RebuildPlan {
        accepts_loss: true,
        ..RebuildPlan::default()
    };
    let report = killed.world.rebuild(plan).await.unwrap();

    let session = killed.pod.registered.session;
    let lost = SegmentId {
        session,
        index: ChainIndex::new(1),
    };
    assert!(
        matches!(refused, Err(RebuildError::Lost { segments: 1, first }) if first == lost),
        "{refused:?}"
    );
    assert_eq!((report.lost_segments, report.segments), (1, 9));
    let batches = killed.acknowledged.get_mut(&at(&killed.topic, 0)).unwrap();
    batches.remove(1);
    let process = killed.world.start().await;
    process.holds(&killed.acknowledged).await;
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_stands_behind_a_lost_segment_of_a_sealed_chain_is_kept_on_demand() {
    let mut killed = killed().await;
    // The start seals all chains.
    killed.world.start().await.stop().await;
    killed.world.lose_journal().await;
    killed.world.delete(&place(&killed.pod, 1)).await;

    let refused = killed.world.rebuild(RebuildPlan::default()).await;
    let plan = RebuildPlan {
        accepts_loss: true,
        ..RebuildPlan::default()
    };
    let report = killed.world.rebuild(plan).await.unwrap();

    assert!(matches!(
        refused,
        Err(RebuildError::Lost { segments: 1, .. })
    ));
    assert_eq!((report.lost_segments, report.segments), (1, 9));
    let batches = killed.acknowledged.get_mut(&at(&killed.topic, 0)).unwrap();
    batches.remove(1);
    let process = killed.world.start().await;
    process.holds(&killed.acknowledged).await;
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_living_leader_or_pod_is_noticed() {
    let killed = killed().await;
    let entry = ObjectKey::journal_place(CLUSTER, 0, 1);
    killed.world.change(&entry, |bytes| bytes[70] ^= 1).await;
    let parts = killed.world.parts();
    let plan = RebuildPlan::default();

    let alive = Box::pin(rebuild(&parts, &plan, &Probe(true), &Silent)).await;

    let address = "127.0.0.1:1";
    assert!(
        matches!(&alive, Err(RebuildError::LeaderAlive { address: found }) if found == address),
        "{alive:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_process_that_lives_through_a_rebuild_is_deposed_and_acknowledges_nothing_more() {
    let world = World::new().await;
    let process = world.start().await;
    let topic = process.topic("orders").await;
    let mut acknowledged = Acknowledged::new();
    let mut pod = process.register().await;
    pod.append(&process, at(&topic, 0), &mut acknowledged).await;
    let late = pod.reserve(&process, at(&topic, 0), (1, None)).await;
    let entry = ObjectKey::journal_place(CLUSTER, 0, 1);
    world.change(&entry, |bytes| bytes[70] ^= 1).await;

    let report = world.rebuild(RebuildPlan::default()).await.unwrap();

    let (segment, chain) = (late.segment, process.chain());
    let put = chain.upload(segment, late.object()).await;
    assert!(put.is_err(), "its place is sealed");
    let registered = esker_metadata_api::Sequencer::register(&process.service, None).await;
    assert!(registered.is_err(), "its journal has ended");
    process.kill();
    let next = world.start().await;
    next.holds(&acknowledged).await;
    assert_eq!(report.segments, 1);
    next.stop().await;
    world.is_clean().await;
}

/// Somebody who writes an object just before the rebuild puts one of a class.
#[derive(Debug)]
struct Meddler {
    memory: MemoryBucket,
    before: KeyClass,
    writes: Option<ObjectKey>,
}

impl Bucket for Meddler {
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        async move {
            if key.class() == self.before {
                let key = self.writes.as_ref().unwrap_or(key);
                let foreign = body.slice(..body.len() - 1);
                let mut foreign = foreign.to_vec();
                foreign[8] ^= 1;
                let _ = self.memory.put_if_absent(key, foreign.into()).await;
            }
            self.memory.put_if_absent(key, body).await
        }
        .boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
        self.memory.get(key, range)
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
        self.memory.list_after(prefix, after, count_max)
    }

    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        self.memory.delete(key)
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_writes_during_a_rebuild_is_noticed() {
    let killed = killed().await;
    killed.world.lose_journal().await;
    let session = esker_types::SessionId::from_bytes([0xee; 16]);
    let fresh = SegmentId {
        session,
        index: ChainIndex::ZERO,
    };
    let meddler = |before, writes| {
        let memory = killed.world.memory.clone();
        std::sync::Arc::new(Meddler {
            memory,
            before,
            writes,
        })
    };
    let plan = RebuildPlan::default;
    let fresh = ObjectKey::session_place(CLUSTER, fresh);

    let session = meddler(KeyClass::Session, Some(fresh.clone()));
    let session = killed.world.rebuild_through(session, plan()).await;
    killed.world.delete(&fresh).await;
    killed.world.lose_journal().await;
    let journal = killed
        .world
        .rebuild_through(meddler(KeyClass::Journal, None), plan())
        .await;

    assert!(
        matches!(session, Err(RebuildError::InUse { sessions: 1 })),
        "{session:?}"
    );
    assert!(
        matches!(journal, Err(RebuildError::Journal(_))),
        "{journal:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_leaves_everything_as_it_was() {
    let killed = killed().await;
    killed.world.lose_journal().await;
    killed.world.delete(&ObjectKey::cluster()).await;
    let refused = async |operation, class| {
        let memory = std::sync::Arc::new(killed.world.memory.clone());
        let faulty = FaultyBucket::new(memory, killed.world.env.clone());
        let denied = Fault::Refuse(StoreErrorKind::Denied);
        faulty.add(FaultRule::new(denied).on(operation).class(class));
        let bucket = std::sync::Arc::new(faulty);
        let plan = RebuildPlan::default();
        killed
            .world
            .rebuild_through(bucket, plan)
            .await
            .unwrap_err()
    };

    let read = refused(Operation::Get, KeyClass::Session).await;
    let cluster = refused(Operation::Put, KeyClass::Cluster).await;
    let seal = refused(Operation::Put, KeyClass::Session).await;

    assert!(matches!(read, RebuildError::Audit(_)), "{read:?}");
    assert!(matches!(cluster, RebuildError::Cluster(_)), "{cluster:?}");
    assert!(matches!(seal, RebuildError::Seal(_)), "{seal:?}");
    let mut killed = killed;
    let report = killed.world.rebuild(RebuildPlan::default()).await.unwrap();
    assert_eq!(report.segments, 10);
    goes_on(&mut killed).await;
}

#[tokio::test(start_paused = true)]
async fn two_segments_with_one_offset_stop_a_rebuild_until_the_loss_is_accepted() {
    let world = World::new().await;
    let process = world.start().await;
    let topic = process.topic("orders").await;
    let mut pod = process.register().await;
    let mut other = process.register().await;
    pod.append(&process, at(&topic, 0), &mut Acknowledged::new())
        .await;
    let zero = esker_types::Offset::ZERO;
    let twice = other.place(&process, at(&topic, 0), zero, (2, None));
    other.upload(&process, &twice).await;
    process.kill();
    world.lose_journal().await;

    let refused = world.rebuild(RebuildPlan::default()).await;
    let plan = RebuildPlan {
        accepts_loss: true,
        ..RebuildPlan::default()
    };
    let report = world.rebuild(plan).await.unwrap();

    assert!(
        matches!(refused, Err(RebuildError::OffsetTaken { base_offset, .. })
        if base_offset == zero)
    );
    assert_eq!((report.segments, report.overlapping_segments), (1, 1));
}
