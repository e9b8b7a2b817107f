//! `esker-sim`: the step simulation. Exit code 1 when a rule broke, a fault never struck, a run was
//! not the same twice, a planted bug survived, or there was nothing to shrink.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use esker_env::{Clock as _, SystemClock};
use esker_sim::fault::Fault;
use esker_sim::report::{Sums, tell, tell_failure};
use esker_sim::{RunOptions, run};

/// Simulates the product's state machines under faults, from a seed.
#[derive(Debug, Parser)]
#[command(name = "esker-sim")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// One seed.
    Run {
        #[arg(long)]
        seed: u64,
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// A bug to plant.
        #[arg(long)]
        plant: Option<String>,
        /// Only these kinds of faults, as `shrink` names them; `none` for no kind.
        #[arg(long, value_delimiter = ',')]
        faults: Vec<String>,
        /// Clients that are left out, by number.
        #[arg(long, value_delimiter = ',')]
        silent: Vec<usize>,
        /// Prints each event.
        #[arg(long)]
        trace: bool,
        /// Writes the history there.
        #[arg(long)]
        history: Option<String>,
    },
    /// Many seeds.
    Seeds {
        #[arg(long, default_value_t = 1)]
        from: u64,
        #[arg(long, default_value_t = 100)]
        count: u64,
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        #[arg(long, default_value_t = 2)]
        jobs: u64,
        /// Writes the figures there.
        #[arg(long)]
        json: Option<String>,
    },
    /// One seed twice: the hashes over all events must be equal.
    Twice {
        #[arg(long)]
        seed: u64,
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
    /// Makes a failing seed smaller.
    Shrink {
        #[arg(long)]
        seed: u64,
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// A bug to plant.
        #[arg(long)]
        plant: Option<String>,
    },
    /// Every planted bug must be seen.
    Planted {
        /// Seeds behind the known one until a bug counts as surviving.
        #[arg(long, default_value_t = 400)]
        seeds: u64,
        #[arg(long, default_value_t = esker_sim::known_seeds::MINUTES)]
        minutes: u64,
        #[arg(long, default_value_t = 2)]
        jobs: u64,
        /// Only bugs whose name has this in it, those that the other simulation hunts too.
        #[arg(long)]
        only: Option<String>,
        /// Writes what showed each bug there.
        #[arg(long)]
        json: Option<String>,
    },
}

fn main() -> ExitCode {
    // Panics of the product are caught and told with their seed.
    std::panic::set_hook(Box::new(|_| {}));
    let good = match Arguments::parse().action {
        Action::Run {
            seed,
            minutes,
            plant,
            faults,
            silent,
            trace,
            history,
        } => {
            let mut options = RunOptions::of(seed, minutes);
            (options.silent, options.trace, options.history) = (silent, trace, history);
            is_known(&mut options, &faults) && one(&options, plant.as_deref())
        }
        Action::Seeds {
            from,
            count,
            minutes,
            jobs,
            json,
        } => seeds(from, count, minutes, jobs, json.as_deref()),
        Action::Twice { seed, minutes } => {
            let options = RunOptions::of(seed, minutes);
            let (first, second) = (run(&options), run(&options));
            tell(&format!("{:016x} {:016x}", first.hash, second.hash));
            first.hash == second.hash && first.events == second.events
        }
        Action::Shrink {
            seed,
            minutes,
            plant,
        } => shrink(&RunOptions::of(seed, minutes), plant.as_deref()),
        Action::Planted {
            seeds,
            minutes,
            jobs,
            only,
            json,
        } => {
            let files = HuntFiles { only, json };
            hunt_all(seeds, minutes, jobs, &files)
        }
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Leaves out all but the named faults, if any are named; whether all of them exist.
fn is_known(options: &mut RunOptions, faults: &[String]) -> bool {
    if faults.is_empty() || options.only(faults) {
        return true;
    }
    let labels: Vec<&str> = Fault::ALL.iter().map(|kind| kind.label()).collect();
    tell(&format!("{faults:?}: faults are none or of {labels:?}"));
    false
}

fn one(options: &RunOptions, bug: Option<&str>) -> bool {
    let Some(outcome) = with_bug(bug, || run(options)) else {
        return false;
    };
    tell(&format!(
        "seed {}: {} events, {} operations, hash {:016x}",
        outcome.seed, outcome.events, outcome.operations, outcome.hash
    ));
    tell_failure(&outcome);
    if outcome.violation.is_some() {
        tell(&format!("commit {}", commit()));
    }
    outcome.violation.is_none()
}

/// Of the tree that was built, as far as git can tell.
fn commit() -> String {
    let asked = std::process::Command::new("git")
        .args(["rev-parse", "HEAD"])
        .output();
    let told = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    told.unwrap_or_else(|_| "unknown".to_owned())
}

fn seeds(from: u64, count: u64, minutes: u64, jobs: u64, json: Option<&str>) -> bool {
    let clock = SystemClock::new();
    let outcomes = in_parallel(jobs, count, |number| {
        let outcome = run(&RunOptions::of(from + number, minutes));
        tell_failure(&outcome);
        outcome
    });
    let mut sums = Sums::default();
    for outcome in &outcomes {
        sums.add(outcome);
    }
    let wall = clock.now().since_start();
    sums.print(wall.as_secs_f64());
    if let Some(path) = json
        && let Err(error) = std::fs::write(path, format!("{:#}\n", sums.json(wall.as_secs_f64())))
    {
        tell(&format!("figures not written to {path}: {error}"));
    }
    let idle = sums.idle_faults();
    if !idle.is_empty() {
        tell(&format!("faults that never struck: {idle:?}"));
    }
    for failed in &sums.failed {
        tell_failure(failed);
    }
    if !sums.failed.is_empty() {
        tell(&format!("commit {}", commit()));
    }
    sums.failed.is_empty() && (idle.is_empty() || count < 20)
}

/// Runs numbers `0..count` on a few threads; results in order.
fn in_parallel<T: Send>(jobs: u64, count: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = std::sync::atomic::AtomicU64::new(0);
    let mut all: Vec<(u64, T)> = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
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

fn shrink(options: &RunOptions, bug: Option<&str>) -> bool {
    let shrunk = with_bug(bug, || {
        esker_sim::shrink::shrink(options, &mut |line| tell(line))
    });
    let Some(shrunk) = shrunk else {
        return false;
    };
    let Some((smallest, outcome)) = shrunk else {
        tell("the seed breaks nothing");
        return false;
    };
    tell_failure(&outcome);
    let plant = bug.map_or(String::new(), |bug| format!(" --plant {bug}"));
    tell(&format!("esker-sim run {}{plant}", smallest.arguments()));
    true
}

/// Runs with the bug of this name planted; `None` when it cannot be.
#[cfg(feature = "planted")]
fn with_bug<T>(name: Option<&str>, run: impl FnOnce() -> T) -> Option<T> {
    use esker_types::{Planted, plant};
    let of_name = |name| Planted::ALL.iter().find(|bug| bug.name() == name);
    let bug = name.and_then(of_name).copied();
    if let (Some(name), None) = (name, bug) {
        tell(&format!("there is no planted bug {name}"));
        return None;
    }
    plant(bug);
    let outcome = run();
    plant(None);
    Some(outcome)
}

#[cfg(not(feature = "planted"))]
fn with_bug<T>(name: Option<&str>, run: impl FnOnce() -> T) -> Option<T> {
    if name.is_some() {
        tell("built without the feature `planted`: nothing can be planted");
        return None;
    }
    Some(run())
}

/// Which bugs are hunted, and where the result goes.
struct HuntFiles {
    only: Option<String>,
    json: Option<String>,
}

#[cfg(not(feature = "planted"))]
fn hunt_all(_: u64, _: u64, _: u64, files: &HuntFiles) -> bool {
    let HuntFiles { only, json } = files;
    tell(&format!(
        "built without the feature `planted`: {only:?} is not hunted, {json:?} not written"
    ));
    false
}

#[cfg(feature = "planted")]
fn hunt_all(seeds: u64, minutes: u64, jobs: u64, files: &HuntFiles) -> bool {
    use esker_sim::planted::{Hunt, hunt, hunted};
    use esker_types::Planted;
    let bugs: Vec<Planted> = match &files.only {
        None => hunted(),
        Some(only) => {
            let all = Planted::ALL.iter().copied();
            all.filter(|bug| bug.name().contains(only)).collect()
        }
    };
    let count = u64::try_from(bugs.len()).unwrap_or(0);
    let hunts = in_parallel(jobs, count, |number| {
        let bug = bugs[usize::try_from(number).unwrap_or(0)];
        let hunt = hunt(bug, seeds, minutes);
        tell(&line_of(&hunt));
        hunt
    });
    let caught = hunts.iter().filter(|hunt| hunt.seed.is_some()).count();
    tell(&format!("{caught} of {} caught", hunts.len()));
    if files.only.is_none() {
        tell_others();
    }
    if let Some(path) = &files.json {
        let rows: Vec<_> = hunts.iter().map(Hunt::json).collect();
        let text = format!("{:#}\n", serde_json::json!({ "bugs": rows }));
        if let Err(error) = std::fs::write(path, text) {
            tell(&format!("result not written to {path}: {error}"));
        }
    }
    caught == hunts.len() && !hunts.is_empty()
}

#[cfg(feature = "planted")]
fn line_of(hunt: &esker_sim::planted::Hunt) -> String {
    let seed = hunt.seed.map_or(String::from("-"), |seed| seed.to_string());
    let stale = match hunt.is_known_stale() {
        true => " (not the known one)",
        false => "",
    };
    let broke = hunt.broke().unwrap_or("SURVIVED");
    let (name, says) = (hunt.bug.name(), hunt.bug.says());
    format!("{name:<24} seed {seed:>4}{stale}  {broke:<16} {says}")
}

/// Says who hunts the rest.
#[cfg(feature = "planted")]
fn tell_others() {
    use esker_types::{Hunter, Planted};
    let others = Planted::ALL
        .iter()
        .filter(|bug| bug.hunter() != Hunter::Step);
    for bug in others {
        tell(&format!("{:<24} {}", bug.name(), bug.hunter().command()));
    }
}
