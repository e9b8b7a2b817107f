//! Settings of a topic by Kafka's key names: one table of names, types, defaults and rules.
//!
//! The admin front checks new topics with it and describes them; ingest, fetch and the compactor
//! read typed values ([`max_message_bytes`] and the like). What is stored in `Topic::configs` went
//! through [`ConfigDefinition::normalise`]; a stored value that this build cannot read counts as
//! not set. Names, types, defaults and rules are those of Kafka 4.3.1 (a test holds what its own
//! `LogConfig` accepts), but for three: see [`ConfigRule::Off`], `max.message.bytes` and NaN.

mod table;
mod values;

use std::collections::BTreeMap;

use crate::Topic;
use crate::limits::CONFIG_VALUE_BYTES_MAX;

pub use table::TOPIC_CONFIGS;
pub use values::{
    CleanupPolicy, CompressionType, TimestampType, cleanup_policy, compression_type,
    delete_retention, max_compaction_lag, max_message_bytes, min_compaction_lag, retention,
    retention_bytes, timestamp_after_max, timestamp_before_max, timestamp_type,
};

/// Type of a setting's value, in the words of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    /// `true` or `false`.
    Boolean,
    /// One word.
    String,
    /// 32 bits, signed.
    Int,
    /// 64 bits, signed.
    Long,
    /// A floating-point number.
    Double,
    /// Words with commas between them.
    List,
}

impl std::fmt::Display for ConfigKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
        })
    }
}

/// Words that a setting may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigWords(pub &'static [&'static str]);

impl std::fmt::Display for ConfigWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// Which values of its type a setting may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigRule {
    /// All.
    Any,
    /// This number and all above.
    AtLeast(i64),
    /// These two numbers and all between them.
    Between {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// -1 (the codec's own) or 1 to 9.
    GzipLevel,
    /// 0 to 1.
    Fraction,
    /// One of these words.
    OneOf(ConfigWords),
    /// Any of these words; none is a choice too.
    SubsetOf(ConfigWords),
    /// `*`, or `partition:broker` pairs.
    ReplicaList,
    /// `false` only: the feature does not exist here. Kafka refuses it as well where it is not
    /// configured.
    Off,
}

/// One setting of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigDefinition {
    /// Kafka's key.
    pub name: &'static str,
    /// Type of its values.
    pub kind: ConfigKind,
    /// The value of a topic that does not set it, in its normal form.
    pub default: &'static str,
    /// Which values it may have.
    pub rule: ConfigRule,
    /// Kafka's name of the broker's setting that is the default of all topics.
    pub broker_name: Option<&'static str>,
    /// What it does, for people.
    pub documentation: &'static str,
}

/// Why a value is refused. Whoever tells it names the setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A boolean that is neither.
    #[error("expected value to be either true or false")]
    NotBoolean,
    /// A text that is no number, or one too large for the type.
    #[error("not a number of type {kind}")]
    NotNumber {
        /// The type.
        kind: ConfigKind,
    },
    /// Too small.
    #[error("value must be at least {min}")]
    BelowMinimum {
        /// The smallest allowed.
        min: i64,
    },
    /// Too large.
    #[error("value must be no more than {max}")]
    AboveMaximum {
        /// The largest allowed.
        max: i64,
    },
    /// Not a level of gzip.
    #[error("value must be between 1 and 9 or equal to -1")]
    NotGzipLevel,
    /// Not a fraction.
    #[error("value must be between 0 and 1")]
    NotFraction,
    /// Another word.
    #[error("string must be one of: {words}")]
    NotOneOf {
        /// The words allowed.
        words: ConfigWords,
    },
    /// A list with a hole.
    #[error("values must not be empty")]
    EmptyElement,
    /// Not a list of throttled replicas.
    #[error("must be the literal '*' or a list of replicas as in 0:1,1:2")]
    NotReplicaList,
    /// Asks for what does not exist here.
    #[error("tiered storage cannot be switched on: all records are in the bucket already")]
    Off,
    /// Longer than is kept.
    #[error("value has {bytes} bytes, at most {CONFIG_VALUE_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes of the value.
        bytes: usize,
    },
    /// Two settings that exclude each other.
    #[error("min.compaction.lag.ms ({min_ms}) is above max.compaction.lag.ms ({max_ms})")]
    LagsCross {
        /// The lower bound asked for.
        min_ms: i64,
        /// The upper bound asked for.
        max_ms: i64,
    },
}

/// The setting called `name`; `None` when topics have no such setting.
#[must_use]
pub fn topic_config(name: &str) -> Option<&'static ConfigDefinition> {
    let place = TOPIC_CONFIGS.binary_search_by(|definition| definition.name.cmp(name));
    place.ok().and_then(|place| TOPIC_CONFIGS.get(place))
}

/// The setting of topics whose default brokers set under the name `broker_name`.
#[must_use]
pub fn broker_config(broker_name: &str) -> Option<&'static ConfigDefinition> {
    let mut all = TOPIC_CONFIGS.iter();
    all.find(|definition| definition.broker_name == Some(broker_name))
}

/// Checks what concerns several settings at once; each alone is checked by
/// [`ConfigDefinition::normalise`].
///
/// # Errors
/// [`ConfigError::LagsCross`].
pub fn check_together(configs: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let min_ms = values::number(configs, table::MIN_COMPACTION_LAG_MS);
    let max_ms = values::number(configs, table::MAX_COMPACTION_LAG_MS);
    if min_ms > max_ms {
        return Err(ConfigError::LagsCross { min_ms, max_ms });
    }
    Ok(())
}

impl ConfigDefinition {
    /// The form in which `value` is stored and shown: without spaces around it, numbers and
    /// booleans in one spelling, lists without repetition.
    ///
    /// # Errors
    /// [`ConfigError`]: which rule the value breaks.
    pub fn normalise(&self, value: &str) -> Result<String, ConfigError> {
        let bytes = value.len();
        if bytes > CONFIG_VALUE_BYTES_MAX {
            return Err(ConfigError::TooLong { bytes });
        }
        let value = trim(value);
        match self.kind {
            ConfigKind::Boolean => self.boolean(value),
            ConfigKind::String => self.word(value),
            ConfigKind::Int => {
                let number: Option<i32> = value.parse().ok();
                self.number(number.map(i64::from))
            }
            ConfigKind::Long => self.number(value.parse().ok()),
            ConfigKind::Double => self.fraction(value),
            ConfigKind::List => self.list(value),
        }
    }

    /// The value that `topic` set; `None` when a default holds.
    #[must_use]
    pub fn set_by<'a>(&self, topic: &'a Topic) -> Option<&'a str> {
        topic.configs.get(self.name).map(String::as_str)
    }

    fn boolean(&self, value: &str) -> Result<String, ConfigError> {
        let on = value.eq_ignore_ascii_case("true");
        if !on && !value.eq_ignore_ascii_case("false") {
            return Err(ConfigError::NotBoolean);
        }
        if on && self.rule == ConfigRule::Off {
            return Err(ConfigError::Off);
        }
        Ok(on.to_string())
    }

    fn word(&self, value: &str) -> Result<String, ConfigError> {
        match self.rule {
            ConfigRule::OneOf(words) if !words.0.contains(&value) => {
                Err(ConfigError::NotOneOf { words })
            }
            _ => Ok(value.to_owned()),
        }
    }

    fn number(&self, number: Option<i64>) -> Result<String, ConfigError> {
        let number = number.ok_or(ConfigError::NotNumber { kind: self.kind })?;
        match self.rule {
            ConfigRule::AtLeast(min) | ConfigRule::Between { min, .. } if number < min => {
                Err(ConfigError::BelowMinimum { min })
            }
            ConfigRule::Between { max, .. } if number > max => {
                Err(ConfigError::AboveMaximum { max })
            }
            ConfigRule::GzipLevel if number != -1 && !(1..=9).contains(&number) => {
                Err(ConfigError::NotGzipLevel)
            }
            _ => Ok(number.to_string()),
        }
    }

    fn fraction(&self, value: &str) -> Result<String, ConfigError> {
        let number: f64 = value
            .parse()
            .map_err(|_| ConfigError::NotNumber { kind: self.kind })?;
        // NaN is in no range.
        if self.rule == ConfigRule::Fraction && !(0.0..=1.0).contains(&number) {
            return Err(ConfigError::NotFraction);
        }
        Ok(format!("{number:?}"))
    }

    fn list(&self, value: &str) -> Result<String, ConfigError> {
        let elements = value.split(',').map(trim);
        match self.rule {
            ConfigRule::SubsetOf(words) if !value.is_empty() => {
                let mut kept: Vec<&str> = Vec::with_capacity(words.0.len());
                for element in elements {
                    if element.is_empty() {
                        return Err(ConfigError::EmptyElement);
                    }
                    if !words.0.contains(&element) {
                        return Err(ConfigError::NotOneOf { words });
                    }
                    if !kept.contains(&element) {
                        kept.push(element);
                    }
                }
                Ok(kept.join(","))
            }
            ConfigRule::ReplicaList if value != "*" && !elements.clone().all(is_replica) => {
                Err(ConfigError::NotReplicaList)
            }
            _ => Ok(elements.collect::<Vec<_>>().join(",")),
        }
    }
}

/// As Java trims: everything up to the space.
fn trim(value: &str) -> &str {
    value.trim_matches(|letter: char| letter <= ' ')
}

/// `partition:broker`, or nothing at all, which Kafka lets pass too.
fn is_replica(element: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    element.is_empty()
        || element
            .split_once(':')
            .is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}

#[cfg(test)]
mod tests;
