//! NDJSON in: one record a line. With an idempotency key chunks are cut where the content says, so
//! that a repeat is cut alike and each chunk has a key of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;

use crate::append::Target;
use crate::body::{Object, bad};
use crate::front::Front;
use crate::intake::{Format, PendingReport, Report, record_chunk_bytes, rest};
use crate::limits::LINE_BYTES_MAX;
use crate::parts::{AppendRecords, NewRecord, RecordPlace};
use crate::problem::{Document, Problem, ProblemKind};
use crate::record::{RecordBody, record_bytes};

/// Records of a chunk in one partition; their offsets follow one another.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Span {
    partition: u32,
    first_offset: u64,
    last_offset: u64,
}

/// One line of the answer to a stream.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum StreamLine {
    /// So many more records are in the log.
    Chunk { records: u64, partitions: Vec<Span> },
    /// The last line: so many records are in the log in all.
    Last {
        done: bool,
        records: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Document>,
    },
}

impl StreamLine {
    pub(crate) fn bytes(&self) -> Bytes {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        Bytes::from(line)
    }

    pub(crate) fn last(records: u64, problem: Option<&Problem>) -> Bytes {
        let last = Self::Last {
            done: problem.is_none(),
            records,
            error: problem.map(Problem::document),
        };
        last.bytes()
    }
}

/// Records that stand one after the other, by the first; or why they are not in the log.
pub(crate) type Run = (Result<RecordPlace, Problem>, u32);

/// What a native stream is told of a chunk: nothing of records that are not in the log but why.
pub(crate) fn report(runs: impl IntoIterator<Item = Run>) -> Report {
    let mut spans: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    let mut records = 0;
    let mut failure = None;
    for (place, count) in runs {
        match place {
            Ok(place) => {
                let first = place.offset.get();
                let last = first.saturating_add(u64::from(count.saturating_sub(1)));
                let span = spans.entry(place.partition.get()).or_insert((first, last));
                *span = (span.0.min(first), span.1.max(last));
                records += u64::from(count);
            }
            Err(problem) => failure = Some(problem.graver(failure)),
        }
    }
    let spans = spans
        .into_iter()
        .map(|(partition, (first_offset, last_offset))| Span {
            partition,
            first_offset,
            last_offset,
        });
    let partitions: Vec<Span> = spans.collect();
    let chunk = (records > 0).then_some(StreamLine::Chunk {
        records,
        partitions,
    });
    Report {
        line: chunk.as_ref().map(StreamLine::bytes).unwrap_or_default(),
        records,
        problem: failure,
    }
}

/// Cuts lines.
#[derive(Debug)]
pub(crate) struct Lines {
    front: Arc<Front>,
    target: Target,
    buffer: BytesMut,
    /// Bytes at the front of the buffer without a line's end.
    scanned: usize,
    /// Lines cut.
    line: u64,
    /// Chunks appended.
    chunks: u64,
}

impl Lines {
    pub(crate) fn new(front: &Arc<Front>, target: Target) -> Self {
        Self {
            front: Arc::clone(front),
            target,
            buffer: BytesMut::new(),
            scanned: 0,
            line: 0,
            chunks: 0,
        }
    }

    fn next_line(&mut self, is_end: bool) -> Result<Option<BytesMut>, Problem> {
        let rest = self.buffer.get(self.scanned..).unwrap_or_default();
        let found = rest.iter().position(|byte| *byte == b'\n');
        let (length, ending) = match found {
            Some(place) => (self.scanned + place, 1),
            None if is_end && !self.buffer.is_empty() => (self.buffer.len(), 0),
            None => (self.buffer.len(), 0),
        };
        if length > LINE_BYTES_MAX {
            let detail = format!("a line has at most {LINE_BYTES_MAX} bytes");
            let problem = Problem::new(ProblemKind::TooLarge, detail);
            return Err(problem.at_line(self.line + 1));
        }
        if found.is_none() && (!is_end || self.buffer.is_empty()) {
            self.scanned = length;
            return Ok(None);
        }
        self.scanned = 0;
        self.line += 1;
        let mut line = self.buffer.split_to(length + ending);
        line.truncate(length);
        Ok(Some(line))
    }

    fn parse(&self, line: &[u8]) -> Result<NewRecord, Problem> {
        let parsed: Result<Object<RecordBody>, _> = serde_json::from_slice(line);
        // serde_json counts lines of its own: there is one.
        let parsed = parsed.map_err(|error| {
            let text = error.to_string();
            let what = text
                .rsplit_once(" at line ")
                .map_or(&*text, |(what, _)| what);
            bad(format!("{what}, at column {}", error.column()))
        });
        let record = parsed.and_then(|Object(body)| {
            let (topic, partition) = (&self.target.topic, self.target.partition);
            body.into_record(topic, partition)
        });
        record.map_err(|problem| problem.at_line(self.line))
    }
}

impl Format for Lines {
    type Item = NewRecord;

    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn rest(&mut self) {
        rest(&mut self.buffer);
    }

    fn cut(&mut self, is_end: bool) -> Result<Option<NewRecord>, Problem> {
        while let Some(line) = self.next_line(is_end)? {
            if !line.iter().all(u8::is_ascii_whitespace) {
                return self.parse(&line).map(Some);
            }
        }
        Ok(None)
    }

    fn item_bytes(record: &NewRecord) -> usize {
        record_bytes(record)
    }

    fn closes_when_idle(&self) -> bool {
        self.target.key.is_none()
    }

    fn append(&mut self, records: Vec<NewRecord>) -> BoxFuture<'_, Result<PendingReport, Problem>> {
        let key = self.target.key.map(|key| key.part(self.chunks));
        self.chunks += 1;
        let request = AppendRecords {
            topic: Arc::clone(&self.target.topic),
            records,
            key,
            expected_end: None,
        };
        async move {
            let pending = self.front.parts.appender.append(request).await?;
            let runs = |places: Vec<_>| report(places.into_iter().map(|place| (place, 1)));
            Ok(pending.map(runs).boxed())
        }
        .boxed()
    }

    fn last_line(&self, records: u64, problem: Option<&Problem>) -> Bytes {
        StreamLine::last(records, problem)
    }

    fn chunk_bytes_max(&self) -> usize {
        record_chunk_bytes(&self.target.topic)
    }
}
