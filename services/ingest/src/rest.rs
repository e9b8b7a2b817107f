//! How long the store is left alone between two small segments. Pure.
//!
//! Where requests keep coming while puts are in flight, a segment that follows each put at once
//! keeps the store busy all the time, with a put for every request or two. So after a put the next
//! one waits about as long as it took, at most [`REST_MAX`], until one request more has come than
//! for the last segment. Requests that come while nothing is in flight begin no rest: one client
//! that sends one at a time is never held up. Where rests bring nobody, as with clients that wait
//! for all their answers, they become seldom: one in up to [`VAIN_RESTS_MAX`] segments.

use std::time::Duration;

use esker_types::MonotonicTime;

use crate::limits::{REST_MAX, VAIN_RESTS_MAX};

/// Puts, arrivals and rests, as far as they matter.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// A segment was sealed at this time and is not settled yet.
    busy_since: Option<MonotonicTime>,
    /// Requests came while that was so.
    is_awaited: bool,
    /// Since when nothing is in flight, and how many requests were there by then.
    quiet: (MonotonicTime, u32),
    /// What a put takes, smoothed, at most [`REST_MAX`].
    put: Duration,
    /// Rests in a row that brought nobody, and segments to close without one for that reason.
    vain: u32,
    skips: u32,
}

impl Rest {
    /// A request came.
    pub(crate) fn arrived(&mut self) {
        self.is_awaited |= self.busy_since.is_some();
    }

    /// Nothing is in flight any more, and `arrived` requests wait.
    pub(crate) fn settled(&mut self, now: MonotonicTime, arrived: u32) {
        if let Some(since) = self.busy_since.take() {
            self.quiet = (now, arrived);
            // One put that hangs is not what puts take.
            self.put = (self.put * 3 + now.since(since).min(REST_MAX)) / 4;
        }
    }

    /// Until when a segment waits for one request more, if at all.
    pub(crate) fn until(&self) -> Option<MonotonicTime> {
        let is_wanted = self.is_awaited && self.busy_since.is_none() && self.skips == 0;
        is_wanted.then(|| self.quiet.0.after(self.put))
    }

    /// A segment of `arrived` requests was sealed.
    pub(crate) fn sealed(&mut self, now: MonotonicTime, arrived: u32) {
        let (quiet_since, before) = self.quiet;
        if self.until().is_none() {
            self.skips = self.skips.saturating_sub(1);
        } else if arrived > before {
            self.vain = 0;
        } else if now > quiet_since {
            // The first one is forgiven: requests do not come evenly.
            let skips = 1_u32.checked_shl(self.vain).unwrap_or(u32::MAX) - 1;
            self.skips = skips.min(VAIN_RESTS_MAX);
            self.vain += 1;
        }
        self.busy_since = Some(now);
        self.is_awaited = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: u64 = 4;

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_start(Duration::from_millis(millis))
    }

    /// Puts of [`PUT`] ms; `meanwhile` requests come during each and `later` during each rest.
    struct Store {
        rest: Rest,
        now: u64,
        /// Whether each segment had a rest before it.
        rested: Vec<bool>,
    }

    impl Store {
        fn run(segments: usize, meanwhile: u32, later: u32) -> Self {
            let mut store = Self {
                rest: Rest::default(),
                now: 1000,
                rested: Vec::new(),
            };
            for _ in 0..segments {
                store.segment(meanwhile, later);
            }
            store
        }

        fn segment(&mut self, meanwhile: u32, later: u32) {
            self.rest.settled(at(self.now), meanwhile);
            let until = self.rest.until().filter(|until| *until > at(self.now));
            self.rested.push(until.is_some());
            if let Some(until) = until {
                self.now = until.since_start().as_millis().try_into().unwrap();
                self.now += 1;
            }
            let later = match (until, meanwhile) {
                (None, 1..) => 0, // closed at once
                _ => later,
            };
            for _ in 0..later {
                self.rest.arrived();
            }
            assert!(meanwhile > 0 || self.rest.until().is_none());
            self.rest.sealed(at(self.now), meanwhile + later);
            for _ in 0..meanwhile {
                self.rest.arrived();
            }
            self.now += PUT;
        }

        fn rests(&self) -> usize {
            self.rested.iter().filter(|rested| **rested).count()
        }
    }

    #[test]
    fn where_requests_keep_coming_the_store_rests_as_long_as_a_put_takes() {
        let store = Store::run(100, 1, 1);

        assert!(store.rests() >= 98, "{}", store.rests());
        let put = store.rest.put;
        assert!(put <= Duration::from_millis(PUT) && put > Duration::from_millis(PUT - 1));
    }

    #[test]
    fn a_rest_has_an_end_however_slow_the_store_is() {
        let mut rest = Rest::default();
        for minute in 0..60 {
            rest.sealed(at(minute * 60_000), 2);
            rest.arrived();
            rest.settled(at(minute * 60_000 + 59_000), 1);
            let until = rest.until().unwrap();
            assert!(until <= at(minute * 60_000 + 59_000).after(REST_MAX));
        }
        assert!(rest.put > REST_MAX / 2);
    }

    #[test]
    fn nobody_waits_who_comes_while_nothing_is_in_flight() {
        let store = Store::run(100, 0, 1);

        assert_eq!(store.rests(), 0);
    }

    #[test]
    fn rests_that_bring_nobody_become_seldom_and_come_back_with_the_first_success() {
        let mut store = Store::run(4000, 3, 0);
        assert!(store.rests() <= 9 + 4000 / 256, "{}", store.rests());
        let longest = store.rested.split(|rested| *rested).map(<[_]>::len).max();
        assert_eq!(longest, Some(usize::try_from(VAIN_RESTS_MAX).unwrap()));

        for _ in 0..VAIN_RESTS_MAX {
            store.segment(3, 1);
        }
        store.rested.clear();
        for _ in 0..10 {
            store.segment(3, 1);
        }
        assert_eq!(store.rests(), 10);
    }

    #[test]
    fn a_rest_that_ends_early_because_somebody_came_was_none_in_vain() {
        let mut rest = Rest::default();
        for second in 0..20 {
            let begun = second * 1000;
            rest.sealed(at(begun), 1);
            rest.arrived();
            rest.settled(at(begun + 8), 1);
            assert!(rest.until().is_some(), "{second}");
            // Every other one in vain.
            let (came, waited) = if second % 2 == 0 { (1, 1) } else { (0, 8) };
            rest.sealed(at(begun + 8 + waited), 1 + came);
            rest.settled(at(begun + 20), 0);
        }
    }

    #[test]
    fn a_segment_that_was_closed_at_once_had_no_rest_in_vain() {
        let mut rest = Rest::default();
        for second in 0..20 {
            rest.sealed(at(second * 1000), 1);
            rest.arrived();
            rest.settled(at(second * 1000 + 8), 1);
            assert!(rest.until().is_some(), "{second}");
            rest.sealed(at(second * 1000 + 8), 1);
            rest.settled(at(second * 1000 + 16), 0);
        }
    }

    #[test]
    fn one_rest_in_vain_is_forgiven() {
        let mut store = Store::run(10, 1, 1);
        store.rested.clear();

        // None of these is the second in a row.
        for _ in 0..5 {
            store.segment(1, 0);
            store.segment(1, 1);
        }

        assert_eq!(store.rests(), 10);
    }
}
