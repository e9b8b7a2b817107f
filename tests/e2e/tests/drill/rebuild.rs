//! The drill: load, kill -9, the journal destroyed, `esker rebuild`, start, the load goes on.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::load::{compare, follow, lasting_port, produce, read_all, retried};
use esker_e2e::{StoreKind, TestStore, proved};
use esker_env::{Env, Rng, Shutdown};
use esker_kafka::client::{Client, NewTopic};
use esker_object::{Bucket, ObjectKey};
use esker_testkit::{EskerArguments, EskerProcess};
use futures::future::join_all;

use crate::bucket::{PARTITIONS, TOPIC, change, is_clean, keys, open, producers, told, tool};

/// How long the producers work before and after.
const LOAD: Duration = Duration::from_secs(4);

/// What happens to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disaster {
    /// All of it is gone, snapshots too; topics come from an old report of verify.
    Lost,
    /// A bit flips in an entry.
    Damaged,
}

/// What the drill took.
#[derive(Debug, Default)]
struct Times {
    rebuild: Duration,
    start: Duration,
    segments: u64,
}

async fn destroy(bucket: &dyn Bucket, disaster: Disaster) -> anyhow::Result<ObjectKey> {
    let journal = keys(bucket, "/journal/").await?;
    match disaster {
        Disaster::Lost => {
            for key in journal.iter().chain(&keys(bucket, "/snapshots/").await?) {
                bucket.delete(key).await?;
            }
            journal.first().cloned().context("a journal")
        }
        Disaster::Damaged => {
            let entries = journal.iter();
            let is_entry = |key: &&ObjectKey| !key.as_str().ends_with("/0000000000000000");
            let entries: Vec<_> = entries.filter(is_entry).collect();
            let key = *entries.get(entries.len() / 2).context("an entry")?;
            change(bucket, key, |bytes| {
                if let Some(byte) = bytes.get_mut(70) {
                    *byte ^= 4;
                }
            })
            .await?;
            Ok(key.clone())
        }
    }
}

/// Kills the server, destroys its journal, finds that it does not start, and rebuilds.
async fn disaster(
    store: &TestStore,
    (process, arguments): (&mut EskerProcess, &EskerArguments),
    what: Disaster,
) -> anyhow::Result<Times> {
    let env = Env::system();
    env.clock.sleep(LOAD).await;
    let names = store.path().join("report.json");
    let running = is_clean(store, &["--quick"]).await?;
    std::fs::write(&names, &running.ran.stdout)?;
    process.kill9()?;
    let bucket = open(store).await?;
    let key = destroy(bucket.as_ref(), what).await?;
    drop(bucket);
    let audit = told(tool(store, "verify")?).await?;
    ensure!(audit.ran.status.code() == Some(1), "{}", audit.ran.tell());
    let mut refused = EskerProcess::spawn(arguments)?;
    let ended = refused.wait_for_end(Duration::from_secs(30)).await?;
    ensure!(
        !ended.success(),
        "it starts on a journal that is {what:?} at {key}"
    );
    let plan = ["--topics", &names.display().to_string()].map(str::to_owned);
    let more = match what {
        Disaster::Lost => plan.to_vec(),
        Disaster::Damaged => Vec::new(),
    };
    let dry = told(tool(store, "rebuild")?.args(&more).args(["--dry-run"])).await?;
    ensure!(dry.report["roll"].is_null(), "{}", dry.ran.tell());
    let started = env.clock.now();
    let rebuilt = told(tool(store, "rebuild")?.args(&more)).await?;
    let rebuild = env.clock.now().since(started);
    ensure!(rebuilt.ran.status.success(), "{}", rebuilt.ran.tell());
    ensure!(rebuilt.report["roll"].is_u64(), "{}", rebuilt.ran.tell());
    is_clean(store, &[]).await?;
    *process = EskerProcess::start(arguments).await?;
    Ok(Times {
        rebuild,
        start: process.ready_after,
        segments: rebuilt.report["figures"]["segments"]
            .as_u64()
            .unwrap_or_default(),
    })
}

async fn drill(kind: StoreKind, what: Disaster) -> anyhow::Result<()> {
    let seed = Rng::from_os().u64();
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
    let plans = producers(process.kafka, seed);
    let load = produce(&env, plans, &stop);
    let (trigger_tails, stop_tails) = Shutdown::new();
    let tails = (0..PARTITIONS).map(|at| follow(&client, (TOPIC, at), 0, &stop_tails));
    let work = async {
        let times = disaster(&store, (&mut process, &arguments), what).await;
        if times.is_ok() {
            env.clock.sleep(LOAD).await;
        }
        trigger.request();
        times
    };
    let load_and_work = async {
        let outcome = tokio::join!(load, work);
        trigger_tails.request();
        outcome
    };
    let ((histories, times), tails) = tokio::join!(load_and_work, join_all(tails));
    let times = times?;
    let histories = histories?;
    let log = retried(Duration::from_secs(20), async || {
        read_all(&client, TOPIC, PARTITIONS).await
    })
    .await?;
    let figures = compare(&log, &histories).with_context(|| format!("seed {seed}"))?;
    let mut tailed = 0;
    for tail in tails {
        tailed += tail?.agrees_with(&log)?;
    }
    ensure!(figures.acknowledged > 500, "hardly any load: {figures}");
    ensure!(process.stop().await?.success(), "{}", process.log_tail());
    is_clean(&store, &[]).await?;
    proved(&format!(
        "{kind:?}, journal {what:?}: rebuilt from {} segments in {} ms, ready after {} ms; \
         {figures}; {tailed} records read before and after alike",
        times.segments,
        times.rebuild.as_millis(),
        times.start.as_millis(),
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_journal_is_rebuilt_on_a_directory() -> anyhow::Result<()> {
    Box::pin(drill(StoreKind::Directory, Disaster::Lost)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_journal_is_rebuilt_on_a_directory() -> anyhow::Result<()> {
    Box::pin(drill(StoreKind::Directory, Disaster::Damaged)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_journal_is_rebuilt_on_minio() -> anyhow::Result<()> {
    Box::pin(drill(StoreKind::Minio, Disaster::Lost)).await
}
