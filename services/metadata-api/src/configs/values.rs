//! What the settings of a topic mean, as types. Cheap enough for the data path: a topic without
//! settings of its own costs one look-up in a table of 33.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{table, topic_config};
use crate::{Configs, Topic};

/// What may be removed from a topic, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Records go when they are old or the partition is large.
    pub delete: bool,
    /// Of records with the same key only the last is kept; records without a key are refused.
    pub compact: bool,
}

/// Whose time a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, when the batch arrived.
    LogAppendTime,
}

/// How batches are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// As their producer compressed them.
    Producer,
    /// Plain.
    Uncompressed,
    /// With gzip, at this level (-1: its own default).
    Gzip(i32),
    /// With snappy.
    Snappy,
    /// With lz4.
    Lz4,
    /// With zstd, at this level.
    Zstd(i32),
}

/// `compression.type`, with the level that goes with it.
#[must_use]
pub fn compression_type(topic: &Topic) -> CompressionType {
    let level = |name| i32::try_from(number_of(topic, name)).unwrap_or(-1);
    match word(topic, table::COMPRESSION_TYPE) {
        "uncompressed" => CompressionType::Uncompressed,
        "gzip" => CompressionType::Gzip(level(table::COMPRESSION_GZIP_LEVEL)),
        "snappy" => CompressionType::Snappy,
        "lz4" => CompressionType::Lz4,
        "zstd" => CompressionType::Zstd(level(table::COMPRESSION_ZSTD_LEVEL)),
        _ => CompressionType::Producer,
    }
}

/// `max.message.bytes`: bytes of one record batch, header included; more is refused.
#[must_use]
pub fn max_message_bytes(topic: &Topic) -> u32 {
    u32::try_from(number_of(topic, table::MAX_MESSAGE_BYTES)).unwrap_or(0)
}

/// `cleanup.policy`.
#[must_use]
pub fn cleanup_policy(topic: &Topic) -> CleanupPolicy {
    let words = word(topic, table::CLEANUP_POLICY);
    CleanupPolicy {
        delete: words.split(',').any(|word| word == "delete"),
        compact: words.split(',').any(|word| word == "compact"),
    }
}

/// `message.timestamp.type`.
#[must_use]
pub fn timestamp_type(topic: &Topic) -> TimestampType {
    match word(topic, table::MESSAGE_TIMESTAMP_TYPE) {
        "LogAppendTime" => TimestampType::LogAppendTime,
        _ => TimestampType::CreateTime,
    }
}

/// `message.timestamp.before.max.ms`: how far a record's time may lie in the past; `None`: any.
#[must_use]
pub fn timestamp_before_max(topic: &Topic) -> Option<Duration> {
    bounded(topic, table::MESSAGE_TIMESTAMP_BEFORE_MAX_MS)
}

/// `message.timestamp.after.max.ms`: how far a record's time may lie in the future; `None`: any.
#[must_use]
pub fn timestamp_after_max(topic: &Topic) -> Option<Duration> {
    bounded(topic, table::MESSAGE_TIMESTAMP_AFTER_MAX_MS)
}

/// `retention.ms`: how long records are kept; `None`: for ever.
#[must_use]
pub fn retention(topic: &Topic) -> Option<Duration> {
    bounded(topic, table::RETENTION_MS)
}

/// `retention.bytes` of one partition; `None`: any number.
#[must_use]
pub fn retention_bytes(topic: &Topic) -> Option<u64> {
    u64::try_from(number_of(topic, table::RETENTION_BYTES)).ok()
}

/// `delete.retention.ms`: how long a compacted topic keeps a record with a null value.
#[must_use]
pub fn delete_retention(topic: &Topic) -> Duration {
    bounded(topic, table::DELETE_RETENTION_MS).unwrap_or(Duration::MAX)
}

/// `min.compaction.lag.ms`: a record is not compacted before it is this old.
#[must_use]
pub fn min_compaction_lag(topic: &Topic) -> Duration {
    bounded(topic, table::MIN_COMPACTION_LAG_MS).unwrap_or(Duration::MAX)
}

/// `max.compaction.lag.ms`: a record is compacted before it is older than this; `None`: whenever.
#[must_use]
pub fn max_compaction_lag(topic: &Topic) -> Option<Duration> {
    bounded(topic, table::MAX_COMPACTION_LAG_MS)
}

/// Milliseconds; negative and the largest number both mean "no bound".
fn bounded(topic: &Topic, name: &str) -> Option<Duration> {
    let milliseconds = number_of(topic, name);
    if milliseconds == i64::MAX {
        return None;
    }
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

/// The number that holds for a topic: its own, that of brokers, else the default.
fn number_of(topic: &Topic, name: &str) -> i64 {
    let read = |configs: &Configs| configs.get(name).and_then(|value| value.parse().ok());
    let set = read(&topic.configs).or_else(|| read(&topic.defaults));
    set.unwrap_or_else(|| number(&Configs::new(), name))
}

/// The number that `configs` set, else the default.
pub(super) fn number(configs: &BTreeMap<String, String>, name: &str) -> i64 {
    let set = configs.get(name).and_then(|value| value.parse().ok());
    let default = || topic_config(name).and_then(|definition| definition.default.parse().ok());
    set.or_else(default).unwrap_or(0)
}

fn word<'a>(topic: &'a Topic, name: &str) -> &'a str {
    let set = topic.configs.get(name).or_else(|| topic.defaults.get(name));
    let default = || topic_config(name).map(|definition| definition.default);
    set.map(String::as_str).or_else(default).unwrap_or("")
}
