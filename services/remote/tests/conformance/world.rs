//! A real metadata service over a bucket in memory, and a pod that writes real segments.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_chain::Chain;
use esker_env::{Env, Shutdown, ShutdownTrigger};
use esker_journal::LeaderInfo;
use esker_metadata::{
    LeaderProbe, MetadataConfig, MetadataFailure, MetadataParts, MetadataService, MetadataStatus,
};
use esker_metadata_api::{
    Admin, BatchVerdict, CreateTopic, ProducerSpan, Registered, ReservationSummary, ReserveRequest,
    Sequencer, Topic, WrittenReport,
};
use esker_object::{Bucket, DurableBucket, DurableConfig, MemoryBucket};
use esker_record::{BatchBuilder, BatchHeader, Compression, NewRecord};
use esker_segment::{PlacedBatch, SegmentBuilder, SegmentHead};
use esker_types::{
    ChainIndex, ClusterId, Offset, ProducerEpoch, ProducerId, SegmentId, Timestamp, TopicPartition,
    WriteId,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;

use crate::stage::running::NODE;
use crate::stage::samples::name;

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([5; 16]);

#[derive(Debug)]
struct NobodyLives;

impl LeaderProbe for NobodyLives {
    fn is_alive<'a>(&'a self, _: &'a LeaderInfo) -> BoxFuture<'a, bool> {
        std::future::ready(false).boxed()
    }
}

/// One process that leads.
pub(crate) struct World {
    pub(crate) service: Arc<MetadataService>,
    stop: ShutdownTrigger,
    task: JoinHandle<Result<(), MetadataFailure>>,
    chain: Chain,
}

impl World {
    pub(crate) async fn new() -> Self {
        let env = Env::system();
        let bucket: Arc<dyn Bucket> = Arc::new(DurableBucket::new(
            Arc::new(MemoryBucket::new()),
            DurableConfig::default(),
            env.clone(),
        ));
        let parts = MetadataParts {
            bucket: bucket.clone(),
            env: env.clone(),
            cluster: CLUSTER,
            address: "127.0.0.1:1".to_owned(),
            probe: Arc::new(NobodyLives),
        };
        let config = MetadataConfig {
            stall_deadline: Duration::from_millis(200),
            node_id: NODE,
            group_initial_rebalance_delay: Duration::ZERO,
            ..MetadataConfig::default()
        };
        let (service, _, task) = MetadataService::start(config, parts);
        let (stop, shutdown) = Shutdown::new();
        #[expect(clippy::disallowed_methods, reason = "the test joins it")]
        let task = tokio::spawn(task.run(shutdown));
        service.status_becomes(MetadataStatus::is_leading).await;
        Self {
            service: Arc::new(service),
            stop,
            task,
            chain: Chain::new(bucket, env, CLUSTER),
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.request();
        self.task.await.unwrap().unwrap();
    }
}

pub(crate) fn create(text: &str) -> CreateTopic {
    CreateTopic {
        name: name(text),
        partition_count: NonZeroU32::new(2).unwrap(),
        replication_factor: 1,
        configs: BTreeMap::new(),
        validate_only: false,
    }
}

pub(crate) async fn made(admin: &dyn Admin, text: &str) -> Arc<Topic> {
    admin.create_topic(create(text)).await.unwrap().topic
}

pub(crate) fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        let record = NewRecord {
            timestamp: Timestamp::from_millis(1),
            key: None,
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Vec::new(),
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn span(base_sequence: i32) -> ProducerSpan {
    ProducerSpan {
        producer_id: ProducerId::from_wire(3).unwrap(),
        producer_epoch: ProducerEpoch::from_wire(0).unwrap(),
        base_sequence,
    }
}

/// An ingest pod's side of one session.
pub(crate) struct Pod {
    pub(crate) registered: Registered,
    next: u64,
}

impl Pod {
    pub(crate) async fn register(sequencer: &dyn Sequencer) -> Self {
        let registered = sequencer.register(None).await.unwrap();
        Self {
            registered,
            next: 0,
        }
    }

    pub(crate) fn request(&self, at: TopicPartition, batch: &Bytes) -> ReserveRequest {
        let header = BatchHeader::parse(batch).unwrap();
        ReserveRequest {
            session: self.registered.session,
            epoch: self.registered.epoch,
            index: ChainIndex::new(self.next),
            written: ChainIndex::ZERO,
            batches: vec![ReservationSummary {
                topic_partition: at,
                record_count: header.record_count(),
                batch_bytes: header.batch_bytes(),
                max_timestamp: header.max_timestamp(),
                producer: None,
                transactional: false,
                expected_end: None,
            }],
        }
    }

    /// Reserves, writes, and says so: what an acknowledged segment is.
    pub(crate) async fn append(
        &mut self,
        sequencer: &dyn Sequencer,
        world: &World,
        request: ReserveRequest,
        batch: &Bytes,
    ) -> Offset {
        let at = request.batches[0].topic_partition;
        let reply = sequencer.reserve(request).await.unwrap();
        let BatchVerdict::Placed { base_offset, .. } = reply.verdicts[0] else {
            panic!("{:?}", reply.verdicts)
        };
        let segment = SegmentId {
            session: self.registered.session,
            index: ChainIndex::new(self.next),
        };
        self.next += 1;
        let header = BatchHeader::parse(batch).unwrap();
        let mut builder = SegmentBuilder::new(SegmentHead {
            cluster: CLUSTER,
            segment,
            epoch: self.registered.epoch,
            write_id: WriteId::from_bytes([u8::try_from(self.next).unwrap(); 16]),
        });
        let placed = PlacedBatch {
            topic_partition: at,
            base_offset,
            record_count: header.record_count(),
            max_timestamp: header.max_timestamp(),
            producer: None,
            transactional: false,
        };
        builder.push(placed, batch);
        let object = builder.finish().object;
        let _ = world.chain.upload(segment, object).await.unwrap();
        let report = WrittenReport {
            session: self.registered.session,
            epoch: self.registered.epoch,
            written: segment.index.after(),
        };
        sequencer.written(report).await.unwrap();
        base_offset
    }
}
