//! Appending records over HTTP: JSON in, the place of each record out.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use esker_metadata_api::Topic;
use esker_types::{PartitionIndex, Timestamp};
use serde::{Deserialize, Serialize};

use crate::body::{bad, parse_json};
use crate::limits::{APPEND_RECORDS_MAX, RECORD_HEADERS_MAX};
use crate::parts::{HttpParts, NewRecord, RecordHeader};
use crate::problem::{Problem, ProblemKind};
use crate::topics::find;
use crate::value::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AppendBody {
    records: Vec<RecordBody>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordBody {
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default)]
    timestamp: Option<i64>,
    #[serde(default)]
    key: Option<Value>,
    #[serde(default)]
    value: Option<Value>,
    #[serde(default)]
    headers: Vec<HeaderBody>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderBody {
    name: String,
    #[serde(default)]
    value: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Place {
    partition: u32,
    offset: u64,
}

#[derive(Debug, Serialize)]
struct AppendAnswer {
    records: Vec<Place>,
}

fn record(topic: &Topic, index: usize, body: RecordBody) -> Result<NewRecord, Problem> {
    let at = |what: &str| bad(format!("record {index}: {what}"));
    if body.headers.len() > RECORD_HEADERS_MAX {
        return Err(at("more than 1024 headers"));
    }
    let bytes = |value: Option<Value>, what: &str| {
        let bytes = value.map(Value::into_bytes).transpose();
        bytes.map_err(|error| at(&format!("{what}: {error}")))
    };
    let partition = body.partition.map(|given| {
        let known = PartitionIndex::from_wire(given).filter(|partition| topic.has(*partition));
        known.ok_or_else(|| {
            let detail = format!("record {index}: topic has no partition {given}");
            Problem::new(ProblemKind::UnknownTopic, detail)
        })
    });
    if body.timestamp.is_some_and(|millis| millis < 0) {
        return Err(at("timestamp is below 0"));
    }
    let mut headers = Vec::with_capacity(body.headers.len());
    for header in body.headers {
        headers.push(RecordHeader {
            name: header.name,
            value: bytes(header.value, "header")?,
        });
    }
    Ok(NewRecord {
        partition: partition.transpose()?,
        timestamp: body.timestamp.map(Timestamp::from_millis),
        key: bytes(body.key, "key")?,
        value: bytes(body.value, "value")?,
        headers,
    })
}

pub(crate) async fn append(
    State(parts): State<HttpParts>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: AppendBody = parse_json(&body)?;
    if body.records.is_empty() {
        return Err(bad("there are no records in the body"));
    }
    if body.records.len() > APPEND_RECORDS_MAX {
        let detail = format!("at most {APPEND_RECORDS_MAX} records are taken at once");
        return Err(Problem::new(ProblemKind::TooLarge, detail));
    }
    let topic = find(&parts, &name).await?;
    let records = body.records.into_iter().enumerate();
    let records = records.map(|(index, body)| record(&topic, index, body));
    let records = records.collect::<Result<Vec<_>, _>>()?;
    let places = parts.appender.append(topic, records).await?;
    let place = |place: crate::RecordPlace| Place {
        partition: place.partition.get(),
        offset: place.offset.get(),
    };
    let records = places.into_iter().map(place).collect();
    Ok(Json(AppendAnswer { records }).into_response())
}
