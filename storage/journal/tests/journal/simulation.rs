//! Several processes over one bucket, each with faults of its own: they append, hang, are deposed,
//! take over, roll, snapshot and collect, from a seed. Checked after every step: every command told
//! as durable is in the state of every later leader, once and in order, and nothing else is below
//! it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use esker_env::{Env, RetryPolicy, Rng, Shutdown, SystemClock, TaskGroup};
use esker_journal::{
    EpochCheckError, Follower, JournalConfig, JournalEvent, JournalState, JournalWriter,
    Leadership, TakeOver,
};
use esker_object::{
    Bucket, DurableBucket, DurableConfig, Fault, FaultRule, FaultyBucket, KeyClass, ObjectKey,
    Operation, StoreErrorKind,
};
use esker_types::MonotonicTime;

use crate::world::{Numbers, Watched, command, open};

const SEEDS: u64 = 24;
const PROCESSES: u64 = 3;
const RUN: Duration = Duration::from_secs(90);

fn config() -> JournalConfig {
    JournalConfig {
        in_flight_max: 3,
        roll_entries_max: 6,
        // By count: a snapshot is due after nine entries, so not in every roll.
        snapshot_weight_min: 9 << 20,
        entry_weight_min: 1 << 20,
        collection_grace: Duration::from_millis(300),
        drain_timeout: Duration::from_secs(2),
        ..JournalConfig::default()
    }
}

fn store_config() -> DurableConfig {
    DurableConfig {
        attempt_timeout: Duration::from_secs(1),
        operation_timeout: Duration::from_secs(4),
        retry: RetryPolicy {
            delay_first: Duration::from_millis(20),
            delay_max: Duration::from_millis(500),
            tries_max: 4,
        },
        ..DurableConfig::default()
    }
}

/// What the world may hold against the journal.
#[derive(Debug, Default)]
struct Oracle {
    /// Every command told as durable, by anyone, in order.
    truth: Vec<u64>,
    /// States seen by readers; each must be the beginning of the last one.
    seen: Vec<Vec<u64>>,
    next_command: u64,
    epochs: BTreeSet<u64>,
    epoch_won: u64,
    counts: Happened,
}

/// A run in which one of these never happened proves little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Happened {
    won: u64,
    won_late: u64,
    lost: u64,
    deposed: u64,
    crashed: u64,
    snapshots: u64,
    checks: u64,
    checks_refused: u64,
    durable: u64,
}

impl Oracle {
    /// A leader says that its state, to its last command, is durable.
    fn told(&mut self, state: &[u64]) {
        self.counts.durable += 1;
        let known = self.truth.len().min(state.len());
        assert_eq!(
            state[..known],
            self.truth[..known],
            "durable commands stand in one order"
        );
        if state.len() > known {
            assert_eq!(
                state.len(),
                known + 1,
                "durable commands are told one by one"
            );
            self.truth.extend(&state[known..]);
        }
    }

    /// A leader begins with this state.
    fn begins(&mut self, state: &[u64], epoch: u64) {
        self.counts.won += 1;
        assert!(self.epochs.insert(epoch), "each epoch has one leader");
        let once: BTreeSet<&u64> = state.iter().collect();
        assert_eq!(once.len(), state.len(), "each command is there once");
        if epoch < self.epoch_won {
            // It hears late that it has won, and is deposed already without knowing it.
            self.counts.won_late += 1;
            assert!(self.truth.starts_with(state), "it was whole when it won");
            return;
        }
        self.epoch_won = epoch;
        assert!(
            state.starts_with(&self.truth),
            "a leader begins with all that was told: {:?} of {:?}",
            state,
            self.truth
        );
        // What no one was told of before was durable all the same.
        self.truth = state.to_vec();
    }
}

type SharedOracle = Arc<Mutex<Oracle>>;

fn lock(oracle: &SharedOracle) -> MutexGuard<'_, Oracle> {
    oracle.lock().unwrap()
}

/// One pod: it follows, challenges, leads, and begins again.
struct Process {
    name: String,
    env: Env,
    faulty: FaultyBucket,
    oracle: SharedOracle,
    end: MonotonicTime,
}

impl Process {
    fn is_over(&self) -> bool {
        self.env.clock.now() >= self.end
    }

    async fn pause(&self, ms_max: u64) {
        let wait = Duration::from_millis(1 + self.env.rng.below(ms_max));
        self.env.clock.sleep(wait).await;
    }

    async fn run(self) {
        while !self.is_over() {
            let inner = Arc::new(self.faulty.clone());
            let bucket = DurableBucket::new(inner, store_config(), self.env.clone());
            let opened = open(Arc::new(bucket), &self.env, &self.name, config()).await;
            match opened {
                Ok(follower) => self.follow(follower).await,
                Err(error) => assert!(error.is_passing(), "{error:?}"),
            }
            self.pause(500).await;
        }
    }

    async fn follow(&self, mut follower: Follower<Numbers>) {
        // Some are sleepy: their state gets old, and what they stand on is collected.
        let sleepiness = if self.env.rng.below(3) == 0 {
            15_000
        } else {
            2_000
        };
        while !self.is_over() {
            self.pause(sleepiness).await;
            if self.env.rng.below(3) > 0 {
                if let Err(error) = follower.catch_up().await {
                    assert!(error.is_passing(), "{error:?}");
                }
                let seen = follower.state().list.clone();
                lock(&self.oracle).seen.push(seen);
                continue;
            }
            match follower.take_over().await {
                Ok(TakeOver::Won(leadership)) => return self.lead(leadership).await,
                Ok(TakeOver::Lost(loser)) => {
                    lock(&self.oracle).counts.lost += 1;
                    follower = loser;
                }
                Err(error) => {
                    assert!(matches!(
                        error,
                        esker_journal::TakeOverError::Replay(replay) if replay.is_passing()
                    ));
                    return;
                }
            }
        }
    }

    async fn lead(&self, leadership: Leadership<Numbers>) {
        let epoch = leadership.epoch.get();
        lock(&self.oracle).begins(&leadership.state.list, epoch);
        let (stop, shutdown) = Shutdown::new();
        let mut tasks = TaskGroup::new("leader");
        tasks.spawn(leadership.task.run(shutdown.clone()));
        let load = Load {
            writer: leadership.writer.clone(),
            env: self.env.clone(),
            oracle: self.oracle.clone(),
            epoch,
        };
        tasks.spawn(load.run(shutdown));
        let mut state = leadership.state;
        let mut events = leadership.events;
        let reign = Duration::from_millis(self.env.rng.below(20_000));
        let mut resign = self.env.clock.sleep(reign);
        let crashes = self.env.rng.below(2) == 0;
        loop {
            let event = tokio::select! {
                biased;
                event = events.next() => event,
                () = &mut resign => {
                    if crashes {
                        lock(&self.oracle).counts.crashed += 1;
                        return; // the tasks are aborted wherever they stand
                    }
                    stop.request();
                    resign = Box::pin(std::future::pending());
                    continue;
                }
            };
            match event {
                Some(JournalEvent::Durable { command, .. }) => {
                    state.apply(&command).unwrap();
                    lock(&self.oracle).told(&state.list);
                }
                Some(JournalEvent::RollBegun { roll, snapshot_due }) => {
                    if snapshot_due && self.env.rng.below(5) > 0 {
                        lock(&self.oracle).counts.snapshots += 1;
                        let _ = leadership.writer.snapshot(roll, state.snapshot());
                    }
                }
                Some(JournalEvent::Deposed { .. }) => lock(&self.oracle).counts.deposed += 1,
                Some(JournalEvent::Failed { reason }) => panic!("{reason:?}"),
                None => break,
            }
        }
        stop.request();
        tasks.join_all().await.unwrap();
    }
}

/// Appends and asks, as long as the leadership lasts.
struct Load {
    writer: JournalWriter,
    env: Env,
    oracle: SharedOracle,
    epoch: u64,
}

impl Load {
    async fn run(self, shutdown: Shutdown) {
        while !shutdown.is_requested() {
            let wait = Duration::from_millis(self.env.rng.below(120));
            self.env.clock.sleep(wait).await;
            for _ in 0..self.env.rng.below(4) {
                let number = {
                    let mut oracle = lock(&self.oracle);
                    oracle.next_command += 1;
                    oracle.next_command
                };
                if self.writer.append(command(number)).await.is_err() {
                    return;
                }
            }
            if self.env.rng.below(4) == 0 {
                let led_then = lock(&self.oracle).epoch_won;
                let told = self.writer.epoch_check().await;
                let mut oracle = lock(&self.oracle);
                oracle.counts.checks += 1;
                match told {
                    Ok(()) => assert!(
                        led_then <= self.epoch,
                        "J8: somebody led already when the question came"
                    ),
                    Err(EpochCheckError::Deposed | EpochCheckError::Closed) => {
                        oracle.counts.checks_refused += 1;
                    }
                }
            }
        }
    }
}

const FAULTS: [Fault; 10] = [
    Fault::FailBefore(StoreErrorKind::Retry),
    Fault::FailAfter(StoreErrorKind::Retry),
    Fault::Refuse(StoreErrorKind::Throttled),
    Fault::HangBefore,
    Fault::HangAfter,
    Fault::Hold,
    Fault::Slow(Duration::from_millis(700)),
    Fault::SlowAfter(Duration::from_millis(700)),
    Fault::Conflict,
    Fault::FalseExists,
];

/// Changes the weather of one process's store now and then.
async fn weather(env: Env, faulty: FaultyBucket, end: MonotonicTime) {
    let rng = &env.rng;
    while env.clock.now() < end {
        let wait = Duration::from_millis(50 + rng.below(1500));
        env.clock.sleep(wait).await;
        match rng.below(12) {
            0..=3 => faulty.heal(),
            4 => drop(faulty.release_held().await),
            // One bit, once: an object that is read wrong three times is damaged.
            5 => {
                faulty.heal();
                let flip = FaultRule::new(Fault::Flip).on(Operation::Get);
                faulty.add(flip.skip(rng.below(4)).times(1));
            }
            6 => {
                // Cut off for a while: a zombie.
                faulty.add(FaultRule::new(Fault::HangBefore));
                env.clock
                    .sleep(Duration::from_millis(rng.below(6000)))
                    .await;
                faulty.heal();
            }
            _ => {
                let fault = FAULTS[usize::try_from(rng.below(10)).unwrap()].clone();
                let mut rule = FaultRule::new(fault)
                    .skip(rng.below(4))
                    .times(1 + rng.below(6));
                if rng.below(3) == 0 {
                    rule = rule.on(Operation::Put);
                }
                if rng.below(3) == 0 {
                    rule = rule.class(KeyClass::Snapshot);
                }
                faulty.add(rule);
            }
        }
    }
    faulty.heal();
    drop(faulty.release_held().await);
}

struct Outcome {
    requests: Vec<(Operation, ObjectKey)>,
    counts: Happened,
    struck: u64,
}

fn simulate(seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(run(seed))
}

async fn run(seed: u64) -> Outcome {
    let clock = Arc::new(SystemClock::new());
    let root = Rng::from_seed(seed);
    let env = |name: &str| Env {
        clock: clock.clone(),
        rng: root.stream(name),
    };
    let watched = Watched::new();
    // Latency comes first, so that requests of different processes cross.
    let oracle = SharedOracle::default();
    let end = env("end").clock.now().after(RUN);
    let mut tasks = TaskGroup::new("simulation");
    let mut stores = Vec::new();
    for number in 0..PROCESSES {
        let name = format!("pod-{number}");
        let slow = FaultyBucket::new(Arc::new(watched.clone()), env(&format!("{name} latency")));
        let millis = 3 + root.stream(&name).below(20);
        slow.add(FaultRule::new(Fault::Slow(Duration::from_millis(millis))));
        let faulty = FaultyBucket::new(Arc::new(slow), env(&format!("{name} store")));
        stores.push(faulty.clone());
        let weather_env = env(&format!("{name} weather"));
        tasks.spawn(weather(weather_env, faulty.clone(), end));
        let process = Process {
            env: env(&format!("{name} process")),
            oracle: oracle.clone(),
            name,
            faulty,
            end,
        };
        tasks.spawn(process.run());
    }
    tasks.join_all().await.unwrap();
    check_the_end(&watched, &env("end"), &oracle).await;
    let counts = lock(&oracle).counts;
    Outcome {
        requests: stores.iter().flat_map(FaultyBucket::requests).collect(),
        counts,
        struck: stores.iter().map(FaultyBucket::struck).sum(),
    }
}

/// All is quiet and well: whoever comes now finds everything, by any way of reading.
async fn check_the_end(watched: &Watched, env: &Env, oracle: &SharedOracle) {
    let plain: Arc<dyn Bucket> = Arc::new(watched.clone());
    let cold = open(plain.clone(), env, "cold", config()).await.unwrap();
    let blind = FaultyBucket::new(plain.clone(), env.clone());
    let no_listing = FaultRule::new(Fault::Missing).on(Operation::List);
    blind.add(no_listing);
    let climber = open(Arc::new(blind), env, "climber", config())
        .await
        .unwrap();
    let last = cold.state().clone();
    assert_eq!(last, *climber.state(), "a listing is a hint only");
    let TakeOver::Won(leadership) = cold.take_over().await.unwrap() else {
        panic!("nobody else is here");
    };
    let mut oracle = lock(oracle);
    oracle.begins(&leadership.state.list, leadership.epoch.get());
    for seen in &oracle.seen {
        assert!(
            last.list.starts_with(seen),
            "readers saw what became durable"
        );
    }
    let lost = watched.lost_for_ever.lock().unwrap();
    assert!(lost.is_empty(), "J4: seals and places 0 stay: {lost:?}");
}

#[test]
fn whatever_happens_durable_commands_stay_once_and_in_order() {
    let mut all = Happened::default();
    let mut struck = 0;
    for seed in 0..SEEDS {
        let outcome = simulate(seed);
        let counts = outcome.counts;
        all.won += counts.won;
        all.won_late += counts.won_late;
        all.lost += counts.lost;
        all.deposed += counts.deposed;
        all.crashed += counts.crashed;
        all.snapshots += counts.snapshots;
        all.checks += counts.checks;
        all.checks_refused += counts.checks_refused;
        all.durable += counts.durable;
        struck += outcome.struck;
    }

    println!("{all:?} struck {struck}");
    assert!(struck > 1000, "the weather was bad");
    assert!(all.won > 5 * SEEDS && all.durable > 500 * SEEDS, "{all:?}");
    assert!(all.deposed > SEEDS && all.crashed > SEEDS, "{all:?}");
    assert!(all.snapshots > SEEDS && all.lost > 0, "{all:?}");
    assert!(all.checks > 20 * SEEDS && all.checks_refused > 0, "{all:?}");
}

#[test]
fn the_same_seed_makes_the_same_requests() {
    let (first, second) = (simulate(7), simulate(7));

    assert_eq!(first.counts, second.counts);
    assert_eq!(first.requests, second.requests);
    assert_ne!(first.requests, simulate(8).requests);
}
