//! One run of a row: a store, processes, a history; the load beside the faults; the checks behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use esker_e2e::{StoreKind, TestStore};
use esker_env::{Env, Rng, Shutdown};
use esker_history::Report;
use esker_kafka::client::{Client, NewTopic};
use esker_testkit::Rule;

use crate::audit::{Audit, audit};
use crate::load::{Ended, Load, PARTITIONS, TOPIC};
use crate::pod::Pod;
use crate::reader::PodAddress;
use crate::recorder::Recorder;
use crate::whole::read_to_end;

/// A leader must be there so long after all faults are over.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A run at work.
#[derive(Debug)]
pub(crate) struct Scene {
    /// The real clock.
    pub(crate) env: Env,
    /// The schedule's choices.
    pub(crate) rng: Rng,
    /// Of everything random.
    pub(crate) seed: u64,
    /// Which store.
    pub(crate) kind: StoreKind,
    /// Whether this run may take a minute and more.
    pub(crate) is_long: bool,
    /// The store.
    pub(crate) store: TestStore,
    /// All processes, running or not.
    pub(crate) pods: Vec<Pod>,
    /// The history.
    pub(crate) recorder: Recorder,
    /// What else was seen.
    pub(crate) facts: Vec<String>,
    /// No recovery may take longer.
    pub(crate) recovery_max: Option<Duration>,
    /// What the row's own audit came to, when the checks behind the run are its own.
    pub(crate) audited_by_row: Option<Audit>,
    /// Whether the history has to be found broken: the run shows that the checks can fail.
    pub(crate) is_broken_on_purpose: bool,
    librdkafka: bool,
    loads: u32,
}

/// What the checks behind a run found.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) report: Report,
    pub(crate) audit: Audit,
}

/// How a scene begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) kind: StoreKind,
    pub(crate) seed: u64,
    pub(crate) is_long: bool,
    /// The store looks at no signature, so that proxies may change what is signed.
    pub(crate) is_open_store: bool,
    /// Clients on librdkafka take part in every load.
    pub(crate) librdkafka: bool,
}

impl Scene {
    /// A store and nothing else.
    pub(crate) async fn open(opening: Opening) -> anyhow::Result<Self> {
        let env = Env::system();
        let store = if opening.is_open_store {
            TestStore::start_open().await?
        } else {
            TestStore::start(opening.kind).await?
        };
        let history = store.path().join("history.jsonl");
        Ok(Self {
            recorder: Recorder::create(&history, env.clock.clone())?,
            env,
            rng: Rng::from_seed(opening.seed).stream("schedule"),
            seed: opening.seed,
            kind: opening.kind,
            is_long: opening.is_long,
            store,
            pods: Vec::new(),
            facts: Vec::new(),
            recovery_max: None,
            audited_by_row: None,
            is_broken_on_purpose: false,
            librdkafka: opening.librdkafka,
            loads: 0,
        })
    }

    /// One more place for a process; its number.
    pub(crate) async fn add_pod(&mut self) -> anyhow::Result<usize> {
        let place = self.pods.len();
        let name = format!("pod{place}");
        let seed = self.seed ^ (0x5eed << 8) ^ u64::try_from(place)?;
        let pod = Pod::new(&self.store, self.kind, &name, seed).await?;
        self.pods.push(pod);
        Ok(place)
    }

    /// The process of that number.
    pub(crate) fn pod(&mut self, place: usize) -> anyhow::Result<&mut Pod> {
        self.pods.get_mut(place).context("a pod")
    }

    /// One leader with the topic of the load.
    pub(crate) async fn leader(&mut self) -> anyhow::Result<()> {
        self.leader_with(&[]).await
    }

    /// The same with further arguments.
    pub(crate) async fn leader_with(&mut self, more: &[&str]) -> anyhow::Result<()> {
        let place = self.add_pod().await?;
        let pod = self.pod(place)?;
        pod.add_arguments(more);
        pod.start().await?;
        self.create_topic(TOPIC, PARTITIONS).await
    }

    /// A leader, number 0, and a standby, number 1.
    pub(crate) async fn pair(&mut self) -> anyhow::Result<()> {
        self.leader().await?;
        let standby = self.add_pod().await?;
        self.pod(standby)?.spawn()
    }

    /// A topic, made through whoever leads.
    pub(crate) async fn create_topic(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        let addresses = self.pods.iter().map(|pod| pod.kafka.to_string());
        let addresses: Vec<String> = addresses.collect();
        let client = Client::connect(&addresses.join(","), "faults", Env::system()).await?;
        let topic = NewTopic {
            name,
            partitions: Some(partitions),
            replication_factor: None,
            configs: &[],
        };
        client.create_topic(&topic).await?;
        Ok(())
    }

    /// Where clients connect.
    pub(crate) fn addresses(&self) -> Vec<PodAddress> {
        self.pods.iter().map(Pod::address).collect()
    }

    /// Sleeps.
    pub(crate) async fn pause(&self, seconds: f64) {
        let time = Duration::from_secs_f64(seconds);
        self.env.clock.sleep(time).await;
    }

    /// Sleeps between so many milliseconds, as the seed says.
    pub(crate) async fn pause_within(&self, least: u64, most: u64) {
        let time = least + self.rng.below(most - least + 1);
        self.env.clock.sleep(Duration::from_millis(time)).await;
    }

    /// Something worth telling.
    pub(crate) fn fact(&mut self, text: impl Into<String>) {
        self.facts.push(text.into());
    }

    /// The usual load beside `act`.
    pub(crate) async fn under_load<T>(
        &mut self,
        act: impl AsyncFnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.under(Load::default(), act).await
    }

    /// A load beside `act`; it ends when `act` has ended and everything is acknowledged.
    pub(crate) async fn under<T>(
        &mut self,
        load: Load,
        act: impl AsyncFnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let load = Load {
            first_producer: load.first_producer + self.loads * 100,
            librdkafka: self.librdkafka,
            ..load
        };
        self.loads += 1;
        let (trigger, stop) = Shutdown::new();
        let seed = self.seed.wrapping_add(u64::from(self.loads));
        let load = load.run(self.addresses(), self.recorder.clone(), seed, stop);
        let acts = async {
            let done = act(self).await;
            trigger.request();
            done
        };
        let (acts, load) = (Box::pin(acts), Box::pin(load));
        let (done, ended) = tokio::join!(acts, load);
        let done = done?;
        let Ended { errors, librdkafka } = ended.context("a client of the load")?;
        if !errors.is_empty() {
            self.fact(format!("readers were told {errors:?}"));
        }
        if self.librdkafka {
            ensure!(librdkafka > 0, "the clients on librdkafka did nothing");
            self.fact(format!("{librdkafka} operations on librdkafka"));
        }
        Ok(done)
    }

    /// The same rules for all proxies.
    pub(crate) fn rules(&self, rules: &[Rule]) -> anyhow::Result<()> {
        for pod in &self.pods {
            pod.rules(rules.to_vec())?;
        }
        Ok(())
    }

    /// No faults any more; the time to the next acknowledgement is a recovery.
    pub(crate) fn heal(&self) -> anyhow::Result<()> {
        self.rules(&[])?;
        self.recorder.mark();
        Ok(())
    }

    /// Requests that were struck at all proxies.
    pub(crate) fn struck(&self) -> u64 {
        self.pods.iter().map(Pod::struck).sum()
    }

    /// Whoever leads, soon.
    pub(crate) async fn leading(&self) -> anyhow::Result<usize> {
        let deadline = self.env.clock.now().after(READY_WITHIN);
        loop {
            for (place, pod) in self.pods.iter().enumerate() {
                if pod.is_started() && pod.is_ready().await {
                    return Ok(place);
                }
            }
            if self.env.clock.now() >= deadline {
                let logs = self.pods.iter().map(Pod::log);
                let tails =
                    logs.map(|log| log.lines().rev().take(8).collect::<Vec<_>>().join("\n"));
                let tails: Vec<String> = tails.collect();
                bail!(
                    "nobody leads after {READY_WITHIN:?}:\n{}",
                    tails.join("\n--\n")
                );
            }
            self.pause(0.02).await;
        }
    }

    /// Reads a topic from its beginning to its end through whoever leads. `is_last` when it is the
    /// last reading of all. Every reading of the same offsets must have the same digest.
    pub(crate) async fn read_all(
        &mut self,
        topic: &str,
        partitions: i32,
        is_last: bool,
    ) -> anyhow::Result<()> {
        let place = self.leading().await?;
        let address = self.pod(place)?.address();
        for partition in 0..partitions {
            read_to_end(&self.recorder, topic, &address, partition, is_last).await?;
        }
        Ok(())
    }

    /// The last reading, a stop in order, the checker of the history, the audit of the bucket.
    pub(crate) async fn finish(&mut self) -> anyhow::Result<Checked> {
        if self.audited_by_row.is_none() {
            self.read_all(TOPIC, PARTITIONS, true).await?;
            self.stop_all().await?;
        }
        for pod in &self.pods {
            pod.check_log()?;
        }
        if self.is_broken_on_purpose {
            let report = esker_history::check_file(&self.recorder.flush()?)?;
            ensure!(!report.clean, "what was lost was not found: {report}");
            let counts = format!("found: {:?}", report.counts);
            self.fact(counts);
            let audit = Audit::NotDue;
            return Ok(Checked { report, audit });
        }
        let report = self.check_history()?;
        if let Some(audit) = self.audited_by_row {
            return Ok(Checked { report, audit });
        }
        ensure!(
            report.figures.acknowledged > 100,
            "hardly any load: {report}"
        );
        let (recoveries, is_open) = self.recorder.recoveries();
        ensure!(!is_open, "nothing was acknowledged behind the last fault");
        if let (Some(limit), Some(longest)) = (self.recovery_max, recoveries.iter().max()) {
            ensure!(
                *longest <= limit,
                "a recovery took {longest:?}, longer than {limit:?}"
            );
        }
        let audit = audit(&self.store).await?;
        Ok(Checked { report, audit })
    }

    /// What the checker of histories says; it must have nothing against this one.
    pub(crate) fn check_history(&self) -> anyhow::Result<Report> {
        let history = self.recorder.flush()?;
        let report = esker_history::check_file(&history)?;
        ensure!(report.clean, "the history: {report}");
        Ok(report)
    }

    /// SIGTERM to all; each must end with 0.
    pub(crate) async fn stop_all(&mut self) -> anyhow::Result<()> {
        for pod in &mut self.pods {
            if pod.is_started() {
                let status = pod.stop().await?;
                ensure!(status.success(), "{} ended with {status}", pod.name);
            }
        }
        Ok(())
    }

    /// Leaves the history and all logs in `directory`.
    pub(crate) fn keep(&self, directory: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(directory)?;
        // It may not be whole: the run failed somewhere.
        let _ = self.recorder.flush();
        let history = "history.jsonl";
        std::fs::copy(self.store.path().join(history), directory.join(history))?;
        self.pods.iter().try_for_each(|pod| pod.keep(directory))
    }

    /// One figure of every running process.
    pub(crate) async fn metrics(&self, name: &str) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::new();
        for pod in &self.pods {
            if let Ok(figure) = esker_e2e::load::metric(pod.http, name).await {
                all.insert(pod.name.clone(), figure);
            }
        }
        all
    }
}
