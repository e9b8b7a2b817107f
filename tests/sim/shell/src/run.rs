//! One seed: start, load, faults, heal, liveness, the last reading, the verdict.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use esker_history::format::Line;
use futures::future::{Either, select};

use crate::client::{Client, Shared, Target};
use crate::clock::sleep;
use crate::director::Director;
use crate::recorder::Recorder;
use crate::world::World;

/// How a run is watched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// Events go to standard error.
    pub trace: bool,
    /// The history's lines are kept.
    pub history: bool,
}

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Hash over all events: the same seed gives the same.
    pub hash: u64,
    /// Events.
    pub events: u64,
    /// Virtual time.
    pub simulated: Duration,
    /// Operations that the checker saw.
    pub operations: u64,
    /// Batches acknowledged.
    pub acknowledged: u64,
    /// How often each fault struck.
    pub faults: BTreeMap<&'static str, u64>,
    /// What is wrong; empty when nothing is.
    pub wrong: Vec<String>,
    /// The history, when it was asked for.
    pub history: Vec<Line>,
}

/// Time from the heal to the first acknowledgement, and to everything acknowledged (P7, targets).
const LIVE_WITHIN: Duration = Duration::from_secs(60);

/// Time to make topics and to get producer ids, before any fault.
const SET_UP_WITHIN: Duration = Duration::from_secs(120);

/// Runs one seed to its end on a runtime of its own, in this thread.
#[must_use]
pub fn run(seed: u64, watch: Watch) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let Ok(runtime) = runtime else {
        unreachable!("a runtime without I/O needs nothing of the system");
    };
    let panics = crate::panics::Panics::watch();
    let world = {
        let _time = runtime.enter();
        World::new(seed, Recorder::new(watch.history), watch.trace)
    };
    let scenario = Scenario::new(Arc::clone(&world));
    let play = std::panic::AssertUnwindSafe(|| {
        runtime.block_on(async {
            Box::pin(scenario.play()).await;
            let at = world.elapsed();
            world.log().ended_at = at;
            // Nothing runs any more that could still say something.
            for slot in &world.pods {
                slot.kill();
            }
        });
    });
    // A panic is told by the hook.
    let _played = std::panic::catch_unwind(play);
    drop(runtime);
    outcome(seed, &world, panics.taken())
}

fn outcome(seed: u64, world: &World, panics: Vec<String>) -> Outcome {
    let (report, lines) = world.recorder().finish();
    let mut log = world.log();
    let mut operations = 0;
    match report {
        Ok(report) => {
            let figures = report.figures;
            operations = figures.ok + figures.fail + figures.info;
            if figures.doubled > 0 {
                // No client here sends a batch again that has no sequence.
                log.violation(format!(
                    "{} records were doubled by the product",
                    figures.doubled
                ));
            }
            if !report.clean {
                log.violation(format!("history: {report}"));
            }
        }
        Err(error) => log.violation(format!("history cannot be checked: {error}")),
    }
    for panic in panics {
        log.violation(format!("panic: {panic}"));
    }
    Outcome {
        seed,
        hash: log.hash(),
        events: log.events,
        simulated: log.ended_at,
        operations,
        acknowledged: world.recorder().acked,
        faults: std::mem::take(&mut log.faults),
        wrong: std::mem::take(&mut log.violations),
        history: lines.unwrap_or_default(),
    }
}

struct Scenario {
    world: Arc<World>,
    shared: Arc<Shared>,
    director: Director,
}

impl Scenario {
    fn new(world: Arc<World>) -> Self {
        let director = Director {
            rng: world.root.stream("director"),
            world: Arc::clone(&world),
        };
        Self {
            world,
            shared: Arc::default(),
            director,
        }
    }

    fn client(&self, name: &str) -> Client {
        Client {
            world: Arc::clone(&self.world),
            shared: Arc::clone(&self.shared),
            rng: self.world.root.stream(name),
        }
    }

    async fn play(&self) {
        let world = &self.world;
        for slot in &world.pods {
            world.start(slot.index);
        }
        world.spawn(self.director.clone().supervise());
        let Some(targets) = self.set_up().await else {
            world.violation("topics and producers were not to be had".to_owned());
            return;
        };
        self.director.direct().await;
        let acked = world.recorder().acked;
        self.director.heal();
        // Where nothing goes on there is nothing more to learn, at great length.
        if self.lives_on(acked).await {
            self.wind_down().await;
            self.read_everything(&targets).await;
        }
    }

    /// Topics and clients; `None` when they do not come into being although nothing is wrong yet.
    async fn set_up(&self) -> Option<Vec<Target>> {
        let set_up = async {
            let mut targets = Vec::new();
            for (number, partitions) in self.world.options.topics.iter().enumerate() {
                let client = self.client("topics");
                targets.extend(client.make_topic(number, *partitions).await);
            }
            self.load(&targets).await;
            targets
        };
        match select(Box::pin(set_up), sleep(SET_UP_WITHIN)).await {
            Either::Left((targets, _)) => Some(targets),
            Either::Right(((), _)) => None,
        }
    }

    /// Starts all clients.
    async fn load(&self, targets: &[Target]) {
        let (world, options) = (&self.world, &self.world.options);
        for number in 0..options.idempotent {
            let client = self.client(&format!("producer {number}"));
            let id = client.producer_id().await;
            for target in targets {
                let name = format!("producer {number} to {}", target.key);
                let lane = self.client(&name);
                world.spawn(lane.sequenced_lane(id, target.clone(), options.produce_gap));
            }
        }
        for number in 0..options.plain {
            let client = self.client(&format!("plain {number}"));
            world.spawn(client.plain(targets.to_vec(), options.produce_gap * 2));
        }
        for number in 0..options.consumers {
            let client = self.client(&format!("consumer {number}"));
            world.spawn(client.consume(targets.to_vec()));
        }
        world.spawn(self.client("latest").ask_latest(targets.to_vec()));
        for number in 0..options.members {
            let client = self.client(&format!("member {number}"));
            world.spawn(client.member(targets.to_vec()));
        }
        if let Some(first) = targets.first() {
            world.spawn(self.client("simple group").simple_group(first.clone()));
            world.spawn(self.client("candidates").ask_candidates(first.clone()));
        }
        world.spawn(self.client("passing topics").make_and_delete_topics());
        world.spawn(self.client("committed").ask_committed(targets.to_vec()));
    }

    /// Acknowledgements flow again soon after the heal.
    async fn lives_on(&self, acked: u64) -> bool {
        let begun = self.world.elapsed();
        while self.world.recorder().acked <= acked + 5 {
            if self.world.elapsed() - begun > LIVE_WITHIN {
                let states: Vec<_> = (0..self.world.pods.len())
                    .map(|pod| self.world.status_of(pod))
                    .collect();
                self.world
                    .violation(format!("no acknowledgement after the heal: {states:?}"));
                return false;
            }
            sleep(Duration::from_millis(100)).await;
        }
        sleep(Duration::from_secs(3)).await;
        true
    }

    /// Every batch that was begun is acknowledged.
    async fn wind_down(&self) {
        self.shared.is_winding_down.store(true, Ordering::Relaxed);
        let begun = self.world.elapsed();
        while self.shared.busy.load(Ordering::Relaxed) > 0 {
            if self.world.elapsed() - begun > LIVE_WITHIN {
                let busy = self.shared.busy.load(Ordering::Relaxed);
                self.world.violation(format!(
                    "{busy} producers wait for an acknowledgement after the heal"
                ));
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        self.shared.is_over.store(true, Ordering::Relaxed);
    }

    /// From every fetch pod, as it is; then all processes start anew and it is read again, so
    /// that nothing but the bucket can tell.
    async fn read_everything(&self, targets: &[Target]) {
        let world = &self.world;
        let client = self.client("last reading");
        for round in 0..2 {
            for slot in world.pods.iter().filter(|slot| slot.roles.fetch) {
                for target in targets {
                    let _ = client.read_whole(slot.index, target).await;
                }
            }
            if round == 0 {
                for slot in &world.pods {
                    slot.kill();
                }
                for slot in &world.pods {
                    if !slot.is_alive() {
                        world.start(slot.index);
                    }
                }
                sleep(Duration::from_secs(1)).await;
            }
        }
        for target in targets {
            client.note_whole(target);
        }
    }
}
