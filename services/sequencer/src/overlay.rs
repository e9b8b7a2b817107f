//! Judges the batches of idempotent producers: committed state plus an overlay of undecided ones.
//!
//! D1 to D4. A final refusal rests on committed batches alone: what would rest on an undecided one
//! is deferred until it is decided (R1). The overlay of a producer lies in one session (D3).

use std::collections::VecDeque;

use esker_metadata_api::{ProduceRefusal, ProducerSpan};
use esker_types::{ChainIndex, Offset, ProducerEpoch, SegmentId, SessionId};
use esker_types::{Planted, planted};

use crate::producers::{ProducerBatch, ProducerLog, Sequence};
use crate::voided::VoidMark;

/// A batch that is placed but not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) segment: SegmentId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) batch: ProducerBatch,
}

/// One producer in one partition, while any batch of it is undecided or not checkpointed.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProducerView {
    /// All its committed batches, checkpointed or not (D5).
    pub(crate) committed: Option<ProducerLog>,
    /// In order of offsets, all of one session.
    undecided: VecDeque<InFlight>,
    /// Committed batches that are not checkpointed.
    tail_batches: u64,
}

/// What is to become of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Place,
    Duplicate {
        base_offset: Offset,
    },
    DuplicateInFlight {
        original: ChainIndex,
        base_offset: Offset,
    },
    /// Behind `blocker`: a segment of another session, or the latest of the same one.
    Defer {
        blocker: SegmentId,
    },
    Refuse(ProduceRefusal),
}

/// A batch of an idempotent producer that wants a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) session: SessionId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) base_sequence: Sequence,
    pub(crate) record_count: u32,
    /// Of an idempotency key: the producer's only batch, whose sequence tells its content.
    pub(crate) is_keyed: bool,
}

impl Candidate {
    /// `None` for a negative sequence, which no client may send.
    pub(crate) fn new(session: SessionId, span: ProducerSpan, record_count: u32) -> Option<Self> {
        Some(Self {
            session,
            epoch: span.producer_epoch,
            base_sequence: Sequence::from_wire(span.base_sequence)?,
            record_count,
            is_keyed: span.producer_id.is_keyed(),
        })
    }

    /// Judges it by what is known of its producer in its partition.
    pub(crate) fn judge(&self, known: Known<'_>) -> Judgement {
        if let Some(judgement) = known.committed.and_then(|log| self.settled_by(log)) {
            return judgement;
        }
        if let Some(judgement) = self.settled_by_overlay(known.undecided) {
            return judgement;
        }
        let Some(log) = known.committed else {
            return self.as_first(known);
        };
        if self.is_keyed {
            return Judgement::Refuse(ProduceRefusal::OutOfOrderSequence);
        }
        let expected = if self.epoch == log.epoch() {
            log.next_sequence()
        } else {
            Sequence::ZERO
        };
        if self.base_sequence == expected {
            return Judgement::Place;
        }
        let may_be_void = known.mark.is_some() || known.in_grace;
        let behind_void = may_be_void && self.base_sequence.is_ahead_of(expected);
        if behind_void && planted(Planted::BehindVoidPlaced) {
            return Judgement::Place;
        }
        Judgement::Refuse(if behind_void {
            ProduceRefusal::PredecessorVoid
        } else {
            ProduceRefusal::OutOfOrderSequence
        })
    }

    /// What the committed batches alone settle, whatever becomes of the undecided ones.
    fn settled_by(&self, log: &ProducerLog) -> Option<Judgement> {
        if self.epoch < log.epoch() && !planted(Planted::OldEpochTaken) {
            return Some(Judgement::Refuse(ProduceRefusal::ProducerFenced));
        }
        if self.epoch > log.epoch() {
            return None;
        }
        if let Some(base_offset) = log.find(self.base_sequence, self.record_count) {
            return Some(Judgement::Duplicate { base_offset });
        }
        log.forgot(self.base_sequence, self.record_count)
            .then_some(Judgement::Refuse(ProduceRefusal::DuplicateForgotten))
    }

    /// What undecided batches say; `None` when there are none.
    fn settled_by_overlay(&self, undecided: &VecDeque<InFlight>) -> Option<Judgement> {
        let last = undecided.back()?;
        let defer = Judgement::Defer {
            blocker: last.segment,
        };
        if last.segment.session != self.session && !planted(Planted::NoDefer) {
            return Some(defer);
        }
        let original = undecided.iter().find(|known| {
            known.epoch == self.epoch
                && known
                    .batch
                    .is_replayed_by(self.base_sequence, self.record_count)
        });
        if let Some(original) = original {
            if planted(Planted::DuplicateOfUndecided) {
                let base_offset = original.batch.base_offset;
                return Some(Judgement::Duplicate { base_offset });
            }
            return Some(Judgement::DuplicateInFlight {
                original: original.segment.index,
                base_offset: original.batch.base_offset,
            });
        }
        let follows = if self.is_keyed {
            false
        } else if self.epoch == last.epoch {
            self.base_sequence == last.batch.end_sequence()
        } else {
            self.epoch > last.epoch && self.base_sequence == Sequence::ZERO
        };
        Some(if follows { Judgement::Place } else { defer })
    }

    /// A producer without a committed batch may begin anywhere, but not behind a void one.
    /// An idempotency key has nothing in front of it that could be missing.
    fn as_first(&self, known: Known<'_>) -> Judgement {
        if self.is_keyed {
            return Judgement::Place;
        }
        let behind_void = match known.mark {
            Some(mark) => self.base_sequence.is_ahead_of(mark.first),
            None => known.in_grace && self.base_sequence != Sequence::ZERO,
        };
        if behind_void && !planted(Planted::FirstBehindVoid) {
            return Judgement::Refuse(ProduceRefusal::PredecessorVoid);
        }
        Judgement::Place
    }
}

/// What is known of a producer in a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) committed: Option<&'a ProducerLog>,
    pub(crate) undecided: &'a VecDeque<InFlight>,
    pub(crate) mark: Option<VoidMark>,
    /// A take-over ended sessions a moment ago: what is missing may have been void in them.
    pub(crate) in_grace: bool,
}

impl ProducerView {
    pub(crate) fn of(committed: Option<ProducerLog>) -> Self {
        Self {
            committed,
            ..Self::default()
        }
    }

    pub(crate) fn undecided(&self) -> &VecDeque<InFlight> {
        &self.undecided
    }

    /// Nothing in it that the durable state does not hold.
    pub(crate) fn is_idle(&self) -> bool {
        self.undecided.is_empty() && self.tail_batches == 0
    }

    pub(crate) fn place(&mut self, placed: InFlight) {
        if let Some(last) = self.undecided.back() {
            assert!(
                last.segment.session == placed.segment.session,
                "CP8: undecided batches of a producer lie in one session"
            );
            assert!(
                last.batch.base_offset < placed.batch.base_offset,
                "CP8: batches of a producer keep their order"
            );
        }
        self.undecided.push_back(placed);
    }

    /// Its oldest undecided batch, in `segment`, is committed.
    pub(crate) fn commit(&mut self, segment: SegmentId, batch: ProducerBatch) {
        let oldest = self.undecided.pop_front();
        let oldest = oldest.expect("D1: a placed batch is in its producer's overlay");
        assert!(
            oldest.segment == segment && oldest.batch == batch,
            "CP8: batches of a producer commit in their order"
        );
        match &mut self.committed {
            Some(log) => log.insert(oldest.epoch, batch),
            None => self.committed = Some(ProducerLog::of(oldest.epoch, batch)),
        }
        self.tail_batches = self.tail_batches.saturating_add(1);
    }

    /// Its newest undecided batch, in `segment`, is void (D1).
    pub(crate) fn take_back(&mut self, segment: SegmentId, batch: ProducerBatch) {
        let newest = self.undecided.pop_back();
        assert!(
            newest.is_some_and(|known| known.segment == segment && known.batch == batch),
            "CP18: a void batch was undecided"
        );
    }

    /// One of its committed batches is in the durable state.
    pub(crate) fn checkpointed(&mut self) {
        assert!(
            self.tail_batches > 0,
            "CP16: a committed batch is checkpointed once"
        );
        self.tail_batches -= 1;
    }
}
