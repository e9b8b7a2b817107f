//! Claims about appends and reads of the HTTP front on the real produce and fetch paths.

use std::num::NonZeroU32;
use std::time::Duration;

use esker_cache::{BlockCache, CacheConfig, SegmentCache};
use esker_chain::Chain;
use esker_env::{Env, Shutdown, ShutdownTrigger, TaskGroup};
use esker_fetch::{FetchConfig, FetchParts};
use esker_ingest::{IngestConfig, IngestParts};
use esker_metadata::{MetadataConfig, MetadataParts, MetadataService, MetadataStatus};
use esker_metadata_api::{
    Admin as _, CreateTopic, FeedUpdate, IndexFeed, IndexSlice, ListedOffset, LogIndex,
    LogIndexError, MetadataError, TopicName,
};
use esker_object::{Bucket, DurableBucket, DurableConfig, MemoryBucket, open_cluster};

use super::*;
use crate::leader_probe::HttpProbe;

/// Far longer than a push takes.
const LATE: Duration = Duration::from_millis(700);

/// An index whose push comes late. What is asked is answered at once.
#[derive(Debug)]
struct LateIndex {
    index: Arc<dyn LogIndex>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct LateFeed {
    feed: Box<dyn IndexFeed>,
    clock: Arc<dyn Clock>,
    held: Option<FeedUpdate>,
}

impl IndexFeed for LateFeed {
    fn next(&mut self) -> BoxFuture<'_, Option<FeedUpdate>> {
        async move {
            if self.held.is_none() {
                self.held = self.feed.next().await;
            }
            self.clock.sleep(LATE).await;
            self.held.take()
        }
        .boxed()
    }
}

impl LogIndex for LateIndex {
    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn IndexFeed>, MetadataError>> {
        async move {
            let late: Box<dyn IndexFeed> = Box::new(LateFeed {
                feed: self.index.follow().await?,
                clock: Arc::clone(&self.clock),
                held: None,
            });
            Ok(late)
        }
        .boxed()
    }

    fn look_up(
        &self,
        topic_partition: TopicPartition,
        offset: Offset,
        extents_max: usize,
    ) -> BoxFuture<'_, Result<IndexSlice, LogIndexError>> {
        self.index.look_up(topic_partition, offset, extents_max)
    }

    fn list_offset(
        &self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
        from: Offset,
    ) -> BoxFuture<'_, Result<ListedOffset, LogIndexError>> {
        self.index.list_offset(topic_partition, query, from)
    }
}

/// A process in memory whose fetch role hears late of what was appended.
struct World {
    appender: HttpAppender,
    reader: HttpReader,
    topic: Arc<Topic>,
    stop: ShutdownTrigger,
    tasks: TaskGroup,
}

impl World {
    async fn start() -> Self {
        let env = Env::system();
        let (stop, shutdown) = Shutdown::new();
        let mut tasks = TaskGroup::new("world");
        let memory = Arc::new(MemoryBucket::new());
        let durable = DurableBucket::new(memory, DurableConfig::default(), env.clone());
        let cluster = open_cluster(&durable, None, &env).await.unwrap();
        let bucket: Arc<dyn Bucket> = Arc::new(durable);
        let parts = MetadataParts {
            bucket: Arc::clone(&bucket),
            env: env.clone(),
            cluster,
            address: "127.0.0.1:1".to_owned(),
            probe: Arc::new(HttpProbe::new(Arc::clone(&env.clock))),
        };
        let (service, _, task) = MetadataService::start(MetadataConfig::default(), parts);
        let stopped = shutdown.clone();
        tasks.spawn(async move { drop(task.run(stopped).await) });
        service.status_becomes(MetadataStatus::is_leading).await;
        let service = Arc::new(service);
        let cache: Arc<dyn SegmentCache> = Arc::new(BlockCache::new(
            Arc::clone(&bucket),
            cluster,
            env.clone(),
            CacheConfig::default(),
        ));
        let ingest_parts = IngestParts {
            sequencer: service.clone(),
            admin: service.clone(),
            chain: Chain::new(bucket, env.clone(), cluster),
            cache: Arc::clone(&cache),
            env: env.clone(),
        };
        let (ingest, task) = Ingest::start(IngestConfig::default(), ingest_parts, shutdown.clone());
        tasks.spawn(async move { drop(task.run().await) });
        let fetch_parts = FetchParts {
            log_index: Arc::new(LateIndex {
                index: service.clone(),
                clock: Arc::clone(&env.clock),
            }),
            admin: service.clone(),
            cache,
            placement: None,
            env: env.clone(),
        };
        let (fetch, task) = Fetch::start(FetchConfig::default(), fetch_parts, shutdown);
        tasks.spawn(task.run());
        let created = service.create_topic(CreateTopic {
            name: TopicName::new("t").unwrap(),
            partition_count: NonZeroU32::MIN,
            replication_factor: 1,
            configs: BTreeMap::new(),
            validate_only: false,
        });
        Self {
            topic: created.await.unwrap().topic,
            appender: HttpAppender {
                ingest,
                clock: Arc::clone(&env.clock),
                turn: AtomicU32::new(0),
            },
            reader: HttpReader { fetch },
            stop,
            tasks,
        }
    }

    async fn append(&self) -> Offset {
        let record = NewRecord {
            partition: None,
            timestamp: None,
            key: None,
            value: Some(Bytes::from_static(b"v")),
            headers: Vec::new(),
        };
        let append = self.appender.append(AppendRecords {
            topic: Arc::clone(&self.topic),
            records: vec![record],
            key: None,
            expected_end: None,
        });
        let mut outcomes = append.await.unwrap().await;
        outcomes.pop().unwrap().unwrap().offset
    }

    /// Offsets of the records that a page has.
    async fn page(&self, from: ReadFrom, end: ReadEnd) -> Vec<Offset> {
        let query = ReadQuery {
            topic_partition: self.topic.at(PartitionIndex::default()),
            from,
            records_max: Some(500),
            bytes_max: 1024 * 1024,
            wait: Duration::ZERO,
            end,
        };
        let found = self.reader.read(query).await.unwrap();
        let batches = found.batches.iter();
        let records = batches.flat_map(|batch| self.reader.records(batch).unwrap());
        let offsets = records.map(|record| record.unwrap().offset);
        offsets.filter(|offset| *offset >= found.begin).collect()
    }

    async fn stop(self) {
        self.stop.request();
        self.tasks.join_all().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_current_page_has_every_append_that_was_answered_before_it_was_asked_for() {
    let world = World::start().await;
    let mut heard = 0;
    for _ in 0..3 {
        let appended = world.append().await;
        for from in [
            ReadFrom::Offset(appended),
            ReadFrom::Earliest,
            ReadFrom::Tail(1),
        ] {
            // Only what is asked for at once is told before the push.
            heard += world
                .page(ReadFrom::Offset(appended), ReadEnd::Heard)
                .await
                .len();
            let page = world.page(from, ReadEnd::Current).await;

            assert_eq!(page.last(), Some(&appended), "{from:?}");
        }
    }
    assert!(heard < 9, "the push is late, or this proves nothing");
    world.stop().await;
}

#[test]
fn a_batch_that_is_too_large_is_told_as_such() {
    let cause = ValidateError::TooLarge {
        batch_bytes: 9,
        batch_bytes_max: 8,
    };
    let large = AppendError::Invalid(Arc::new(cause));

    let problem = append_problem(PartitionIndex::default(), Manner::Plain, &large);
    let other = append_problem(
        PartitionIndex::default(),
        Manner::Plain,
        &AppendError::Transactional,
    );

    assert_eq!(problem.kind, ProblemKind::TooLarge);
    assert!(problem.detail.contains("at most 8"), "{}", problem.detail);
    assert_eq!(other.kind, ProblemKind::Refused);
}

#[test]
fn what_a_condition_and_a_key_ask_for_is_told_as_such() {
    let end = Offset::new(7).unwrap();
    let other_end = AppendError::Refused(ProduceRefusal::UnexpectedEnd { end });
    let out_of_order = AppendError::Refused(ProduceRefusal::OutOfOrderSequence);
    let told = |manner, error| append_problem(PartitionIndex::default(), manner, error);

    let condition = told(Manner::Plain, &other_end);
    let key = told(Manner::WithKey, &out_of_order);
    let sequence = told(Manner::Plain, &out_of_order);

    assert_eq!(condition.kind, ProblemKind::UnexpectedOffset);
    assert_eq!(condition.end_offset, Some(7));
    assert_eq!(key.kind, ProblemKind::KeyReused);
    assert_eq!(sequence.kind, ProblemKind::Refused);
}
