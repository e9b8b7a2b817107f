//! What the command line does: one seed, many seeds, one seed twice, the planted bugs.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use esker_types::Planted;

use crate::planted::{Hunts, in_parallel};
use crate::run::{Outcome, Watch, run};
use crate::store_faults::StoreFault;

/// Faults that every run of many seeds must show, besides those of the store.
const EXPECTED: [&str; 27] = [
    "process stopped with a journal put on its way",
    "process stopped with a segment on its way",
    "put lost with its process",
    "leader cut off from the store",
    "challenger's seal held until its place is collected",
    "process killed",
    "process stopped",
    "leader stopped",
    "leader killed",
    "process drained (SIGTERM)",
    "living leader taken for dead",
    "zombie leader goes on",
    "leader deposed",
    "pods cut off from each other",
    "pod cut off from the store",
    "pod cut off from clients",
    "store troubled",
    "store outage",
    "store throttling storm",
    "network troubled",
    "network loss: request",
    "network loss: reply",
    "network doubles a request",
    "network cut: request",
    "network cut: reply",
    "network loss: produce reply",
    "index feed breaks",
];

/// Seeds from which on every fault must have struck.
const SEEDS_FOR_ALL_FAULTS: u64 = 60;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One seed, with what is wrong in words.
    Run {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// A bug to plant.
        #[arg(long)]
        plant: Option<String>,
        /// Every event, to standard error.
        #[arg(long)]
        trace: bool,
        /// Where the history goes, for `esker-history check`.
        #[arg(long)]
        history: Option<PathBuf>,
    },
    /// Many seeds, and the figures of all of them.
    Seeds {
        /// The first.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 100)]
        count: u64,
        /// Threads.
        #[arg(long, default_value_t = 2)]
        jobs: u64,
        /// Where the figures go.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// One seed twice: the same events both times.
    Twice {
        /// The seed.
        #[arg(long)]
        seed: u64,
    },
    /// Plants each bug and says how many seeds it takes to find it.
    Planted {
        /// Seeds behind the known one until a bug counts as surviving.
        #[arg(long, default_value_t = 300)]
        seeds_max: u64,
        /// Threads.
        #[arg(long, default_value_t = 2)]
        jobs: u64,
        /// Where the result goes.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Only these, those that the other simulation hunts too.
        names: Vec<String>,
    },
}

pub(crate) fn say(what: std::fmt::Arguments<'_>) {
    // A reader that goes away does not end the run.
    let _ = writeln!(std::io::stdout(), "{what}");
}

/// Does it; `false` when something is wrong.
#[must_use]
pub fn execute(command: &Command) -> bool {
    match command {
        Command::Run {
            seed,
            plant,
            trace,
            history,
        } => {
            let watch = Watch {
                trace: *trace,
                history: history.is_some(),
            };
            plant_named(plant.as_deref()) && run_one(*seed, watch, history.as_ref())
        }
        Command::Seeds {
            from,
            count,
            jobs,
            json,
        } => seeds(*from, *count, *jobs, json.as_ref()),
        Command::Twice { seed } => twice(*seed),
        Command::Planted {
            seeds_max,
            jobs,
            json,
            names,
        } => {
            let hunts = Hunts {
                seeds_max: *seeds_max,
                jobs: *jobs,
                names: names.clone(),
                json: json.clone(),
            };
            hunts.run()
        }
    }
}

fn bug(name: &str) -> Option<Planted> {
    Planted::ALL.iter().copied().find(|bug| bug.name() == name)
}

#[cfg(feature = "planted")]
pub(crate) fn plant(bug: Option<Planted>) -> bool {
    esker_types::plant(bug);
    true
}

#[cfg(not(feature = "planted"))]
pub(crate) fn plant(bug: Option<Planted>) -> bool {
    if bug.is_some() {
        say(format_args!(
            "built without the feature planted: no bug can be planted"
        ));
    }
    bug.is_none()
}

fn plant_named(name: Option<&str>) -> bool {
    match name {
        None => true,
        Some(name) => match bug(name) {
            Some(bug) => plant(Some(bug)),
            None => {
                say(format_args!("no bug is called {name}"));
                false
            }
        },
    }
}

fn say_outcome(outcome: &Outcome) {
    say(format_args!(
        "seed {}: {:.1} s simulated, {} events, {} operations, {} batches acknowledged, hash \
         {:016x}",
        outcome.seed,
        outcome.simulated.as_secs_f64(),
        outcome.events,
        outcome.operations,
        outcome.acknowledged,
        outcome.hash
    ));
    for wrong in &outcome.wrong {
        say(format_args!("  WRONG {wrong}"));
    }
}

fn run_one(seed: u64, watch: Watch, history: Option<&PathBuf>) -> bool {
    let outcome = run(seed, watch);
    say_outcome(&outcome);
    for (fault, count) in &outcome.faults {
        say(format_args!("  {count:>6} {fault}"));
    }
    if let Some(path) = history {
        write_history(&outcome, path);
    }
    outcome.wrong.is_empty()
}

fn write_history(outcome: &Outcome, path: &PathBuf) {
    let header = esker_history::format::Header::default();
    let mut text = serde_json::to_string(&header).unwrap_or_default();
    for line in &outcome.history {
        text.push('\n');
        text.push_str(&serde_json::to_string(line).unwrap_or_default());
    }
    text.push('\n');
    if let Err(error) = std::fs::write(path, text) {
        say(format_args!(
            "history not written to {}: {error}",
            path.display()
        ));
    }
}

/// Figures of many seeds.
#[derive(Debug, Default, serde::Serialize)]
struct Figures {
    seeds: u64,
    simulated_hours: f64,
    simulated_seconds_per_wall_second: f64,
    events: u64,
    operations: u64,
    acknowledged_batches: u64,
    faults: BTreeMap<&'static str, u64>,
    faults_that_never_struck: Vec<&'static str>,
    failed_seeds: Vec<u64>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "how fast the simulation itself is"
)]
fn wall() -> std::time::Instant {
    std::time::Instant::now()
}

fn seeds(from: u64, count: u64, jobs: u64, json: Option<&PathBuf>) -> bool {
    let begun = wall();
    let mut figures = Figures::default();
    let mut simulated = Duration::ZERO;
    let outcomes = in_parallel(jobs, count, |number| {
        run(from.saturating_add(number), Watch::default())
    });
    for outcome in outcomes {
        figures.seeds += 1;
        simulated += outcome.simulated;
        figures.events += outcome.events;
        figures.operations += outcome.operations;
        figures.acknowledged_batches += outcome.acknowledged;
        for (fault, count) in &outcome.faults {
            *figures.faults.entry(fault).or_default() += count;
        }
        if !outcome.wrong.is_empty() {
            say_outcome(&outcome);
            figures.failed_seeds.push(outcome.seed);
        }
    }
    figures.simulated_hours = simulated.as_secs_f64() / 3600.0;
    figures.simulated_seconds_per_wall_second =
        simulated.as_secs_f64() / begun.elapsed().as_secs_f64().max(0.001);
    let store = StoreFault::ALL.iter().map(|fault| fault.name());
    let never = EXPECTED.into_iter().chain(store);
    figures.faults_that_never_struck = never
        .filter(|fault| !figures.faults.contains_key(fault))
        .collect();
    tell_figures(&figures, json);
    let all_struck = figures.faults_that_never_struck.is_empty() || count < SEEDS_FOR_ALL_FAULTS;
    figures.failed_seeds.is_empty() && all_struck
}

fn tell_figures(figures: &Figures, json: Option<&PathBuf>) {
    for (fault, count) in &figures.faults {
        say(format_args!("{count:>8} {fault}"));
    }
    say(format_args!(
        "{} seeds, {:.2} simulated hours, {:.0} simulated seconds per wall second, {} events, {} \
         operations checked, {} batches acknowledged, failed: {:?}, never struck: {:?}",
        figures.seeds,
        figures.simulated_hours,
        figures.simulated_seconds_per_wall_second,
        figures.events,
        figures.operations,
        figures.acknowledged_batches,
        figures.failed_seeds,
        figures.faults_that_never_struck
    ));
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(figures).unwrap_or_default();
        if let Err(error) = std::fs::write(path, text) {
            say(format_args!(
                "figures not written to {}: {error}",
                path.display()
            ));
        }
    }
}

fn twice(seed: u64) -> bool {
    let (one, other) = (run(seed, Watch::default()), run(seed, Watch::default()));
    let same = (one.hash, one.events) == (other.hash, other.events);
    say_outcome(&one);
    say_outcome(&other);
    say(format_args!(
        "{}",
        if same { "the same" } else { "NOT the same" }
    ));
    same
}
