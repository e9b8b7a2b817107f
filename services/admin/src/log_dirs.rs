//! DescribeLogDirs: how large partitions are, for the size columns of tools.
//!
//! There is one "log dir", the bucket. Every process sees all of it; each tells of the partitions
//! that it is a replica of, so that sums over brokers are what they are in Kafka.

use std::collections::BTreeMap;

use esker_kafka::messages::describe_log_dirs_request::DescribableLogDirTopic;
use esker_kafka::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use esker_kafka::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, StrBytes, TopicName as WireName,
};
use esker_metadata_api::{Topic, TopicTable};
use esker_types::{PartitionIndex, TopicPartition};

use crate::front::Front;
use crate::placement;
use crate::reply;

/// What the bucket is called where Kafka names a directory.
const BUCKET: &str = "/bucket";
/// "Not known": a bucket has no size.
const UNKNOWN_BYTES: i64 = -1;

pub(crate) async fn answer(
    front: &Front,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let bytes = match front.catalogue.log_bytes().await {
        Ok(bytes) => bytes,
        Err(error) => {
            let code = reply::log_dirs(error).code();
            return DescribeLogDirsResponse::default()
                .with_error_code(code)
                .with_results(vec![bucket().with_error_code(code)]);
        }
    };
    let table = front.catalogue.cached();
    let topics = match &request.topics {
        None => all(front, &table, &bytes),
        Some(asked) => some(front, &table, asked, &bytes),
    };
    DescribeLogDirsResponse::default().with_results(vec![bucket().with_topics(topics)])
}

fn bucket() -> DescribeLogDirsResult {
    DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_static_str(BUCKET))
        .with_total_bytes(UNKNOWN_BYTES)
        .with_usable_bytes(UNKNOWN_BYTES)
}

fn all(
    front: &Front,
    table: &TopicTable,
    bytes: &BTreeMap<TopicPartition, u64>,
) -> Vec<DescribeLogDirsTopic> {
    let one = |topic: &std::sync::Arc<Topic>| {
        let indexes = (0..topic.partition_count.get()).filter_map(PartitionIndex::new);
        described(front, topic, indexes, bytes)
    };
    table.iter().filter_map(one).collect()
}

/// What does not exist is left out, as in Kafka.
fn some(
    front: &Front,
    table: &TopicTable,
    asked: &[DescribableLogDirTopic],
    bytes: &BTreeMap<TopicPartition, u64>,
) -> Vec<DescribeLogDirsTopic> {
    let one = |asked: &DescribableLogDirTopic| {
        let topic = table.named(&asked.topic)?;
        let indexes = asked.partitions.iter().copied();
        let indexes = indexes.filter_map(PartitionIndex::from_wire);
        let indexes = indexes.filter(|index| topic.has(*index));
        described(front, topic, indexes, bytes)
    };
    asked.iter().filter_map(one).collect()
}

fn described(
    front: &Front,
    topic: &Topic,
    indexes: impl Iterator<Item = PartitionIndex>,
    bytes: &BTreeMap<TopicPartition, u64>,
) -> Option<DescribeLogDirsTopic> {
    let here = placement::id(front.brokers.here());
    let factor = topic.replication_factor;
    let ours = indexes.filter(|index| {
        let replicas = front.brokers.replicas(topic.id, *index, factor);
        replicas.contains(&here)
    });
    let one = |index: PartitionIndex| {
        let size = bytes.get(&topic.at(index)).copied().unwrap_or(0);
        DescribeLogDirsPartition::default()
            .with_partition_index(index.to_wire())
            .with_partition_size(i64::try_from(size).unwrap_or(i64::MAX))
    };
    let partitions: Vec<_> = ours.map(one).collect();
    (!partitions.is_empty()).then(|| {
        DescribeLogDirsTopic::default()
            .with_name(WireName(StrBytes::from_string(topic.name.to_string())))
            .with_partitions(partitions)
    })
}
