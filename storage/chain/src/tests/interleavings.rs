//! Random interleavings, step by step: every request waits until the script executes it, loses its
//! reply, refuses it or keeps it for later. Checked against a model after each step: CP1, CP5,
//! CP18.
//!
//! The checker itself is tested: three planted bugs must be found.

mod machine;
mod store;

use esker_env::Rng;
use proptest::prelude::*;

use machine::{Machine, Planted, Run};

/// Runs a script to its end; the first broken promise ends it.
fn run(script: &[u16], planted: Planted) -> Run {
    let mut machine = Machine::new(planted);
    for step in script {
        machine.step(*step);
        if machine.broken().is_some() {
            break;
        }
    }
    machine.finish()
}

fn random_script(seed: u64, steps: usize) -> Vec<u16> {
    let rng = Rng::from_seed(seed);
    let mut script = Vec::new();
    for _ in 0..steps {
        script.push(u16::try_from(rng.below(1 << 16)).unwrap());
    }
    script
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_interleaving_loses_or_doubles_an_acknowledged_segment(
        script in proptest::collection::vec(any::<u16>(), 0..160),
    ) {
        let run = run(&script, Planted::Nothing);

        prop_assert_eq!(run.broken, None);
    }
}

#[test]
fn every_kind_of_event_happens_and_none_breaks_a_promise() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..400 {
        let run = run(&random_script(seed, 120), Planted::Nothing);
        assert_eq!(run.broken, None, "seed {seed}");
        for (event, count) in run.events {
            *seen.entry(event).or_insert(0_u32) += count;
        }
    }
    for event in machine::EVENTS {
        assert!(
            seen.get(event).is_some_and(|count| *count >= 20),
            "{event}: {seen:?}"
        );
    }
}

#[test]
fn one_script_gives_one_run() {
    for seed in 0..20 {
        let script = random_script(seed, 120);

        let (left, right) = (
            run(&script, Planted::Nothing),
            run(&script, Planted::Nothing),
        );

        assert_eq!(left, right, "seed {seed}");
        assert!(!left.trace.is_empty());
    }
}

#[test]
fn planted_bugs_are_found() {
    for planted in [
        Planted::MissingByLook,
        Planted::CommitByExistence,
        Planted::SealIsSuccess,
        Planted::SealAheadIsEnd,
    ] {
        let found = (0..400)
            .filter(|seed| run(&random_script(*seed, 120), planted).broken.is_some())
            .take(10);

        assert_eq!(found.count(), 10, "{planted:?} stays hidden");
    }
}
