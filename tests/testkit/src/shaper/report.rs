//! What the proxy saw: counts, latencies, fault activations. The JSON of `GET /__shaper/report`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use esker_object::KeyClass;
use serde::{Deserialize, Serialize};

/// Latencies of one operation that are kept for percentiles.
const SAMPLES_MAX: usize = 100_000;

/// What a request asks of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreOperation {
    /// An object is written.
    Put,
    /// An object or a part of it is read.
    Get,
    /// Length only.
    Head,
    /// A page of keys.
    List,
    /// An object is deleted.
    Delete,
    /// Anything else, such as creating a bucket.
    Other,
}

impl StoreOperation {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Other => "other",
        }
    }
}

/// Requests of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCount {
    /// `put`, `get`, `head`, `list`, `delete`, `other`.
    pub operation: String,
    /// HTTP status; 0 when the client got no answer.
    pub status: u16,
    /// Key class, as in Esker's own metrics.
    pub class: String,
    /// Size class of the body that was sent or received.
    pub size: String,
    /// Requests.
    pub count: u64,
}

/// Times of one operation, from arrival to the head of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Which operation.
    pub operation: String,
    /// Requests that were answered with success.
    pub count: u64,
    /// Median in milliseconds.
    pub p50_millis: f64,
    /// 99th percentile in milliseconds.
    pub p99_millis: f64,
}

/// How often a rule acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCount {
    /// The rule's name.
    pub name: String,
    /// The fault's word.
    pub kind: String,
    /// Requests that matched.
    pub matched: u64,
    /// Requests that were struck.
    pub struck: u64,
}

/// Everything since the start or the last reset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShaperReport {
    /// The run can be repeated with it.
    pub seed: u64,
    /// The latency profile.
    pub profile: String,
    /// Requests by operation, status, key class and size class.
    pub requests: Vec<RequestCount>,
    /// Times by operation.
    pub latencies: Vec<LatencySummary>,
    /// Activations by rule.
    pub faults: Vec<FaultCount>,
}

impl ShaperReport {
    /// Requests of one operation, of one class unless `None`.
    #[must_use]
    pub fn count(&self, operation: &str, class: Option<KeyClass>) -> u64 {
        self.requests
            .iter()
            .filter(|row| row.operation == operation)
            .filter(|row| class.is_none_or(|class| class.label() == row.class))
            .map(|row| row.count)
            .sum()
    }

    /// Strikes of all faults of one kind.
    #[must_use]
    pub fn struck(&self, kind: &str) -> u64 {
        let of_kind = self.faults.iter().filter(|row| row.kind == kind);
        of_kind.map(|row| row.struck).sum()
    }

    /// Times of one operation.
    #[must_use]
    pub fn latency(&self, operation: &str) -> Option<&LatencySummary> {
        self.latencies.iter().find(|row| row.operation == operation)
    }
}

/// The class of a key below any prefix.
pub(super) fn class_of(key: &str) -> KeyClass {
    let mut parts = key.split('/').rev();
    if parts.next() == Some("cluster.json") {
        return KeyClass::Cluster;
    }
    for part in key.split('/') {
        match part {
            "sessions" => return KeyClass::Session,
            "journal" => return KeyClass::Journal,
            "snapshots" => return KeyClass::Snapshot,
            "probe" => return KeyClass::Probe,
            _ => {}
        }
    }
    KeyClass::Other
}

fn size_class(bytes: u64) -> &'static str {
    match bytes {
        0 => "0",
        1..=1024 => "<=1KiB",
        1025..=65_536 => "<=64KiB",
        65_537..=1_048_576 => "<=1MiB",
        1_048_577..=8_388_608 => "<=8MiB",
        _ => ">8MiB",
    }
}

/// One finished request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finished {
    pub(super) operation: StoreOperation,
    pub(super) class: KeyClass,
    /// None: the client got no answer.
    pub(super) status: Option<u16>,
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
}

type CountKey = (StoreOperation, u16, &'static str, &'static str);

/// Counts as they grow.
#[derive(Debug, Default)]
pub(super) struct Counts {
    requests: BTreeMap<CountKey, u64>,
    latencies: BTreeMap<StoreOperation, VecDeque<Duration>>,
}

impl Counts {
    pub(super) fn record(&mut self, finished: Finished) {
        let status = finished.status.unwrap_or(0);
        let size = size_class(finished.bytes);
        let key = (finished.operation, status, finished.class.label(), size);
        *self.requests.entry(key).or_insert(0) += 1;
        if (200..300).contains(&status) {
            let samples = self.latencies.entry(finished.operation).or_default();
            if samples.len() >= SAMPLES_MAX {
                samples.pop_front();
            }
            samples.push_back(finished.elapsed);
        }
    }

    pub(super) fn requests(&self) -> Vec<RequestCount> {
        let rows = self.requests.iter();
        rows.map(|((operation, status, class, size), count)| RequestCount {
            operation: operation.label().to_owned(),
            status: *status,
            class: (*class).to_owned(),
            size: (*size).to_owned(),
            count: *count,
        })
        .collect()
    }

    pub(super) fn latencies(&self) -> Vec<LatencySummary> {
        let rows = self.latencies.iter();
        rows.map(|(operation, samples)| {
            let mut sorted: Vec<Duration> = samples.iter().copied().collect();
            sorted.sort_unstable();
            let at = |percent: usize| {
                let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
                sorted
                    .get(place)
                    .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
            };
            LatencySummary {
                operation: operation.label().to_owned(),
                count: u64::try_from(sorted.len()).unwrap_or(u64::MAX),
                p50_millis: at(50),
                p99_millis: at(99),
            }
        })
        .collect()
    }
}
