//! What the fronts ask of topics that exist: more partitions, other settings, a later start.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::sync::Arc;

use esker_types::{
    Offset, ProducerEpoch, ProducerId, SequencerEpoch, Timestamp, TopicId, TopicPartition,
};
use futures::future::BoxFuture;

use crate::{AlterBroker, AlterBrokerError, LogIndexError, MetadataError, Topic};

/// A change of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterTopic {
    /// The topic's incarnation.
    pub topic: TopicId,
    /// What is to change.
    pub change: TopicChange,
    /// Check only, change nothing.
    pub validate_only: bool,
}

/// What can change of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicChange {
    /// Have so many partitions, more than now.
    PartitionCount(NonZeroU32),
    /// Have these settings, checked by the front, if it still has those that the front saw: of two
    /// changes at once one is told that it came too late.
    Configs {
        /// What the front saw.
        expected: BTreeMap<String, String>,
        /// What shall be: all settings that differ from the defaults.
        configs: BTreeMap<String, String>,
    },
}

/// Why a topic was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterTopicError {
    /// No such topic incarnation.
    #[error("topic does not exist")]
    Unknown,
    /// It has as many partitions already, or more: none is ever taken away.
    #[error("topic has {partition_count} partitions, that would not be an increase")]
    NotMore {
        /// What it has.
        partition_count: u32,
    },
    /// More partitions than a topic or the cluster may have.
    #[error("more partitions than allowed")]
    TooManyPartitions,
    /// Its settings are not those that were expected: look again.
    #[error("settings were changed meanwhile")]
    Changed,
    /// No answer; `Unknown` means it may be changed.
    #[error("change of the topic was not answered")]
    Metadata(#[source] MetadataError),
}

/// Where the log of a partition is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteBefore {
    /// At this offset, at most the high watermark. Nothing happens when it begins later already.
    Offset(Offset),
    /// At the high watermark: all that is visible goes.
    HighWatermark,
}

/// Why no records were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteRecordsError {
    /// No such topic incarnation or partition, currently (R1).
    #[error("topic or partition does not exist")]
    UnknownPartition,
    /// The offset lies above the high watermark.
    #[error("offset is above the high watermark {high_watermark}")]
    OutOfRange {
        /// The high watermark.
        high_watermark: Offset,
    },
    /// Undecided ranges held the answer up for too long: try again.
    #[error("log end is not decided yet")]
    NotDecided,
    /// No answer; `Unknown` means they may be gone.
    #[error("deletion of records was not answered")]
    Metadata(#[source] MetadataError),
}

/// Who leads the metadata service, and how far its journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The epoch of the leader that answers.
    pub epoch: SequencerEpoch,
    /// The roll of the journal that it writes: rises over all epochs.
    pub roll: u64,
    /// Commands of this roll that are durable.
    pub commands: u64,
}

/// A producer that a partition remembers, from its committed batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// The highest epoch that it wrote in.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// The largest timestamp of the extent that holds its last batch; `None` when that is gone.
    pub last_timestamp: Option<Timestamp>,
}

/// Changes of topics and brokers, what they take up, and who keeps account of it.
pub trait TopicAdmin: Debug + Send + Sync + 'static {
    /// Changes a topic, durable before the answer; the topic as it is then.
    fn alter_topic(
        &self,
        request: AlterTopic,
    ) -> BoxFuture<'_, Result<Arc<Topic>, AlterTopicError>>;

    /// Moves the log start offset, durable before the answer; the log start offset then. Covers
    /// every acknowledgement given before the question, as "latest" does.
    fn delete_records(
        &self,
        topic_partition: TopicPartition,
        before: DeleteBefore,
    ) -> BoxFuture<'_, Result<Offset, DeleteRecordsError>>;

    /// Bytes of the visible log of every partition that has any, as they stand in segments.
    fn log_bytes(&self) -> BoxFuture<'_, Result<BTreeMap<TopicPartition, u64>, MetadataError>>;

    /// Changes settings of brokers, durable and in force before the answer.
    fn alter_broker(&self, request: AlterBroker) -> BoxFuture<'_, Result<(), AlterBrokerError>>;

    /// The producers that a partition remembers, current (R1).
    fn producers(
        &self,
        topic_partition: TopicPartition,
    ) -> BoxFuture<'_, Result<Vec<ActiveProducer>, LogIndexError>>;

    /// The leader, current (R1).
    fn leadership(&self) -> BoxFuture<'_, Result<Leadership, MetadataError>>;
}
