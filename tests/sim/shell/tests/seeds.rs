//! A few seeds in every build: they pass, and the same seed is the same run.

use esker_sim_shell::{Outcome, Watch, run};

/// Seeds that failed once, with what was wrong then; docs/simulation-shell.md tells the stories.
const FAILED_ONCE: [u64; 0] = [];

fn assert_clean(outcome: &Outcome) {
    assert_eq!(outcome.wrong, Vec::<String>::new(), "seed {}", outcome.seed);
    assert!(
        outcome.acknowledged > 0,
        "seed {} does nothing",
        outcome.seed
    );
    assert!(
        outcome.operations > 0,
        "seed {} checks nothing",
        outcome.seed
    );
}

#[test]
fn a_seed_is_one_run_however_often_it_is_run() {
    let one = run(1, Watch::default());
    let other = run(1, Watch::default());

    assert_clean(&one);
    assert_eq!((one.hash, one.events), (other.hash, other.events));
}

#[test]
fn seeds_that_failed_once_are_clean_and_faults_strike() {
    let outcomes: Vec<Outcome> = [2, 3]
        .into_iter()
        .chain(FAILED_ONCE)
        .map(|seed| run(seed, Watch::default()))
        .collect();

    for outcome in &outcomes {
        assert_clean(outcome);
    }
    assert!(outcomes.iter().any(|outcome| !outcome.faults.is_empty()));
}
