//! A produce path on a bucket with scripted faults, and a checker that reads the log back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use esker_cache::{CacheConfig, PlainCache};
use esker_chain::{Chain, PlaceHolder};
use esker_env::{Env, Rng, Shutdown, ShutdownTrigger, SystemClock, TaskGroup};
use esker_ingest::{Ingest, IngestConfig, IngestError, IngestParts, IngestTask, Metrics};
use esker_kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};
use esker_kafka::messages::produce_response::PartitionProduceResponse;
use esker_kafka::messages::{ProduceRequest, StrBytes, TopicName as WireTopicName};
use esker_kafka::{Reply, RequestContext, Response};
use esker_metadata_api::{
    Admin, CreateTopic, CreateTopicError, CreatedTopic, DeleteTopicError, GroupReply, GroupRequest,
    MetadataError, Sequencer, Topic, TopicName, TopicRef, TopicTable,
};
use esker_object::{
    Bucket as _, DurableBucket, DurableConfig, Fault, FaultRule, FaultyBucket, KeyClass,
    MemoryBucket, ObjectKey, Operation, ReadRange,
};
use esker_record::{BatchBuilder, Compression, NewRecord, read_records};
use esker_types::{
    ChainIndex, ClusterId, PartitionIndex, ProducerEpoch, ProducerId, SegmentId, SessionId,
    Timestamp, TopicId, TopicPartition,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::sequencer::FakeSequencer;

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([1; 16]);
pub(crate) const TOPIC: TopicId = TopicId::from_bytes([7; 16]);
pub(crate) const PARTITIONS: u32 = 2000;

/// Topics that nobody changes but the test.
#[derive(Debug)]
pub(crate) struct FakeAdmin {
    heard: Mutex<Arc<TopicTable>>,
    current: Mutex<Result<Arc<TopicTable>, MetadataError>>,
    asked: Mutex<usize>,
}

impl FakeAdmin {
    /// What is heard and what is current may differ.
    pub(crate) fn set_current(&self, current: Result<Arc<TopicTable>, MetadataError>) {
        *self.current.lock().unwrap() = current;
    }

    pub(crate) fn set_heard(&self, heard: Arc<TopicTable>) {
        *self.heard.lock().unwrap() = heard;
    }

    /// How often somebody asked for what is current.
    pub(crate) fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

impl Admin for FakeAdmin {
    fn cluster(&self) -> ClusterId {
        CLUSTER
    }

    fn topics(&self) -> Arc<TopicTable> {
        Arc::clone(&self.heard.lock().unwrap())
    }

    fn topics_current(&self) -> BoxFuture<'_, Result<Arc<TopicTable>, MetadataError>> {
        *self.asked.lock().unwrap() += 1;
        std::future::ready(self.current.lock().unwrap().clone()).boxed()
    }

    fn create_topic(
        &self,
        _: CreateTopic,
    ) -> BoxFuture<'_, Result<CreatedTopic, CreateTopicError>> {
        unreachable!("ingest creates no topic")
    }

    fn delete_topic(&self, _: TopicRef) -> BoxFuture<'_, Result<Arc<Topic>, DeleteTopicError>> {
        unreachable!("ingest deletes no topic")
    }

    fn producer_id(&self) -> BoxFuture<'_, Result<ProducerId, MetadataError>> {
        unreachable!("ingest needs no producer id")
    }

    fn group(&self, _: GroupRequest) -> BoxFuture<'_, Result<GroupReply, MetadataError>> {
        unreachable!("ingest knows no group")
    }
}

pub(crate) fn topics(configs: &[(&str, &str)]) -> Arc<TopicTable> {
    let mut table = TopicTable::default();
    let pairs = configs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    table.insert(Topic {
        id: TOPIC,
        name: TopicName::new("orders").unwrap(),
        partition_count: NonZeroU32::new(PARTITIONS).unwrap(),
        replication_factor: 1,
        configs: pairs.collect(),
        defaults: Arc::default(),
    });
    Arc::new(table)
}

pub(crate) fn place(partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TOPIC,
        partition: PartitionIndex::new(partition).unwrap(),
    }
}

/// One batch of one record; `number` is unique in a test and found again in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TestBatch {
    pub(crate) partition: u32,
    pub(crate) producer: Option<i64>,
    pub(crate) number: i32,
    /// Base sequence, of a batch with a producer.
    pub(crate) sequence: i32,
}

impl TestBatch {
    pub(crate) fn plain(number: i32) -> Self {
        Self {
            partition: 0,
            producer: None,
            number,
            sequence: 0,
        }
    }

    /// Of producer 5; the number is the sequence.
    pub(crate) fn sequenced(number: i32) -> Self {
        Self {
            producer: Some(5),
            sequence: number,
            ..Self::plain(number)
        }
    }

    pub(crate) fn bytes(self) -> Bytes {
        let mut builder = BatchBuilder::new(Compression::None);
        if let Some(producer) = self.producer {
            let id = ProducerId::from_wire(producer).unwrap();
            builder = builder.producer(id, ProducerEpoch::default(), self.sequence);
        }
        let record = NewRecord {
            timestamp: Timestamp::from_millis(i64::from(self.number)),
            key: Some(Bytes::from(self.number.to_string())),
            value: Some(Bytes::from_static(b"value")),
            ..NewRecord::default()
        };
        builder.push(&record).unwrap();
        builder.build().unwrap()
    }
}

pub(crate) fn request(batches: &[TestBatch]) -> ProduceRequest {
    let partitions = batches.iter().map(|batch| {
        PartitionProduceData::default()
            .with_index(i32::try_from(batch.partition).unwrap())
            .with_records(Some(batch.bytes()))
    });
    request_of(partitions.collect())
}

pub(crate) fn request_of(partitions: Vec<PartitionProduceData>) -> ProduceRequest {
    let topic = TopicProduceData::default()
        .with_name(WireTopicName(StrBytes::from_static_str("orders")))
        .with_partition_data(partitions);
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

/// The rows of a reply's one topic.
pub(crate) fn rows(reply: Reply) -> Vec<PartitionProduceResponse> {
    let Reply::Message(Response::Produce(response)) = reply else {
        panic!("not a produce response: {reply:?}");
    };
    response
        .responses
        .into_iter()
        .next()
        .unwrap()
        .partition_responses
}

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) memory: MemoryBucket,
    /// What a client of the store sees: counts, gates, lost replies.
    pub(crate) faulty: FaultyBucket,
    /// The store itself, behind that: refusals.
    pub(crate) store: FaultyBucket,
    pub(crate) cache: Arc<PlainCache>,
    pub(crate) sequencer: Arc<FakeSequencer>,
    pub(crate) admin: Arc<FakeAdmin>,
    pub(crate) ingest: Ingest,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) trigger: ShutdownTrigger,
    outcome: Arc<Mutex<Option<Result<(), IngestError>>>>,
    tasks: TaskGroup,
}

pub(crate) fn world() -> World {
    world_with(IngestConfig::default())
}

pub(crate) fn world_with(config: IngestConfig) -> World {
    world_seeded(config, 11)
}

pub(crate) fn world_seeded(config: IngestConfig, seed: u64) -> World {
    let (mut world, task) = unstarted(config, seed);
    let told = Arc::clone(&world.outcome);
    world.tasks.spawn(async move {
        let ended = task.run().await;
        *told.lock().unwrap() = Some(ended);
    });
    world
}

/// A bucket with faults in front of it, and what a pod has on top of it.
pub(crate) struct Stores {
    pub(crate) env: Env,
    pub(crate) memory: MemoryBucket,
    pub(crate) store: FaultyBucket,
    pub(crate) faulty: FaultyBucket,
    pub(crate) chain: Chain,
    pub(crate) cache: Arc<PlainCache>,
    pub(crate) admin: Arc<FakeAdmin>,
}

impl Stores {
    pub(crate) fn new(seed: u64) -> Self {
        let env = Env {
            clock: Arc::new(SystemClock::new()),
            rng: Rng::from_seed(seed),
        };
        let memory = MemoryBucket::new();
        let store = FaultyBucket::new(Arc::new(memory.clone()), env.clone());
        let faulty = FaultyBucket::new(Arc::new(store.clone()), env.clone());
        let durable = Arc::new(DurableBucket::new(
            Arc::new(faulty.clone()),
            DurableConfig::default(),
            env.clone(),
        ));
        let chain = Chain::new(durable.clone(), env.clone(), CLUSTER);
        let cache = PlainCache::new(durable, CLUSTER, env.clone(), CacheConfig::default());
        let table = topics(&[]);
        let admin = FakeAdmin {
            heard: Mutex::new(Arc::clone(&table)),
            current: Mutex::new(Ok(table)),
            asked: Mutex::new(0),
        };
        Self {
            env,
            memory,
            store,
            faulty,
            chain,
            cache: Arc::new(cache),
            admin: Arc::new(admin),
        }
    }

    pub(crate) fn parts(&self, sequencer: Arc<dyn Sequencer>) -> IngestParts {
        IngestParts {
            sequencer,
            admin: self.admin.clone(),
            chain: self.chain.clone(),
            cache: self.cache.clone(),
            env: self.env.clone(),
        }
    }
}

/// A world whose path nobody runs.
pub(crate) fn unstarted(config: IngestConfig, seed: u64) -> (World, IngestTask) {
    let stores = Stores::new(seed);
    let sequencer = FakeSequencer::new(stores.chain.clone(), stores.env.clone(), CLUSTER);
    let parts = stores.parts(sequencer.clone());
    let (trigger, shutdown) = Shutdown::new();
    let (ingest, task) = Ingest::start(config, parts, shutdown);
    let world = World {
        env: stores.env,
        memory: stores.memory,
        faulty: stores.faulty,
        store: stores.store,
        cache: stores.cache,
        sequencer,
        admin: stores.admin,
        metrics: ingest.metrics(),
        ingest,
        trigger,
        outcome: Arc::default(),
        tasks: TaskGroup::new("ingest"),
    };
    (world, task)
}

impl World {
    pub(crate) async fn sleep(&self, millis: u64) {
        self.env.clock.sleep(Duration::from_millis(millis)).await;
    }

    pub(crate) fn millis(&self) -> u128 {
        self.env.clock.now().since_start().as_millis()
    }

    pub(crate) fn context(&self, api_version: i16) -> RequestContext {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        RequestContext {
            api_version,
            correlation_id: 1,
            client_id: None,
            client_address: address,
            local_address: address,
            received: self.env.clock.now(),
            connection_id: 1,
            is_software_named: true,
        }
    }

    /// Admits a request; the reply comes later.
    pub(crate) async fn send_request(&self, request: ProduceRequest) -> BoxFuture<'static, Reply> {
        self.ingest.produce(self.context(9), request).await
    }

    /// Admits one batch; gives the row of its reply to come.
    pub(crate) async fn send(
        &self,
        batch: TestBatch,
    ) -> BoxFuture<'static, PartitionProduceResponse> {
        let reply = self.send_request(request(&[batch])).await;
        reply.map(|reply| rows(reply).remove(0)).boxed()
    }

    /// Puts of segments and seals take this long from now on.
    pub(crate) fn slow_puts(&self, millis: u64) {
        let slow = FaultRule::new(Fault::Slow(Duration::from_millis(millis)));
        self.faulty.add(on_puts(slow));
    }

    pub(crate) fn puts(&self) -> usize {
        self.faulty.count(Operation::Put, KeyClass::Session)
    }

    /// Requests the stop and waits until the path has ended.
    pub(crate) async fn stop(&mut self) -> Result<(), IngestError> {
        self.trigger.request();
        self.join().await
    }

    /// Waits until the path has ended by itself.
    pub(crate) async fn join(&mut self) -> Result<(), IngestError> {
        self.tasks.join_next().await.unwrap().unwrap();
        self.outcome.lock().unwrap().take().unwrap()
    }

    /// Every batch of the log as (partition, offset) to number, read from the bucket alone:
    /// segments of each registered session in order, up to its end, a seal or nothing (C1). Fails
    /// on two contents at one offset (CP2).
    pub(crate) async fn log(&self) -> BTreeMap<(u32, i64), i64> {
        let mut log = BTreeMap::new();
        for session in self.sequencer.sessions() {
            let end = self.sequencer.ended(session);
            read_chain(&self.memory, &self.env, session, end, &mut log).await;
        }
        log
    }

    /// The numbers in partition 0, in the order of their offsets, which must have no gap.
    pub(crate) async fn numbers(&self) -> Vec<i64> {
        let log = self.log().await;
        let in_first = log
            .into_iter()
            .filter(|((partition, _), _)| *partition == 0);
        let (offsets, numbers): (Vec<_>, Vec<_>) = in_first
            .map(|((_, offset), number)| (offset, number))
            .unzip();
        let expected: Vec<i64> = (0..).take(offsets.len()).collect();
        assert_eq!(offsets, expected, "offsets have no gap here");
        numbers
    }
}

/// Adds the records of one session's chain to `log`.
pub(crate) async fn read_chain(
    memory: &MemoryBucket,
    env: &Env,
    session: SessionId,
    end: Option<ChainIndex>,
    log: &mut BTreeMap<(u32, i64), i64>,
) {
    let chain = Chain::new(Arc::new(memory.clone()), env.clone(), CLUSTER);
    let mut index = ChainIndex::ZERO;
    while end.is_none_or(|end| index < end) {
        let segment = SegmentId { session, index };
        let PlaceHolder::Segment(footer) = chain.look(segment).await.unwrap() else {
            assert_eq!(end, None, "CP1: nothing is missing below an end");
            break;
        };
        let key = ObjectKey::session_place(CLUSTER, segment);
        let read = memory.get(&key, ReadRange::Full).await.unwrap();
        let object = read.unwrap().bytes;
        for batch in footer.batches {
            let start = usize::try_from(batch.range.start()).unwrap();
            let end = usize::try_from(batch.range.end()).unwrap();
            let partition = batch.topic_partition.partition.get();
            for record in read_records(&object.slice(start..end), &Default::default()).unwrap() {
                let record = record.unwrap();
                let before = log.insert((partition, record.offset), record.timestamp.millis());
                assert_eq!(before, None, "CP2: one content for each offset");
            }
        }
        index = index.after();
    }
}

/// Narrows a rule to puts of segments and seals.
pub(crate) fn on_puts(rule: FaultRule) -> FaultRule {
    rule.on(Operation::Put).class(KeyClass::Session)
}

/// Narrows a rule to puts of place `index` of any session.
pub(crate) fn on_place(rule: FaultRule, index: u64) -> FaultRule {
    on_puts(rule).key_containing(&format!("/{index:016}"))
}

/// The answer, if it is there already.
pub(crate) fn peek<T>(answer: &mut BoxFuture<'static, T>) -> Option<T> {
    answer.now_or_never()
}
