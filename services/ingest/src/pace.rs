//! How soon a segment that is not full may follow another one. Pure.
//!
//! While puts are in flight: one segment per linger in the long run, two in short order after a
//! rest. Of a burst of requests the first is on its way at once when nothing is in flight, the
//! others gather for a moment and follow together. No batch waits longer than the linger.
//!
//! With nothing in flight a segment is closed at once, unless the one before held several requests
//! a moment ago: those who sent them have just been answered and are about to send again, so for
//! [`COMPANY_GAP`] their next requests are waited for. One request at a time waits for nobody.

use std::time::Duration;

use esker_types::MonotonicTime;

use crate::limits::{BURST_GAP, COMPANY_GAP};

/// When segments were closed, as far as it matters.
#[derive(Debug)]
pub(crate) struct Pace {
    linger: Duration,
    /// When the next one would be closed if there was one per linger exactly.
    due: MonotonicTime,
    /// When the last one was closed, and how many requests had come for it.
    last: (MonotonicTime, u32),
    /// Requests that have come since.
    arrived: u32,
}

impl Pace {
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            linger,
            due: MonotonicTime::default(),
            last: (MonotonicTime::default(), 0),
            arrived: 0,
        }
    }

    /// A request came.
    pub(crate) fn arrived(&mut self) {
        self.arrived = self.arrived.saturating_add(1);
    }

    /// The batches of a segment were settled at `now`, for whatever reason.
    pub(crate) fn sealed(&mut self, now: MonotonicTime) {
        self.last = (now, std::mem::take(&mut self.arrived));
    }

    /// A segment that was sealed at `now` goes to the store.
    pub(crate) fn closed(&mut self, now: MonotonicTime) {
        let due = self.due.max(now).after(self.linger);
        self.due = due.min(now.after(self.linger.saturating_mul(2)));
    }

    /// From when on a segment may be closed whose first batch came at `first`.
    pub(crate) fn next(&self, first: MonotonicTime) -> MonotonicTime {
        let one_ahead = self.due.since_start().saturating_sub(self.linger);
        let gathered = first.after(BURST_GAP.min(self.linger));
        MonotonicTime::from_start(one_ahead).max(gathered)
    }

    /// With nothing in flight: until when a segment whose first batch came at `first` waits for the
    /// company of last time; `None` when that is there, or was none, or is long ago.
    pub(crate) fn company_until(&self, first: MonotonicTime) -> Option<MonotonicTime> {
        let (closed, requests) = self.last;
        let is_recent = first.since(closed) < self.linger;
        (is_recent && self.arrived < requests).then(|| first.after(COMPANY_GAP.min(self.linger)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn after_a_rest_two_segments_may_follow_closely_then_one_per_linger() {
        let mut pace = Pace::new(LINGER);
        let mut times = vec![at(1000)];

        for _ in 0..4 {
            let last = *times.last().unwrap();
            pace.closed(last);
            times.push(pace.next(last));
        }

        assert_eq!(times[1], at(1000).after(BURST_GAP));
        assert_eq!(times[2..], [1100, 1200, 1300].map(at));
    }

    #[test]
    fn no_batch_waits_longer_than_the_linger_also_behind_many_full_segments() {
        let mut pace = Pace::new(LINGER);

        for millis in 0..50 {
            pace.closed(at(millis));
            assert!(pace.next(at(millis)).since(at(millis)) <= LINGER);
        }
    }

    #[test]
    fn the_company_of_last_time_is_waited_for_briefly_and_only_while_it_is_near() {
        let mut pace = Pace::new(LINGER);
        assert_eq!(pace.company_until(at(1000)), None, "nobody came before");

        for _ in 0..3 {
            pace.arrived();
        }
        pace.sealed(at(1000));
        pace.arrived();

        let until = Some(at(1010).after(COMPANY_GAP));
        assert_eq!(pace.company_until(at(1010)), until);
        assert_eq!(pace.company_until(at(1100)), None, "long ago");
        pace.arrived();
        pace.arrived();
        assert_eq!(pace.company_until(at(1010)), None, "all are there");
    }

    #[test]
    fn one_request_at_a_time_waits_for_nobody() {
        let mut pace = Pace::new(LINGER);

        for millis in 0..5 {
            pace.arrived();
            assert_eq!(pace.company_until(at(millis)), None);
            pace.sealed(at(millis));
        }
    }

    #[test]
    fn without_a_linger_nothing_waits() {
        let mut pace = Pace::new(Duration::ZERO);

        pace.arrived();
        pace.sealed(at(7));

        assert_eq!(pace.next(at(7)), at(7));
        assert_eq!(pace.company_until(at(7)), None);
    }
}
