//! Counts every request that is really sent to the back end: it is the bill.
//!
//! By operation, outcome and key class; with bytes and latency. Atomics only: a request costs a few
//! additions. Written by `DurableBucket`, read by `/metrics`, reports and tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::KeyClass;

/// What was asked of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Conditional create.
    Put,
    /// Read.
    Get,
    /// Length only.
    Head,
    /// One page of a listing.
    List,
    /// Deletion.
    Delete,
}

impl Operation {
    /// All operations, for tables and metrics.
    pub const ALL: [Self; 5] = [Self::Put, Self::Get, Self::Head, Self::List, Self::Delete];

    /// The label in metrics, reports and errors.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

/// How a single request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestOutcome {
    /// Done.
    Ok,
    /// A create met an object.
    Exists,
    /// Nothing is there.
    Missing,
    /// Failed in passing, or with unknown outcome.
    Failed,
    /// The store asked for less.
    Throttled,
    /// Refused for a reason that a person must clear.
    Refused,
    /// No answer in time.
    TimedOut,
    /// The caller no longer wanted the answer (a hedge won, or the future was dropped).
    Dropped,
}

impl RequestOutcome {
    /// All outcomes, for tables and metrics.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Exists,
        Self::Missing,
        Self::Failed,
        Self::Throttled,
        Self::Refused,
        Self::TimedOut,
        Self::Dropped,
    ];

    /// The label in metrics and reports.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Exists => "exists",
            Self::Missing => "missing",
            Self::Failed => "failed",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Dropped => "dropped",
        }
    }
}

/// Upper bounds of the latency buckets in milliseconds; a last one without bound follows.
pub(crate) const LATENCY_BOUNDS_MS: [u64; 13] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];
const BUCKETS: usize = LATENCY_BOUNDS_MS.len() + 1;

/// One finished request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FinishedRequest {
    pub(crate) operation: Operation,
    pub(crate) class: KeyClass,
    pub(crate) outcome: RequestOutcome,
    /// Body bytes sent or received.
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
}

/// Requests of one kind so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterRow {
    /// What was asked.
    pub operation: Operation,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// What it was for.
    pub class: KeyClass,
    /// Requests sent.
    pub count: u64,
    /// Body bytes sent (puts) or received (gets).
    pub bytes: u64,
}

/// Latency of the requests of one operation and key class, whatever their outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyRow {
    /// What was asked.
    pub operation: Operation,
    /// What it was for.
    pub class: KeyClass,
    /// Requests.
    pub count: u64,
    /// Sum of their times.
    pub sum: Duration,
    /// Upper bound in milliseconds (none: without bound) and the requests up to it, cumulative.
    pub buckets: Vec<(Option<u64>, u64)>,
}

#[derive(Debug, Default)]
struct Cell {
    count: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Latency {
    sum_micros: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// Counts requests. Shared by reference; never reset.
#[derive(Debug)]
pub struct RequestMeter {
    cells: Vec<Cell>,
    latencies: Vec<Latency>,
    hedges: AtomicU64,
    retries: [AtomicU64; Operation::ALL.len()],
}

impl Default for RequestMeter {
    fn default() -> Self {
        Self::new()
    }
}

fn place<T: PartialEq>(all: &[T], wanted: &T) -> usize {
    let found = all.iter().position(|one| one == wanted);
    assert!(found.is_some(), "every label is in its list of all");
    found.unwrap_or(0)
}

fn pair_place(operation: Operation, class: KeyClass) -> usize {
    place(&Operation::ALL, &operation) * KeyClass::ALL.len() + place(&KeyClass::ALL, &class)
}

fn cell_place(operation: Operation, class: KeyClass, outcome: RequestOutcome) -> usize {
    pair_place(operation, class) * RequestOutcome::ALL.len() + place(&RequestOutcome::ALL, &outcome)
}

impl RequestMeter {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        let pairs = Operation::ALL.len() * KeyClass::ALL.len();
        Self {
            cells: std::iter::repeat_with(Cell::default)
                .take(pairs * RequestOutcome::ALL.len())
                .collect(),
            latencies: std::iter::repeat_with(Latency::default)
                .take(pairs)
                .collect(),
            hedges: AtomicU64::new(0),
            retries: Default::default(),
        }
    }

    pub(crate) fn record(&self, request: FinishedRequest) {
        let FinishedRequest {
            operation,
            class,
            outcome,
            bytes,
            elapsed,
        } = request;
        let cell = &self.cells[cell_place(operation, class, outcome)];
        cell.count.fetch_add(1, Ordering::Relaxed);
        cell.bytes.fetch_add(bytes, Ordering::Relaxed);
        let latency = &self.latencies[pair_place(operation, class)];
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        latency.sum_micros.fetch_add(micros, Ordering::Relaxed);
        let bucket = LATENCY_BOUNDS_MS
            .iter()
            .position(|bound| elapsed <= Duration::from_millis(*bound))
            .unwrap_or(BUCKETS - 1);
        latency.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn record_hedge(&self) {
        self.hedges.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn record_retry(&self, operation: Operation) {
        self.retries[place(&Operation::ALL, &operation)].fetch_add(1, Ordering::Relaxed);
    }

    /// Second puts sent because the first was slow. They are counted as requests too.
    #[must_use]
    pub fn hedges(&self) -> u64 {
        self.hedges.load(Ordering::Relaxed)
    }

    /// Requests sent again after a failure. They are counted as requests too.
    #[must_use]
    pub fn retries(&self, operation: Operation) -> u64 {
        self.retries[place(&Operation::ALL, &operation)].load(Ordering::Relaxed)
    }

    /// Requests of one operation and class so far, whatever their outcome.
    #[must_use]
    pub fn count(&self, operation: Operation, class: KeyClass) -> u64 {
        self.snapshot()
            .iter()
            .filter(|row| row.operation == operation && row.class == class)
            .map(|row| row.count)
            .sum()
    }

    /// Every kind of request that happened, in a fixed order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<MeterRow> {
        let mut rows = Vec::new();
        for operation in Operation::ALL {
            for class in KeyClass::ALL {
                for outcome in RequestOutcome::ALL {
                    let cell = &self.cells[cell_place(operation, class, outcome)];
                    let count = cell.count.load(Ordering::Relaxed);
                    let bytes = cell.bytes.load(Ordering::Relaxed);
                    if count > 0 {
                        rows.push(MeterRow {
                            operation,
                            outcome,
                            class,
                            count,
                            bytes,
                        });
                    }
                }
            }
        }
        rows
    }

    /// Latencies of every operation and class that happened, in a fixed order.
    #[must_use]
    pub fn latencies(&self) -> Vec<LatencyRow> {
        let mut rows = Vec::new();
        for operation in Operation::ALL {
            for class in KeyClass::ALL {
                let latency = &self.latencies[pair_place(operation, class)];
                let mut count = 0;
                let bounds = LATENCY_BOUNDS_MS.iter().copied().map(Some).chain([None]);
                let buckets = bounds
                    .zip(&latency.buckets)
                    .map(|(bound, bucket)| {
                        count += bucket.load(Ordering::Relaxed);
                        (bound, count)
                    })
                    .collect();
                if count > 0 {
                    let sum = Duration::from_micros(latency.sum_micros.load(Ordering::Relaxed));
                    rows.push(LatencyRow {
                        operation,
                        class,
                        count,
                        sum,
                        buckets,
                    });
                }
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_counted_once_with_its_bytes_and_time() {
        let meter = RequestMeter::new();
        let request = FinishedRequest {
            operation: Operation::Put,
            class: KeyClass::Session,
            outcome: RequestOutcome::Ok,
            bytes: 10,
            elapsed: Duration::from_millis(7),
        };

        meter.record(request);
        meter.record(request);
        meter.record(FinishedRequest {
            elapsed: Duration::from_secs(60),
            ..request
        });

        let rows = meter.snapshot();
        assert_eq!((rows.len(), rows[0].count, rows[0].bytes), (1, 3, 30));
        assert_eq!(meter.count(Operation::Put, KeyClass::Session), 3);
        let latency = &meter.latencies()[0];
        assert_eq!(latency.buckets[2], (Some(5), 0));
        assert_eq!(latency.buckets[3], (Some(10), 2));
        assert_eq!(latency.buckets[13], (None, 3));
    }
}
