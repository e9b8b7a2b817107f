//! A bucket in memory that a real metadata service and a pod have written to.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use esker_audit::{
    AuditParts, AuditReport, Depth, FindingKind, RebuildError, RebuildPlan, RebuildReport, Silent,
    audit, rebuild,
};
use esker_chain::Chain;
use esker_env::{Env, Shutdown, ShutdownTrigger, TaskGroup};
use esker_journal::LeaderInfo;
use esker_metadata::{LeaderProbe, MetadataConfig, MetadataParts, MetadataService, MetadataStatus};
use esker_metadata_api::{
    Admin as _, BatchVerdict, CreateTopic, IndexSlice, LogIndex as _, ProducerSpan, Registered,
    ReservationSummary, ReserveRequest, Sequencer as _, Topic, TopicName, WrittenReport,
};
use esker_object::{
    Bucket, DurableBucket, DurableConfig, MemoryBucket, ObjectKey, PutOutcome, ReadRange,
    open_cluster,
};
use esker_record::{BatchBuilder, BatchHeader, Compression, NewRecord};
use esker_segment::{PlacedBatch, ProducerStamp, SegmentBuilder, SegmentHead};
use esker_types::{
    ChainIndex, ClusterId, Offset, PartitionIndex, ProducerEpoch, SegmentId, TopicPartition,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([5; 16]);

/// Nobody answers, or everybody.
#[derive(Debug)]
pub(crate) struct Probe(pub(crate) bool);

impl LeaderProbe for Probe {
    fn is_alive<'a>(&'a self, _: &'a LeaderInfo) -> BoxFuture<'a, bool> {
        std::future::ready(self.0).boxed()
    }
}

/// The bucket.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) memory: MemoryBucket,
    pub(crate) env: Env,
}

/// A process that leads.
pub(crate) struct Process {
    pub(crate) service: MetadataService,
    stop: ShutdownTrigger,
    tasks: TaskGroup,
    chain: Chain,
    env: Env,
}

/// What was acknowledged, by partition: offset and records of each batch.
pub(crate) type Acknowledged = BTreeMap<TopicPartition, Vec<(Offset, u32)>>;

impl World {
    pub(crate) async fn new() -> Self {
        let world = Self {
            memory: MemoryBucket::new(),
            env: Env::system(),
        };
        let bucket = world.bucket();
        open_cluster(bucket.as_ref(), Some(CLUSTER), &world.env)
            .await
            .unwrap();
        world
    }

    pub(crate) fn bucket(&self) -> Arc<dyn Bucket> {
        let memory = Arc::new(self.memory.clone());
        let config = DurableConfig::default();
        Arc::new(DurableBucket::new(memory, config, self.env.clone()))
    }

    pub(crate) fn parts(&self) -> AuditParts {
        AuditParts {
            bucket: self.bucket(),
            env: self.env.clone(),
            cluster: CLUSTER,
        }
    }

    pub(crate) async fn start(&self) -> Process {
        let parts = MetadataParts {
            bucket: self.bucket(),
            env: self.env.clone(),
            cluster: CLUSTER,
            address: "127.0.0.1:1".to_owned(),
            probe: Arc::new(Probe(false)),
        };
        let (service, _, task) = MetadataService::start(MetadataConfig::default(), parts);
        let (stop, shutdown) = Shutdown::new();
        let mut tasks = TaskGroup::new("process");
        let run = async move {
            // Deposed, failed or stopped: tests see it by what they ask for.
            let _ended = task.run(shutdown).await;
        };
        tasks.spawn(run);
        service.status_becomes(MetadataStatus::is_leading).await;
        Process {
            service,
            stop,
            tasks,
            chain: Chain::new(self.bucket(), self.env.clone(), CLUSTER),
            env: self.env.clone(),
        }
    }

    pub(crate) async fn audit(&self, depth: Depth) -> AuditReport {
        Box::pin(audit(&self.parts(), depth, &Silent))
            .await
            .unwrap()
    }

    /// What kinds a deep audit finds, each once.
    pub(crate) async fn found(&self) -> Vec<FindingKind> {
        let report = self.audit(Depth::Deep).await;
        report.findings.counts().keys().copied().collect()
    }

    /// Nothing that means damage is found, in either depth.
    pub(crate) async fn is_clean(&self) {
        for depth in [Depth::Quick, Depth::Deep] {
            let report = self.audit(depth).await;
            assert!(!report.is_damaged(), "{:?}", report.findings.rows());
        }
    }

    pub(crate) async fn rebuild(&self, plan: RebuildPlan) -> Result<RebuildReport, RebuildError> {
        self.rebuild_through(self.bucket(), plan).await
    }

    pub(crate) async fn rebuild_through(
        &self,
        bucket: Arc<dyn Bucket>,
        plan: RebuildPlan,
    ) -> Result<RebuildReport, RebuildError> {
        let parts = AuditParts {
            bucket,
            ..self.parts()
        };
        Box::pin(rebuild(&parts, &plan, &Probe(false), &Silent)).await
    }

    pub(crate) async fn keys(&self, prefix: &ObjectKey) -> Vec<ObjectKey> {
        let rows = self.memory.list_after(prefix, None, 1000).await.unwrap();
        rows.into_iter().map(|row| row.key).collect()
    }

    pub(crate) async fn delete(&self, key: &ObjectKey) {
        self.memory.delete(key).await.unwrap();
    }

    pub(crate) async fn bytes(&self, key: &ObjectKey) -> Vec<u8> {
        let read = self.memory.get(key, ReadRange::Full).await.unwrap();
        read.unwrap().bytes.to_vec()
    }

    pub(crate) async fn put(&self, key: &ObjectKey, bytes: Vec<u8>) {
        let put = self.memory.put_if_absent(key, Bytes::from(bytes)).await;
        assert!(matches!(put, PutOutcome::Created), "{key} is taken");
    }

    pub(crate) async fn change(&self, key: &ObjectKey, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes(key).await;
        change(&mut bytes);
        self.delete(key).await;
        self.put(key, bytes).await;
    }

    /// Everything of the journal, snapshots too.
    pub(crate) async fn lose_journal(&self) {
        for prefix in [ObjectKey::journal(CLUSTER), ObjectKey::snapshots(CLUSTER)] {
            for key in self.keys(&prefix).await {
                self.delete(&key).await;
            }
        }
    }
}

impl Process {
    pub(crate) async fn stop(self) {
        self.stop.request();
        self.tasks.join_all().await.unwrap();
    }

    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// `kill -9`.
    pub(crate) fn kill(self) {
        drop(self.tasks);
    }

    pub(crate) async fn topic(&self, name: &str) -> Arc<Topic> {
        let request = CreateTopic {
            name: TopicName::new(name).unwrap(),
            partition_count: NonZeroU32::new(2).unwrap(),
            replication_factor: 1,
            configs: BTreeMap::new(),
            validate_only: false,
        };
        self.service.create_topic(request).await.unwrap().topic
    }

    pub(crate) async fn register(&self) -> Pod {
        let registered = self.service.register(None).await.unwrap();
        Pod {
            registered,
            next: 0,
        }
    }

    pub(crate) async fn producer(&self) -> ProducerSpan {
        ProducerSpan {
            producer_id: self.service.producer_id().await.unwrap(),
            producer_epoch: ProducerEpoch::default(),
            base_sequence: 0,
        }
    }

    pub(crate) async fn log(&self, at: TopicPartition) -> IndexSlice {
        self.service.look_up(at, Offset::ZERO, 1000).await.unwrap()
    }

    /// Everything that was acknowledged is where it was, and visible.
    pub(crate) async fn holds(&self, acknowledged: &Acknowledged) {
        for (at, batches) in acknowledged {
            let log = self.log(*at).await;
            for (base, count) in batches {
                let end = base.after(*count).unwrap();
                let covers = |extent: &esker_metadata_api::IndexExtent| {
                    extent.base_offset <= *base && end <= extent.end_offset
                };
                assert!(log.extents.iter().any(covers), "{at:?} {base} of {log:?}");
                assert!(end <= log.high_watermark);
            }
        }
    }
}

pub(crate) fn at(topic: &Topic, partition: u32) -> TopicPartition {
    topic.at(PartitionIndex::new(partition).unwrap())
}

/// An ingest pod's side of a session.
pub(crate) struct Pod {
    pub(crate) registered: Registered,
    pub(crate) next: u64,
}

/// A segment with offsets that is not written yet.
pub(crate) struct Reserved {
    pub(crate) segment: SegmentId,
    pub(crate) at: TopicPartition,
    pub(crate) base_offset: Offset,
    pub(crate) record_count: u32,
    object: Bytes,
}

fn batch(record_count: u32, producer: Option<ProducerSpan>) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    if let Some(span) = producer {
        builder = builder.producer(span.producer_id, span.producer_epoch, span.base_sequence);
    }
    for number in 0..record_count {
        let record = NewRecord {
            value: Some(Bytes::from(format!("record {number}"))),
            ..NewRecord::default()
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

impl Reserved {
    pub(crate) fn object(&self) -> Bytes {
        self.object.clone()
    }
}

impl Pod {
    pub(crate) async fn verdict(
        &self,
        process: &Process,
        at: TopicPartition,
        (record_count, producer): (u32, Option<ProducerSpan>),
    ) -> BatchVerdict {
        let batch = batch(record_count, producer);
        let header = BatchHeader::parse(&batch).unwrap();
        let request = ReserveRequest {
            session: self.registered.session,
            epoch: self.registered.epoch,
            index: ChainIndex::new(self.next),
            written: ChainIndex::ZERO,
            batches: vec![ReservationSummary {
                topic_partition: at,
                record_count,
                batch_bytes: header.batch_bytes(),
                max_timestamp: header.max_timestamp(),
                producer,
                transactional: false,
                expected_end: None,
            }],
        };
        process.service.reserve(request).await.unwrap().verdicts[0]
    }

    pub(crate) async fn reserve(
        &mut self,
        process: &Process,
        at: TopicPartition,
        wanted: (u32, Option<ProducerSpan>),
    ) -> Reserved {
        let verdict = self.verdict(process, at, wanted).await;
        let BatchVerdict::Placed { base_offset, .. } = verdict else {
            panic!("{verdict:?}")
        };
        self.place(process, at, base_offset, wanted)
    }

    /// The next segment of the session, with these offsets whoever gave them.
    pub(crate) fn place(
        &mut self,
        process: &Process,
        at: TopicPartition,
        base_offset: Offset,
        (record_count, producer): (u32, Option<ProducerSpan>),
    ) -> Reserved {
        let batch = batch(record_count, producer);
        let header = BatchHeader::parse(&batch).unwrap();
        let segment = SegmentId {
            session: self.registered.session,
            index: ChainIndex::new(self.next),
        };
        self.next += 1;
        let mut builder = SegmentBuilder::new(SegmentHead {
            cluster: CLUSTER,
            segment,
            epoch: self.registered.epoch,
            write_id: process.env.rng.write_id(),
        });
        let placed = PlacedBatch {
            topic_partition: at,
            base_offset,
            record_count,
            max_timestamp: header.max_timestamp(),
            producer: producer.map(|span| ProducerStamp {
                producer_id: span.producer_id,
                producer_epoch: span.producer_epoch,
                base_sequence: span.base_sequence,
            }),
            transactional: false,
        };
        builder.push(placed, &batch);
        Reserved {
            segment,
            at,
            base_offset,
            record_count,
            object: builder.finish().object,
        }
    }

    pub(crate) async fn upload(&self, process: &Process, reserved: &Reserved) {
        let (segment, object) = (reserved.segment, reserved.object.clone());
        let _uploaded = process.chain.upload(segment, object).await.unwrap();
    }

    /// Writes it and says so: now it is acknowledged.
    pub(crate) async fn write(
        &self,
        process: &Process,
        reserved: &Reserved,
        acknowledged: &mut Acknowledged,
    ) {
        self.upload(process, reserved).await;
        let report = WrittenReport {
            session: self.registered.session,
            epoch: self.registered.epoch,
            written: reserved.segment.index.after(),
        };
        process.service.written(report).await.unwrap();
        let batches = acknowledged.entry(reserved.at).or_default();
        batches.push((reserved.base_offset, reserved.record_count));
    }

    pub(crate) async fn append(
        &mut self,
        process: &Process,
        at: TopicPartition,
        acknowledged: &mut Acknowledged,
    ) {
        let reserved = self.reserve(process, at, (3, None)).await;
        self.write(process, &reserved, acknowledged).await;
    }
}
