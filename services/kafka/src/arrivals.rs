//! How fast connections are accepted. Those that come faster wait in the kernel's queue: a storm of
//! new connections (every client at once after a restart) must not starve the ones at work.

use std::time::Duration;

use esker_types::MonotonicTime;

use crate::limits::{ARRIVALS_AT_ONCE_MAX, ARRIVALS_PER_SECOND_MAX};

const ARRIVAL_NANOS: u64 = 1_000_000_000 / ARRIVALS_PER_SECOND_MAX;
/// Time that one arrival takes from the pace.
const ARRIVAL: Duration = Duration::from_nanos(ARRIVAL_NANOS);
/// What may be saved up in quiet times.
const SAVED_MAX: Duration = Duration::from_nanos(ARRIVALS_AT_ONCE_MAX * ARRIVAL_NANOS);

/// The pace of one listener.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// Up to when the pace is used up.
    used_until: MonotonicTime,
}

impl Arrivals {
    /// A pace with everything saved up.
    pub(crate) fn new() -> Self {
        Self {
            used_until: MonotonicTime::from_start(Duration::ZERO),
        }
    }

    /// How long the next connection must wait; zero when it may come now.
    pub(crate) fn wait(&self, now: MonotonicTime) -> Duration {
        self.used_until.since(now).saturating_sub(SAVED_MAX)
    }

    /// A connection has come.
    pub(crate) fn arrived(&mut self, now: MonotonicTime) {
        self.used_until = self.used_until.max(now).after(ARRIVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn so_many_come_at_once_and_the_next_waits_its_turn() {
        let mut arrivals = Arrivals::new();

        for _ in 0..=ARRIVALS_AT_ONCE_MAX {
            assert_eq!(arrivals.wait(at(5)), Duration::ZERO);
            arrivals.arrived(at(5));
        }

        assert_eq!(arrivals.wait(at(5)), ARRIVAL);
        assert_eq!(
            ARRIVAL,
            Duration::from_secs(1) / u32::try_from(ARRIVALS_PER_SECOND_MAX).unwrap()
        );
        assert_eq!(arrivals.wait(at(5).after(ARRIVAL)), Duration::ZERO);
    }

    #[test]
    fn nothing_is_saved_up_beyond_the_limit() {
        let mut arrivals = Arrivals::new();
        for _ in 0..=ARRIVALS_AT_ONCE_MAX {
            arrivals.arrived(at(0));
        }

        let mut came = 0;
        while arrivals.wait(at(3_600_000)).is_zero() {
            arrivals.arrived(at(3_600_000));
            came += 1;
        }

        assert_eq!(came, ARRIVALS_AT_ONCE_MAX + 1);
    }
}
