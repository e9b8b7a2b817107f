//! Two processes that share a bucket and hear nothing of each other; leaders that really end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use esker_env::{Clock, Env, Rng, TaskGroup};
use esker_journal::LeaderInfo;
use esker_metadata::{LeaderProbe, MetadataFailure, MetadataStatus};
use esker_metadata_api::Admin as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::world::{Process, World, create};

/// Answers like a network: who is cut off hears nothing, and that takes its time.
#[derive(Debug)]
struct Line {
    clock: Arc<dyn Clock>,
    /// Whether the leader is heard.
    is_open: AtomicBool,
    /// Until a look that hears nothing is given up.
    silence: Duration,
}

impl Line {
    fn new(world: &World, is_open: bool, silence: Duration) -> Arc<Self> {
        Arc::new(Self {
            clock: world.env.clock.clone(),
            is_open: AtomicBool::new(is_open),
            silence,
        })
    }
}

impl LeaderProbe for Line {
    fn is_alive<'a>(&'a self, _: &'a LeaderInfo) -> BoxFuture<'a, bool> {
        async {
            if self.is_open.load(Ordering::Relaxed) {
                return true;
            }
            self.clock.sleep(self.silence).await;
            false
        }
        .boxed()
    }
}

/// From the end of a process until its supervisor has another one running.
const RESTARTED_WITHIN: Duration = Duration::from_millis(300);

/// A pair of processes under supervision.
#[derive(Debug)]
struct Pair {
    world: World,
    line: Arc<Line>,
    /// Between two commands of whoever leads.
    pause: Duration,
    leaderships: AtomicU32,
    topics: AtomicU32,
}

impl Pair {
    /// Starts a process at `address` again and again, as a supervisor does.
    async fn supervise(self: Arc<Self>, address: &'static str) {
        let clock = &self.world.env.clock;
        loop {
            let process = self.world.spawn_at(address, self.line.clone());
            let Process { service, task, .. } = process;
            service.status_becomes(MetadataStatus::is_leading).await;
            self.leaderships.fetch_add(1, Ordering::Relaxed);
            let commands = async {
                while !service.status().is_final() {
                    let number = self.topics.fetch_add(1, Ordering::Relaxed);
                    let _topic = service.create_topic(create(&format!("t{number}"))).await;
                    clock.sleep(self.pause).await;
                }
                std::future::pending::<()>().await;
            };
            let ended = tokio::select! {
                ended = task => ended.unwrap(),
                () = commands => panic!("commands end with the process"),
            };
            let Err(MetadataFailure::Deposed { pause, .. }) = ended else {
                panic!("{ended:?}");
            };
            clock.sleep(pause + RESTARTED_WITHIN).await;
        }
    }
}

fn seeded(seed: u64) -> World {
    let world = World::new();
    let env = Env {
        rng: Rng::from_seed(seed),
        ..world.env.clone()
    };
    World { env, ..world }
}

#[tokio::test(start_paused = true)]
async fn two_that_hear_nothing_of_each_other_do_not_depose_one_another_all_the_time() {
    for (seed, silence, pause) in [(1, 0, 500), (2, 0, 1500), (3, 2000, 1500), (4, 0, 60_000)] {
        let world = seeded(seed);
        let pair = Arc::new(Pair {
            line: Line::new(&world, false, Duration::from_millis(silence)),
            world: world.clone(),
            pause: Duration::from_millis(pause),
            leaderships: AtomicU32::new(0),
            topics: AtomicU32::new(0),
        });
        let mut processes = TaskGroup::new("pair");
        for address in ["one:1", "two:1"] {
            processes.spawn(pair.clone().supervise(address));
        }
        world.env.clock.sleep(Duration::from_secs(30)).await;
        let before = pair.leaderships.load(Ordering::Relaxed);

        world.env.clock.sleep(Duration::from_secs(300)).await;

        let turns = pair.leaderships.load(Ordering::Relaxed) - before;
        assert!(
            turns <= 75,
            "{turns} in 5 minutes: {silence} ms, {pause} ms"
        );
        processes.abort_all();
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_not_heard_but_writes_is_not_deposed() {
    let world = seeded(3);
    let open = Line::new(&world, true, Duration::ZERO);
    let leader = world.spawn_at("one:1", open.clone());
    let is_leading = MetadataStatus::is_leading;
    leader.service.status_becomes(is_leading).await;
    let cut = Line::new(&world, false, Duration::ZERO);
    // One that heard the leader before, and one that never did.
    let warm = world.spawn_at("two:1", open.clone());
    let is_standby = |status: &MetadataStatus| matches!(status, MetadataStatus::Standby { .. });
    warm.service.status_becomes(is_standby).await;
    open.is_open.store(false, Ordering::Relaxed);
    let fresh = world.spawn_at("three:1", cut);

    for number in 0..300 {
        leader.topic(&format!("t{number}")).await;
        world.env.clock.sleep(Duration::from_millis(400)).await;
    }

    for standby in [&warm, &fresh] {
        let status = standby.service.status();
        assert!(is_standby(&status), "{status:?}");
    }
    assert!(leader.service.status().is_leading());
    let last = leader.service.create_topic(create("last")).await;
    assert!(last.is_ok());
}

/// From the end of the leader to the first answer of its successor.
async fn fail_over(seed: u64, silence: Duration) -> Duration {
    let world = seeded(seed);
    let line = Line::new(&world, true, silence);
    let leader = world.spawn_at("one:1", line.clone());
    let is_leading = MetadataStatus::is_leading;
    leader.service.status_becomes(is_leading).await;
    let standby = world.spawn_at("two:1", line.clone());
    for number in 0..world.env.rng.below(40) {
        leader.topic(&format!("t{number}")).await;
        let pause = Duration::from_millis(world.env.rng.below(900));
        world.env.clock.sleep(pause).await;
    }
    line.is_open.store(false, Ordering::Relaxed);
    leader.kill().await;
    let start = world.env.clock.now();
    standby.service.status_becomes(is_leading).await;
    standby.service.create_topic(create("next")).await.unwrap();
    let took = world.env.clock.now().since(start);
    standby.kill().await;
    took
}

#[tokio::test(start_paused = true)]
async fn a_standby_answers_within_ten_seconds_of_the_leaders_end() {
    // The address refuses, or does not answer at all.
    for silence in [Duration::ZERO, Duration::from_millis(1500)] {
        let mut times = Vec::new();
        for seed in 0..100 {
            times.push(fail_over(seed, silence).await);
        }
        times.sort_unstable();

        let worst = times[98];
        assert!(
            worst <= Duration::from_secs(10),
            "p99 {worst:?}, {silence:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_dies_while_the_deposed_one_waits_is_replaced_within_ten_seconds() {
    for seed in 0..100 {
        let world = seeded(seed);
        let line = Line::new(&world, false, Duration::ZERO);
        let is_leading = MetadataStatus::is_leading;
        let first = world.spawn_at("one:1", line.clone());
        first.service.status_becomes(is_leading).await;
        let second = world.spawn_at("two:1", line.clone());
        second.service.status_becomes(is_leading).await;
        let ended = first.task.await.unwrap();
        let Err(MetadataFailure::Deposed { pause, .. }) = ended else {
            panic!("{ended:?}");
        };
        second.kill().await;
        let start = world.env.clock.now();

        world.env.clock.sleep(pause + RESTARTED_WITHIN).await;
        let again = world.spawn_at("one:1", line.clone());
        again.service.status_becomes(is_leading).await;

        let took = world.env.clock.now().since(start);
        assert!(took <= Duration::from_secs(10), "{took:?}, seed {seed}");
        again.kill().await;
    }
}
