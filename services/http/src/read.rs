//! Reading records over HTTP: a page as JSON, or a stream of NDJSON, events or record batches.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use esker_types::{Offset, Timestamp, TopicPartition};
use futures::stream;
use serde::Serialize;
use utoipa::ToSchema;

use crate::append::{BATCHES, NDJSON};
use crate::body::{Parameters, bad};
use crate::front::{Front, RequestPlace, Room};
use crate::limits::{PIECE_BYTES_MAX, READ_BYTES_MAX, READ_RECORDS_MAX, WAIT_MAX};
use crate::outflow::{Outflow, Shape};
use crate::parts::{ReadEnd, ReadFrom, ReadOutcome, ReadQuery, ReadRecord};
use crate::path::PathPartition;
use crate::problem::Problem;
use crate::record::{RecordRow, read_bytes};
use crate::value::Encoding;

/// Records of a read that does not say how many.
const RECORDS_DEFAULT: u32 = 500;
const EVENTS: &str = "text/event-stream";

/// A page of records.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReadAnswer {
    records: Vec<RecordRow>,
    /// Where the next read begins.
    next_offset: u64,
    /// One past the last visible record.
    high_watermark: u64,
    /// First offset still there.
    log_start: u64,
}

/// How the JSON of a [`ReadAnswer`] begins.
const RECORDS_BEGIN: &[u8] = b"{\"records\":[";

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

/// What the client takes; without a word of it a page of JSON.
fn shape(headers: &HeaderMap) -> Option<Shape> {
    let accept = headers.get_all(header::ACCEPT).iter();
    let mut kinds = accept.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    kinds.find_map(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        match kind.to_ascii_lowercase().as_str() {
            NDJSON | "application/ndjson" | "application/jsonl" => Some(Shape::Ndjson),
            EVENTS => Some(Shape::Events),
            BATCHES => Some(Shape::Batches),
            _ => None,
        }
    })
}

/// Where an event stream goes on: behind the last event that the client has seen.
fn resumed(headers: &HeaderMap) -> Result<Option<ReadFrom>, Problem> {
    let Some(last) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let digits = last.to_str().ok();
    let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let last = digits.and_then(|text| text.parse().ok());
    let next = last.and_then(Offset::new).and_then(|last| last.after(1));
    let wrong = || bad("header Last-Event-ID must be the id of an event: an offset");
    next.map(|next| Some(ReadFrom::Offset(next)))
        .ok_or_else(wrong)
}

/// Reads records of a partition.
///
/// As JSON: a page, waiting up to `wait` for the first record. As a stream: records from there to
/// the end, or for ever with `follow`. As events (SSE): for ever; an event's id is its offset, and
/// `Last-Event-ID` goes on behind it.
#[utoipa::path(
    get,
    path = "/topics/{name}/partitions/{partition}/records",
    tag = "records",
    params(
        ("name" = String, Path, description = "Topic"),
        ("partition" = u32, Path, maximum = 9999),
        ("offset" = Option<i64>, Query, minimum = 0, description = "Begin here"),
        ("timestamp" = Option<i64>, Query, minimum = 0,
            description = "Begin at the first record with at least this time"),
        ("tail" = Option<i64>, Query, minimum = 0, description = "Begin so many before the end"),
        ("from" = Option<String>, Query, pattern = "^(earliest|latest)$"),
        ("limit" = Option<i64>, Query, minimum = 0, maximum = 10000,
            description = "Records at most; of a stream any number"),
        ("max_bytes" = Option<i64>, Query, minimum = 0, maximum = 8388608,
            description = "Bytes of stored batches to look at (a page only)"),
        ("wait" = Option<i64>, Query, minimum = 0, maximum = 60000,
            description = "Milliseconds to wait for a record (a page only)"),
        ("follow" = Option<bool>, Query, description = "Go on at the end (NDJSON and batches)"),
        ("encoding" = Option<String>, Query, pattern = "^(auto|base64)$"),
        ("Last-Event-ID" = Option<String>, Header, pattern = "^[0-9]{1,18}$",
            description = "Events only: go on behind this one"),
    ),
    responses((status = 200, description = "Records", content(
        (ReadAnswer = "application/json"),
        (RecordRow = "application/x-ndjson"),
        (String = "text/event-stream"),
        (String = "application/vnd.esker.batches"),
    ))),
)]
pub(crate) async fn read(
    State(front): State<Arc<Front>>,
    Extension(place): Extension<RequestPlace>,
    path: PathPartition,
    Query(pairs): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(pairs)?;
    let from = begin(&mut parameters)?;
    let encoding = encoding(&mut parameters)?;
    // Looked at whatever is asked for: what is no event's id is a mistake everywhere.
    let resumed = resumed(&headers)?;
    let shape = shape(&headers);
    let Some(shape) = shape else {
        let page = Page::new(&mut parameters, encoding)?;
        parameters.end()?;
        return page.answer(&front, path.at(), from).await;
    };
    let most = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
    let limit = parameters.number("limit", most)?;
    let follow = parameters.flag("follow")? || shape == Shape::Events;
    parameters.end()?;
    let from = match shape {
        Shape::Events => resumed.unwrap_or(from),
        Shape::Ndjson | Shape::Batches => from,
    };
    let outflow = Outflow::begin(&front, &place, path.at(), from, shape, encoding).await?;
    let outflow = outflow.limited(limit, follow).await?;
    let kind = match shape {
        Shape::Ndjson => NDJSON,
        Shape::Events => EVENTS,
        Shape::Batches => BATCHES,
    };
    let head = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((head, Body::from_stream(outflow.pieces())).into_response())
}

/// A read that is answered at once.
struct Page {
    records_max: u32,
    bytes_max: u32,
    wait: Duration,
    encoding: Encoding,
}

impl Page {
    fn new(parameters: &mut Parameters, encoding: Encoding) -> Result<Self, Problem> {
        let limit = parameters.number("limit", u64::from(READ_RECORDS_MAX))?;
        let bytes = parameters.number("max_bytes", u64::from(READ_BYTES_MAX))?;
        let wait_most = u64::try_from(WAIT_MAX.as_millis()).unwrap_or(u64::MAX);
        let wait = parameters.number("wait", wait_most)?.unwrap_or(0);
        let small = |number: Option<u64>, otherwise: u32| {
            number.map_or(otherwise, |number| {
                u32::try_from(number).unwrap_or(otherwise)
            })
        };
        Ok(Self {
            records_max: small(limit, RECORDS_DEFAULT),
            bytes_max: small(bytes, READ_BYTES_MAX),
            wait: Duration::from_millis(wait),
            encoding,
        })
    }

    async fn answer(
        self,
        front: &Arc<Front>,
        topic_partition: TopicPartition,
        from: ReadFrom,
    ) -> Result<Response, Problem> {
        let query = ReadQuery {
            topic_partition,
            from,
            records_max: Some(self.records_max),
            bytes_max: self.bytes_max,
            wait: self.wait,
            end: match self.wait.is_zero() {
                true => ReadEnd::Current,
                false => ReadEnd::Heard,
            },
        };
        let outcome = front.parts.reader.read(query).await?;
        let mut body = PageBody::new(front, &outcome).await?;
        let next_offset = self.write_rows(front, &outcome, &mut body).await?;
        let without_rows = ReadAnswer {
            records: Vec::new(),
            next_offset: next_offset.get(),
            high_watermark: outcome.high_watermark.get(),
            log_start: outcome.log_start.get(),
        };
        drop(outcome);
        let head = [(header::CONTENT_TYPE, "application/json")];
        Ok((head, body.finish(&without_rows).await?).into_response())
    }

    /// Writes the records, and tells where the next read begins.
    async fn write_rows(
        &self,
        front: &Front,
        outcome: &ReadOutcome,
        body: &mut PageBody,
    ) -> Result<Offset, Problem> {
        let records_max = usize::try_from(self.records_max).unwrap_or(usize::MAX);
        let bytes_max = usize::try_from(READ_BYTES_MAX).unwrap_or(usize::MAX);
        let mut bytes = 0;
        for batch in &outcome.batches {
            for record in front.parts.reader.records(batch)? {
                let record = record?;
                if record.offset < outcome.begin {
                    continue;
                }
                let record_bytes = read_bytes(&record);
                bytes += record_bytes;
                if body.rows >= records_max || (bytes > bytes_max && body.rows > 0) {
                    return Ok(record.offset);
                }
                body.write(&record, self.encoding, record_bytes).await?;
            }
        }
        Ok(outcome.next_offset)
    }
}

/// The JSON of a page while it is written. Memory is paid for before it is taken: what a batch
/// holds is known only as it is decoded.
struct PageBody {
    text: Vec<u8>,
    rows: usize,
    /// Bytes of the batches that it is made of.
    stored: usize,
    room: Room,
}

impl PageBody {
    async fn new(front: &Arc<Front>, outcome: &ReadOutcome) -> Result<Self, Problem> {
        let stored = outcome.batches.iter().map(Bytes::len).sum();
        let mut room = Room::new(front)?;
        room.cover(stored).await?;
        Ok(Self {
            text: Vec::new(),
            rows: 0,
            stored,
            room,
        })
    }

    /// Makes room for so many bytes more.
    async fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let wanted = self.text.len().saturating_add(bytes);
        let held = self.text.capacity();
        if wanted > held {
            let capacity = wanted.max(held.saturating_mul(2));
            self.room
                .cover(self.stored.saturating_add(capacity))
                .await?;
            self.text.reserve_exact(capacity - self.text.len());
        }
        Ok(())
    }

    async fn write(
        &mut self,
        record: &ReadRecord,
        encoding: Encoding,
        bytes: usize,
    ) -> Result<(), Problem> {
        self.grow(bytes).await?;
        let begin = if self.rows == 0 { RECORDS_BEGIN } else { b"," };
        self.text.extend_from_slice(begin);
        self.rows += 1;
        // Into memory, of plain types: it cannot fail.
        let _ = serde_json::to_writer(&mut self.text, &RecordRow::of(record, encoding));
        // Escapes may have made more of it than was foreseen.
        let held = self.stored.saturating_add(self.text.capacity());
        self.room.cover(held).await
    }

    /// The whole body: the rows inside the answer without them. The batches are let go of.
    async fn finish(mut self, without_rows: &ReadAnswer) -> Result<Body, Problem> {
        let frame = serde_json::to_vec(without_rows).unwrap_or_default();
        let begin = if self.rows == 0 {
            0
        } else {
            RECORDS_BEGIN.len()
        };
        self.grow(frame.len()).await?;
        self.text
            .extend_from_slice(frame.get(begin..).unwrap_or_default());
        self.room.cover(self.text.capacity()).await?;
        Ok(held_body(Bytes::from(self.text), self.room))
    }
}

/// A body in pieces; its memory counts until the last of them is taken by the connection.
fn held_body(bytes: Bytes, room: Room) -> Body {
    let pieces = stream::unfold((bytes, room), async |(mut left, room)| {
        if left.is_empty() {
            return None;
        }
        let piece = left.split_to(left.len().min(PIECE_BYTES_MAX));
        Some((Ok::<_, std::convert::Infallible>(piece), (left, room)))
    });
    Body::from_stream(pieces)
}
