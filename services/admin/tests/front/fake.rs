//! A metadata service in memory: deterministic, may lag, fail, hang, and answers groups by script.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use esker_metadata_api::{
    ActiveProducer, Admin, AlterBroker, AlterBrokerError, AlterTopic, AlterTopicError,
    BrokerConfigs, BrokerScope, Configs, CreateTopic, CreateTopicError, CreatedTopic, DeleteBefore,
    DeleteRecordsError, DeleteTopicError, GroupReply, GroupRequest, IndexFeed, IndexSlice,
    Leadership, ListedOffset, LogIndex, LogIndexError, MetadataError, OffsetQuery, Topic,
    TopicAdmin, TopicChange, TopicRef, TopicTable,
};
use esker_types::{ClusterId, Offset, ProducerId, SequencerEpoch, TopicPartition};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::wire::topic_id;

#[derive(Debug, Default)]
pub(crate) struct FakeAdmin {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    truth: TopicTable,
    lagging: Option<TopicTable>,
    current_trouble: Option<MetadataError>,
    create_trouble: Vec<CreateTopicError>,
    quicker: Option<Topic>,
    delete_trouble: Vec<DeleteTopicError>,
    producer_trouble: Option<MetadataError>,
    hangs: bool,
    created: u8,
    producer_ids: i64,
    current_calls: usize,
    creations: Vec<CreateTopic>,
    deletions: Vec<TopicRef>,
    group_requests: Vec<GroupRequest>,
    group_replies: VecDeque<Result<GroupReply, MetadataError>>,
    alterations: Vec<AlterTopic>,
    alter_trouble: Vec<AlterTopicError>,
    /// Before the next alteration, these settings are set by somebody else.
    overtaken_by: Vec<BTreeMap<String, String>>,
    deleted_records: Vec<(TopicPartition, DeleteBefore)>,
    delete_records_answers: VecDeque<Result<Offset, DeleteRecordsError>>,
    log_bytes: BTreeMap<TopicPartition, u64>,
    log_bytes_trouble: Option<MetadataError>,
    leadership_trouble: Option<MetadataError>,
    log_ends: BTreeMap<TopicPartition, Result<Offset, LogIndexError>>,
    alter_broker_trouble: Vec<AlterBrokerError>,
    producers: BTreeMap<TopicPartition, Result<Vec<ActiveProducer>, LogIndexError>>,
}

impl FakeAdmin {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap())
    }

    pub(crate) fn add(&self, topic: Topic) {
        self.with(|state| state.truth.insert(topic));
    }

    pub(crate) fn remove(&self, id: u8) {
        self.with(|state| state.truth.remove(topic_id(id)).map(drop).unwrap());
    }

    /// From now on `topics()` answers as of now, whatever happens.
    pub(crate) fn lag(&self) {
        self.with(|state| state.lagging = Some(state.truth.clone()));
    }

    pub(crate) fn fail_current(&self, error: MetadataError) {
        self.with(|state| state.current_trouble = Some(error));
    }

    pub(crate) fn fail_next_creation(&self, error: CreateTopicError) {
        self.with(|state| state.create_trouble.push(error));
    }

    /// The next creation finds that somebody else has just created `topic`.
    pub(crate) fn be_quicker(&self, topic: Topic) {
        self.with(|state| state.quicker = Some(topic));
    }

    pub(crate) fn fail_next_deletion(&self, error: DeleteTopicError) {
        self.with(|state| state.delete_trouble.push(error));
    }

    pub(crate) fn fail_producer_ids(&self, error: MetadataError) {
        self.with(|state| state.producer_trouble = Some(error));
    }

    /// From now on nothing but `topics()` and `topics_current()` is ever answered.
    pub(crate) fn hang(&self) {
        self.with(|state| state.hangs = true);
    }

    pub(crate) fn reply_group(&self, reply: GroupReply) {
        self.with(|state| state.group_replies.push_back(Ok(reply)));
    }

    pub(crate) fn fail_group(&self, error: MetadataError) {
        self.with(|state| state.group_replies.push_back(Err(error)));
    }

    pub(crate) fn alterations(&self) -> Vec<AlterTopic> {
        self.with(|state| state.alterations.clone())
    }

    pub(crate) fn fail_next_alteration(&self, error: AlterTopicError) {
        self.with(|state| state.alter_trouble.push(error));
    }

    /// The next alteration finds that somebody else has just set `configs`.
    pub(crate) fn be_overtaken(&self, configs: BTreeMap<String, String>) {
        self.with(|state| state.overtaken_by.push(configs));
    }

    pub(crate) fn topic(&self, name: &str) -> Topic {
        self.with(|state| Topic::clone(state.truth.named(name).unwrap()))
    }

    pub(crate) fn answer_deletion(&self, answer: Result<Offset, DeleteRecordsError>) {
        self.with(|state| state.delete_records_answers.push_back(answer));
    }

    pub(crate) fn deleted_records(&self) -> Vec<(TopicPartition, DeleteBefore)> {
        self.with(|state| state.deleted_records.clone())
    }

    pub(crate) fn set_log_bytes(&self, at: TopicPartition, bytes: u64) {
        self.with(|state| state.log_bytes.insert(at, bytes));
    }

    pub(crate) fn fail_log_bytes(&self, error: MetadataError) {
        self.with(|state| state.log_bytes_trouble = Some(error));
    }

    pub(crate) fn fail_leadership(&self, error: MetadataError) {
        self.with(|state| state.leadership_trouble = Some(error));
    }

    pub(crate) fn set_log_end(&self, at: TopicPartition, end: Result<Offset, LogIndexError>) {
        self.with(|state| state.log_ends.insert(at, end));
    }

    pub(crate) fn fail_next_broker_alteration(&self, error: AlterBrokerError) {
        self.with(|state| state.alter_broker_trouble.push(error));
    }

    /// What brokers were given while they run.
    pub(crate) fn broker_configs(&self, scope: BrokerScope) -> Configs {
        self.with(|state| state.truth.brokers().of(scope))
    }

    pub(crate) fn set_producers(
        &self,
        at: TopicPartition,
        producers: Result<Vec<ActiveProducer>, LogIndexError>,
    ) {
        self.with(|state| state.producers.insert(at, producers));
    }

    pub(crate) fn current_calls(&self) -> usize {
        self.with(|state| state.current_calls)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.with(|state| state.truth.named(name).is_some())
    }

    pub(crate) fn creations(&self) -> Vec<CreateTopic> {
        self.with(|state| state.creations.clone())
    }

    pub(crate) fn deletions(&self) -> Vec<TopicRef> {
        self.with(|state| state.deletions.clone())
    }

    /// What the coordinator was asked since the last time.
    pub(crate) fn group_requests(&self) -> Vec<GroupRequest> {
        self.with(|state| std::mem::take(&mut state.group_requests))
    }
}

impl State {
    fn create(&mut self, request: CreateTopic) -> Result<CreatedTopic, CreateTopicError> {
        self.creations.push(request.clone());
        if let Some(error) = self.create_trouble.pop() {
            return Err(error);
        }
        if let Some(topic) = self.quicker.take() {
            self.truth.insert(topic);
        }
        if self.truth.named(request.name.as_str()).is_some() {
            return Err(CreateTopicError::Exists);
        }
        self.created += 1;
        let topic = Topic {
            id: topic_id(200 + self.created),
            name: request.name,
            partition_count: request.partition_count,
            replication_factor: request.replication_factor,
            configs: request.configs,
            defaults: Arc::default(),
        };
        if !request.validate_only {
            self.truth.insert(topic.clone());
        }
        let topic = Arc::new(topic);
        Ok(CreatedTopic { topic })
    }

    fn delete(&mut self, topic: TopicRef) -> Result<Arc<Topic>, DeleteTopicError> {
        self.deletions.push(topic.clone());
        if let Some(error) = self.delete_trouble.pop() {
            return Err(error);
        }
        let id = match topic {
            TopicRef::Id(id) => id,
            TopicRef::Name(name) => {
                let found = self.truth.named(name.as_str());
                found
                    .map(|topic| topic.id)
                    .ok_or(DeleteTopicError::Unknown)?
            }
        };
        self.truth.remove(id).ok_or(DeleteTopicError::Unknown)
    }
}

impl State {
    fn alter(&mut self, request: &AlterTopic) -> Result<Arc<Topic>, AlterTopicError> {
        self.alterations.push(request.clone());
        if let Some(error) = self.alter_trouble.pop() {
            return Err(error);
        }
        let topic = self.truth.with_id(request.topic);
        let mut topic = Topic::clone(topic.ok_or(AlterTopicError::Unknown)?);
        if let Some(configs) = self.overtaken_by.pop() {
            topic.configs = configs;
            self.truth.insert(topic.clone());
        }
        match &request.change {
            TopicChange::PartitionCount(count) => topic.partition_count = *count,
            TopicChange::Configs { expected, configs } => {
                if topic.configs != *expected {
                    return Err(AlterTopicError::Changed);
                }
                topic.configs.clone_from(configs);
            }
        }
        if !request.validate_only {
            self.truth.insert(topic.clone());
        }
        Ok(Arc::new(topic))
    }
}

impl State {
    fn alter_broker(&mut self, request: AlterBroker) -> Result<(), AlterBrokerError> {
        if let Some(error) = self.alter_broker_trouble.pop() {
            return Err(error);
        }
        self.truth.brokers().check(&request)?;
        let mut brokers = BrokerConfigs::clone(self.truth.brokers());
        brokers.set(request.scope, request.configs);
        self.truth.set_brokers(brokers);
        Ok(())
    }
}

impl TopicAdmin for FakeAdmin {
    fn alter_topic(
        &self,
        request: AlterTopic,
    ) -> BoxFuture<'_, Result<Arc<Topic>, AlterTopicError>> {
        self.with(|state| answer(state.hangs, state.alter(&request)))
    }

    fn delete_records(
        &self,
        topic_partition: TopicPartition,
        before: DeleteBefore,
    ) -> BoxFuture<'_, Result<Offset, DeleteRecordsError>> {
        self.with(|state| {
            state.deleted_records.push((topic_partition, before));
            let scripted = state.delete_records_answers.pop_front();
            answer(state.hangs, scripted.unwrap())
        })
    }

    fn log_bytes(&self) -> BoxFuture<'_, Result<BTreeMap<TopicPartition, u64>, MetadataError>> {
        self.with(|state| {
            let trouble = state.log_bytes_trouble;
            answer(
                state.hangs,
                trouble.map_or(Ok(state.log_bytes.clone()), Err),
            )
        })
    }

    fn alter_broker(&self, request: AlterBroker) -> BoxFuture<'_, Result<(), AlterBrokerError>> {
        self.with(|state| answer(state.hangs, state.alter_broker(request)))
    }

    fn producers(
        &self,
        topic_partition: TopicPartition,
    ) -> BoxFuture<'_, Result<Vec<ActiveProducer>, LogIndexError>> {
        self.with(|state| {
            let known = state.producers.get(&topic_partition).cloned();
            answer(state.hangs, known.unwrap_or(Ok(Vec::new())))
        })
    }

    /// Epoch 5, roll 3, 7 commands.
    fn leadership(&self) -> BoxFuture<'_, Result<Leadership, MetadataError>> {
        self.with(|state| {
            let leadership = Leadership {
                epoch: SequencerEpoch::new(5),
                roll: 3,
                commands: 7,
            };
            let trouble = state.leadership_trouble;
            answer(state.hangs, trouble.map_or(Ok(leadership), Err))
        })
    }
}

impl LogIndex for FakeAdmin {
    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn IndexFeed>, MetadataError>> {
        panic!("the front follows no index")
    }

    fn look_up(
        &self,
        _topic_partition: TopicPartition,
        _offset: Offset,
        _extents_max: usize,
    ) -> BoxFuture<'_, Result<IndexSlice, LogIndexError>> {
        panic!("the front reads no index")
    }

    fn list_offset(
        &self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
        _from: Offset,
    ) -> BoxFuture<'_, Result<ListedOffset, LogIndexError>> {
        assert_eq!(query, OffsetQuery::Latest, "the front asks for ends only");
        self.with(|state| {
            let end = state.log_ends[&topic_partition];
            answer(state.hangs, end.map(ListedOffset::Known))
        })
    }
}

fn answer<T: Send + 'static>(hangs: bool, answer: T) -> BoxFuture<'static, T> {
    if hangs {
        return std::future::pending().boxed();
    }
    std::future::ready(answer).boxed()
}

impl Admin for FakeAdmin {
    fn cluster(&self) -> ClusterId {
        ClusterId::from_bytes([0xfb; 16])
    }

    fn topics(&self) -> Arc<TopicTable> {
        self.with(|state| Arc::new(state.lagging.as_ref().unwrap_or(&state.truth).clone()))
    }

    fn topics_current(&self) -> BoxFuture<'_, Result<Arc<TopicTable>, MetadataError>> {
        let table = self.with(|state| {
            state.current_calls += 1;
            match state.current_trouble {
                Some(error) => Err(error),
                None => Ok(Arc::new(state.truth.clone())),
            }
        });
        answer(false, table)
    }

    fn create_topic(
        &self,
        request: CreateTopic,
    ) -> BoxFuture<'_, Result<CreatedTopic, CreateTopicError>> {
        self.with(|state| answer(state.hangs, state.create(request)))
    }

    fn delete_topic(&self, topic: TopicRef) -> BoxFuture<'_, Result<Arc<Topic>, DeleteTopicError>> {
        self.with(|state| answer(state.hangs, state.delete(topic)))
    }

    fn producer_id(&self) -> BoxFuture<'_, Result<ProducerId, MetadataError>> {
        self.with(|state| {
            state.producer_ids += 1;
            let id = ProducerId::from_wire(state.producer_ids).unwrap();
            let id = state.producer_trouble.map_or(Ok(id), Err);
            answer(state.hangs, id)
        })
    }

    fn group(&self, request: GroupRequest) -> BoxFuture<'_, Result<GroupReply, MetadataError>> {
        self.with(|state| {
            state.group_requests.push(request);
            let reply = state.group_replies.pop_front();
            answer(
                state.hangs,
                reply.unwrap_or(Err(MetadataError::Unavailable)),
            )
        })
    }
}
