//! Counters of the produce path and their Prometheus text. Labels come from closed enums only.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{AppendError, AppendErrorKind};

/// From the last byte of a request to the acknowledgement of its batch.
pub(crate) const ACK_LATENCY: &str = "esker_ingest_ack_latency_seconds";
/// From the call to the answer of a reservation.
pub(crate) const RESERVE_SECONDS: &str = "esker_ingest_reserve_seconds";
/// From the start of an upload until it is known that the segment is there.
pub(crate) const UPLOAD_SECONDS: &str = "esker_ingest_upload_seconds";
/// Bytes admitted and not yet answered.
pub(crate) const BUFFER_BYTES: &str = "esker_ingest_buffer_bytes";
/// Bytes that may be admitted.
pub(crate) const BUFFER_LIMIT: &str = "esker_ingest_buffer_limit_bytes";
/// Segments reserved and not yet acknowledged.
pub(crate) const SEGMENTS_IN_FLIGHT: &str = "esker_ingest_segments_in_flight";
/// Requests that found the pool full.
pub(crate) const ADMISSION_WAITS: &str = "esker_ingest_admission_waits_total";
/// Record batches written.
pub(crate) const BATCHES_TOTAL: &str = "esker_ingest_batches_total";
/// Bytes of segments written.
pub(crate) const SEGMENT_BYTES_TOTAL: &str = "esker_ingest_segment_bytes_total";
/// Replays of batches that are in the log.
pub(crate) const DUPLICATES_TOTAL: &str = "esker_ingest_duplicates_total";
/// Batches that wait for a decision in another session.
pub(crate) const DEFERRALS_TOTAL: &str = "esker_ingest_deferrals_total";
/// Sessions registered.
pub(crate) const SESSIONS_TOTAL: &str = "esker_ingest_sessions_total";
/// Sessions lost, by cause.
pub(crate) const SESSIONS_LOST_TOTAL: &str = "esker_ingest_sessions_lost_total";
/// Segments closed, by reason.
pub(crate) const SEGMENTS_TOTAL: &str = "esker_ingest_segments_total";
/// Batches not acknowledged, by what the client may do.
pub(crate) const REFUSALS_TOTAL: &str = "esker_ingest_refusals_total";

/// Upper bounds of the histograms in milliseconds; one without bound follows.
const BOUNDS_MS: [u64; 14] = [
    1, 2, 5, 10, 25, 50, 100, 200, 350, 500, 1000, 2500, 10_000, 30_000,
];

macro_rules! labels {
    (
        $(#[$doc:meta])* $name:ident, $count:literal,
        $($(#[$each:meta])* $variant:ident $label:literal,)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$each])* $variant,)*
        }

        impl $name {
            const ALL: [Self; $count] = [$(Self::$variant,)*];

            const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }

            fn place(self) -> usize {
                Self::ALL.iter().position(|one| *one == self).unwrap_or(0)
            }
        }
    };
}

labels! {
    /// Why a segment was closed.
    FlushReason, 4,
    /// Bytes or batches reached their limit.
    Full "full",
    /// The linger was over.
    Linger "linger",
    /// Nothing was in flight.
    Idle "idle",
    /// The process stops.
    Drain "drain",
}

labels! {
    /// Why a session was given up.
    SessionLoss, 6,
    /// A seal stands in its chain.
    Sealed "sealed",
    /// The sequencer does not serve it any more.
    Closed "closed",
    /// The store refused a segment.
    Refused "refused",
    /// A segment's outcome stayed unknown.
    Indeterminate "indeterminate",
    /// A segment took too long.
    Stalled "stalled",
    /// The sequencer's answers contradict the session.
    Mismatch "mismatch",
}

const KINDS: [(AppendErrorKind, &str); 7] = [
    (AppendErrorKind::Retry, "retry"),
    (AppendErrorKind::Refresh, "refresh"),
    (AppendErrorKind::Fenced, "fenced"),
    (AppendErrorKind::Invalid, "invalid"),
    (AppendErrorKind::Corrupt, "corrupt"),
    (AppendErrorKind::Indeterminate, "indeterminate"),
    (AppendErrorKind::Closed, "closed"),
];

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    fn record(&self, elapsed: Duration) {
        let bound = |bound: &u64| elapsed <= Duration::from_millis(*bound);
        let place = BOUNDS_MS.iter().position(bound).unwrap_or(BOUNDS_MS.len());
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.buckets.iter().map(load).sum()
    }

    fn render(&self, name: &str, help: &str, text: &mut String) {
        head(text, name, "histogram", help);
        let mut count = 0;
        let bounds = BOUNDS_MS.iter().map(Some).chain([None]);
        for (bound, bucket) in bounds.zip(&self.buckets) {
            count += load(bucket);
            let bound = bound.map_or_else(
                || "+Inf".to_owned(),
                |millis| Duration::from_millis(*millis).as_secs_f64().to_string(),
            );
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let sum = Duration::from_micros(load(&self.micros)).as_secs_f64();
        let _ = write!(text, "{name}_sum {sum}\n{name}_count {count}\n");
    }
}

/// Counters of one produce path; shared by its stages.
#[derive(Debug, Default)]
pub struct Metrics {
    ack: Histogram,
    reserve: Histogram,
    upload: Histogram,
    buffer_bytes: AtomicU64,
    buffer_limit_bytes: AtomicU64,
    in_flight: AtomicU64,
    admission_waits: AtomicU64,
    batches: AtomicU64,
    segment_bytes: AtomicU64,
    duplicates: AtomicU64,
    deferrals: AtomicU64,
    sessions: AtomicU64,
    lost: [AtomicU64; SessionLoss::ALL.len()],
    flushes: [AtomicU64; FlushReason::ALL.len()],
    refusals: [AtomicU64; KINDS.len()],
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

impl Metrics {
    pub(crate) fn acknowledged(&self, elapsed: Duration) {
        self.ack.record(elapsed);
    }

    pub(crate) fn reserved(&self, elapsed: Duration) {
        self.reserve.record(elapsed);
    }

    pub(crate) fn uploaded(&self, elapsed: Duration) {
        self.upload.record(elapsed);
    }

    pub(crate) fn buffer_limit(&self, bytes: u64) {
        self.buffer_limit_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn buffer_taken(&self, bytes: u64) {
        add(&self.buffer_bytes, bytes);
    }

    pub(crate) fn buffer_given_back(&self, bytes: u64) {
        self.buffer_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn in_flight(&self, segments: usize) {
        let segments = u64::try_from(segments).unwrap_or(u64::MAX);
        self.in_flight.store(segments, Ordering::Relaxed);
    }

    pub(crate) fn admission_waited(&self) {
        add(&self.admission_waits, 1);
    }

    pub(crate) fn built(&self, batches: usize, bytes: usize) {
        add(&self.batches, u64::try_from(batches).unwrap_or(u64::MAX));
        add(
            &self.segment_bytes,
            u64::try_from(bytes).unwrap_or(u64::MAX),
        );
    }

    pub(crate) fn duplicate(&self) {
        add(&self.duplicates, 1);
    }

    pub(crate) fn deferred(&self) {
        add(&self.deferrals, 1);
    }

    pub(crate) fn session_registered(&self) {
        add(&self.sessions, 1);
    }

    pub(crate) fn session_lost(&self, loss: SessionLoss) {
        if let Some(counter) = self.lost.get(loss.place()) {
            add(counter, 1);
        }
    }

    pub(crate) fn flushed(&self, reason: FlushReason) {
        if let Some(counter) = self.flushes.get(reason.place()) {
            add(counter, 1);
        }
    }

    pub(crate) fn refused(&self, error: &AppendError) {
        let mut counters = KINDS.iter().zip(&self.refusals);
        if let Some((_, counter)) = counters.find(|((kind, _), _)| *kind == error.kind()) {
            add(counter, 1);
        }
    }

    /// Bytes admitted and not yet answered.
    #[must_use]
    pub fn buffer_bytes(&self) -> u64 {
        load(&self.buffer_bytes)
    }

    /// Batches acknowledged so far.
    #[must_use]
    pub fn acknowledgements(&self) -> u64 {
        self.ack.count()
    }

    /// Sessions given up so far for this cause.
    #[must_use]
    pub fn sessions_lost(&self, loss: SessionLoss) -> u64 {
        self.lost.get(loss.place()).map_or(0, load)
    }

    /// Segments closed so far for this reason.
    #[must_use]
    pub fn flushes(&self, reason: FlushReason) -> u64 {
        self.flushes.get(reason.place()).map_or(0, load)
    }

    /// Batches refused or not acknowledged in time so far, by what the client may do.
    #[must_use]
    pub fn refusals(&self, kind: AppendErrorKind) -> u64 {
        let mut counters = KINDS.iter().zip(&self.refusals);
        let found = counters.find(|((one, _), _)| *one == kind);
        found.map_or(0, |(_, counter)| load(counter))
    }

    /// All metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let histograms = [
            (ACK_LATENCY, "From request to acknowledgement.", &self.ack),
            (RESERVE_SECONDS, "Time of a reservation.", &self.reserve),
            (UPLOAD_SECONDS, "Time of an upload.", &self.upload),
        ];
        for (name, help, histogram) in histograms {
            histogram.render(name, help, &mut text);
        }
        self.render_plain(&mut text);
        head(
            &mut text,
            SESSIONS_LOST_TOTAL,
            "counter",
            "Sessions lost by cause.",
        );
        for (loss, counter) in SessionLoss::ALL.iter().zip(&self.lost) {
            let (label, value) = (loss.label(), load(counter));
            let _ = writeln!(text, "{SESSIONS_LOST_TOTAL}{{cause=\"{label}\"}} {value}");
        }
        head(
            &mut text,
            SEGMENTS_TOTAL,
            "counter",
            "Segments closed by reason.",
        );
        for (reason, counter) in FlushReason::ALL.iter().zip(&self.flushes) {
            let (label, value) = (reason.label(), load(counter));
            let _ = writeln!(text, "{SEGMENTS_TOTAL}{{reason=\"{label}\"}} {value}");
        }
        head(
            &mut text,
            REFUSALS_TOTAL,
            "counter",
            "Batches not acknowledged by kind.",
        );
        for ((_, label), counter) in KINDS.iter().zip(&self.refusals) {
            let _ = writeln!(
                text,
                "{REFUSALS_TOTAL}{{kind=\"{label}\"}} {}",
                load(counter)
            );
        }
        text
    }

    fn render_plain(&self, text: &mut String) {
        let gauges = [
            (BUFFER_BYTES, "Bytes not yet answered.", &self.buffer_bytes),
            (
                BUFFER_LIMIT,
                "Bytes that may be admitted.",
                &self.buffer_limit_bytes,
            ),
            (SEGMENTS_IN_FLIGHT, "Segments reserved.", &self.in_flight),
        ];
        let counters = [
            (
                ADMISSION_WAITS,
                "Waits for a full pool.",
                &self.admission_waits,
            ),
            (BATCHES_TOTAL, "Record batches written.", &self.batches),
            (
                SEGMENT_BYTES_TOTAL,
                "Bytes of segments.",
                &self.segment_bytes,
            ),
            (DUPLICATES_TOTAL, "Replays answered.", &self.duplicates),
            (DEFERRALS_TOTAL, "Batches deferred.", &self.deferrals),
            (SESSIONS_TOTAL, "Sessions registered.", &self.sessions),
        ];
        for (name, help, gauge) in gauges {
            head(text, name, "gauge", help);
            let _ = writeln!(text, "{name} {}", load(gauge));
        }
        for (name, help, counter) in counters {
            head(text, name, "counter", help);
            let _ = writeln!(text, "{name} {}", load(counter));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_family_and_every_label() {
        let metrics = Metrics::default();
        metrics.acknowledged(Duration::from_millis(3));
        metrics.flushed(FlushReason::Linger);
        metrics.session_lost(SessionLoss::Stalled);
        metrics.refused(&AppendError::Undecided);
        metrics.buffer_limit(7);

        let text = metrics.render();

        assert!(text.contains("esker_ingest_ack_latency_seconds_bucket{le=\"0.002\"} 0\n"));
        assert!(text.contains("esker_ingest_ack_latency_seconds_bucket{le=\"0.005\"} 1\n"));
        assert!(text.contains("esker_ingest_ack_latency_seconds_count 1\n"));
        assert!(text.contains("esker_ingest_segments_total{reason=\"linger\"} 1\n"));
        assert!(text.contains("esker_ingest_sessions_lost_total{cause=\"stalled\"} 1\n"));
        assert!(text.contains("esker_ingest_refusals_total{kind=\"indeterminate\"} 1\n"));
        assert!(text.contains("esker_ingest_buffer_limit_bytes 7\n"));
        for (place, loss) in SessionLoss::ALL.iter().enumerate() {
            assert_eq!(loss.place(), place);
        }
    }
}
