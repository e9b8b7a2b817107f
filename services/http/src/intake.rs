//! Streams in: bytes are cut into records, records gathered into chunks, chunks appended in order.
//!
//! Nothing of a stream is appended behind something of it that was not: a chunk is handed over when
//! the one before it is in the log, and the next is gathered meanwhile. Back-pressure: with a full
//! chunk that waits, or while the client does not read what it is told, or while memory or the log
//! have no room, the body is not read. Nothing was appended when the status is an error; else the
//! last line says how it ended.

use std::fmt::Debug;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::BytesMut;
use esker_metadata_api::Topic;
use esker_metadata_api::configs::max_message_bytes;
use futures::future::BoxFuture;
use futures::stream::unfold;
use futures::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::OwnedSemaphorePermit;

use crate::body::bad;
use crate::front::{Front, RequestPlace, Room};
use crate::limits::{BODY_STALL_MAX, CHUNK_BYTES_MAX, CHUNK_RECORDS_MAX, STREAM_IDLE_MAX};
use crate::problem::{Problem, ProblemKind};

/// A part of a line of so many bytes is copied when its client pauses.
const REST_BYTES_MAX: usize = 4096;

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

/// Bytes of records that a chunk gathers at most for a topic: they may become one batch, which the
/// topic must take.
pub(crate) fn record_chunk_bytes(topic: &Topic) -> usize {
    let most = usize::try_from(max_message_bytes(topic) / 2);
    most.unwrap_or(usize::MAX).min(CHUNK_BYTES_MAX)
}

/// How a stream's bytes are cut, appended and answered.
pub(crate) trait Format: Debug + Send + 'static {
    /// A record, or a batch of them.
    type Item: Debug + Send + 'static;

    /// More bytes of the body.
    fn push(&mut self, bytes: &[u8]);

    /// Bytes pushed and not yet cut.
    fn buffered(&self) -> usize;

    /// The client pauses: lets go of memory that holds nothing, with [`rest`].
    fn rest(&mut self);

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

/// Lets go of the memory of what was cut from a buffer. What is left is copied if that is cheap;
/// else it counts as buffered, and the memory of a line is about what it may be.
pub(crate) fn rest(buffer: &mut BytesMut) {
    if buffer.len() <= REST_BYTES_MAX {
        *buffer = BytesMut::from(&buffer[..]);
    }
}

/// What the client is told next.
#[derive(Debug)]
pub(crate) enum Output {
    Line(Bytes),
    /// It was told nothing, and will be told only this: nothing was appended.
    Failed(Problem),
}

/// Records that are appended at once.
#[derive(Debug)]
struct Chunk<T> {
    items: Vec<T>,
    bytes: usize,
    /// The first of the next chunk: this one is full.
    beyond: Option<(T, usize)>,
}

impl<T> Chunk<T> {
    fn new() -> Self {
        Self {
            items: Vec::new(),
            bytes: 0,
            beyond: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn is_full(&self) -> bool {
        self.beyond.is_some()
    }

    /// Bytes of all that is gathered.
    fn held(&self) -> usize {
        let beyond = self.beyond.as_ref().map_or(0, |(_, bytes)| *bytes);
        self.bytes.saturating_add(beyond)
    }

    fn add(&mut self, item: T, bytes: usize, bytes_max: usize) {
        let with_it = self.bytes.saturating_add(bytes);
        let fits = with_it <= bytes_max && self.items.len() < CHUNK_RECORDS_MAX;
        if fits || self.is_empty() {
            self.items.push(item);
            self.bytes = with_it;
        } else {
            self.beyond = Some((item, bytes));
        }
    }

    /// The chunk as it is; what lies beyond it begins the next one.
    fn take(&mut self) -> Vec<T> {
        let items = std::mem::take(&mut self.items);
        self.bytes = 0;
        if let Some((item, bytes)) = self.beyond.take() {
            self.items.push(item);
            self.bytes = bytes;
        }
        items
    }
}

/// A stream on its way into the log.
pub(crate) struct Intake<F: Format> {
    front: Arc<Front>,
    body: BodyDataStream,
    format: F,
    room: Room,
    chunk: Chunk<F::Item>,
    /// The chunk in front, until its outcome is known.
    in_flight: Option<PendingReport>,
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
    /// Takes a stream's place in exchange for the request's.
    pub(crate) fn new(
        front: &Arc<Front>,
        request: &RequestPlace,
        body: Body,
        format: F,
    ) -> Result<Self, Problem> {
        Ok(Self {
            _place: front.places.stream(request)?,
            room: Room::new(front)?,
            front: Arc::clone(front),
            body: body.into_data_stream(),
            format,
            chunk: Chunk::new(),
            in_flight: None,
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
            let must_wait =
                self.failure.is_some() || self.chunk.is_full() || (self.is_ended && !self.may_cut);
            let report = match &mut self.in_flight {
                Some(outcome) if must_wait => {
                    let report = outcome.await;
                    self.in_flight = None;
                    Some(report)
                }
                _ if self.failure.is_some() => return self.finish().await,
                _ if self.chunk.is_full() => {
                    self.close_chunk().await;
                    None
                }
                _ if self.may_cut => {
                    self.cut();
                    None
                }
                _ if self.is_ended && self.chunk.is_empty() => return self.finish().await,
                _ if self.is_ended => {
                    self.close_chunk().await;
                    None
                }
                _ => self.read_on().await,
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
        self.chunk = Chunk::new();
    }

    fn stop(&mut self) {
        let detail = "the process is stopping; send the rest again";
        self.fail(Problem::new(ProblemKind::Unavailable, detail));
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

    /// Fills the chunk from what was read.
    fn cut(&mut self) {
        while !self.chunk.is_full() {
            match self.format.cut(self.is_ended) {
                Ok(Some(item)) => {
                    let bytes = F::item_bytes(&item);
                    self.chunk.add(item, bytes, self.format.chunk_bytes_max());
                }
                Ok(None) => {
                    self.may_cut = false;
                    return;
                }
                Err(problem) => return self.fail(problem),
            }
        }
    }

    /// Hands the chunk over; nothing of the stream is in flight.
    async fn close_chunk(&mut self) {
        let items = self.chunk.take();
        match self.format.append(items).await {
            Ok(pending) => self.in_flight = Some(pending),
            Err(problem) => self.fail(problem),
        }
        // What was handed over is paid for there. Giving back never waits or fails.
        let _ = self.room.cover(self.held()).await;
    }

    /// Bytes of the stream that wait here.
    fn held(&self) -> usize {
        self.format.buffered().saturating_add(self.chunk.held())
    }

    /// Reads what comes next, or hears of a chunk before that.
    async fn read_on(&mut self) -> Option<Report> {
        if self.front.shutdown.is_requested() {
            self.stop();
            return None;
        }
        let mut frame = self.body.next().now_or_never();
        if frame.is_none() {
            self.format.rest();
            let may_close = !self.chunk.is_empty() && self.format.closes_when_idle();
            if may_close && self.in_flight.is_none() {
                self.close_chunk().await;
                return None;
            }
            // A chunk that waits for the one in front of it is not the client's delay.
            let is_within = self.format.buffered() > 0 || !(self.chunk.is_empty() || may_close);
            let limit = if is_within {
                BODY_STALL_MAX
            } else {
                STREAM_IDLE_MAX
            };
            let stall = self.front.env.clock.sleep(limit);
            let stop = self.front.shutdown.clone();
            let in_flight = &mut self.in_flight;
            let outcome = async move {
                match in_flight {
                    Some(outcome) => outcome.await,
                    None => std::future::pending().await,
                }
            };
            frame = tokio::select! {
                biased;
                report = outcome => {
                    self.in_flight = None;
                    return Some(report);
                }
                frame = self.body.next() => Some(frame),
                () = stop.requested() => {
                    self.stop();
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
        match self
            .room
            .cover(self.held().saturating_add(bytes.len()))
            .await
        {
            Ok(()) => self.format.push(bytes),
            Err(problem) => self.fail(problem),
        }
    }
}
