//! The clock of a simulated process: virtual time, with an offset, a skew and a drift of its own.

use std::time::Duration;

use esker_env::Clock;
use esker_types::{MonotonicTime, Timestamp};
use futures::future::BoxFuture;
use tokio::time::Instant;

/// Wall time at the begin of every run: 2026-01-01.
const WALL_START_MS: i64 = 1_767_225_600_000;
const MILLION: u128 = 1_000_000;

/// Virtual time as one process sees it.
#[derive(Debug)]
pub(crate) struct SimClock {
    begun: Instant,
    skew_ms: i64,
    /// Parts per million that its clock runs slow.
    slow_ppm: u32,
}

impl SimClock {
    /// A clock that shows the run's begin plus `skew_ms`, and runs slow by `slow_ppm`.
    #[must_use]
    pub(crate) fn new(begun: Instant, skew_ms: i64, slow_ppm: u32) -> Self {
        Self {
            begun,
            skew_ms,
            slow_ppm,
        }
    }

    fn elapsed(&self) -> Duration {
        let real = self.begun.elapsed();
        let lost = real.as_nanos() * u128::from(self.slow_ppm) / MILLION;
        real.saturating_sub(Duration::from_nanos(u64::try_from(lost).unwrap_or(0)))
    }
}

impl Clock for SimClock {
    fn now(&self) -> MonotonicTime {
        MonotonicTime::from_start(self.elapsed())
    }

    fn wall(&self) -> Timestamp {
        let elapsed = i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(WALL_START_MS + self.skew_ms + elapsed)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let more = duration.as_nanos() * u128::from(self.slow_ppm) / MILLION;
        let more = Duration::from_nanos(u64::try_from(more).unwrap_or(0));
        sleep(duration.saturating_add(more))
    }
}

/// Virtual time passes.
#[expect(clippy::disallowed_methods, reason = "the clock of the simulation")]
pub(crate) fn sleep(duration: Duration) -> BoxFuture<'static, ()> {
    Box::pin(tokio::time::sleep(duration))
}
