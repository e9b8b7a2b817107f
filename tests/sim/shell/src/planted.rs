//! Planted bugs: which seed shows each. A few threads, since the runs of one are on one thread.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use esker_types::{Hunter, Planted};
use serde_json::json;

use crate::commands::{plant, say};
use crate::known_seeds::known_seed;
use crate::run::{Watch, run};

/// What is hunted, and how.
#[derive(Clone, Debug)]
pub(crate) struct Hunts {
    pub(crate) seeds_max: u64,
    pub(crate) jobs: u64,
    /// Only these, those that the other simulation hunts too; all of this one when empty.
    pub(crate) names: Vec<String>,
    /// Where the result goes.
    pub(crate) json: Option<PathBuf>,
}

/// What the hunt for one bug came to.
#[derive(Debug)]
struct Hunt {
    bug: Planted,
    /// The seed that showed it, and how; `None` when it survived.
    shown: Option<(u64, String)>,
}

impl Hunts {
    /// Hunts; `false` when a bug survives or cannot be planted.
    pub(crate) fn run(&self) -> bool {
        let bugs = self.bugs();
        let count = u64::try_from(bugs.len()).unwrap_or(0);
        let hunts = in_parallel(self.jobs, count, |number| {
            let bug = bugs.get(usize::try_from(number).unwrap_or(0))?;
            let hunt = hunt(*bug, self.seeds_max)?;
            hunt.tell();
            Some(hunt)
        });
        let hunts: Vec<Hunt> = hunts.into_iter().flatten().collect();
        let caught = hunts.iter().filter(|hunt| hunt.shown.is_some()).count();
        say(format_args!("{caught} of {} caught", bugs.len()));
        if self.names.is_empty() {
            tell_others();
        }
        self.write(&hunts);
        caught == bugs.len()
    }

    fn bugs(&self) -> Vec<Planted> {
        let all = Planted::ALL.iter().copied();
        let is_wanted = |bug: &Planted| match self.names.is_empty() {
            true => bug.hunter() == Hunter::Shell,
            false => self.names.iter().any(|name| name == bug.name()),
        };
        all.filter(is_wanted).collect()
    }

    fn write(&self, hunts: &[Hunt]) {
        let Some(path) = &self.json else {
            return;
        };
        let rows: Vec<_> = hunts.iter().map(Hunt::json).collect();
        let text = format!("{:#}\n", json!({ "bugs": rows }));
        if let Err(error) = std::fs::write(path, text) {
            let path = path.display();
            say(format_args!("result not written to {path}: {error}"));
        }
    }
}

impl Hunt {
    /// As `tests/sim/page.py` reads it.
    fn json(&self) -> serde_json::Value {
        let (seed, broke) = self.shown.clone().unzip();
        json!({
            "bug": self.bug.name(),
            "says": self.bug.says(),
            "seeds": seed,
            "broke": broke.as_deref().map(rule),
        })
    }

    fn tell(&self) {
        let (name, breaks) = (self.bug.name(), self.bug.breaks());
        let Some((seed, how)) = &self.shown else {
            say(format_args!("{name} ({breaks}): SURVIVES"));
            return;
        };
        let stale = match known_seed(self.bug) == Some(*seed) {
            true => "",
            false => " (not the known one)",
        };
        let how: String = how.chars().take(150).collect();
        say(format_args!("{name} ({breaks}): seed {seed}{stale}: {how}"));
    }
}

/// In a few words what was wrong: the anomaly, or what the run says without its moment.
fn rule(how: &str) -> String {
    let how = how.split_once(" s: ").map_or(how, |(_, what)| what);
    how.chars().take(60).collect::<String>().replace('|', "/")
}

/// Runs the known seed and then seeds from 1 on, until one shows the bug.
fn hunt(bug: Planted, seeds_max: u64) -> Option<Hunt> {
    let first_wrong = |seed| {
        let outcome = run(seed, Watch::default());
        let mut lines = outcome.wrong.first()?.lines();
        let first = lines.next()?;
        // The history's own figures come before what is wrong with it.
        let anomaly = lines.next().filter(|_| first.contains("history: "));
        Some(anomaly.unwrap_or(first).to_owned())
    };
    for seed in known_seed(bug).into_iter().chain(1..=seeds_max) {
        if !plant(Some(bug)) {
            return None;
        }
        let shown = first_wrong(seed);
        let _ = plant(None);
        // A seed that is wrong without the bug says nothing about it.
        if let Some(how) = shown
            && first_wrong(seed).is_none()
        {
            let shown = Some((seed, how));
            return Some(Hunt { bug, shown });
        }
    }
    Some(Hunt { bug, shown: None })
}

/// Says who hunts the rest.
fn tell_others() {
    let others = Planted::ALL.iter();
    for bug in others.filter(|bug| bug.hunter() != Hunter::Shell) {
        say(format_args!("{}: {}", bug.name(), bug.hunter().command()));
    }
}

/// Runs numbers `0..count` on a few threads; results in order.
pub(crate) fn in_parallel<T: Send>(
    jobs: u64,
    count: u64,
    work: impl Fn(u64) -> T + Sync,
) -> Vec<T> {
    let next = AtomicU64::new(0);
    let mut all: Vec<(u64, T)> = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return done;
                }
                done.push((number, work(number)));
            }
        };
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.flatten().flatten().collect()
    });
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, one)| one).collect()
}
