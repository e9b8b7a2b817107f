//! How soon a segment that is not full may follow another one. Pure.
//!
//! While puts are in flight: one segment per linger in the long run, two in short order after a
//! rest. Of a burst of requests the first is on its way at once when nothing is in flight, the
//! others gather for a moment and follow together. No batch waits longer than the linger.
//!
//! With nothing in flight a segment is closed at once, unless the one before held several requests
//! a moment ago: those who sent them have just been answered and are about to send again, so for
//! [`COMPANY_GAP`] their next requests are waited for. Or the store has a rest: [`Rest`]. One
//! request at a time waits for nobody.

use std::time::Duration;

use esker_types::MonotonicTime;

use crate::limits::{BURST_GAP, COMPANY_GAP, RESTING_BYTES_MAX};
use crate::rest::Rest;

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
    rest: Rest,
}

impl Pace {
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            linger,
            due: MonotonicTime::default(),
            last: (MonotonicTime::default(), 0),
            arrived: 0,
            rest: Rest::default(),
        }
    }

    /// A request came.
    pub(crate) fn arrived(&mut self) {
        self.arrived = self.arrived.saturating_add(1);
        self.rest.arrived();
    }

    /// Nothing is in flight and nothing is being reserved.
    pub(crate) fn settled(&mut self, now: MonotonicTime) {
        self.rest.settled(now, self.arrived);
    }

    /// The set of batches of a segment was fixed at `now`, for whatever reason.
    pub(crate) fn sealed(&mut self, now: MonotonicTime) {
        self.last = (now, std::mem::take(&mut self.arrived));
        self.rest.sealed(now, self.last.1);
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

    /// With nothing in flight: until when a segment of `bytes` whose first batch came at `first`
    /// waits for the company of last time and one more; `None` when it need not wait.
    pub(crate) fn company_until(&self, first: MonotonicTime, bytes: u64) -> Option<MonotonicTime> {
        let (closed, requests) = self.last;
        if first.since(closed) >= self.linger || self.arrived > requests {
            return None;
        }
        let same = (self.arrived < requests).then(|| first.after(COMPANY_GAP));
        let more = self.rest.until().filter(|_| bytes < RESTING_BYTES_MAX);
        let until = same.max(more)?;
        Some(until.min(first.after(self.linger)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::REST_MAX;

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
        assert_eq!(pace.company_until(at(1000), 1), None, "nobody came before");

        for _ in 0..3 {
            pace.arrived();
        }
        pace.sealed(at(1000));
        pace.arrived();

        let until = Some(at(1010).after(COMPANY_GAP));
        assert_eq!(pace.company_until(at(1010), 1), until);
        assert_eq!(pace.company_until(at(1100), 1), None, "long ago");
        pace.arrived();
        pace.arrived();
        assert_eq!(pace.company_until(at(1010), 1), None, "all are there");
    }

    /// One request before, another while it was put, which takes four milliseconds as it seems.
    fn after_a_put() -> Pace {
        let mut pace = Pace::new(LINGER);
        pace.arrived();
        pace.sealed(at(1000));
        pace.arrived();
        pace.settled(at(1016));
        pace
    }

    #[test]
    fn a_small_segment_waits_for_one_request_more_than_last_time() {
        let mut pace = after_a_put();
        let until = at(1016).after(REST_MAX / 4);

        assert_eq!(pace.company_until(at(1001), 1), Some(until));
        pace.arrived();
        assert_eq!(pace.company_until(at(1001), 1), None);
    }

    #[test]
    fn a_segment_that_is_worth_a_put_does_not_wait_for_more() {
        let pace = after_a_put();

        assert!(
            pace.company_until(at(1001), RESTING_BYTES_MAX - 1)
                .is_some()
        );
        assert_eq!(pace.company_until(at(1001), RESTING_BYTES_MAX), None);
    }

    #[test]
    fn no_batch_rests_longer_than_the_linger() {
        let mut pace = Pace::new(LINGER);
        pace.arrived();
        pace.sealed(at(1000));
        pace.arrived();
        pace.settled(at(1100));

        assert_eq!(
            pace.company_until(at(1001), 1),
            Some(at(1001).after(LINGER))
        );
    }

    #[test]
    fn one_request_at_a_time_waits_for_nobody() {
        let mut pace = Pace::new(LINGER);

        for millis in 0..5 {
            pace.arrived();
            assert_eq!(pace.company_until(at(10 * millis), 1), None);
            pace.sealed(at(10 * millis));
            pace.settled(at(10 * millis + 9));
        }
    }

    #[test]
    fn without_a_linger_nothing_waits() {
        let mut pace = Pace::new(Duration::ZERO);

        pace.arrived();
        pace.sealed(at(7));

        assert_eq!(pace.next(at(7)), at(7));
        assert_eq!(pace.company_until(at(7), 1), None);
    }
}
