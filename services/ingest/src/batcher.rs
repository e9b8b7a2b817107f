//! Stages 2 and 3: admitted batches wait here until a segment is closed over them.
//!
//! Two places: `ready`, in order of arrival, and lanes that are held because what comes before them
//! is not decided (a deferral, D3, or a lost session, W7). Inside a lane the order of arrival is
//! kept always (I12). Pure: the writer passes the time. Bounded by the byte pool.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use esker_types::{MonotonicTime, SegmentId};
use esker_types::{Planted, planted};

use crate::batch::{AdmittedBatch, BatchBody, Lane};
use crate::error::AppendError;
use crate::given_up::{GivenUp, GivenUpBatch};
use crate::limits::{DEFER_DELAY_FIRST, DEFER_DELAY_MAX};
use crate::slots::ReplySlot;

/// When a segment is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentLimits {
    pub(crate) bytes_max: u64,
    pub(crate) batches_max: usize,
}

/// A segment whose set of batches is final: grouped by partition, in a partition as they arrived.
#[derive(Debug)]
pub(crate) struct SealedSegment {
    pub(crate) id: SegmentId,
    pub(crate) batches: Vec<AdmittedBatch>,
}

/// A lane whose batches may not be offered now.
#[derive(Debug, Default)]
struct HeldLane {
    waiting: VecDeque<AdmittedBatch>,
    /// Batches of the lane are undecided in a lost session.
    undecided: bool,
    /// The sequencer deferred the lane until then.
    retry_at: Option<MonotonicTime>,
}

/// Producers' lanes in which a batch was given up, and why. What is behind it cannot go on: the
/// sequencer would refuse it as out of order, which can end a client's producer.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    lanes: BTreeMap<Lane, AppendError>,
    batches: Vec<GivenUpBatch>,
}

/// All batches that are not in a segment.
#[derive(Debug)]
pub(crate) struct Batcher {
    ready: VecDeque<AdmittedBatch>,
    ready_bytes: u64,
    held: BTreeMap<Lane, HeldLane>,
    given_up: GivenUp,
    limits: SegmentLimits,
}

impl Batcher {
    pub(crate) fn new(limits: SegmentLimits) -> Self {
        Self {
            ready: VecDeque::new(),
            ready_bytes: 0,
            held: BTreeMap::new(),
            given_up: GivenUp::default(),
            limits,
        }
    }

    /// Takes a batch in, behind all others of its lane. One that was sent behind a batch given up
    /// since then is answered as that was.
    pub(crate) fn add(&mut self, mut batch: AdmittedBatch, now: MonotonicTime) {
        if let Some(error) = self.given_up.refuses(&batch, now) {
            batch.slot.fail(error);
            return;
        }
        match self.held.get_mut(&batch.lane()) {
            Some(lane) => lane.waiting.push_back(batch),
            None => self.push_ready(batch),
        }
    }

    fn push_ready(&mut self, batch: AdmittedBatch) {
        self.ready_bytes += batch.body.batch_bytes();
        self.ready.push_back(batch);
    }

    /// Nothing may be offered now.
    pub(crate) fn is_nothing_ready(&self) -> bool {
        self.ready.is_empty()
    }

    /// When the request of the first batch came that may be offered.
    pub(crate) fn first_received(&self) -> Option<MonotonicTime> {
        self.ready.front().map(|batch| batch.slot.received())
    }

    /// Bytes of the batches that are ready.
    pub(crate) fn ready_bytes(&self) -> u64 {
        self.ready_bytes
    }

    /// Nothing is here at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.held.values().all(|lane| lane.waiting.is_empty())
    }

    /// Enough is ready to fill a segment.
    pub(crate) fn is_full(&self) -> bool {
        self.ready_bytes >= self.limits.bytes_max || self.ready.len() >= self.limits.batches_max
    }

    /// Closes a segment over what is ready, up to its limits; at least one batch, if there is any.
    pub(crate) fn seal(&mut self, id: SegmentId) -> SealedSegment {
        let mut batches = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.ready.front() {
            let with_next = bytes + next.body.batch_bytes();
            let fits =
                with_next <= self.limits.bytes_max && batches.len() < self.limits.batches_max;
            if !batches.is_empty() && !fits {
                break;
            }
            bytes = with_next;
            batches.extend(self.ready.pop_front());
        }
        self.ready_bytes -= bytes;
        // Stable: in a partition the order of arrival stays.
        batches.sort_by_key(|batch: &AdmittedBatch| batch.body.summary.topic_partition);
        SealedSegment { id, batches }
    }

    /// Takes batches back that surely are not written, in front of all others of their lanes.
    pub(crate) fn offer_again(&mut self, mut batches: Vec<AdmittedBatch>) {
        if planted(Planted::OfferedAgainReversed) {
            batches.reverse();
        }
        for batch in batches.into_iter().rev() {
            match self.held.get_mut(&batch.lane()) {
                Some(lane) => lane.waiting.push_front(batch),
                None => {
                    self.ready_bytes += batch.body.batch_bytes();
                    self.ready.push_front(batch);
                }
            }
        }
    }

    /// The sequencer deferred these (D3): they and what is behind them in their lanes stay back.
    pub(crate) fn defer(&mut self, batches: Vec<AdmittedBatch>, now: MonotonicTime) {
        for batch in &batches {
            let retry_at = now.after(defer_delay(batch.body.deferrals));
            let lane = self.held.entry(batch.lane()).or_default();
            lane.retry_at = lane.retry_at.max(Some(retry_at));
        }
        let batches = batches.into_iter().map(|mut batch| {
            batch.body.deferrals = batch.body.deferrals.saturating_add(1);
            batch
        });
        let batches = batches.collect();
        self.hold_ready();
        self.offer_again(batches);
    }

    /// Holds exactly these lanes for lost sessions, and lets go of those held for that before.
    pub(crate) fn set_undecided(&mut self, lanes: &BTreeSet<Lane>) {
        if planted(Planted::LanesNotHeld) {
            return;
        }
        for (lane, held) in &mut self.held {
            held.undecided = lanes.contains(lane);
        }
        for lane in lanes {
            self.held.entry(*lane).or_default().undecided = true;
        }
        self.hold_ready();
        self.release();
    }

    /// Lets go of lanes whose deferral is over.
    pub(crate) fn wake(&mut self, now: MonotonicTime) {
        let mut woken = false;
        for held in self.held.values_mut() {
            if held.retry_at.is_some_and(|retry_at| retry_at <= now) {
                held.retry_at = None;
                woken = true;
            }
        }
        if woken {
            self.release();
        }
    }

    /// When [`Self::wake`] has something to do.
    pub(crate) fn next_wake(&self) -> Option<MonotonicTime> {
        self.held.values().filter_map(|held| held.retry_at).min()
    }

    /// Moves what is ready but belongs to a held lane behind what waits in the lane.
    fn hold_ready(&mut self) {
        if self.held.is_empty() {
            return;
        }
        for batch in std::mem::take(&mut self.ready) {
            match self.held.get_mut(&batch.lane()) {
                Some(lane) => {
                    self.ready_bytes -= batch.body.batch_bytes();
                    lane.waiting.push_back(batch);
                }
                None => self.ready.push_back(batch),
            }
        }
    }

    fn release(&mut self) {
        let is_free = |held: &HeldLane| !held.undecided && held.retry_at.is_none();
        for (_, lane) in self.held.extract_if(.., |_, held| is_free(held)) {
            for batch in lane.waiting {
                self.ready_bytes += batch.body.batch_bytes();
                self.ready.push_back(batch);
            }
        }
    }

    /// Fails what waits behind a gap: the sequencer would take it for the client's fault.
    pub(crate) fn fail_behind(&mut self, mut gaps: Gaps, now: MonotonicTime) {
        if gaps.lanes.is_empty() {
            return;
        }
        let lanes: Vec<Lane> = gaps.lanes.keys().copied().collect();
        for lane in lanes {
            if let Some(held) = self.held.get_mut(&lane) {
                held.waiting.retain_mut(|batch| gaps.keep(batch, &not_due));
            }
        }
        self.retain_ready(|batch| gaps.keep(batch, &not_due));
        self.remember(gaps.batches, now);
    }

    /// Nobody waits any more for these undecided batches, whose clients were told "unknown". What
    /// came behind one is told the same, until it comes again: were it offered, and the undecided
    /// one void, a sequencer that does not know of that would take it for the first (CP8).
    pub(crate) fn forget(&mut self, undecided: Gaps, now: MonotonicTime) {
        let Gaps { lanes, batches } = undecided;
        if lanes.is_empty() {
            return;
        }
        self.remember(batches, now);
        let mut given_up = std::mem::take(&mut self.given_up);
        let mut keep = |batch: &mut AdmittedBatch| match given_up.refuses(batch, now) {
            Some(error) => {
                batch.slot.fail(error);
                false
            }
            None => true,
        };
        for lane in lanes.keys() {
            if let Some(held) = self.held.get_mut(lane) {
                held.waiting.retain_mut(&mut keep);
            }
        }
        self.retain_ready(|batch| !lanes.contains_key(&batch.lane()) || keep(batch));
        self.given_up = given_up;
    }

    fn remember(&mut self, batches: Vec<GivenUpBatch>, now: MonotonicTime) {
        for batch in batches {
            self.given_up.note(batch, now);
        }
    }

    /// Gives up what `is_due` names an error for, and what is behind it in a producer's lane. What
    /// waits in held lanes is told "unknown" when its time is over: it may be a replay of the
    /// very batch that is undecided. The earliest deadline of what stays.
    pub(crate) fn expire(
        &mut self,
        now: MonotonicTime,
        is_due: impl Fn(&ReplySlot) -> Option<AppendError>,
    ) -> Option<MonotonicTime> {
        let mut gaps = Gaps::default();
        self.retain_ready(|batch| gaps.keep(batch, &is_due));
        self.remember(gaps.batches, now);
        let is_held_due =
            |slot: &ReplySlot| (slot.deadline() <= now).then_some(AppendError::Undecided);
        let mut gaps = Gaps::default();
        for held in self.held.values_mut() {
            held.waiting
                .retain_mut(|batch| gaps.keep(batch, &is_held_due));
        }
        self.remember(gaps.batches, now);
        let held = self.held.values().flat_map(|held| &held.waiting);
        let deadlines = self.ready.iter().chain(held);
        deadlines.map(|batch| batch.slot.deadline()).min()
    }

    fn retain_ready(&mut self, mut keep: impl FnMut(&mut AdmittedBatch) -> bool) {
        let ready_bytes = &mut self.ready_bytes;
        self.ready.retain_mut(|batch| {
            let kept = keep(batch);
            if !kept {
                *ready_bytes -= batch.body.batch_bytes();
            }
            kept
        });
    }

    /// Fails everything: what is ready surely is not written.
    pub(crate) fn give_up(&mut self, ready: AppendError, held: AppendError) {
        fail_all(self.ready.drain(..), &ready);
        self.ready_bytes = 0;
        for (_, lane) in std::mem::take(&mut self.held) {
            fail_all(lane.waiting.into_iter(), &held);
        }
    }
}

fn fail_all(batches: impl Iterator<Item = AdmittedBatch>, error: &AppendError) {
    for mut batch in batches {
        batch.slot.fail(error.clone());
    }
}

impl Gaps {
    /// A batch was given up: with `error`, as will be what is behind it in its lane. Batches
    /// without a sequence do not depend on one another.
    pub(crate) fn open(&mut self, body: &BatchBody, error: AppendError) {
        if body.summary.producer.is_some() {
            self.lanes
                .entry(body.lane())
                .or_insert_with(|| error.clone());
        }
        self.batches.extend(GivenUpBatch::of(body, error));
    }

    /// Fails a batch that is due or stands behind a gap; `true` for all others.
    pub(crate) fn keep(
        &mut self,
        batch: &mut AdmittedBatch,
        is_due: &impl Fn(&ReplySlot) -> Option<AppendError>,
    ) -> bool {
        let behind = self.lanes.get(&batch.lane()).cloned();
        let Some(error) = behind.or_else(|| is_due(&batch.slot)) else {
            return true;
        };
        batch.slot.fail(error.clone());
        self.open(&batch.body, error);
        false
    }
}

fn not_due(_: &ReplySlot) -> Option<AppendError> {
    None
}

fn defer_delay(deferrals: u32) -> Duration {
    let doubled = DEFER_DELAY_FIRST.saturating_mul(1 << deferrals.min(16));
    doubled.min(DEFER_DELAY_MAX)
}

#[cfg(test)]
mod tests;
