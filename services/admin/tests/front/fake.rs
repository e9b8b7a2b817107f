//! A metadata service in memory: deterministic, may lag, fail, hang, and answers groups by script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use esker_metadata_api::{
    Admin, CreateTopic, CreateTopicError, CreatedTopic, DeleteTopicError, GroupReply, GroupRequest,
    MetadataError, Topic, TopicRef, TopicTable,
};
use esker_types::{ClusterId, ProducerId};
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
