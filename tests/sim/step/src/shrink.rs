//! Makes a failing run smaller: less time, fewer clients, fewer kinds of faults; the failure stays.
//!
//! Greedy: each step leaves something out and is kept if the same rule still breaks. Steps are
//! tried again until none helps, since one may have needed another. Cost: some 40 runs a round.

use crate::fault::Fault;
use crate::node::SECOND;
use crate::options::RunOptions;
use crate::run::{Outcome, run};

const MINUTE: u64 = 60 * SECOND;

/// The smallest run found that breaks the same rule; `None` when `options` break none.
pub fn shrink(options: &RunOptions, tell: &mut dyn FnMut(&str)) -> Option<(RunOptions, Outcome)> {
    shrink_by(options, tell, &mut |smaller| run(smaller))
}

fn shrink_by(
    options: &RunOptions,
    tell: &mut dyn FnMut(&str),
    run: &mut dyn FnMut(&RunOptions) -> Outcome,
) -> Option<(RunOptions, Outcome)> {
    let outcome = run(options);
    let rule = outcome.violation.as_ref()?.rule.clone();
    let mut search = Search {
        best: options.clone(),
        outcome,
        rule,
        tell,
        run,
    };
    // Ends: every round but the last leaves something out.
    while search.round() {}
    Some((search.best, search.outcome))
}

struct Search<'a> {
    best: RunOptions,
    outcome: Outcome,
    rule: String,
    tell: &'a mut dyn FnMut(&str),
    run: &'a mut dyn FnMut(&RunOptions) -> Outcome,
}

impl Search<'_> {
    /// Tries each step once; whether one helped.
    fn round(&mut self) -> bool {
        let mut has_helped = self.less_time();
        for client in 0..self.outcome.clients {
            if !self.best.silent.contains(&client) {
                let mut smaller = self.best.clone();
                smaller.silent.push(client);
                has_helped |= self.attempt(smaller, &format!("client {client}"));
            }
        }
        let idle = self.kinds(|count| count == 0);
        if !idle.is_empty() {
            let what = format!("{} kinds of faults that never struck", idle.len());
            has_helped |= self.attempt(self.without(&idle), &what);
        }
        for kind in self.kinds(|_| true) {
            has_helped |= self.attempt(self.without(&[kind]), kind.name());
        }
        has_helped
    }

    /// What came behind the failure goes first; then everything is healed earlier.
    fn less_time(&mut self) -> bool {
        let needed = self.outcome.simulated / MINUTE + 1;
        let mut minutes = vec![1, 2, 3, 5, needed];
        minutes.sort_unstable();
        let mut minutes = minutes.into_iter();
        minutes.any(|minutes| {
            let smaller = RunOptions {
                minutes,
                ..self.best.clone()
            };
            minutes < self.best.minutes
                && self.attempt(smaller, &format!("what follows minute {minutes}"))
        })
    }

    /// Kinds that are not left out yet and struck so often.
    fn kinds(&self, so_often: impl Fn(u64) -> bool) -> Vec<Fault> {
        let counted = Fault::ALL.iter().zip(self.outcome.faults);
        let kinds = counted.filter(|(kind, count)| {
            let is_left_out = self.best.masked.contains(kind);
            !is_left_out && so_often(*count)
        });
        kinds.map(|(kind, _)| *kind).collect()
    }

    fn without(&self, kinds: &[Fault]) -> RunOptions {
        let mut smaller = self.best.clone();
        smaller.masked.extend(kinds);
        smaller
    }

    fn attempt(&mut self, smaller: RunOptions, what: &str) -> bool {
        let tried = (self.run)(&smaller);
        let broken = tried.violation.as_ref();
        let is_same = broken.is_some_and(|one| one.rule == self.rule);
        if is_same {
            (self.tell)(&format!("without {what}: still {}", self.rule));
            (self.best, self.outcome) = (smaller, tried);
        }
        is_same
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FAULTS;
    use crate::truth::Violation;

    /// Fails with two kinds of faults, two of six clients and two minutes; one more client can go
    /// only once a kind of faults has, and without another one something else breaks.
    fn fake(options: &RunOptions) -> Outcome {
        let strikes = |kind| !options.masked.contains(&kind);
        let works = |client| !options.silent.contains(&client);
        let needed = strikes(Fault::PutHeld) && strikes(Fault::MetaKilled) && options.minutes >= 2;
        let entangled = works(5) || !strikes(Fault::PutCut);
        let rule = match works(3) {
            true => "CP1",
            false => "CP8",
        };
        let violation = (needed && works(1) && entangled).then(|| Violation {
            rule: rule.to_owned(),
            what: "fake".to_owned(),
        });
        let mut faults = [0; FAULTS];
        for (kind, count) in Fault::ALL.iter().zip(&mut faults) {
            let struck = [Fault::PutHeld, Fault::MetaKilled, Fault::PutCut];
            *count = u64::from(struck.contains(kind) && strikes(*kind));
        }
        Outcome {
            violation,
            clients: 6,
            faults,
            simulated: 200 * SECOND,
            ..Outcome::default()
        }
    }

    #[test]
    fn a_failing_run_loses_all_that_its_failure_does_not_need_and_fails_still() {
        let mut lines = Vec::new();
        let options = RunOptions::of(7, 10);

        let shrunk = shrink_by(&options, &mut |line| lines.push(line.to_owned()), &mut fake);

        let (smallest, outcome) = shrunk.unwrap();
        let left = Fault::ALL
            .iter()
            .filter(|kind| !smallest.masked.contains(kind));
        let left: Vec<Fault> = left.copied().collect();
        assert_eq!(left, [Fault::PutHeld, Fault::MetaKilled]);
        assert_eq!(smallest.silent, [0, 2, 4, 5]);
        assert_eq!(smallest.minutes, 2);
        assert_eq!(outcome.violation.unwrap().rule, "CP1");
        assert_eq!(fake(&smallest).violation.unwrap().rule, "CP1");
        let idle = format!("without {} kinds of faults that never struck", FAULTS - 3);
        assert!(
            lines.iter().any(|line| line.starts_with(&idle)),
            "{lines:?}"
        );
    }

    #[test]
    fn a_run_that_breaks_nothing_is_left_alone() {
        let options = RunOptions::of(7, 1);

        let shrunk = shrink_by(&options, &mut |line| panic!("{line}"), &mut fake);

        assert!(shrunk.is_none());
    }
}
