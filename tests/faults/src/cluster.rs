//! A cluster in a network of its own, each role hit by each kind of fault in turn under load.
//!
//! Behind every part: all processes hold the same log, the history is clean, the bucket too. Where
//! no network of namespaces can be had, the episodes are counted as skipped, aloud.

mod clients;
mod episode;
mod figures;
mod members;
mod pulse;
mod strike;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_env::{Env, Rng, Shutdown};
use esker_kafka::client::{Client, NewTopic};
use esker_testkit::network_or_reason;

use crate::arguments::Arguments;
use crate::audit::{Audit, audit};
use crate::load::{PARTITIONS, TOPIC};
use crate::recorder::Recorder;
use crate::whole::read_to_end;
use clients::{Clients, EndsTold, PRODUCERS};
use episode::Episode;
use figures::{Part, Proof};
use members::{Cluster, Role};
use pulse::Pulse;
use strike::Kind;

/// One part of a run with more rounds has one kind of fault, so that its history stays small.
const ROUNDS_TOGETHER_MAX: u32 = 2;

/// Runs so many rounds; whether everything held.
///
/// # Errors
/// The results cannot be written.
pub(crate) async fn run(arguments: &Arguments, rounds: u32) -> anyhow::Result<bool> {
    let mut out = std::io::stdout();
    let parts: Vec<Vec<Kind>> = if rounds <= ROUNDS_TOGETHER_MAX {
        vec![Kind::ALL.to_vec()]
    } else {
        Kind::ALL.map(|kind| vec![kind]).to_vec()
    };
    let mut proof = Proof::new(rounds, arguments.seed);
    for kinds in parts {
        let network = match network_or_reason()? {
            Ok(network) => network,
            Err(reason) => {
                proof.skip(&kinds, rounds, reason);
                continue;
            }
        };
        let cluster = Box::pin(Cluster::start(network)).await?;
        let part = Box::pin(run_part(arguments, cluster, &kinds, rounds)).await?;
        writeln!(out, "{part}")?;
        proof.parts.push(part);
    }
    writeln!(out, "{proof}")?;
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&proof)?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(proof.holds())
}

/// A part at work.
struct Scene {
    cluster: Cluster,
    recorder: Recorder,
    pulse: Pulse,
    rng: Rng,
    is_long: bool,
}

/// Faults of some kinds on one cluster. What does not hold is in the part, and its traces are kept.
async fn run_part(
    arguments: &Arguments,
    cluster: Cluster,
    kinds: &[Kind],
    rounds: u32,
) -> anyhow::Result<Part> {
    let env = Env::system();
    let begun = env.clock.now();
    let history = cluster.store.path().join("history.jsonl");
    let recorder = Recorder::create(&history, env.clock.clone())?;
    let mut scene = Scene {
        pulse: Pulse::new(recorder.clone(), env.clock.clone(), PRODUCERS),
        recorder,
        cluster,
        rng: Rng::from_seed(arguments.seed).stream("cluster"),
        is_long: rounds > ROUNDS_TOGETHER_MAX,
    };
    let mut part = Part::new(kinds);
    let ended = Box::pin(scene.play(arguments.seed, kinds, rounds, &mut part)).await;
    part.seconds = env.clock.now().since(begun).as_secs_f64();
    part.restarts = scene.cluster.restarts;
    if let Err(error) = ended {
        let kept = keep(arguments, &scene, kinds);
        part.failed = Some(format!("{error:#}\n{kept}"));
    }
    Ok(part)
}

impl Scene {
    async fn play(
        &mut self,
        seed: u64,
        kinds: &[Kind],
        rounds: u32,
        part: &mut Part,
    ) -> anyhow::Result<()> {
        create_topic(&self.cluster).await?;
        let (trigger, stop) = Shutdown::new();
        let clients = Clients {
            ingest: self
                .cluster
                .of(Role::Ingest)
                .map(|one| one.process.kafka)
                .collect(),
            pods: self.cluster.addresses(),
            recorder: self.recorder.clone(),
            pulse: self.pulse.clone(),
            seed,
            pause: Duration::from_millis(if self.is_long { 40 } else { 15 }),
        };
        let faults = async {
            let done = self.strike_all(kinds, rounds, part).await;
            // Clients can finish.
            let released = self.cluster.release();
            trigger.request();
            done.and(released)
        };
        let (faults, load) = (Box::pin(faults), Box::pin(clients.run(stop)));
        let (done, told) = tokio::join!(faults, load);
        // A client that gave up is the reason of what is missed later.
        let told = told.context("a client of the load");
        part.ends_told = match done {
            Ok(()) => told?,
            Err(error) => match told {
                Ok(_) => return Err(error),
                Err(client) => return Err(client.context(format!("{error:#}"))),
            },
        };
        self.check(part).await
    }

    async fn strike_all(
        &mut self,
        kinds: &[Kind],
        rounds: u32,
        part: &mut Part,
    ) -> anyhow::Result<()> {
        self.pulse.mark();
        self.pulse.until_all(Duration::from_secs(20)).await?;
        for round in 0..rounds {
            for kind in kinds {
                for role in Role::ALL {
                    let mut episode = Episode::new(*kind, role, round);
                    let done = self.play_episode(&mut episode).await;
                    writeln!(std::io::stderr(), "{episode}")?;
                    part.episodes.push(episode);
                    done.with_context(|| format!("{} of {}", kind.label(), role.label()))?;
                }
            }
        }
        Ok(())
    }

    /// The last reading of every process, a stop in order, the history, the bucket.
    async fn check(&mut self, part: &mut Part) -> anyhow::Result<()> {
        let pods = self.cluster.addresses();
        let last = pods.len().saturating_sub(1);
        for (at, pod) in pods.iter().enumerate() {
            for partition in 0..PARTITIONS {
                let is_last = at == last;
                read_to_end(&self.recorder, TOPIC, pod, partition, is_last).await?;
            }
        }
        self.cluster.settled().await?;
        self.cluster.stop().await?;
        for member in &self.cluster.members {
            let log = member.log();
            let panic = log.lines().find(|line| line.contains("panicked at"));
            ensure!(panic.is_none(), "{} panicked: {panic:?}", member.name);
        }
        let report = esker_history::check_file(&self.recorder.flush()?)?;
        part.take(&report);
        ensure!(report.clean, "the history: {report}");
        ensure!(part.acknowledged > 200, "hardly any load: {report}");
        check_ends(&part.ends_told, pods.len())?;
        part.audit = audit(&self.cluster.store).await?;
        ensure!(part.audit == Audit::Clean, "the bucket was not audited");
        Ok(())
    }
}

/// Every process that takes clients was heard.
fn check_ends(told: &EndsTold, pods: usize) -> anyhow::Result<()> {
    let silent = told.iter().find(|(_, count)| **count < 50);
    ensure!(
        silent.is_none() && told.len() == pods,
        "ends were told {told:?}"
    );
    Ok(())
}

async fn create_topic(cluster: &Cluster) -> anyhow::Result<()> {
    let addresses = cluster
        .of(Role::Fetch)
        .map(|one| one.process.kafka.to_string());
    let addresses: Vec<String> = addresses.collect();
    let client = Client::connect(&addresses.join(","), "faults", Env::system()).await?;
    let topic = NewTopic {
        name: TOPIC,
        partitions: Some(PARTITIONS),
        replication_factor: None,
        configs: &[],
    };
    client.create_topic(&topic).await?;
    Ok(())
}

/// Leaves history and logs of a part that failed, and says where.
fn keep(arguments: &Arguments, scene: &Scene, kinds: &[Kind]) -> String {
    let root = arguments.keep.clone();
    let root = root.unwrap_or_else(|| std::env::temp_dir().join("esker-faults"));
    let names: Vec<&str> = kinds.iter().map(|kind| kind.label()).collect();
    let name = format!(
        "cluster-{}-{}",
        names.join("-").replace(' ', ""),
        arguments.seed
    );
    let directory = root.join(name);
    match copy(scene, &directory) {
        Ok(()) => format!("kept in {}", directory.display()),
        Err(error) => format!("nothing could be kept: {error:#}"),
    }
}

fn copy(scene: &Scene, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)?;
    // It may not be whole: the part failed somewhere.
    let _ = scene.recorder.flush();
    let history: PathBuf = scene.cluster.store.path().join("history.jsonl");
    std::fs::copy(history, directory.join("history.jsonl"))?;
    for member in &scene.cluster.members {
        std::fs::write(directory.join(format!("{}.log", member.name)), member.log())?;
    }
    Ok(())
}
