//! Runs rows, some at once, and tells what they came to.
//!
//! Each run has a store, processes and ports of its own, and a thread that is its own.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_env::{Env, timeout};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::arguments::{Arguments, StoreName};
use crate::audit::Audit;
use crate::foreign;
use crate::outcome::{CannotRun, Outcome, Summary, TABLE_HEAD, Verdict, millis};
use crate::row::{ROWS, Row};
use crate::rows;
use crate::scene::{Checked, Opening, Scene};

/// A run that takes longer has failed.
const RUN_WITHIN: Duration = Duration::from_secs(240);

/// One run: a row on a store with a seed.
#[derive(Clone, Copy, Debug)]
struct Turn {
    row: &'static Row,
    store: StoreName,
    seed: u64,
}

/// Runs what was asked for; whether everything held.
///
/// # Errors
/// Nothing is to be run, or the results cannot be written.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let mut out = std::io::stdout();
    if arguments.list {
        for row in ROWS {
            let stores: Vec<&str> = row.stores.iter().map(|store| store.label()).collect();
            writeln!(
                out,
                "{:>3}  {:<36} {}",
                row.number,
                row.name,
                stores.join(" ")
            )?;
        }
        return Ok(true);
    }
    let clock = Env::system().clock;
    let start = clock.now();
    let first = turns(arguments, arguments.seed);
    ensure!(!first.is_empty(), "no row is left: see --list");
    let is_missing = arguments.librdkafka && foreign::python().is_none();
    ensure!(!is_missing, "no librdkafka: run .ci/bootstrap compat");
    writeln!(out, "{TABLE_HEAD}")?;
    let mut summary = Summary::default();
    let mut seed = arguments.seed;
    let is_over = || {
        let budget = arguments.budget();
        budget.is_some_and(|budget| clock.now().since(start) >= budget)
    };
    loop {
        let mut waiting = turns(arguments, seed).into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < arguments.jobs()
                && !(is_over() && seed > arguments.seed)
                && let Some(turn) = waiting.next()
            {
                running.push(on_own_thread(arguments.clone(), turn));
            }
            let Some(ended) = running.next().await else {
                break;
            };
            let outcome = ended.context("a run panicked")?;
            writeln!(out, "{outcome}")?;
            summary.results.push(outcome);
            write_json(arguments, &summary)?;
        }
        seed += 1;
        let is_done = match arguments.budget() {
            Some(_) => is_over(),
            None => seed >= arguments.seed + arguments.repeat,
        };
        if is_done {
            break;
        }
    }
    writeln!(out, "{summary}")?;
    Ok(summary.count(Verdict::Failed) == 0)
}

/// The clients of a run are futures of one thread.
fn on_own_thread(arguments: Arguments, turn: Turn) -> JoinHandle<Outcome> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(run_one(&arguments, turn)))
}

fn turns(arguments: &Arguments, seed: u64) -> Vec<Turn> {
    let rows = ROWS.iter().filter(|row| {
        let is_named = arguments.rows.is_empty() || arguments.rows.contains(&row.number);
        is_named && (!arguments.short || row.short.is_some())
    });
    let all = rows.flat_map(|row| {
        let of_short = row.short.filter(|_| arguments.short);
        let stores: Vec<StoreName> = match of_short {
            Some(store) => vec![store],
            None => row.stores.to_vec(),
        };
        stores
            .into_iter()
            .map(move |store| Turn { row, store, seed })
    });
    let is_asked = |store| arguments.stores.is_empty() || arguments.stores.contains(&store);
    all.filter(|turn| is_asked(turn.store)).collect()
}

fn write_json(arguments: &Arguments, summary: &Summary) -> anyhow::Result<()> {
    let Some(path) = &arguments.json else {
        return Ok(());
    };
    let text = serde_json::to_string_pretty(&summary.document())?;
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

async fn run_one(arguments: &Arguments, turn: Turn) -> Outcome {
    let clock = Env::system().clock;
    let start = clock.now();
    let mut outcome = Outcome {
        row: turn.row.number,
        name: turn.row.name,
        store: turn.store.label(),
        seed: turn.seed,
        verdict: Verdict::Passed,
        why: None,
        operations: 0,
        acknowledged: 0,
        read: 0,
        struck: 0,
        recovery_millis: None,
        audit: Audit::NotDue,
        facts: Vec::new(),
        seconds: 0.0,
    };
    let opening = Opening {
        kind: turn.store.kind(),
        seed: turn.seed,
        is_long: arguments.minutes.is_some(),
        is_open_store: turn.row.is_open_store,
        librdkafka: arguments.librdkafka,
    };
    let ended = match Box::pin(Scene::open(opening)).await {
        Ok(mut scene) => {
            let acts = Box::pin(act(&mut scene, turn));
            let ended = match timeout(clock.as_ref(), RUN_WITHIN, acts).await {
                Ok(ended) => ended,
                Err(elapsed) => Err(elapsed.into()),
            };
            fill(&mut outcome, &mut scene);
            if ended.as_ref().is_err_and(|error| !error.is::<CannotRun>()) {
                let kept = keep(arguments, &scene, turn);
                outcome.facts.push(kept);
            }
            ended
        }
        Err(error) => Err(error),
    };
    match ended {
        Ok(checked) => {
            outcome.acknowledged = checked.report.figures.acknowledged;
            outcome.read = checked.report.figures.read;
            outcome.audit = checked.audit;
        }
        Err(error) => {
            let is_skip = error.is::<CannotRun>();
            outcome.verdict = if is_skip {
                Verdict::Skipped
            } else {
                Verdict::Failed
            };
            outcome.why = Some(format!("{error:#}"));
        }
    }
    outcome.seconds = clock.now().since(start).as_secs_f64();
    outcome
}

async fn act(scene: &mut Scene, turn: Turn) -> anyhow::Result<Checked> {
    rows::act(turn.row.number, scene).await?;
    if turn.row.strikes {
        ensure!(scene.struck() > 0, "no request was struck");
    }
    scene.finish().await
}

fn fill(outcome: &mut Outcome, scene: &mut Scene) {
    outcome.operations = scene.recorder.counts().operations;
    outcome.struck = scene.struck();
    let (recoveries, _) = scene.recorder.recoveries();
    outcome.recovery_millis = recoveries.iter().max().copied().map(millis);
    outcome.facts = std::mem::take(&mut scene.facts);
}

/// Where the run's history and logs lie.
fn keep(arguments: &Arguments, scene: &Scene, turn: Turn) -> String {
    let root: PathBuf = match &arguments.keep {
        Some(root) => root.clone(),
        None => std::env::temp_dir().join("esker-faults"),
    };
    let name = format!(
        "row{}-{}-{}",
        turn.row.number,
        turn.store.label(),
        turn.seed
    );
    let directory = root.join(name);
    match scene.keep(&directory) {
        Ok(()) => format!("kept in {}", directory.display()),
        Err(error) => format!("nothing could be kept: {error:#}"),
    }
}
