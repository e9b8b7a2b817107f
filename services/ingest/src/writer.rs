//! Stages 2 to 6 as one state machine: gathers, seals, reserves, uploads and acknowledges.
//!
//! One task owns everything admitted, so no lock and no race decides the order of a lane. It waits
//! for requests, answers of its calls and times, and for nothing else. What happens when a session
//! is lost: `writer/lost.rs`; when a time is over: `writer/expiry.rs`; the way of a segment from
//! the batcher to its upload: `writer/reserving.rs`.

mod expiry;
mod lost;
mod reserving;

use std::collections::BTreeMap;
use std::sync::Arc;

use esker_chain::{UploadError, Uploaded};
use esker_env::{Backoff, Env, Shutdown};
use esker_metadata_api::{SessionEnd, WrittenReport};
use esker_types::{MonotonicTime, Planted, SegmentId, SessionId, planted};
use tokio::sync::mpsc;

use crate::admit::AdmittedRequest;
use crate::batcher::{Batcher, SegmentLimits};
use crate::calls::Answer;
use crate::config::IngestConfig;
use crate::error::IngestError;
use crate::limits::{CALL_RETRY, REQUESTS_QUEUED_MAX};
use crate::metrics::{Metrics, SessionLoss};
use crate::outgoing::{Live, Outgoing};
use crate::pace::Pace;
use crate::session::{Attempt, Session};

/// A registration under way or to be tried again.
#[derive(Debug)]
struct Registering {
    attempt: Attempt,
    backoff: Backoff,
}

/// The one owner of admitted batches and sessions. What it asks of others goes out through `O`.
#[derive(Debug)]
pub(crate) struct Writer<O = Live> {
    config: IngestConfig,
    env: Env,
    metrics: Arc<Metrics>,
    pub(crate) calls: O,
    batcher: Batcher,
    pace: Pace,
    session: Option<Session>,
    registering: Option<Registering>,
    /// The session that the next one replaces.
    replaces: Option<SessionId>,
    /// Waits between sessions that were lost before they acknowledged anything, and until when.
    fruitless: Backoff,
    register_from: MonotonicTime,
    /// Sessions that reserve nothing more and whose segments are not all decided.
    lost: BTreeMap<SessionId, Session>,
    /// Since when no call to the sequencer was answered.
    silent_since: Option<MonotonicTime>,
    /// No deadline of a batch lies before.
    deadline_min: Option<MonotonicTime>,
    /// When to look for batches out of patience again.
    look_at: MonotonicTime,
    /// Set when stopping: when to give up what is left.
    drain_until: Option<MonotonicTime>,
}

impl<O: Outgoing> Writer<O> {
    pub(crate) fn new(config: IngestConfig, env: Env, metrics: Arc<Metrics>, calls: O) -> Self {
        let limits = SegmentLimits {
            bytes_max: u64::from(config.segment_bytes_max),
            batches_max: usize::try_from(config.segment_batches_max).unwrap_or(usize::MAX),
        };
        Self {
            config,
            env,
            metrics,
            calls,
            batcher: Batcher::new(limits),
            pace: Pace::new(config.linger),
            session: None,
            registering: None,
            replaces: None,
            fruitless: CALL_RETRY.begin(),
            register_from: MonotonicTime::default(),
            lost: BTreeMap::new(),
            silent_since: None,
            deadline_min: None,
            look_at: MonotonicTime::default(),
            drain_until: None,
        }
    }

    pub(crate) fn take(&mut self, request: AdmittedRequest) {
        self.pace.arrived();
        let now = self.env.clock.now();
        for batch in request.batches {
            self.see_deadline(batch.slot.deadline());
            self.batcher.add(batch, now);
        }
    }

    /// Does all that the present moment allows.
    pub(crate) fn step(&mut self) {
        let now = self.env.clock.now();
        self.batcher.wake(now);
        if self.is_expiry_due(now) {
            self.expire(now);
        }
        self.give_up_stalled(now);
        self.register(now);
        if self.session.as_ref().is_none_or(Session::is_idle) {
            self.pace.settled(now);
        }
        self.reserve(now);
        let in_flight = self.session.as_ref().map_or(0, Session::in_flight_count);
        self.metrics.in_flight(in_flight);
    }

    pub(crate) fn hear(&mut self, answer: Answer) -> Result<(), IngestError> {
        let now = self.env.clock.now();
        match answer {
            Answer::Registered(answer) => self.registered(answer, now),
            Answer::Reserved { segment, answer } => self.reserved(segment, answer, now),
            Answer::Uploaded {
                segment: _,
                answer: Ok(uploaded),
            } => self.landed(uploaded, now),
            Answer::Uploaded {
                segment,
                answer: Err(error),
            } => self.upload_failed(segment, error)?,
            Answer::Ended { session, end } => self.ended(session, end, now)?,
        }
        Ok(())
    }

    /// A segment is there: acknowledge what the chain's tail has passed, then tell the sequencer.
    fn landed(&mut self, uploaded: Uploaded, now: MonotonicTime) {
        let id = uploaded.session();
        if let Some(session) = self.session.as_mut().filter(|session| session.id() == id) {
            if session.land(uploaded, now) {
                let registered = session.registered();
                self.calls.written(WrittenReport {
                    session: registered.session,
                    epoch: registered.epoch,
                    written: match planted(Planted::WrittenTooFar) {
                        true => session.next().index,
                        false => session.written(),
                    },
                });
            }
        } else if let Some(session) = self.lost.get_mut(&id) {
            session.land(uploaded, now);
            self.settle_lost();
        }
    }

    fn upload_failed(&mut self, segment: SegmentId, error: UploadError) -> Result<(), IngestError> {
        match error {
            UploadError::Stranger { .. } => Err(IngestError::Stranger { segment }),
            UploadError::Sealed { .. } => {
                self.lose_if_open(segment.session, SessionLoss::Sealed);
                if planted(Planted::OfferedAgainOnSeal)
                    && let Some(lost) = self.lost.get_mut(&segment.session)
                {
                    let void = lost.void_from(lost.written());
                    self.offer_again(void);
                }
                Ok(())
            }
            UploadError::Indeterminate { .. } => {
                tracing::warn!(%segment, ?error, "outcome of a segment is unknown");
                self.lose_if_open(segment.session, SessionLoss::Indeterminate);
                Ok(())
            }
            UploadError::Refused { .. } => {
                tracing::error!(%segment, ?error, "object store refuses segments");
                self.lose_if_open(segment.session, SessionLoss::Refused);
                self.void_refused(segment);
                Ok(())
            }
        }
    }

    /// When [`Self::step`] has something to do next.
    pub(crate) fn next_step(&self) -> Option<MonotonicTime> {
        let mut times = vec![
            self.batcher.next_wake(),
            self.next_expiry(),
            self.drain_until,
        ];
        if let Some(session) = &self.session {
            times.push(
                session
                    .head_since()
                    .map(|since| since.after(self.config.stall)),
            );
            match &session.reserving {
                Some(reserving) => times.push(reserving.attempt.retry_at()),
                None if session.in_flight_count() < self.config.uploads_max
                    && !self.batcher.is_nothing_ready() =>
                {
                    times.push(self.linger_end(session));
                }
                None => {}
            }
        }
        if let Some(registering) = self.registering.as_ref().filter(|_| self.may_register()) {
            times.push(registering.attempt.retry_at());
        }
        times.into_iter().flatten().min()
    }

    fn begin_drain(&mut self) {
        let until = self.env.clock.now().after(self.config.drain_timeout);
        self.drain_until.get_or_insert(until);
    }

    /// Nothing is left that could still be answered, or the time for it is over.
    fn is_drained(&self) -> bool {
        let is_idle = self.session.as_ref().is_none_or(Session::is_idle);
        let is_done = is_idle && self.batcher.is_empty() && self.lost.is_empty();
        let now = self.env.clock.now();
        is_done || self.drain_until.is_some_and(|until| until <= now)
    }
}

/// The shell: waits for requests, answers and times.
impl Writer {
    /// Serves until the stop is requested and everything admitted is answered.
    ///
    /// # Errors
    /// [`IngestError`]: what the acknowledgements rest on does not hold; the process must exit.
    pub(crate) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<AdmittedRequest>,
        shutdown: Shutdown,
    ) -> Result<(), IngestError> {
        let mut is_open = true;
        loop {
            self.step();
            if !is_open && self.is_drained() {
                break;
            }
            let wait = self.wait();
            tokio::select! {
                biased; // a fixed order, so that a seed replays the same run; answers free memory
                () = shutdown.requested(), if self.drain_until.is_none() => {
                    inbox.close();
                    self.begin_drain();
                }
                answer = self.calls.calls.next() => {
                    let answer = answer.map_err(IngestError::Task)?;
                    self.hear(answer)?;
                }
                request = inbox.recv(), if is_open => match request {
                    Some(request) => self.take(request),
                    None => {
                        is_open = false;
                        self.begin_drain();
                    }
                },
                () = wait => {}
            }
            // Requests that came together share a segment, also when nothing is in flight.
            for _ in 0..REQUESTS_QUEUED_MAX {
                let Ok(request) = inbox.try_recv() else {
                    break;
                };
                self.take(request);
            }
        }
        self.finish().await;
        Ok(())
    }

    /// Completes when [`Self::step`] has something to do next.
    fn wait(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let now = self.env.clock.now();
        let sleep = self
            .next_step()
            .map(|at| self.env.clock.sleep(at.since(now)));
        async move {
            match sleep {
                Some(sleep) => sleep.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Answers what is left and ends the session, so that the next start needs not walk it (Q3).
    async fn finish(mut self) {
        self.give_up_all();
        let Some(session) = self.session.take() else {
            return;
        };
        let limit = self.config.end_timeout;
        let end = self.calls.calls.end_once(session.id(), limit).await;
        let end = end.map(|SessionEnd { end }| end);
        tracing::info!(session = %session.id(), ?end, "session ended at shutdown");
    }
}
