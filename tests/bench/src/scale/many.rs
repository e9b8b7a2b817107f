//! 100 000 partitions, every one with records: what processes hold, and how long others need to
//! take over from one that is killed.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use esker_e2e::load::{batch_of, padded};
use esker_e2e::{ClusterMember, ClusterShape, StoreKind, TestCluster, TestStore};
use esker_env::{Clock, Env};
use esker_kafka::client::Client;
use esker_record::Compression;
use serde::{Deserialize, Serialize};

use super::Plan;
use super::driver::{Offer, Spread, offer};
use super::pods::{Uses, uses};

const PARTITIONS: i32 = 10_000;
/// Each partition gets one record or two.
const RECORDS: u64 = 1500;
const SECONDS: u64 = 10;
const IDLE_SECONDS: u64 = 20;
/// Nobody waits longer.
const BACK_WITHIN: Duration = Duration::from_secs(120);

/// What processes held, and how long it took.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Many {
    pub(crate) partitions: u64,
    pub(crate) create_seconds: f64,
    /// With one topic of one partition.
    pub(crate) empty: Uses,
    pub(crate) full: Uses,
    /// Processor seconds a second of all processes while nobody asks for anything.
    pub(crate) idle_cpu: f64,
    /// From the kill of the leading metadata process to an acknowledgement through a standby.
    pub(crate) leader_killed_seconds: f64,
    /// From its start again until it stands by.
    pub(crate) standby_ready_seconds: f64,
    /// From the kill of an ingest process to an acknowledgement in a partition that it led.
    pub(crate) ingest_killed_seconds: f64,
    /// From the start of a process until it is ready.
    pub(crate) ingest_ready_seconds: f64,
    pub(crate) fetch_ready_seconds: f64,
}

/// Runs it.
pub(super) async fn run(plan: Plan) -> anyhow::Result<Many> {
    let env = Env::system();
    let clock = env.clock.as_ref();
    let store = TestStore::start(StoreKind::Minio).await?;
    let mut cluster = TestCluster::start(&store, ClusterShape::USUAL).await?;
    let bootstrap = cluster.bootstrap().context("a bootstrap address")?;
    let client = Client::connect(&bootstrap.to_string(), "scale", Env::system()).await?;
    crate::workloads::create_topic(&client, "probe", 1).await?;
    acknowledged(&client, "probe", 0, clock).await?;
    let empty = uses(&cluster).await?;

    let begun = clock.now();
    let names: Vec<String> = (0..plan.topics)
        .map(|number| format!("many-{number}"))
        .collect();
    for name in &names {
        crate::workloads::create_topic(&client, name, PARTITIONS).await?;
    }
    let create = clock.now().since(begun);
    for topic in &names {
        let load = Offer {
            topic,
            records: RECORDS,
            seconds: SECONDS,
            spread: Spread::Keyed,
        };
        offer(bootstrap, load)
            .await
            .with_context(|| format!("fill {topic}"))?;
    }
    let full = uses(&cluster).await?;
    clock.sleep(Duration::from_secs(IDLE_SECONDS)).await;
    let idle = uses(&cluster).await?;
    let idle_cpu = super::pods::between(&full, &idle, "", |pod| pod.cpu_seconds);

    let leader = leader(&cluster).await?;
    let member = cluster.metadata.get_mut(leader).context("a leader")?;
    member.process.kill9()?;
    let leader_killed = acknowledged(&client, "probe", 0, clock).await?;
    let standby_ready = restarted(member).await?;

    let (topic, partition) = (names.first().context("a topic")?, 0);
    let node = led_by(&client, topic, partition).await?;
    let at = usize::try_from(node - 1)?;
    let member = cluster.ingest.get_mut(at).context("an ingest process")?;
    member.process.kill9()?;
    let ingest_killed = acknowledged(&client, topic, partition, clock).await?;
    let ingest_ready = restarted(member).await?;
    let member = cluster.fetch.last_mut().context("a fetch process")?;
    member.process.kill9()?;
    let fetch_ready = restarted(member).await?;
    Ok(Many {
        partitions: u64::from(plan.topics) * u64::try_from(PARTITIONS)?,
        create_seconds: create.as_secs_f64(),
        empty,
        full: idle,
        idle_cpu: idle_cpu / crate::numbers::of(IDLE_SECONDS),
        leader_killed_seconds: leader_killed.as_secs_f64(),
        standby_ready_seconds: standby_ready.as_secs_f64(),
        ingest_killed_seconds: ingest_killed.as_secs_f64(),
        ingest_ready_seconds: ingest_ready.as_secs_f64(),
        fetch_ready_seconds: fetch_ready.as_secs_f64(),
    })
}

/// From now to the acknowledgement of a record of its own.
async fn acknowledged(
    client: &Client,
    topic: &str,
    partition: i32,
    clock: &dyn Clock,
) -> anyhow::Result<Duration> {
    let begun = clock.now();
    loop {
        let batch = batch_of([padded("probe", 100)], Compression::None, None)?;
        let refusal = match client.produce(topic, partition, batch).await {
            Ok(_) => return Ok(clock.now().since(begun)),
            Err(refusal) => refusal,
        };
        let since = clock.now().since(begun);
        ensure!(
            since < BACK_WITHIN,
            "nothing is acknowledged after {since:?}: {refusal}"
        );
        clock.sleep(Duration::from_millis(20)).await;
    }
}

async fn restarted(member: &mut ClusterMember) -> anyhow::Result<Duration> {
    member.restart()?;
    member.process.wait_until_ready_within(BACK_WITHIN).await?;
    Ok(member.process.ready_after)
}

async fn led_by(client: &Client, topic: &str, partition: i32) -> anyhow::Result<i32> {
    let metadata = client.metadata(Some(&[topic])).await?;
    let mut partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
    let found = partitions.find(|one| one.partition_index == partition);
    Ok(found.context("the partition")?.leader_id.0)
}

async fn leader(cluster: &TestCluster) -> anyhow::Result<usize> {
    for (at, member) in cluster.metadata.iter().enumerate() {
        let answer = reqwest::get(format!("http://{}/livez", member.process.http)).await?;
        let alive: serde_json::Value = answer.json().await?;
        if alive["owner"].is_string() {
            return Ok(at);
        }
    }
    bail!("nobody leads")
}
