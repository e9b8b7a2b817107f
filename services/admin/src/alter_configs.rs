//! IncrementalAlterConfigs and AlterConfigs: settings of topics and brokers, by Kafka's rules.
//!
//! A resource changes as a whole or not at all, durable before the answer. Changes are worked out
//! on a current table and made only if the settings are still those; else they are worked out
//! again, so that two clients cannot undo each other's. Of a broker, the defaults of all topics
//! change while it runs; the rest is set at its start.

use std::collections::BTreeMap;

use esker_kafka::RequestContext;
use esker_kafka::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, StrBytes, alter_configs_request, alter_configs_response,
    incremental_alter_configs_request, incremental_alter_configs_response,
};
use esker_metadata_api::configs::{ConfigDefinition, broker_config, topic_config};
use esker_metadata_api::{
    AlterBroker, AlterBrokerError, AlterTopic, AlterTopicError, BrokerScope, MetadataError,
    TopicChange, TopicName, TopicTable,
};
use esker_types::MonotonicTime;
use futures::StreamExt as _;

use crate::broker_configs::is_static;
use crate::config_changes::{Base, Change, Names, SET, changed, check_shape};
use crate::describe_configs::{BROKER_RESOURCE, TOPIC_RESOURCE};
use crate::error::{AlterConfigsRefusal, ShownText};
use crate::front::Front;
use crate::limits::{CONFIG_CHANGE_TRIES_MAX, TOPIC_CHANGES_PARALLEL};
use crate::reply;

/// What a client wants changed of one resource.
#[derive(Clone, Debug)]
struct Resource {
    kind: i8,
    name: StrBytes,
    changes: Vec<Change>,
    base: Base,
    validate_only: bool,
}

/// What is said of one resource.
struct Told {
    kind: i8,
    name: StrBytes,
    code: i16,
    words: Option<StrBytes>,
}

/// A change that was made, or must be worked out again because another one came first.
enum Attempt {
    Made,
    Overtaken,
}

struct TopicNames;

struct BrokerNames<'a>(&'a Front);

pub(crate) async fn incremental(
    front: &Front,
    context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    use incremental_alter_configs_response::AlterConfigsResourceResponse;

    let change = |config: AlterableConfig| Change {
        name: config.name,
        operation: config.config_operation,
        value: config.value,
    };
    let resource = |resource: AlterConfigsResource| Resource {
        kind: resource.resource_type,
        name: resource.resource_name,
        changes: resource.configs.into_iter().map(change).collect(),
        base: Base::Present,
        validate_only: request.validate_only,
    };
    let resources = request.resources.into_iter().map(resource).collect();
    let answer = |told: Told| {
        AlterConfigsResourceResponse::default()
            .with_error_code(told.code)
            .with_error_message(told.words)
            .with_resource_type(told.kind)
            .with_resource_name(told.name)
    };
    let responses = alter_all(front, context, resources, answer).await;
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

pub(crate) async fn whole(
    front: &Front,
    context: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    use alter_configs_response::AlterConfigsResourceResponse;

    let change = |config: AlterableConfig| Change {
        name: config.name,
        operation: SET,
        value: config.value,
    };
    let resource = |resource: AlterConfigsResource| Resource {
        kind: resource.resource_type,
        name: resource.resource_name,
        changes: resource.configs.into_iter().map(change).collect(),
        base: Base::Nothing,
        validate_only: request.validate_only,
    };
    let resources = request.resources.into_iter().map(resource).collect();
    let answer = |told: Told| {
        AlterConfigsResourceResponse::default()
            .with_error_code(told.code)
            .with_error_message(told.words)
            .with_resource_type(told.kind)
            .with_resource_name(told.name)
    };
    let responses = alter_all(front, context, resources, answer).await;
    AlterConfigsResponse::default().with_responses(responses)
}

/// Every resource in the order of the request; one that comes twice is refused each time.
async fn alter_all<T>(
    front: &Front,
    context: &RequestContext,
    resources: Vec<Resource>,
    answer: impl Fn(Told) -> T,
) -> Vec<T> {
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
        told(resource, &outcome)
    };
    let told = futures::stream::iter(resources)
        .map(one)
        .buffered(TOPIC_CHANGES_PARALLEL);
    told.map(answer).collect().await
}

fn told(resource: Resource, outcome: &Result<(), AlterConfigsRefusal>) -> Told {
    let refusal = outcome.as_ref().err();
    Told {
        kind: resource.kind,
        name: resource.name,
        code: refusal.map_or(reply::SUCCESS, |refusal| {
            reply::alter_configs(refusal).code()
        }),
        words: refusal.map(|refusal| reply::words(refusal)),
    }
}

async fn alter(
    front: &Front,
    deadline: MonotonicTime,
    resource: &Resource,
) -> Result<(), AlterConfigsRefusal> {
    check_shape(&resource.changes)?;
    let scope = match resource.kind {
        TOPIC_RESOURCE if resource.name.is_empty() => {
            return Err(AlterConfigsRefusal::DefaultTopic);
        }
        TOPIC_RESOURCE => {
            TopicName::new(&resource.name).map_err(AlterConfigsRefusal::InvalidName)?;
            None
        }
        BROKER_RESOURCE => Some(scope(front, resource)?),
        code => return Err(AlterConfigsRefusal::ResourceType { code }),
    };
    for _ in 0..CONFIG_CHANGE_TRIES_MAX {
        let table = front.catalogue.current_by(deadline).await;
        let table = table.map_err(AlterConfigsRefusal::NotStarted)?;
        let attempt = match scope {
            None => alter_topic(front, deadline, resource, &table).await?,
            Some(scope) => alter_broker(front, deadline, resource, scope, &table).await?,
        };
        if matches!(attempt, Attempt::Made) {
            return Ok(());
        }
    }
    Err(AlterConfigsRefusal::Refused(AlterTopicError::Metadata(
        MetadataError::Overloaded,
    )))
}

async fn alter_topic(
    front: &Front,
    deadline: MonotonicTime,
    resource: &Resource,
    table: &TopicTable,
) -> Result<Attempt, AlterConfigsRefusal> {
    let topic = table.named(&resource.name);
    let topic = topic.ok_or(AlterConfigsRefusal::UnknownTopic)?;
    let configs = changed(
        &topic.configs,
        resource.base,
        &resource.changes,
        &TopicNames,
    )?;
    if configs == topic.configs {
        return Ok(Attempt::Made);
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
        Ok(_) => Ok(Attempt::Made),
        Err(AlterTopicError::Changed) => Ok(Attempt::Overtaken),
        Err(AlterTopicError::Unknown) => Err(AlterConfigsRefusal::UnknownTopic),
        Err(error) => Err(AlterConfigsRefusal::Refused(error)),
    }
}

async fn alter_broker(
    front: &Front,
    deadline: MonotonicTime,
    resource: &Resource,
    scope: BrokerScope,
    table: &TopicTable,
) -> Result<Attempt, AlterConfigsRefusal> {
    let expected = table.brokers().of(scope);
    let names = BrokerNames(front);
    let configs = changed(&expected, resource.base, &resource.changes, &names);
    let configs = configs.map_err(of_broker)?;
    if configs == expected || resource.validate_only {
        return Ok(Attempt::Made);
    }
    let change = AlterBroker {
        scope,
        expected,
        configs,
    };
    match front.catalogue.alter_broker_by(deadline, change).await {
        Ok(()) => Ok(Attempt::Made),
        Err(AlterBrokerError::Changed) => Ok(Attempt::Overtaken),
        Err(error) => Err(AlterConfigsRefusal::BrokerRefused(error)),
    }
}

/// Values that a broker's setting cannot have are a case of their own.
fn of_broker(refusal: AlterConfigsRefusal) -> AlterConfigsRefusal {
    match refusal {
        AlterConfigsRefusal::InvalidValue { name, source } => {
            AlterConfigsRefusal::InvalidBrokerValue { name, source }
        }
        AlterConfigsRefusal::Conflict(source) => AlterConfigsRefusal::BrokerConflict(source),
        other => other,
    }
}

/// Whose settings: those of all brokers, or of this one. Others know their own.
fn scope(front: &Front, resource: &Resource) -> Result<BrokerScope, AlterConfigsRefusal> {
    if resource.name.is_empty() {
        return Ok(BrokerScope::All);
    }
    let asked: Option<i32> = resource.name.parse().ok();
    let asked = asked.ok_or(AlterConfigsRefusal::NotABroker)?;
    if asked != front.node_id {
        return Err(AlterConfigsRefusal::OtherBroker { asked });
    }
    Ok(BrokerScope::Node(asked))
}

impl Names for TopicNames {
    fn find(
        &self,
        name: &str,
    ) -> Result<(&'static str, &'static ConfigDefinition), AlterConfigsRefusal> {
        let definition = topic_config(name).ok_or_else(|| {
            let name = ShownText::new(name);
            AlterConfigsRefusal::UnknownKey { name }
        })?;
        Ok((definition.name, definition))
    }

    fn kept(&self, definition: &'static ConfigDefinition) -> Option<&'static str> {
        Some(definition.name)
    }
}

impl Names for BrokerNames<'_> {
    fn find(
        &self,
        name: &str,
    ) -> Result<(&'static str, &'static ConfigDefinition), AlterConfigsRefusal> {
        let found = broker_config(name).and_then(|definition| {
            let name = definition.broker_name?;
            Some((name, definition))
        });
        found.ok_or_else(|| {
            let shown = ShownText::new(name);
            match is_static(&self.0.config, self.0.brokers.here(), name) {
                true => AlterConfigsRefusal::Static { name: shown },
                false => AlterConfigsRefusal::UnknownBrokerKey { name: shown },
            }
        })
    }

    fn kept(&self, definition: &'static ConfigDefinition) -> Option<&'static str> {
        definition.broker_name
    }
}
