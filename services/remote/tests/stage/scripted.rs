//! A service that answers as it was told to and remembers what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard};

use esker_metadata_api::{
    ActiveProducer, Admin, AlterBroker, AlterBrokerError, AlterTopic, AlterTopicError,
    AnnounceError, CreateTopic, CreateTopicError, CreatedTopic, DeleteBefore, DeleteRecordsError,
    DeleteTopicError, FeedUpdate, GroupReply, GroupRequest, IndexFeed, IndexSlice, Leadership,
    ListedOffset, LogIndex, LogIndexError, MetadataError, OffsetQuery, Pod, PodLease, Pods,
    Registered, ReserveError, ReserveReply, ReserveRequest, Sequencer, SessionEnd, Topic,
    TopicAdmin, TopicRef, TopicTable, WrittenReport,
};
use esker_types::{ClusterId, Offset, ProducerId, SessionId, TopicPartition};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{Notify, mpsc};

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([5; 16]);

type Queue<T> = VecDeque<T>;

/// Answers by method. A method without one never answers.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) asked: Vec<String>,
    pub(crate) register: Queue<Result<Registered, MetadataError>>,
    pub(crate) reserve: Queue<Result<ReserveReply, ReserveError>>,
    pub(crate) written: Queue<Result<(), MetadataError>>,
    pub(crate) end_session: Queue<Result<SessionEnd, MetadataError>>,
    pub(crate) follow: Queue<Result<mpsc::Receiver<FeedUpdate>, MetadataError>>,
    pub(crate) look_up: Queue<Result<IndexSlice, LogIndexError>>,
    pub(crate) list_offset: Queue<Result<ListedOffset, LogIndexError>>,
    pub(crate) topics_current: Queue<Result<Arc<TopicTable>, MetadataError>>,
    pub(crate) create_topic: Queue<Result<CreatedTopic, CreateTopicError>>,
    pub(crate) delete_topic: Queue<Result<Arc<Topic>, DeleteTopicError>>,
    pub(crate) producer_id: Queue<Result<ProducerId, MetadataError>>,
    pub(crate) group: Queue<Result<GroupReply, MetadataError>>,
    pub(crate) alter_topic: Queue<Result<Arc<Topic>, AlterTopicError>>,
    pub(crate) delete_records: Queue<Result<Offset, DeleteRecordsError>>,
    pub(crate) log_bytes: Queue<Result<BTreeMap<TopicPartition, u64>, MetadataError>>,
    pub(crate) alter_broker: Queue<Result<(), AlterBrokerError>>,
    pub(crate) producers: Queue<Result<Vec<ActiveProducer>, LogIndexError>>,
    pub(crate) leadership: Queue<Result<Leadership, MetadataError>>,
    pub(crate) announce: Queue<Result<PodLease, AnnounceError>>,
}

/// The service.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    script: Mutex<Script>,
    was_asked: Notify,
    dropped: Arc<Mutex<u32>>,
}

/// Counts the calls that were dropped before they were answered.
struct Held(Arc<Mutex<u32>>);

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.lock().unwrap() += 1;
    }
}

impl Scripted {
    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Questions so far, but those of the feed, which clients ask by themselves.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.script().asked.clone()
    }

    pub(crate) fn dropped(&self) -> u32 {
        *self.dropped.lock().unwrap()
    }

    /// Completes when `count` questions were asked.
    pub(crate) async fn was_asked(&self, count: usize) {
        loop {
            let notified = self.was_asked.notified();
            if self.asked().len() >= count {
                return;
            }
            notified.await;
        }
    }

    fn answer<T: Send + 'static>(
        &self,
        question: &dyn Debug,
        queue: fn(&mut Script) -> &mut Queue<T>,
    ) -> BoxFuture<'_, T> {
        let answer = {
            let mut script = self.script();
            script.asked.push(format!("{question:?}"));
            queue(&mut script).pop_front()
        };
        self.was_asked.notify_waiters();
        match answer {
            Some(answer) => std::future::ready(answer).boxed(),
            None => {
                let held = Held(Arc::clone(&self.dropped));
                async move {
                    let _held = held;
                    std::future::pending().await
                }
                .boxed()
            }
        }
    }
}

impl Sequencer for Scripted {
    fn register(
        &self,
        replaces: Option<SessionId>,
    ) -> BoxFuture<'_, Result<Registered, MetadataError>> {
        self.answer(&("register", replaces), |script| &mut script.register)
    }

    fn reserve(
        &self,
        request: ReserveRequest,
    ) -> BoxFuture<'_, Result<ReserveReply, ReserveError>> {
        self.answer(&request, |script| &mut script.reserve)
    }

    fn written(&self, report: WrittenReport) -> BoxFuture<'_, Result<(), MetadataError>> {
        self.answer(&report, |script| &mut script.written)
    }

    fn end_session(&self, session: SessionId) -> BoxFuture<'_, Result<SessionEnd, MetadataError>> {
        self.answer(&("end", session), |script| &mut script.end_session)
    }
}

#[derive(Debug)]
struct ScriptedFeed(mpsc::Receiver<FeedUpdate>);

impl IndexFeed for ScriptedFeed {
    fn next(&mut self) -> BoxFuture<'_, Option<FeedUpdate>> {
        self.0.recv().boxed()
    }
}

impl LogIndex for Scripted {
    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn IndexFeed>, MetadataError>> {
        let next = self.script().follow.pop_front();
        let next = next.unwrap_or(Err(MetadataError::Unavailable));
        let feed = next.map(|updates| {
            let feed: Box<dyn IndexFeed> = Box::new(ScriptedFeed(updates));
            feed
        });
        std::future::ready(feed).boxed()
    }

    fn look_up(
        &self,
        topic_partition: TopicPartition,
        offset: Offset,
        extents_max: usize,
    ) -> BoxFuture<'_, Result<IndexSlice, LogIndexError>> {
        let question = ("look up", topic_partition, offset, extents_max);
        self.answer(&question, |script| &mut script.look_up)
    }

    fn list_offset(
        &self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
        from: Offset,
    ) -> BoxFuture<'_, Result<ListedOffset, LogIndexError>> {
        let question = ("list", topic_partition, query, from);
        self.answer(&question, |script| &mut script.list_offset)
    }
}

impl Admin for Scripted {
    fn cluster(&self) -> ClusterId {
        CLUSTER
    }

    fn topics(&self) -> Arc<TopicTable> {
        Arc::default()
    }

    fn topics_current(&self) -> BoxFuture<'_, Result<Arc<TopicTable>, MetadataError>> {
        self.answer(&"topics", |script| &mut script.topics_current)
    }

    fn create_topic(
        &self,
        request: CreateTopic,
    ) -> BoxFuture<'_, Result<CreatedTopic, CreateTopicError>> {
        self.answer(&request, |script| &mut script.create_topic)
    }

    fn delete_topic(&self, topic: TopicRef) -> BoxFuture<'_, Result<Arc<Topic>, DeleteTopicError>> {
        self.answer(&topic, |script| &mut script.delete_topic)
    }

    fn producer_id(&self) -> BoxFuture<'_, Result<ProducerId, MetadataError>> {
        self.answer(&"producer id", |script| &mut script.producer_id)
    }

    fn group(&self, request: GroupRequest) -> BoxFuture<'_, Result<GroupReply, MetadataError>> {
        self.answer(&request, |script| &mut script.group)
    }
}

impl TopicAdmin for Scripted {
    fn alter_topic(
        &self,
        request: AlterTopic,
    ) -> BoxFuture<'_, Result<Arc<Topic>, AlterTopicError>> {
        self.answer(&request, |script| &mut script.alter_topic)
    }

    fn delete_records(
        &self,
        topic_partition: TopicPartition,
        before: DeleteBefore,
    ) -> BoxFuture<'_, Result<Offset, DeleteRecordsError>> {
        let question = ("delete", topic_partition, before);
        self.answer(&question, |script| &mut script.delete_records)
    }

    fn log_bytes(&self) -> BoxFuture<'_, Result<BTreeMap<TopicPartition, u64>, MetadataError>> {
        self.answer(&"log bytes", |script| &mut script.log_bytes)
    }

    fn alter_broker(&self, request: AlterBroker) -> BoxFuture<'_, Result<(), AlterBrokerError>> {
        self.answer(&request, |script| &mut script.alter_broker)
    }

    fn producers(
        &self,
        topic_partition: TopicPartition,
    ) -> BoxFuture<'_, Result<Vec<ActiveProducer>, LogIndexError>> {
        let question = ("producers", topic_partition);
        self.answer(&question, |script| &mut script.producers)
    }

    fn leadership(&self) -> BoxFuture<'_, Result<Leadership, MetadataError>> {
        self.answer(&"leadership", |script| &mut script.leadership)
    }
}

impl Pods for Scripted {
    fn announce(&self, pod: Pod) -> BoxFuture<'_, Result<PodLease, AnnounceError>> {
        self.answer(&pod, |script| &mut script.announce)
    }
}
