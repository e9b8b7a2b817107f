//! Two pods, the real sequencer, idempotent clients that retry as Kafka's do, and faults of store,
//! calls and leaders: each record is in the log exactly once and in order (CP8, I11).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use esker_env::{Rng, Shutdown, TaskGroup};
use esker_ingest::{Ingest, IngestConfig};
use esker_kafka::{KafkaError, RequestContext};
use esker_object::{Fault, FaultRule, StoreErrorKind};
use futures::future::join_all;

use crate::core::CoreSequencer;
use crate::world::{CLUSTER, Stores, TestBatch, on_puts, read_chain, request, rows};

const RUNS: u64 = 60;
const BATCHES: i32 = 60;
const IN_FLIGHT: usize = 5;
/// Producers of each partition: two, and everything without a producer id.
const PARTITIONS: u32 = 2;

/// A producer's view of its own batches.
struct Client {
    producer: i64,
    partition: u32,
    rng: Rng,
    waiting: VecDeque<i32>,
    next: i32,
    acknowledged: BTreeMap<i32, i64>,
}

fn number(producer: i64, sequence: i32) -> i32 {
    i32::try_from(producer).unwrap() * 1000 + sequence
}

impl Client {
    fn new(producer: i64, partition: u32, rng: &Rng) -> Self {
        Self {
            producer,
            partition,
            rng: rng.stream(&format!("client {producer}")),
            waiting: VecDeque::new(),
            next: 0,
            acknowledged: BTreeMap::new(),
        }
    }

    /// Sends what is open, in order, to one pod; what fails is sent again in the next round.
    async fn round(&mut self, stores: &Stores, pod: &Ingest) {
        while self.waiting.len() < IN_FLIGHT && self.next < BATCHES {
            self.waiting.push_back(self.next);
            self.next += 1;
        }
        let mut answers = Vec::new();
        for sequence in &self.waiting {
            let batch = TestBatch {
                partition: self.partition,
                producer: Some(self.producer),
                number: number(self.producer, *sequence),
                sequence: *sequence,
            };
            let request = request(&[batch]).with_timeout_ms(4000);
            answers.push(pod.produce(context(stores), request).await);
        }
        let replies = join_all(answers).await;
        let mut is_first = true;
        for (sequence, reply) in std::mem::take(&mut self.waiting).into_iter().zip(replies) {
            let row = rows(reply).remove(0);
            let error = KafkaError::from_code(row.error_code).unwrap();
            if error == KafkaError::None {
                self.acknowledged.insert(sequence, row.base_offset);
                continue;
            }
            let is_gap_behind = error == KafkaError::OutOfOrderSequenceNumber && !is_first;
            assert!(
                is_gap_behind
                    || error.is_retriable() && error != KafkaError::OutOfOrderSequenceNumber,
                "producer {} sequence {sequence}: {error:?}",
                self.producer
            );
            is_first = false;
            self.waiting.push_back(sequence);
        }
    }

    async fn run(mut self, stores: &Stores, pods: &[Ingest]) -> Self {
        let mut pod = &pods[0];
        while self.acknowledged.len() < usize::try_from(BATCHES).unwrap() {
            if self.rng.below(5) == 0 {
                pod = &pods[usize::try_from(self.rng.below(2)).unwrap()];
            }
            self.round(stores, pod).await;
            let pause = Duration::from_millis(self.rng.below(200));
            stores.env.clock.sleep(pause).await;
        }
        self
    }
}

fn context(stores: &Stores) -> RequestContext {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    RequestContext {
        api_version: 9,
        correlation_id: 1,
        client_id: None,
        client_address: address,
        local_address: address,
        received: stores.env.clock.now(),
        connection_id: 1,
        is_software_named: true,
    }
}

/// Breaks something now and then for a minute, then heals everything.
async fn disturb(stores: &Stores, sequencer: &CoreSequencer, rng: Rng) {
    while stores.env.clock.now().since_start() < Duration::from_secs(60) {
        let fault = match rng.below(8) {
            0 => Fault::FailBefore(StoreErrorKind::Retry),
            1 => Fault::FailAfter(StoreErrorKind::Throttled),
            2 => Fault::HangBefore,
            3 => Fault::HangAfter,
            4 => Fault::FalseExists,
            // Rights are waited for, room is not.
            5 => Fault::Refuse(match rng.below(2) {
                0 => StoreErrorKind::Denied,
                _ => StoreErrorKind::Full,
            }),
            6 => Fault::SlowAfter(Duration::from_millis(rng.below(6000))),
            _ => Fault::Slow(Duration::from_millis(rng.below(6000))),
        };
        let times = 1 + rng.below(3);
        stores
            .faulty
            .add(on_puts(FaultRule::new(fault)).times(times));
        match rng.below(10) {
            0 => sequencer.take_over(),
            1 | 2 => sequencer.lose_calls(rng.below(40)),
            _ => {}
        }
        stores
            .env
            .clock
            .sleep(Duration::from_millis(rng.below(1500)))
            .await;
    }
    stores.faulty.heal();
    sequencer.lose_calls(0);
}

/// Adds up what happened in the pods, by the name and labels of the counter.
fn count(pods: &[Ingest], sums: &mut BTreeMap<String, u64>) {
    for pod in pods {
        for line in pod.metrics().render().lines() {
            if let Some((name, value)) = line.rsplit_once(' ')
                && let Ok(value) = value.parse::<u64>()
            {
                *sums.entry(name.to_owned()).or_default() += value;
            }
        }
    }
}

async fn run(seed: u64, sums: &mut BTreeMap<String, u64>) {
    let stores = Stores::new(seed);
    let rng = Rng::from_seed(seed).stream("exactly once");
    let sequencer = CoreSequencer::new(stores.chain.clone(), stores.env.clone(), CLUSTER);
    let (trigger, shutdown) = Shutdown::new();
    let (leader_trigger, leader_shutdown) = Shutdown::new();
    let mut tasks = TaskGroup::new("pods");
    tasks.spawn(Arc::clone(&sequencer).run(leader_shutdown));
    let config = IngestConfig {
        segment_batches_max: 4,
        ..IngestConfig::default()
    };
    let mut pods = Vec::new();
    for _ in 0..2 {
        let parts = stores.parts(sequencer.clone());
        let (pod, task) = Ingest::start(config, parts, shutdown.clone());
        pods.push(pod);
        tasks.spawn(async move { task.run().await.unwrap() });
    }
    let producers = (0..PARTITIONS).flat_map(|partition| [(partition, 0), (partition, 1)]);
    let clients = producers.map(|(partition, nth)| {
        let client = Client::new(i64::from(partition * 2 + nth) + 1, partition, &rng);
        client.run(&stores, &pods)
    });

    let (clients, ()) = futures::join!(
        join_all(clients),
        disturb(&stores, &sequencer, rng.stream("faults"))
    );
    trigger.request();
    tasks.join_next().await.unwrap().unwrap();
    tasks.join_next().await.unwrap().unwrap();
    leader_trigger.request();
    tasks.join_all().await.unwrap();
    count(&pods, sums);
    *sums.entry("take-overs".to_owned()).or_default() += sequencer.take_overs();
    check(&stores, &sequencer, clients, seed).await;
}

async fn check(stores: &Stores, sequencer: &CoreSequencer, clients: Vec<Client>, seed: u64) {
    let mut log = BTreeMap::new();
    for (session, end) in sequencer.sessions() {
        read_chain(&stores.memory, &stores.env, session, end, &mut log).await;
    }
    for client in clients {
        let mine = |number: i64| number / 1000 == client.producer;
        let found: Vec<(i64, i64)> = log
            .iter()
            .filter(|((partition, _), number)| *partition == client.partition && mine(**number))
            .map(|((_, offset), number)| (*offset, *number))
            .collect();
        let numbers: Vec<i64> = found.iter().map(|(_, number)| *number).collect();
        let expected = (0..BATCHES).map(|sequence| i64::from(number(client.producer, sequence)));
        assert!(
            numbers.iter().copied().eq(expected),
            "seed {seed}: {numbers:?}"
        );
        let offsets = found.iter().map(|(offset, _)| offset);
        assert!(
            offsets.eq(client.acknowledged.values()),
            "seed {seed}: offsets told"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn each_record_of_an_idempotent_producer_is_there_once_and_in_order() {
    let mut sums = BTreeMap::new();
    for seed in 0..RUNS {
        run(seed, &mut sums).await;
    }

    for must_happen in [
        "take-overs",
        "esker_ingest_duplicates_total",
        "esker_ingest_deferrals_total",
        "esker_ingest_sessions_lost_total{cause=\"sealed\"}",
        "esker_ingest_sessions_lost_total{cause=\"closed\"}",
        "esker_ingest_sessions_lost_total{cause=\"refused\"}",
        "esker_ingest_refusals_total{kind=\"indeterminate\"}",
        "esker_ingest_refusals_total{kind=\"refresh\"}",
    ] {
        assert!(
            sums.get(must_happen).is_some_and(|count| *count > 0),
            "{must_happen}: {sums:#?}"
        );
    }
}
