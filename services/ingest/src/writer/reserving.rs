//! Stages 3 to 5: a session when one is needed, segments when they are due, offsets, uploads.
//!
//! One question is outstanding per session (W2) and repeated as it is until it is answered (W3).
//! What the answer places goes on as a segment in flight; everything else is answered or stays.

use esker_env::{Backoff, Env};
use esker_metadata_api::{MetadataError, Registered, ReserveError, ReserveReply};
use esker_types::{MonotonicTime, SegmentId};

use super::{Registering, Writer};
use crate::error::AppendError;
use crate::limits::{CALL_RETRY, LOST_SESSIONS_MAX};
use crate::metrics::{FlushReason, SessionLoss};
use crate::outgoing::Outgoing;
use crate::reserver::{ReservedSegment, Verdicts};
use crate::session::{Attempt, Reserving, Session};

impl<O: Outgoing> Writer<O> {
    /// A session is wanted and none is there, nor are too many undecided.
    pub(super) fn may_register(&self) -> bool {
        let is_wanted = !self.batcher.is_empty() || !self.lost.is_empty();
        is_wanted && self.session.is_none() && self.lost.len() < LOST_SESSIONS_MAX
    }

    /// Registers a session when the first batch needs one: an idle process writes nothing (W1).
    pub(super) fn register(&mut self, now: MonotonicTime) {
        if !self.may_register() {
            return;
        }
        let from = self.register_from;
        let registering = self.registering.get_or_insert_with(|| Registering {
            attempt: Attempt::RetryAt(from),
            backoff: CALL_RETRY.begin(),
        });
        if registering.attempt.is_due(now) {
            registering.attempt = Attempt::InFlight;
            self.calls.register(self.replaces);
        }
    }

    pub(super) fn registered(
        &mut self,
        answer: Result<Registered, MetadataError>,
        now: MonotonicTime,
    ) {
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
        let reason = match session.in_flight_count() {
            0 => FlushReason::Idle,
            _ => FlushReason::Linger,
        };
        let end = self.linger_end(session);
        end.is_none_or(|end| end <= now).then_some(reason)
    }

    /// Until when batches wait for others; `None` when they need not wait.
    pub(super) fn linger_end(&self, session: &Session) -> Option<MonotonicTime> {
        let first = self.batcher.first_received()?;
        match session.in_flight_count() {
            0 => self.pace.company_until(first, self.batcher.ready_bytes()),
            _ => Some(self.pace.next(first)),
        }
    }

    /// Closes a segment, or repeats the question for one: one question at a time (W2).
    pub(super) fn reserve(&mut self, now: MonotonicTime) {
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
                self.pace.sealed(now);
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

    pub(super) fn reserved(
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
