//! Time: a wall clock for timestamps, a monotonic one for deadlines, and sleeping.
//!
//! Safety never rests on either (commit protocol §12); deadlines use the monotonic clock.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use esker_types::{MonotonicTime, Timestamp};
use futures::future::{BoxFuture, Either};

/// Where time comes from. Production: [`SystemClock`]; simulation: virtual time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Monotonic time since this clock was made: times of two clocks cannot be compared.
    fn now(&self) -> MonotonicTime;
    /// Wall time. For record timestamps and people, never for decisions.
    fn wall(&self) -> Timestamp;
    /// Completes after `duration`. Cancel safe.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The operation did not finish in time; it was dropped, its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {limit:?}")]
pub struct Elapsed {
    /// How long was waited.
    pub limit: Duration,
}

/// Runs `operation` for at most `limit`; past it the operation is dropped.
///
/// # Errors
/// [`Elapsed`]: it did not finish. Whether it took effect is unknown.
pub async fn timeout<F: Future>(
    clock: &dyn Clock,
    limit: Duration,
    operation: F,
) -> Result<F::Output, Elapsed> {
    let operation = std::pin::pin!(operation);
    match futures::future::select(operation, clock.sleep(limit)).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(((), _)) => Err(Elapsed { limit }),
    }
}

/// The operating system's clocks; sleeping is tokio's.
#[derive(Debug)]
pub struct SystemClock {
    start: tokio::time::Instant,
}

impl SystemClock {
    /// Monotonic time counts from here.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: tokio::time::Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> MonotonicTime {
        MonotonicTime::from_start(self.start.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "the one home of the wall clock")]
    fn wall(&self) -> Timestamp {
        let since_1970 = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Timestamp::from_millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "the one home of sleeping")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_time_limit_ends_what_does_not_finish() {
        let clock = SystemClock::new();
        let limit = Duration::from_secs(3);

        let stuck = timeout(&clock, limit, std::future::pending::<()>()).await;
        let quick = timeout(&clock, limit, async { 7 }).await;

        assert_eq!(stuck, Err(Elapsed { limit }));
        assert_eq!(quick, Ok(7));
        assert!(clock.now().since_start() >= limit);
    }
}
