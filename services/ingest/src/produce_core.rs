//! The writer as a state machine that a driver steps: batches and answers in, calls out.
//!
//! For simulations: the very writer of the produce path without its tasks, queues and runtime. Who
//! drives it makes the calls, bounds their time as `calls.rs` does, and steps it at `next_step`.
//! Admission (topics, codecs, waiting for the pool) is not part of it.

use std::sync::Arc;

use bytes::Bytes;
use esker_chain::{UploadError, Uploaded};
use esker_env::{Env, Shutdown};
use esker_metadata_api::{
    MetadataError, Registered, ReserveError, ReserveReply, ReserveRequest, SessionEnd,
    WrittenReport,
};
use esker_record::ValidatedBatch;
use esker_types::{MonotonicTime, SegmentId, SessionId, TopicPartition};
use futures::FutureExt as _;
use tokio::sync::oneshot;

use crate::admit::{AdmittedRequest, summary};
use crate::batch::{AdmittedBatch, BatchBody};
use crate::calls::Answer;
use crate::config::IngestConfig;
use crate::error::{AppendError, IngestError};
use crate::limits::BATCH_OVERHEAD_BYTES;
use crate::metrics::Metrics;
use crate::outgoing::Outgoing;
use crate::pool::BytePool;
use crate::slots::{Appended, Outcome, ReplySlot, SlotTimes};
use crate::writer::Writer;

/// A call that the driver must make. `over` tells that nobody waits for its answer any more.
#[derive(Debug)]
pub enum ProduceCall {
    /// Register a session: [`ProduceAnswer::Registered`].
    Register {
        /// The session that it replaces.
        replaces: Option<SessionId>,
    },
    /// Reserve offsets: [`ProduceAnswer::Reserved`].
    Reserve {
        /// The question.
        request: ReserveRequest,
        /// Nobody waits any more.
        over: Shutdown,
    },
    /// Upload a segment: [`ProduceAnswer::Uploaded`].
    Upload {
        /// Its place.
        segment: SegmentId,
        /// Its bytes.
        object: Bytes,
        /// Nobody waits any more.
        over: Shutdown,
    },
    /// Ask for the durable end of a session until it is told: [`ProduceAnswer::Ended`].
    End {
        /// The session.
        session: SessionId,
        /// Nobody waits any more.
        over: Shutdown,
    },
    /// Tell what is written. No answer.
    Written(WrittenReport),
}

/// What became of a call.
#[derive(Debug)]
pub enum ProduceAnswer {
    /// Of a registration.
    Registered(Result<Registered, MetadataError>),
    /// Of a reservation.
    Reserved {
        /// What it was for.
        segment: SegmentId,
        /// The answer.
        answer: Result<ReserveReply, ReserveError>,
    },
    /// Of an upload.
    Uploaded {
        /// The place.
        segment: SegmentId,
        /// The outcome.
        answer: Result<Uploaded, UploadError>,
    },
    /// Of the question for a session's end.
    Ended {
        /// The session.
        session: SessionId,
        /// Its end.
        end: SessionEnd,
    },
}

impl From<ProduceAnswer> for Answer {
    fn from(answer: ProduceAnswer) -> Self {
        match answer {
            ProduceAnswer::Registered(answer) => Self::Registered(answer),
            ProduceAnswer::Reserved { segment, answer } => Self::Reserved { segment, answer },
            ProduceAnswer::Uploaded { segment, answer } => Self::Uploaded { segment, answer },
            ProduceAnswer::Ended { session, end } => Self::Ended { session, end },
        }
    }
}

/// An admitted batch, until it is answered.
#[derive(Debug)]
#[must_use = "the outcome is told nowhere else"]
pub struct Waiting(oneshot::Receiver<Outcome>);

impl Waiting {
    /// The outcome, when it is known: told once.
    ///
    /// # Errors
    /// [`AppendError`]: the batch is not in the log, or, for `Undecided`, may be.
    pub fn outcome(&mut self) -> Option<Result<Appended, AppendError>> {
        match self.0.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(AppendError::Undecided)),
        }
    }
}

/// Keeps calls until the driver takes them.
#[derive(Debug, Default)]
struct Outbox(Vec<ProduceCall>);

impl Outgoing for Outbox {
    fn register(&mut self, replaces: Option<SessionId>) {
        self.0.push(ProduceCall::Register { replaces });
    }

    fn reserve(&mut self, request: ReserveRequest, over: Shutdown) {
        self.0.push(ProduceCall::Reserve { request, over });
    }

    fn upload(&mut self, segment: SegmentId, object: Bytes, over: Shutdown) {
        let call = ProduceCall::Upload {
            segment,
            object,
            over,
        };
        self.0.push(call);
    }

    fn end(&mut self, session: SessionId, over: Shutdown) {
        self.0.push(ProduceCall::End { session, over });
    }

    fn written(&mut self, report: WrittenReport) {
        self.0.push(ProduceCall::Written(report));
    }
}

/// The writer, stepped by a driver.
#[derive(Debug)]
pub struct ProduceCore {
    writer: Writer<Outbox>,
    pool: BytePool,
    metrics: Arc<Metrics>,
}

impl ProduceCore {
    /// A writer without a session. Panics when [`IngestConfig::check`] fails.
    #[must_use]
    pub fn new(config: IngestConfig, env: Env) -> Self {
        assert_eq!(config.check(), Ok(()), "settings are checked before");
        let metrics = Arc::new(Metrics::default());
        Self {
            writer: Writer::new(config, env, Arc::clone(&metrics), Outbox::default()),
            pool: BytePool::new(config.produce_bytes_max, Arc::clone(&metrics)),
            metrics,
        }
    }

    /// Takes a checked batch in that came over a connection; `None` when the pool is full.
    /// [`Self::step`] follows.
    pub fn append(
        &mut self,
        connection: u64,
        topic_partition: TopicPartition,
        batch: &ValidatedBatch,
        received: MonotonicTime,
        deadline: MonotonicTime,
    ) -> Option<Waiting> {
        let bytes = batch.bytes().len().saturating_add(BATCH_OVERHEAD_BYTES);
        let permit = self.pool.take(bytes).now_or_never()?;
        let times = SlotTimes {
            received,
            deadline,
            log_append_time: None,
        };
        let (slot, outcome) = ReplySlot::new(times, Arc::clone(&self.metrics));
        let body = BatchBody {
            summary: summary(topic_partition, batch),
            bytes: batch.bytes().clone(),
            connection: Some(connection),
            deferrals: 0,
            _permit: permit,
        };
        let batches = vec![AdmittedBatch { body, slot }];
        self.writer.take(AdmittedRequest { batches });
        Some(Waiting(outcome))
    }

    /// Takes what became of a call. [`Self::step`] follows.
    ///
    /// # Errors
    /// [`IngestError`]: what acknowledgements rest on does not hold; the process must exit.
    pub fn hear(&mut self, answer: ProduceAnswer) -> Result<(), IngestError> {
        self.writer.hear(answer.into())
    }

    /// Does all that the present moment allows; the calls to be made now, in order.
    #[must_use = "calls are made nowhere else"]
    pub fn step(&mut self) -> Vec<ProduceCall> {
        self.writer.step();
        std::mem::take(&mut self.writer.calls.0)
    }

    /// When [`Self::step`] has something to do, if nothing else happens before.
    #[must_use]
    pub fn next_step(&self) -> Option<MonotonicTime> {
        self.writer.next_step()
    }
}

#[cfg(test)]
mod tests {
    use esker_record::{BatchBuilder, Compression, NewRecord, ProduceRules, validate_produced};
    use esker_types::{ChainIndex, ClusterId, PartitionIndex, SequencerEpoch, TopicId};

    use super::*;

    fn batch() -> ValidatedBatch {
        let rules = ProduceRules {
            batch_bytes_max: 1000,
            zstd_allowed: true,
            timestamp_max: None,
            walk_records: false,
            keys_required: false,
        };
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(&NewRecord::default()).unwrap();
        validate_produced(builder.build().unwrap(), &rules).unwrap()
    }

    #[test]
    fn a_batch_leads_to_a_session_and_a_reservation_and_waits() {
        let env = Env::system();
        let now = env.clock.now();
        let mut core = ProduceCore::new(IngestConfig::default(), env);
        let at = TopicPartition {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionIndex::default(),
        };
        let registered = Registered {
            session: SessionId::from_bytes([2; 16]),
            epoch: SequencerEpoch::FIRST,
            cluster: ClusterId::from_bytes([3; 16]),
        };

        let deadline = now.after(std::time::Duration::from_secs(30));
        let mut waiting = core.append(1, at, &batch(), now, deadline).unwrap();
        let first = core.step();
        core.hear(ProduceAnswer::Registered(Ok(registered)))
            .unwrap();
        let second = core.step();

        assert!(matches!(
            first[..],
            [ProduceCall::Register { replaces: None }]
        ));
        let [ProduceCall::Reserve { request, .. }] = &second[..] else {
            panic!("{second:?}");
        };
        assert_eq!(
            (request.index, request.batches.len()),
            (ChainIndex::ZERO, 1)
        );
        assert!(waiting.outcome().is_none() && core.next_step().is_some());
    }

    #[test]
    fn one_batch_past_the_pool_is_not_taken() {
        let env = Env::system();
        let now = env.clock.now();
        let config = IngestConfig {
            produce_bytes_max: 1000,
            ..IngestConfig::default()
        };
        let mut core = ProduceCore::new(config, env);
        let at = TopicPartition {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionIndex::default(),
        };

        let first = core.append(1, at, &batch(), now, now);
        let second = core.append(1, at, &batch(), now, now);

        assert!(first.is_some() && second.is_none());
    }
}
