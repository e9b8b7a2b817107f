//! What a run of a row came to, as a line of the table and as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::audit::Audit;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// All that is required holds.
    Passed,
    /// Something does not.
    Failed,
    /// It cannot be run here; says why.
    Skipped,
}

/// A row that cannot be run here.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CannotRun(pub(crate) &'static str);

/// One run of one row.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// Number in the fault matrix.
    pub(crate) row: u32,
    /// What is done.
    pub(crate) name: &'static str,
    /// `dir`, `minio`, `seaweed`.
    pub(crate) store: &'static str,
    /// Of every random choice.
    pub(crate) seed: u64,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// Why it failed or was skipped.
    pub(crate) why: Option<String>,
    /// Operations in the history that was checked.
    pub(crate) operations: u64,
    /// Records that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Records read, each as often as it was.
    pub(crate) read: u64,
    /// Requests to the store that were struck.
    pub(crate) struck: u64,
    /// The longest time to the first acknowledgement behind a fault.
    pub(crate) recovery_millis: Option<u64>,
    /// Whether the bucket was audited.
    pub(crate) audit: Audit,
    /// What else was seen.
    pub(crate) facts: Vec<String>,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// Whole milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "FAILED",
            Verdict::Skipped => "skipped",
        };
        let recovery = match self.recovery_millis {
            Some(millis) => format!("{:.1} s", Duration::from_millis(millis).as_secs_f64()),
            None => "-".to_owned(),
        };
        write!(
            f,
            "{:>3}  {:<36} {:<8} {:>6}  {verdict:<8} {:>7} {:>8} {:>6} {recovery:>8} {:>6.1} s",
            self.row,
            self.name,
            self.store,
            self.seed,
            self.operations,
            self.acknowledged,
            self.struck,
            self.seconds
        )?;
        for fact in &self.facts {
            write!(f, "\n       {fact}")?;
        }
        if let Some(why) = &self.why {
            write!(f, "\n       {}", why.replace('\n', "\n       "))?;
        }
        Ok(())
    }
}

/// The head of the table.
pub(crate) const TABLE_HEAD: &str = "row  fault                                store      seed  \
     verdict     ops    acked struck  recovery   took";

/// All runs of one command.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// In the order in which they ended.
    pub(crate) results: Vec<Outcome>,
}

impl Summary {
    /// Runs that ended so.
    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        let results = self.results.iter();
        results.filter(|one| one.verdict == verdict).count()
    }

    /// The document of `--json`.
    pub(crate) fn document(&self) -> serde_json::Value {
        let audited = |audit| self.results.iter().filter(move |one| one.audit == audit);
        serde_json::json!({
            "esker_faults": 1,
            "passed": self.count(Verdict::Passed),
            "failed": self.count(Verdict::Failed),
            "skipped": self.count(Verdict::Skipped),
            "audited_clean": audited(Audit::Clean).count(),
            "audit_found_damage": audited(Audit::Found).count(),
            "results": self.results,
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&Outcome) -> u64| self.results.iter().map(of).sum::<u64>();
        let mut recoveries: Vec<u64> = self
            .results
            .iter()
            .filter_map(|one| one.recovery_millis)
            .collect();
        recoveries.sort_unstable();
        let at = |percent: usize| {
            let place = recoveries.len() * percent / 100;
            let time = recoveries.get(place.min(recoveries.len().saturating_sub(1)));
            let time = time.map(|millis| Duration::from_millis(*millis));
            time.map_or("-".to_owned(), |time| format!("{time:.1?}"))
        };
        let audited = self.results.iter();
        let audited = audited.filter(|one| one.audit == Audit::Clean);
        write!(
            f,
            "{} passed, {} failed, {} skipped, {} buckets audited and clean; {} operations, {} \
             acknowledged records, {} read, {} requests struck; recovery p50 {}, p99 {}",
            self.count(Verdict::Passed),
            self.count(Verdict::Failed),
            self.count(Verdict::Skipped),
            audited.count(),
            sum(|one| one.operations),
            sum(|one| one.acknowledged),
            sum(|one| one.read),
            sum(|one| one.struck),
            at(50),
            at(99)
        )
    }
}
