//! CreateTopics, and the topics that Metadata creates on the way.
//!
//! Each topic is checked here by Kafka's rules before anything is asked of the metadata service;
//! what is told as created is durable. -1 asks for the defaults. Manual assignments count for their
//! number of partitions and replicas only: leaders are placed anew whenever brokers come or go.
//! Nothing is started when no current table can be had, so that "not the controller" (ask again)
//! never stands beside a success.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use esker_kafka::RequestContext;
use esker_kafka::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use esker_kafka::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use esker_kafka::messages::{
    CreateTopicsRequest, CreateTopicsResponse, StrBytes, TopicName as WireName,
};
use esker_metadata_api::configs::{ConfigDefinition, TOPIC_CONFIGS, check_together, topic_config};
use esker_metadata_api::{CreateTopic, CreateTopicError, Topic, TopicName};
use esker_types::MonotonicTime;
use esker_types::limits::PARTITIONS_PER_TOPIC_MAX;
use futures::StreamExt as _;
use uuid::Uuid;

use crate::config::AdminConfig;
use crate::describe_configs::ConfigSource;
use crate::error::{CreationRefusal, ShownText};
use crate::front::Front;
use crate::limits::TOPIC_CHANGES_PARALLEL;
use crate::reply;

/// Topics in which Kafka keeps its own state: clients hide them or treat them specially.
const RESERVED_NAMES: [&str; 4] = [
    "__cluster_metadata",
    "__consumer_offsets",
    "__share_group_state",
    "__transaction_state",
];

/// Whether no topic of users may have this name.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED_NAMES.contains(&name)
}

/// A topic with all defaults.
pub(crate) fn auto_created(name: TopicName, config: &AdminConfig) -> CreateTopic {
    CreateTopic {
        name,
        partition_count: partition_count_default(config),
        replication_factor: config.replication_factor_default.max(1),
        configs: BTreeMap::new(),
        validate_only: false,
    }
}

fn partition_count_default(config: &AdminConfig) -> NonZeroU32 {
    NonZeroU32::new(config.partition_count_default).unwrap_or(NonZeroU32::MIN)
}

pub(crate) async fn answer(
    front: &Front,
    context: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let deadline = front.deadline(context, request.timeout_ms);
    let checked = checked(request.topics, request.validate_only, &front.config);
    let started = if checked.iter().any(|(_, topic)| topic.is_ok()) {
        front.catalogue.current_by(deadline).await.map(drop)
    } else {
        Ok(())
    };
    let one = |(name, topic): (WireName, Result<CreateTopic, CreationRefusal>)| async move {
        let created = match (topic, started) {
            (Err(refusal), _) => Err(refusal),
            (Ok(_), Err(error)) => Err(CreationRefusal::NotStarted(error)),
            (Ok(topic), Ok(())) => create(front, deadline, topic).await,
        };
        result(name, created, front)
    };
    let results = futures::stream::iter(checked)
        .map(one)
        .buffered(TOPIC_CHANGES_PARALLEL);
    CreateTopicsResponse::default().with_topics(results.collect().await)
}

async fn create(
    front: &Front,
    deadline: MonotonicTime,
    topic: CreateTopic,
) -> Result<Arc<Topic>, CreationRefusal> {
    let name = topic.name.clone();
    match front.catalogue.create_by(deadline, topic).await {
        Ok(created) => Ok(created.topic),
        Err(CreateTopicError::Exists) => Err(CreationRefusal::Exists { name }),
        Err(error) => Err(CreationRefusal::Refused(error)),
    }
}

/// Each name once, in the order of the request; one that comes twice is refused.
fn checked(
    topics: Vec<CreatableTopic>,
    validate_only: bool,
    config: &AdminConfig,
) -> Vec<(WireName, Result<CreateTopic, CreationRefusal>)> {
    let mut places: BTreeMap<WireName, usize> = BTreeMap::new();
    let mut checked: Vec<(WireName, Result<CreateTopic, CreationRefusal>)> = Vec::new();
    for topic in topics {
        let name = topic.name.clone();
        match places.get(&name).and_then(|place| checked.get_mut(*place)) {
            Some((_, outcome)) => *outcome = Err(CreationRefusal::Repeated),
            None => {
                places.insert(name.clone(), checked.len());
                checked.push((name, check(topic, validate_only, config)));
            }
        }
    }
    checked
}

fn check(
    topic: CreatableTopic,
    validate_only: bool,
    config: &AdminConfig,
) -> Result<CreateTopic, CreationRefusal> {
    let name = TopicName::new(&topic.name).map_err(CreationRefusal::InvalidName)?;
    if is_reserved(name.as_str()) {
        return Err(CreationRefusal::ReservedName);
    }
    let (partition_count, replication_factor) = if topic.assignments.is_empty() {
        let count = partition_count(topic.num_partitions, config)?;
        (count, replication_factor(topic.replication_factor, config)?)
    } else {
        assigned(&topic)?
    };
    if partition_count.get() > PARTITIONS_PER_TOPIC_MAX {
        return Err(CreationRefusal::TooManyPartitions);
    }
    let configs = configs(topic.configs)?;
    Ok(CreateTopic {
        name,
        partition_count,
        replication_factor,
        configs,
        validate_only,
    })
}

fn partition_count(asked: i32, config: &AdminConfig) -> Result<NonZeroU32, CreationRefusal> {
    if asked == -1 {
        return Ok(partition_count_default(config));
    }
    let count = u32::try_from(asked).ok().and_then(NonZeroU32::new);
    count.ok_or(CreationRefusal::PartitionCount)
}

/// Any factor from 1 on is accepted and shown: the bucket replicates, and Connect asks for 3.
fn replication_factor(asked: i16, config: &AdminConfig) -> Result<u16, CreationRefusal> {
    if asked == -1 {
        return Ok(config.replication_factor_default.max(1));
    }
    let factor = u16::try_from(asked).ok().filter(|factor| *factor > 0);
    factor.ok_or(CreationRefusal::ReplicationFactor)
}

/// Partitions and replicas of a manual assignment.
fn assigned(topic: &CreatableTopic) -> Result<(NonZeroU32, u16), CreationRefusal> {
    if topic.num_partitions != -1 {
        return Err(CreationRefusal::CountWithAssignments);
    }
    if topic.replication_factor != -1 {
        return Err(CreationRefusal::FactorWithAssignments);
    }
    let mut indexes: Vec<i32> = topic
        .assignments
        .iter()
        .map(|assignment| assignment.partition_index)
        .collect();
    indexes.sort_unstable();
    if !indexes.iter().copied().eq((0_i32..).take(indexes.len())) {
        return Err(CreationRefusal::AssignmentGap);
    }
    let mut factor = None;
    for assignment in &topic.assignments {
        let brokers = broker_count(assignment)?;
        if *factor.get_or_insert(brokers) != brokers {
            return Err(CreationRefusal::AssignmentUneven);
        }
    }
    let count = u32::try_from(indexes.len()).ok().and_then(NonZeroU32::new);
    let count = count.ok_or(CreationRefusal::TooManyPartitions)?;
    Ok((count, factor.unwrap_or(1)))
}

fn broker_count(assignment: &CreatableReplicaAssignment) -> Result<u16, CreationRefusal> {
    let distinct: BTreeSet<i32> = assignment
        .broker_ids
        .iter()
        .map(|broker| broker.0)
        .collect();
    let count = u16::try_from(distinct.len()).unwrap_or(0);
    let repeated = distinct.len() != assignment.broker_ids.len();
    if count == 0 || repeated || distinct.iter().any(|broker| *broker < 0) {
        return Err(CreationRefusal::AssignmentBrokers);
    }
    Ok(count)
}

/// Settings in the form in which they are stored. A key that comes twice counts as it came last.
fn configs(asked: Vec<CreatableTopicConfig>) -> Result<BTreeMap<String, String>, CreationRefusal> {
    let mut configs = BTreeMap::new();
    for config in asked {
        let definition = topic_config(&config.name).ok_or_else(|| {
            let name = ShownText::new(&config.name);
            CreationRefusal::UnknownConfig { name }
        })?;
        let name = definition.name;
        let value = config.value.ok_or(CreationRefusal::NullConfig { name })?;
        let value = definition
            .normalise(&value)
            .map_err(|source| CreationRefusal::InvalidConfig { name, source })?;
        configs.insert(name.to_owned(), value);
    }
    check_together(&configs).map_err(CreationRefusal::ConfigConflict)?;
    Ok(configs)
}

fn result(
    name: WireName,
    created: Result<Arc<Topic>, CreationRefusal>,
    front: &Front,
) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(name);
    match created {
        Ok(topic) => result
            .with_topic_id(Uuid::from_bytes(topic.id.bytes()))
            .with_error_message(None)
            .with_num_partitions(i32::try_from(topic.partition_count.get()).unwrap_or(i32::MAX))
            .with_replication_factor(i16::try_from(topic.replication_factor).unwrap_or(i16::MAX))
            .with_configs(Some(shown_configs(&topic, front))),
        Err(refusal) => result
            .with_error_code(reply::creation(&refusal).code())
            .with_error_message(Some(reply::words(&refusal)))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(Some(Vec::new())),
    }
}

/// Every setting with the value that holds now (version 5 and later).
fn shown_configs(topic: &Topic, front: &Front) -> Vec<CreatableTopicConfigs> {
    let table = front.catalogue.cached();
    let of_brokers = |definition: &ConfigDefinition| {
        let (scope, value) = table
            .brokers()
            .value(front.node_id, definition.broker_name?)?;
        Some((value, ConfigSource::of_scope(scope)))
    };
    let one = |definition: &'static ConfigDefinition| {
        let own = definition.set_by(topic);
        let own = own.map(|value| (value, ConfigSource::Topic));
        let set = own.or_else(|| of_brokers(definition));
        let (value, source) = set.unwrap_or((definition.default, ConfigSource::Default));
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(definition.name))
            .with_value(Some(StrBytes::from_string(value.to_owned())))
            .with_config_source(source.code())
    };
    TOPIC_CONFIGS.iter().map(one).collect()
}
