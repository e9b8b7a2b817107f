//! What each thing costs in requests to the store, counted by the proxy in front of it. The figures
//! stand in docs/requests.md; a test here fails when one of them grows.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use esker_e2e::load::{
    Connection, PRODUCE_VERSION, batch_of, follow, metric, padded, produce_request, read_all,
};
use esker_e2e::{StoreKind, TestStore, proved};
use esker_env::{Env, Shutdown};
use esker_kafka::client::{Client, NewTopic};
use esker_kafka::messages::{ApiKey, ProduceResponse};
use esker_object::KeyClass;
use esker_record::Compression;
use esker_testkit::{EskerArguments, EskerProcess, ShaperHandle, ShaperReport};

const TOPIC: &str = "counted";
const PRODUCE: (ApiKey, i16) = (ApiKey::Produce, PRODUCE_VERSION);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// After load, or after a start: checkpoints are written.
const IDLE_SETTLED: Duration = Duration::from_secs(8);
const IDLE_MEASURED: Duration = Duration::from_secs(30);
/// Segments that no checkpoint holds when the process is killed.
const SEGMENTS: u64 = 40;
/// Places behind the last segment that a walk may look at in vain.
const WALK_AHEAD: u64 = 16;

/// A checkpoint is due behind so many.
const CHECKPOINT_SEGMENTS: u64 = 256;

/// Non-probe requests of a start: operation, class, count.
type Cost = &'static [(&'static str, KeyClass, u64)];
const START_EMPTY: Cost = &[
    ("get", KeyClass::Cluster, 1),
    ("put", KeyClass::Cluster, 1),
    ("list", KeyClass::Other, 2),
    ("list", KeyClass::Snapshot, 1),
    ("get", KeyClass::Journal, 2),
    ("put", KeyClass::Journal, 1),
];
const START_KILLED: Cost = &[
    ("get", KeyClass::Cluster, 1),
    ("list", KeyClass::Snapshot, 1),
    ("get", KeyClass::Journal, 9),
    ("put", KeyClass::Journal, 3),
    ("put", KeyClass::Session, 1),
    ("get", KeyClass::Session, SEGMENTS + WALK_AHEAD),
];
const START_CLEAN: Cost = &[
    ("get", KeyClass::Cluster, 1),
    ("list", KeyClass::Snapshot, 1),
    ("get", KeyClass::Journal, 16),
    ("put", KeyClass::Journal, 2),
];
/// The probe's requests, its retries while the store is slow included.
const PROBE_MAX: u64 = 27 + 9;

/// A store behind a proxy that counts.
struct Counted {
    store: TestStore,
    shaper: ShaperHandle,
}

impl Counted {
    async fn start() -> anyhow::Result<Self> {
        let store = TestStore::start(StoreKind::Minio).await?;
        let shaper = store.shaper(Vec::new()).await?;
        Ok(Self { store, shaper })
    }

    /// Checkpoints only when asked to stop, so that nothing but the matter at hand is counted.
    fn without_checkpoints(&self) -> EskerArguments {
        let mut arguments = self.store.arguments_through(&self.shaper);
        let more = ["--checkpoint-interval-ms", "600000"];
        arguments.more.extend(more.map(str::to_owned));
        arguments
    }
}

async fn client_of(process: &EskerProcess) -> anyhow::Result<Client> {
    Ok(Client::connect(&process.kafka.to_string(), "e2e", Env::system()).await?)
}

async fn topic(client: &Client, partitions: i32) -> anyhow::Result<()> {
    let topic = NewTopic {
        name: TOPIC,
        partitions: Some(partitions),
        replication_factor: None,
        configs: &[],
    };
    client.create_topic(&topic).await?;
    Ok(())
}

fn batch(number: u64, bytes: usize) -> anyhow::Result<Bytes> {
    batch_of(
        [padded(&format!("1:{number}"), bytes)],
        Compression::None,
        None,
    )
}

/// One request with one batch for each of the first `partitions`.
async fn produce(
    connection: &mut Connection,
    number: u64,
    partitions: i32,
    bytes: usize,
) -> anyhow::Result<()> {
    let batch = batch(number, bytes)?;
    let batches = (0..partitions).map(|partition| (partition, batch.clone()));
    let request = produce_request(TOPIC, batches);
    let reply: ProduceResponse = connection.ask(PRODUCE, &request, ANSWER_WITHIN).await?;
    let mut answers = reply
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    ensure!(answers.all(|answer| answer.error_code == 0), "{reply:?}");
    Ok(())
}

fn total(report: &ShaperReport) -> u64 {
    report.requests.iter().map(|row| row.count).sum()
}

/// `put journal 1, put session 1`.
fn tell(report: &ShaperReport) -> String {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for row in &report.requests {
        *counts.entry((&row.operation, &row.class)).or_default() += row.count;
    }
    let rows = counts
        .iter()
        .map(|((operation, class), count)| format!("{operation} {class} {count}"));
    let rows: Vec<String> = rows.collect();
    if rows.is_empty() {
        "none".to_owned()
    } else {
        rows.join(", ")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_is_one_put_whatever_the_number_of_partitions() -> anyhow::Result<()> {
    let counted = Counted::start().await?;
    let process = EskerProcess::start(&counted.without_checkpoints()).await?;
    topic(&client_of(&process).await?, 1000).await?;
    let mut connection = Connection::open(process.kafka).await?;

    counted.shaper.reset();
    produce(&mut connection, 0, 1, 100).await?;
    let first = counted.shaper.report();
    counted.shaper.reset();
    produce(&mut connection, 1, 1000, 100).await?;
    let wide = counted.shaper.report();
    counted.shaper.reset();
    for number in 2..12 {
        produce(&mut connection, number, 1000, 100).await?;
    }
    let ten = counted.shaper.report();

    proved(&format!(
        "first produce of a process: {}; 1 request to 1000 partitions: {}; 10 such: {}",
        tell(&first),
        tell(&wide),
        tell(&ten)
    ));
    ensure!(first.count("put", Some(KeyClass::Journal)) == 1 && total(&first) == 2);
    ensure!(first.count("put", Some(KeyClass::Session)) == 1);
    ensure!(wide.count("put", Some(KeyClass::Session)) == 1 && total(&wide) == 1);
    ensure!(ten.count("put", Some(KeyClass::Session)) == 10 && total(&ten) == 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_minute_costs_few_gets_and_nothing_else() -> anyhow::Result<()> {
    let counted = Counted::start().await?;
    let mut arguments = counted.store.arguments_through(&counted.shaper);
    arguments
        .more
        .extend(["--checkpoint-interval-ms", "1000"].map(str::to_owned));
    let process = EskerProcess::start(&arguments).await?;
    let client = client_of(&process).await?;
    topic(&client, 4).await?;
    let mut connection = Connection::open(process.kafka).await?;
    for number in 0..20 {
        produce(&mut connection, number, 4, 1000).await?;
    }
    let (trigger, stop) = Shutdown::new();
    let waiting = follow(&client, (TOPIC, 0), 0, &stop);

    let idle = async {
        let alone = idle_minute(&counted, "one consumer waiting").await;
        let _standby = EskerProcess::spawn(&counted.without_checkpoints())?;
        let with_standby = idle_minute(&counted, "the same and a standby").await;
        trigger.request();
        anyhow::Ok((alone, with_standby))
    };
    let (tail, idle) = tokio::join!(waiting, idle);

    let (alone, with_standby) = idle?;
    ensure!(tail?.fetches > 0, "the consumer read nothing");
    ensure!(alone <= 8, "{alone} requests in an idle minute");
    ensure!(
        with_standby <= 30,
        "{with_standby} requests in an idle minute with a standby"
    );
    Ok(())
}

/// Requests of a minute without work; puts and listings count as a thousand each.
async fn idle_minute(counted: &Counted, who: &str) -> u64 {
    let clock = Env::system().clock;
    clock.sleep(IDLE_SETTLED).await;
    counted.shaper.reset();
    clock.sleep(IDLE_MEASURED).await;
    let report = counted.shaper.report();
    let per_minute = total(&report) * 60 / IDLE_MEASURED.as_secs();
    proved(&format!(
        "idle, {who}: {per_minute} requests a minute ({} in {IDLE_MEASURED:?})",
        tell(&report)
    ));
    per_minute + 1000 * (report.count("put", None) + report.count("list", None))
}

/// Starts, counts until it is ready, compares with the page.
async fn cold_start(counted: &Counted, what: &str, cost: Cost) -> anyhow::Result<EskerProcess> {
    counted.shaper.reset();
    let process = EskerProcess::start(&counted.without_checkpoints()).await?;
    let report = counted.shaper.report();
    proved(&format!(
        "cold start {what}: {} requests, ready after {} ms: {}",
        total(&report),
        process.ready_after.as_millis(),
        tell(&report)
    ));
    let mut probe = 0;
    for row in &report.requests {
        if row.class == KeyClass::Probe.label() {
            probe += row.count;
            continue;
        }
        let mut costs = cost.iter();
        let of_row = costs.find(|(operation, class, _)| {
            *operation == row.operation && class.label() == row.class
        });
        let (operation, class, most) = of_row.with_context(|| format!("{row:?} is new"))?;
        let count = report.count(operation, Some(*class));
        ensure!(
            count <= *most,
            "{operation} {class:?}: {count}, the page says {most}"
        );
    }
    ensure!(
        probe <= PROBE_MAX,
        "the probe of the store took {probe} requests"
    );
    Ok(process)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cold_starts_cost_what_the_page_says() -> anyhow::Result<()> {
    let counted = Counted::start().await?;

    let mut process = cold_start(&counted, "on an empty prefix", START_EMPTY).await?;
    topic(&client_of(&process).await?, 4).await?;
    let mut connection = Connection::open(process.kafka).await?;
    for number in 0..SEGMENTS {
        produce(&mut connection, number, 4, 1000).await?;
    }
    process.kill9()?;
    let behind = format!("after a kill, {SEGMENTS} segments behind the checkpoint");
    let mut process = cold_start(&counted, &behind, START_KILLED).await?;
    let walked = metric(process.http, "esker_metadata_recovered_segments").await?;
    let mut connection = Connection::open(process.kafka).await?;
    produce(&mut connection, SEGMENTS, 4, 1000).await?;
    ensure!(process.stop().await?.success(), "{}", process.log_tail());
    let process = cold_start(&counted, "after a clean stop", START_CLEAN).await?;
    let again = metric(process.http, "esker_metadata_recovered_segments").await?;

    ensure!(
        format!("{walked}") == SEGMENTS.to_string(),
        "{walked} segments walked"
    );
    ensure!(again < 0.1, "{again} segments walked after a clean stop");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_at_the_tail_read_nothing_from_the_store() -> anyhow::Result<()> {
    let clock = Env::system().clock;
    let counted = Counted::start().await?;
    let process = EskerProcess::start(&counted.store.arguments_through(&counted.shaper)).await?;
    let client = client_of(&process).await?;
    topic(&client, 4).await?;
    let mut connection = Connection::open(process.kafka).await?;
    let (trigger, stop) = Shutdown::new();
    counted.shaper.reset();

    let consumers = futures::future::join_all(
        [0, 0, 1, 2, 3].map(|partition| follow(&client, (TOPIC, partition), 0, &stop)),
    );
    let load = async {
        let start = clock.now();
        let mut number = 0;
        while clock.now().since(start) < Duration::from_secs(6) {
            produce(&mut connection, number, 4, 20_000).await?;
            number += 1;
        }
        clock.sleep(Duration::from_millis(500)).await;
        trigger.request();
        anyhow::Ok(number)
    };
    let (tails, sent) = tokio::join!(consumers, load);

    let (sent, report) = (sent?, counted.shaper.report());
    let log = read_all(&client, TOPIC, 4).await?;
    let mut seen = 0;
    for tail in tails {
        seen += tail?.agrees_with(&log)?;
    }
    proved(&format!(
        "5 consumers at the tail saw {seen} records of {sent} requests: {}",
        tell(&report)
    ));
    ensure!(
        seen == 5 * sent,
        "{seen} records seen, {sent} sent to each partition"
    );
    let segments = report.count("put", Some(KeyClass::Session));
    let journal = report.count("put", Some(KeyClass::Journal));
    // The session, and a checkpoint per 256 segments, looked for twice a second.
    ensure!(
        (1 + segments / 768..=2 + segments / CHECKPOINT_SEGMENTS).contains(&journal),
        "{journal} puts of the journal for {segments} segments"
    );
    ensure!(
        report.count("get", Some(KeyClass::Session)) == 0,
        "{}",
        tell(&report)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_scan_reads_each_block_once() -> anyhow::Result<()> {
    let counted = Counted::start().await?;
    let mut process = EskerProcess::start(&counted.without_checkpoints()).await?;
    topic(&client_of(&process).await?, 4).await?;
    let mut connection = Connection::open(process.kafka).await?;
    // One segment each, 4 batches of 900 kB: 4 blocks of 1 MiB.
    let (segments, blocks_per_segment) = (5, 4);
    for number in 0..segments {
        produce(&mut connection, number, 4, 900_000).await?;
    }
    ensure!(process.stop().await?.success(), "{}", process.log_tail());
    let process = EskerProcess::start(&counted.without_checkpoints()).await?;
    let (left, right) = (client_of(&process).await?, client_of(&process).await?);
    counted.shaper.reset();

    let (one, two) = tokio::join!(read_all(&left, TOPIC, 4), read_all(&right, TOPIC, 4));
    let report = counted.shaper.report();

    let (one, two) = (one?, two?);
    let records: usize = one.partitions.values().map(BTreeMap::len).sum();
    let gets = report.count("get", Some(KeyClass::Session));
    let blocks = segments * blocks_per_segment;
    proved(&format!(
        "cold scan by two consumers at once of {records} records in {segments} segments of \
         {blocks_per_segment} blocks: {}",
        tell(&report)
    ));
    ensure!(one == two, "two scans differ");
    ensure!(records == usize::try_from(segments * 4).context("count")?);
    ensure!(gets == blocks, "{gets} gets of {blocks} blocks");
    Ok(())
}
