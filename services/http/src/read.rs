//! Reading records over HTTP: from an offset, a time, the start or the tail, waiting if asked to.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use esker_types::{Offset, PartitionIndex, Timestamp};
use serde::Serialize;

use crate::body::{Parameters, bad};
use crate::limits::{READ_BYTES_MAX, READ_RECORDS_MAX, WAIT_MAX};
use crate::parts::{HttpParts, ReadFrom, ReadQuery, ReadRecord};
use crate::problem::{Problem, ProblemKind};
use crate::topics::find;
use crate::value::{Encoding, Value};

/// Records of a read that does not say how many.
const RECORDS_DEFAULT: u32 = 500;

#[derive(Debug, Serialize)]
struct HeaderRow {
    name: Value,
    value: Option<Value>,
}

#[derive(Debug, Serialize)]
struct RecordRow {
    offset: u64,
    timestamp: i64,
    key: Option<Value>,
    value: Option<Value>,
    headers: Vec<HeaderRow>,
}

#[derive(Debug, Serialize)]
struct ReadAnswer {
    records: Vec<RecordRow>,
    next_offset: u64,
    high_watermark: u64,
    log_start: u64,
}

impl RecordRow {
    fn of(record: ReadRecord, encoding: Encoding) -> Self {
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

fn begin(parameters: &mut Parameters) -> Result<ReadFrom, Problem> {
    let most = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
    let offset = parameters.number("offset", most)?;
    let timestamp = parameters.number("timestamp", most)?;
    let tail = parameters.number("tail", most)?;
    let from = parameters.text("from");
    match (offset, timestamp, tail, from.as_deref()) {
        (None, None, None, None | Some("earliest")) => Ok(ReadFrom::Earliest),
        (None, None, None, Some("latest")) => Ok(ReadFrom::Tail(0)),
        (Some(offset), None, None, None) => Offset::new(offset)
            .map(ReadFrom::Offset)
            .ok_or_else(|| bad("offset is too large")),
        (None, Some(timestamp), None, None) => {
            let millis = i64::try_from(timestamp).unwrap_or(i64::MAX);
            Ok(ReadFrom::Timestamp(Timestamp::from_millis(millis)))
        }
        (None, None, Some(tail), None) => Ok(ReadFrom::Tail(tail)),
        (None, None, None, Some(_)) => Err(bad("\"from\" must be earliest or latest")),
        _ => Err(bad(
            "give one of offset, timestamp, tail and from, not several",
        )),
    }
}

fn encoding(parameters: &mut Parameters) -> Result<Encoding, Problem> {
    match parameters.text("encoding").as_deref() {
        None | Some("auto") => Ok(Encoding::Auto),
        Some("base64") => Ok(Encoding::Base64),
        Some(_) => Err(bad("\"encoding\" must be auto or base64")),
    }
}

pub(crate) async fn read(
    State(parts): State<HttpParts>,
    Path((name, partition)): Path<(String, String)>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(pairs)?;
    let from = begin(&mut parameters)?;
    let encoding = encoding(&mut parameters)?;
    let limit = parameters.number("limit", u64::from(READ_RECORDS_MAX))?;
    let bytes = parameters.number("max_bytes", u64::from(READ_BYTES_MAX))?;
    let wait_most = u64::try_from(WAIT_MAX.as_millis()).unwrap_or(u64::MAX);
    let wait = parameters.number("wait", wait_most)?.unwrap_or(0);
    parameters.end()?;
    let topic = find(&parts, &name).await?;
    let index = partition.parse().ok().and_then(PartitionIndex::from_wire);
    let index = index.filter(|index| topic.has(*index)).ok_or_else(|| {
        let detail = format!("topic {name:?} has no partition {partition:?}");
        Problem::new(ProblemKind::UnknownTopic, detail)
    })?;
    let small = |number: Option<u64>, otherwise: u32| {
        number.map_or(otherwise, |number| {
            u32::try_from(number).unwrap_or(otherwise)
        })
    };
    let query = ReadQuery {
        topic_partition: topic.at(index),
        from,
        records_max: small(limit, RECORDS_DEFAULT),
        bytes_max: small(bytes, READ_BYTES_MAX),
        wait: Duration::from_millis(wait),
    };
    let outcome = parts.reader.read(query).await?;
    let rows = outcome.records.into_iter();
    let answer = ReadAnswer {
        records: rows.map(|record| RecordRow::of(record, encoding)).collect(),
        next_offset: outcome.next_offset.get(),
        high_watermark: outcome.high_watermark.get(),
        log_start: outcome.log_start.get(),
    };
    Ok(Json(answer).into_response())
}
