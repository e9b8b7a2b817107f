//! Waiting between tries: exponential, with full jitter, bounded in number and in time.

use std::time::Duration;

use crate::Rng;

/// How to retry. Numbers only; the operation and its clock are the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Upper bound of the wait before the second try.
    pub delay_first: Duration,
    /// Upper bound of every wait.
    pub delay_max: Duration,
    /// Tries in all, the first included. At least 1.
    pub tries_max: u32,
}

/// The waits of one operation.
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: RetryPolicy,
    tries: u32,
}

impl RetryPolicy {
    /// Waits for one operation, whose first try has just been made.
    #[must_use]
    pub fn begin(self) -> Backoff {
        Backoff {
            policy: self,
            tries: 1,
        }
    }
}

impl Backoff {
    /// How long to wait before the next try; `None` when no try is left.
    pub fn next_delay(&mut self, rng: &Rng) -> Option<Duration> {
        if self.tries >= self.policy.tries_max {
            return None;
        }
        let doublings = (self.tries - 1).min(20);
        self.tries += 1;
        let bound = self.policy.delay_first.saturating_mul(1 << doublings);
        let bound = bound.min(self.policy.delay_max);
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Some(Duration::from_nanos(nanos / 2 + rng.below(nanos / 2 + 1)))
    }

    /// Tries made so far.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_end() {
        let policy = RetryPolicy {
            delay_first: Duration::from_millis(10),
            delay_max: Duration::from_millis(50),
            tries_max: 6,
        };
        let rng = Rng::from_seed(1);
        let mut backoff = policy.begin();

        let waits: Vec<_> = std::iter::from_fn(|| backoff.next_delay(&rng)).collect();

        assert_eq!(waits.len(), 5);
        assert!(waits[0] <= policy.delay_first);
        assert!(
            waits
                .iter()
                .all(|wait| *wait <= policy.delay_max && !wait.is_zero())
        );
        assert_eq!(backoff.next_delay(&rng), None);
    }
}
