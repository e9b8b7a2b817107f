//! What happens when a session is lost: its batches wait for the decision, then go on in a new one.
//!
//! Only a durable end of the session decides (W7): below it a segment is committed and its batches
//! are acknowledged, at or above it surely not and they are offered again, in their old order.
//! Their lanes are held until then, so nothing overtakes them (I12). What was never put, or was
//! refused by the store, needs no decision: nobody but us could have written it.

use esker_metadata_api::SessionEnd;
use esker_types::{ChainIndex, MonotonicTime, Planted, SegmentId, SessionId, planted};

use super::Writer;
use crate::batch::AdmittedBatch;
use crate::batcher::Gaps;
use crate::error::{AppendError, IngestError};
use crate::limits::CALL_RETRY;
use crate::metrics::SessionLoss;
use crate::outgoing::Outgoing;
use crate::session::Session;
use crate::slots::ReplySlot;

impl<O: Outgoing> Writer<O> {
    /// Gives the open session up. Its segments stay in flight: their uploads may still complete
    /// the chain. The next registration seals it, and its end is asked for.
    pub(super) fn lose_session(&mut self, loss: SessionLoss) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        tracing::info!(
            session = %session.id(),
            ?loss,
            in_flight = session.in_flight_count(),
            "session lost"
        );
        self.metrics.session_lost(loss);
        self.hold_off(&session);
        self.replaces = Some(session.id());
        if let Some(reserving) = session.reserving.take() {
            self.offer_again(reserving.sealed.batches);
        }
        if session.is_awaited() {
            self.calls.end(session.id(), session.over());
        }
        self.lost.insert(session.id(), session);
        self.settle_lost();
    }

    /// Sessions that are lost before they acknowledge anything follow one another ever more slowly:
    /// each costs a durable registration and a seal.
    fn hold_off(&mut self, session: &Session) {
        let now = self.env.clock.now();
        if session.written() > ChainIndex::ZERO {
            self.fruitless = CALL_RETRY.begin();
            self.register_from = now;
            return;
        }
        let delay = self.fruitless.next_delay(&self.env.rng);
        self.register_from = now.after(delay.unwrap_or(CALL_RETRY.delay_max));
    }

    pub(super) fn lose_if_open(&mut self, id: SessionId, loss: SessionLoss) {
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.id() == id)
        {
            self.lose_session(loss);
        }
    }

    pub(super) fn give_up_stalled(&mut self, now: MonotonicTime) {
        let head = self.session.as_ref().and_then(Session::head_since);
        if head.is_some_and(|since| since.after(self.config.stall) <= now) {
            self.lose_session(SessionLoss::Stalled);
        }
    }

    /// The end of a lost session is durable.
    pub(super) fn ended(
        &mut self,
        id: SessionId,
        end: SessionEnd,
        now: MonotonicTime,
    ) -> Result<(), IngestError> {
        let Some(mut session) = self.lost.remove(&id) else {
            return Ok(());
        };
        tracing::info!(session = %id, end = %end.end, "end of a lost session is known");
        let void = session.end(end, now)?;
        if self.replaces == Some(id) {
            self.replaces = None;
        }
        self.offer_again(void);
        self.settle_lost();
        Ok(())
    }

    /// The store refused `segment`: it and all behind it in its session surely are not committed.
    pub(super) fn void_refused(&mut self, segment: SegmentId) {
        let Some(session) = self.lost.get_mut(&segment.session) else {
            return;
        };
        let mut gaps = Gaps::default();
        for mut batch in session.void_from(segment.index) {
            batch.slot.fail(AppendError::StoreRefused);
            gaps.open(&batch.body, AppendError::StoreRefused);
        }
        self.batcher.fail_behind(gaps, self.env.clock.now());
        self.settle_lost();
    }

    /// Offers batches again that surely are not written. Those that were answered meanwhile are
    /// dropped, and with them what is behind them in a producer's lane: in order or not at all.
    pub(super) fn offer_again(&mut self, batches: Vec<AdmittedBatch>) {
        let batches = self.drop_answered(batches);
        self.batcher.offer_again(batches);
    }

    pub(super) fn defer(&mut self, batches: Vec<AdmittedBatch>, now: MonotonicTime) {
        for _ in &batches {
            self.metrics.deferred();
        }
        let batches = self.drop_answered(batches);
        self.batcher.defer(batches, now);
    }

    fn drop_answered(&mut self, batches: Vec<AdmittedBatch>) -> Vec<AdmittedBatch> {
        let mut gaps = Gaps::default();
        let mut unanswered = Vec::with_capacity(batches.len());
        for mut batch in batches {
            if batch.slot.is_answered() {
                gaps.open(&batch.body, AppendError::Voided);
            } else if gaps.keep(&mut batch, &|_: &ReplySlot| None) {
                unanswered.push(batch);
            }
        }
        self.batcher.fail_behind(gaps, self.env.clock.now());
        unanswered
    }

    /// Forgets lost sessions nobody waits for, and holds the lanes of the others: whoever was told
    /// "unknown" will ask the sequencer, which knows or finds out.
    pub(super) fn settle_lost(&mut self) {
        let mut undecided = Gaps::default();
        for (_, session) in self.lost.extract_if(.., |_, session| !session.is_awaited()) {
            for body in session.undecided() {
                undecided.open(body, AppendError::Undecided);
            }
        }
        // A sequencer that remembers void batches would keep the order too: these bugs are of both.
        let is_kept = !planted(Planted::FirstBehindVoid) && !planted(Planted::VoidMarksForgotten);
        if is_kept {
            self.batcher.forget(undecided, self.env.clock.now());
        }
        let lanes = self.lost.values().flat_map(Session::lanes).collect();
        self.batcher.set_undecided(&lanes);
    }

    /// Answers everything that is left when the process stops.
    pub(super) fn give_up_all(&mut self) {
        self.batcher
            .give_up(AppendError::Stopping, AppendError::Undecided);
        let open = self.session.iter_mut();
        for session in open.chain(self.lost.values_mut()) {
            session.give_up();
        }
    }
}
