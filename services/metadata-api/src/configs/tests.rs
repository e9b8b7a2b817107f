//! The table against what Kafka 4.3.1 itself says, and the typed values.

use std::num::NonZeroU32;
use std::time::Duration;

use esker_types::TopicId;
use esker_types::limits::{RECORD_BATCH_BYTES_DEFAULT, RECORD_BATCH_BYTES_MAX};

use super::*;
use crate::TopicName;

/// `name|type|default|broker's name`, printed by Kafka's own `LogConfig`.
const KAFKA_DEFINITIONS: &str = include_str!("kafka_definitions.txt");
/// `name|value|normal form` of every pair of a name and one of [`VALUES`] that Kafka's `LogConfig`
/// accepts; it refuses all others. `_` stands for a space.
const KAFKA_ACCEPTS: &str = include_str!("kafka_accepts.txt");
const VALUES: &str = "|_|0|1|-1|-2|-3|+5|_7_|4|3|14|1.0|1e3|0.5|1.5|-0.1|NaN|1048575|1048576|\
    2147483647|2147483648|9223372036854775807|9223372036854775808|true|TRUE|_False_|yes|delete|\
    compact|compact,delete|delete,_compact|delete,delete|delete,|Delete|producer|gzip|zstd|\
    uncompressed|none|lz4_|CreateTime|createtime|LogAppendTime|9|10|17|18|22|23|-131072|-131073|\
    *|0:1,1:2|0:1,|a:b|0x10|1_000";

fn topic(configs: &[(&str, &str)]) -> Topic {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Topic {
        id: TopicId::from_bytes([1; 16]),
        name: TopicName::new("t").unwrap(),
        partition_count: NonZeroU32::MIN,
        replication_factor: 1,
        configs: configs.iter().map(owned).collect(),
        defaults: std::sync::Arc::default(),
    }
}

/// Where this table is stricter than Kafka's.
fn is_stricter(name: &str, value: &str) -> bool {
    let too_large = || {
        value
            .parse::<u32>()
            .is_ok_and(|bytes| bytes > RECORD_BATCH_BYTES_MAX)
    };
    (name == "max.message.bytes" && too_large())
        || (name == "remote.storage.enable" && value.eq_ignore_ascii_case("true"))
        || value == "NaN"
}

#[test]
fn names_types_and_defaults_are_kafkas() {
    let ours = TOPIC_CONFIGS.iter().map(|definition| {
        let broker = definition.broker_name.unwrap_or("null");
        let (name, default) = (definition.name, definition.default);
        format!("{name}|{}|{default}|{broker}", definition.kind)
    });

    assert_eq!(
        ours.collect::<Vec<_>>(),
        KAFKA_DEFINITIONS.lines().collect::<Vec<_>>()
    );
    assert!(
        TOPIC_CONFIGS
            .iter()
            .all(|definition| definition.documentation.ends_with('.'))
    );
}

#[test]
fn what_kafka_accepts_is_accepted_in_the_same_form_and_nothing_else_is() {
    let mut accepted = KAFKA_ACCEPTS.lines().peekable();
    let mut checked = 0;
    for definition in TOPIC_CONFIGS {
        for value in VALUES.split('|') {
            let text = value.replace('_', " ");
            let ours = definition.normalise(&text);
            let head = format!("{}|{value}|", definition.name);
            let form = accepted.next_if(|line| line.starts_with(&head));
            let form = form.map(|line| line[head.len()..].to_owned());
            match form {
                Some(_) if is_stricter(definition.name, value) => assert!(ours.is_err(), "{head}"),
                kafkas => assert_eq!(ours.ok(), kafkas, "{head}"),
            }
            checked += 1;
        }
    }
    assert_eq!(accepted.next(), None, "every line was used");
    assert_eq!(checked, TOPIC_CONFIGS.len() * VALUES.split('|').count());
}

#[test]
fn defaults_are_in_their_normal_form_and_obey_their_own_rule() {
    for definition in TOPIC_CONFIGS {
        let form = definition.normalise(definition.default);
        assert_eq!(
            form.as_deref(),
            Ok(definition.default),
            "{}",
            definition.name
        );
        assert_eq!(topic_config(definition.name), Some(definition));
    }
    assert_eq!(topic_config("nonsense"), None);
}

#[test]
fn each_refusal_says_which_rule_was_broken() {
    let refusal = |name: &str, value: &str| topic_config(name).unwrap().normalise(value);
    let kind = ConfigKind::Int;

    assert_eq!(refusal("preallocate", "yes"), Err(ConfigError::NotBoolean));
    assert_eq!(
        refusal("segment.bytes", "1.0"),
        Err(ConfigError::NotNumber { kind })
    );
    let (min, max) = (1_048_576, i64::from(RECORD_BATCH_BYTES_MAX));
    assert_eq!(
        refusal("segment.bytes", "1"),
        Err(ConfigError::BelowMinimum { min })
    );
    let above = (max + 1).to_string();
    assert_eq!(
        refusal("max.message.bytes", &above),
        Err(ConfigError::AboveMaximum { max })
    );
    assert_eq!(
        refusal("compression.gzip.level", "0"),
        Err(ConfigError::NotGzipLevel)
    );
    assert_eq!(
        refusal("min.cleanable.dirty.ratio", "2"),
        Err(ConfigError::NotFraction)
    );
    assert_eq!(
        refusal("cleanup.policy", "delete,"),
        Err(ConfigError::EmptyElement)
    );
    let throttled = "leader.replication.throttled.replicas";
    assert_eq!(refusal(throttled, "a:b"), Err(ConfigError::NotReplicaList));
    assert_eq!(
        refusal("remote.storage.enable", "true"),
        Err(ConfigError::Off)
    );
    let other_word = refusal("cleanup.policy", "none").unwrap_err();
    assert!(matches!(other_word, ConfigError::NotOneOf { .. }));
    assert_eq!(
        other_word.to_string(),
        "string must be one of: compact, delete"
    );
}

#[test]
fn compaction_lags_must_not_cross() {
    let lags = |min: &str, max: &str| {
        let pairs = [
            ("min.compaction.lag.ms", min),
            ("max.compaction.lag.ms", max),
        ];
        check_together(&topic(&pairs).configs)
    };

    assert_eq!(lags("5", "5"), Ok(()));
    let crossed = ConfigError::LagsCross {
        min_ms: 5,
        max_ms: 4,
    };
    assert_eq!(lags("5", "4"), Err(crossed));
    assert_eq!(check_together(&BTreeMap::new()), Ok(()));
}

#[test]
fn a_topic_without_settings_has_kafkas_defaults() {
    let plain = topic(&[]);

    assert_eq!(RECORD_BATCH_BYTES_DEFAULT, 1_048_588);
    assert_eq!(max_message_bytes(&plain), RECORD_BATCH_BYTES_DEFAULT);
    assert_eq!(
        cleanup_policy(&plain),
        CleanupPolicy {
            delete: true,
            compact: false
        }
    );
    assert_eq!(timestamp_type(&plain), TimestampType::CreateTime);
    assert_eq!(timestamp_before_max(&plain), None);
    assert_eq!(timestamp_after_max(&plain), Some(Duration::from_secs(3600)));
    assert_eq!(retention(&plain), Some(Duration::from_secs(7 * 24 * 3600)));
    assert_eq!(retention_bytes(&plain), None);
    assert_eq!(delete_retention(&plain), Duration::from_secs(24 * 3600));
    assert_eq!(min_compaction_lag(&plain), Duration::ZERO);
    assert_eq!(max_compaction_lag(&plain), None);
}

#[test]
fn settings_of_a_topic_override_the_defaults_and_unreadable_ones_do_not() {
    let set = topic(&[
        ("cleanup.policy", "compact,delete"),
        ("max.message.bytes", "2000"),
        ("message.timestamp.type", "LogAppendTime"),
        ("retention.bytes", "10"),
        ("retention.ms", "-1"),
    ]);
    let odd = topic(&[("max.message.bytes", "lots")]);

    assert_eq!(
        cleanup_policy(&set),
        CleanupPolicy {
            delete: true,
            compact: true
        }
    );
    assert_eq!(max_message_bytes(&set), 2000);
    assert_eq!(timestamp_type(&set), TimestampType::LogAppendTime);
    assert_eq!(retention_bytes(&set), Some(10));
    assert_eq!(retention(&set), None);
    assert_eq!(max_message_bytes(&odd), 1_048_588);
    assert_eq!(
        topic_config("retention.ms").unwrap().set_by(&set),
        Some("-1")
    );
    assert_eq!(topic_config("retention.ms").unwrap().set_by(&odd), None);
}

#[test]
fn a_value_of_one_byte_too_many_is_refused() {
    let list = topic_config("leader.replication.throttled.replicas").unwrap();
    let fits = format!("1:{}", "2".repeat(CONFIG_VALUE_BYTES_MAX - 2));
    let bytes = CONFIG_VALUE_BYTES_MAX + 1;

    assert!(list.normalise(&fits).is_ok());
    assert_eq!(
        list.normalise(&format!("{fits}3")),
        Err(ConfigError::TooLong { bytes })
    );
}

#[test]
fn what_brokers_were_given_stands_between_a_topics_own_and_the_default() {
    let given = [("retention.ms", "7"), ("cleanup.policy", "compact")];
    let mut plain = topic(&[]);
    plain.defaults = std::sync::Arc::new(topic(&given).configs);
    let mut set = topic(&[("retention.ms", "5")]);
    set.defaults = std::sync::Arc::clone(&plain.defaults);

    assert_eq!(retention(&plain), Some(Duration::from_millis(7)));
    assert!(cleanup_policy(&plain).compact && !cleanup_policy(&plain).delete);
    assert_eq!(retention(&set), Some(Duration::from_millis(5)));
    assert_eq!(retention_bytes(&set), None);
    assert_eq!(topic_config("retention.ms").unwrap().set_by(&plain), None);
}

#[test]
fn brokers_know_settings_of_topics_by_their_own_names() {
    for definition in TOPIC_CONFIGS {
        let found = definition.broker_name.and_then(broker_config);
        assert_eq!(found.is_some(), definition.broker_name.is_some());
        assert!(found.is_none_or(|found| found == definition));
    }
    assert_eq!(broker_config("retention.ms"), None);
}
