//! What a check says: anomalies, how many of each kind, and how much was checked.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::anomaly::{Anomaly, Kind};
use crate::tables::Outcome;

/// How much a history holds. What is no anomaly and still worth seeing stands here too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Lines behind the header.
    pub events: u64,
    /// Operations that succeeded.
    pub ok: u64,
    /// Operations that surely had no effect.
    pub fail: u64,
    /// Operations of unknown outcome.
    pub info: u64,
    /// Operations that never completed.
    pub open: u64,
    /// Partitions.
    pub partitions: u64,
    /// Records sent.
    pub sent: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records read, each as often as it was.
    pub read: u64,
    /// Offsets that hold a record.
    pub in_log: u64,
    /// Offsets noted to be without a record.
    pub absent_offsets: u64,
    /// Missing offsets of partitions that were read whole.
    pub missing_offsets: u64,
    /// Second copies by producers that are not idempotent: allowed.
    pub doubled: u64,
    /// Groups of transactions that wrote over each other in a circle: allowed.
    pub g0: u64,
    /// Answers of committed offsets that could not be judged.
    pub unchecked: u64,
    /// Longest time between two acknowledgements, in nanoseconds.
    pub longest_pause_ns: u64,
    /// When the last acknowledgement came.
    #[serde(skip)]
    acknowledged_at: Option<u64>,
}

impl Figures {
    pub(crate) fn completed(&mut self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Fail => &mut self.fail,
            Outcome::Info | Outcome::Open => &mut self.info,
        };
        *counter = counter.saturating_add(1);
    }

    pub(crate) fn sent(&mut self, records: usize) {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        self.sent = self.sent.saturating_add(records);
    }

    pub(crate) fn acknowledged(&mut self, records: u64, t: u64) {
        self.acknowledged = self.acknowledged.saturating_add(records);
        let pause = t.saturating_sub(self.acknowledged_at.unwrap_or(t));
        self.longest_pause_ns = self.longest_pause_ns.max(pause);
        self.acknowledged_at = Some(t);
    }

    pub(crate) fn read(&mut self, records: u64) {
        self.read = self.read.saturating_add(records);
    }

    pub(crate) fn partition(&mut self, records: usize) {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        self.partitions = self.partitions.saturating_add(1);
        self.in_log = self.in_log.saturating_add(records);
    }

    pub(crate) fn gap(&mut self, offsets: u64) {
        self.missing_offsets = self.missing_offsets.saturating_add(offsets);
    }
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether there is no anomaly.
    pub clean: bool,
    /// How many of each kind.
    pub counts: BTreeMap<Kind, u64>,
    /// The first ones of each kind.
    pub anomalies: Vec<Anomaly>,
    /// How much was checked.
    pub figures: Figures,
}

impl Report {
    pub(crate) fn new(
        anomalies: Vec<Anomaly>,
        counts: BTreeMap<Kind, u64>,
        figures: Figures,
    ) -> Self {
        Self {
            clean: counts.is_empty(),
            counts,
            anomalies,
            figures,
        }
    }

    /// Whether an anomaly of this kind was found.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.counts.contains_key(&kind)
    }

    /// The lines that its anomalies cite, ascending.
    #[must_use]
    pub fn cited_lines(&self) -> Vec<u64> {
        let cited = self
            .anomalies
            .iter()
            .flat_map(|one| one.lines.iter().copied());
        let mut lines: Vec<u64> = cited.collect();
        lines.sort_unstable();
        lines.dedup();
        lines
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = &self.figures;
        writeln!(
            f,
            "{} events: {} ok, {} fail, {} info, {} open; {} records sent, {} acknowledged, {} \
             reads of {} records in {} partitions; {} offsets without a record; {} allowed \
             doubles; longest pause {} ms",
            of.events,
            of.ok,
            of.fail,
            of.info,
            of.open,
            of.sent,
            of.acknowledged,
            of.read,
            of.in_log,
            of.partitions,
            of.missing_offsets,
            of.doubled,
            of.longest_pause_ns / 1_000_000
        )?;
        if self.clean {
            return writeln!(f, "no anomaly");
        }
        for (kind, count) in &self.counts {
            writeln!(f, "{kind}: {count}; {} ({})", kind.meaning(), kind.breaks())?;
            for one in self.anomalies.iter().filter(|one| one.kind == *kind) {
                let key = one.key.as_deref().unwrap_or("-");
                writeln!(f, "  {key}: {}", one.why)?;
                for (line, text) in one.lines.iter().zip(&one.excerpt) {
                    writeln!(f, "    {line}: {text}")?;
                }
            }
        }
        Ok(())
    }
}
