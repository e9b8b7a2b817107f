//! Collects anomalies as they are found: a bounded number of each kind is kept, all are counted.

use std::collections::BTreeMap;

use crate::anomaly::{Anomaly, Kind};
use crate::limits::{ANOMALIES_KEPT_MAX, CITED_EVENTS_MAX};

/// The lines of one operation; 0 stands for a line that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cite {
    pub(crate) begun: u64,
    pub(crate) done: u64,
}

impl Cite {
    pub(crate) fn lines(self) -> [u64; 2] {
        [self.begun, self.done]
    }
}

/// The highest value so far, and the operation that showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) value: u64,
    pub(crate) cite: Cite,
}

impl Mark {
    pub(crate) fn raise(slot: &mut Option<Self>, value: u64, cite: Cite) {
        if slot.is_none_or(|mark| mark.value < value) {
            *slot = Some(Self { value, cite });
        }
    }

    /// The higher one of two.
    pub(crate) fn higher(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(left), Some(right)) if right.value > left.value => other,
            (None, _) => other,
            (Some(_), _) => one,
        }
    }
}

/// Anomalies, by kind.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: BTreeMap<Kind, Vec<Anomaly>>,
    counts: BTreeMap<Kind, u64>,
}

impl Findings {
    /// Notes an anomaly; `why` is made only when it is kept.
    pub(crate) fn found(
        &mut self,
        kind: Kind,
        key: Option<&str>,
        lines: &[u64],
        why: impl FnOnce() -> String,
    ) {
        let count = self.counts.entry(kind).or_default();
        *count = count.saturating_add(1);
        let kept = self.kept.entry(kind).or_default();
        if kept.len() < ANOMALIES_KEPT_MAX {
            let mut lines: Vec<u64> = lines.iter().copied().filter(|line| *line > 0).collect();
            lines.sort_unstable();
            lines.dedup();
            lines.truncate(CITED_EVENTS_MAX);
            kept.push(Anomaly {
                kind,
                key: key.map(str::to_owned),
                why: why(),
                lines,
                excerpt: Vec::new(),
            });
        }
    }

    pub(crate) fn into_parts(self) -> (Vec<Anomaly>, BTreeMap<Kind, u64>) {
        (self.kept.into_values().flatten().collect(), self.counts)
    }
}
