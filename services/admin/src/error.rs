//! What is refused, and why: facts, told to clients as codes by `reply.rs` and in these words.

use esker_metadata_api::configs::ConfigError;
use esker_metadata_api::{
    AlterBrokerError, AlterTopicError, CreateTopicError, DeleteRecordsError, DeleteTopicError,
    GroupError, LogIndexError, MetadataError, TopicName, TopicNameError,
};
use esker_types::limits::PARTITIONS_PER_TOPIC_MAX;

use crate::limits::{DESCRIBED_PRODUCERS_MAX, SHOWN_CHARACTERS_MAX};

/// Why nothing is said of a topic (Metadata, DescribeTopicPartitions).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopicRefusal {
    /// No topic can have this name.
    #[error("topic name is not valid")]
    InvalidName(#[source] TopicNameError),
    /// No topic has this name, currently (R1).
    #[error("topic does not exist")]
    UnknownName,
    /// No topic has this id, currently (R1).
    #[error("topic id does not exist")]
    UnknownId,
    /// The version of the request cannot name topics this way.
    #[error("this version of the request names topics by name only")]
    NameMissing,
    /// The cursor points before the first partition, or at a topic that was not asked for.
    #[error("cursor must point at a partition of a topic that is asked for")]
    InvalidCursor,
    /// It was to be created on the way, and was not.
    #[error("topic was not created")]
    NotCreated(#[source] CreateTopicError),
    /// Whether it exists could not be found out.
    #[error("whether the topic exists is not known now")]
    NotAnswered(#[source] MetadataError),
}

/// Why a topic was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CreationRefusal {
    /// The request names it more than once.
    #[error("topic is named more than once")]
    Repeated,
    /// No topic can have this name.
    #[error("topic name is not valid")]
    InvalidName(#[source] TopicNameError),
    /// Kafka keeps its own state in topics of this name; clients treat them specially.
    #[error("topic name is reserved")]
    ReservedName,
    /// Assignments together with a count of partitions.
    #[error("partition count must be -1 when partitions are assigned one by one")]
    CountWithAssignments,
    /// Assignments together with a replication factor.
    #[error("replication factor must be -1 when partitions are assigned one by one")]
    FactorWithAssignments,
    /// Zero, or below -1.
    #[error("partition count must be -1 or at least 1")]
    PartitionCount,
    /// More than a topic may have.
    #[error("a topic has at most {PARTITIONS_PER_TOPIC_MAX} partitions")]
    TooManyPartitions,
    /// Zero, or below -1.
    #[error("replication factor must be -1 or at least 1")]
    ReplicationFactor,
    /// Assigned partitions must be 0, 1, 2 and so on.
    #[error("assigned partitions must be numbered from 0 on without gaps")]
    AssignmentGap,
    /// A partition on no broker, on one twice, or on a negative one.
    #[error("each assigned partition needs brokers, each once")]
    AssignmentBrokers,
    /// Partitions with different numbers of brokers.
    #[error("all assigned partitions need the same number of brokers")]
    AssignmentUneven,
    /// Topics have no such setting. The client knows which one it is from its own text.
    #[error("unknown topic config name: {name}")]
    UnknownConfig {
        /// What the client wrote, cut to a sane length.
        name: ShownText,
    },
    /// A setting without a value.
    #[error("null value is not allowed for topic config: {name}")]
    NullConfig {
        /// The setting.
        name: &'static str,
    },
    /// A setting with a value that it cannot have.
    #[error("invalid value for configuration {name}")]
    InvalidConfig {
        /// The setting.
        name: &'static str,
        /// What is wrong with the value.
        #[source]
        source: ConfigError,
    },
    /// Settings that exclude each other.
    #[error("topic configs contradict each other")]
    ConfigConflict(#[source] ConfigError),
    /// The name is taken. In Kafka's own words, which scripts look for.
    #[error("Topic '{name}' already exists.")]
    Exists {
        /// The name.
        name: TopicName,
    },
    /// The metadata service did not answer before anything was asked of it.
    #[error("nothing was created: the metadata service does not answer")]
    NotStarted(#[source] MetadataError),
    /// The metadata service refused it, or its outcome is unknown.
    #[error("topic was not created")]
    Refused(#[source] CreateTopicError),
}

/// Why a topic was not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeletionRefusal {
    /// Neither name nor id.
    #[error("neither topic name nor topic id is given")]
    Unnamed,
    /// Both name and id.
    #[error("topic name and topic id must not both be given")]
    TwiceNamed,
    /// The request names it more than once.
    #[error("topic is named more than once")]
    Repeated,
    /// No topic has this name, currently (R1).
    #[error("This server does not host this topic-partition.")]
    UnknownName,
    /// No topic has this id, currently (R1).
    #[error("topic id does not exist")]
    UnknownId,
    /// The metadata service did not answer before anything was asked of it.
    #[error("nothing was deleted: the metadata service does not answer")]
    NotStarted(#[source] MetadataError),
    /// The metadata service refused it, or its outcome is unknown.
    #[error("topic was not deleted")]
    Refused(#[source] DeleteTopicError),
}

/// Why settings are not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigsRefusal {
    /// No topic can have this name.
    #[error("topic name is not valid")]
    InvalidName(#[source] TopicNameError),
    /// No topic has this name, currently (R1).
    #[error("topic does not exist")]
    UnknownTopic,
    /// Whether it exists could not be found out.
    #[error("whether the topic exists is not known now")]
    NotAnswered(#[source] MetadataError),
    /// Brokers are named by number.
    #[error("broker id must be an integer")]
    NotABroker,
    /// Another broker knows its own settings.
    #[error("this is broker {here}: ask broker {asked} itself")]
    OtherBroker {
        /// Who answers.
        here: i32,
        /// Who was asked for.
        asked: i32,
    },
    /// Resources of this type have no settings here.
    #[error("resource type {code} has no configs")]
    ResourceType {
        /// Kafka's number of the type.
        code: i8,
    },
    /// Resources of this type cannot be listed, in Kafka neither.
    #[error("resource type {code} cannot be listed")]
    UnlistedType {
        /// Kafka's number of the type.
        code: i8,
    },
}

/// Why settings were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AlterConfigsRefusal {
    /// The request names the resource more than once.
    #[error("each resource must appear at most once")]
    RepeatedResource,
    /// The resource names a setting more than once.
    #[error("each config key must appear at most once")]
    RepeatedKey,
    /// Not set, delete, append or subtract.
    #[error("config operation {code} is not known")]
    Operation {
        /// Kafka's number of the operation.
        code: i8,
    },
    /// Only a deletion goes without a value.
    #[error("null value is not supported for config {name}")]
    NullValue {
        /// What the client wrote, cut to a sane length.
        name: ShownText,
    },
    /// No topic can have this name.
    #[error("topic name is not valid")]
    InvalidName(#[source] TopicNameError),
    /// Settings of all topics at once are those of the brokers.
    #[error("default topic resources are not allowed")]
    DefaultTopic,
    /// No topic has this name, currently (R1).
    #[error("topic does not exist")]
    UnknownTopic,
    /// Topics have no such setting.
    #[error("unknown topic config name: {name}")]
    UnknownKey {
        /// What the client wrote, cut to a sane length.
        name: ShownText,
    },
    /// Append and subtract are for lists.
    #[error("cannot append to or subtract from config {name}: its type is not LIST")]
    NotAList {
        /// The setting.
        name: &'static str,
    },
    /// A setting with a value that it cannot have.
    #[error("invalid value for configuration {name}")]
    InvalidValue {
        /// The setting.
        name: &'static str,
        /// What is wrong with the value.
        #[source]
        source: ConfigError,
    },
    /// Settings that exclude each other.
    #[error("topic configs contradict each other")]
    Conflict(#[source] ConfigError),
    /// Brokers are named by number.
    #[error("broker id must be an integer")]
    NotABroker,
    /// Another broker knows its own settings.
    #[error("ask broker {asked} itself")]
    OtherBroker {
        /// Who was asked for.
        asked: i32,
    },
    /// All but the defaults of topics is configured at a broker's start.
    #[error("config {name} cannot be changed while the broker runs: set it at its start")]
    Static {
        /// What the client wrote, cut to a sane length.
        name: ShownText,
    },
    /// A setting of brokers with a value that it cannot have.
    #[error("invalid value for broker configuration {name}")]
    InvalidBrokerValue {
        /// The setting.
        name: &'static str,
        /// What is wrong with the value.
        #[source]
        source: ConfigError,
    },
    /// Settings of brokers that exclude each other.
    #[error("broker configs contradict each other")]
    BrokerConflict(#[source] ConfigError),
    /// Brokers have no such setting.
    #[error("unknown broker config name: {name}")]
    UnknownBrokerKey {
        /// What the client wrote, cut to a sane length.
        name: ShownText,
    },
    /// Resources of this type have no settings here.
    #[error("resource type {code} has no configs")]
    ResourceType {
        /// Kafka's number of the type.
        code: i8,
    },
    /// The metadata service did not answer before anything was asked of it.
    #[error("nothing was changed: the metadata service does not answer")]
    NotStarted(#[source] MetadataError),
    /// The metadata service refused it, or its outcome is unknown.
    #[error("configs were not changed")]
    Refused(#[source] AlterTopicError),
    /// The metadata service refused a change of brokers, or its outcome is unknown.
    #[error("configs of the broker were not changed")]
    BrokerRefused(#[source] AlterBrokerError),
}

/// Why a topic did not get more partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PartitionsRefusal {
    /// The request names it more than once.
    #[error("topic is named more than once")]
    Repeated,
    /// No topic has this name, currently (R1).
    #[error("topic does not exist")]
    UnknownTopic,
    /// Zero or less.
    #[error("partition count must be at least 1")]
    PartitionCount,
    /// Not one assignment for each partition that is added.
    #[error("{added} partitions would be added, but {assigned} are assigned")]
    AssignmentCount {
        /// Partitions that would be added.
        added: u32,
        /// Partitions that are assigned.
        assigned: usize,
    },
    /// A partition on no broker, on one twice, or on a negative one.
    #[error("each assigned partition needs brokers, each once")]
    AssignmentBrokers,
    /// The metadata service did not answer before anything was asked of it.
    #[error("nothing was changed: the metadata service does not answer")]
    NotStarted(#[source] MetadataError),
    /// The metadata service refused it, or its outcome is unknown.
    #[error("no partitions were added")]
    Refused(#[source] AlterTopicError),
}

/// Why records of a partition were not deleted. There is no place for words in the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordsRefusal {
    /// The topic or partition does not exist, currently (R1).
    #[error("topic or partition does not exist")]
    UnknownPartition,
    /// Below -1.
    #[error("offset is negative")]
    NegativeOffset,
    /// Its topic's policy is compaction alone.
    #[error("records cannot be deleted: the topic's cleanup.policy has no delete")]
    Compacted,
    /// The metadata service refused it, or its outcome is unknown.
    #[error("records were not deleted")]
    Refused(#[source] DeleteRecordsError),
}

/// Why it is not said where a leader epoch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EpochRefusal {
    /// The topic or partition does not exist, currently (R1).
    #[error("topic or partition does not exist")]
    UnknownPartition,
    /// The client's leader epoch is older.
    #[error("leader epoch of the client is older")]
    OlderLeader,
    /// The client's leader epoch is newer.
    #[error("leader epoch of the client is newer")]
    NewerLeader,
    /// The log's end could not be found out.
    #[error("end of the log is not known now")]
    NotAnswered(#[source] LogIndexError),
}

/// Why the producers of a partition are not described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProducersRefusal {
    /// The topic or partition does not exist, currently (R1).
    #[error("topic or partition does not exist")]
    UnknownPartition,
    /// Whether it exists could not be found out.
    #[error("whether the topic exists is not known now")]
    NotConfirmed(#[source] MetadataError),
    /// The answer is full.
    #[error("an answer describes at most {DESCRIBED_PRODUCERS_MAX} producers: ask for fewer")]
    TooMany,
    /// The sequencer did not answer.
    #[error("producers are not known now")]
    NotAnswered(#[source] LogIndexError),
}

/// Why no leader is elected and no replica moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlacementRefusal {
    /// The topic or partition does not exist, currently (R1).
    #[error("topic or partition does not exist")]
    UnknownPartition,
    /// Whether it exists could not be found out.
    #[error("whether the topic exists is not known now")]
    NotAnswered(#[source] MetadataError),
    /// Neither preferred nor unclean.
    #[error("election type {code} is not known")]
    ElectionType {
        /// Kafka's number of the type.
        code: i8,
    },
    /// The preferred leader leads, always.
    #[error("leader election not needed for topic partition")]
    ElectionNotNeeded,
    /// There is none to cancel.
    #[error("no partition reassignment is in progress")]
    NoReassignment,
    /// Replicas follow from the set of brokers.
    #[error("replicas cannot be assigned: the bucket holds the records, any broker can lead")]
    NotMovable,
}

/// Why no quorum is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QuorumRefusal {
    /// Only partition 0 of `__cluster_metadata` has one.
    #[error("only partition 0 of __cluster_metadata has a quorum")]
    UnknownPartition,
    /// The metadata service did not answer.
    #[error("metadata service does not answer")]
    NotAnswered(#[source] MetadataError),
}

/// What does not exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Absent {
    /// Nobody checks rights.
    #[error("no authorizer is configured on the broker")]
    Authorizer,
    /// No user has credentials.
    #[error("attempt to describe a user credential that does not exist")]
    User,
    /// There are no transactions.
    #[error("transactional id does not exist")]
    Transaction,
}

/// Why no coordinator is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CoordinatorRefusal {
    /// Transactions are not served.
    #[error("transactions are not supported")]
    Transactions,
    /// Keys of this type have no coordinator here.
    #[error("coordinator keys of type {code} are not supported")]
    KeyType {
        /// Kafka's number of the type.
        code: i8,
    },
}

/// Why a call to the group coordinator failed, as a whole or for one member or partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GroupRefusal {
    /// The coordinator says no.
    #[error("refused by the group coordinator")]
    Refused(#[source] GroupError),
    /// The coordinator did not answer.
    #[error("group coordinator does not answer")]
    NotAnswered(#[source] MetadataError),
    /// The answer does not belong to the question: a bug of ours.
    #[error("group coordinator gave an answer to another question")]
    WrongAnswer,
    /// SyncGroup from version 5 on must say which protocol it is about.
    #[error("protocol type and name must be given")]
    ProtocolMissing,
    /// The topic or partition does not exist, currently (R1).
    #[error("topic or partition does not exist")]
    UnknownPartition,
    /// No such group; told from DescribeGroups version 6 on, "Dead" before.
    #[error("group does not exist")]
    UnknownGroup,
}

/// Why no producer id is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProducerRefusal {
    /// Transactions are not served.
    #[error("transactions are not supported")]
    Transactions,
    /// An empty transactional id.
    #[error("transactional id is empty")]
    EmptyTransactionalId,
    /// The metadata service did not answer.
    #[error("no producer id could be had")]
    NotAnswered(#[source] MetadataError),
}

/// Why the cluster is not described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClusterRefusal {
    /// Asked for controllers at a broker's listener.
    #[error("this listener serves brokers, not controllers")]
    Controllers,
    /// Neither brokers nor controllers.
    #[error("endpoint type {code} is not known")]
    EndpointType {
        /// Kafka's number of the type.
        code: i8,
    },
}

/// Text of a client, cut to a length that may be sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownText(Box<str>);

impl ShownText {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.chars().take(SHOWN_CHARACTERS_MAX).collect())
    }
}

impl std::fmt::Display for ShownText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
