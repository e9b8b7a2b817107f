//! One open session in memory: which places are committed, which are reserved, how it may end.
//!
//! Places below `committed` are committed, those of `undecided` reserved, all above unused. A place
//! leaves `undecided` at the front when it is committed (H2) and with all behind it when void (C2).

use std::collections::VecDeque;
use std::time::Duration;

use esker_metadata_api::{ReservationSummary, ReserveReply};
use esker_segment::SegmentFooter;
use esker_types::{ChainIndex, MonotonicTime, SegmentId, SessionId};

use crate::SequencerConfig;

/// A segment that got its offsets and is not decided.
#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    /// What was asked: a retry must ask the same (W3).
    pub(crate) batches: Vec<ReservationSummary>,
    /// What was answered.
    pub(crate) reply: ReserveReply,
    /// What the segment's footer will say, but for the checksums of its batches.
    pub(crate) footer: SegmentFooter,
    pub(crate) reserved_at: MonotonicTime,
}

/// Where a session stands on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Reservations are answered.
    Open,
    /// Being sealed, at this place for the moment (Q1).
    Sealing(ChainIndex),
    /// A seal was seen at this place, all below is committed; not durable yet (C2).
    Ending(ChainIndex),
}

/// Spaces tries out: the delay doubles until something is found out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retry {
    in_flight: bool,
    delay: Duration,
    not_before: MonotonicTime,
}

impl Retry {
    /// Takes the turn if one is due.
    pub(crate) fn take(&mut self, now: MonotonicTime) -> bool {
        let due = !self.in_flight && now >= self.not_before;
        self.in_flight |= due;
        due
    }

    /// Something was found out: the next turn is due at once.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Nothing was found out.
    pub(crate) fn failed(&mut self, config: &SequencerConfig, now: MonotonicTime) {
        let doubled = self.delay.saturating_mul(2);
        let longest = config.retry_delay_max.max(config.retry_delay_min);
        self.delay = doubled.clamp(config.retry_delay_min, longest);
        self.not_before = now.after(self.delay);
        self.in_flight = false;
    }

    /// Brings the next turn forward.
    pub(crate) fn no_later_than(&mut self, at: MonotonicTime) {
        self.not_before = self.not_before.min(at);
    }

    /// When the next turn is due; `None` while one is taken.
    pub(crate) fn due_at(&self) -> Option<MonotonicTime> {
        (!self.in_flight).then_some(self.not_before)
    }
}

/// One session of this epoch that has no durable end.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    id: SessionId,
    pub(crate) phase: Phase,
    committed: ChainIndex,
    undecided: VecDeque<Reservation>,
    /// Somebody waits for places below to be decided: keep looking.
    pub(crate) wanted_upto: ChainIndex,
    pub(crate) probe: Retry,
    pub(crate) seal: Retry,
    pub(crate) active_at: MonotonicTime,
}

impl Session {
    pub(crate) fn new(id: SessionId, now: MonotonicTime) -> Self {
        Self {
            id,
            phase: Phase::Open,
            committed: ChainIndex::ZERO,
            undecided: VecDeque::new(),
            wanted_upto: ChainIndex::ZERO,
            probe: Retry::default(),
            seal: Retry::default(),
            active_at: now,
        }
    }

    /// First place that is not committed.
    pub(crate) fn committed(&self) -> ChainIndex {
        self.committed
    }

    /// First place that is not reserved.
    pub(crate) fn next(&self) -> ChainIndex {
        let undecided = u64::try_from(self.undecided.len()).unwrap_or(u64::MAX);
        ChainIndex::new(self.committed.get().saturating_add(undecided))
    }

    pub(crate) fn first_undecided(&self) -> SegmentId {
        SegmentId {
            session: self.id,
            index: self.committed,
        }
    }

    pub(crate) fn undecided(&self) -> &VecDeque<Reservation> {
        &self.undecided
    }

    /// The reservation of an undecided place.
    pub(crate) fn reservation(&self, index: ChainIndex) -> Option<&Reservation> {
        let at = index.get().checked_sub(self.committed.get())?;
        self.undecided.get(usize::try_from(at).ok()?)
    }

    pub(crate) fn reserve(&mut self, reservation: Reservation) {
        assert_eq!(
            reservation.footer.segment.index,
            self.next(),
            "CP18: places are reserved one by one"
        );
        self.undecided.push_back(reservation);
    }

    /// Takes the first undecided place: it is committed.
    pub(crate) fn commit_first(&mut self) -> Option<Reservation> {
        let first = self.undecided.pop_front()?;
        assert_eq!(
            first.footer.segment,
            self.first_undecided(),
            "H2: places are committed in number order"
        );
        self.committed = self.committed.after();
        Some(first)
    }

    /// Takes all undecided places, last one first: they are void.
    pub(crate) fn void_all(&mut self, end: ChainIndex) -> impl Iterator<Item = Reservation> {
        assert_eq!(
            self.committed, end,
            "C2: all below the end is committed, nothing at or above it"
        );
        std::mem::take(&mut self.undecided).into_iter().rev()
    }
}
