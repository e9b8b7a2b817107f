//! Figures of the metadata service and their Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Epoch of this process's sequencer; 0 while it does not lead.
pub(crate) const EPOCH: &str = "esker_metadata_sequencer_epoch";
/// Segments whose offsets are promised and whose fate is open.
pub(crate) const UNDECIDED: &str = "esker_metadata_undecided_segments";
/// Decided segments that no durable checkpoint holds yet.
pub(crate) const CHECKPOINT_LAG_SEGMENTS: &str = "esker_metadata_checkpoint_lag_segments";
/// Bytes of record batches in them.
pub(crate) const CHECKPOINT_LAG_BYTES: &str = "esker_metadata_checkpoint_lag_bytes";
/// Time of the last take-over, from the decision to the first answer.
pub(crate) const RECOVERY_SECONDS: &str = "esker_metadata_recovery_seconds";
/// Segments that the last take-over read from chains.
pub(crate) const RECOVERED_SEGMENTS: &str = "esker_metadata_recovered_segments";
/// Durable commands applied.
pub(crate) const COMMANDS_TOTAL: &str = "esker_metadata_commands_total";
/// Epoch checks made (R2).
pub(crate) const EPOCH_CHECKS_TOTAL: &str = "esker_metadata_epoch_checks_total";
/// Times this process found itself deposed.
pub(crate) const FENCED_TOTAL: &str = "esker_metadata_fenced_total";
/// Requests refused because a queue was full.
pub(crate) const REFUSALS_TOTAL: &str = "esker_metadata_refusals_total";
/// Topics.
pub(crate) const TOPICS: &str = "esker_metadata_topics";

/// Figures of one metadata service.
#[derive(Debug, Default)]
pub struct MetadataMetrics {
    pub(crate) epoch: AtomicU64,
    pub(crate) undecided: AtomicU64,
    pub(crate) lag_segments: AtomicU64,
    pub(crate) lag_bytes: AtomicU64,
    pub(crate) recovery_micros: AtomicU64,
    pub(crate) recovered_segments: AtomicU64,
    pub(crate) commands: AtomicU64,
    pub(crate) epoch_checks: AtomicU64,
    pub(crate) fenced: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) topics: AtomicU64,
}

pub(crate) fn set(gauge: &AtomicU64, count: usize) {
    gauge.store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}

pub(crate) fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl MetadataMetrics {
    pub(crate) fn recovered(&self, took: Duration, segments: usize) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.recovery_micros.store(micros, Ordering::Relaxed);
        set(&self.recovered_segments, segments);
    }

    fn rows(&self) -> [(&'static str, &'static str, &'static str, &AtomicU64); 10] {
        [
            (
                EPOCH,
                "gauge",
                "Sequencer epoch, 0 while not leading.",
                &self.epoch,
            ),
            (
                UNDECIDED,
                "gauge",
                "Reserved segments not yet decided.",
                &self.undecided,
            ),
            (
                CHECKPOINT_LAG_SEGMENTS,
                "gauge",
                "Decided segments that no checkpoint holds.",
                &self.lag_segments,
            ),
            (
                CHECKPOINT_LAG_BYTES,
                "gauge",
                "Bytes of batches that no checkpoint holds.",
                &self.lag_bytes,
            ),
            (
                RECOVERED_SEGMENTS,
                "gauge",
                "Segments read from chains by the last take-over.",
                &self.recovered_segments,
            ),
            (
                COMMANDS_TOTAL,
                "counter",
                "Durable commands applied.",
                &self.commands,
            ),
            (
                EPOCH_CHECKS_TOTAL,
                "counter",
                "Epoch checks made.",
                &self.epoch_checks,
            ),
            (
                FENCED_TOTAL,
                "counter",
                "Times found deposed.",
                &self.fenced,
            ),
            (
                REFUSALS_TOTAL,
                "counter",
                "Requests refused by a full queue.",
                &self.refusals,
            ),
            (TOPICS, "gauge", "Topics.", &self.topics),
        ]
    }

    /// All figures in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, kind, help, value) in self.rows() {
            let value = value.load(Ordering::Relaxed);
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
            );
        }
        let recovery = Duration::from_micros(self.recovery_micros.load(Ordering::Relaxed));
        let seconds = recovery.as_secs_f64();
        let _ = write!(
            text,
            "# HELP {RECOVERY_SECONDS} Time of the last take-over.\n# TYPE {RECOVERY_SECONDS} \
             gauge\n{RECOVERY_SECONDS} {seconds}\n"
        );
        text
    }
}
