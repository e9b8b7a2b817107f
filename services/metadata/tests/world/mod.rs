//! A metadata service over a faulty bucket in memory, and a pod that writes real segments.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use esker_chain::Chain;
use esker_env::{Env, Shutdown, ShutdownTrigger};
use esker_journal::LeaderInfo;
use esker_metadata::{
    LeaderProbe, MetadataConfig, MetadataFailure, MetadataParts, MetadataService, MetadataStatus,
};
use esker_metadata_api::{
    Admin as _, BatchVerdict, CreateTopic, ProducerSpan, Registered, ReservationSummary,
    ReserveRequest, Sequencer as _, Topic, TopicName, WrittenReport,
};
use esker_object::{DurableBucket, DurableConfig, FaultyBucket, MemoryBucket};
use esker_record::{BatchBuilder, BatchHeader, Compression, NewRecord};
use esker_segment::{PlacedBatch, ProducerStamp, SegmentBuilder, SegmentHead};
use esker_types::{
    ChainIndex, ClusterId, Offset, SegmentId, SessionId, Timestamp, TopicPartition, WriteId,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([5; 16]);

/// Says what the test wants of the leader's life.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) alive: AtomicBool,
}

impl LeaderProbe for Told {
    fn is_alive<'a>(&'a self, _: &'a LeaderInfo) -> BoxFuture<'a, bool> {
        std::future::ready(self.alive.load(Ordering::Relaxed)).boxed()
    }
}

/// The bucket, shared by all processes of a test.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) faulty: Arc<FaultyBucket>,
    pub(crate) env: Env,
    pub(crate) told: Arc<Told>,
    pub(crate) config: MetadataConfig,
}

/// One process.
pub(crate) struct Process {
    pub(crate) service: MetadataService,
    pub(crate) stop: ShutdownTrigger,
    pub(crate) task: JoinHandle<Result<(), MetadataFailure>>,
    pub(crate) chain: Chain,
}

impl World {
    pub(crate) fn new() -> Self {
        let env = Env::system();
        Self {
            faulty: Arc::new(FaultyBucket::new(
                Arc::new(MemoryBucket::new()),
                env.clone(),
            )),
            env,
            told: Arc::default(),
            config: MetadataConfig {
                stall_deadline: Duration::from_millis(200),
                ..MetadataConfig::default()
            },
        }
    }

    pub(crate) fn spawn(&self) -> Process {
        self.spawn_at("127.0.0.1:1", self.told.clone())
    }

    /// A process with an address of its own, which asks for the leader's life in its own way.
    pub(crate) fn spawn_at(&self, address: &str, probe: Arc<dyn LeaderProbe>) -> Process {
        let bucket: Arc<dyn esker_object::Bucket> = Arc::new(DurableBucket::new(
            self.faulty.clone(),
            DurableConfig::default(),
            self.env.clone(),
        ));
        let parts = MetadataParts {
            bucket: bucket.clone(),
            env: self.env.clone(),
            cluster: CLUSTER,
            address: address.to_owned(),
            probe,
        };
        let (service, _, task) = MetadataService::start(self.config, parts);
        let (stop, shutdown) = Shutdown::new();
        #[expect(clippy::disallowed_methods, reason = "the test joins it")]
        let task = tokio::spawn(task.run(shutdown));
        Process {
            service,
            stop,
            task,
            chain: Chain::new(bucket, self.env.clone(), CLUSTER),
        }
    }

    pub(crate) async fn start(&self) -> Process {
        let process = self.spawn();
        process
            .service
            .status_becomes(MetadataStatus::is_leading)
            .await;
        process
    }
}

impl Process {
    /// `kill -9`: nothing is drained.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn stop(self) {
        self.stop.request();
        self.task.await.unwrap().unwrap();
    }

    pub(crate) async fn topic(&self, name: &str) -> Arc<Topic> {
        let request = create(name);
        self.service.create_topic(request).await.unwrap().topic
    }

    pub(crate) async fn register(&self, replaces: Option<SessionId>) -> Pod {
        let registered = self.service.register(replaces).await.unwrap();
        Pod {
            registered,
            next: 0,
        }
    }
}

pub(crate) fn create(name: &str) -> CreateTopic {
    CreateTopic {
        name: TopicName::new(name).unwrap(),
        partition_count: NonZeroU32::new(2).unwrap(),
        replication_factor: 1,
        configs: BTreeMap::new(),
        validate_only: false,
    }
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

/// An ingest pod's side of one session.
pub(crate) struct Pod {
    pub(crate) registered: Registered,
    pub(crate) next: u64,
}

/// A segment with offsets, not yet written.
pub(crate) struct Reserved {
    pub(crate) segment: SegmentId,
    pub(crate) base_offset: Offset,
    object: Bytes,
}

impl Pod {
    pub(crate) fn reserve_request(
        &self,
        at: TopicPartition,
        batch: &Bytes,
        producer: Option<ProducerSpan>,
    ) -> ReserveRequest {
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
                producer,
                transactional: false,
                expected_end: None,
            }],
        }
    }

    pub(crate) async fn reserve(
        &mut self,
        process: &Process,
        at: TopicPartition,
        batch: &Bytes,
    ) -> Reserved {
        let request = self.reserve_request(at, batch, None);
        let reply = process.service.reserve(request).await.unwrap();
        let BatchVerdict::Placed { base_offset, .. } = reply.verdicts[0] else {
            panic!("{:?}", reply.verdicts)
        };
        self.place(at, batch, base_offset)
    }

    /// The next segment of the session, with these offsets whoever gave them.
    pub(crate) fn place(
        &mut self,
        at: TopicPartition,
        batch: &Bytes,
        base_offset: Offset,
    ) -> Reserved {
        let segment = SegmentId {
            session: self.registered.session,
            index: ChainIndex::new(self.next),
        };
        self.next += 1;
        let header = BatchHeader::parse(batch).unwrap();
        let mut write_id = [0; 16];
        write_id[..8].copy_from_slice(&segment.index.get().to_be_bytes());
        let mut builder = SegmentBuilder::new(SegmentHead {
            cluster: CLUSTER,
            segment,
            epoch: self.registered.epoch,
            write_id: WriteId::from_bytes(write_id),
        });
        let placed = PlacedBatch {
            topic_partition: at,
            base_offset,
            record_count: header.record_count(),
            max_timestamp: header.max_timestamp(),
            producer: None::<ProducerStamp>,
            transactional: false,
        };
        builder.push(placed, batch);
        Reserved {
            segment,
            base_offset,
            object: builder.finish().object,
        }
    }

    /// Writes it and says so: what an acknowledged segment is.
    pub(crate) async fn write(&self, process: &Process, reserved: &Reserved) {
        self.upload(process, reserved).await;
        let report = WrittenReport {
            session: self.registered.session,
            epoch: self.registered.epoch,
            written: reserved.segment.index.after(),
        };
        process.service.written(report).await.unwrap();
    }

    pub(crate) async fn upload(&self, process: &Process, reserved: &Reserved) {
        let object = reserved.object.clone();
        let _ = process
            .chain
            .upload(reserved.segment, object)
            .await
            .unwrap();
    }
}
