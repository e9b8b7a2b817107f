//! Whether the requests that a process lives by still get through: what `/readyz` asks.
//!
//! Fed by `DurableBucket` with the end of each request, single attempts included. Slow to say that
//! a kind of request has stopped, quick to take it back: one success clears it, and one bad object,
//! however often it is asked for, is never enough. Counts nothing that the caller gave up.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use esker_types::MonotonicTime;

use crate::limits::{
    PULSE_CANARY_AFTER, PULSE_FAILURES_MIN, PULSE_FORGOTTEN_AFTER, PULSE_STOPPED_AFTER,
};
use crate::{KeyClass, ObjectKey, Operation, RequestOutcome};

/// A kind of request without which nothing can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifeline {
    /// Reading segments.
    SegmentGet,
    /// Writing segments.
    SegmentPut,
    /// Reading the journal.
    JournalGet,
    /// Writing the journal.
    JournalPut,
}

impl Lifeline {
    /// All of them, for tables and metrics.
    pub const ALL: [Self; 4] = [
        Self::SegmentGet,
        Self::SegmentPut,
        Self::JournalGet,
        Self::JournalPut,
    ];

    /// The label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::SegmentGet => "segment_get",
            Self::SegmentPut => "segment_put",
            Self::JournalGet => "journal_get",
            Self::JournalPut => "journal_put",
        }
    }

    fn of(operation: Operation, class: KeyClass) -> Option<Self> {
        match (operation, class) {
            (Operation::Get | Operation::Head, KeyClass::Session) => Some(Self::SegmentGet),
            (Operation::Put, KeyClass::Session) => Some(Self::SegmentPut),
            (Operation::Get | Operation::Head, KeyClass::Journal) => Some(Self::JournalGet),
            (Operation::Put, KeyClass::Journal) => Some(Self::JournalPut),
            _ => None,
        }
    }

    fn place(self) -> usize {
        match self {
            Self::SegmentGet => 0,
            Self::SegmentPut => 1,
            Self::JournalGet => 2,
            Self::JournalPut => 3,
        }
    }
}

/// A kind of request that has stopped getting through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Which.
    pub lifeline: Lifeline,
    /// For how long none has succeeded although some were made.
    pub since: Duration,
}

#[derive(Debug)]
struct Failing {
    since: MonotonicTime,
    last: MonotonicTime,
    count: u32,
    key: ObjectKey,
    /// Another key failed too.
    is_wide: bool,
}

#[derive(Debug, Default)]
struct Line {
    failing: Option<Failing>,
    /// The last object that was read or written whole: it must be readable.
    good: Option<ObjectKey>,
}

/// The pulse of one store.
#[derive(Debug, Default)]
pub struct StorePulse {
    lines: [Mutex<Line>; Lifeline::ALL.len()],
}

impl StorePulse {
    fn with<T>(&self, lifeline: Lifeline, act: impl FnOnce(&mut Line) -> T) -> Option<T> {
        let line = self.lines.get(lifeline.place())?;
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        Some(act(&mut line))
    }

    /// One request has ended.
    pub(crate) fn record(
        &self,
        operation: Operation,
        key: &ObjectKey,
        outcome: RequestOutcome,
        now: MonotonicTime,
    ) {
        let Some(lifeline) = Lifeline::of(operation, key.class()) else {
            return;
        };
        match outcome {
            RequestOutcome::Ok | RequestOutcome::Exists | RequestOutcome::Missing => {
                self.with(lifeline, |line| line.failing = None);
                let is_whole = outcome == RequestOutcome::Ok;
                let may_be_read = matches!(lifeline, Lifeline::SegmentGet | Lifeline::SegmentPut);
                if is_whole && may_be_read {
                    self.with(Lifeline::SegmentGet, |line| line.good = Some(key.clone()));
                }
            }
            RequestOutcome::Failed
            | RequestOutcome::Throttled
            | RequestOutcome::Refused
            | RequestOutcome::TimedOut => {
                self.with(lifeline, |line| line.fail(key, now));
            }
            RequestOutcome::Dropped => {}
        }
    }

    /// The kind of request that has not got through for longest, if any counts as stopped: for
    /// [`PULSE_STOPPED_AFTER`] nothing but failures, [`PULSE_FAILURES_MIN`] of them at least, and
    /// of reads on more than one object. Forgotten when nobody has tried for
    /// [`PULSE_FORGOTTEN_AFTER`].
    #[must_use]
    pub fn stopped(&self, now: MonotonicTime) -> Option<Stopped> {
        let all = Lifeline::ALL.into_iter().filter_map(|lifeline| {
            let since = self.stopped_for(lifeline, now)?;
            Some(Stopped { lifeline, since })
        });
        all.max_by_key(|stopped| stopped.since)
    }

    pub(crate) fn stopped_for(&self, lifeline: Lifeline, now: MonotonicTime) -> Option<Duration> {
        self.with(lifeline, |line| line.stopped(lifeline, now))?
    }

    /// An object to read now although nobody asked for it: reads of segments have failed for a
    /// while, and only a read can show whether they all do, and when they work again.
    #[must_use]
    pub fn canary(&self, now: MonotonicTime) -> Option<ObjectKey> {
        self.with(Lifeline::SegmentGet, |line| {
            let failing = line.failing.as_ref()?;
            let is_due = now.since(failing.since) >= PULSE_CANARY_AFTER;
            let key = line.good.as_ref().unwrap_or(&failing.key);
            is_due.then(|| key.clone())
        })?
    }
}

impl Line {
    fn fail(&mut self, key: &ObjectKey, now: MonotonicTime) {
        let forgotten = |failing: &Failing| now.since(failing.last) >= PULSE_FORGOTTEN_AFTER;
        if self.failing.as_ref().is_some_and(forgotten) {
            self.failing = None;
        }
        let failing = self.failing.get_or_insert_with(|| Failing {
            since: now,
            last: now,
            count: 0,
            key: key.clone(),
            is_wide: false,
        });
        failing.last = now;
        failing.count = failing.count.saturating_add(1);
        failing.is_wide |= failing.key != *key;
    }

    fn stopped(&self, lifeline: Lifeline, now: MonotonicTime) -> Option<Duration> {
        let failing = self.failing.as_ref()?;
        let since = now.since(failing.since);
        // A put goes on at one place until it is done, a look at one place until it is answered.
        let is_wide = failing.is_wide || lifeline != Lifeline::SegmentGet;
        let is_stopped = is_wide
            && failing.count >= PULSE_FAILURES_MIN
            && since >= PULSE_STOPPED_AFTER
            && now.since(failing.last) < PULSE_FORGOTTEN_AFTER;
        is_stopped.then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use esker_types::{ChainIndex, ClusterId, SegmentId, SessionId};

    use super::*;

    fn segment(index: u64) -> ObjectKey {
        let session = SessionId::from_bytes([3; 16]);
        let index = ChainIndex::new(index);
        ObjectKey::session_place(ClusterId::from_bytes([1; 16]), SegmentId { session, index })
    }

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_start(Duration::from_millis(millis))
    }

    fn stopped_after() -> u64 {
        u64::try_from(PULSE_STOPPED_AFTER.as_millis()).unwrap()
    }

    /// A read that fails each second, up to and including `until`, of the keys in turn.
    fn fail_reads(pulse: &StorePulse, until: u64, keys: &[ObjectKey]) {
        for (turn, millis) in (0..=until).step_by(1000).enumerate() {
            let key = &keys[turn % keys.len()];
            pulse.record(Operation::Get, key, RequestOutcome::Refused, at(millis));
        }
    }

    #[test]
    fn reads_have_stopped_when_all_of_them_failed_for_long_and_work_again_with_the_first() {
        let pulse = StorePulse::default();
        let keys = [segment(1), segment(2)];
        fail_reads(&pulse, stopped_after(), &keys);

        let early = pulse.stopped(at(stopped_after() - 1));
        let stopped = pulse.stopped(at(stopped_after()));
        pulse.record(
            Operation::Get,
            &keys[0],
            RequestOutcome::Ok,
            at(stopped_after()),
        );
        let healed = pulse.stopped(at(stopped_after()));

        assert_eq!(early, None);
        let lifeline = Lifeline::SegmentGet;
        let since = PULSE_STOPPED_AFTER;
        assert_eq!(stopped, Some(Stopped { lifeline, since }));
        assert_eq!(healed, None);
    }

    #[test]
    fn one_bad_object_is_never_enough_for_reads_and_is_for_what_waits_at_one_place() {
        let pulse = StorePulse::default();
        fail_reads(&pulse, 10 * stopped_after(), &[segment(1)]);
        let one_object = pulse.stopped(at(10 * stopped_after()));

        for millis in (0..=stopped_after()).step_by(1000) {
            let outcome = RequestOutcome::TimedOut;
            pulse.record(Operation::Put, &segment(1), outcome, at(millis));
        }
        let one_place = pulse.stopped(at(stopped_after()));

        assert_eq!(one_object, None);
        let lifeline = one_place.map(|stopped| stopped.lifeline);
        assert_eq!(lifeline, Some(Lifeline::SegmentPut));
    }

    #[test]
    fn a_success_among_failures_keeps_them_from_counting() {
        let pulse = StorePulse::default();
        let keys = [segment(1), segment(2)];
        for millis in (0..=3 * stopped_after()).step_by(500) {
            let outcome = match millis % 10_000 {
                9_000 => RequestOutcome::Missing,
                _ => RequestOutcome::Throttled,
            };
            let key = &keys[usize::try_from(millis / 500 % 2).unwrap()];
            pulse.record(Operation::Get, key, outcome, at(millis));

            assert_eq!(pulse.stopped(at(millis)), None, "{millis}");
        }
    }

    #[test]
    fn one_failure_less_than_the_least_is_not_enough() {
        let pulse = StorePulse::default();
        let last = at(stopped_after());
        for count in 1..=PULSE_FAILURES_MIN {
            let now = if count == 1 { at(0) } else { last };
            let key = segment(u64::from(count));
            pulse.record(Operation::Get, &key, RequestOutcome::Failed, now);

            let is_stopped = pulse.stopped(last).is_some();
            assert_eq!(is_stopped, count == PULSE_FAILURES_MIN, "{count}");
        }
    }

    #[test]
    fn what_nobody_tries_any_more_is_forgotten_and_what_was_given_up_does_not_count() {
        let pulse = StorePulse::default();
        let keys = [segment(1), segment(2)];
        fail_reads(&pulse, stopped_after(), &keys);
        let last = at(stopped_after() / 1000 * 1000);

        let before = pulse.stopped(last.after(PULSE_FORGOTTEN_AFTER - Duration::from_millis(1)));
        let forgotten = pulse.stopped(last.after(PULSE_FORGOTTEN_AFTER));
        let late = last.after(PULSE_FORGOTTEN_AFTER);
        pulse.record(Operation::Get, &keys[0], RequestOutcome::Dropped, late);
        pulse.record(Operation::Get, &keys[0], RequestOutcome::Failed, late);
        let begun_anew = pulse.stopped(late);

        assert!(before.is_some());
        assert_eq!((forgotten, begun_anew), (None, None));
    }

    #[test]
    fn the_canary_is_the_last_good_object_and_due_only_while_reads_fail() {
        let pulse = StorePulse::default();
        let due = at(0).after(PULSE_CANARY_AFTER);
        let idle = pulse.canary(due);
        pulse.record(Operation::Put, &segment(7), RequestOutcome::Ok, at(0));
        pulse.record(Operation::Get, &segment(1), RequestOutcome::Failed, at(0));

        let early = pulse.canary(at(0).after(PULSE_CANARY_AFTER - Duration::from_millis(1)));
        let canary = pulse.canary(due);
        pulse.record(Operation::Get, &segment(7), RequestOutcome::Ok, due);
        let healed = pulse.canary(due);

        assert_eq!((idle, early, healed), (None, None, None));
        assert_eq!(canary, Some(segment(7)));
    }
}
