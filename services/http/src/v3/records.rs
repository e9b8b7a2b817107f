//! `POST /v3/clusters/{id}/topics/{topic}/records`: JSON documents in, a delivery report for each.
//!
//! One document or any number of them in one (chunked) body; reports come in the same order while
//! the body is being sent. A record that cannot be has a report of its own and the stream goes on;
//! what is no JSON ends it. Formats BINARY, JSON and STRING: there is no schema registry.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use esker_metadata_api::Topic;
use esker_types::PartitionIndex;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::error::V3Error;
use super::json_split::{JsonSplitter, compact};
use super::resources::V3Topic;
use super::time;
use crate::body::{Object, bad};
use crate::front::{Front, RequestPlace};
use crate::intake::{Format, Intake, PendingReport, Report, record_chunk_bytes};
use crate::limits::{LINE_BYTES_MAX, MESSAGE_CHARS_MAX, RECORD_HEADERS_MAX, REPORT_BYTES};
use crate::parts::{AppendRecords, NewRecord, RecordHeader, RecordPlace};
use crate::problem::{Problem, ProblemKind};
use crate::record::{no_partition, record_bytes};

/// A record to be produced.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct V3Record {
    #[serde(default)]
    #[schema(minimum = 0, maximum = 9999)]
    partition_id: Option<i32>,
    #[serde(default)]
    #[schema(max_items = 1024, value_type = Vec<V3Header>)]
    headers: Vec<Object<V3Header>>,
    #[serde(default)]
    #[schema(value_type = Option<V3Data>)]
    key: Option<Object<V3Data>>,
    #[serde(default)]
    #[schema(value_type = Option<V3Data>)]
    value: Option<Object<V3Data>>,
    /// ISO 8601; without it now.
    #[serde(default)]
    timestamp: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct V3Header {
    name: String,
    /// Base64.
    #[serde(default)]
    value: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct V3Data {
    #[serde(rename = "type", default)]
    #[schema(pattern = "^(BINARY|JSON|STRING)$")]
    format: Option<String>,
    /// BINARY: base64. STRING: text. JSON: any JSON, stored as text without blanks. `null` is null.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
}

/// How large a key or value became.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct V3Size {
    r#type: &'static str,
    size: usize,
}

/// What became of a record.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct V3Report {
    /// 200: it is in the log. Else as in an error, with `message`.
    error_code: u32,
    cluster_id: String,
    topic_name: String,
    partition_id: u32,
    offset: u64,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<V3Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<V3Size>,
}

/// What is wrong with a document, in words that may quote it: cut, since its client chose them.
fn unprocessable(mut message: String) -> V3Error {
    if let Some((cut, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
        message.truncate(cut);
        message.push('…');
    }
    V3Error::new(StatusCode::UNPROCESSABLE_ENTITY, message)
}

fn base64(text: &str, field: &str) -> Result<Bytes, V3Error> {
    let bytes = STANDARD.decode(text).map(Bytes::from);
    bytes.map_err(|error| unprocessable(format!("{field}: not base64: {error}")))
}

type Encoded = (Option<Bytes>, Option<V3Size>);

impl V3Data {
    fn encode(self, field: &str) -> Result<Encoded, V3Error> {
        let Some(format) = self.format.as_deref() else {
            let message = format!("{field}.type: BINARY, JSON or STRING is wanted");
            return Err(unprocessable(message));
        };
        let kind = match format {
            "BINARY" => "BINARY",
            "JSON" => "JSON",
            "STRING" => "STRING",
            other => {
                let message = format!(
                    "{field}.type: {other:?} needs a schema registry; BINARY, JSON or STRING do not"
                );
                return Err(unprocessable(message));
            }
        };
        let size = |size| Some(V3Size { r#type: kind, size });
        let Some(data) = self.data else {
            return Ok((None, size(0)));
        };
        let bytes = if kind == "JSON" {
            Bytes::from(compact(data.get()))
        } else {
            let text: Result<String, _> = serde_json::from_str(data.get());
            let text = text.map_err(|_| unprocessable(format!("{field}.data: not a text")))?;
            match kind {
                "BINARY" => base64(&text, &format!("{field}.data"))?,
                _ => Bytes::from(text),
            }
        };
        let length = bytes.len();
        Ok((Some(bytes), size(length)))
    }
}

/// A record on its way, and what its report says of it.
#[derive(Debug)]
pub(crate) struct Checked {
    record: NewRecord,
    key: Option<V3Size>,
    value: Option<V3Size>,
}

impl V3Record {
    fn check(self, topic: &Topic) -> Result<Checked, V3Error> {
        if self.headers.len() > RECORD_HEADERS_MAX {
            let message = format!("headers: more than {RECORD_HEADERS_MAX}");
            return Err(unprocessable(message));
        }
        let partition = self.partition_id.map(|given| {
            let index = PartitionIndex::from_wire(given).filter(|index| topic.has(*index));
            index.ok_or_else(|| V3Error::from(no_partition(given)))
        });
        let timestamp = self.timestamp.map(|text| {
            let found = time::from_text(&text);
            found.ok_or_else(|| unprocessable(format!("timestamp: {text:?} is not ISO 8601")))
        });
        let mut headers = Vec::with_capacity(self.headers.len());
        for (place, Object(header)) in self.headers.into_iter().enumerate() {
            let field = format!("headers[{place}].value");
            let value = header.value.map(|value| base64(&value, &field));
            headers.push(RecordHeader {
                name: header.name,
                value: value.transpose()?,
            });
        }
        let encode = |data: Option<Object<V3Data>>, field| match data {
            Some(Object(data)) => data.encode(field),
            None => Ok((None, None)),
        };
        let (key, key_size) = encode(self.key, "key")?;
        let (value, value_size) = encode(self.value, "value")?;
        Ok(Checked {
            record: NewRecord {
                partition: partition.transpose()?,
                timestamp: timestamp.transpose()?,
                key,
                value,
                headers,
            },
            key: key_size,
            value: value_size,
        })
    }
}

/// Cuts documents and writes reports.
#[derive(Debug)]
struct Documents {
    front: Arc<Front>,
    topic: Arc<Topic>,
    cluster: String,
    splitter: JsonSplitter,
    count: u64,
}

impl Documents {
    fn report(&self) -> impl Fn(Told, Result<RecordPlace, V3Error>) -> Bytes + Send + 'static {
        let (cluster, topic) = (self.cluster.clone(), self.topic.name.to_string());
        move |told, outcome| {
            let outcome = match outcome {
                Ok(place) => V3Outcome::Delivered(V3Report {
                    error_code: 200,
                    cluster_id: cluster.clone(),
                    topic_name: topic.clone(),
                    partition_id: place.partition.get(),
                    offset: place.offset.get(),
                    timestamp: time::to_text(place.timestamp),
                    key: told.key,
                    value: told.value,
                }),
                Err(error) => V3Outcome::Failed(error),
            };
            // Into memory, of plain types: it cannot fail.
            let mut line = serde_json::to_vec(&outcome).unwrap_or_default();
            line.extend_from_slice(b"\r\n");
            Bytes::from(line)
        }
    }
}

/// What the report of a good record repeats.
#[derive(Clone, Debug, Default)]
struct Told {
    key: Option<V3Size>,
    value: Option<V3Size>,
}

impl Format for Documents {
    type Item = Result<Checked, V3Error>;

    fn push(&mut self, bytes: &[u8]) {
        self.splitter.push(bytes);
    }

    fn buffered(&self) -> usize {
        self.splitter.buffered()
    }

    fn rest(&mut self) {
        self.splitter.rest();
    }

    fn cut(&mut self, is_end: bool) -> Result<Option<Self::Item>, Problem> {
        let number = self.count + 1;
        let at = |problem: Problem| Problem {
            detail: format!("document {number}: {}", problem.detail),
            ..problem
        };
        let document = self.splitter.next().map_err(|wrong| {
            let found = char::from(wrong.found);
            at(bad(format!("a JSON object is wanted, not {found:?}")))
        })?;
        let length = document
            .as_ref()
            .map_or(self.splitter.buffered(), |whole| whole.len());
        if length > LINE_BYTES_MAX {
            let detail = format!("a record has at most {LINE_BYTES_MAX} bytes of JSON");
            return Err(at(Problem::new(ProblemKind::TooLarge, detail)));
        }
        let Some(document) = document else {
            if is_end && self.splitter.buffered() > 0 {
                return Err(at(bad("the body ends within it")));
            }
            return Ok(None);
        };
        self.count = number;
        let parsed: Result<V3Record, _> = serde_json::from_slice(&document);
        match parsed {
            Ok(record) => Ok(Some(record.check(&self.topic))),
            // A member of another type; the brackets match, so the next document is found.
            Err(error) if error.is_data() => Ok(Some(Err(unprocessable(error.to_string())))),
            Err(error) => Err(at(bad(error.to_string()))),
        }
    }

    fn item_bytes(item: &Self::Item) -> usize {
        let record = item.as_ref().map(|checked| record_bytes(&checked.record));
        record.unwrap_or(0).saturating_add(REPORT_BYTES)
    }

    fn closes_when_idle(&self) -> bool {
        true
    }

    fn chunk_bytes_max(&self) -> usize {
        record_chunk_bytes(&self.topic)
    }

    fn append(&mut self, items: Vec<Self::Item>) -> BoxFuture<'_, Result<PendingReport, Problem>> {
        let report = self.report();
        let mut records = Vec::with_capacity(items.len());
        let mut told = Vec::with_capacity(items.len());
        for item in items {
            told.push(item.map(|checked| {
                records.push(checked.record);
                Told {
                    key: checked.key,
                    value: checked.value,
                }
            }));
        }
        let count = records.len();
        let request = AppendRecords {
            topic: Arc::clone(&self.topic),
            records,
            key: None,
            expected_end: None,
        };
        async move {
            let outcomes = match count {
                0 => ready(Vec::new()).boxed(),
                _ => match self.front.parts.appender.append(request).await {
                    Ok(pending) => pending,
                    Err(problem) => ready(vec![Err(problem); count]).boxed(),
                },
            };
            Ok(outcomes
                .map(move |outcomes| reports(told, outcomes, report))
                .boxed())
        }
        .boxed()
    }

    fn last_line(&self, _: u64, problem: Option<&Problem>) -> Bytes {
        let Some(problem) = problem else {
            return Bytes::new();
        };
        self.report()(Told::default(), Err(problem.clone().into()))
    }
}

fn reports(
    told: Vec<Result<Told, V3Error>>,
    outcomes: Vec<Result<RecordPlace, Problem>>,
    report: impl Fn(Told, Result<RecordPlace, V3Error>) -> Bytes,
) -> Report {
    let mut outcomes = outcomes.into_iter();
    let mut lines = Vec::new();
    let mut records = 0;
    for told in told {
        let line = match told {
            Ok(told) => match outcomes.next() {
                Some(outcome) => {
                    records += u64::from(outcome.is_ok());
                    report(told, outcome.map_err(V3Error::from))
                }
                None => Bytes::new(),
            },
            Err(error) => report(Told::default(), Err(error)),
        };
        lines.extend_from_slice(&line);
    }
    Report {
        line: Bytes::from(lines),
        records,
        problem: None,
    }
}

/// Produces records: one JSON document or a stream of them, with a delivery report for each.
#[utoipa::path(
    post,
    path = "/clusters/{cluster_id}/topics/{topic_name}/records",
    tag = "confluent v3",
    params(("cluster_id" = String, Path), ("topic_name" = String, Path)),
    request_body = V3Record,
    responses((status = 200, description = "A report for each record, in order",
        body = V3Outcome)),
)]
pub(crate) async fn produce(
    State(front): State<Arc<Front>>,
    Extension(place): Extension<RequestPlace>,
    V3Topic { here, topic }: V3Topic,
    request: Request,
) -> Result<Response, V3Error> {
    if let Some(kind) = request.headers().get(header::CONTENT_TYPE) {
        let kind = kind.to_str().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let is_json = kind.eq_ignore_ascii_case("application/json")
            || kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        if !is_json {
            let message =
                format!("HTTP 415 Unsupported Media Type: {kind:?}, not application/json");
            return Err(V3Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
    }
    let documents = Documents {
        front: Arc::clone(&front),
        topic,
        cluster: here.cluster,
        splitter: JsonSplitter::default(),
        count: 0,
    };
    let intake = Intake::new(&front, &place, request.into_body(), documents)?;
    Ok(Box::pin(intake.respond("application/json")).await?)
}

/// A delivery report, or why there is none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum V3Outcome {
    Delivered(V3Report),
    Failed(V3Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_quotes_its_client_is_cut_at_its_limit() {
        let message = |count| unprocessable("ü".repeat(count)).message;

        assert_eq!(
            message(MESSAGE_CHARS_MAX).chars().count(),
            MESSAGE_CHARS_MAX
        );
        let cut = message(MESSAGE_CHARS_MAX + 1);
        assert_eq!(cut.chars().count(), MESSAGE_CHARS_MAX + 1);
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn a_report_is_paid_for_with_its_record_good_or_bad() {
        let bad = Err(unprocessable("no".to_owned()));

        assert_eq!(Documents::item_bytes(&bad), REPORT_BYTES);
    }
}
