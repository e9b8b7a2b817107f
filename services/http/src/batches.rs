//! Record batches in, as Kafka's clients make them: one after the other, each appended as it is.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use esker_types::TopicPartition;
use esker_types::limits::RECORD_BATCH_BYTES_MAX;
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};

use crate::append::Target;
use crate::body::bad;
use crate::front::Front;
use crate::intake::{Format, PendingReport, rest};
use crate::limits::CHUNK_BATCHES_BYTES_MAX;
use crate::ndjson::{StreamLine, report};
use crate::parts::BatchHead;
use crate::problem::{Problem, ProblemKind};

/// A whole batch and how many records it says it has.
#[derive(Debug)]
pub(crate) struct WholeBatch {
    bytes: Bytes,
    record_count: u32,
    /// Counted from 1, of the stream.
    number: u64,
}

/// Cuts record batches.
#[derive(Debug)]
pub(crate) struct Batches {
    front: Arc<Front>,
    at: TopicPartition,
    buffer: BytesMut,
    /// Batches cut.
    count: u64,
}

impl Batches {
    pub(crate) fn new(front: &Arc<Front>, target: &Target) -> Result<Self, Problem> {
        let partition = target.partition.ok_or_else(|| {
            bad("record batches go to one partition: …/partitions/{partition}/records")
        })?;
        if target.key.is_some() {
            return Err(bad(
                "header Idempotency-Key is not for record batches: they carry a producer id and a \
                 sequence of their own",
            ));
        }
        Ok(Self {
            front: Arc::clone(front),
            at: target.topic.at(partition),
            buffer: BytesMut::new(),
            count: 0,
        })
    }

    /// Bytes of the batch at the front of the buffer, when its head is there.
    fn head(&self) -> Result<Option<BatchHead>, Problem> {
        let head = self.front.parts.appender.batch_head(&self.buffer)?;
        match head {
            Some(head) if head.batch_bytes > RECORD_BATCH_BYTES_MAX => Err(Problem::new(
                ProblemKind::TooLarge,
                format!("a record batch has at most {RECORD_BATCH_BYTES_MAX} bytes"),
            )),
            head => Ok(head),
        }
    }
}

impl Format for Batches {
    type Item = WholeBatch;

    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn rest(&mut self) {
        rest(&mut self.buffer);
    }

    fn cut(&mut self, is_end: bool) -> Result<Option<WholeBatch>, Problem> {
        let number = self.count + 1;
        let head = self.head().map_err(|problem| Problem {
            detail: format!("batch {number}: {}", problem.detail),
            ..problem
        })?;
        let whole = head.and_then(|head| {
            let length = usize::try_from(head.batch_bytes).ok()?;
            (length <= self.buffer.len()).then_some((length, head.record_count))
        });
        let Some((length, record_count)) = whole else {
            if is_end && self.buffer.has_remaining() {
                return Err(bad(format!("batch {number}: the body ends within it")));
            }
            return Ok(None);
        };
        let mut batch = self.buffer.split_to(length);
        // A batch that was read from a log says where it stood there; its checksum does not cover
        // that.
        if let Some(mut base_offset) = batch.get_mut(..8) {
            base_offset.put_u64(0);
        }
        self.count = number;
        Ok(Some(WholeBatch {
            bytes: batch.freeze(),
            record_count,
            number,
        }))
    }

    fn item_bytes(batch: &WholeBatch) -> usize {
        batch.bytes.len()
    }

    /// Batches are many appends, offered together: more of them than of records make up for the
    /// wait for the chunk in front.
    fn chunk_bytes_max(&self) -> usize {
        CHUNK_BATCHES_BYTES_MAX
    }

    fn closes_when_idle(&self) -> bool {
        true
    }

    fn append(
        &mut self,
        batches: Vec<WholeBatch>,
    ) -> BoxFuture<'_, Result<PendingReport, Problem>> {
        async move {
            let mut pending = Vec::with_capacity(batches.len());
            for batch in batches {
                let (record_count, number) = (batch.record_count, batch.number);
                let appended = self
                    .front
                    .parts
                    .appender
                    .append_batch(self.at, batch.bytes)
                    .await;
                // What follows a batch that was not taken would stand in its place.
                let is_refused = appended.is_err();
                pending.push(async move {
                    let place = match appended {
                        Ok(pending) => pending.await,
                        Err(problem) => Err(problem),
                    };
                    let place = place.map_err(|problem| Problem {
                        detail: format!("batch {number}: {}", problem.detail),
                        ..problem
                    });
                    (place, record_count)
                });
                if is_refused {
                    break;
                }
            }
            Ok(join_all(pending).map(report).boxed())
        }
        .boxed()
    }

    fn last_line(&self, records: u64, problem: Option<&Problem>) -> Bytes {
        StreamLine::last(records, problem)
    }
}
