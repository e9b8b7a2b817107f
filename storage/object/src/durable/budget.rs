//! Budgets for extra requests, as a share of the wanted ones, and the recent times of puts.
//!
//! Small locks, held for a few instructions and never across an await.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use esker_types::MonotonicTime;

use crate::limits::LATENCY_SAMPLES_MAX;

/// One extra request costs this many parts.
const REQUEST_PARTS: u64 = 100;
/// Extra requests that can be saved up: an outage's first burst is no larger.
const SAVED_REQUESTS_MAX: u64 = 100;

/// Allows extra requests up to a share of the wanted ones, plus a floor that grows back by one
/// request a second.
#[derive(Debug)]
pub(super) struct ShareBudget {
    share_percent: u64,
    floor_parts: u64,
    state: Mutex<BudgetState>,
}

#[derive(Debug)]
struct BudgetState {
    parts: u64,
    floor_parts: u64,
    refilled: MonotonicTime,
}

impl ShareBudget {
    pub(super) fn new(share_percent: u32, floor: u32) -> Self {
        let floor_parts = u64::from(floor) * REQUEST_PARTS;
        Self {
            share_percent: u64::from(share_percent),
            floor_parts,
            state: Mutex::new(BudgetState {
                parts: 0,
                floor_parts,
                refilled: MonotonicTime::default(),
            }),
        }
    }

    /// A wanted request: it earns its share.
    pub(super) fn earn(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.parts = (state.parts + self.share_percent).min(SAVED_REQUESTS_MAX * REQUEST_PARTS);
    }

    /// Whether one extra request may be sent now.
    pub(super) fn take(&self, now: MonotonicTime) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.since(state.refilled).as_secs();
        if seconds > 0 {
            let grown = state
                .floor_parts
                .saturating_add(seconds.saturating_mul(REQUEST_PARTS));
            state.floor_parts = grown.min(self.floor_parts);
            state.refilled = now;
        }
        if state.parts >= REQUEST_PARTS {
            state.parts -= REQUEST_PARTS;
            return true;
        }
        if state.floor_parts >= REQUEST_PARTS {
            state.floor_parts -= REQUEST_PARTS;
            return true;
        }
        false
    }
}

/// Upper bounds of the size classes in bytes; larger bodies share the last class.
const SIZE_CLASS_BOUNDS: [u64; 3] = [256 * 1024, 1024 * 1024, 4 * 1024 * 1024];

/// Times of recent puts by size class.
#[derive(Debug)]
pub(super) struct LatencyWindows {
    windows: [Mutex<VecDeque<Duration>>; SIZE_CLASS_BOUNDS.len() + 1],
}

impl LatencyWindows {
    pub(super) fn new() -> Self {
        Self {
            windows: std::array::from_fn(|_| Mutex::new(VecDeque::new())),
        }
    }

    fn window(&self, body_bytes: u64) -> &Mutex<VecDeque<Duration>> {
        let class = SIZE_CLASS_BOUNDS
            .iter()
            .take_while(|bound| body_bytes > **bound)
            .count();
        &self.windows[class]
    }

    pub(super) fn record(&self, body_bytes: u64, elapsed: Duration) {
        let window = self.window(body_bytes);
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.len() >= LATENCY_SAMPLES_MAX {
            window.pop_front();
        }
        window.push_back(elapsed);
    }

    /// The time that 95 of 100 recent puts of this size kept; `None` with fewer samples than asked.
    pub(super) fn ninety_fifth(&self, body_bytes: u64, samples_min: usize) -> Option<Duration> {
        let mut sorted: Vec<Duration> = {
            let window = self.window(body_bytes);
            let window = window.lock().unwrap_or_else(PoisonError::into_inner);
            if window.len() < samples_min {
                return None;
            }
            window.iter().copied().collect()
        };
        sorted.sort_unstable();
        sorted
            .get((sorted.len() * 95 / 100).min(sorted.len().saturating_sub(1)))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_requests_stay_within_their_share_and_floor() {
        let budget = ShareBudget::new(20, 2);
        let now = MonotonicTime::default();
        for _ in 0..50 {
            budget.earn();
        }

        let taken = (0..100).filter(|_| budget.take(now)).count();
        let later = now.after(Duration::from_secs(1));
        let grown = (0..100).filter(|_| budget.take(later)).count();

        assert_eq!((taken, grown), (12, 1));
    }

    #[test]
    fn a_window_keeps_its_last_samples_only() {
        let windows = LatencyWindows::new();
        windows.record(1, Duration::from_secs(100));
        for _ in 0..LATENCY_SAMPLES_MAX {
            windows.record(1, Duration::from_millis(3));
        }

        assert_eq!(windows.ninety_fifth(1, 20), Some(Duration::from_millis(3)));
        assert_eq!(windows.window(1).lock().unwrap().len(), LATENCY_SAMPLES_MAX);
        assert_eq!(windows.ninety_fifth(10 << 20, 1), None);
    }
}
