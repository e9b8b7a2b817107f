//! The lines of a history file, version 1: one JSON object a line. Described in docs/history.md.
//!
//! Unknown fields are refused: a misspelt one would silently turn a check off.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// First line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT_VERSION`].
    pub esker_history: u32,
    /// Whether every void, control, compacted and retained-away range is noted, so that any other
    /// missing offset is an anomaly.
    #[serde(default)]
    pub gaps_are_noted: bool,
    /// Whether polls of all pods must show rising watermarks. Without it those of each pod must: a
    /// pod that serves plain fetches may lag (R3).
    #[serde(default)]
    pub watermarks_over_pods: bool,
    /// Partitions whose record timestamps never fall in the order of offsets (`LogAppendTime`).
    #[serde(default)]
    pub append_time: Vec<String>,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            esker_history: FORMAT_VERSION,
            gaps_are_noted: false,
            watermarks_over_pods: false,
            append_time: Vec::new(),
        }
    }
}

/// Any later line. Lines stand in the order of time; what ends on an earlier line than another
/// begins was over before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Nanoseconds of one monotonic clock; never falls.
    pub t: u64,
    /// What happened.
    #[serde(rename = "e")]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// An operation begins.
    Invoke(Invoke),
    /// It succeeded.
    Ok(Done),
    /// It surely had no effect.
    Fail(Done),
    /// It may have had its effect, or may have it later.
    Info(Done),
    /// A consumer's position was set: by assignment, seek or subscription.
    Assign(Assign),
    /// Something about the log that the run knows from elsewhere.
    Note(Note),
}

/// Begin of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invoke {
    /// Number of the operation, used once.
    pub op: u64,
    /// Logical process: a connection of a client, whose operations have an order.
    pub p: u32,
    /// Which pod was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// What.
    #[serde(rename = "do")]
    pub what: Operation,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// One record batch.
    Send(Send),
    /// Reads of partitions.
    Poll(Poll),
    /// LATEST of a partition.
    Latest(Latest),
    /// Offset commit of a group.
    Commit(Commit),
    /// Question for a group's committed offset.
    Committed(Committed),
    /// End of a transaction.
    End(End),
}

/// One record batch; its values are its records, each used once in its partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// Partition.
    pub key: String,
    /// Identities of the records.
    pub vals: Vec<u64>,
    /// Producer, when it is idempotent. Sending the same batch again is one more operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<Producer>,
    /// Transaction that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn: Option<u64>,
}

/// Producer id, epoch and sequence of the first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Producer {
    /// Producer id.
    pub id: u64,
    /// Producer epoch.
    pub epoch: u32,
    /// Base sequence, below 2^31.
    pub seq: u32,
}

/// Isolation of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// `read_uncommitted`.
    #[default]
    Ru,
    /// `read_committed`.
    Rc,
}

/// Reads of partitions at the process's positions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// Partitions.
    pub keys: Vec<String>,
    /// Isolation.
    #[serde(default)]
    pub iso: Isolation,
    /// Part of the last reading of all, from the log's start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
    /// Transaction that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn: Option<u64>,
}

/// LATEST of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latest {
    /// Partition.
    pub key: String,
    /// Isolation.
    #[serde(default)]
    pub iso: Isolation,
}

/// Offset commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Group.
    pub group: String,
    /// Generation of the member.
    pub generation: u32,
    /// Partition.
    pub key: String,
    /// The offset.
    pub offset: u64,
}

/// Question for a committed offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Committed {
    /// Group.
    pub group: String,
    /// Partition.
    pub key: String,
}

/// End of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Its number, used once.
    pub txn: u64,
    /// Commit, else abort.
    pub commit: bool,
}

/// Completion of an operation. What a failed or unknown one learnt before may stand in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// Number of the operation.
    pub op: u64,
    /// Of a send: offset of its first record. Of LATEST: the offset. Of a committed offset: the
    /// offset, absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Of a poll: what was read, by partition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub read: BTreeMap<String, Read>,
    /// Sequencer epoch under which a current answer (LATEST, committed offset) was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Name of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a poll read of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Offset and identity of each record, in the order of the answer.
    #[serde(default)]
    pub recs: Vec<(u64, u64)>,
    /// Timestamps of these records; as many, or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<u64>,
    /// Offsets whose payload did not match its checksum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrupt: Vec<u64>,
    /// High watermark told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hw: Option<u64>,
    /// Last stable offset told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lso: Option<u64>,
    /// Log start offset told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_start: Option<u64>,
    /// Leader epoch told; Esker's is a constant (R4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<u64>,
}

/// Positions of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assign {
    /// Process.
    pub p: u32,
    /// Next offset by partition; absent partitions are not read any more.
    pub at: BTreeMap<String, u64>,
}

/// What a run knows from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// Offsets without a record, and why.
    Range(Range),
    /// A partition was read from its start to its end, by polls that are `last`, after everything
    /// was sent.
    Whole(Whole),
    /// A member owns these partitions in its generation.
    Owns(Owns),
    /// Hash of offsets `from..to`, read in full from a pod.
    Digest(Digest),
}

/// Why offsets have no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// Reserved and never written.
    Void,
    /// Markers of transactions.
    Control,
    /// Removed by compaction.
    Compacted,
    /// Below a log start offset that was moved.
    Retention,
}

/// Offsets without a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Partition.
    pub key: String,
    /// First offset.
    pub from: u64,
    /// Offset behind the last.
    pub to: u64,
    /// Why.
    pub why: Absence,
}

/// A partition that was read whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    /// Partition.
    pub key: String,
    /// Isolation of that reading.
    #[serde(default)]
    pub iso: Isolation,
}

/// Ownership in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owns {
    /// Group.
    pub group: String,
    /// Generation.
    pub generation: u32,
    /// Member.
    pub member: String,
    /// Partitions.
    pub keys: Vec<String>,
}

/// Hash of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// Partition.
    pub key: String,
    /// First offset.
    pub from: u64,
    /// Offset behind the last.
    pub to: u64,
    /// Where it was read.
    pub pod: String,
    /// The hash.
    pub hash: String,
}
