//! CreateTopics, CreatePartitions, Metadata, DeleteTopics.

use esker_kafka::client::{Client, Target};
use esker_kafka::messages::create_partitions_request::CreatePartitionsTopic;
use esker_kafka::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use esker_kafka::messages::metadata_request::MetadataRequestTopic;
use esker_kafka::messages::metadata_response::MetadataResponsePartition;
use esker_kafka::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, MetadataRequest, StrBytes, TopicName,
};

use crate::notes::Notes;

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// Requests until something is taken as never happening.
pub(crate) const TRIES_MAX: usize = 20_000;

/// Name, partitions, replicas, settings.
type Wanted = (
    &'static str,
    i32,
    i16,
    &'static [(&'static str, &'static str)],
);

/// The topics of all other questions, and attempts that fail.
const TOPICS: [Wanted; 9] = [
    ("plain", 3, 1, &[]),
    (
        "set",
        2,
        1,
        &[
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", " 1000000 "),
        ],
    ),
    ("codecs", 5, 1, &[]),
    (
        "appended",
        1,
        1,
        &[("message.timestamp.type", "LogAppendTime")],
    ),
    ("small", 1, 1, &[("max.message.bytes", "200")]),
    ("no-partitions", 0, 1, &[]),
    ("no-replicas", 1, 0, &[]),
    ("bad/name", 1, 1, &[]),
    ("bad-config", 1, 1, &[("segment.ms", "0")]),
];

pub(crate) async fn observe(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    create(client, notes, &TOPICS).await?;
    let again: [Wanted; 3] = [
        ("plain", 1, 1, &[]),
        ("unknown-config", 1, 1, &[("nonsense", "1")]),
        ("defaults", -1, -1, &[]),
    ];
    create(client, notes, &again).await?;
    settle(client, "defaults", 1).await?;
    metadata(client, notes, "after creation").await?;
    add_partitions(client, notes).await?;
    settle(client, "plain", 5).await?;
    metadata(client, notes, "after more partitions").await
}

/// Asks until the topic is seen with so many partitions: Kafka answers a little earlier.
pub(crate) async fn settle(client: &Client, topic: &str, partitions: usize) -> anyhow::Result<()> {
    for _ in 0..TRIES_MAX {
        let seen = client.metadata(Some(&[topic])).await?;
        let seen = seen.topics.first().map(|topic| topic.partitions.len());
        if seen == Some(partitions) {
            return Ok(());
        }
    }
    anyhow::bail!("{topic} is not seen with {partitions} partitions")
}

async fn create(client: &Client, notes: &mut Notes, topics: &[Wanted]) -> anyhow::Result<()> {
    let config = |(key, value): &(&str, &str)| {
        CreatableTopicConfig::default()
            .with_name(text(key))
            .with_value(Some(text(value)))
    };
    let one = |(topic, partitions, replicas, configs): &Wanted| {
        CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(*partitions)
            .with_replication_factor(*replicas)
            .with_configs(configs.iter().map(config).collect())
    };
    let request = CreateTopicsRequest::default()
        .with_topics(topics.iter().map(one).collect())
        .with_timeout_ms(30_000);
    let response = client.request(Target::Any, &request).await?;
    for topic in response.topics {
        let question = format!("CreateTopics {} ({})", topic.name.as_str(), topics.len());
        let shape = (topic.num_partitions, topic.replication_factor);
        let told = topic.error_message.is_some();
        notes.add(&question, (topic.error_code, shape, told));
        for config in topic.configs.into_iter().flatten() {
            let key = config.name;
            let answer = (config.value, config.config_source, config.read_only);
            notes.add(format!("{question} config {key}"), answer);
        }
    }
    Ok(())
}

fn partition(partition: &MetadataResponsePartition) -> String {
    format!(
        "{} error {} leader {} epoch {} replicas {:?} isr {:?} offline {:?}",
        partition.partition_index,
        partition.error_code,
        partition.leader_id.0,
        partition.leader_epoch,
        partition.replica_nodes,
        partition.isr_nodes,
        partition.offline_replicas,
    )
}

async fn metadata(client: &Client, notes: &mut Notes, when: &str) -> anyhow::Result<()> {
    let names = ["plain", "set", "codecs", "defaults", "absent", "bad/name"];
    let one = |topic: &&str| MetadataRequestTopic::default().with_name(Some(name(topic)));
    for version in [4, 8, 9, 12, 13] {
        let question = format!("Metadata {version} {when}");
        let request = MetadataRequest::default()
            .with_topics(Some(names.iter().map(one).collect()))
            .with_include_topic_authorized_operations(version >= 8)
            .with_allow_auto_topic_creation(false);
        let response = client
            .request_at_most(Target::Any, &request, version)
            .await?;
        let brokers: Vec<(i32, bool)> = response
            .brokers
            .iter()
            .map(|broker| (broker.node_id.0, broker.rack.is_some()))
            .collect();
        let controller = response.controller_id.0;
        let named = response.cluster_id.is_some();
        notes.add(
            &question,
            (brokers, controller, named, response.throttle_time_ms),
        );
        for topic in &response.topics {
            let topic_name = topic.name.as_ref().map_or("", |name| name.as_str());
            let has_id = !topic.topic_id.is_nil();
            let operations = topic.topic_authorized_operations;
            let mut partitions: Vec<String> = topic.partitions.iter().map(partition).collect();
            partitions.sort_unstable();
            let answer = (
                topic.error_code,
                topic.is_internal,
                has_id,
                operations,
                partitions,
            );
            notes.add(format!("{question} {topic_name}"), answer);
        }
    }
    Ok(())
}

async fn add_partitions(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    let attempts = [
        ("plain", 2, false),
        ("plain", 3, false),
        ("plain", 0, false),
        ("plain", 9, true),
        ("plain", 5, false),
        ("absent", 5, false),
    ];
    for (topic, count, validate_only) in attempts {
        let wanted = CreatePartitionsTopic::default()
            .with_name(name(topic))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![wanted])
            .with_timeout_ms(30_000)
            .with_validate_only(validate_only);
        let response = client.request(Target::Any, &request).await?;
        for result in response.results {
            let question = format!("CreatePartitions {topic} {count} check {validate_only}");
            notes.add(
                question,
                (result.error_code, result.error_message.is_some()),
            );
        }
    }
    Ok(())
}
