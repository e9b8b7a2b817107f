//! Runs one seed and says what came of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::fault::FAULTS;
use crate::options::RunOptions;
use crate::truth::Violation;
use crate::world::World;

/// Events of one run at most: beyond, something turns in a circle.
const EVENTS_MAX: u64 = 200_000_000;

/// What came of a seed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The rule that was broken first; `None` when all held.
    pub violation: Option<Violation>,
    /// Hash over all events: the same for the same seed.
    pub hash: u64,
    /// Simulated nanoseconds.
    pub simulated: u64,
    /// Clients of the seed, those that are left out too.
    pub clients: usize,
    /// Events carried out.
    pub events: u64,
    /// Operations of clients, checked.
    pub operations: u64,
    /// Batches acknowledged.
    pub acked: u64,
    /// Take-overs but the first.
    pub failovers: u64,
    /// Paused leaders that came back behind a successor.
    pub zombies: u64,
    /// Seals created.
    pub seals: u64,
    /// Segments created.
    pub segments: u64,
    /// Ranges of offsets that turned void.
    pub void_ranges: u64,
    /// Requests to the store.
    pub requests: u64,
    /// How often each fault struck.
    pub faults: [u64; FAULTS],
}

/// Runs a seed to its end, or to the first rule that breaks.
#[must_use]
pub fn run(options: &RunOptions) -> Outcome {
    let mut world = None;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let world = world.insert(World::new(options.clone()));
        if options.history.is_some() {
            world.history.lines = Some(Vec::new());
        }
        world.begin_faults();
        while world.truth.violation.is_none() && !world.is_over && world.step() {
            if world.figures.events > EVENTS_MAX {
                let what = "the run does not end".to_owned();
                world.truth.violate("events", what);
            }
        }
    }));
    let mut outcome = match &mut world {
        Some(world) => conclude(world, options),
        None => Outcome::default(),
    };
    outcome.seed = options.seed;
    if let Err(panic) = panicked {
        let what = crate::report::panic_text(panic.as_ref());
        let rule = what.split(':').next().unwrap_or("panic").to_owned();
        outcome.violation = Some(Violation { rule, what });
    }
    outcome
}

fn conclude(world: &mut World, options: &RunOptions) -> Outcome {
    let mut violation = world.truth.violation.clone();
    if let Some(broken) = world.history.broken.take() {
        let rule = "history".to_owned();
        violation.get_or_insert(Violation { rule, what: broken });
    }
    if let (Some(path), Some(lines)) = (&options.history, world.history.lines.take()) {
        crate::report::write_history(path, &lines);
    }
    let operations = world.history.operations();
    if let Some(report) = world.history.finish()
        && violation.is_none()
        && let Some(anomaly) = report.anomalies.first()
    {
        violation = Some(Violation {
            rule: format!("{:?}", anomaly.kind),
            what: format!("{anomaly:?}"),
        });
    }
    Outcome {
        seed: options.seed,
        violation,
        hash: world.hash(),
        simulated: world.now(),
        clients: world.settings.clients.len(),
        events: world.figures.events,
        operations,
        acked: world.figures.acked,
        failovers: world.figures.take_overs.saturating_sub(1),
        zombies: world.figures.zombies,
        seals: world.truth.seals,
        segments: world.truth.segments,
        void_ranges: world.figures.void_ranges,
        requests: world.store.requests,
        faults: world.faults.counts(),
    }
}
