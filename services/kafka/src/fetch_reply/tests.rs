//! The hand-written Fetch response is byte for byte the codec's, in every version.

use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction as CodecAborted, FetchableTopicResponse, PartitionData,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::encode::encode_response;
use crate::request::Response;
use crate::versions::Api;

fn partition() -> impl Strategy<Value = FetchPartitionReply> {
    let aborted =
        (any::<i64>(), any::<i64>()).prop_map(|(producer_id, first_offset)| AbortedTransaction {
            producer_id,
            first_offset,
        });
    let slice = prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    let error = prop::sample::select(KafkaError::ALL.to_vec());
    (
        any::<i32>(),
        error,
        any::<[i64; 3]>(),
        prop::option::of(prop::collection::vec(aborted, 0..4)),
        any::<i32>(),
        prop::collection::vec(slice, 0..4),
    )
        .prop_map(
            |(partition, error, offsets, aborted_transactions, replica, records)| {
                FetchPartitionReply {
                    partition,
                    error,
                    high_watermark: offsets[0],
                    last_stable_offset: offsets[1],
                    log_start_offset: offsets[2],
                    aborted_transactions,
                    preferred_read_replica: replica,
                    records,
                }
            },
        )
}

fn reply() -> impl Strategy<Value = FetchReply> {
    let topic = (
        "[a-z]{1,200}",
        any::<[u8; 16]>(),
        prop::collection::vec(partition(), 0..4),
    )
        .prop_map(|(topic, id, partitions)| FetchTopicReply {
            topic: StrBytes::from_string(topic),
            topic_id: TopicId::from_bytes(id),
            partitions,
        });
    let error = prop::sample::select(KafkaError::ALL.to_vec());
    (
        0..100_000_u64,
        error,
        any::<i32>(),
        prop::collection::vec(topic, 0..130),
    )
        .prop_map(|(throttle, error, session_id, topics)| FetchReply {
            throttle: Duration::from_millis(throttle),
            error,
            session_id,
            topics,
        })
}

/// The same reply for the codec, with only the fields that `version` has.
fn for_codec(reply: &FetchReply, version: i16) -> FetchResponse {
    let topics = reply.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let aborted = partition.aborted_transactions.as_ref().map(|aborted| {
                let convert = |transaction: &AbortedTransaction| {
                    CodecAborted::default()
                        .with_producer_id(transaction.producer_id.into())
                        .with_first_offset(transaction.first_offset)
                };
                aborted.iter().map(convert).collect()
            });
            let replica = if version >= 11 {
                partition.preferred_read_replica
            } else {
                -1
            };
            PartitionData::default()
                .with_partition_index(partition.partition)
                .with_error_code(partition.error.code())
                .with_high_watermark(partition.high_watermark)
                .with_last_stable_offset(partition.last_stable_offset)
                .with_log_start_offset(partition.log_start_offset)
                .with_aborted_transactions(aborted)
                .with_preferred_read_replica(replica.into())
                .with_records(Some(partition.records.concat().into()))
        });
        FetchableTopicResponse::default()
            .with_topic(topic.topic.clone().into())
            .with_topic_id(Uuid::from_bytes(topic.topic_id.bytes()))
            .with_partitions(partitions.collect())
    });
    let response = FetchResponse::default()
        .with_throttle_time_ms(milliseconds(reply.throttle))
        .with_responses(topics.collect());
    if version < 7 {
        return response;
    }
    response
        .with_error_code(reply.error.code())
        .with_session_id(reply.session_id)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn bytes_are_the_codecs_in_every_version(reply in reply(), correlation_id: i32) {
        for version in Api::Fetch.served().min..=Api::Fetch.served().max {
            let ours = reply.encode(version, correlation_id).concat();
            let response = Response::Fetch(for_codec(&reply, version));
            let theirs = encode_response(&response, version, correlation_id).unwrap();
            prop_assert!(ours == theirs, "version {}", version);
        }
    }
}

#[test]
fn records_are_shared_not_copied() {
    let records = Bytes::from(vec![7; 1000]);
    let mut reply = FetchReply::failed(KafkaError::None);
    reply.topics.push(FetchTopicReply {
        topic: StrBytes::from_static_str("t"),
        topic_id: TopicId::from_bytes([1; 16]),
        partitions: vec![FetchPartitionReply {
            partition: 0,
            error: KafkaError::None,
            high_watermark: 1,
            last_stable_offset: 1,
            log_start_offset: 0,
            aborted_transactions: None,
            preferred_read_replica: -1,
            records: vec![records.slice(..500), records.slice(500..)],
        }],
    });

    let frame = reply.encode(17, 1);

    let shared = |slice: &Bytes| records.as_ptr_range().contains(&slice.as_ptr());
    assert_eq!(frame.iter().filter(|slice| shared(slice)).count(), 2);
}
