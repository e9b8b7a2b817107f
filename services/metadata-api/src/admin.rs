//! What the fronts ask: topics, producer ids, groups.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::sync::Arc;

use esker_types::{ClusterId, ProducerId, TopicId};
use futures::future::BoxFuture;

use crate::{GroupReply, GroupRequest, MetadataError, Topic, TopicName, TopicTable};

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopic {
    /// Its name.
    pub name: TopicName,
    /// Its partitions, at most `PARTITIONS_PER_TOPIC_MAX`.
    pub partition_count: NonZeroU32,
    /// What tools compare.
    pub replication_factor: u16,
    /// Settings that differ from the defaults, checked by the front.
    pub configs: BTreeMap<String, String>,
    /// Check only, create nothing.
    pub validate_only: bool,
}

/// A topic that was made (or would have been).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// The topic, with its id. For `validate_only` the id is a fresh one that nobody will see
    /// again.
    pub topic: Arc<Topic>,
}

/// Why a topic was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTopicError {
    /// The name is taken.
    #[error("topic exists")]
    Exists,
    /// A name that differs only in `.` and `_` is taken.
    #[error("topic name collides with {with}")]
    Collides {
        /// The topic there already.
        with: TopicName,
    },
    /// More partitions than a topic or the cluster may have.
    #[error("more partitions than allowed")]
    TooManyPartitions,
    /// More topics than the cluster may have.
    #[error("more topics than allowed")]
    TooManyTopics,
    /// No answer; `Unknown` means it may appear.
    #[error("topic creation was not answered")]
    Metadata(#[source] MetadataError),
}

/// A topic by name or id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicRef {
    /// By name.
    Name(TopicName),
    /// By id.
    Id(TopicId),
}

/// Why a topic was not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteTopicError {
    /// No such topic.
    #[error("topic does not exist")]
    Unknown,
    /// No answer; `Unknown` means it may be gone.
    #[error("topic deletion was not answered")]
    Metadata(#[source] MetadataError),
}

/// The catalogue and the coordinators, as the fronts see them.
pub trait Admin: Debug + Send + Sync + 'static {
    /// The cluster.
    fn cluster(&self) -> ClusterId;

    /// All topics, as last heard; cheap. May lag a little, so "unknown" is confirmed by
    /// [`Admin::topics_current`] before it is told.
    fn topics(&self) -> Arc<TopicTable>;

    /// All topics, current (R1).
    fn topics_current(&self) -> BoxFuture<'_, Result<Arc<TopicTable>, MetadataError>>;

    /// Creates a topic, durable before the answer.
    fn create_topic(
        &self,
        request: CreateTopic,
    ) -> BoxFuture<'_, Result<CreatedTopic, CreateTopicError>>;

    /// Deletes a topic, durable before the answer.
    fn delete_topic(&self, topic: TopicRef) -> BoxFuture<'_, Result<Arc<Topic>, DeleteTopicError>>;

    /// A producer id that nobody ever had.
    fn producer_id(&self) -> BoxFuture<'_, Result<ProducerId, MetadataError>>;

    /// Anything about consumer groups. Answers may take as long as a rebalance.
    fn group(&self, request: GroupRequest) -> BoxFuture<'_, Result<GroupReply, MetadataError>>;
}
