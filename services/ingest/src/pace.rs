//! How soon a segment that is not full may follow another one. Pure.
//!
//! While puts are in flight: one segment per linger in the long run, two in short order after a
//! rest. Of a burst of requests the first is on its way at once when nothing is in flight, the
//! others gather for a moment and follow together. No batch waits longer than the linger. With
//! nothing in flight a segment is closed at once: short puts are bounded by their own time.

use std::time::Duration;

use esker_types::MonotonicTime;

use crate::limits::BURST_GAP;

/// When segments were closed, as far as it matters.
#[derive(Debug)]
pub(crate) struct Pace {
    linger: Duration,
    /// When the next one would be closed if there was one per linger exactly.
    due: MonotonicTime,
}

impl Pace {
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            linger,
            due: MonotonicTime::default(),
        }
    }

    /// A segment was closed at `now`, for whatever reason.
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
    fn without_a_linger_nothing_waits() {
        let mut pace = Pace::new(Duration::ZERO);

        pace.closed(at(7));

        assert_eq!(pace.next(at(7)), at(7));
    }
}
