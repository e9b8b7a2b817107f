//! The fetch role over a real cache, real segments in a bucket in memory, and a scripted index.

pub(crate) mod index;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_cache::{BlockCache, BlockPeers, CacheConfig, PlainCache, SegmentCache};
use esker_env::{Env, Shutdown, ShutdownTrigger, TaskGroup};
use esker_fetch::{Fetch, FetchConfig, FetchParts};
use esker_kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use esker_kafka::messages::{self, FetchRequest, StrBytes};
use esker_kafka::{FetchPartitionReply, FetchReply, Reply, RequestContext};
use esker_object::{
    Bucket, FaultyBucket, KeyClass, MemoryBucket, ObjectKey, Operation, PutOutcome,
};
use esker_record::{
    BatchBuilder, BatchHeader, Compression, NewRecord, ReadLimits, Record, read_records,
    split_batches,
};
use esker_segment::{BuiltSegment, PlacedBatch, SegmentBuilder, SegmentHead};
use esker_types::{
    ChainIndex, ClusterId, Offset, PartitionIndex, SegmentId, SequencerEpoch, SessionId, Timestamp,
    TopicId, TopicPartition, WriteId,
};

use index::FakeIndex;

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([9; 16]);
pub(crate) const TOPIC: TopicId = TopicId::from_bytes([1; 16]);

/// Partition `index` of the topic `t`.
pub(crate) fn at(index: u32) -> TopicPartition {
    TopicPartition {
        topic: TOPIC,
        partition: PartitionIndex::new(index).unwrap(),
    }
}

pub(crate) fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) index: FakeIndex,
    pub(crate) bucket: FaultyBucket,
    pub(crate) cache: Arc<dyn SegmentCache>,
    pub(crate) fetch: Fetch,
    pub(crate) stop: ShutdownTrigger,
    tasks: TaskGroup,
    segments: u64,
}

/// How a segment comes into the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// By this process: its bytes are in the cache, followers are told.
    Here,
    /// By another process: followers are told.
    Elsewhere,
    /// By another process; followers have not heard of it.
    Unheard,
}

/// One batch to be written: its partition, its base offset, itself.
pub(crate) type Placed = (TopicPartition, Offset, Bytes);

pub(crate) fn batch(compression: Compression, records: &[NewRecord]) -> Bytes {
    let mut builder = BatchBuilder::new(compression);
    for record in records {
        builder.push(record).unwrap();
    }
    builder.build().unwrap()
}

/// Records with this many value bytes, times counting up from `time`.
pub(crate) fn records(count: u32, value_bytes: usize, time: i64) -> Vec<NewRecord> {
    (0..count)
        .map(|number| NewRecord {
            timestamp: Timestamp::from_millis(time + i64::from(number)),
            key: Some(Bytes::from(number.to_string())),
            value: Some(Bytes::from(vec![
                u8::try_from(number % 251).unwrap();
                value_bytes
            ])),
            headers: Vec::new(),
        })
        .collect()
}

/// A batch of `count` records, about `value_bytes` each.
pub(crate) fn plain(count: u32, value_bytes: usize) -> Bytes {
    batch(Compression::None, &records(count, value_bytes, 1000))
}

pub(crate) fn cache_config() -> CacheConfig {
    CacheConfig {
        cached_bytes: 64 * 1024 * 1024,
        held_bytes: 64 * 1024 * 1024,
        hot_load_bytes: 8 * 1024 * 1024,
        cold_load_bytes: 8 * 1024 * 1024,
        ask_bytes: 0,
        memory_wait: Duration::from_secs(5),
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(FetchConfig::default(), cache_config()).await
    }

    /// A topic `t` with 8 partitions, and a role that follows the index already.
    pub(crate) async fn with(config: FetchConfig, cache_config: CacheConfig) -> Self {
        let env = Env::system();
        let bucket = FaultyBucket::new(Arc::new(MemoryBucket::new()), env.clone());
        let shared: Arc<dyn Bucket> = Arc::new(bucket.clone());
        let cache = BlockCache::new(shared, CLUSTER, env.clone(), cache_config);
        Self::start(config, env, bucket, Arc::new(cache)).await
    }

    /// The same with other processes that are asked before the bucket.
    pub(crate) async fn among(peers: Arc<dyn BlockPeers>) -> Self {
        let env = Env::system();
        let bucket = FaultyBucket::new(Arc::new(MemoryBucket::new()), env.clone());
        let shared: Arc<dyn Bucket> = Arc::new(bucket.clone());
        let config = CacheConfig::default().among_peers();
        let cache = BlockCache::among(peers, shared, CLUSTER, env.clone(), config);
        Self::start(FetchConfig::default(), env, bucket, Arc::new(cache)).await
    }

    /// The same on the cache's plain form.
    pub(crate) async fn plain() -> Self {
        let env = Env::system();
        let bucket = FaultyBucket::new(Arc::new(MemoryBucket::new()), env.clone());
        let shared: Arc<dyn Bucket> = Arc::new(bucket.clone());
        let cache = PlainCache::new(shared, CLUSTER, env.clone(), cache_config());
        Self::start(FetchConfig::default(), env, bucket, Arc::new(cache)).await
    }

    async fn start(
        config: FetchConfig,
        env: Env,
        bucket: FaultyBucket,
        cache: Arc<dyn SegmentCache>,
    ) -> Self {
        let index = FakeIndex::default();
        index.create("t", 1, 8);
        let (stop, shutdown) = Shutdown::new();
        let parts = FetchParts {
            log_index: Arc::new(index.clone()),
            admin: Arc::new(index.clone()),
            cache: Arc::clone(&cache),
            placement: None,
            env: env.clone(),
        };
        let (fetch, task) = Fetch::start(config, parts, shutdown);
        let mut tasks = TaskGroup::new("world");
        tasks.spawn(task.run());
        let world = Self {
            env,
            index,
            bucket,
            cache,
            fetch,
            stop,
            tasks,
            segments: 0,
        };
        world.settle().await;
        world
    }

    /// Lets everything that can run do so.
    pub(crate) async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn end(mut self) {
        self.stop.request();
        self.tasks.join_next().await.unwrap().unwrap();
    }

    fn build(&mut self, batches: &[Placed]) -> BuiltSegment {
        self.segments += 1;
        let head = SegmentHead {
            cluster: CLUSTER,
            segment: SegmentId {
                session: SessionId::from_bytes([5; 16]),
                index: ChainIndex::new(self.segments),
            },
            epoch: SequencerEpoch::FIRST,
            write_id: WriteId::from_bytes([3; 16]),
        };
        let mut builder = SegmentBuilder::new(head);
        for (topic_partition, base_offset, bytes) in batches {
            let header = BatchHeader::parse(bytes).unwrap();
            let placed = PlacedBatch {
                topic_partition: *topic_partition,
                base_offset: *base_offset,
                record_count: header.record_count(),
                max_timestamp: header.max_timestamp(),
                producer: None,
                transactional: false,
            };
            builder.push(placed, bytes);
        }
        builder.finish()
    }

    /// Writes one segment of batches, in the order given.
    pub(crate) async fn write(&mut self, how: Write, batches: &[Placed]) -> BuiltSegment {
        let built = self.build(batches);
        let key = ObjectKey::session_place(CLUSTER, built.footer.segment);
        let put = self.bucket.put_if_absent(&key, built.object.clone()).await;
        assert!(matches!(put, PutOutcome::Created));
        if how == Write::Here {
            self.cache
                .insert(built.footer.segment, built.object.clone());
        }
        self.index.publish(&built.footer, how != Write::Unheard);
        self.settle().await;
        built
    }

    /// Gets of segments so far.
    pub(crate) fn gets(&self) -> usize {
        self.bucket.count(Operation::Get, KeyClass::Session)
    }

    pub(crate) fn context(&self, version: i16) -> RequestContext {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9092));
        RequestContext {
            api_version: version,
            correlation_id: 1,
            client_id: None,
            client_address: address,
            local_address: address,
            received: self.env.clock.now(),
            connection_id: 1,
            is_software_named: true,
        }
    }

    pub(crate) async fn ask(&self, version: i16, request: FetchRequest) -> FetchReply {
        let reply = self.fetch.fetch(self.context(version), request).await;
        let Reply::Fetch(reply) = reply else {
            panic!("a fetch is answered with a fetch reply");
        };
        // Whatever is answered can be written in the version asked for.
        assert!(!reply.encode(version, 1).is_empty());
        reply
    }

    /// One partition, at once.
    pub(crate) async fn fetch_one(&self, partition: u32, from: u64) -> FetchPartitionReply {
        let reply = self.ask(12, request(&[(partition, from)])).await;
        only(&reply)
    }
}

/// The only partition of a reply.
pub(crate) fn only(reply: &FetchReply) -> FetchPartitionReply {
    assert_eq!(reply.error.code(), 0);
    assert_eq!(reply.topics.len(), 1);
    let [partition] = &reply.topics[0].partitions[..] else {
        panic!("one partition was asked for");
    };
    partition.clone()
}

/// A fetch of partitions of `t` by name, without a wait, with roomy limits.
pub(crate) fn request(partitions: &[(u32, u64)]) -> FetchRequest {
    let partitions = partitions.iter().map(|(partition, from)| {
        FetchPartition::default()
            .with_partition(i32::try_from(*partition).unwrap())
            .with_fetch_offset(i64::try_from(*from).unwrap())
            .with_partition_max_bytes(50 * 1024 * 1024)
    });
    let topic = FetchTopic::default()
        .with_topic(messages::TopicName(StrBytes::from_static_str("t")))
        .with_partitions(partitions.collect());
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(50 * 1024 * 1024)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// The whole batches that a reply's slices hold.
pub(crate) fn batches_of(records: &[Bytes]) -> Vec<Bytes> {
    let all = Bytes::from(records.concat());
    split_batches(&all)
        .map(|found| {
            let (_, range) = found.unwrap();
            all.slice(range)
        })
        .collect()
}

/// The records that a reply's slices hold.
pub(crate) fn records_of(records: &[Bytes]) -> Vec<Record> {
    batches_of(records)
        .iter()
        .flat_map(|batch| read_records(batch, &ReadLimits::default()).unwrap())
        .map(Result::unwrap)
        .collect()
}

/// Offsets of the records in a reply.
pub(crate) fn offsets_of(records: &[Bytes]) -> Vec<i64> {
    records_of(records)
        .iter()
        .map(|record| record.offset)
        .collect()
}
