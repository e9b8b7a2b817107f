//! Streams in: bytes are cut into records, records gathered into chunks, chunks appended in order.
//!
//! Back-pressure: with [`CHUNKS_IN_FLIGHT_MAX`] chunks in flight, or while the client does not read
//! what it is told, or while memory or the log have no room, the body is not read. Answers come in
//! order. Nothing was appended when the status is an error; else the last line says how it ended.

use std::fmt::Debug;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, unfold};
use futures::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::OwnedSemaphorePermit;

use crate::body::bad;
use crate::front::{Front, Room};
use crate::limits::{
    BODY_STALL_MAX, CHUNK_BYTES_MAX, CHUNK_RECORDS_MAX, CHUNKS_IN_FLIGHT_MAX, STREAM_IDLE_MAX,
};
use crate::problem::{Problem, ProblemKind};

/// What became of a chunk.
#[derive(Debug)]
pub(crate) struct Report {
    /// What the client is told; may be empty.
    pub(crate) line: Bytes,
    /// Records that are in the log.
    pub(crate) records: u64,
    /// Ends the stream.
    pub(crate) problem: Option<Problem>,
}

pub(crate) type PendingReport = BoxFuture<'static, Report>;

/// How a stream's bytes are cut, appended and answered.
pub(crate) trait Format: Debug + Send + 'static {
    /// A record, or a batch of them.
    type Item: Debug + Send + 'static;

    /// More bytes of the body.
    fn push(&mut self, bytes: &[u8]);

    /// Bytes pushed and not yet cut.
    fn buffered(&self) -> usize;

    /// The next item, when all of it is there; `is_end`: no more bytes will come.
    fn cut(&mut self, is_end: bool) -> Result<Option<Self::Item>, Problem>;

    /// Bytes of an item, about.
    fn item_bytes(item: &Self::Item) -> usize;

    /// Bytes of a chunk, but for a single larger item.
    fn chunk_bytes_max(&self) -> usize {
        CHUNK_BYTES_MAX
    }

    /// Chunks are closed when the client pauses, not only when they are full.
    fn closes_when_idle(&self) -> bool;

    /// Queues a chunk.
    fn append(&mut self, items: Vec<Self::Item>) -> BoxFuture<'_, Result<PendingReport, Problem>>;

    /// What the client is told at last; may be empty.
    fn last_line(&self, records: u64, problem: Option<&Problem>) -> Bytes;
}

/// What the client is told next.
#[derive(Debug)]
pub(crate) enum Output {
    Line(Bytes),
    /// It was told nothing, and will be told only this: nothing was appended.
    Failed(Problem),
}

/// A stream on its way into the log.
#[derive(Debug)]
pub(crate) struct Intake<F: Format> {
    front: Arc<Front>,
    body: BodyDataStream,
    format: F,
    room: Room,
    chunk: Vec<F::Item>,
    chunk_bytes: usize,
    in_flight: FuturesOrdered<PendingReport>,
    records: u64,
    /// The format may hold whole items.
    may_cut: bool,
    is_ended: bool,
    failure: Option<Problem>,
    is_begun: bool,
    is_done: bool,
    _place: OwnedSemaphorePermit,
}

impl<F: Format> Intake<F> {
    pub(crate) fn new(front: &Arc<Front>, body: Body, format: F) -> Result<Self, Problem> {
        Ok(Self {
            _place: front.places.stream()?,
            room: Room::new(front)?,
            front: Arc::clone(front),
            body: body.into_data_stream(),
            format,
            chunk: Vec::new(),
            chunk_bytes: 0,
            in_flight: FuturesOrdered::new(),
            records: 0,
            may_cut: false,
            is_ended: false,
            failure: None,
            is_begun: false,
            is_done: false,
        })
    }

    /// Answers with the first thing to tell as status, then with lines as they come.
    pub(crate) async fn respond(mut self, kind: &'static str) -> Result<Response, Problem> {
        let first = match self.next().await {
            Some(Output::Line(line)) => line,
            Some(Output::Failed(problem)) => return Err(problem),
            None => Bytes::new(),
        };
        let rest = unfold(self, async |mut intake| match intake.next().await? {
            Output::Line(line) => Some((line, intake)),
            Output::Failed(problem) => {
                let line = intake.format.last_line(intake.records, Some(&problem));
                Some((line, intake))
            }
        });
        let lines = stream::once(async { first }).chain(rest);
        let lines = lines.map(Ok::<Bytes, std::convert::Infallible>);
        let head = [(header::CONTENT_TYPE, kind)];
        Ok((head, Body::from_stream(lines)).into_response())
    }

    /// What the client is told next; `None` at the end. Reads the body as far as it may.
    async fn next(&mut self) -> Option<Output> {
        while !self.is_done {
            let report = if self.failure.is_some() {
                match self.in_flight.next().await {
                    Some(report) => Some(report),
                    None => return self.finish().await,
                }
            } else if self.in_flight.len() >= CHUNKS_IN_FLIGHT_MAX {
                self.in_flight.next().await
            } else if self.may_cut {
                self.cut_chunk().await;
                None
            } else if self.is_ended && !self.chunk.is_empty() {
                self.close_chunk().await;
                None
            } else if self.is_ended {
                match self.in_flight.next().await {
                    Some(report) => Some(report),
                    None => return self.finish().await,
                }
            } else {
                self.read_on().await
            };
            if let Some(line) = report.and_then(|report| self.hear(report)) {
                return Some(Output::Line(line));
            }
        }
        None
    }

    fn hear(&mut self, report: Report) -> Option<Bytes> {
        self.records = self.records.saturating_add(report.records);
        if let Some(problem) = report.problem {
            self.fail(problem);
        }
        self.is_begun |= !report.line.is_empty();
        (!report.line.is_empty()).then_some(report.line)
    }

    /// Ends the stream. What is not on its way yet is not appended.
    fn fail(&mut self, problem: Problem) {
        self.failure = Some(problem.graver(self.failure.take()));
        self.chunk.clear();
    }

    async fn finish(&mut self) -> Option<Output> {
        self.is_done = true;
        if !self.is_ended {
            self.front.drain(&mut self.body).await;
        }
        let failure = self.failure.take();
        let nothing = || bad("there are no records in the body");
        if !self.is_begun {
            return Some(Output::Failed(failure.unwrap_or_else(nothing)));
        }
        let line = self.format.last_line(self.records, failure.as_ref());
        (!line.is_empty()).then_some(Output::Line(line))
    }

    /// Fills the chunk from what was read; closes it when it is full.
    async fn cut_chunk(&mut self) {
        loop {
            match self.format.cut(self.is_ended) {
                Ok(Some(item)) => {
                    let bytes = F::item_bytes(&item);
                    let is_full = self.chunk_bytes.saturating_add(bytes)
                        > self.format.chunk_bytes_max()
                        || self.chunk.len() >= CHUNK_RECORDS_MAX;
                    if is_full && !self.chunk.is_empty() {
                        self.close_chunk().await;
                        self.add(item, bytes);
                        return;
                    }
                    self.add(item, bytes);
                }
                Ok(None) => {
                    self.may_cut = false;
                    return;
                }
                Err(problem) => return self.fail(problem),
            }
        }
    }

    fn add(&mut self, item: F::Item, bytes: usize) {
        self.chunk.push(item);
        self.chunk_bytes = self.chunk_bytes.saturating_add(bytes);
    }

    async fn close_chunk(&mut self) {
        let items = std::mem::take(&mut self.chunk);
        self.chunk_bytes = 0;
        match self.format.append(items).await {
            Ok(pending) => self.in_flight.push_back(pending),
            Err(problem) => self.fail(problem),
        }
        // What was handed over is paid for there. Giving back never waits or fails.
        let _ = self.room.cover(self.format.buffered()).await;
    }

    /// Reads what comes next, or hears of a chunk before that.
    async fn read_on(&mut self) -> Option<Report> {
        let mut frame = self.body.next().now_or_never();
        if frame.is_none() {
            if !self.chunk.is_empty() && self.format.closes_when_idle() {
                self.close_chunk().await;
                return None;
            }
            let is_within = self.format.buffered() > 0 || !self.chunk.is_empty();
            let limit = if is_within {
                BODY_STALL_MAX
            } else {
                STREAM_IDLE_MAX
            };
            let stall = self.front.env.clock.sleep(limit);
            let stop = self.front.shutdown.clone();
            frame = tokio::select! {
                biased;
                Some(report) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    return Some(report);
                }
                frame = self.body.next() => Some(frame),
                () = stop.requested() => {
                    let detail = "the process is stopping; send the rest again";
                    self.fail(Problem::new(ProblemKind::Unavailable, detail));
                    return None;
                }
                () = stall => {
                    let detail = format!("nothing came for {limit:?}");
                    self.fail(Problem::new(ProblemKind::Timeout, detail));
                    return None;
                }
            };
        }
        match frame.flatten() {
            Some(Ok(bytes)) => self.take(&bytes).await,
            Some(Err(_)) => self.fail(bad("the body broke off")),
            None => self.is_ended = true,
        }
        self.may_cut = true;
        None
    }

    async fn take(&mut self, bytes: &[u8]) {
        let held = self.format.buffered().saturating_add(self.chunk_bytes);
        match self.room.cover(held.saturating_add(bytes.len())).await {
            Ok(()) => self.format.push(bytes),
            Err(problem) => self.fail(problem),
        }
    }
}
