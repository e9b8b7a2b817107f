//! Two times that must not be mixed: the wall's (shown to users) and the monotonic (deadlines).

use std::time::Duration;

/// Milliseconds since 1970, as Kafka's records carry it; -1 means "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Kafka's "no timestamp".
    pub const NONE: Self = Self(-1);

    /// Wraps milliseconds since 1970.
    #[must_use]
    pub fn from_millis(value: i64) -> Self {
        Self(value)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }
}

/// Time since a clock was made; never goes back. For deadlines only. Only times of one clock can be
/// compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonotonicTime(Duration);

impl MonotonicTime {
    /// Wraps the time since the clock was made.
    #[must_use]
    pub fn from_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Time since the clock was made.
    #[must_use]
    pub fn since_start(self) -> Duration {
        self.0
    }

    /// `delay` later (saturating).
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }

    /// Time from `earlier` to `self`, zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
