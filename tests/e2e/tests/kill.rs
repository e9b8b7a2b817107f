//! `kill -9` under load, again and again, on a directory and on S3: nothing acknowledged is lost,
//! nothing idempotent is doubled, every record stays where its producer was told.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::load::{
    Figures, ProducerKind, ProducerPlan, compare, follow, lasting_port, metric, produce, read_all,
    retried,
};
use esker_e2e::{StoreKind, TestStore, proved};
use esker_env::{Env, Rng, Shutdown};
use esker_kafka::client::{Client, NewTopic};
use esker_testkit::{EskerArguments, EskerProcess};
use futures::future::join_all;

const TOPIC: &str = "killed";
const PARTITIONS: i32 = 4;
const ROUNDS: u64 = 20;
/// A start after a kill may take so long, and the time of its walk, and of the race by which it
/// probes the store (on SeaweedFS 0 to 5 s: losers wait for its lock in steps of a second).
const START_WITHIN: Duration = Duration::from_secs(2);
/// Segments that a start walks at most: a checkpoint is due behind 256, looked for twice a second.
const WALKED_MAX: u64 = 640;

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told how long to run by the environment"
)]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One start after a kill.
#[derive(Clone, Copy, Debug)]
struct Start {
    ready_after: Duration,
    probe: Duration,
    walk: Duration,
    walked_segments: u64,
}

/// Time of the last start's probe of the store, from its log.
fn last_probe(process: &EskerProcess) -> anyhow::Result<Duration> {
    let log = std::fs::read_to_string(&process.log)?;
    let lines = log.lines().rev();
    let mut lines = lines.filter(|line| line.contains("store probe passed"));
    let line: serde_json::Value = serde_json::from_str(lines.next().context("a probe")?)?;
    Ok(Duration::from_millis(
        line["millis"].as_u64().context("its millis")?,
    ))
}

#[expect(clippy::as_conversions, reason = "a gauge is a small whole number")]
async fn start_of(process: &EskerProcess) -> anyhow::Result<Start> {
    let walk = metric(process.http, "esker_metadata_recovery_seconds").await?;
    let segments = metric(process.http, "esker_metadata_recovered_segments").await?;
    Ok(Start {
        ready_after: process.ready_after,
        probe: last_probe(process)?,
        walk: Duration::from_secs_f64(walk),
        walked_segments: segments as u64,
    })
}

fn producers(process: &EskerProcess, seed: u64) -> Vec<ProducerPlan> {
    let kinds = [
        ProducerKind::Idempotent,
        ProducerKind::Idempotent,
        ProducerKind::Idempotent,
        ProducerKind::Plain,
        ProducerKind::Plain,
    ];
    let plans = (1..).zip(kinds).map(|(producer, kind)| ProducerPlan {
        producer,
        kind,
        addresses: vec![process.kafka],
        topic: TOPIC.to_owned(),
        partitions: PARTITIONS,
        in_flight: 5,
        pause: Duration::from_millis(4),
        answer_within: Duration::from_secs(10),
        finish_within: Duration::from_secs(30),
        seed: seed ^ u64::from(producer),
    });
    plans.collect()
}

/// Kills and restarts; one kill in five strikes while the process starts.
async fn kill_rounds(
    process: &mut EskerProcess,
    arguments: &EskerArguments,
    rounds: u64,
    seed: u64,
) -> anyhow::Result<Vec<Start>> {
    let (env, rng) = (Env::system(), Rng::from_seed(seed));
    let mut starts = Vec::new();
    let mut round = 0;
    while round < rounds {
        let moment = Duration::from_millis(100 + rng.below(1100));
        env.clock.sleep(moment).await;
        process.kill9()?;
        round += 1;
        if rng.below(5) == 0 && round < rounds {
            *process = EskerProcess::spawn(arguments)?;
            env.clock.sleep(Duration::from_millis(rng.below(400))).await;
            process.kill9()?;
            round += 1;
        }
        *process = EskerProcess::start(arguments)
            .await
            .with_context(|| format!("start after kill {round}"))?;
        starts.push(start_of(process).await?);
    }
    Ok(starts)
}

/// Median and maximum of one figure of the starts.
fn spread(starts: &[Start], figure: impl Fn(&Start) -> Duration) -> String {
    let mut times: Vec<Duration> = starts.iter().map(figure).collect();
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    let last = times.last().copied().unwrap_or_default();
    format!("p50 {} ms max {} ms", middle.as_millis(), last.as_millis())
}

fn tell(kind: StoreKind, rounds: u64, figures: Figures, tailed: u64, starts: &[Start]) {
    let segments = starts
        .iter()
        .map(|start| start.walked_segments)
        .max()
        .unwrap_or_default();
    proved(&format!(
        "{kind:?}: {rounds} kills -9: {figures}; {tailed} records tailed alike; start after a kill \
         {}, of it the store's probe {}, the walk {} (up to {segments} segments)",
        spread(starts, |start| start.ready_after),
        spread(starts, |start| start.probe),
        spread(starts, |start| start.walk),
    ));
}

async fn survives_kills(kind: StoreKind) -> anyhow::Result<()> {
    let rounds = number("ESKER_KILL_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("ESKER_KILL_SEED").unwrap_or_else(|| Rng::from_os().u64());
    proved(&format!(
        "{kind:?}: ESKER_KILL_SEED={seed} ESKER_KILL_ROUNDS={rounds}"
    ));
    let store = TestStore::start(kind).await?;
    let arguments = EskerArguments {
        kafka_port: Some(lasting_port()?),
        http_port: Some(lasting_port()?),
        ..store.arguments()
    };
    let mut process = EskerProcess::start(&arguments).await?;
    let env = Env::system();
    let client = Client::connect(&process.kafka.to_string(), "e2e", env.clone()).await?;
    let topic = NewTopic {
        name: TOPIC,
        partitions: Some(PARTITIONS),
        replication_factor: None,
        configs: &[],
    };
    client.create_topic(&topic).await?;
    let (trigger, stop) = Shutdown::new();
    let plans = producers(&process, seed);
    let load = produce(&env, plans, &stop);
    let (trigger_tails, stop_tails) = Shutdown::new();
    let tails = (0..PARTITIONS).map(|at| follow(&client, (TOPIC, at), 0, &stop_tails));

    let kills = async {
        let starts = kill_rounds(&mut process, &arguments, rounds, seed).await;
        trigger.request();
        starts
    };
    let load_and_kills = async {
        let outcome = tokio::join!(load, kills);
        trigger_tails.request();
        outcome
    };
    let ((histories, starts), tails) = tokio::join!(load_and_kills, join_all(tails));
    let starts = starts?;
    let histories = histories?;
    let log = retried(Duration::from_secs(20), async || {
        read_all(&client, TOPIC, PARTITIONS).await
    })
    .await?;

    let figures = compare(&log, &histories).with_context(|| {
        let kept = store.path().join("esker.log");
        format!("seed {seed}, log of the server: {}", kept.display())
    })?;
    let mut tailed = 0;
    for tail in tails {
        tailed += tail?.agrees_with(&log)?;
    }
    tell(kind, rounds, figures, tailed, &starts);
    ensure!(
        figures.acknowledged > 50 * rounds,
        "hardly any load: {figures}"
    );
    for start in &starts {
        let allowed = START_WITHIN + start.walk + start.probe;
        ensure!(start.walked_segments <= WALKED_MAX, "{start:?}");
        ensure!(
            start.ready_after <= allowed,
            "{start:?} is slower than {allowed:?}"
        );
    }
    ensure!(
        process.stop().await?.success(),
        "it does not stop in order:\n{}",
        process.log_tail()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kills_on_a_directory() -> anyhow::Result<()> {
    survives_kills(StoreKind::Directory).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kills_on_minio() -> anyhow::Result<()> {
    survives_kills(StoreKind::Minio).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kills_on_seaweedfs() -> anyhow::Result<()> {
    survives_kills(StoreKind::Seaweed).await
}
