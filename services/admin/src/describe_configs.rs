//! DescribeConfigs: every setting of a topic, and what tools read of this broker.
//!
//! A setting's source is the topic where the topic set it, the broker or all brokers where they
//! were given it while they run, the broker's start where the operator did (static), else the
//! default. Synonyms name, in the order in which they count, the topic's own value and those of the
//! broker's setting that is the default of all topics.

use esker_kafka::messages::describe_configs_request::DescribeConfigsResource;
use esker_kafka::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use esker_kafka::messages::{DescribeConfigsRequest, DescribeConfigsResponse, StrBytes};
use esker_metadata_api::configs::{ConfigDefinition, ConfigKind, TOPIC_CONFIGS};
use esker_metadata_api::{BrokerScope, Topic, TopicName};

use crate::broker_configs::{BrokerConfig, broker_configs, shared_configs};
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
    /// This broker, while it runs.
    DynamicBroker,
    /// All brokers, while they run.
    DynamicDefaultBroker,
    /// The broker's configuration at its start.
    StaticBroker,
    /// Nobody set it.
    Default,
}

impl ConfigSource {
    pub(crate) fn of_scope(scope: BrokerScope) -> Self {
        match scope {
            BrokerScope::All => Self::DynamicDefaultBroker,
            BrokerScope::Node(_) => Self::DynamicBroker,
        }
    }

    /// Kafka's number.
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::DynamicBroker => 2,
            Self::DynamicDefaultBroker => 3,
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
    // Whoever changed a setting at another process must see it here: the table that was last heard
    // may lag.
    let view = front.catalogue.view(|_| false).await;
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
            let brokers = broker_configs(&front.config, front.brokers.here(), view.table.brokers());
            let one = |definition| topic_entry(definition, topic, &brokers, detail);
            Ok(TOPIC_CONFIGS.iter().map(one).collect())
        }
        BROKER_RESOURCE if name.is_empty() => {
            let configs = shared_configs(view.table.brokers());
            let one = |config| broker_entry(config, detail);
            Ok(configs.iter().map(one).collect())
        }
        BROKER_RESOURCE => {
            let asked: i32 = name.parse().map_err(|_| ConfigsRefusal::NotABroker)?;
            let here = front.node_id;
            if asked != here {
                return Err(ConfigsRefusal::OtherBroker { here, asked });
            }
            let configs = broker_configs(&front.config, front.brokers.here(), view.table.brokers());
            let one = |config| broker_entry(config, detail);
            Ok(configs.iter().map(one).collect())
        }
        code => Err(ConfigsRefusal::ResourceType { code }),
    }
}

/// `brokers` are the settings of this broker.
fn topic_entry(
    definition: &ConfigDefinition,
    topic: &Topic,
    brokers: &[BrokerConfig],
    detail: Detail,
) -> DescribeConfigsResourceResult {
    let own = definition.set_by(topic);
    let own = own.map(|value| (definition.name, value.to_owned(), ConfigSource::Topic));
    let broker = definition.broker_name.and_then(|name| {
        let place = brokers.binary_search_by_key(&name, |config| config.name);
        place.ok().and_then(|place| brokers.get(place))
    });
    let of_broker = broker.into_iter().flat_map(|config| {
        let synonyms = config.synonyms.iter();
        let named = synonyms.map(|(value, source)| (config.name, value.clone(), *source));
        named.filter(|(name, _, source)| *source != ConfigSource::Default || !is_unset(name))
    });
    let default = || {
        let value = definition.default.to_owned();
        (definition.name, value, ConfigSource::Default)
    };
    let all: Vec<_> = own.into_iter().chain(of_broker).collect();
    let (_, value, source) = all.first().cloned().unwrap_or_else(default);
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(definition.name))
        .with_value(Some(text(&value)))
        .with_config_source(source.code())
        .with_synonyms(synonyms(&all, detail))
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
    let all = config.synonyms.iter();
    let all: Vec<_> = all
        .map(|(value, source)| (config.name, value.clone(), *source))
        .collect();
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(config.name))
        .with_value(config.value.as_deref().map(text))
        .with_read_only(config.is_read_only)
        .with_config_source(config.source.code())
        .with_synonyms(synonyms(&all, detail))
        .with_config_type(type_code(config.kind))
        .with_documentation(documentation(config.documentation, detail))
}

/// Names, values and sources, if they are asked for.
fn synonyms(
    all: &[(&'static str, String, ConfigSource)],
    detail: Detail,
) -> Vec<DescribeConfigsSynonym> {
    let one = |(name, value, source): &(&'static str, String, ConfigSource)| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(text(value)))
            .with_source(source.code())
    };
    let shown = all.iter().filter(|_| detail.synonyms);
    shown.map(one).collect()
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
