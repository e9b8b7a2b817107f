//! Facts to Kafka's error codes: the only file that knows any of them.
//!
//! Every match is exhaustive, so a new fact must be decided here. What clients can bear:
//! trouble of the metadata service is retriable; "unknown outcome" is never told as a failure that
//! is final, nor as one that surely did nothing; -1 does not occur.

use std::error::Error;

use esker_kafka::KafkaError;
use esker_kafka::messages::StrBytes;
use esker_metadata_api::{
    AlterBrokerError, AlterTopicError, CreateTopicError, DeleteRecordsError, DeleteTopicError,
    GroupError, LogIndexError, MetadataError,
};

use crate::error::{
    Absent, AlterConfigsRefusal, ClusterRefusal, ConfigsRefusal, CoordinatorRefusal,
    CreationRefusal, DeletionRefusal, EpochRefusal, GroupRefusal, PartitionsRefusal,
    PlacementRefusal, ProducerRefusal, ProducersRefusal, QuorumRefusal, RecordsRefusal,
    TopicRefusal,
};

/// What a success is told as.
pub(crate) const SUCCESS: i16 = KafkaError::None.code();

/// Of one topic in Metadata and DescribeTopicPartitions.
pub(crate) fn topic(refusal: &TopicRefusal) -> KafkaError {
    match refusal {
        TopicRefusal::InvalidName(_) => KafkaError::InvalidTopicException,
        TopicRefusal::UnknownName => KafkaError::UnknownTopicOrPartition,
        TopicRefusal::UnknownId => KafkaError::UnknownTopicId,
        TopicRefusal::NameMissing | TopicRefusal::InvalidCursor => KafkaError::InvalidRequest,
        TopicRefusal::NotCreated(error) => auto_creation(error),
        TopicRefusal::NotAnswered(error) => topic_unanswered(*error),
    }
}

fn auto_creation(error: &CreateTopicError) -> KafkaError {
    match error {
        // Another client was first, and the topic is not seen here yet.
        CreateTopicError::Exists => KafkaError::LeaderNotAvailable,
        CreateTopicError::Collides { .. } => KafkaError::InvalidTopicException,
        // Asking again would not help, and 3 would make clients do so.
        CreateTopicError::TooManyPartitions | CreateTopicError::TooManyTopics => {
            KafkaError::PolicyViolation
        }
        CreateTopicError::Metadata(error) => topic_unanswered(*error),
    }
}

/// Clients refresh and ask again.
fn topic_unanswered(error: MetadataError) -> KafkaError {
    match error {
        MetadataError::Recovering
        | MetadataError::Unavailable
        | MetadataError::Unknown
        | MetadataError::Deposed
        | MetadataError::Overloaded => KafkaError::LeaderNotAvailable,
    }
}

/// Of one topic in CreateTopics.
pub(crate) fn creation(refusal: &CreationRefusal) -> KafkaError {
    match refusal {
        CreationRefusal::Repeated
        | CreationRefusal::CountWithAssignments
        | CreationRefusal::FactorWithAssignments => KafkaError::InvalidRequest,
        CreationRefusal::InvalidName(_) | CreationRefusal::ReservedName => {
            KafkaError::InvalidTopicException
        }
        CreationRefusal::PartitionCount | CreationRefusal::TooManyPartitions => {
            KafkaError::InvalidPartitions
        }
        CreationRefusal::ReplicationFactor => KafkaError::InvalidReplicationFactor,
        CreationRefusal::AssignmentGap
        | CreationRefusal::AssignmentBrokers
        | CreationRefusal::AssignmentUneven => KafkaError::InvalidReplicaAssignment,
        CreationRefusal::UnknownConfig { .. }
        | CreationRefusal::NullConfig { .. }
        | CreationRefusal::InvalidConfig { .. }
        | CreationRefusal::ConfigConflict(_) => KafkaError::InvalidConfig,
        CreationRefusal::Exists { .. } => KafkaError::TopicAlreadyExists,
        CreationRefusal::NotStarted(error) => change_not_started(*error),
        CreationRefusal::Refused(error) => match error {
            CreateTopicError::Exists => KafkaError::TopicAlreadyExists,
            CreateTopicError::Collides { .. } => KafkaError::InvalidTopicException,
            CreateTopicError::TooManyPartitions => KafkaError::InvalidPartitions,
            CreateTopicError::TooManyTopics => KafkaError::PolicyViolation,
            CreateTopicError::Metadata(error) => change_unanswered(*error),
        },
    }
}

/// Of one topic in DeleteTopics.
pub(crate) fn deletion(refusal: DeletionRefusal) -> KafkaError {
    match refusal {
        DeletionRefusal::Unnamed | DeletionRefusal::TwiceNamed | DeletionRefusal::Repeated => {
            KafkaError::InvalidRequest
        }
        DeletionRefusal::UnknownName => KafkaError::UnknownTopicOrPartition,
        DeletionRefusal::UnknownId => KafkaError::UnknownTopicId,
        DeletionRefusal::NotStarted(error) => change_not_started(error),
        DeletionRefusal::Refused(error) => match error {
            DeleteTopicError::Unknown => KafkaError::UnknownTopicOrPartition,
            DeleteTopicError::Metadata(error) => change_unanswered(error),
        },
    }
}

/// No topic of the request was touched. 41 makes Java, sarama and kafkajs look for the leader and
/// send the whole request again, so it must not stand beside a success; a deadline that has passed
/// is told as such.
fn change_not_started(error: MetadataError) -> KafkaError {
    match error {
        MetadataError::Recovering
        | MetadataError::Unavailable
        | MetadataError::Deposed
        | MetadataError::Overloaded => KafkaError::NotController,
        MetadataError::Unknown => KafkaError::RequestTimedOut,
    }
}

/// Some topics of the request may be changed: "it may still happen" is all that can be said.
fn change_unanswered(error: MetadataError) -> KafkaError {
    match error {
        MetadataError::Recovering
        | MetadataError::Unavailable
        | MetadataError::Unknown
        | MetadataError::Deposed
        | MetadataError::Overloaded => KafkaError::RequestTimedOut,
    }
}

fn alteration(error: AlterTopicError) -> KafkaError {
    match error {
        AlterTopicError::Unknown => KafkaError::UnknownTopicOrPartition,
        AlterTopicError::NotMore { .. } | AlterTopicError::TooManyPartitions => {
            KafkaError::InvalidPartitions
        }
        AlterTopicError::Changed => KafkaError::RequestTimedOut,
        AlterTopicError::Metadata(error) => change_unanswered(error),
    }
}

/// Of one topic in CreatePartitions.
pub(crate) fn partitions(refusal: PartitionsRefusal) -> KafkaError {
    match refusal {
        PartitionsRefusal::Repeated => KafkaError::InvalidRequest,
        PartitionsRefusal::UnknownTopic => KafkaError::UnknownTopicOrPartition,
        PartitionsRefusal::PartitionCount => KafkaError::InvalidPartitions,
        PartitionsRefusal::AssignmentCount { .. } | PartitionsRefusal::AssignmentBrokers => {
            KafkaError::InvalidReplicaAssignment
        }
        PartitionsRefusal::NotStarted(error) => change_not_started(error),
        PartitionsRefusal::Refused(error) => alteration(error),
    }
}

/// Of one resource in AlterConfigs and IncrementalAlterConfigs.
pub(crate) fn alter_configs(refusal: &AlterConfigsRefusal) -> KafkaError {
    match refusal {
        AlterConfigsRefusal::RepeatedResource
        | AlterConfigsRefusal::RepeatedKey
        | AlterConfigsRefusal::Operation { .. }
        | AlterConfigsRefusal::NullValue { .. }
        | AlterConfigsRefusal::DefaultTopic
        | AlterConfigsRefusal::NotABroker
        | AlterConfigsRefusal::OtherBroker { .. }
        | AlterConfigsRefusal::Static { .. }
        // Values of topics are told with a code of their own, those of brokers are not.
        | AlterConfigsRefusal::InvalidBrokerValue { .. }
        | AlterConfigsRefusal::BrokerConflict(_)
        | AlterConfigsRefusal::ResourceType { .. } => KafkaError::InvalidRequest,
        AlterConfigsRefusal::InvalidName(_) => KafkaError::InvalidTopicException,
        AlterConfigsRefusal::UnknownTopic => KafkaError::UnknownTopicOrPartition,
        AlterConfigsRefusal::UnknownKey { .. }
        | AlterConfigsRefusal::UnknownBrokerKey { .. }
        | AlterConfigsRefusal::NotAList { .. }
        | AlterConfigsRefusal::InvalidValue { .. }
        | AlterConfigsRefusal::Conflict(_) => KafkaError::InvalidConfig,
        AlterConfigsRefusal::NotStarted(error) => change_not_started(*error),
        AlterConfigsRefusal::Refused(error) => alteration(*error),
        AlterConfigsRefusal::BrokerRefused(error) => match error {
            AlterBrokerError::Changed => KafkaError::RequestTimedOut,
            AlterBrokerError::TooManyBrokers => KafkaError::PolicyViolation,
            AlterBrokerError::Metadata(error) => change_unanswered(*error),
        },
    }
}

/// Of one partition in DeleteRecords: admin clients ask again on 6 and 7.
pub(crate) fn records(refusal: RecordsRefusal) -> KafkaError {
    match refusal {
        RecordsRefusal::UnknownPartition => KafkaError::UnknownTopicOrPartition,
        RecordsRefusal::NegativeOffset => KafkaError::OffsetOutOfRange,
        RecordsRefusal::Compacted => KafkaError::PolicyViolation,
        RecordsRefusal::Refused(error) => match error {
            DeleteRecordsError::UnknownPartition => KafkaError::UnknownTopicOrPartition,
            DeleteRecordsError::OutOfRange { .. } => KafkaError::OffsetOutOfRange,
            DeleteRecordsError::NotDecided => KafkaError::RequestTimedOut,
            DeleteRecordsError::Metadata(error) => change_unanswered(error),
        },
    }
}

/// Of one partition in OffsetForLeaderEpoch.
pub(crate) fn leader_epoch(refusal: EpochRefusal) -> KafkaError {
    match refusal {
        EpochRefusal::UnknownPartition => KafkaError::UnknownTopicOrPartition,
        EpochRefusal::OlderLeader => KafkaError::FencedLeaderEpoch,
        EpochRefusal::NewerLeader => KafkaError::UnknownLeaderEpoch,
        EpochRefusal::NotAnswered(error) => match error {
            LogIndexError::UnknownPartition => KafkaError::UnknownTopicOrPartition,
            LogIndexError::NotDecided => KafkaError::OffsetNotAvailable,
            LogIndexError::Metadata(error) => topic_unanswered(error),
        },
    }
}

/// Of one partition in DescribeProducers: admin clients ask again on 3 and 6 only.
pub(crate) fn producers(refusal: ProducersRefusal) -> KafkaError {
    match refusal {
        ProducersRefusal::UnknownPartition => KafkaError::UnknownTopicOrPartition,
        ProducersRefusal::TooMany => KafkaError::PolicyViolation,
        ProducersRefusal::NotConfirmed(error) => producers_unanswered(error),
        ProducersRefusal::NotAnswered(error) => match error {
            LogIndexError::UnknownPartition => KafkaError::UnknownTopicOrPartition,
            LogIndexError::NotDecided => KafkaError::NotLeaderOrFollower,
            LogIndexError::Metadata(error) => producers_unanswered(error),
        },
    }
}

fn producers_unanswered(error: MetadataError) -> KafkaError {
    match error {
        MetadataError::Recovering
        | MetadataError::Unavailable
        | MetadataError::Unknown
        | MetadataError::Deposed
        | MetadataError::Overloaded => KafkaError::NotLeaderOrFollower,
    }
}

/// Of the whole of DescribeLogDirs.
pub(crate) fn log_dirs(error: MetadataError) -> KafkaError {
    change_unanswered(error)
}

/// Of one partition in ElectLeaders and AlterPartitionReassignments.
pub(crate) fn placement(refusal: PlacementRefusal) -> KafkaError {
    match refusal {
        PlacementRefusal::UnknownPartition => KafkaError::UnknownTopicOrPartition,
        PlacementRefusal::NotAnswered(error) => change_not_started(error),
        PlacementRefusal::ElectionType { .. } => KafkaError::InvalidRequest,
        PlacementRefusal::ElectionNotNeeded => KafkaError::ElectionNotNeeded,
        PlacementRefusal::NoReassignment => KafkaError::NoReassignmentInProgress,
        PlacementRefusal::NotMovable => KafkaError::InvalidReplicaAssignment,
    }
}

/// Of DescribeQuorum.
pub(crate) fn quorum(refusal: QuorumRefusal) -> KafkaError {
    match refusal {
        QuorumRefusal::UnknownPartition => KafkaError::UnknownTopicOrPartition,
        QuorumRefusal::NotAnswered(error) => topic_unanswered(error),
    }
}

/// Of what does not exist here.
pub(crate) fn absent(absent: Absent) -> KafkaError {
    match absent {
        Absent::Authorizer => KafkaError::SecurityDisabled,
        Absent::User => KafkaError::ResourceNotFound,
        Absent::Transaction => KafkaError::TransactionalIdNotFound,
    }
}

/// Of one resource in DescribeConfigs, and of the whole of ListConfigResources.
pub(crate) fn configs(refusal: ConfigsRefusal) -> KafkaError {
    match refusal {
        ConfigsRefusal::InvalidName(_) => KafkaError::InvalidTopicException,
        ConfigsRefusal::UnknownTopic => KafkaError::UnknownTopicOrPartition,
        ConfigsRefusal::NotABroker
        | ConfigsRefusal::OtherBroker { .. }
        | ConfigsRefusal::ResourceType { .. } => KafkaError::InvalidRequest,
        ConfigsRefusal::UnlistedType { .. } => KafkaError::UnsupportedVersion,
        ConfigsRefusal::NotAnswered(error) => match error {
            MetadataError::Recovering
            | MetadataError::Unavailable
            | MetadataError::Unknown
            | MetadataError::Deposed
            | MetadataError::Overloaded => KafkaError::RequestTimedOut,
        },
    }
}

/// Of one key in FindCoordinator.
pub(crate) fn coordinator(refusal: CoordinatorRefusal) -> KafkaError {
    match refusal {
        // Final on purpose: retriable codes would let a producer wait for its full time in vain.
        CoordinatorRefusal::Transactions => KafkaError::UnsupportedVersion,
        CoordinatorRefusal::KeyType { .. } => KafkaError::InvalidRequest,
    }
}

/// Of any call to the group coordinator.
pub(crate) fn group(refusal: &GroupRefusal) -> KafkaError {
    match refusal {
        GroupRefusal::Refused(error) => group_error(error),
        GroupRefusal::NotAnswered(error) => group_unanswered(*error),
        GroupRefusal::WrongAnswer => KafkaError::CoordinatorNotAvailable,
        GroupRefusal::ProtocolMissing => KafkaError::InconsistentGroupProtocol,
        GroupRefusal::UnknownPartition => KafkaError::UnknownTopicOrPartition,
        GroupRefusal::UnknownGroup => KafkaError::GroupIdNotFound,
    }
}

fn group_error(error: &GroupError) -> KafkaError {
    match error {
        GroupError::InvalidGroup => KafkaError::InvalidGroupId,
        GroupError::MemberIdRequired { .. } => KafkaError::MemberIdRequired,
        GroupError::UnknownMember => KafkaError::UnknownMemberId,
        GroupError::FencedInstance => KafkaError::FencedInstanceId,
        GroupError::IllegalGeneration => KafkaError::IllegalGeneration,
        GroupError::RebalanceInProgress => KafkaError::RebalanceInProgress,
        GroupError::InconsistentProtocol => KafkaError::InconsistentGroupProtocol,
        GroupError::InvalidSessionTimeout => KafkaError::InvalidSessionTimeout,
        GroupError::GroupFull => KafkaError::GroupMaxSizeReached,
        GroupError::OffsetMetadataTooLarge => KafkaError::OffsetMetadataTooLarge,
        GroupError::UnknownPartition => KafkaError::UnknownTopicOrPartition,
        GroupError::NotEmpty => KafkaError::NonEmptyGroup,
        GroupError::UnknownGroup => KafkaError::GroupIdNotFound,
        GroupError::SubscribedToTopic => KafkaError::GroupSubscribedToTopic,
    }
}

/// 14: wait and ask again here; 15 and 16: look for the coordinator first.
fn group_unanswered(error: MetadataError) -> KafkaError {
    match error {
        MetadataError::Recovering | MetadataError::Overloaded => {
            KafkaError::CoordinatorLoadInProgress
        }
        // As Kafka does when its own write has no outcome in time.
        MetadataError::Unavailable | MetadataError::Unknown => KafkaError::CoordinatorNotAvailable,
        MetadataError::Deposed => KafkaError::NotCoordinator,
    }
}

/// Of InitProducerId.
pub(crate) fn producer(refusal: ProducerRefusal) -> KafkaError {
    match refusal {
        ProducerRefusal::Transactions => KafkaError::UnsupportedVersion,
        ProducerRefusal::EmptyTransactionalId => KafkaError::InvalidRequest,
        // 15 and 16 would send Java to look for the coordinator of a null transactional id.
        ProducerRefusal::NotAnswered(error) => match error {
            MetadataError::Recovering
            | MetadataError::Unavailable
            | MetadataError::Unknown
            | MetadataError::Deposed
            | MetadataError::Overloaded => KafkaError::CoordinatorLoadInProgress,
        },
    }
}

/// Of DescribeCluster.
pub(crate) fn cluster(refusal: ClusterRefusal) -> KafkaError {
    match refusal {
        ClusterRefusal::Controllers => KafkaError::MismatchedEndpointType,
        ClusterRefusal::EndpointType { .. } => KafkaError::UnsupportedEndpointType,
    }
}

/// A refusal in words, causes included.
pub(crate) fn words(refusal: &dyn Error) -> StrBytes {
    let mut words = refusal.to_string();
    let mut cause = refusal.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    StrBytes::from_string(words)
}

#[cfg(test)]
mod tests;
