//! Appending records over HTTP: JSON, one raw value, or a stream of NDJSON or record batches.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use esker_metadata_api::Topic;
use esker_types::{Offset, PartitionIndex};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::batches::Batches;
use crate::body::{AtMost, Object, Parameters, WholeBody, bad, parse_json};
use crate::front::{Front, RequestPlace};
use crate::idempotency::AppendKey;
use crate::intake::Intake;
use crate::limits::APPEND_RECORDS_MAX;
use crate::ndjson::Lines;
use crate::parts::{AppendRecords, NewRecord};
use crate::path::{PathPartition, PathTopic};
use crate::problem::{Problem, ProblemKind};
use crate::record::RecordBody;

pub(crate) const NDJSON: &str = "application/x-ndjson";
pub(crate) const BATCHES: &str = "application/vnd.esker.batches";

/// Records to be appended; each partition's share is one batch, and in the log whole or not.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppendBody {
    #[schema(min_items = 1, max_items = 10_000, value_type = Vec<RecordBody>)]
    records: AtMost<Object<RecordBody>, APPEND_RECORDS_MAX>,
}

/// Where a record stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Place {
    partition: u32,
    offset: u64,
}

/// Where each record stands, in the order given.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppendAnswer {
    records: Vec<Place>,
}

/// Where records go, and on what condition.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) topic: Arc<Topic>,
    pub(crate) partition: Option<PartitionIndex>,
    pub(crate) key: Option<AppendKey>,
    pub(crate) expected_end: Option<Offset>,
}

/// What the body is.
enum Media {
    Json,
    Ndjson,
    Value,
    Batches,
}

fn media(headers: &HeaderMap) -> Result<Media, Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Media::Json);
    };
    let given = given.to_str().unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    match kind.to_ascii_lowercase().as_str() {
        // curl's default is a form.
        "" | "application/json" | "application/x-www-form-urlencoded" | "text/plain" => {
            Ok(Media::Json)
        }
        NDJSON | "application/ndjson" | "application/jsonl" => Ok(Media::Ndjson),
        "application/octet-stream" => Ok(Media::Value),
        BATCHES => Ok(Media::Batches),
        _ => Err(Problem::new(
            ProblemKind::UnsupportedMedia,
            format!(
                "{kind:?} is not taken: send application/json, {NDJSON}, \
                 application/octet-stream (one value), or {BATCHES} to a partition"
            ),
        )),
    }
}

/// Appends records to any partitions.
///
/// JSON is one batch per partition. NDJSON is a stream of any length: one record a line; the
/// answer is NDJSON too, a line for each chunk in the log and a last line that says whether all
/// went well. `application/octet-stream` is one record without a key.
#[utoipa::path(
    post,
    path = "/topics/{name}/records",
    tag = "records",
    params(
        ("name" = String, Path, description = "Topic"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "The same append with the same key is done once"),
    ),
    request_body(content(
        (AppendBody = "application/json"),
        (RecordBody = "application/x-ndjson"),
        (String = "application/octet-stream"),
    )),
    responses((status = 200, description = "In the log", content(
        (AppendAnswer = "application/json"),
        (crate::ndjson::StreamLine = "application/x-ndjson"),
    ))),
)]
pub(crate) async fn append(
    State(front): State<Arc<Front>>,
    Extension(place): Extension<RequestPlace>,
    PathTopic(topic): PathTopic,
    Query(pairs): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::new(pairs)?.end()?;
    let target = Target {
        key: AppendKey::from_headers(request.headers())?,
        expected_end: None,
        partition: None,
        topic,
    };
    append_to(&front, &place, target, request).await
}

/// Appends records to one partition.
///
/// As above, and with `expected_offset` only if the partition ends there: if another append came
/// first, nothing is done and the answer is 412. `application/vnd.esker.batches` is a stream of
/// record batches of Kafka's format, magic 2, one after the other.
#[utoipa::path(
    post,
    path = "/topics/{name}/partitions/{partition}/records",
    tag = "records",
    params(
        ("name" = String, Path, description = "Topic"),
        ("partition" = u32, Path, maximum = 9999),
        ("expected_offset" = Option<i64>, Query, minimum = 0,
            description = "Append only if the partition ends here (JSON and single values)"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "The same append with the same key is done once"),
    ),
    request_body(content(
        (AppendBody = "application/json"),
        (RecordBody = "application/x-ndjson"),
        (String = "application/octet-stream"),
        (String = "application/vnd.esker.batches"),
    )),
    responses((status = 200, description = "In the log", content(
        (AppendAnswer = "application/json"),
        (crate::ndjson::StreamLine = "application/x-ndjson"),
    ))),
)]
pub(crate) async fn append_one(
    State(front): State<Arc<Front>>,
    Extension(place): Extension<RequestPlace>,
    path: PathPartition,
    Query(pairs): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(pairs)?;
    let most = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
    let expected = parameters.number("expected_offset", most)?;
    parameters.end()?;
    let target = Target {
        key: AppendKey::from_headers(request.headers())?,
        expected_end: expected.and_then(Offset::new),
        partition: Some(path.partition),
        topic: path.topic,
    };
    append_to(&front, &place, target, request).await
}

async fn append_to(
    front: &Arc<Front>,
    place: &RequestPlace,
    target: Target,
    request: Request,
) -> Result<Response, Problem> {
    let media = media(request.headers())?;
    let is_stream = matches!(media, Media::Ndjson | Media::Batches);
    if is_stream && target.expected_end.is_some() {
        return Err(bad(
            "expected_offset is for one append: a stream is many, send it as JSON",
        ));
    }
    match media {
        Media::Json => {
            let body = whole(front, request).await?;
            let parsed: AppendBody = parse_json(&body.bytes)?;
            let records = json_records(&target, parsed)?;
            append_records(front, target, records).await
        }
        Media::Value => {
            let body = whole(front, request).await?;
            let record = NewRecord {
                partition: target.partition,
                timestamp: None,
                key: None,
                value: Some(body.bytes.clone()),
                headers: Vec::new(),
            };
            append_records(front, target, vec![record]).await
        }
        Media::Ndjson => {
            let lines = Lines::new(front, target);
            let intake = Intake::new(front, place, request.into_body(), lines)?;
            Box::pin(intake.respond(NDJSON)).await
        }
        Media::Batches => {
            let batches = Batches::new(front, &target)?;
            let intake = Intake::new(front, place, request.into_body(), batches)?;
            Box::pin(intake.respond(NDJSON)).await
        }
    }
}

async fn whole(front: &Arc<Front>, request: Request) -> Result<WholeBody, Problem> {
    use axum::extract::FromRequest as _;
    WholeBody::from_request(request, front).await
}

fn json_records(target: &Target, body: AppendBody) -> Result<Vec<NewRecord>, Problem> {
    let AtMost(records) = body.records;
    if records.is_empty() {
        return Err(bad("there are no records in the body"));
    }
    if records.len() > APPEND_RECORDS_MAX {
        let detail = format!("at most {APPEND_RECORDS_MAX} records are taken at once");
        return Err(Problem::new(ProblemKind::TooLarge, detail));
    }
    let records = records
        .into_iter()
        .enumerate()
        .map(|(place, Object(record))| {
            let record = record.into_record(&target.topic, target.partition);
            record.map_err(|problem| Problem {
                detail: format!("records[{place}]: {}", problem.detail),
                ..problem
            })
        });
    records.collect()
}

async fn append_records(
    front: &Front,
    target: Target,
    records: Vec<NewRecord>,
) -> Result<Response, Problem> {
    let request = AppendRecords {
        topic: target.topic,
        records,
        key: target.key,
        expected_end: target.expected_end,
    };
    let outcomes = front.parts.appender.append(request).await?.await;
    let count = outcomes.len();
    let mut records = Vec::with_capacity(count);
    let mut failure = None;
    for outcome in outcomes {
        match outcome {
            Ok(place) => records.push(Place {
                partition: place.partition.get(),
                offset: place.offset.get(),
            }),
            Err(problem) => failure = Some(problem.graver(failure)),
        }
    }
    match failure {
        None => Ok(Json(AppendAnswer { records }).into_response()),
        Some(problem) if records.is_empty() => Err(problem),
        // Not "nothing was done": a client that repeats it would write some of them twice.
        Some(problem) => Err(Problem {
            kind: ProblemKind::Unknown,
            detail: format!(
                "{} of {count} records were appended; of the others: {}",
                records.len(),
                problem.detail
            ),
            ..problem
        }),
    }
}
