//! Makes a failing run smaller: fewer kinds of faults, fewer clients, less time; the failure stays.

use crate::fault::Fault;
use crate::options::RunOptions;
use crate::run::{Outcome, run};

const CLIENTS: usize = 10;

/// The smallest run found that breaks the same rule; `None` when `options` break none.
pub fn shrink(options: &RunOptions, tell: &mut dyn FnMut(&str)) -> Option<(RunOptions, Outcome)> {
    let mut best = options.clone();
    let mut outcome = run(&best);
    let rule = outcome.violation.as_ref()?.rule.clone();
    let mut attempt = |smaller: RunOptions, what: &str, best: &mut RunOptions| {
        let tried = run(&smaller);
        let is_same = tried.violation.as_ref().is_some_and(|one| one.rule == rule);
        if is_same {
            tell(&format!("without {what}: still {rule}"));
            *best = smaller;
            outcome = tried;
        }
    };
    for fault in Fault::ALL {
        let mut smaller = best.clone();
        smaller.masked.push(*fault);
        attempt(smaller, fault.name(), &mut best);
    }
    for client in 0..CLIENTS {
        let mut smaller = best.clone();
        smaller.silent.push(client);
        attempt(smaller, &format!("client {client}"), &mut best);
    }
    for minutes in [1, 2, 3, 5] {
        if minutes < best.minutes {
            let smaller = RunOptions {
                minutes,
                ..best.clone()
            };
            attempt(smaller, "more minutes", &mut best);
        }
    }
    Some((best, outcome))
}
