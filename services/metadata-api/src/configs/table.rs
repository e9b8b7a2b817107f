//! The table itself, by rising name. Kafka 4.3.1 has the same keys, types, defaults and bounds.

use esker_types::limits::RECORD_BATCH_BYTES_MAX;

use super::{ConfigDefinition, ConfigKind, ConfigRule, ConfigWords};

pub(super) const CLEANUP_POLICY: &str = "cleanup.policy";
pub(super) const COMPRESSION_GZIP_LEVEL: &str = "compression.gzip.level";
pub(super) const COMPRESSION_TYPE: &str = "compression.type";
pub(super) const COMPRESSION_ZSTD_LEVEL: &str = "compression.zstd.level";
pub(super) const DELETE_RETENTION_MS: &str = "delete.retention.ms";
pub(super) const MAX_COMPACTION_LAG_MS: &str = "max.compaction.lag.ms";
pub(super) const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
pub(super) const MESSAGE_TIMESTAMP_AFTER_MAX_MS: &str = "message.timestamp.after.max.ms";
pub(super) const MESSAGE_TIMESTAMP_BEFORE_MAX_MS: &str = "message.timestamp.before.max.ms";
pub(super) const MESSAGE_TIMESTAMP_TYPE: &str = "message.timestamp.type";
pub(super) const MIN_COMPACTION_LAG_MS: &str = "min.compaction.lag.ms";
pub(super) const RETENTION_BYTES: &str = "retention.bytes";
pub(super) const RETENTION_MS: &str = "retention.ms";

/// One batch must fit one segment, so the bound lies below Kafka's.
const MESSAGE_BYTES_MAX: i64 = {
    assert!(
        RECORD_BATCH_BYTES_MAX <= 0x7fff_ffff,
        "the type of the setting is INT"
    );
    // `i64::from` is not const yet.
    let bytes = RECORD_BATCH_BYTES_MAX.to_be_bytes();
    i64::from_be_bytes([0, 0, 0, 0, bytes[0], bytes[1], bytes[2], bytes[3]])
};

/// Every setting of a topic, by rising name.
pub const TOPIC_CONFIGS: &[ConfigDefinition] = &[
    ConfigDefinition {
        name: CLEANUP_POLICY,
        kind: ConfigKind::List,
        default: "delete",
        rule: ConfigRule::SubsetOf(ConfigWords(&["compact", "delete"])),
        broker_name: Some("log.cleanup.policy"),
        documentation: "delete removes old records by retention, compact keeps the last record of \
                        each key; both may be given.",
    },
    ConfigDefinition {
        name: COMPRESSION_GZIP_LEVEL,
        kind: ConfigKind::Int,
        default: "-1",
        rule: ConfigRule::GzipLevel,
        broker_name: Some("compression.gzip.level"),
        documentation: "How hard gzip tries where compression.type rewrites batches; -1 for its \
                        own default.",
    },
    ConfigDefinition {
        name: "compression.lz4.level",
        kind: ConfigKind::Int,
        default: "9",
        rule: ConfigRule::Between { min: 1, max: 17 },
        broker_name: Some("compression.lz4.level"),
        documentation: "Kept and shown: lz4 has one level here.",
    },
    ConfigDefinition {
        name: COMPRESSION_TYPE,
        kind: ConfigKind::String,
        default: "producer",
        rule: ConfigRule::OneOf(ConfigWords(&[
            "uncompressed",
            "zstd",
            "lz4",
            "snappy",
            "gzip",
            "producer",
        ])),
        broker_name: Some("compression.type"),
        documentation: "The codec that batches are stored with; producer keeps that of the \
                        producer, any other rewrites batches that come differently.",
    },
    ConfigDefinition {
        name: COMPRESSION_ZSTD_LEVEL,
        kind: ConfigKind::Int,
        default: "3",
        rule: ConfigRule::Between {
            min: -131_072,
            max: 22,
        },
        broker_name: Some("compression.zstd.level"),
        documentation: "How hard zstd tries where compression.type rewrites batches; above 12 \
                        counts as 12.",
    },
    ConfigDefinition {
        name: DELETE_RETENTION_MS,
        kind: ConfigKind::Long,
        default: "86400000",
        rule: ConfigRule::AtLeast(0),
        broker_name: Some("log.cleaner.delete.retention.ms"),
        documentation: "How long a compacted topic keeps records with a null value, so that \
                        readers see the deletion.",
    },
    ConfigDefinition {
        name: "file.delete.delay.ms",
        kind: ConfigKind::Long,
        default: "60000",
        rule: ConfigRule::AtLeast(0),
        broker_name: Some("log.segment.delete.delay.ms"),
        documentation: "Kept and shown: there are no log files, objects are deleted after a grace \
                        time of their own.",
    },
    ConfigDefinition {
        name: "flush.messages",
        kind: ConfigKind::Long,
        default: "9223372036854775807",
        rule: ConfigRule::AtLeast(1),
        broker_name: Some("log.flush.interval.messages"),
        documentation: "Kept and shown: a record is durable in the bucket before it is \
                        acknowledged.",
    },
    ConfigDefinition {
        name: "flush.ms",
        kind: ConfigKind::Long,
        default: "9223372036854775807",
        rule: ConfigRule::AtLeast(0),
        broker_name: Some("log.flush.interval.ms"),
        documentation: "Kept and shown: a record is durable in the bucket before it is \
                        acknowledged.",
    },
    ConfigDefinition {
        name: "follower.replication.throttled.replicas",
        kind: ConfigKind::List,
        default: "",
        rule: ConfigRule::ReplicaList,
        broker_name: None,
        documentation: "Kept and shown: the bucket replicates, there is nothing to throttle.",
    },
    ConfigDefinition {
        name: "index.interval.bytes",
        kind: ConfigKind::Int,
        default: "4096",
        rule: ConfigRule::AtLeast(0),
        broker_name: Some("log.index.interval.bytes"),
        documentation: "Kept and shown: the index has one entry for each extent of a segment.",
    },
    ConfigDefinition {
        name: "leader.replication.throttled.replicas",
        kind: ConfigKind::List,
        default: "",
        rule: ConfigRule::ReplicaList,
        broker_name: None,
        documentation: "Kept and shown: the bucket replicates, there is nothing to throttle.",
    },
    ConfigDefinition {
        name: "local.retention.bytes",
        kind: ConfigKind::Long,
        default: "-2",
        rule: ConfigRule::AtLeast(-2),
        broker_name: Some("log.local.retention.bytes"),
        documentation: "Kept and shown: no record is kept on a local disk.",
    },
    ConfigDefinition {
        name: "local.retention.ms",
        kind: ConfigKind::Long,
        default: "-2",
        rule: ConfigRule::AtLeast(-2),
        broker_name: Some("log.local.retention.ms"),
        documentation: "Kept and shown: no record is kept on a local disk.",
    },
    ConfigDefinition {
        name: MAX_COMPACTION_LAG_MS,
        kind: ConfigKind::Long,
        default: "9223372036854775807",
        rule: ConfigRule::AtLeast(1),
        broker_name: Some("log.cleaner.max.compaction.lag.ms"),
        documentation: "The longest time that a record of a compacted topic may stay uncompacted.",
    },
    ConfigDefinition {
        name: MAX_MESSAGE_BYTES,
        kind: ConfigKind::Int,
        default: "1048588",
        rule: ConfigRule::Between {
            min: 0,
            max: MESSAGE_BYTES_MAX,
        },
        broker_name: Some("message.max.bytes"),
        documentation: "The largest record batch that is accepted, in bytes, as compressed by its \
                        producer.",
    },
    ConfigDefinition {
        name: MESSAGE_TIMESTAMP_AFTER_MAX_MS,
        kind: ConfigKind::Long,
        default: "3600000",
        rule: ConfigRule::AtLeast(0),
        broker_name: Some("log.message.timestamp.after.max.ms"),
        documentation: "How far the timestamp of a record may lie in the future; with CreateTime \
                        only.",
    },
    ConfigDefinition {
        name: MESSAGE_TIMESTAMP_BEFORE_MAX_MS,
        kind: ConfigKind::Long,
        default: "9223372036854775807",
        rule: ConfigRule::AtLeast(0),
        broker_name: Some("log.message.timestamp.before.max.ms"),
        documentation: "How far the timestamp of a record may lie in the past; with CreateTime \
                        only.",
    },
    ConfigDefinition {
        name: MESSAGE_TIMESTAMP_TYPE,
        kind: ConfigKind::String,
        default: "CreateTime",
        rule: ConfigRule::OneOf(ConfigWords(&["CreateTime", "LogAppendTime"])),
        broker_name: Some("log.message.timestamp.type"),
        documentation: "Whether records carry their producer's time or the time of their arrival.",
    },
    ConfigDefinition {
        name: "min.cleanable.dirty.ratio",
        kind: ConfigKind::Double,
        default: "0.5",
        rule: ConfigRule::Fraction,
        broker_name: Some("log.cleaner.min.cleanable.ratio"),
        documentation: "The share of uncompacted bytes from which a compacted topic is compacted \
                        again.",
    },
    ConfigDefinition {
        name: MIN_COMPACTION_LAG_MS,
        kind: ConfigKind::Long,
        default: "0",
        rule: ConfigRule::AtLeast(0),
        broker_name: Some("log.cleaner.min.compaction.lag.ms"),
        documentation: "How long a record of a compacted topic stays uncompacted at least.",
    },
    ConfigDefinition {
        name: "min.insync.replicas",
        kind: ConfigKind::Int,
        default: "1",
        rule: ConfigRule::AtLeast(1),
        broker_name: Some("min.insync.replicas"),
        documentation: "Kept and shown: every acknowledged record is in the bucket, however many \
                        replicas are named.",
    },
    ConfigDefinition {
        name: "preallocate",
        kind: ConfigKind::Boolean,
        default: "false",
        rule: ConfigRule::Any,
        broker_name: Some("log.preallocate"),
        documentation: "Kept and shown: there are no log files.",
    },
    ConfigDefinition {
        name: "remote.log.copy.disable",
        kind: ConfigKind::Boolean,
        default: "false",
        rule: ConfigRule::Any,
        broker_name: None,
        documentation: "Kept and shown: all records are in the bucket from the start.",
    },
    ConfigDefinition {
        name: "remote.log.delete.on.disable",
        kind: ConfigKind::Boolean,
        default: "false",
        rule: ConfigRule::Any,
        broker_name: None,
        documentation: "Kept and shown: all records are in the bucket from the start.",
    },
    ConfigDefinition {
        name: "remote.storage.enable",
        kind: ConfigKind::Boolean,
        default: "false",
        rule: ConfigRule::Off,
        broker_name: None,
        documentation: "Cannot be switched on: all records are in the bucket from the start, no \
                        tier lies before it.",
    },
    ConfigDefinition {
        name: RETENTION_BYTES,
        kind: ConfigKind::Long,
        default: "-1",
        rule: ConfigRule::Any,
        broker_name: Some("log.retention.bytes"),
        documentation: "Bytes of a partition above which its oldest records are removed; negative \
                        for no bound.",
    },
    ConfigDefinition {
        name: RETENTION_MS,
        kind: ConfigKind::Long,
        default: "604800000",
        rule: ConfigRule::AtLeast(-1),
        broker_name: Some("log.retention.ms"),
        documentation: "How long records are kept before they may be removed; -1 for ever.",
    },
    ConfigDefinition {
        name: "segment.bytes",
        kind: ConfigKind::Int,
        default: "1073741824",
        rule: ConfigRule::AtLeast(1024 * 1024),
        broker_name: Some("log.segment.bytes"),
        documentation: "Kept and shown: there are no log files, records of many topics share one \
                        object.",
    },
    ConfigDefinition {
        name: "segment.index.bytes",
        kind: ConfigKind::Int,
        default: "10485760",
        rule: ConfigRule::AtLeast(4),
        broker_name: Some("log.index.size.max.bytes"),
        documentation: "Kept and shown: there are no index files.",
    },
    ConfigDefinition {
        name: "segment.jitter.ms",
        kind: ConfigKind::Long,
        default: "0",
        rule: ConfigRule::AtLeast(0),
        broker_name: Some("log.roll.jitter.ms"),
        documentation: "Kept and shown: there are no log files.",
    },
    ConfigDefinition {
        name: "segment.ms",
        kind: ConfigKind::Long,
        default: "604800000",
        rule: ConfigRule::AtLeast(1),
        broker_name: Some("log.roll.ms"),
        documentation: "Kept and shown: there are no log files.",
    },
    ConfigDefinition {
        name: "unclean.leader.election.enable",
        kind: ConfigKind::Boolean,
        default: "false",
        rule: ConfigRule::Any,
        broker_name: Some("unclean.leader.election.enable"),
        documentation: "Kept and shown: an acknowledged record is never given up for availability.",
    },
];
