//! Stages 2 to 6 as one state machine: gathers, seals, reserves, uploads and acknowledges.
//!
//! One task owns everything admitted, so no lock and no race decides the order of a lane. It waits
//! for requests, answers of its calls and times, and for nothing else. What happens when a session
//! is lost: `writer/lost.rs`; when a time is over: `writer/expiry.rs`.

mod expiry;
mod lost;

use std::collections::BTreeMap;
use std::sync::Arc;

use esker_chain::UploadError;
use esker_env::{Backoff, Env, Shutdown};
use esker_metadata_api::{
    MetadataError, Registered, ReserveError, ReserveReply, SessionEnd, WrittenReport,
};
use esker_types::{MonotonicTime, SegmentId, SessionId};
use tokio::sync::mpsc;

use crate::admit::AdmittedRequest;
use crate::batcher::{Batcher, SegmentLimits};
use crate::calls::{Answer, Calls};
use crate::config::IngestConfig;
use crate::error::{AppendError, IngestError};
use crate::limits::{CALL_RETRY, LOST_SESSIONS_MAX, REQUESTS_QUEUED_MAX};
use crate::metrics::{FlushReason, Metrics, SessionLoss};
use crate::notifier::Notice;
use crate::pace::Pace;
use crate::reserver::{ReservedSegment, Verdicts};
use crate::session::{Attempt, Reserving, Session};

/// A registration under way or to be tried again.
#[derive(Debug)]
struct Registering {
    attempt: Attempt,
    backoff: Backoff,
}

/// The one owner of admitted batches and sessions.
#[derive(Debug)]
pub(crate) struct Writer {
    config: IngestConfig,
    env: Env,
    metrics: Arc<Metrics>,
    calls: Calls,
    notice: Notice,
    batcher: Batcher,
    pace: Pace,
    session: Option<Session>,
    registering: Option<Registering>,
    /// The session that the next one replaces.
    replaces: Option<SessionId>,
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

impl Writer {
    pub(crate) fn new(
        config: IngestConfig,
        env: Env,
        metrics: Arc<Metrics>,
        calls: Calls,
        notice: Notice,
    ) -> Self {
        let limits = SegmentLimits {
            bytes_max: u64::from(config.segment_bytes_max),
            batches_max: usize::try_from(config.segment_batches_max).unwrap_or(usize::MAX),
        };
        Self {
            config,
            env,
            metrics,
            calls,
            notice,
            batcher: Batcher::new(limits),
            pace: Pace::new(config.linger),
            session: None,
            registering: None,
            replaces: None,
            lost: BTreeMap::new(),
            silent_since: None,
            deadline_min: None,
            look_at: MonotonicTime::default(),
            drain_until: None,
        }
    }

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
                answer = self.calls.next() => {
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

    fn take(&mut self, request: AdmittedRequest) {
        for batch in request.batches {
            self.see_deadline(batch.slot.deadline());
            self.batcher.add(batch);
        }
    }

    /// Does all that the present moment allows.
    fn step(&mut self) {
        let now = self.env.clock.now();
        self.batcher.wake(now);
        if self.is_expiry_due(now) {
            self.expire(now);
        }
        self.give_up_stalled(now);
        self.register(now);
        self.reserve(now);
        let in_flight = self.session.as_ref().map_or(0, Session::in_flight_count);
        self.metrics.in_flight(in_flight);
    }

    fn hear(&mut self, answer: Answer) -> Result<(), IngestError> {
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

    /// A session is wanted and none is there, nor are too many undecided.
    fn may_register(&self) -> bool {
        let is_wanted = !self.batcher.is_empty() || !self.lost.is_empty();
        is_wanted && self.session.is_none() && self.lost.len() < LOST_SESSIONS_MAX
    }

    /// Registers a session when the first batch needs one: an idle process writes nothing (W1).
    fn register(&mut self, now: MonotonicTime) {
        if !self.may_register() {
            return;
        }
        let registering = self.registering.get_or_insert_with(|| Registering {
            attempt: Attempt::RetryAt(now),
            backoff: CALL_RETRY.begin(),
        });
        if registering.attempt.is_due(now) {
            registering.attempt = Attempt::InFlight;
            self.calls.register(self.replaces);
        }
    }

    fn registered(&mut self, answer: Result<Registered, MetadataError>, now: MonotonicTime) {
        match answer {
            Ok(registered) => {
                tracing::info!(
                    session = %registered.session,
                    epoch = %registered.epoch,
                    replaces = ?self.replaces,
                    "session registered"
                );
                self.metrics.session_registered();
                self.silent_since = None;
                self.registering = None;
                self.replaces = None;
                self.session = Some(Session::new(registered));
            }
            Err(error) => {
                tracing::debug!(%error, "session not registered");
                self.silent_since.get_or_insert(now);
                if let Some(registering) = &mut self.registering {
                    registering.attempt = retry_later(&mut registering.backoff, &self.env, now);
                }
            }
        }
    }

    /// Why a segment would be closed now; `None` while its batches may wait for more.
    fn flush_reason(&self, session: &Session, now: MonotonicTime) -> Option<FlushReason> {
        if self.batcher.is_nothing_ready() || session.in_flight_count() >= self.config.uploads_max {
            return None;
        }
        if self.drain_until.is_some() {
            return Some(FlushReason::Drain);
        }
        if self.batcher.is_full() {
            return Some(FlushReason::Full);
        }
        match self.linger_end(session) {
            None => Some(FlushReason::Idle),
            Some(end) => (end <= now).then_some(FlushReason::Linger),
        }
    }

    /// Until when batches wait for others; `None` when nothing is in flight: they need not wait.
    fn linger_end(&self, session: &Session) -> Option<MonotonicTime> {
        let first = self.batcher.first_received();
        let first = first.filter(|_| session.in_flight_count() > 0)?;
        Some(self.pace.next(first))
    }

    /// Closes a segment, or repeats the question for one: one question at a time (W2).
    fn reserve(&mut self, now: MonotonicTime) {
        let Some(session) = &self.session else {
            return;
        };
        let sealed = match &session.reserving {
            Some(reserving) if reserving.attempt.is_due(now) => None,
            Some(_) => return,
            None => {
                let Some(reason) = self.flush_reason(session, now) else {
                    return;
                };
                self.metrics.flushed(reason);
                Some(self.batcher.seal(session.next()))
            }
        };
        let Some(session) = &mut self.session else {
            return;
        };
        if let Some(sealed) = sealed {
            session.reserving = Some(Reserving::new(sealed, now));
        }
        let (registered, written) = (*session.registered(), session.written());
        let over = session.over();
        if let Some(reserving) = &mut session.reserving {
            reserving.attempt = Attempt::InFlight;
            let request = reserving.sealed.request(&registered, written);
            self.calls.reserve(request, over);
        }
    }

    fn reserved(
        &mut self,
        segment: SegmentId,
        answer: Result<ReserveReply, ReserveError>,
        now: MonotonicTime,
    ) {
        // The session may be lost meanwhile: then its batches are offered again already.
        let Some(reserving) = self.session.as_mut().and_then(|session| {
            let is_asked = |reserving: &mut Reserving| reserving.sealed.id == segment;
            session.reserving.take_if(is_asked)
        }) else {
            return;
        };
        match answer {
            Ok(reply) => {
                self.silent_since = None;
                self.judged(reserving, &reply, now);
            }
            Err(ReserveError::SessionClosed) => {
                self.silent_since = None;
                self.offer_again(reserving.sealed.batches);
                self.lose_session(SessionLoss::Closed);
            }
            Err(ReserveError::OutOfTurn) => {
                tracing::warn!(%segment, "reservation is out of turn");
                self.offer_again(reserving.sealed.batches);
                self.lose_session(SessionLoss::Mismatch);
            }
            Err(ReserveError::TooManyUndecided) => {
                self.silent_since = None;
                self.reserve_later(reserving, now);
            }
            Err(ReserveError::Metadata(error)) => {
                tracing::debug!(%segment, %error, "reservation not answered");
                self.silent_since.get_or_insert(now);
                let mut reserving = reserving;
                reserving.pinned |= was_maybe_heard(error);
                self.reserve_later(reserving, now);
            }
        }
    }

    fn reserve_later(&mut self, mut reserving: Reserving, now: MonotonicTime) {
        reserving.attempt = retry_later(&mut reserving.backoff, &self.env, now);
        if let Some(session) = &mut self.session {
            session.reserving = Some(reserving);
        }
    }

    /// The verdicts are in: each batch goes on, is answered, or stays behind.
    fn judged(&mut self, reserving: Reserving, reply: &ReserveReply, now: MonotonicTime) {
        let sealed_at = reserving.since;
        let verdicts = match reserving.sealed.judge(reply) {
            Ok(verdicts) => verdicts,
            Err((sealed, mismatch)) => {
                tracing::error!(segment = %sealed.id, %mismatch, "reservation does not fit");
                self.offer_again(sealed.batches);
                self.lose_session(SessionLoss::Mismatch);
                return;
            }
        };
        let Verdicts {
            reserved,
            deferred,
            replays,
            duplicates,
            refused,
        } = verdicts;
        for (batch, original) in duplicates {
            batch.slot.confirm(original, now);
        }
        for (mut batch, refusal) in refused {
            batch.slot.fail(AppendError::Refused(refusal));
        }
        if let Some(reserved) = reserved {
            self.upload(reserved, sealed_at, now);
        }
        let mut is_contradicted = false;
        for (original, replay) in replays {
            let Some(session) = &mut self.session else {
                break;
            };
            if let Err((mut replay, mismatch)) = session.attach(original, replay, now) {
                tracing::error!(%original, %mismatch, "reservation does not fit");
                replay.slot.fail(AppendError::Undecided);
                is_contradicted = true;
            }
        }
        self.defer(deferred, now);
        if is_contradicted {
            self.lose_session(SessionLoss::Mismatch);
        }
    }

    /// Builds the segment once and starts its upload; from here on it is in flight.
    fn upload(
        &mut self,
        mut reserved: ReservedSegment,
        sealed_at: MonotonicTime,
        now: MonotonicTime,
    ) {
        let Some(session) = &mut self.session else {
            return;
        };
        let built = reserved.build(session.registered(), self.env.rng.write_id());
        self.metrics
            .built(built.footer.batches.len(), built.object.len());
        tracing::debug!(
            segment = %reserved.id,
            batches = built.footer.batches.len(),
            bytes = built.object.len(),
            "segment reserved"
        );
        self.calls.upload(reserved.id, built.object, session.over());
        session.place(reserved, now);
        self.pace.closed(sealed_at);
    }

    /// A segment is there: acknowledge what the chain's tail has passed, then tell the sequencer.
    fn landed(&mut self, uploaded: esker_chain::Uploaded, now: MonotonicTime) {
        let id = uploaded.session();
        if let Some(session) = self.session.as_mut().filter(|session| session.id() == id) {
            if session.land(uploaded, now) {
                let registered = session.registered();
                self.notice.tell(WrittenReport {
                    session: registered.session,
                    epoch: registered.epoch,
                    written: session.written(),
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

    fn next_step(&self) -> Option<MonotonicTime> {
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

    /// Answers what is left and ends the session, so that the next start needs not walk it (Q3).
    async fn finish(mut self) {
        self.give_up_all();
        let Some(session) = self.session.take() else {
            return;
        };
        let limit = self.config.end_timeout;
        let end = self.calls.end_once(session.id(), limit).await;
        let end = end.map(|SessionEnd { end }| end);
        tracing::info!(session = %session.id(), ?end, "session ended at shutdown");
    }
}

/// Whether the sequencer may have acted on a call that failed like this.
fn was_maybe_heard(error: MetadataError) -> bool {
    match error {
        MetadataError::Unknown | MetadataError::Deposed => true,
        MetadataError::Recovering | MetadataError::Unavailable | MetadataError::Overloaded => false,
    }
}

fn retry_later(backoff: &mut Backoff, env: &Env, now: MonotonicTime) -> Attempt {
    let delay = backoff.next_delay(&env.rng);
    Attempt::RetryAt(now.after(delay.unwrap_or(CALL_RETRY.delay_max)))
}
