//! What a run came to, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use esker_history::Report;
use serde::Serialize;

use super::clients::EndsTold;
use super::episode::Episode;
use super::members::Role;
use super::strike::Kind;
use crate::audit::Audit;

/// Faults of some kinds on one cluster.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) episodes: Vec<Episode>,
    /// Records that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Acknowledged records that are not there.
    pub(crate) lost: u64,
    /// Second copies by idempotent producers.
    pub(crate) duplicates: u64,
    /// Ends that were lower than one told before.
    pub(crate) ends_fallen: u64,
    /// Other anomalies of the history.
    pub(crate) anomalies: u64,
    /// How often each process said where a partition ends.
    pub(crate) ends_told: EndsTold,
    /// Processes that ended by themselves and were started again.
    pub(crate) restarts: u32,
    pub(crate) audit: Audit,
    pub(crate) seconds: f64,
    /// What did not hold.
    pub(crate) failed: Option<String>,
}

impl Part {
    pub(crate) fn new(kinds: &[Kind]) -> Self {
        Self {
            kinds: kinds.to_vec(),
            episodes: Vec::new(),
            acknowledged: 0,
            lost: 0,
            duplicates: 0,
            ends_fallen: 0,
            anomalies: 0,
            ends_told: BTreeMap::new(),
            restarts: 0,
            audit: Audit::NotDue,
            seconds: 0.0,
            failed: None,
        }
    }

    /// What the checker of the history says.
    pub(crate) fn take(&mut self, report: &Report) {
        self.acknowledged = report.figures.acknowledged;
        for (kind, count) in &report.counts {
            let counter = match kind.name() {
                "lost-write" | "unseen" | "moved" => &mut self.lost,
                "duplicate" | "duplicate-answer" => &mut self.duplicates,
                "hw-regress" | "lso-regress" | "log-start-regress" | "latest-regress"
                | "latest-below-ack" => &mut self.ends_fallen,
                _ => &mut self.anomalies,
            };
            *counter += *count;
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.label()).collect();
        let verdict = if self.failed.is_some() {
            "FAILED"
        } else {
            "passed"
        };
        let told: u64 = self.ends_told.values().sum();
        write!(
            f,
            "{}: {verdict}, {} episodes in {:.0} s; {} records acknowledged, {} lost, {} \
             idempotent duplicates, {} ends fell of {told} told by {} processes, {} other \
             anomalies; {} processes ended by themselves",
            kinds.join(", "),
            self.episodes.len(),
            self.seconds,
            self.acknowledged,
            self.lost,
            self.duplicates,
            self.ends_fallen,
            self.ends_told.len(),
            self.anomalies,
            self.restarts
        )?;
        if let Some(why) = &self.failed {
            write!(f, "\n    {}", why.replace('\n', "\n    "))?;
        }
        Ok(())
    }
}

/// All parts of one run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Proof {
    esker_cluster_faults: u32,
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
    pub(crate) parts: Vec<Part>,
    /// Episodes that could not be played here.
    pub(crate) skipped: u32,
    pub(crate) why_skipped: Option<String>,
}

impl Proof {
    pub(crate) fn new(rounds: u32, seed: u64) -> Self {
        Self {
            esker_cluster_faults: 1,
            rounds,
            seed,
            parts: Vec::new(),
            skipped: 0,
            why_skipped: None,
        }
    }

    /// Rounds of these kinds cannot be played.
    pub(crate) fn skip(&mut self, kinds: &[Kind], rounds: u32, reason: String) {
        let each = kinds.len().saturating_mul(Role::ALL.len());
        let each = u32::try_from(each).unwrap_or(u32::MAX);
        self.skipped = self.skipped.saturating_add(each.saturating_mul(rounds));
        self.why_skipped = Some(reason);
    }

    pub(crate) fn holds(&self) -> bool {
        self.parts.iter().all(|part| part.failed.is_none())
    }

    /// One row for each kind and role: episodes, and the median and longest of three times.
    fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for kind in Kind::ALL {
            for role in Role::ALL {
                let all = self.parts.iter().flat_map(|part| &part.episodes);
                let all: Vec<&Episode> = all
                    .filter(|one| (one.kind, one.role) == (kind, role))
                    .collect();
                if all.is_empty() {
                    continue;
                }
                let time = |of: fn(&Episode) -> Option<u64>| {
                    let times = all.iter().filter_map(|one| of(one));
                    middle_and_longest(times.collect())
                };
                rows.push(format!(
                    "| {} | {} | {} | {} | {} | {} |",
                    kind.label(),
                    role.label(),
                    all.len(),
                    time(|one| one.all_millis),
                    time(|one| one.back_millis),
                    time(|one| one.answers_millis)
                ));
            }
        }
        rows
    }
}

/// In seconds.
fn middle_and_longest(mut times: Vec<u64>) -> String {
    times.sort_unstable();
    let shown = |millis: &u64| {
        let tenths = (millis + 50) / 100;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match (times.get(times.len() / 2), times.last()) {
        (Some(middle), Some(longest)) => format!("{} / {}", shown(middle), shown(longest)),
        _ => "-".to_owned(),
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&Part) -> u64| self.parts.iter().map(of).sum::<u64>();
        if !self.parts.is_empty() {
            writeln!(
                f,
                "| fault | role | episodes | all acknowledged | back | answers |"
            )?;
            writeln!(f, "|---|---|---|---|---|---|")?;
            for row in self.rows() {
                writeln!(f, "{row}")?;
            }
            let episodes: usize = self.parts.iter().map(|part| part.episodes.len()).sum();
            writeln!(
                f,
                "{episodes} episodes: {} records acknowledged, {} lost, {} idempotent duplicates, \
                 {} ends fell, {} other anomalies",
                sum(|part| part.acknowledged),
                sum(|part| part.lost),
                sum(|part| part.duplicates),
                sum(|part| part.ends_fallen),
                sum(|part| part.anomalies)
            )?;
        }
        let reason = self.why_skipped.as_deref().unwrap_or_default();
        match self.skipped {
            0 => write!(f, "0 episodes skipped"),
            count => write!(
                f,
                "SKIPPED {count} episodes: no network of namespaces: {reason}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_played_is_counted_and_told() {
        let mut proof = Proof::new(2, 1);

        proof.skip(&Kind::ALL, 2, "not root".to_owned());

        assert_eq!(proof.skipped, 18);
        assert!(proof.to_string().contains("SKIPPED 18 episodes"), "{proof}");
        assert!(proof.to_string().contains("not root"));
    }

    #[test]
    fn a_row_has_the_middle_and_the_longest_time() {
        assert_eq!(middle_and_longest(vec![1000, 4960, 2049]), "2.0 / 5.0");
        assert_eq!(middle_and_longest(Vec::new()), "-");
    }
}
