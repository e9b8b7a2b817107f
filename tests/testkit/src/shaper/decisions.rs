//! The log of what was struck: with its seed and the schedule of requests, a run can be retold.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Decisions that are kept; older ones are only counted.
const DECISIONS_MAX: usize = 10_000;

/// One request that was struck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Since the rules were set.
    pub millis: u64,
    /// Name of the rule.
    pub rule: String,
    /// The fault's word.
    pub kind: String,
    /// HTTP method of the request.
    pub method: String,
    /// Its key.
    pub key: String,
}

/// The answer to `GET /__shaper/decisions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionLog {
    /// Of every random choice.
    pub seed: u64,
    /// Older decisions that are not kept.
    pub forgotten: u64,
    /// Oldest first.
    pub decisions: Vec<Decision>,
}

/// Decisions as they are made.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    kept: VecDeque<Decision>,
    forgotten: u64,
}

impl Decisions {
    pub(super) fn push(&mut self, decision: Decision) {
        if self.kept.len() >= DECISIONS_MAX {
            self.kept.pop_front();
            self.forgotten += 1;
        }
        self.kept.push_back(decision);
    }

    pub(super) fn log(&self, seed: u64) -> DecisionLog {
        DecisionLog {
            seed,
            forgotten: self.forgotten,
            decisions: self.kept.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_past_the_limit_forgets_the_oldest_and_counts_it() {
        let mut decisions = Decisions::default();

        for millis in 0..=u64::try_from(DECISIONS_MAX).unwrap() {
            decisions.push(Decision {
                millis,
                rule: "r".to_owned(),
                kind: "FB".to_owned(),
                method: "PUT".to_owned(),
                key: "k".to_owned(),
            });
        }

        let log = decisions.log(7);
        assert_eq!((log.seed, log.forgotten), (7, 1));
        assert_eq!(log.decisions.len(), DECISIONS_MAX);
        assert_eq!(log.decisions.first().map(|first| first.millis), Some(1));
    }
}
