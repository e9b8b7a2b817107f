//! Latencies in microseconds, in a histogram with three significant digits.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longer ones count as this.
const MICROS_MAX: u64 = 3_600_000_000;

/// Latencies of records or requests.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Option<Histogram<u64>>);

/// What is told of latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    #[serde(rename = "p99.9")]
    pub(super) p99_9: f64,
    pub(super) max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        // These bounds always fit; a histogram that could not be made would show no latencies.
        Self(Histogram::new_with_bounds(1, MICROS_MAX, 3).ok())
    }
}

impl Latencies {
    pub(super) fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(MICROS_MAX);
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(micros.clamp(1, MICROS_MAX));
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if let (Some(ours), Some(theirs)) = (&mut self.0, &other.0) {
            // Both have the same bounds: nothing can be out of them.
            let _ = ours.add(theirs);
        }
    }

    /// `None` where nothing was measured.
    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        let histogram = self.0.as_ref().filter(|one| !one.is_empty())?;
        let millis = |micros: u64| u32::try_from(micros).map_or(f64::INFINITY, f64::from) / 1000.0;
        let at = |quantile: f64| millis(histogram.value_at_quantile(quantile));
        Some(Quantiles {
            mean: (histogram.mean()).round() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            max: millis(histogram.max()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_everything_that_was_added() {
        let (mut left, mut right) = (Latencies::default(), Latencies::default());
        for millis in 1..=500 {
            left.add(Duration::from_millis(millis));
            right.add(Duration::from_millis(500 + millis));
        }

        left.merge(&right);
        let quantiles = left.quantiles().unwrap();

        let near = |value: f64, wanted: f64| (value - wanted).abs() <= wanted * 0.002;
        assert!(near(quantiles.p50, 500.0), "{quantiles:?}");
        assert!(near(quantiles.p99, 990.0), "{quantiles:?}");
        assert!(near(quantiles.max, 1000.0), "{quantiles:?}");
        assert!(near(quantiles.mean, 500.5), "{quantiles:?}");
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest_and_nothing_has_no_quantiles() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantiles(), None);

        latencies.add(Duration::MAX);

        let max = latencies.quantiles().unwrap().max;
        assert!((3_600_000.0..3_605_000.0).contains(&max), "{max}");
    }
}
