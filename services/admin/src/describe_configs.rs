//! DescribeConfigs: every setting of a topic, and what tools read of this broker.
//!
//! A setting's source is the topic where the topic set it, the broker's start where the operator
//! did (static), else the default. Synonyms name, in the order in which they count, the topic's own
//! value and the broker's setting that is the default of all topics.

use esker_kafka::messages::describe_configs_request::DescribeConfigsResource;
use esker_kafka::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use esker_kafka::messages::{DescribeConfigsRequest, DescribeConfigsResponse, StrBytes};
use esker_metadata_api::configs::{ConfigDefinition, ConfigKind, TOPIC_CONFIGS};
use esker_metadata_api::{Topic, TopicName, TopicTable};

use crate::broker_configs::{BrokerConfig, broker_configs};
use crate::catalogue::View;
use crate::error::ConfigsRefusal;
use crate::front::Front;
use crate::reply;

/// Kafka's numbers of resource types.
pub(crate) const TOPIC_RESOURCE: i8 = 2;
pub(crate) const BROKER_RESOURCE: i8 = 4;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigSource {
    /// The topic itself.
    Topic,
    /// The broker's configuration at its start.
    StaticBroker,
    /// Nobody set it.
    Default,
}

impl ConfigSource {
    /// Kafka's number.
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::StaticBroker => 4,
            Self::Default => 5,
        }
    }
}

/// What the client wants besides the values.
#[derive(Clone, Copy, Debug)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

pub(crate) async fn answer(
    front: &Front,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let detail = Detail {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let topics: Vec<&str> = request
        .resources
        .iter()
        .filter(|resource| resource.resource_type == TOPIC_RESOURCE)
        .map(|resource| resource.resource_name.as_str())
        .collect();
    let is_settled = |table: &TopicTable, name: &str| {
        table.named(name).is_some() || TopicName::new(name).is_err()
    };
    let holds = |table: &TopicTable| topics.iter().all(|name| is_settled(table, name));
    let view = front.catalogue.view(holds).await;
    let one = |resource| result(resource, &view, front, detail);
    DescribeConfigsResponse::default().with_results(request.resources.iter().map(one).collect())
}

fn result(
    resource: &DescribeConfigsResource,
    view: &View,
    front: &Front,
    detail: Detail,
) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    match described(resource, view, front, detail) {
        Ok(mut configs) => {
            configs.retain(|config| is_asked(resource, config));
            result.with_error_message(None).with_configs(configs)
        }
        Err(refusal) => result
            .with_error_code(reply::configs(refusal).code())
            .with_error_message(Some(reply::words(&refusal))),
    }
}

/// A list of keys leaves out all others; null and an empty one leave out none.
fn is_asked(resource: &DescribeConfigsResource, config: &DescribeConfigsResourceResult) -> bool {
    match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.contains(&config.name),
        Some(_) | None => true,
    }
}

fn described(
    resource: &DescribeConfigsResource,
    view: &View,
    front: &Front,
    detail: Detail,
) -> Result<Vec<DescribeConfigsResourceResult>, ConfigsRefusal> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC_RESOURCE => {
            TopicName::new(name).map_err(ConfigsRefusal::InvalidName)?;
            let topic = view.table.named(name).ok_or_else(|| {
                view.gap(ConfigsRefusal::UnknownTopic, ConfigsRefusal::NotAnswered)
            })?;
            let one = |definition| topic_entry(definition, topic, detail);
            Ok(TOPIC_CONFIGS.iter().map(one).collect())
        }
        // Settings of all brokers at once: none can be set.
        BROKER_RESOURCE if name.is_empty() => Ok(Vec::new()),
        BROKER_RESOURCE => {
            let asked: i32 = name.parse().map_err(|_| ConfigsRefusal::NotABroker)?;
            let here = front.config.node_id;
            if asked != here {
                return Err(ConfigsRefusal::OtherBroker { here, asked });
            }
            let configs = broker_configs(&front.config);
            Ok(configs
                .iter()
                .map(|config| broker_entry(config, detail))
                .collect())
        }
        code => Err(ConfigsRefusal::ResourceType { code }),
    }
}

fn topic_entry(
    definition: &ConfigDefinition,
    topic: &Topic,
    detail: Detail,
) -> DescribeConfigsResourceResult {
    let own = definition.set_by(topic);
    let own_synonym = own.map(|value| synonym(definition.name, value, ConfigSource::Topic));
    let broker_name = definition.broker_name.filter(|name| !is_unset(name));
    let broker_synonym =
        broker_name.map(|name| synonym(name, definition.default, ConfigSource::Default));
    let source = own.map_or(ConfigSource::Default, |_| ConfigSource::Topic);
    let synonyms = own_synonym.into_iter().chain(broker_synonym);
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(definition.name))
        .with_value(Some(text(own.unwrap_or(definition.default))))
        .with_config_source(source.code())
        .with_synonyms(synonyms.filter(|_| detail.synonyms).collect())
        .with_config_type(type_code(definition.kind))
        .with_documentation(documentation(definition.documentation, detail))
}

/// Settings of Kafka's brokers that are not set by default, so that they are no synonyms either:
/// the topic's default comes from another one there (in hours), or from Kafka itself.
fn is_unset(broker_name: &str) -> bool {
    [
        "log.flush.interval.ms",
        "log.retention.ms",
        "log.roll.jitter.ms",
        "log.roll.ms",
    ]
    .contains(&broker_name)
}

fn broker_entry(config: &BrokerConfig, detail: Detail) -> DescribeConfigsResourceResult {
    let own = config.value.as_deref();
    let synonym = own.map(|value| synonym(config.name, value, config.source));
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(config.name))
        .with_value(own.map(text))
        .with_read_only(true)
        .with_config_source(config.source.code())
        .with_synonyms(synonym.into_iter().filter(|_| detail.synonyms).collect())
        .with_config_type(type_code(config.kind))
        .with_documentation(documentation(config.documentation, detail))
}

fn synonym(name: &'static str, value: &str, source: ConfigSource) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(Some(text(value)))
        .with_source(source.code())
}

fn documentation(documentation: &'static str, detail: Detail) -> Option<StrBytes> {
    detail
        .documentation
        .then(|| StrBytes::from_static_str(documentation))
}

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

/// Kafka's number of a type (written from version 3 on).
fn type_code(kind: ConfigKind) -> i8 {
    match kind {
        ConfigKind::Boolean => 1,
        ConfigKind::String => 2,
        ConfigKind::Int => 3,
        ConfigKind::Long => 5,
        ConfigKind::Double => 6,
        ConfigKind::List => 7,
    }
}
