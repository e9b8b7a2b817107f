//! One ingest process, then two, then three, each with a share of a processor: what they take, what
//! an acknowledgement takes at one rate, and what it costs the others that one came.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::{ClusterShape, StoreKind, TestCluster, TestStore};
use esker_env::Env;
use esker_kafka::client::Client;
use esker_testkit::ControlGroup;
use serde::{Deserialize, Serialize};

use super::Plan;
use super::pods::{Uses, between, uses};
use crate::own::{self, Load, Quantiles};

const INGEST_MAX: usize = 3;
const TOPIC: &str = "grow";
const PARTITIONS: i32 = 24;
/// Of one core, for each ingest process: what a limit of a pod does. Without it three processes
/// would share with the store and the clients what one had.
const CPU_PERCENT: u64 = 15;
/// A new process is named to clients so soon.
const NAMED_WITHIN: Duration = Duration::from_secs(10);
const MIB: f64 = 1024.0 * 1024.0;

/// With so many ingest processes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Step {
    pub(crate) ingest: usize,
    /// As much as they take.
    pub(crate) saturation_mib_s: f64,
    /// At the one rate of all steps.
    pub(crate) rate_mib_s: f64,
    pub(crate) ack: Quantiles,
    pub(crate) received: Quantiles,
    pub(crate) fetch_cpu_s_per_gib: f64,
    /// Segment bytes that fetch processes read from the store, for each byte received.
    pub(crate) fetch_read_per_byte: f64,
}

/// One process more, under load.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Join {
    pub(crate) to: usize,
    /// From its start until clients are told of it.
    pub(crate) named_seconds: f64,
    pub(crate) produced_mib: f64,
    pub(crate) written_mib: f64,
    /// Segment bytes that processes other than fetch read: data that was moved would be.
    pub(crate) read_by_others_mib: f64,
    pub(crate) deletes: f64,
    /// The longest a record waited for its acknowledgement, 99 of 100.
    pub(crate) ack: Quantiles,
    /// Partitions that the new process leads, and those that changed from one old one to another.
    pub(crate) partitions_new: usize,
    pub(crate) partitions_shuffled: usize,
    /// Whether fetch processes are those of before, took nothing from producers, and every record
    /// arrived once.
    pub(crate) is_fetch_untouched: bool,
}

/// All of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Grown {
    pub(crate) cpu_percent: u64,
    pub(crate) steps: Vec<Step>,
    pub(crate) joins: Vec<Join>,
}

struct Growing {
    cluster: TestCluster,
    groups: Vec<ControlGroup>,
    plan: Plan,
}

/// Runs it.
pub(super) async fn run(plan: Plan) -> anyhow::Result<Grown> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let shape = ClusterShape {
        metadata: 1,
        ingest: 1,
        fetch: 2,
    };
    let cluster = TestCluster::start(&store, shape).await?;
    let mut growing = Growing {
        cluster,
        groups: Vec::new(),
        plan,
    };
    growing.hold_last()?;
    let client = growing.client().await?;
    crate::workloads::create_topic(&client, TOPIC, PARTITIONS).await?;
    let mut grown = Grown {
        cpu_percent: CPU_PERCENT,
        steps: Vec::new(),
        joins: Vec::new(),
    };
    // Registers sessions and fills caches.
    growing.load("produce", None, 3).await?;
    let mut rate = None;
    for ingest in 1..=INGEST_MAX {
        let step = growing.step(ingest, &mut rate).await?;
        grown.steps.push(step);
        if ingest < INGEST_MAX {
            let join = Box::pin(growing.join(rate)).await;
            grown.joins.push(join.context("one more under load")?);
        }
    }
    Ok(grown)
}

impl Growing {
    async fn client(&self) -> anyhow::Result<Client> {
        let bootstrap = self.cluster.bootstrap().context("a bootstrap address")?;
        Ok(Client::connect(&bootstrap.to_string(), "scale", Env::system()).await?)
    }

    /// The youngest ingest process gets its share and no more.
    fn hold_last(&mut self) -> anyhow::Result<()> {
        let member = self.cluster.ingest.last().context("an ingest process")?;
        let group = ControlGroup::make("cpu", &format!("scale-{}", member.name));
        let group = group.context("no processor control group")?;
        group.limit_processor(CPU_PERCENT)?;
        group.add(member.process.id())?;
        self.groups.push(group);
        Ok(())
    }

    async fn load(
        &self,
        mode: &'static str,
        rate: Option<u64>,
        seconds: u64,
    ) -> anyhow::Result<own::Told> {
        let bootstrap = self.cluster.bootstrap().context("a bootstrap address")?;
        let load = Load {
            topic: Some(TOPIC),
            rate,
            producers: 6,
            in_flight: 8,
            ..Load::usual(mode, seconds)
        };
        own::run(bootstrap, load).await
    }

    /// The rate of all steps is nine tenths of what one process takes.
    async fn step(&self, ingest: usize, rate: &mut Option<u64>) -> anyhow::Result<Step> {
        let most = self.load("produce", None, self.plan.seconds).await?;
        let most = most.produced()?.mebibytes_per_second;
        let records = *rate.get_or_insert(whole(most * 0.9 * 1024.0));
        let before = uses(&self.cluster).await?;
        let told = self
            .load("end-to-end", Some(records), self.plan.seconds)
            .await?;
        let after = uses(&self.cluster).await?;
        let received = told.received()?;
        let bytes = crate::numbers::of(received.received) * 1024.0;
        let read = between(&before, &after, "fetch", |pod| pod.read_bytes);
        let cpu = between(&before, &after, "fetch", |pod| pod.cpu_seconds);
        Ok(Step {
            ingest,
            saturation_mib_s: most,
            rate_mib_s: crate::numbers::of(records) / 1024.0,
            ack: told.produced()?.latency_ms.context("latencies")?,
            received: received.latency_ms.context("latencies")?,
            fetch_cpu_s_per_gib: cpu / (bytes / MIB / 1024.0),
            fetch_read_per_byte: read / bytes,
        })
    }

    async fn leaders(&self) -> anyhow::Result<Vec<(i32, i32)>> {
        let metadata = self.client().await?.metadata(Some(&[TOPIC])).await?;
        let partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
        let mut leaders: Vec<(i32, i32)> = partitions
            .map(|one| (one.partition_index, one.leader_id.0))
            .collect();
        leaders.sort_unstable();
        Ok(leaders)
    }

    async fn join(&mut self, rate: Option<u64>) -> anyhow::Result<Join> {
        let clock = Env::system().clock;
        let seconds = self.plan.seconds + 10;
        let before = uses(&self.cluster).await?;
        let old = self.leaders().await?;
        let bootstrap = self.cluster.bootstrap().context("a bootstrap address")?;
        let load = Load {
            topic: Some(TOPIC),
            rate: rate.map(|rate| rate * 6 / 10),
            producers: 6,
            in_flight: 8,
            ..Load::usual("end-to-end", seconds)
        };
        let adds = async {
            clock.sleep(Duration::from_secs(6)).await;
            let begun = clock.now();
            self.cluster.add_ingest().await?;
            self.hold_last()?;
            let node = i32::try_from(self.cluster.ingest.len())?;
            loop {
                let leaders = self.leaders().await?;
                if leaders.iter().any(|(_, leader)| *leader == node) {
                    let named = clock.now().since(begun);
                    return anyhow::Ok((named, leaders, node));
                }
                let since = clock.now().since(begun);
                ensure!(since < NAMED_WITHIN, "clients are not told of {node}");
                clock.sleep(Duration::from_millis(50)).await;
            }
        };
        let (told, added) = tokio::join!(own::run(bootstrap, load), adds);
        let (named, new, node) = added?;
        let told = told?;
        let after = uses(&self.cluster).await?;
        let moved = old.iter().zip(&new).filter(|(old, new)| old.1 != new.1);
        let (to_new, shuffled): (Vec<_>, Vec<_>) = moved.partition(|(_, new)| new.1 == node);
        let produced = told.produced()?;
        let mib = |bytes: f64| bytes / MIB;
        let sum =
            |role: &str, of: fn(&super::pods::PodUse) -> f64| between(&before, &after, role, of);
        Ok(Join {
            to: self.cluster.ingest.len(),
            named_seconds: named.as_secs_f64(),
            produced_mib: crate::numbers::of(produced.acknowledged) / 1024.0,
            written_mib: mib(sum("", |pod| pod.written_bytes)),
            read_by_others_mib: mib(
                sum("ingest", |pod| pod.read_bytes) + sum("metadata", |pod| pod.read_bytes)
            ),
            deletes: sum("", |pod| pod.deletes),
            ack: produced.latency_ms.context("latencies")?,
            partitions_new: to_new.len(),
            partitions_shuffled: shuffled.len(),
            is_fetch_untouched: is_untouched(&before, &after)
                && told.received()?.received == produced.acknowledged,
        })
    }
}

fn is_untouched(before: &Uses, after: &Uses) -> bool {
    let mut fetch = before.iter().filter(|(name, _)| name.starts_with("fetch"));
    fetch.all(|(name, old)| {
        let new = after.get(name);
        new.is_some_and(|new| new.process == old.process && new.batches == old.batches)
    })
}

/// A rate as `esker bench` takes it.
#[expect(clippy::as_conversions, reason = "a rate, not an address")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is small"
)]
fn whole(rate: f64) -> u64 {
    rate.max(1.0) as u64
}
