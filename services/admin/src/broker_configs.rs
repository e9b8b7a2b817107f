//! Settings of this broker that Kafka's tools read, under Kafka's names.
//!
//! Only what is true here, plus the defaults of all topics under their broker names. All are
//! read-only: a broker is configured at its start.

use esker_metadata_api::configs::{ConfigKind, TOPIC_CONFIGS};
use esker_metadata_api::limits::{GROUP_MEMBERS_MAX, OFFSET_METADATA_BYTES_MAX};

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
    pub(crate) documentation: &'static str,
}

/// All of them, by name.
pub(crate) fn broker_configs(config: &AdminConfig) -> Vec<BrokerConfig> {
    let mut configs = own(config);
    configs.extend(fixed());
    configs.extend(TOPIC_CONFIGS.iter().filter_map(|definition| {
        Some(BrokerConfig {
            name: definition.broker_name?,
            value: Some(definition.default.to_owned()),
            kind: definition.kind,
            source: ConfigSource::Default,
            documentation: definition.documentation,
        })
    }));
    configs.sort_by_key(|config| config.name);
    configs
}

/// What the operator decides.
fn own(config: &AdminConfig) -> Vec<BrokerConfig> {
    let set = |name, value: Option<String>, kind, documentation| BrokerConfig {
        name,
        value,
        kind,
        source: ConfigSource::StaticBroker,
        documentation,
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
            Some(config.node_id.to_string()),
            ConfigKind::Int,
            "The node id of this process.",
        ),
        set(
            "broker.rack",
            config.rack.clone(),
            ConfigKind::String,
            "The zone that this process runs in.",
        ),
        set(
            "default.replication.factor",
            Some(config.replication_factor_default.max(1).to_string()),
            ConfigKind::Int,
            "Shown for topics whose creator leaves it open; the bucket replicates.",
        ),
        set(
            "node.id",
            Some(config.node_id.to_string()),
            ConfigKind::Int,
            "The node id of this process.",
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
    let fixed = |name, value: String, kind, documentation| BrokerConfig {
        name,
        value: Some(value),
        kind,
        source: ConfigSource::Default,
        documentation,
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
    use super::*;

    #[test]
    fn every_name_is_there_once_and_topic_defaults_are_among_them() {
        let configs = broker_configs(&AdminConfig::default());

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

        let shown = broker_configs(&config);

        for name in ["num.partitions", "default.replication.factor"] {
            let one = shown.iter().find(|config| config.name == name).unwrap();
            assert_eq!(one.value.as_deref(), Some("1"));
        }
    }
}
