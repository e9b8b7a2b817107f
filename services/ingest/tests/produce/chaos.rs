//! Many seeded runs with faults everywhere: whatever was told is true of the log at the end.
//!
//! Acknowledged: there, once, at that offset (CP1, CP2, I1). Told as not written: not there (I24).
//! Unknown: there at most once. Acknowledged batches of a lane are in the order of sending (I12).

use std::collections::BTreeMap;
use std::time::Duration;

use esker_env::{Rng, TaskGroup};
use esker_ingest::IngestConfig;
use esker_kafka::KafkaError;
use esker_kafka::messages::produce_response::PartitionProduceResponse;
use esker_metadata_api::{MetadataError, ReserveError, Sequencer as _};
use esker_object::{Fault, FaultRule, StoreErrorKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::sequencer::Scripted;
use crate::world::{TestBatch, World, on_puts, world_seeded};

const RUNS: u64 = 200;
const STEPS: u64 = 80;

/// A batch that was sent, and its answer to come.
struct Sent {
    batch: TestBatch,
    answer: BoxFuture<'static, PartitionProduceResponse>,
}

struct Run {
    world: World,
    rng: Rng,
    sent: Vec<Sent>,
    /// Next sequence of the one producer of each partition, and its id.
    producers: BTreeMap<u32, (i64, i32)>,
    numbers: i32,
    ending: TaskGroup,
}

fn put_fault(rng: &Rng) -> Fault {
    let kind = match rng.below(2) {
        0 => StoreErrorKind::Retry,
        _ => StoreErrorKind::Throttled,
    };
    match rng.below(9) {
        0 => Fault::FailBefore(kind),
        1 => Fault::FailAfter(kind),
        2 => Fault::HangBefore,
        3 => Fault::HangAfter,
        4 => Fault::Conflict,
        5 => Fault::FalseExists,
        6 => Fault::Refuse(StoreErrorKind::Denied),
        7 => Fault::SlowAfter(Duration::from_millis(rng.below(15_000))),
        _ => Fault::Slow(Duration::from_millis(rng.below(15_000))),
    }
}

fn call_fault(rng: &Rng) -> Scripted {
    let error = ReserveError::Metadata(match rng.below(4) {
        0 => MetadataError::Unknown,
        1 => MetadataError::Deposed,
        2 => MetadataError::Unavailable,
        _ => MetadataError::Recovering,
    });
    match rng.below(5) {
        0 => Scripted::HangAfter,
        1 => Scripted::Before(ReserveError::OutOfTurn),
        2 => Scripted::Before(ReserveError::TooManyUndecided),
        3 => Scripted::After(ReserveError::Metadata(MetadataError::Unknown)),
        _ => Scripted::Before(error),
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let rng = Rng::from_seed(seed).stream("chaos");
        let config = IngestConfig {
            segment_batches_max: 1 + u32::try_from(rng.below(4)).unwrap(),
            uploads_max: 1 + usize::try_from(rng.below(8)).unwrap(),
            ..IngestConfig::default()
        };
        Self {
            world: world_seeded(config, seed),
            rng,
            sent: Vec::new(),
            producers: BTreeMap::new(),
            numbers: 0,
            ending: TaskGroup::new("ends"),
        }
    }

    async fn send(&mut self) {
        let partition = u32::try_from(self.rng.below(3)).unwrap();
        self.numbers += 1;
        let mut batch = TestBatch {
            partition,
            ..TestBatch::plain(self.numbers)
        };
        if self.rng.below(2) == 0 {
            let fresh = (1000 + i64::from(self.numbers), 0);
            let producer = self.producers.entry(partition).or_insert(fresh);
            // A client gives its producer up now and then, as after an error.
            if self.rng.below(12) == 0 {
                *producer = fresh;
            }
            batch.producer = Some(producer.0);
            batch.sequence = producer.1;
            producer.1 += 1;
        }
        let answer = self.world.send(batch).await;
        self.sent.push(Sent { batch, answer });
    }

    fn end_a_session(&mut self) {
        let sessions = self.world.sequencer.sessions();
        let Some(session) = sessions.last().copied() else {
            return;
        };
        let sequencer = self.world.sequencer.clone();
        self.ending.spawn(async move {
            let _ = sequencer.end_session(session).await;
        });
    }

    async fn step(&mut self) {
        match self.rng.below(20) {
            0 | 1 => {
                let rule = on_puts(FaultRule::new(put_fault(&self.rng)));
                self.world.faulty.add(rule.skip(self.rng.below(3)).times(1));
            }
            2 => self.world.sequencer.script([call_fault(&self.rng)]),
            3 => self
                .world
                .sequencer
                .fail_registrations([MetadataError::Unknown]),
            4 => self.end_a_session(),
            5 => self.world.sequencer.deaf(self.rng.below(2) == 0),
            6 => match self.rng.below(2) {
                0 => self.world.sequencer.hold_ends(),
                _ => self.world.sequencer.let_end(),
            },
            7 => self.world.sequencer.away(self.rng.below(4) == 0),
            8 | 9 => self.world.sleep(self.rng.below(4000)).await,
            10 | 11 => self.world.sleep(self.rng.below(200)).await,
            _ => self.send().await,
        }
    }

    /// Everything is well again; everything gets decided and answered.
    async fn settle(&mut self) {
        self.world.faulty.heal();
        self.world.sequencer.away(false);
        self.world.sequencer.deaf(false);
        self.world.sequencer.let_end();
        self.world.sleep(400_000).await;
        self.world.stop().await.unwrap();
        for session in self.world.sequencer.sessions() {
            self.world.sequencer.end_session(session).await.unwrap();
        }
    }

    async fn check(self, seed: u64) -> (usize, usize) {
        let log = self.world.log().await;
        let mut last_offsets = BTreeMap::new();
        let (mut acknowledged, mut unknown) = (0, 0);
        for Sent { batch, answer } in self.sent {
            let row = answer.now_or_never();
            let row = row.unwrap_or_else(|| panic!("seed {seed}: {batch:?} has no answer"));
            let number = i64::from(batch.number);
            let places: Vec<_> = log.iter().filter(|(_, found)| **found == number).collect();
            match KafkaError::from_code(row.error_code).unwrap() {
                KafkaError::None => {
                    acknowledged += 1;
                    let place = (batch.partition, row.base_offset);
                    assert_eq!(
                        places,
                        [(&place, &number)],
                        "seed {seed}: {batch:?} acknowledged"
                    );
                    let lane = (batch.partition, batch.producer);
                    let before = last_offsets.insert(lane, row.base_offset);
                    assert!(
                        before < Some(row.base_offset),
                        "seed {seed}: {batch:?} overtook"
                    );
                }
                KafkaError::RequestTimedOut => {
                    unknown += 1;
                    assert!(
                        places.len() <= 1,
                        "seed {seed}: {batch:?} is there {places:?}"
                    );
                }
                error => assert_eq!(places, [], "seed {seed}: {batch:?} was told {error:?}"),
            }
        }
        assert_eq!(self.world.metrics.buffer_bytes(), 0, "seed {seed}: I23");
        (acknowledged, unknown)
    }
}

async fn run(seed: u64) -> (usize, usize) {
    let mut run = Run::new(seed);
    for _ in 0..STEPS {
        run.step().await;
    }
    run.settle().await;
    run.check(seed).await
}

#[tokio::test(start_paused = true)]
async fn whatever_was_told_is_true_of_the_log_whatever_happens() {
    let (mut acknowledged, mut unknown) = (0, 0);
    for seed in 0..RUNS {
        let counts = run(seed).await;
        acknowledged += counts.0;
        unknown += counts.1;
    }

    assert!(
        acknowledged > 1000,
        "{acknowledged} acknowledged: the runs must mostly work"
    );
    assert!(unknown > 10, "{unknown} unknown: the faults must bite");
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_run() {
    for seed in 0..5 {
        assert_eq!(run(seed).await, run(seed).await);
    }
}
