//! 5 MiB/s over 10 partitions and over 10 000, by turns on one cluster of three ingest processes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use esker_e2e::{ClusterShape, StoreKind, TestCluster, TestStore};
use esker_env::Env;
use esker_kafka::client::Client;
use serde::{Deserialize, Serialize};

use super::Plan;
use super::driver::{Answered, Offer, Spread, offer};
use super::pods::{between, uses};
use crate::numbers;

const FEW: i32 = 10;
const MANY: (&str, i32) = ("many", 10_000);
/// Of 20 topics of ten partitions one misses one of three processes.
const TRIES_MAX: u32 = 10;
/// Processes announce themselves each second.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(1);
/// 5 MiB a second.
const RECORDS: u64 = 5 * 1024;

/// Of one topic under one kind of load; medians over the rounds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Cost {
    pub(crate) answered: Answered,
    /// Of each role, in seconds a second.
    pub(crate) cpu: BTreeMap<String, f64>,
    /// Of all processes together.
    pub(crate) cpu_all: f64,
}

/// Both, under one kind of load.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Pair {
    pub(crate) spread: Spread,
    pub(crate) few: Cost,
    pub(crate) many: Cost,
}

/// All of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Compared {
    /// Where it ran: parts may be run again on another machine.
    #[serde(default)]
    pub(crate) processor: Option<String>,
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    pub(crate) pairs: Vec<Pair>,
}

/// Runs it.
pub(super) async fn run(plan: Plan) -> anyhow::Result<Compared> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let cluster = TestCluster::start(&store, ClusterShape::USUAL).await?;
    let bootstrap = cluster.bootstrap().context("a bootstrap address")?;
    let client = Client::connect(&bootstrap.to_string(), "scale", Env::system()).await?;
    let few = led_by_all(&client, cluster.ingest.len()).await?;
    crate::workloads::create_topic(&client, MANY.0, MANY.1).await?;
    let mut compared = Compared {
        processor: crate::suite::machine()?.remove("processor"),
        rounds: plan.rounds,
        seconds: plan.seconds,
        pairs: Vec::new(),
    };
    for spread in [Spread::Sticky, Spread::Keyed] {
        let mut costs: [Vec<Cost>; 2] = Default::default();
        // The first round warms up: sessions, allocator, every partition's first batch.
        for round in 0..=plan.rounds {
            for (topic, costs) in [few.as_str(), MANY.0].into_iter().zip(&mut costs) {
                let cost = measure(&cluster, topic, spread, plan.seconds).await?;
                if round > 0 {
                    costs.push(cost);
                }
            }
        }
        let [few, many] = costs.map(|costs| median(&costs));
        compared.pairs.push(Pair { spread, few, many });
    }
    Ok(compared)
}

/// A topic of few partitions of which every ingest process leads some, so that as many of them are
/// written to as with many. Where they land is drawn with the topic's id.
async fn led_by_all(client: &Client, processes: usize) -> anyhow::Result<String> {
    let clock = Env::system().clock;
    for number in 0..TRIES_MAX {
        let name = format!("few-{number}");
        crate::workloads::create_topic(client, &name, FEW).await?;
        let metadata = client.metadata(Some(&[name.as_str()])).await?;
        let partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
        let leaders: BTreeSet<i32> = partitions.map(|one| one.leader_id.0).collect();
        if leaders.len() == processes {
            return Ok(name);
        }
        // Or they do not all know of each other yet.
        clock.sleep(ANNOUNCED_WITHIN).await;
    }
    anyhow::bail!("no topic of {FEW} partitions is led by all {processes} processes")
}

async fn measure(
    cluster: &TestCluster,
    topic: &str,
    spread: Spread,
    seconds: u64,
) -> anyhow::Result<Cost> {
    let bootstrap = cluster.bootstrap().context("a bootstrap address")?;
    let before = uses(cluster).await?;
    let load = Offer {
        topic,
        records: RECORDS,
        seconds,
        spread,
    };
    let answered = offer(bootstrap, load).await?;
    let after = uses(cluster).await?;
    let each = |role: &str| {
        let used = between(&before, &after, role, |pod| pod.cpu_seconds);
        (role.to_owned(), used / numbers::of(seconds))
    };
    let cpu: BTreeMap<String, f64> = ["ingest", "fetch", "metadata"].map(each).into();
    Ok(Cost {
        answered,
        cpu_all: cpu.values().sum(),
        cpu,
    })
}

fn median(costs: &[Cost]) -> Cost {
    let of =
        |figure: fn(&Cost) -> f64| numbers::median(&costs.iter().map(figure).collect::<Vec<_>>());
    let first = costs.first().cloned().unwrap_or_default();
    let cpu = first.cpu.keys().map(|role| {
        let each: Vec<f64> = costs
            .iter()
            .filter_map(|one| one.cpu.get(role).copied())
            .collect();
        (role.clone(), numbers::median(&each))
    });
    Cost {
        answered: Answered {
            p50_ms: of(|one| one.answered.p50_ms),
            p99_ms: of(|one| one.answered.p99_ms),
            longest_ms: of(|one| one.answered.longest_ms),
            ..first.answered
        },
        cpu: cpu.collect(),
        cpu_all: of(|one| one.cpu_all),
    }
}
