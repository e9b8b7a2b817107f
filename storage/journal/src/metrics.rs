//! Figures of the journal of one leadership and their Prometheus text. Kept by writer and task.
//!
//! Every object sent is in the bucket's own meter too, by outcome; here stands what it was for.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Commands that became durable.
pub(crate) const COMMANDS_TOTAL: &str = "esker_journal_commands_total";
/// Places sent: entries, seals and heads.
pub(crate) const PLACES_TOTAL: &str = "esker_journal_places_total";
/// Bytes of the objects sent to them.
pub(crate) const PLACE_BYTES_TOTAL: &str = "esker_journal_place_bytes_total";
/// Rolls begun.
pub(crate) const ROLLS_TOTAL: &str = "esker_journal_rolls_total";
/// Snapshots, by outcome.
pub(crate) const SNAPSHOTS_TOTAL: &str = "esker_journal_snapshots_total";
/// Collections, by outcome.
pub(crate) const COLLECTIONS_TOTAL: &str = "esker_journal_collections_total";
/// Looks at the next place for an epoch check.
pub(crate) const LOOKS_TOTAL: &str = "esker_journal_epoch_looks_total";
/// Commands refused because the queue was full.
pub(crate) const REFUSALS_TOTAL: &str = "esker_journal_refusals_total";
/// Places sent and not yet durable.
pub(crate) const IN_FLIGHT: &str = "esker_journal_places_in_flight";
/// Bytes of commands taken and not yet heard of.
pub(crate) const QUEUE_BYTES: &str = "esker_journal_queue_bytes";
/// The most of them.
pub(crate) const QUEUE_MAX_BYTES: &str = "esker_journal_queue_max_bytes";

/// Figures of one moment. Counters count from the start of the leadership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Commands that became durable.
    pub commands: u64,
    /// Places sent.
    pub places: u64,
    /// Bytes of the objects sent to them.
    pub place_bytes: u64,
    /// Rolls begun, the first one included.
    pub rolls: u64,
    /// Snapshots that are whole.
    pub snapshots: u64,
    /// Snapshots that failed.
    pub snapshot_failures: u64,
    /// Collections that went through.
    pub collections: u64,
    /// Collections that stopped early.
    pub collection_failures: u64,
    /// Looks at the next place for an epoch check.
    pub looks: u64,
    /// Commands refused because the queue was full.
    pub refusals: u64,
    /// Places sent and not yet durable.
    pub places_in_flight: u64,
    /// Bytes of commands taken and not yet heard of.
    pub queue_bytes: u64,
    /// The most of them.
    pub queue_bytes_max: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commands: AtomicU64,
    pub(crate) places: AtomicU64,
    pub(crate) place_bytes: AtomicU64,
    pub(crate) rolls: AtomicU64,
    pub(crate) snapshots: AtomicU64,
    pub(crate) snapshot_failures: AtomicU64,
    pub(crate) collections: AtomicU64,
    pub(crate) collection_failures: AtomicU64,
    pub(crate) looks: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) places_in_flight: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counters {
    /// The figures; those of the queue are zero.
    pub(crate) fn snapshot(&self) -> JournalStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        JournalStats {
            commands: read(&self.commands),
            places: read(&self.places),
            place_bytes: read(&self.place_bytes),
            rolls: read(&self.rolls),
            snapshots: read(&self.snapshots),
            snapshot_failures: read(&self.snapshot_failures),
            collections: read(&self.collections),
            collection_failures: read(&self.collection_failures),
            looks: read(&self.looks),
            refusals: read(&self.refusals),
            places_in_flight: read(&self.places_in_flight),
            ..JournalStats::default()
        }
    }
}

/// One family: its name, its help, its kind, and its rows (labels with braces, or nothing).
struct Family<'a> {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    rows: &'a [(&'static str, u64)],
}

fn add_family(text: &mut String, family: &Family<'_>) {
    let Family {
        name, help, kind, ..
    } = family;
    // Writing to a string cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value) in family.rows {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

impl JournalStats {
    /// All of it in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let counters: [(_, _, &[_]); 8] = [
            (
                COMMANDS_TOTAL,
                "Commands that became durable.",
                &[("", self.commands)],
            ),
            (PLACES_TOTAL, "Places sent.", &[("", self.places)]),
            (
                PLACE_BYTES_TOTAL,
                "Bytes sent to places.",
                &[("", self.place_bytes)],
            ),
            (ROLLS_TOTAL, "Rolls begun.", &[("", self.rolls)]),
            (
                SNAPSHOTS_TOTAL,
                "Snapshots, by outcome.",
                &by_outcome(self.snapshots, self.snapshot_failures),
            ),
            (
                COLLECTIONS_TOTAL,
                "Collections, by outcome.",
                &by_outcome(self.collections, self.collection_failures),
            ),
            (LOOKS_TOTAL, "Looks of epoch checks.", &[("", self.looks)]),
            (
                REFUSALS_TOTAL,
                "Commands refused, queue full.",
                &[("", self.refusals)],
            ),
        ];
        let gauges = [
            (IN_FLIGHT, "Places not yet durable.", self.places_in_flight),
            (
                QUEUE_BYTES,
                "Bytes of commands not yet heard of.",
                self.queue_bytes,
            ),
            (QUEUE_MAX_BYTES, "The most of them.", self.queue_bytes_max),
        ];
        let mut text = String::new();
        for (name, help, rows) in counters {
            let kind = "counter";
            add_family(
                &mut text,
                &Family {
                    name,
                    help,
                    kind,
                    rows,
                },
            );
        }
        for (name, help, value) in gauges {
            let (kind, rows) = ("gauge", &[("", value)]);
            add_family(
                &mut text,
                &Family {
                    name,
                    help,
                    kind,
                    rows,
                },
            );
        }
        text
    }
}

fn by_outcome(ok: u64, failed: u64) -> [(&'static str, u64); 2] {
    [("{outcome=\"ok\"}", ok), ("{outcome=\"failed\"}", failed)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_text_has_every_family_once() {
        let stats = JournalStats {
            snapshots: 3,
            snapshot_failures: 1,
            queue_bytes: 7,
            ..JournalStats::default()
        };

        let text = stats.render();

        assert!(text.contains("esker_journal_snapshots_total{outcome=\"failed\"} 1\n"));
        assert!(text.contains("esker_journal_queue_bytes 7\n"));
        for name in [
            COMMANDS_TOTAL,
            PLACES_TOTAL,
            PLACE_BYTES_TOTAL,
            ROLLS_TOTAL,
            SNAPSHOTS_TOTAL,
            COLLECTIONS_TOTAL,
            LOOKS_TOTAL,
            REFUSALS_TOTAL,
            IN_FLIGHT,
            QUEUE_BYTES,
            QUEUE_MAX_BYTES,
        ] {
            assert_eq!(
                text.matches(&format!("# TYPE {name} ")).count(),
                1,
                "{name}"
            );
        }
    }
}
