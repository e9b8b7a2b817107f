//! IncrementalAlterConfigs and AlterConfigs: settings of topics, checked by Kafka's rules.
//!
//! A resource changes as a whole or not at all, durable before the answer. Changes are worked out
//! on a current table and made only if the settings are still those; else they are worked out
//! again, so that two clients cannot undo each other's. Brokers are configured at their start.

use std::collections::{BTreeMap, BTreeSet};

use esker_kafka::RequestContext;
use esker_kafka::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, StrBytes, alter_configs_response,
    incremental_alter_configs_response,
};
use esker_metadata_api::configs::{ConfigDefinition, ConfigKind, check_together, topic_config};
use esker_metadata_api::{
    AlterTopic, AlterTopicError, MetadataError, Topic, TopicChange, TopicName,
};
use esker_types::MonotonicTime;
use futures::StreamExt as _;

use crate::broker_configs::broker_configs;
use crate::describe_configs::{BROKER_RESOURCE, TOPIC_RESOURCE};
use crate::error::{AlterConfigsRefusal, ShownText};
use crate::front::Front;
use crate::limits::{CONFIG_CHANGE_TRIES_MAX, TOPIC_CHANGES_PARALLEL};
use crate::reply;

/// Kafka's numbers of operations.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// One change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    name: StrBytes,
    operation: i8,
    value: Option<StrBytes>,
}

/// How the changes of a resource relate to what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    /// They are made to it.
    Present,
    /// They replace all of it (AlterConfigs).
    Nothing,
}

/// What a client wants changed of one resource.
#[derive(Clone, Debug)]
struct Resource {
    kind: i8,
    name: StrBytes,
    changes: Vec<Change>,
    base: Base,
    validate_only: bool,
}

type Outcome = (Resource, Result<(), AlterConfigsRefusal>);

pub(crate) async fn incremental(
    front: &Front,
    context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let validate_only = request.validate_only;
    let resources = request.resources.into_iter().map(|resource| Resource {
        kind: resource.resource_type,
        name: resource.resource_name,
        changes: resource
            .configs
            .into_iter()
            .map(|config| Change {
                name: config.name,
                operation: config.config_operation,
                value: config.value,
            })
            .collect(),
        base: Base::Present,
        validate_only,
    });
    let outcomes = alter_all(front, context, resources.collect()).await;
    let one = |(resource, outcome): Outcome| {
        let (code, words) = told(&outcome);
        incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(words)
            .with_resource_type(resource.kind)
            .with_resource_name(resource.name)
    };
    IncrementalAlterConfigsResponse::default()
        .with_responses(outcomes.into_iter().map(one).collect())
}

pub(crate) async fn whole(
    front: &Front,
    context: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let validate_only = request.validate_only;
    let resources = request.resources.into_iter().map(|resource| Resource {
        kind: resource.resource_type,
        name: resource.resource_name,
        changes: resource
            .configs
            .into_iter()
            .map(|config| Change {
                name: config.name,
                operation: SET,
                value: config.value,
            })
            .collect(),
        base: Base::Nothing,
        validate_only,
    });
    let outcomes = alter_all(front, context, resources.collect()).await;
    let one = |(resource, outcome): Outcome| {
        let (code, words) = told(&outcome);
        alter_configs_response::AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(words)
            .with_resource_type(resource.kind)
            .with_resource_name(resource.name)
    };
    AlterConfigsResponse::default().with_responses(outcomes.into_iter().map(one).collect())
}

fn told(outcome: &Result<(), AlterConfigsRefusal>) -> (i16, Option<StrBytes>) {
    match outcome {
        Ok(()) => (reply::SUCCESS, None),
        Err(refusal) => (
            reply::alter_configs(refusal).code(),
            Some(reply::words(refusal)),
        ),
    }
}

/// Every resource in the order of the request; one that comes twice is refused each time.
async fn alter_all(
    front: &Front,
    context: &RequestContext,
    resources: Vec<Resource>,
) -> Vec<Outcome> {
    let deadline = front.deadline(context, 0);
    let mut times: BTreeMap<(i8, StrBytes), usize> = BTreeMap::new();
    for resource in &resources {
        let times = times.entry((resource.kind, resource.name.clone()));
        *times.or_default() += 1;
    }
    let times = &times;
    let one = |resource: Resource| async move {
        let key = (resource.kind, resource.name.clone());
        let outcome = match times.get(&key) {
            Some(1) => alter(front, deadline, &resource).await,
            _ => Err(AlterConfigsRefusal::RepeatedResource),
        };
        (resource, outcome)
    };
    let outcomes = futures::stream::iter(resources)
        .map(one)
        .buffered(TOPIC_CHANGES_PARALLEL);
    outcomes.collect().await
}

async fn alter(
    front: &Front,
    deadline: MonotonicTime,
    resource: &Resource,
) -> Result<(), AlterConfigsRefusal> {
    check_shape(resource)?;
    match resource.kind {
        TOPIC_RESOURCE if resource.name.is_empty() => Err(AlterConfigsRefusal::DefaultTopic),
        TOPIC_RESOURCE => {
            TopicName::new(&resource.name).map_err(AlterConfigsRefusal::InvalidName)?;
            alter_topic(front, deadline, resource).await
        }
        BROKER_RESOURCE => alter_broker(front, resource),
        code => Err(AlterConfigsRefusal::ResourceType { code }),
    }
}

/// What can be refused without looking at the resource.
fn check_shape(resource: &Resource) -> Result<(), AlterConfigsRefusal> {
    let mut names = BTreeSet::new();
    for change in &resource.changes {
        if !names.insert(&change.name) {
            return Err(AlterConfigsRefusal::RepeatedKey);
        }
        if !(SET..=SUBTRACT).contains(&change.operation) {
            let code = change.operation;
            return Err(AlterConfigsRefusal::Operation { code });
        }
        if change.value.is_none() && change.operation != DELETE {
            let name = ShownText::new(&change.name);
            return Err(AlterConfigsRefusal::NullValue { name });
        }
    }
    Ok(())
}

async fn alter_topic(
    front: &Front,
    deadline: MonotonicTime,
    resource: &Resource,
) -> Result<(), AlterConfigsRefusal> {
    for _ in 0..CONFIG_CHANGE_TRIES_MAX {
        let table = front.catalogue.current_by(deadline).await;
        let table = table.map_err(AlterConfigsRefusal::NotStarted)?;
        let topic = table.named(&resource.name);
        let topic = topic.ok_or(AlterConfigsRefusal::UnknownTopic)?;
        let configs = changed(topic, resource)?;
        if configs == topic.configs {
            return Ok(());
        }
        let change = AlterTopic {
            topic: topic.id,
            change: TopicChange::Configs {
                expected: topic.configs.clone(),
                configs,
            },
            validate_only: resource.validate_only,
        };
        match front.catalogue.alter_by(deadline, change).await {
            Ok(_) => return Ok(()),
            Err(AlterTopicError::Changed) => {}
            Err(AlterTopicError::Unknown) => return Err(AlterConfigsRefusal::UnknownTopic),
            Err(error) => return Err(AlterConfigsRefusal::Refused(error)),
        }
    }
    Err(AlterConfigsRefusal::Refused(AlterTopicError::Metadata(
        MetadataError::Overloaded,
    )))
}

/// The settings of the topic as they are to be.
fn changed(
    topic: &Topic,
    resource: &Resource,
) -> Result<BTreeMap<String, String>, AlterConfigsRefusal> {
    let mut configs = match resource.base {
        Base::Present => topic.configs.clone(),
        Base::Nothing => BTreeMap::new(),
    };
    for change in &resource.changes {
        let Some(definition) = topic_config(&change.name) else {
            // Nothing is taken away from what does not exist, as in Kafka.
            if change.operation == DELETE {
                continue;
            }
            let name = ShownText::new(&change.name);
            return Err(AlterConfigsRefusal::UnknownKey { name });
        };
        let name = definition.name;
        let present = configs.get(name).map(String::as_str);
        match value(definition, present, change)? {
            Some(value) => {
                let value = definition
                    .normalise(&value)
                    .map_err(|source| AlterConfigsRefusal::InvalidValue { name, source })?;
                configs.insert(name.to_owned(), value);
            }
            None => {
                configs.remove(name);
            }
        }
    }
    check_together(&configs).map_err(AlterConfigsRefusal::Conflict)?;
    Ok(configs)
}

/// What a setting is to be; `None`: the default again.
fn value(
    definition: &'static ConfigDefinition,
    present: Option<&str>,
    change: &Change,
) -> Result<Option<String>, AlterConfigsRefusal> {
    let asked = change.value.as_deref().unwrap_or_default();
    let is_list = definition.kind == ConfigKind::List;
    if matches!(change.operation, APPEND | SUBTRACT) && !is_list {
        let name = definition.name;
        return Err(AlterConfigsRefusal::NotAList { name });
    }
    let present = present.unwrap_or(definition.default);
    let present = present.split(',').filter(|word| !word.is_empty());
    let asked_words = || asked.split(',').map(str::trim);
    let words: Vec<&str> = match change.operation {
        SET => return Ok(Some(asked.to_owned())),
        DELETE => return Ok(None),
        APPEND => {
            let mut words: Vec<&str> = present.collect();
            for word in asked_words() {
                if !words.contains(&word) {
                    words.push(word);
                }
            }
            words
        }
        _ => present
            .filter(|word| asked_words().all(|gone| gone != *word))
            .collect(),
    };
    Ok(Some(words.join(",")))
}

/// Whatever is asked for, it is refused: the question is in which words.
fn alter_broker(front: &Front, resource: &Resource) -> Result<(), AlterConfigsRefusal> {
    if !resource.name.is_empty() {
        let asked: Option<i32> = resource.name.parse().ok();
        let asked = asked.ok_or(AlterConfigsRefusal::NotABroker)?;
        if asked != front.config.node_id {
            return Err(AlterConfigsRefusal::OtherBroker { asked });
        }
    }
    let Some(change) = resource.changes.first() else {
        return Ok(());
    };
    let known = broker_configs(&front.config);
    let name = ShownText::new(&change.name);
    match known.iter().any(|config| *config.name == *change.name) {
        true => Err(AlterConfigsRefusal::Static { name }),
        false => Err(AlterConfigsRefusal::UnknownBrokerKey { name }),
    }
}
