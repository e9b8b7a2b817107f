//! Records as JSON: what clients append, with an error that says which record and which field.

use bytes::Bytes;
use esker_metadata_api::Topic;
use esker_types::{PartitionIndex, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::bad;
use crate::limits::RECORD_HEADERS_MAX;
use crate::parts::{NewRecord, ReadRecord, RecordHeader};
use crate::problem::{Problem, ProblemKind};
use crate::value::{Encoding, Value};

/// A record to be appended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordBody {
    /// Without it the key decides as Kafka's Java client does; keyless records of one append go
    /// to one partition.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 9999)]
    partition: Option<i32>,
    /// Milliseconds since 1970; without it now.
    #[serde(default)]
    #[schema(minimum = 0)]
    timestamp: Option<i64>,
    #[serde(default)]
    key: Option<Value>,
    #[serde(default)]
    value: Option<Value>,
    #[serde(default)]
    #[schema(max_items = 1024)]
    headers: Vec<HeaderBody>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderBody {
    name: String,
    #[serde(default)]
    value: Option<Value>,
}

pub(crate) fn no_partition(given: impl std::fmt::Display) -> Problem {
    let detail = format!("topic has no partition {given}");
    Problem::new(ProblemKind::UnknownTopic, detail)
}

impl RecordBody {
    /// The record; an error names the field.
    pub(crate) fn into_record(
        self,
        topic: &Topic,
        partition: Option<PartitionIndex>,
    ) -> Result<NewRecord, Problem> {
        if self.headers.len() > RECORD_HEADERS_MAX {
            return Err(bad(format!("headers: more than {RECORD_HEADERS_MAX}")));
        }
        let bytes = |value: Option<Value>, what: &str| {
            let bytes = value.map(Value::into_bytes).transpose();
            bytes.map_err(|error| bad(format!("{what}: {error}")))
        };
        let asked = self.partition.map(|given| {
            let known = PartitionIndex::from_wire(given).filter(|asked| topic.has(*asked));
            known.ok_or_else(|| no_partition(given))
        });
        let asked = asked.transpose()?;
        if asked.is_some() && partition.is_some() && asked != partition {
            return Err(bad("partition: not that of the path"));
        }
        if self.timestamp.is_some_and(|millis| millis < 0) {
            return Err(bad("timestamp: below 0"));
        }
        let mut headers = Vec::with_capacity(self.headers.len());
        for (place, header) in self.headers.into_iter().enumerate() {
            headers.push(RecordHeader {
                value: bytes(header.value, &format!("headers[{place}].value"))?,
                name: header.name,
            });
        }
        Ok(NewRecord {
            partition: partition.or(asked),
            timestamp: self.timestamp.map(Timestamp::from_millis),
            key: bytes(self.key, "key")?,
            value: bytes(self.value, "value")?,
            headers,
        })
    }
}

/// Bytes of a record, about: what a chunk counts.
pub(crate) fn record_bytes(record: &NewRecord) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter();
    let headers = headers.map(|header| header.name.len() + length(&header.value) + 8);
    length(&record.key) + length(&record.value) + headers.sum::<usize>() + 32
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeaderRow {
    name: Value,
    #[schema(required)]
    value: Option<Value>,
}

/// A record as it was read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordRow {
    offset: u64,
    /// Milliseconds since 1970; -1 where its producer gave none.
    timestamp: i64,
    #[schema(required)]
    key: Option<Value>,
    #[schema(required)]
    value: Option<Value>,
    headers: Vec<HeaderRow>,
}

impl RecordRow {
    pub(crate) fn of(record: &ReadRecord, encoding: Encoding) -> Self {
        let value = |bytes: &Option<Bytes>| {
            let bytes = bytes.as_ref();
            bytes.map(|bytes| Value::from_bytes(bytes, encoding))
        };
        let headers = record.headers.iter().map(|(name, header)| HeaderRow {
            name: Value::from_bytes(name, Encoding::Auto),
            value: value(header),
        });
        Self {
            offset: record.offset.get(),
            timestamp: record.timestamp.millis(),
            key: value(&record.key),
            value: value(&record.value),
            headers: headers.collect(),
        }
    }
}

/// Bytes of a record that was read: what an answer counts.
pub(crate) fn read_bytes(record: &ReadRecord) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| name.len() + length(value) + 32);
    length(&record.key) + length(&record.value) + headers.sum::<usize>() + 64
}
