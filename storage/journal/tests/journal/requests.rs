//! The bill: how many requests each thing costs, counted at the store (docs/journal.md, cost
//! table).

use std::sync::Arc;
use std::time::Duration;

use esker_env::{Env, Rng, Shutdown, ShutdownTrigger, SystemClock, TaskGroup};
use esker_journal::{
    Follower, JournalConfig, JournalEvent, JournalEvents, JournalState, JournalWriter, TakeOver,
};
use esker_object::{
    DurableBucket, DurableConfig, FaultyBucket, KeyClass, MemoryBucket, Operation, RequestOutcome,
};

use crate::world::{Numbers, command, open};

/// A leader over a dependable bucket over a counting one, as in production.
struct Site {
    counted: FaultyBucket,
    durable: Arc<DurableBucket>,
    env: Env,
}

struct Leader {
    state: Numbers,
    writer: JournalWriter,
    events: JournalEvents,
    stop: ShutdownTrigger,
    tasks: TaskGroup,
}

impl Site {
    fn new() -> Self {
        let env = Env {
            clock: Arc::new(SystemClock::new()),
            rng: Rng::from_seed(5),
        };
        let counted = FaultyBucket::new(Arc::new(MemoryBucket::new()), env.clone());
        let inner = Arc::new(counted.clone());
        let durable = DurableBucket::new(inner, DurableConfig::default(), env.clone());
        Self {
            counted,
            durable: Arc::new(durable),
            env,
        }
    }

    async fn standby(&self, config: JournalConfig) -> Follower<Numbers> {
        open(self.durable.clone(), &self.env, "pod", config)
            .await
            .unwrap()
    }

    async fn lead(&self, config: JournalConfig) -> Leader {
        let TakeOver::Won(won) = self.standby(config).await.take_over().await.unwrap() else {
            panic!("nobody else is here");
        };
        let (stop, shutdown) = Shutdown::new();
        let mut tasks = TaskGroup::new("leader");
        tasks.spawn(won.task.run(shutdown));
        Leader {
            state: won.state,
            writer: won.writer,
            events: won.events,
            stop,
            tasks,
        }
    }

    /// Requests by operation and class; all of them must be of these.
    fn counts(&self) -> Counts {
        let count = |operation, class| self.counted.count(operation, class);
        let counts = Counts {
            journal_puts: count(Operation::Put, KeyClass::Journal),
            journal_gets: count(Operation::Get, KeyClass::Journal),
            snapshot_puts: count(Operation::Put, KeyClass::Snapshot),
            snapshot_gets: count(Operation::Get, KeyClass::Snapshot),
            lists: count(Operation::List, KeyClass::Snapshot)
                + count(Operation::List, KeyClass::Journal)
                + count(Operation::List, KeyClass::Other),
            heads: count(Operation::Head, KeyClass::Journal),
            deletes: count(Operation::Delete, KeyClass::Journal)
                + count(Operation::Delete, KeyClass::Snapshot),
        };
        assert_eq!(counts.all(), self.counted.requests().len());
        counts
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    journal_puts: usize,
    journal_gets: usize,
    snapshot_puts: usize,
    snapshot_gets: usize,
    lists: usize,
    heads: usize,
    deletes: usize,
}

impl Counts {
    fn all(self) -> usize {
        self.journal_puts
            + self.journal_gets
            + self.snapshot_puts
            + self.snapshot_gets
            + self.lists
            + self.heads
            + self.deletes
    }

    fn since(self, before: Self) -> Self {
        Self {
            journal_puts: self.journal_puts - before.journal_puts,
            journal_gets: self.journal_gets - before.journal_gets,
            snapshot_puts: self.snapshot_puts - before.snapshot_puts,
            snapshot_gets: self.snapshot_gets - before.snapshot_gets,
            lists: self.lists - before.lists,
            heads: self.heads - before.heads,
            deletes: self.deletes - before.deletes,
        }
    }
}

impl Leader {
    /// Takes events until `count` commands are durable; hands in snapshots that are due.
    async fn durable(&mut self, count: usize) {
        while self.state.list.len() < count {
            match self.events.next().await.unwrap() {
                JournalEvent::Durable { command, .. } => self.state.apply(&command).unwrap(),
                JournalEvent::RollBegun { roll, snapshot_due } => {
                    if snapshot_due {
                        let parts = self.state.snapshot();
                        self.writer.snapshot(roll, parts).unwrap();
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    async fn stop(self) {
        self.stop.request();
        self.tasks.join_all().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_costs_one_put_a_group_and_nothing_else() {
    let site = Site::new();
    let mut leader = site.lead(JournalConfig::default()).await;
    let before = site.counts();

    for number in 0..1000 {
        leader.writer.append(command(number)).await.unwrap();
    }
    leader.durable(1000).await;

    let cost = site.counts().since(before);
    let wanted = Counts {
        journal_puts: 1,
        ..Counts::default()
    };
    assert_eq!(cost, wanted, "all within one linger share a put");
    leader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_start_costs_one_put_and_a_look_for_what_else_is_there() {
    let site = Site::new();

    let leader = site.lead(JournalConfig::default()).await;

    let wanted = Counts {
        journal_puts: 1,
        journal_gets: 2,
        lists: 3,
        ..Counts::default()
    };
    assert_eq!(site.counts(), wanted);
    leader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_warm_take_over_costs_two_puts_and_two_gets() {
    let site = Site::new();
    let mut old = site.lead(JournalConfig::default()).await;
    old.writer.append(command(1)).await.unwrap();
    old.durable(1).await;
    let standby = site.standby(JournalConfig::default()).await;
    old.stop().await;
    let before = site.counts();

    let outcome = standby.take_over().await.unwrap();

    assert!(matches!(outcome, TakeOver::Won(_)));
    let wanted = Counts {
        journal_puts: 2,
        journal_gets: 2,
        ..Counts::default()
    };
    assert_eq!(site.counts().since(before), wanted);
}

#[tokio::test(start_paused = true)]
async fn an_idle_leader_costs_nothing_and_a_standby_two_gets_a_look() {
    let site = Site::new();
    let mut leader = site.lead(JournalConfig::default()).await;
    leader.writer.append(command(1)).await.unwrap();
    leader.durable(1).await;
    let mut standby = site.standby(JournalConfig::default()).await;
    let before = site.counts();

    for _ in 0..60 {
        site.env.clock.sleep(Duration::from_secs(60)).await;
        standby.catch_up().await.unwrap();
    }

    let wanted = Counts {
        journal_gets: 120,
        ..Counts::default()
    };
    assert_eq!(site.counts().since(before), wanted, "an idle hour");
    leader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_roll_costs_two_puts_and_a_snapshot_its_parts_and_one_and_its_collection_a_list() {
    let site = Site::new();
    let config = JournalConfig {
        roll_entries_max: 8,
        snapshot_weight_min: 8 << 20,
        entry_weight_min: 1 << 20,
        ..JournalConfig::default()
    };
    let mut leader = site.lead(config).await;
    for number in 0..7 {
        leader.writer.append(command(number)).await.unwrap();
        leader.durable(usize::try_from(number).unwrap() + 1).await;
    }
    let before = site.counts();

    leader.writer.append(command(7)).await.unwrap();
    leader.durable(8).await;
    leader.writer.append(command(8)).await.unwrap();
    leader.durable(9).await;
    let rolled = site.counts().since(before);
    site.env.clock.sleep(Duration::from_secs(120)).await;
    let collected = site.counts().since(before).since(rolled);

    assert_eq!(rolled.journal_puts, 2 + 2, "two entries, seal and head");
    let snapshot_puts = rolled.snapshot_puts + collected.snapshot_puts;
    assert_eq!(snapshot_puts, 2 + 1, "two parts and their list");
    assert_eq!(collected.deletes, 8, "the entries of roll 0");
    assert_eq!((collected.lists, collected.heads), (1, 1));
    assert!(collected.journal_gets <= 3 && collected.snapshot_gets == 1);
    leader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cold_take_over_reads_the_snapshot_and_each_entry_behind_it_once() {
    let site = Site::new();
    let config = JournalConfig {
        roll_entries_max: 8,
        snapshot_weight_min: 8 << 20,
        entry_weight_min: 1 << 20,
        ..JournalConfig::default()
    };
    let mut leader = site.lead(config).await;
    for number in 0..11 {
        leader.writer.append(command(number)).await.unwrap();
        leader.durable(usize::try_from(number).unwrap() + 1).await;
    }
    site.env.clock.sleep(Duration::from_secs(120)).await;
    leader.stop().await;
    let before = site.counts();

    let standby = site.standby(config).await;

    let cost = site.counts().since(before);
    assert_eq!(standby.state().list.len(), 11);
    assert_eq!((cost.lists, cost.snapshot_gets), (1, 3), "list, two parts");
    // Head of the roll, verdict, three entries, and the missing place with what its window
    // overshot.
    assert!((6..=9).contains(&cost.journal_gets), "{cost:?}");
    assert_eq!(
        cost.all(),
        cost.lists + cost.snapshot_gets + cost.journal_gets
    );
}

#[tokio::test(start_paused = true)]
async fn the_meter_of_the_bucket_counts_the_same() {
    let site = Site::new();
    let mut leader = site.lead(JournalConfig::default()).await;
    leader.writer.append(command(1)).await.unwrap();
    leader.durable(1).await;
    leader.writer.epoch_check().await.unwrap();

    let rows = site.durable.meter().snapshot();

    let count = |operation, outcome| {
        let rows = rows.iter();
        let wanted = rows.filter(|row| {
            row.class == KeyClass::Journal && row.operation == operation && row.outcome == outcome
        });
        wanted.map(|row| row.count).sum::<u64>()
    };
    assert_eq!(count(Operation::Put, RequestOutcome::Ok), 2, "head, entry");
    let check = 1;
    let start = count(Operation::Get, RequestOutcome::Missing) - check;
    assert!(start <= 2, "looks for the first head: {start}");
    leader.stop().await;
}
