//! Planted bugs: which seed shows each.

use esker_types::{Hunter, Planted, plant};
use serde_json::json;

use crate::known_seeds::known_seed;
use crate::options::RunOptions;
use crate::run::{Outcome, run};

/// What the hunt for a planted bug came to.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The bug.
    pub bug: Planted,
    /// The seed that showed it; `None` when it survived.
    pub seed: Option<u64>,
    /// What broke.
    pub outcome: Option<Outcome>,
}

impl Hunt {
    /// The rule that broke.
    #[must_use]
    pub fn broke(&self) -> Option<&str> {
        let violation = self.outcome.as_ref()?.violation.as_ref()?;
        Some(&violation.rule)
    }

    /// Whether the seed that is known to show the bug showed nothing.
    #[must_use]
    pub fn is_known_stale(&self) -> bool {
        self.seed != known_seed(self.bug)
    }

    /// For machines, as `tests/sim/page.py` reads it.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json!({
            "bug": self.bug.name(),
            "says": self.bug.says(),
            "seeds": self.seed,
            "broke": self.broke(),
        })
    }
}

/// Runs a seed with a bug planted.
#[must_use]
pub fn run_planted(options: &RunOptions, bug: Option<Planted>) -> Outcome {
    plant(bug);
    let outcome = run(options);
    plant(None);
    outcome
}

/// Runs the known seed and then seeds from 1 on, until one shows the bug.
#[must_use]
pub fn hunt(bug: Planted, seeds_max: u64, minutes: u64) -> Hunt {
    for seed in known_seed(bug).into_iter().chain(1..=seeds_max) {
        let options = RunOptions::of(seed, minutes);
        let outcome = run_planted(&options, Some(bug));
        // A seed that fails without the bug says nothing about it.
        if outcome.violation.is_some() && run_planted(&options, None).violation.is_none() {
            return Hunt {
                bug,
                seed: Some(seed),
                outcome: Some(outcome),
            };
        }
    }
    Hunt {
        bug,
        seed: None,
        outcome: None,
    }
}

/// The bugs that this simulation hunts.
#[must_use]
pub fn hunted() -> Vec<Planted> {
    let all = Planted::ALL.iter().copied();
    all.filter(|bug| bug.hunter() == Hunter::Step).collect()
}
