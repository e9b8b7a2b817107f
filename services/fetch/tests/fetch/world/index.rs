//! A metadata service in memory: the index of what was written, its feed, its topics; scripted.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};

use esker_metadata_api::{
    Admin, CreateTopic, CreateTopicError, CreatedTopic, DeleteTopicError, FeedUpdate, GroupReply,
    GroupRequest, IndexExtent, IndexFeed, IndexSlice, ListedOffset, LogIndex, LogIndexError,
    MetadataError, OffsetQuery, PartitionAdvance, Topic, TopicName, TopicRef, TopicTable,
};
use esker_segment::SegmentFooter;
use esker_types::{ClusterId, Offset, PartitionIndex, ProducerId, TopicId, TopicPartition};
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::mpsc;

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeIndex {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) logs: BTreeMap<TopicPartition, Log>,
    pub(crate) topics: TopicTable,
    /// What `topics()` shows when it lags behind.
    pub(crate) stale_topics: Option<TopicTable>,
    feeds: Vec<mpsc::Sender<FeedUpdate>>,
    pub(crate) follows: u64,
    pub(crate) lookups: u64,
    pub(crate) latest_questions: u64,
    pub(crate) refuse_lookup: Option<LogIndexError>,
    pub(crate) refuse_list: Option<LogIndexError>,
    pub(crate) refuse_follow: Option<MetadataError>,
    pub(crate) refuse_topics: Option<MetadataError>,
    /// Questions are counted and never answered.
    pub(crate) is_stuck: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) extents: Vec<IndexExtent>,
    /// What the sequencer answers to "latest" when look-ups lag behind it.
    pub(crate) latest: Option<Offset>,
}

impl FakeIndex {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn create(&self, name: &str, id: u8, partitions: u32) {
        let topic = Topic {
            id: TopicId::from_bytes([id; 16]),
            name: TopicName::new(name).unwrap(),
            partition_count: NonZeroU32::new(partitions).unwrap(),
            replication_factor: 1,
            configs: BTreeMap::new(),
            defaults: Arc::default(),
        };
        let mut state = self.lock();
        for partition in 0..partitions {
            let at = topic.at(PartitionIndex::new(partition).unwrap());
            state.logs.insert(at, Log::default());
        }
        state.topics.insert(topic);
    }

    pub(crate) fn delete(&self, id: TopicId) {
        let mut state = self.lock();
        state.topics.remove(id);
        state.logs.retain(|at, _| at.topic != id);
        let topics = Arc::new(state.topics.clone());
        state.push(&FeedUpdate::Topics(topics));
    }

    /// The segment is committed. Followers are told when `push` says so.
    pub(crate) fn publish(&self, footer: &SegmentFooter, push: bool) {
        let mut state = self.lock();
        for extent in footer.extents() {
            let indexed = IndexExtent {
                base_offset: extent.base_offset,
                end_offset: extent.end_offset,
                segment: footer.segment,
                range: extent.range,
                max_timestamp: extent.max_timestamp,
            };
            let log = state.logs.get_mut(&extent.topic_partition).unwrap();
            let previous_high_watermark = log.high_watermark;
            log.extents.push(indexed);
            log.high_watermark = extent.end_offset;
            let advance = PartitionAdvance {
                topic_partition: extent.topic_partition,
                log_start: log.log_start,
                high_watermark: log.high_watermark,
                extents: vec![indexed],
                previous_high_watermark,
            };
            if push {
                state.push(&FeedUpdate::Advanced(Arc::new(advance)));
            }
        }
    }

    pub(crate) fn push(&self, update: &FeedUpdate) {
        self.lock().push(update);
    }

    async fn stick(&self) {
        if self.lock().is_stuck {
            std::future::pending().await
        }
    }

    /// The leader is gone: all feeds end.
    pub(crate) fn end_feeds(&self) {
        self.lock().feeds.clear();
    }
}

impl State {
    fn push(&mut self, update: &FeedUpdate) {
        self.feeds
            .retain(|feed| feed.try_send(update.clone()).is_ok());
    }
}

#[derive(Debug)]
struct Feed(mpsc::Receiver<FeedUpdate>);

impl IndexFeed for Feed {
    fn next(&mut self) -> BoxFuture<'_, Option<FeedUpdate>> {
        self.0.recv().boxed()
    }
}

impl LogIndex for FakeIndex {
    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn IndexFeed>, MetadataError>> {
        async {
            self.lock().follows += 1;
            self.stick().await;
            let mut state = self.lock();
            if let Some(error) = state.refuse_follow {
                return Err(error);
            }
            let (sender, receiver) = mpsc::channel(1000);
            let topics = Arc::new(state.topics.clone());
            sender.try_send(FeedUpdate::Topics(topics)).unwrap();
            state.feeds.push(sender);
            Ok::<Box<dyn IndexFeed>, _>(Box::new(Feed(receiver)))
        }
        .boxed()
    }

    fn look_up(
        &self,
        topic_partition: TopicPartition,
        offset: Offset,
        extents_max: usize,
    ) -> BoxFuture<'_, Result<IndexSlice, LogIndexError>> {
        async move {
            self.lock().lookups += 1;
            self.stick().await;
            let state = self.lock();
            if let Some(error) = state.refuse_lookup {
                return Err(error);
            }
            let log = state.logs.get(&topic_partition);
            let log = log.ok_or(LogIndexError::UnknownPartition)?;
            let above = log.extents.iter().filter(|at| at.end_offset > offset);
            Ok(IndexSlice {
                log_start: log.log_start,
                high_watermark: log.high_watermark,
                extents: above.take(extents_max).copied().collect(),
            })
        }
        .boxed()
    }

    fn list_offset(
        &self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
        from: Offset,
    ) -> BoxFuture<'_, Result<ListedOffset, LogIndexError>> {
        async move {
            self.lock().latest_questions += u64::from(query == OffsetQuery::Latest);
            self.stick().await;
            let state = self.lock();
            if let Some(error) = state.refuse_list {
                return Err(error);
            }
            let log = state.logs.get(&topic_partition);
            let log = log.ok_or(LogIndexError::UnknownPartition)?;
            let mut above = log.extents.iter().filter(|at| at.end_offset > from);
            let found = match query {
                OffsetQuery::Latest => {
                    return Ok(ListedOffset::Known(
                        log.latest.unwrap_or(log.high_watermark),
                    ));
                }
                OffsetQuery::Earliest => return Ok(ListedOffset::Known(log.log_start)),
                OffsetQuery::MaxTimestamp => {
                    let newest = above.clone().map(|at| at.max_timestamp).max();
                    above.find(|at| Some(at.max_timestamp) == newest)
                }
                OffsetQuery::AtTimestamp(wanted) => above.find(|at| at.max_timestamp >= wanted),
            };
            Ok(found.map_or(ListedOffset::Nothing, |at| ListedOffset::Inside(*at)))
        }
        .boxed()
    }
}

impl Admin for FakeIndex {
    fn cluster(&self) -> ClusterId {
        super::CLUSTER
    }

    fn topics(&self) -> Arc<TopicTable> {
        let state = self.lock();
        let stale = state.stale_topics.clone();
        Arc::new(stale.unwrap_or_else(|| state.topics.clone()))
    }

    fn topics_current(&self) -> BoxFuture<'_, Result<Arc<TopicTable>, MetadataError>> {
        async {
            let state = self.lock();
            match state.refuse_topics {
                Some(error) => Err(error),
                None => Ok(Arc::new(state.topics.clone())),
            }
        }
        .boxed()
    }

    fn create_topic(
        &self,
        _: CreateTopic,
    ) -> BoxFuture<'_, Result<CreatedTopic, CreateTopicError>> {
        async { Err(CreateTopicError::Exists) }.boxed()
    }

    fn delete_topic(&self, _: TopicRef) -> BoxFuture<'_, Result<Arc<Topic>, DeleteTopicError>> {
        async { Err(DeleteTopicError::Unknown) }.boxed()
    }

    fn producer_id(&self) -> BoxFuture<'_, Result<ProducerId, MetadataError>> {
        async { Err(MetadataError::Unavailable) }.boxed()
    }

    fn group(&self, _: GroupRequest) -> BoxFuture<'_, Result<GroupReply, MetadataError>> {
        async { Err(MetadataError::Unavailable) }.boxed()
    }
}
