//! Streams out: records of a partition as NDJSON, events or record batches, as far as the client
//! reads.
//!
//! Made piece by piece when the connection has room, so a slow reader costs one page of shared
//! batches and one piece. Ends at the log's end, its limit, its age or the stop; an error in the
//! middle is a last line or event.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Bytes;
use esker_types::{MonotonicTime, Offset, TopicPartition};
use futures::stream::{Stream, unfold};
use tokio::sync::OwnedSemaphorePermit;

use crate::front::{Front, RequestPlace};
use crate::limits::{HEARTBEAT, PAGE_BYTES_MAX, PIECE_BYTES_MAX, STREAM_AGE_MAX};
use crate::parts::{ReadEnd, ReadFrom, ReadQuery, ReadRecord, RecordIterator};
use crate::problem::{Problem, ProblemKind};
use crate::record::RecordRow;
use crate::value::Encoding;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Ndjson,
    Events,
    Batches,
}

/// A stream on its way to a client.
pub(crate) struct Outflow {
    front: Arc<Front>,
    at: TopicPartition,
    shape: Shape,
    encoding: Encoding,
    /// The next offset to be told.
    next: Offset,
    /// Records still to be told; `None` for all.
    left: Option<u64>,
    /// Ends here; `None` to go on for ever.
    until: Option<Offset>,
    batches: VecDeque<Bytes>,
    /// Where reading goes on behind these.
    page_end: Offset,
    records: Option<RecordIterator>,
    ends_at: MonotonicTime,
    is_begun: bool,
    is_done: bool,
    _place: OwnedSemaphorePermit,
}

impl Outflow {
    pub(crate) async fn begin(
        front: &Arc<Front>,
        request: &RequestPlace,
        at: TopicPartition,
        from: ReadFrom,
        shape: Shape,
        encoding: Encoding,
    ) -> Result<Self, Problem> {
        let place = front.places.stream(request)?;
        let next = front.parts.reader.locate(at, from).await?;
        Ok(Self {
            front: Arc::clone(front),
            at,
            shape,
            encoding,
            next,
            page_end: next,
            left: None,
            until: None,
            batches: VecDeque::new(),
            records: None,
            ends_at: front.env.clock.now().after(STREAM_AGE_MAX),
            is_begun: false,
            is_done: false,
            _place: place,
        })
    }

    /// Reads the first page, so that what is wrong with the question is told by the status.
    pub(crate) async fn limited(
        mut self,
        left: Option<u64>,
        follow: bool,
    ) -> Result<Self, Problem> {
        self.left = left;
        if !follow {
            let (_, end) = self.front.parts.reader.bounds(self.at).await?;
            self.until = Some(end);
        }
        self.read_page(false).await?;
        Ok(self)
    }

    pub(crate) fn pieces(
        self,
    ) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
        unfold(self, async |mut outflow| {
            let piece = outflow.piece().await?;
            Some((piece, outflow))
        })
    }

    /// What is told next.
    async fn piece(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        if self.is_done {
            return None;
        }
        if !self.is_begun {
            self.is_begun = true;
            if self.shape == Shape::Events {
                return Some(Ok(Bytes::from_static(b"retry: 1000\n\n")));
            }
        }
        match self.make().await {
            Ok(piece) => piece.map(Ok),
            Err(problem) => {
                self.is_done = true;
                Some(self.last_words(&problem))
            }
        }
    }

    async fn make(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let piece = match self.shape {
                Shape::Batches => self.next_batch()?,
                Shape::Ndjson | Shape::Events => self.next_records()?,
            };
            if let Some(piece) = piece {
                return Ok(Some(piece));
            }
            self.next = self.next.max(self.page_end);
            let is_over = self.left == Some(0)
                || self.until.is_some_and(|until| self.next >= until)
                || self.front.shutdown.is_requested()
                || self.front.env.clock.now() >= self.ends_at;
            if is_over {
                return self.end();
            }
            let before = self.next;
            self.read_page(true).await?;
            if self.batches.is_empty() && self.next == before {
                match self.shape {
                    Shape::Events => return Ok(Some(Bytes::from_static(b": still here\n\n"))),
                    Shape::Ndjson => return Ok(Some(Bytes::from_static(b"\n"))),
                    Shape::Batches => {}
                }
            }
        }
    }

    /// The end; an error when it comes before the one that was asked for.
    fn end(&mut self) -> Result<Option<Bytes>, Problem> {
        let is_short = self.until.is_some_and(|until| self.next < until);
        if is_short && self.left != Some(0) {
            return Err(self.unfinished("the stream ends early, old age or a stop"));
        }
        self.is_done = true;
        Ok(None)
    }

    fn unfinished(&self, why: &str) -> Problem {
        let detail = format!("{why}: read on from offset {}", self.next.get());
        Problem::new(ProblemKind::Unavailable, detail)
    }

    async fn read_page(&mut self, may_wait: bool) -> Result<(), Problem> {
        let is_following = self.until.is_none();
        let query = ReadQuery {
            topic_partition: self.at,
            from: ReadFrom::Offset(self.next),
            records_max: None,
            bytes_max: PAGE_BYTES_MAX,
            // Where it ends was asked for when it began, if it ends at all.
            end: ReadEnd::Heard,
            // This process may learn of the end a moment after the sequencer has told it.
            wait: match may_wait {
                true => HEARTBEAT,
                false => std::time::Duration::ZERO,
            },
        };
        let reading = self.front.parts.reader.read(query);
        let stop = self.front.shutdown.requested();
        let outcome = tokio::select! {
            biased;
            outcome = reading => outcome?,
            () = stop => return Ok(()),
        };
        // The end that was asked for is that of a batch: nothing below it is no gap.
        if outcome.batches.is_empty() && !is_following && may_wait {
            return Err(self.unfinished("the records up to the log's end cannot be had yet"));
        }
        self.batches = outcome.batches.into();
        self.page_end = outcome.next_offset;
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<Bytes>, Problem> {
        while self.left != Some(0)
            && let Some(batch) = self.batches.pop_front()
        {
            let mut count = 0_u64;
            let mut last = None;
            for record in self.front.parts.reader.records(&batch)? {
                let record = record?;
                count += u64::from(record.offset >= self.next);
                last = Some(record.offset);
            }
            if let Some(next) = last.and_then(|last| last.after(1)) {
                self.next = self.next.max(next);
            }
            if count > 0 {
                self.left = self.left.map(|left| left.saturating_sub(count));
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Records as text, as many as fit a piece.
    fn next_records(&mut self) -> Result<Option<Bytes>, Problem> {
        let mut piece = Vec::new();
        while piece.len() < PIECE_BYTES_MAX && self.left != Some(0) {
            let Some(records) = &mut self.records else {
                let Some(batch) = self.batches.pop_front() else {
                    break;
                };
                self.records = Some(self.front.parts.reader.records(&batch)?);
                continue;
            };
            match records.next() {
                None => self.records = None,
                Some(Err(problem)) if piece.is_empty() => return Err(problem),
                // What is good goes first; the page is read again from the trouble on.
                Some(Err(_)) => {
                    self.records = None;
                    self.batches.clear();
                    self.page_end = self.next;
                    break;
                }
                Some(Ok(record)) => {
                    let is_wanted = record.offset >= self.next
                        && self.until.is_none_or(|until| record.offset < until);
                    if is_wanted {
                        self.write(&record, &mut piece);
                        self.next = record.offset.after(1).unwrap_or(record.offset);
                        self.left = self.left.map(|left| left.saturating_sub(1));
                    }
                }
            }
        }
        Ok((!piece.is_empty()).then(|| Bytes::from(piece)))
    }

    fn write(&self, record: &ReadRecord, piece: &mut Vec<u8>) {
        if self.shape == Shape::Events {
            let head = format!("id: {}\nevent: record\ndata: ", record.offset.get());
            piece.extend_from_slice(head.as_bytes());
        }
        let row = RecordRow::of(record, self.encoding);
        // Into memory, of plain types: it cannot fail.
        piece.extend_from_slice(&serde_json::to_vec(&row).unwrap_or_default());
        let end: &[u8] = match self.shape {
            Shape::Events => b"\n\n",
            Shape::Ndjson | Shape::Batches => b"\n",
        };
        piece.extend_from_slice(end);
    }

    fn last_words(&self, problem: &Problem) -> Result<Bytes, std::io::Error> {
        let document = serde_json::to_string(&problem.document()).unwrap_or_default();
        match self.shape {
            Shape::Ndjson => Ok(Bytes::from(format!("{{\"error\":{document}}}\n"))),
            Shape::Events => Ok(Bytes::from(format!("event: problem\ndata: {document}\n\n"))),
            // Nothing but batches has a place there: the body breaks off.
            Shape::Batches => Err(std::io::Error::other(problem.detail.clone())),
        }
    }
}
