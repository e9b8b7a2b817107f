//! Reply slots: one per admitted batch, answered exactly once, success only for a proof (CP1, I1).
//!
//! Three proofs exist: [`Committed`] made by the chain's tail, a [`SessionEnd`] above the segment,
//! and the sequencer's word that a batch is a duplicate of a committed one (CP9). A slot that is
//! dropped unanswered tells its waiter "unknown", never an error that means "not written".

use std::sync::Arc;

use esker_chain::Committed;
use esker_metadata_api::SessionEnd;
use esker_types::{MonotonicTime, Offset, Planted, SegmentId, SessionId, Timestamp, planted};
use tokio::sync::oneshot;

use crate::error::AppendError;
use crate::metrics::Metrics;

/// A batch that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The partition's log start offset, as the sequencer knew it at the reservation.
    pub log_start: Offset,
    /// The time of the append, for topics with `message.timestamp.type=LogAppendTime`; `None` also
    /// for a replay, whose original kept its own.
    pub log_append_time: Option<Timestamp>,
}

/// What becomes of a batch.
pub(crate) type Outcome = Result<Appended, AppendError>;

/// The offsets the sequencer promised to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) base_offset: Offset,
    pub(crate) log_start: Offset,
}

/// Times of a request, common to its batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotTimes {
    pub(crate) received: MonotonicTime,
    pub(crate) deadline: MonotonicTime,
    pub(crate) log_append_time: Option<Timestamp>,
}

/// Where one batch's answer goes.
#[derive(Debug)]
pub(crate) struct ReplySlot {
    reply: Option<oneshot::Sender<Outcome>>,
    times: SlotTimes,
    metrics: Arc<Metrics>,
}

impl ReplySlot {
    pub(crate) fn new(
        times: SlotTimes,
        metrics: Arc<Metrics>,
    ) -> (Self, oneshot::Receiver<Outcome>) {
        let (reply, outcome) = oneshot::channel();
        let slot = Self {
            reply: Some(reply),
            times,
            metrics,
        };
        (slot, outcome)
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.reply.is_none()
    }

    pub(crate) fn received(&self) -> MonotonicTime {
        self.times.received
    }

    pub(crate) fn deadline(&self) -> MonotonicTime {
        self.times.deadline
    }

    /// Answers an error, unless the slot is answered already.
    pub(crate) fn fail(&mut self, error: AppendError) {
        if let Some(reply) = self.reply.take() {
            self.metrics.refused(&error);
            let outcome = match error {
                AppendError::Undecided if planted(Planted::OffsetZeroOnError) => Ok(Appended {
                    base_offset: Offset::ZERO,
                    log_start: Offset::ZERO,
                    log_append_time: None,
                }),
                error => Err(error),
            };
            // The client may be gone; what became of its batch does not change.
            let _ = reply.send(outcome);
        }
    }

    /// Answers "unknown" when the time is over. The deadline while there is one.
    pub(crate) fn expire(&mut self, now: MonotonicTime) -> Option<MonotonicTime> {
        if self.times.deadline <= now {
            self.fail(match planted(Planted::UnknownToldAsFailed) {
                true => AppendError::NotReserved,
                false => AppendError::Undecided,
            });
        }
        (!self.is_answered()).then_some(self.times.deadline)
    }

    /// Success. Private: the callers below hold a proof each.
    fn succeed(mut self, promise: Promise, log_append_time: Option<Timestamp>, now: MonotonicTime) {
        if let Some(reply) = self.reply.take() {
            self.metrics.acknowledged(now.since(self.times.received));
            let _ = reply.send(Ok(Appended {
                base_offset: promise.base_offset,
                log_start: promise.log_start,
                log_append_time,
            }));
        }
    }

    /// Answers a replay with its original's offset: the sequencer says that this is committed.
    pub(crate) fn confirm(self, original: CommittedOriginal, now: MonotonicTime) {
        self.metrics.duplicate();
        self.succeed(original.promise, None, now);
    }
}

/// The sequencer's word that a batch is a replay of a committed one.
#[derive(Debug)]
pub(crate) struct CommittedOriginal {
    promise: Promise,
}

impl CommittedOriginal {
    /// For the reserver, from a `Duplicate` verdict only.
    pub(crate) fn from_verdict(promise: Promise) -> Self {
        Self { promise }
    }
}

/// A replay of a batch that is in flight: answered as that one is.
#[derive(Debug)]
pub(crate) struct ReplaySlot {
    pub(crate) slot: ReplySlot,
    pub(crate) promise: Promise,
}

/// Every slot up to this place of the session has been acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    segment: SegmentId,
}

impl Acknowledged {
    /// The last segment acknowledged.
    #[must_use]
    pub fn segment(self) -> SegmentId {
        self.segment
    }

    /// Answers a replay of a batch that was acknowledged before the sequencer knew.
    pub(crate) fn confirm(self, original: SegmentId, replay: ReplaySlot, now: MonotonicTime) {
        assert!(
            original.session == self.segment.session && original.index <= self.segment.index,
            "CP9: a replay is answered with a committed original only"
        );
        replay.slot.metrics.duplicate();
        replay.slot.succeed(replay.promise, None, now);
    }
}

/// The sequencer's word that a segment lies below the durable end of its session: it is committed.
#[derive(Debug)]
pub(crate) struct BelowEnd {
    segment: SegmentId,
}

impl BelowEnd {
    /// `None` for a segment at or above the end: it is void.
    pub(crate) fn prove(session: SessionId, end: SessionEnd, segment: SegmentId) -> Option<Self> {
        let end = match planted(Planted::EndOneTooHigh) {
            true => end.end.after(),
            false => end.end,
        };
        let below = segment.session == session && segment.index < end;
        below.then_some(Self { segment })
    }
}

/// The slots of one segment and the offsets promised to them.
///
/// Success needs the proof that the segment and all before it exist. This compiles:
/// ```
/// # use esker_types::MonotonicTime;
/// fn late(slots: esker_ingest::ReplySlots, proof: esker_chain::Committed, now: MonotonicTime) {
///     let _ = slots.acknowledge(proof, now);
/// }
/// ```
/// and with a mere upload it does not:
/// ```compile_fail,E0308
/// # use esker_types::MonotonicTime;
/// fn early(slots: esker_ingest::ReplySlots, proof: esker_chain::Uploaded, now: MonotonicTime) {
///     let _ = slots.acknowledge(proof, now);
/// }
/// ```
#[derive(Debug)]
pub struct ReplySlots {
    segment: SegmentId,
    promised: Vec<(ReplySlot, Promise)>,
    replays: Vec<ReplaySlot>,
}

impl ReplySlots {
    pub(crate) fn new(segment: SegmentId, promised: Vec<(ReplySlot, Promise)>) -> Self {
        Self {
            segment,
            promised,
            replays: Vec::new(),
        }
    }

    pub(crate) fn segment(&self) -> SegmentId {
        self.segment
    }

    /// A replay of a batch of this segment waits with it.
    pub(crate) fn attach(&mut self, replay: ReplaySlot) {
        self.replays.push(replay);
    }

    /// Answers success (W6). Takes the proof: one segment is acknowledged once.
    pub fn acknowledge(self, proof: Committed, now: MonotonicTime) -> Acknowledged {
        assert!(
            proof.session() == self.segment.session && proof.index() == self.segment.index,
            "CP1: a segment is acknowledged for its own proof"
        );
        let segment = self.segment;
        self.succeed(now);
        Acknowledged { segment }
    }

    /// Answers success: the session's end is durable and lies above this segment (W7).
    pub(crate) fn settle(self, proof: BelowEnd, now: MonotonicTime) {
        assert!(
            proof.segment == self.segment,
            "CP1: a segment is settled for its own proof"
        );
        self.succeed(now);
    }

    fn succeed(self, now: MonotonicTime) {
        for (slot, promise) in self.promised {
            let log_append_time = slot.times.log_append_time;
            slot.succeed(promise, log_append_time, now);
        }
        for replay in self.replays {
            replay.slot.metrics.duplicate();
            replay.slot.succeed(replay.promise, None, now);
        }
    }

    /// Answers "unknown" to those whose time is over. The earliest deadline of the others.
    pub(crate) fn expire(&mut self, now: MonotonicTime) -> Option<MonotonicTime> {
        let own = self.promised.iter_mut().map(|(slot, _)| slot);
        let replays = self.replays.iter_mut().map(|replay| &mut replay.slot);
        own.chain(replays).filter_map(|slot| slot.expire(now)).min()
    }

    /// Some slot has no answer yet.
    pub(crate) fn is_awaited(&self) -> bool {
        let own = self.promised.iter().map(|(slot, _)| slot);
        let replays = self.replays.iter().map(|replay| &replay.slot);
        own.chain(replays).any(|slot| !slot.is_answered())
    }

    /// Takes the slots back: the segment surely is not committed. Replays fail with it (D2).
    pub(crate) fn withdraw(self, error: AppendError) -> Vec<ReplySlot> {
        for mut replay in self.replays {
            replay.slot.fail(error.clone());
        }
        self.promised.into_iter().map(|(slot, _)| slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use esker_types::ChainIndex;

    use super::*;

    const SEGMENT: SegmentId = SegmentId {
        session: SessionId::from_bytes([1; 16]),
        index: ChainIndex::ZERO,
    };
    const PROMISE: Promise = Promise {
        base_offset: Offset::ZERO,
        log_start: Offset::ZERO,
    };

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_start(Duration::from_secs(seconds))
    }

    fn slot() -> (ReplySlot, oneshot::Receiver<Outcome>) {
        let times = SlotTimes {
            received: at(0),
            deadline: at(10),
            log_append_time: None,
        };
        ReplySlot::new(times, Arc::default())
    }

    #[test]
    fn a_segment_below_the_end_is_committed_and_one_at_the_end_is_void() {
        let end = |end| SessionEnd {
            end: ChainIndex::new(end),
        };
        let (slot, mut outcome) = slot();
        let slots = ReplySlots::new(SEGMENT, vec![(slot, PROMISE)]);

        let void = BelowEnd::prove(SEGMENT.session, end(0), SEGMENT);
        let below = BelowEnd::prove(SEGMENT.session, end(1), SEGMENT).unwrap();
        slots.settle(below, at(1));

        assert!(void.is_none());
        assert!(outcome.try_recv().unwrap().is_ok());
    }

    #[test]
    fn time_over_is_told_as_unknown_once_and_later_success_changes_nothing() {
        let (slot, mut outcome) = slot();
        let mut slots = ReplySlots::new(SEGMENT, vec![(slot, PROMISE)]);
        let end = SessionEnd {
            end: ChainIndex::new(1),
        };

        let before = slots.expire(at(9));
        let after = slots.expire(at(10));
        slots.settle(
            BelowEnd::prove(SEGMENT.session, end, SEGMENT).unwrap(),
            at(11),
        );

        assert_eq!((before, after), (Some(at(10)), None));
        assert!(matches!(
            outcome.try_recv(),
            Ok(Err(AppendError::Undecided))
        ));
    }

    #[test]
    fn a_replay_fails_with_its_original_and_the_original_may_be_offered_again() {
        let (first, _original) = slot();
        let (second, mut replay) = slot();
        let mut slots = ReplySlots::new(SEGMENT, vec![(first, PROMISE)]);
        slots.attach(ReplaySlot {
            slot: second,
            promise: PROMISE,
        });

        let back = slots.withdraw(AppendError::Voided);

        assert!(!back[0].is_answered());
        assert!(matches!(replay.try_recv(), Ok(Err(AppendError::Voided))));
    }

    #[test]
    fn a_dropped_slot_is_seen_as_unanswered() {
        let (slot, mut outcome) = slot();

        drop(slot);

        let seen = outcome.try_recv().unwrap_err();
        assert_eq!(seen, oneshot::error::TryRecvError::Closed);
    }
}
