//! What happens when a batch's time is over: an answer that is true, and no write behind it.
//!
//! Not reserved: surely not written, and never will be. Reserved or being reserved: "unknown", and
//! it goes on being decided. Cost: a walk over all batches, only when a deadline has come.

use esker_types::MonotonicTime;

use super::Writer;
use crate::error::AppendError;
use crate::limits::PATIENCE_LOOK;
use crate::outgoing::Outgoing;
use crate::slots::ReplySlot;

impl<O: Outgoing> Writer<O> {
    /// A batch with this deadline is here.
    pub(super) fn see_deadline(&mut self, deadline: MonotonicTime) {
        let earliest = self.deadline_min.map_or(deadline, |min| min.min(deadline));
        self.deadline_min = Some(earliest);
    }

    /// When there may be something to give up.
    pub(super) fn next_expiry(&self) -> Option<MonotonicTime> {
        let impatient = self.impatient_at().map(|at| at.max(self.look_at));
        self.deadline_min.into_iter().chain(impatient).min()
    }

    /// From when on no sequencer has answered for too long.
    fn impatient_at(&self) -> Option<MonotonicTime> {
        let waits = !self.batcher.is_empty();
        let since = self.silent_since.filter(|_| waits)?;
        Some(since.after(self.config.patience))
    }

    pub(super) fn is_expiry_due(&self, now: MonotonicTime) -> bool {
        self.next_expiry().is_some_and(|at| at <= now)
    }

    pub(super) fn expire(&mut self, now: MonotonicTime) {
        self.look_at = now.after(PATIENCE_LOOK);
        let is_impatient = self.impatient_at().is_some_and(|at| at <= now);
        let silence = self.silent_since.map(|since| now.since(since));
        let silence = silence.filter(|_| is_impatient);
        let patience = self.config.patience;
        let is_due = |slot: &ReplySlot| {
            if slot.deadline() <= now {
                return Some(AppendError::NotReserved);
            }
            let waited = now.since(slot.received()) >= patience;
            let silence = silence.filter(|_| waited)?;
            Some(AppendError::NoSequencer { silence })
        };
        let mut earliest = Vec::new();
        if let Some(session) = &mut self.session {
            let (deadline, gaps) = session.expire_reserving(now, is_due);
            self.batcher.fail_behind(gaps, now);
            earliest.push(deadline);
            earliest.push(session.expire(now));
        }
        earliest.push(self.batcher.expire(now, is_due));
        for session in self.lost.values_mut() {
            earliest.push(session.expire(now));
        }
        self.deadline_min = earliest.into_iter().flatten().min();
        self.settle_lost();
    }
}
