//! Bookkeeping of one session: its next place, what is in flight, what is acknowledged. Pure.
//!
//! Owned by the writer. Acknowledges only what its chain's tail has passed (W6) or what the
//! sequencer reports below the session's end (W7). A lost session keeps its segments in flight:
//! their uploads may still complete the chain, and those acknowledgements are good.

use std::collections::{BTreeMap, BTreeSet};

use esker_chain::{ChainTail, Uploaded};
use esker_env::{Backoff, Shutdown, ShutdownTrigger};
use esker_metadata_api::{Registered, SessionEnd};
use esker_types::{ChainIndex, MonotonicTime, Planted, SegmentId, SessionId, planted};

use crate::batch::{AdmittedBatch, BatchBody, Lane};
use crate::batcher::{Gaps, SealedSegment};
use crate::error::{AppendError, IngestError};
use crate::limits::CALL_RETRY;
use crate::reserver::{ReplyMismatch, ReservedSegment};
use crate::slots::{Acknowledged, BelowEnd, ReplaySlot, ReplySlot, ReplySlots};

/// Whether a call is under way or waits for its next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    InFlight,
    RetryAt(MonotonicTime),
}

impl Attempt {
    pub(crate) fn is_due(self, now: MonotonicTime) -> bool {
        self.retry_at().is_some_and(|at| at <= now)
    }

    pub(crate) fn retry_at(self) -> Option<MonotonicTime> {
        match self {
            Self::InFlight => None,
            Self::RetryAt(at) => Some(at),
        }
    }
}

/// The segment whose offsets are being asked for; one at a time (W2).
#[derive(Debug)]
pub(crate) struct Reserving {
    pub(crate) sealed: SealedSegment,
    pub(crate) attempt: Attempt,
    pub(crate) backoff: Backoff,
    /// A call may have been heard without our hearing the answer: the set of batches must stay as
    /// it is, since another summary for the same place ends the session (W3).
    pub(crate) pinned: bool,
    /// When it was closed.
    pub(crate) since: MonotonicTime,
}

impl Reserving {
    pub(crate) fn new(sealed: SealedSegment, now: MonotonicTime) -> Self {
        Self {
            sealed,
            attempt: Attempt::InFlight,
            backoff: CALL_RETRY.begin(),
            pinned: false,
            since: now,
        }
    }

    /// Batches may still be taken out.
    fn is_open(&self) -> bool {
        !self.pinned && self.attempt != Attempt::InFlight
    }
}

/// A segment that was reserved and is not yet acknowledged.
#[derive(Debug)]
struct InFlight {
    bodies: Vec<BatchBody>,
    slots: ReplySlots,
    since: MonotonicTime,
    /// It is there, but a segment before it is not yet known to be.
    uploaded: Option<Uploaded>,
}

/// One session, open or lost.
#[derive(Debug)]
pub(crate) struct Session {
    registered: Registered,
    tail: ChainTail,
    next: ChainIndex,
    in_flight: BTreeMap<ChainIndex, InFlight>,
    acknowledged: Option<Acknowledged>,
    pub(crate) reserving: Option<Reserving>,
    /// Dropped with the session: ends its calls.
    over: (ShutdownTrigger, Shutdown),
}

impl Session {
    pub(crate) fn new(registered: Registered) -> Self {
        Self {
            tail: ChainTail::new(registered.session),
            registered,
            next: ChainIndex::ZERO,
            in_flight: BTreeMap::new(),
            acknowledged: None,
            reserving: None,
            over: Shutdown::new(),
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.registered.session
    }

    pub(crate) fn registered(&self) -> &Registered {
        &self.registered
    }

    /// Completes when nobody waits for this session's calls any more.
    pub(crate) fn over(&self) -> Shutdown {
        self.over.1.clone()
    }

    /// The place of the next segment.
    pub(crate) fn next(&self) -> SegmentId {
        SegmentId {
            session: self.id(),
            index: self.next,
        }
    }

    /// All segments below are known to be written.
    pub(crate) fn written(&self) -> ChainIndex {
        self.tail.next()
    }

    pub(crate) fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// Nothing is in flight and nothing is being reserved.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.reserving.is_none()
    }

    /// Since when the first segment in flight is.
    pub(crate) fn head_since(&self) -> Option<MonotonicTime> {
        self.in_flight.values().next().map(|head| head.since)
    }

    /// Batches in flight, in the order of their places.
    pub(crate) fn undecided(&self) -> impl Iterator<Item = &BatchBody> {
        self.in_flight.values().flat_map(|segment| &segment.bodies)
    }

    /// Lanes with batches in flight.
    pub(crate) fn lanes(&self) -> BTreeSet<Lane> {
        self.undecided().map(BatchBody::lane).collect()
    }

    /// Takes the place of a reserved segment: from here on it is in flight.
    pub(crate) fn place(&mut self, reserved: ReservedSegment, now: MonotonicTime) {
        assert_eq!(
            reserved.id,
            self.next(),
            "CP18: places are taken one after another"
        );
        let mut segment = InFlight {
            bodies: reserved.bodies,
            slots: reserved.slots,
            since: now,
            uploaded: None,
        };
        if planted(Planted::AckBeforePut) {
            segment.acknowledge_unproven(now);
        }
        self.in_flight.insert(self.next, segment);
        self.next = self.next.after();
    }

    /// A replay is answered as its original in this session is.
    ///
    /// # Errors
    /// The original is nowhere in the session: the replay is handed back.
    pub(crate) fn attach(
        &mut self,
        original: ChainIndex,
        replay: ReplaySlot,
        now: MonotonicTime,
    ) -> Result<(), (ReplaySlot, ReplyMismatch)> {
        if let Some(segment) = self.in_flight.get_mut(&original) {
            segment.slots.attach(replay);
            return Ok(());
        }
        let session = self.id();
        match self.acknowledged {
            Some(acknowledged) if original <= acknowledged.segment().index => {
                let original = SegmentId {
                    session,
                    index: original,
                };
                acknowledged.confirm(original, replay, now);
                Ok(())
            }
            _ => Err((replay, ReplyMismatch::Original { original })),
        }
    }

    /// A segment is there. Acknowledges it and all that follow, as far as the chain is complete;
    /// `true` when the tail moved.
    pub(crate) fn land(&mut self, uploaded: Uploaded, now: MonotonicTime) -> bool {
        // Void segments are not in flight any more; that they exist means nothing (C1).
        let Some(segment) = self.in_flight.get_mut(&uploaded.index()) else {
            return false;
        };
        segment.uploaded = Some(uploaded);
        if planted(Planted::AckOutOfOrder) {
            segment.acknowledge_unproven(now);
        }
        let before = self.tail.next();
        while let Some(mut head) = self.in_flight.first_entry() {
            let Some(uploaded) = head.get_mut().uploaded.take() else {
                break;
            };
            match self.tail.extend(uploaded) {
                Ok(committed) => {
                    let segment = head.remove();
                    self.acknowledged = Some(segment.slots.acknowledge(committed, now));
                }
                Err(early) => {
                    head.get_mut().uploaded = Some(early);
                    break;
                }
            }
        }
        self.tail.next() > before
    }

    /// The store refused segment `index` for good: it and all behind it surely are not committed,
    /// now or later, as nobody but this session's owner could fill the gap.
    pub(crate) fn void_from(&mut self, index: ChainIndex) -> Vec<AdmittedBatch> {
        assert!(
            index >= self.tail.next(),
            "CP1: what is acknowledged is never void"
        );
        let void = self.in_flight.split_off(&index);
        void.into_values()
            .flat_map(|segment| segment.into_void(AppendError::StoreRefused))
            .collect()
    }

    /// The session's end is durable: acknowledges what lies below, gives back what is void (W7).
    ///
    /// # Errors
    /// [`IngestError::AcknowledgedBeyondEnd`]: stop.
    pub(crate) fn end(
        &mut self,
        end: SessionEnd,
        now: MonotonicTime,
    ) -> Result<Vec<AdmittedBatch>, IngestError> {
        if let Some(acknowledged) = self.acknowledged
            && acknowledged.segment().index >= end.end
        {
            return Err(IngestError::AcknowledgedBeyondEnd {
                session: self.id(),
                end: end.end,
                acknowledged: acknowledged.segment().index,
            });
        }
        let mut void = Vec::new();
        for segment in std::mem::take(&mut self.in_flight).into_values() {
            match BelowEnd::prove(self.id(), end, segment.slots.segment()) {
                Some(below) => segment.slots.settle(below, now),
                None => void.extend(segment.into_void(AppendError::Voided)),
            }
        }
        Ok(void)
    }

    /// Answers "unknown" to what is in flight and whose time is over. The next deadline.
    pub(crate) fn expire(&mut self, now: MonotonicTime) -> Option<MonotonicTime> {
        let segments = self.in_flight.values_mut();
        segments
            .filter_map(|segment| segment.slots.expire(now))
            .min()
    }

    /// The same for the segment being reserved: while its set may still change, what is due is
    /// taken out as surely not written. The next deadline, and the producers' lanes with a gap.
    pub(crate) fn expire_reserving(
        &mut self,
        now: MonotonicTime,
        is_due: impl Fn(&ReplySlot) -> Option<AppendError>,
    ) -> (Option<MonotonicTime>, Gaps) {
        let mut gaps = Gaps::default();
        let Some(reserving) = &mut self.reserving else {
            return (None, gaps);
        };
        let is_open = reserving.is_open();
        let batches = &mut reserving.sealed.batches;
        if !is_open {
            let deadlines = batches
                .iter_mut()
                .filter_map(|batch| batch.slot.expire(now));
            return (deadlines.min(), gaps);
        }
        batches.retain_mut(|batch| gaps.keep(batch, &is_due));
        let deadline = batches.iter().map(|batch| batch.slot.deadline()).min();
        if batches.is_empty() {
            self.reserving = None;
        }
        (deadline, gaps)
    }

    /// Some slot in flight has no answer yet.
    pub(crate) fn is_awaited(&self) -> bool {
        self.in_flight
            .values()
            .any(|segment| segment.slots.is_awaited())
    }

    /// Answers everything: the process stops.
    pub(crate) fn give_up(&mut self) {
        for segment in std::mem::take(&mut self.in_flight).into_values() {
            for mut batch in segment.into_void(AppendError::Undecided) {
                batch.slot.fail(AppendError::Undecided);
            }
        }
        let Some(mut reserving) = self.reserving.take() else {
            return;
        };
        let error = match reserving.is_open() {
            true => AppendError::Stopping,
            false => AppendError::Undecided,
        };
        for batch in &mut reserving.sealed.batches {
            batch.slot.fail(error.clone());
        }
    }
}

impl InFlight {
    /// What a planted bug does: success without the proof of the chain's tail.
    fn acknowledge_unproven(&mut self, now: MonotonicTime) {
        let id = self.slots.segment();
        let slots = std::mem::replace(&mut self.slots, ReplySlots::new(id, Vec::new()));
        let end = id.index.after();
        if let Some(proof) = BelowEnd::prove(id.session, SessionEnd { end }, id) {
            slots.settle(proof, now);
        }
    }

    /// Replays of its batches fail with `error`; the batches themselves are given back.
    fn into_void(self, error: AppendError) -> impl Iterator<Item = AdmittedBatch> {
        let slots = self.slots.withdraw(error);
        let batches = self.bodies.into_iter().zip(slots);
        batches.map(|(body, slot)| AdmittedBatch { body, slot })
    }
}

#[cfg(test)]
mod tests;
