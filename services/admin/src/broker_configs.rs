//! Settings of this broker that Kafka's tools read, under Kafka's names.
//!
//! Only what is true here, plus the defaults of all topics under their broker names. These change
//! while brokers run, for all of them or for one; the rest is read-only, set at a broker's start.

use esker_cluster::Member;
use esker_metadata_api::configs::{ConfigDefinition, ConfigKind, TOPIC_CONFIGS};
use esker_metadata_api::limits::{GROUP_MEMBERS_MAX, OFFSET_METADATA_BYTES_MAX};
use esker_metadata_api::{BrokerConfigs, BrokerScope};

use crate::config::AdminConfig;
use crate::describe_configs::ConfigSource;

/// The Kafka release whose protocol is spoken; some consoles derive from it what they offer.
const PROTOCOL_VERSION: &str = "4.1-IV1";

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokerConfig {
    pub(crate) name: &'static str,
    /// `None` where there is none (no rack).
    pub(crate) value: Option<String>,
    pub(crate) kind: ConfigKind,
    pub(crate) source: ConfigSource,
    /// Values with their sources, in the order in which they count: the first one holds.
    pub(crate) synonyms: Vec<(String, ConfigSource)>,
    pub(crate) is_read_only: bool,
    pub(crate) documentation: &'static str,
}

/// Those of this broker, by name.
pub(crate) fn broker_configs(
    config: &AdminConfig,
    here: &Member,
    brokers: &BrokerConfigs,
) -> Vec<BrokerConfig> {
    let mut configs = at_start(config, here);
    let definitions = TOPIC_CONFIGS.iter();
    let scopes = [BrokerScope::Node(here.node_id), BrokerScope::All];
    configs.extend(definitions.filter_map(|one| dynamic(one, brokers, &scopes)));
    configs.sort_by_key(|config| config.name);
    configs
}

/// Those that all brokers were given, by name; the default behind them is not told, as in Kafka.
pub(crate) fn shared_configs(brokers: &BrokerConfigs) -> Vec<BrokerConfig> {
    let definitions = TOPIC_CONFIGS.iter();
    let all = definitions.filter_map(|one| dynamic(one, brokers, &[BrokerScope::All]));
    let given = ConfigSource::DynamicDefaultBroker;
    let mut shared: Vec<_> = all.filter(|config| config.source == given).collect();
    for config in &mut shared {
        config.synonyms.retain(|(_, source)| *source == given);
    }
    shared.sort_by_key(|config| config.name);
    shared
}

/// Whether a broker has the setting, and it is set at its start.
pub(crate) fn is_static(config: &AdminConfig, here: &Member, name: &str) -> bool {
    at_start(config, here)
        .iter()
        .any(|known| known.name == name)
}

/// The default of all topics, as the first of `scopes` that was given one has it.
fn dynamic(
    definition: &'static ConfigDefinition,
    brokers: &BrokerConfigs,
    scopes: &[BrokerScope],
) -> Option<BrokerConfig> {
    let name = definition.broker_name?;
    let given = scopes.iter().filter_map(|scope| {
        let value = brokers.in_scope(*scope, name)?;
        Some((value.to_owned(), ConfigSource::of_scope(*scope)))
    });
    let default = (definition.default.to_owned(), ConfigSource::Default);
    let synonyms: Vec<_> = given.chain([default]).collect();
    let (value, source) = synonyms.first().cloned()?;
    Some(BrokerConfig {
        name,
        value: Some(value),
        kind: definition.kind,
        source,
        synonyms,
        is_read_only: false,
        documentation: definition.documentation,
    })
}

/// What is set at the start, or never.
fn at_start(config: &AdminConfig, here: &Member) -> Vec<BrokerConfig> {
    let mut configs = own(config, here);
    configs.extend(fixed());
    configs
}

fn read_only(
    name: &'static str,
    value: Option<String>,
    kind: ConfigKind,
    source: ConfigSource,
    documentation: &'static str,
) -> BrokerConfig {
    let synonyms = value.iter().map(|value| (value.clone(), source)).collect();
    BrokerConfig {
        name,
        value,
        kind,
        source,
        synonyms,
        is_read_only: true,
        documentation,
    }
}

/// What the operator decides.
fn own(config: &AdminConfig, here: &Member) -> Vec<BrokerConfig> {
    let set = |name, value, kind, documentation| {
        read_only(name, value, kind, ConfigSource::StaticBroker, documentation)
    };
    let (host, port) = (&config.advertised_host, config.advertised_port);
    vec![
        set(
            "advertised.listeners",
            Some(format!("PLAINTEXT://{host}:{port}")),
            ConfigKind::List,
            "The address that clients of this listener are told.",
        ),
        set(
            "auto.create.topics.enable",
            Some(config.auto_create_topics.to_string()),
            ConfigKind::Boolean,
            "Whether a topic is created when a client asks for it by name.",
        ),
        set(
            "broker.id",
            Some(here.node_id.to_string()),
            ConfigKind::Int,
            "The node id that clients know.",
        ),
        set(
            "broker.rack",
            here.zone.clone(),
            ConfigKind::String,
            "The zone of this broker; none where one stands for all processes.",
        ),
        set(
            "default.replication.factor",
            Some(config.replication_factor_default.max(1).to_string()),
            ConfigKind::Int,
            "Shown for topics whose creator leaves it open; the bucket replicates.",
        ),
        set(
            "node.id",
            Some(here.node_id.to_string()),
            ConfigKind::Int,
            "The node id that clients know.",
        ),
        set(
            "num.partitions",
            Some(config.partition_count_default.max(1).to_string()),
            ConfigKind::Int,
            "Partitions of a topic whose creator leaves it open.",
        ),
    ]
}

/// What nobody can change.
fn fixed() -> [BrokerConfig; 5] {
    let fixed = |name, value, kind, documentation| {
        read_only(
            name,
            Some(value),
            kind,
            ConfigSource::Default,
            documentation,
        )
    };
    [
        fixed(
            "delete.topic.enable",
            String::from("true"),
            ConfigKind::Boolean,
            "Topics can be deleted.",
        ),
        fixed(
            "group.max.size",
            GROUP_MEMBERS_MAX.to_string(),
            ConfigKind::Int,
            "Members that one consumer group may have.",
        ),
        fixed(
            "inter.broker.protocol.version",
            PROTOCOL_VERSION.to_owned(),
            ConfigKind::String,
            "The Kafka release whose protocol is spoken.",
        ),
        fixed(
            "offset.metadata.max.bytes",
            OFFSET_METADATA_BYTES_MAX.to_string(),
            ConfigKind::Int,
            "Bytes of the text that is kept with a committed offset.",
        ),
        fixed(
            "process.roles",
            String::from("broker"),
            ConfigKind::List,
            "This listener serves clients.",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use esker_metadata_api::{Endpoint, Roles};

    use super::*;

    fn here() -> Member {
        Member {
            node_id: 1,
            at: Endpoint {
                host: "127.0.0.1".to_owned(),
                port: 9092,
            },
            zone: None,
            roles: Roles::ALL,
            is_draining: false,
        }
    }

    #[test]
    fn every_name_is_there_once_and_topic_defaults_are_among_them() {
        let configs = broker_configs(&AdminConfig::default(), &here(), &BrokerConfigs::default());

        assert!(configs.windows(2).all(|pair| pair[0].name < pair[1].name));
        for name in [
            "log.retention.ms",
            "message.max.bytes",
            "min.insync.replicas",
            "broker.id",
        ] {
            assert!(configs.iter().any(|config| config.name == name), "{name}");
        }
        assert!(
            configs
                .iter()
                .all(|config| config.documentation.ends_with('.'))
        );
    }

    #[test]
    fn defaults_of_zero_are_shown_as_they_count() {
        let config = AdminConfig {
            partition_count_default: 0,
            replication_factor_default: 0,
            ..AdminConfig::default()
        };

        let shown = broker_configs(&config, &here(), &BrokerConfigs::default());

        for name in ["num.partitions", "default.replication.factor"] {
            let one = shown.iter().find(|config| config.name == name).unwrap();
            assert_eq!(one.value.as_deref(), Some("1"));
        }
    }
}
