//! A handful of seeds on every change: clean ones, those that failed once, and one twice.
//!
//! Thousands run by `esker-sim seeds`; planted bugs by `esker-sim planted` (docs/simulation.md).

use esker_sim::fault::{FAULTS, Fault};
use esker_sim::report::Sums;
use esker_sim::{RunOptions, run};

/// Seed and minutes of runs that broke a rule once, and why.
const FAILED_ONCE: &[(u64, u64)] = &[
    // The simulated client pipelined more than five batches behind one that was not answered.
    (3, 2),
    // Behind an undecided batch that was told "unknown" the next one was placed as the first.
    (2858, 7),
];

#[test]
fn seeds_keep_every_rule_and_do_not_stand_still() {
    let mut sums = Sums::default();

    for seed in 1..=6 {
        let outcome = run(&RunOptions::of(seed, 1));
        assert_eq!(outcome.violation, None, "seed {seed}");
        sums.add(&outcome);
    }

    let sum = &sums.sum;
    assert!(sum.acked > 500 && sum.operations > 2000, "{sum:?}");
    assert!(
        sum.failovers > 0 && sum.seals > 0 && sum.segments > 100,
        "{sum:?}"
    );
    let struck = sum.faults.iter().filter(|count| **count > 0).count();
    assert!(struck > FAULTS / 2, "{:?} never struck", sums.idle_faults());
}

#[test]
fn seeds_that_failed_once_keep_every_rule() {
    for (seed, minutes) in FAILED_ONCE {
        let outcome = run(&RunOptions::of(*seed, *minutes));
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_run() {
    let options = RunOptions::of(7, 1);

    let (first, second) = (run(&options), run(&options));
    let other = run(&RunOptions::of(8, 1));

    assert_eq!((first.hash, first.events), (second.hash, second.events));
    assert_ne!(first.hash, other.hash);
}

#[test]
fn a_fault_that_is_left_out_never_strikes() {
    let mut options = RunOptions::of(2, 1);
    options.masked = Fault::ALL.to_vec();

    let outcome = run(&options);

    assert_eq!(outcome.violation, None);
    assert_eq!(outcome.faults, [0; FAULTS]);
    assert_eq!(
        outcome.failovers, 0,
        "nobody takes over from a healthy leader"
    );
}

#[cfg(feature = "planted")]
#[test]
fn a_planted_bug_is_seen() {
    use esker_types::Planted;

    let hunted = esker_sim::planted::hunt(Planted::AckOutOfOrder, 20, 1);

    assert!(hunted.seed.is_some());
}

#[cfg(feature = "planted")]
#[test]
fn a_failing_run_is_made_smaller_and_fails_the_same_way_when_it_is_repeated() {
    use esker_sim::planted::run_planted;
    use esker_sim::shrink::shrink;
    use esker_types::{Planted, plant};

    let (bug, options) = (Planted::OverlayKept, RunOptions::of(9, 3));

    plant(Some(bug));
    let shrunk = shrink(&options, &mut |_| {});
    plant(None);

    let (smallest, outcome) = shrunk.unwrap();
    let again = run_planted(&smallest, Some(bug));
    assert_eq!(again.violation, outcome.violation);
    assert_eq!(again.hash, outcome.hash);
    assert!(outcome.violation.is_some());
    let of_whole = run_planted(&options, Some(bug));
    assert!(outcome.events < of_whole.events, "{smallest:?}");
    assert!(smallest.masked.len() > FAULTS / 2 && !smallest.silent.is_empty());
    assert_eq!(run_planted(&smallest, None).violation, None);
}
