//! The last stage: answers in Kafka's words. The only place with Kafka's error codes.
//!
//! Chosen by what clients do with them: 1 resets a client's position, so it is said only when it is
//! certain; whatever passes is retriable; -1 is never said.

use std::time::Duration;

use esker_kafka::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use esker_kafka::messages::{ListOffsetsResponse, TopicName};
use esker_kafka::{FetchPartitionReply, FetchReply, FetchTopicReply, KafkaError};
use esker_types::LeaderEpoch;

use crate::admit::{AdmittedFetch, Isolation, Refusal, RequestRefusal, TopicNaming};
use crate::error::ReadError;
use crate::list_offsets::{AskedTopic, OffsetAnswer};
use crate::pipeline::{Part, Served};

/// First ListOffsets whose clients know OFFSET_NOT_AVAILABLE.
const NOT_AVAILABLE_FROM: i16 = 5;
/// First ListOffsets with leader epochs.
const LEADER_EPOCH_FROM: i16 = 4;
/// "None" where the wire has an offset, a timestamp or an epoch.
const NONE: i64 = -1;

fn request_code(refusal: RequestRefusal) -> KafkaError {
    match refusal {
        RequestRefusal::UnknownSession => KafkaError::FetchSessionIdNotFound,
        RequestRefusal::TooManyPartitions => KafkaError::InvalidRequest,
    }
}

fn refusal_code(refusal: Refusal) -> KafkaError {
    match refusal {
        Refusal::UnknownTopic | Refusal::UnknownPartition => KafkaError::UnknownTopicOrPartition,
        Refusal::UnknownTopicId => KafkaError::UnknownTopicId,
        Refusal::OlderLeaderEpoch => KafkaError::FencedLeaderEpoch,
        Refusal::NewerLeaderEpoch => KafkaError::UnknownLeaderEpoch,
        Refusal::NegativeOffset => KafkaError::OffsetOutOfRange,
        Refusal::NamedTwice => KafkaError::InvalidRequest,
        Refusal::UnknownQuery => KafkaError::UnsupportedVersion,
        Refusal::Metadata(_) => KafkaError::KafkaStorageError,
    }
}

fn fetch_code(error: ReadError, naming: TopicNaming) -> KafkaError {
    match (error, naming) {
        (ReadError::UnknownPartition, TopicNaming::ByName) => KafkaError::UnknownTopicOrPartition,
        (ReadError::UnknownPartition, TopicNaming::ById) => KafkaError::UnknownTopicId,
        (ReadError::OutOfRange { .. }, _) => KafkaError::OffsetOutOfRange,
        // Java's consumer knows no time-out here.
        (ReadError::NotVisible | ReadError::NotDecided | ReadError::TimedOut, _) => {
            KafkaError::OffsetNotAvailable
        }
        (ReadError::Unreadable { .. } | ReadError::Metadata(_), _) => KafkaError::KafkaStorageError,
    }
}

fn query_code(error: ReadError, version: i16) -> KafkaError {
    match error {
        ReadError::UnknownPartition => KafkaError::UnknownTopicOrPartition,
        ReadError::NotVisible | ReadError::NotDecided | ReadError::OutOfRange { .. } => {
            match version >= NOT_AVAILABLE_FROM {
                true => KafkaError::OffsetNotAvailable,
                false => KafkaError::LeaderNotAvailable,
            }
        }
        ReadError::TimedOut => KafkaError::RequestTimedOut,
        ReadError::Unreadable { .. } | ReadError::Metadata(_) => KafkaError::KafkaStorageError,
    }
}

fn failed(partition: i32, error: KafkaError) -> FetchPartitionReply {
    FetchPartitionReply {
        partition,
        error,
        high_watermark: NONE,
        last_stable_offset: NONE,
        log_start_offset: NONE,
        aborted_transactions: None,
        preferred_read_replica: -1,
        records: Vec::new(),
    }
}

fn found(partition: i32, part: &mut Part, isolation: Isolation) -> FetchPartitionReply {
    let high_watermark = part.marks.high_watermark.to_wire();
    FetchPartitionReply {
        partition,
        error: KafkaError::None,
        high_watermark,
        // Without transactions all that is visible is stable.
        last_stable_offset: high_watermark,
        log_start_offset: part.marks.log_start.to_wire(),
        aborted_transactions: match isolation {
            Isolation::ReadUncommitted => None,
            Isolation::ReadCommitted => Some(Vec::new()),
        },
        preferred_read_replica: -1,
        records: std::mem::take(&mut part.records),
    }
}

/// A refused fetch.
pub(crate) fn refused_fetch(refusal: RequestRefusal) -> FetchReply {
    FetchReply::failed(request_code(refusal))
}

/// Every requested partition and no other, in the request's order.
pub(crate) fn fetch_reply(admitted: AdmittedFetch, mut served: Served) -> FetchReply {
    let (isolation, naming) = (admitted.isolation, admitted.naming);
    let elsewhere = admitted.job.elsewhere;
    let mut partition_reply = |index: i32, intent: Result<usize, Refusal>| {
        let place = match intent {
            Ok(place) => place,
            Err(refusal) => return failed(index, refusal_code(refusal)),
        };
        match served.parts.get_mut(place) {
            Some(Ok(part)) => FetchPartitionReply {
                preferred_read_replica: elsewhere.get(&place).copied().unwrap_or(-1),
                ..found(index, part, isolation)
            },
            Some(Err(error)) => failed(index, fetch_code(*error, naming)),
            // A bug of ours: retriable, never an empty success.
            None => failed(index, KafkaError::KafkaStorageError),
        }
    };
    let topics = admitted.topics.into_iter().map(|topic| FetchTopicReply {
        topic: topic.name,
        topic_id: topic.id,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| partition_reply(partition.index, partition.intent))
            .collect(),
    });
    FetchReply {
        throttle: Duration::ZERO,
        error: KafkaError::None,
        session_id: 0,
        topics: topics.collect(),
    }
}

/// A refused ListOffsets has no place for an error but its partitions.
pub(crate) fn refused_list_offsets(
    refusal: RequestRefusal,
    topics: Vec<(TopicName, Vec<i32>)>,
) -> ListOffsetsResponse {
    let error = request_code(refusal);
    let topics = topics.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|index| no_offset(index, error));
        ListOffsetsTopicResponse::default()
            .with_name(name)
            .with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn no_offset(partition: i32, error: KafkaError) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default()
        .with_partition_index(partition)
        .with_error_code(error.code())
        .with_timestamp(NONE)
        .with_offset(NONE)
        .with_leader_epoch(-1)
}

fn listed(partition: i32, answer: OffsetAnswer, version: i16) -> ListOffsetsPartitionResponse {
    let found = match answer {
        OffsetAnswer::Refused(refusal) => return no_offset(partition, refusal_code(refusal)),
        OffsetAnswer::Failed(error) => return no_offset(partition, query_code(error, version)),
        OffsetAnswer::Nothing => return no_offset(partition, KafkaError::None),
        OffsetAnswer::Found(found) => found,
    };
    let reply = no_offset(partition, KafkaError::None)
        .with_timestamp(found.timestamp.millis())
        .with_offset(found.offset.to_wire());
    match version >= LEADER_EPOCH_FROM {
        true => reply.with_leader_epoch(LeaderEpoch::CONSTANT.to_wire()),
        false => reply,
    }
}

/// One answer per asked partition, in the request's order.
pub(crate) fn list_offsets_reply(version: i16, topics: Vec<AskedTopic>) -> ListOffsetsResponse {
    let topics = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter();
        let partitions = partitions.map(|(index, answer)| listed(index, answer, version));
        ListOffsetsTopicResponse::default()
            .with_name(topic.name)
            .with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

#[cfg(test)]
mod tests;
