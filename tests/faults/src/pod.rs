//! One `esker serve` of a run, on ports that stay its own over restarts, behind a proxy of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::load::lasting_port;
use esker_e2e::{StoreKind, TestStore};
use esker_testkit::{EskerArguments, EskerProcess, Rule, ShaperHandle};
use rustix::process::Signal;

use crate::reader::PodAddress;

/// A place for a process: it may run or not.
#[derive(Debug)]
pub(crate) struct Pod {
    /// Appears in histories.
    pub(crate) name: String,
    /// How it is started.
    pub(crate) arguments: EskerArguments,
    /// Where clients connect.
    pub(crate) kafka: SocketAddr,
    /// Where HTTP is served.
    pub(crate) http: SocketAddr,
    process: Option<EskerProcess>,
    /// Between it and its store; none in front of a directory.
    shaper: Option<ShaperHandle>,
}

impl Pod {
    /// A place for a process on `store`; nothing is started.
    pub(crate) async fn new(
        store: &TestStore,
        kind: StoreKind,
        name: &str,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let directory = store.path().join(name);
        std::fs::create_dir_all(&directory)?;
        let (shaper, arguments) = match kind {
            StoreKind::Directory => (None, store.arguments()),
            StoreKind::Minio | StoreKind::Seaweed => {
                let shaper = store.seeded_shaper(seed, Vec::new()).await?;
                let arguments = store.arguments_through(&shaper);
                (Some(shaper), arguments)
            }
        };
        let (kafka, http) = (lasting_port()?, lasting_port()?);
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self {
            name: name.to_owned(),
            arguments: EskerArguments {
                directory,
                kafka_port: Some(kafka),
                http_port: Some(http),
                ..arguments
            },
            kafka: local(kafka),
            http: local(http),
            process: None,
            shaper,
        })
    }

    /// Further arguments of every later start.
    pub(crate) fn add_arguments(&mut self, more: &[&str]) {
        let more = more.iter().map(|word| (*word).to_owned());
        self.arguments.more.extend(more);
    }

    /// Its name and Kafka address.
    pub(crate) fn address(&self) -> PodAddress {
        (self.name.clone(), self.kafka)
    }

    /// Starts it and waits until it leads.
    pub(crate) async fn start(&mut self) -> anyhow::Result<Duration> {
        let process = EskerProcess::start(&self.arguments).await;
        let process = process.with_context(|| format!("start {}", self.name))?;
        let took = process.ready_after;
        self.process = Some(process);
        Ok(took)
    }

    /// Starts it without waiting.
    pub(crate) fn spawn(&mut self) -> anyhow::Result<()> {
        self.process = Some(EskerProcess::spawn(&self.arguments)?);
        Ok(())
    }

    /// The running process.
    pub(crate) fn process(&mut self) -> anyhow::Result<&mut EskerProcess> {
        let name = &self.name;
        self.process
            .as_mut()
            .with_context(|| format!("{name} does not run"))
    }

    /// Whether one was started and not yet ended by [`Self::kill9`] or [`Self::stop`].
    pub(crate) fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// `kill -9`.
    pub(crate) fn kill9(&mut self) -> anyhow::Result<()> {
        self.process()?.kill9()?;
        self.process = None;
        Ok(())
    }

    /// SIGTERM, and its end.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let status = self.process()?.stop().await?;
        self.process = None;
        Ok(status)
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended_within(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let status = self.process()?.wait_for_end(limit).await?;
        self.process = None;
        Ok(status)
    }

    /// Sends a signal.
    pub(crate) fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.process()?.signal(signal)
    }

    /// Whether `/readyz` says that it leads and serves.
    pub(crate) async fn is_ready(&self) -> bool {
        let answer = reqwest::get(format!("http://{}/readyz", self.http)).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// What lies between it and its store.
    pub(crate) fn shaper(&self) -> anyhow::Result<&ShaperHandle> {
        self.shaper.as_ref().context("a directory has no proxy")
    }

    /// Replaces the faults of its store.
    pub(crate) fn rules(&self, rules: Vec<Rule>) -> anyhow::Result<()> {
        self.shaper()?.set_rules(rules);
        Ok(())
    }

    /// Requests that its proxy struck so far.
    pub(crate) fn struck(&self) -> u64 {
        let Some(shaper) = &self.shaper else { return 0 };
        let log = shaper.decisions();
        log.forgotten + u64::try_from(log.decisions.len()).unwrap_or(u64::MAX)
    }

    /// Its whole log over all starts.
    pub(crate) fn log(&self) -> String {
        let path = self.arguments.directory.join("esker.log");
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Leaves its log and the decisions of its proxy in `directory`.
    pub(crate) fn keep(&self, directory: &Path) -> anyhow::Result<()> {
        std::fs::write(directory.join(format!("{}.log", self.name)), self.log())?;
        if let Some(shaper) = &self.shaper {
            let decisions = serde_json::to_vec_pretty(&shaper.decisions())?;
            std::fs::write(
                directory.join(format!("{}.decisions.json", self.name)),
                decisions,
            )?;
        }
        Ok(())
    }

    /// No start of it may have panicked.
    pub(crate) fn check_log(&self) -> anyhow::Result<()> {
        let log = self.log();
        let panic = log.lines().find(|line| line.contains("panicked at"));
        ensure!(panic.is_none(), "{} panicked: {panic:?}", self.name);
        Ok(())
    }
}
