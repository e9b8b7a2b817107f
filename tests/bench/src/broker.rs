//! Apache Kafka itself as a contender: one KRaft node from the unmodified jars.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use esker_testkit::{bootstrapped, free_port};

/// A running node; killed on drop.
#[derive(Debug)]
pub(crate) struct KafkaBroker {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// What a node promises before it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Nothing: the page cache holds the record. Kafka's default.
    Default,
    /// Each append is on disk.
    EveryMessage,
}

fn properties(directory: &Path, kafka: u16, controller: u16, flush: Flush) -> String {
    let logs = directory.join("kafka-logs");
    let mut lines = vec![
        "process.roles=broker,controller".to_owned(),
        "node.id=1".to_owned(),
        format!("controller.quorum.bootstrap.servers=127.0.0.1:{controller}"),
        format!("listeners=PLAINTEXT://127.0.0.1:{kafka},CONTROLLER://127.0.0.1:{controller}"),
        format!(
            "advertised.listeners=PLAINTEXT://127.0.0.1:{kafka},\
             CONTROLLER://127.0.0.1:{controller}"
        ),
        "controller.listener.names=CONTROLLER".to_owned(),
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned(),
        format!("log.dirs={}", logs.display()),
        "group.initial.rebalance.delay.ms=0".to_owned(),
    ];
    for topic in [
        "offsets.topic",
        "transaction.state.log",
        "share.coordinator.state.topic",
    ] {
        lines.push(format!("{topic}.replication.factor=1"));
    }
    for topic in ["transaction.state.log", "share.coordinator.state.topic"] {
        lines.push(format!("{topic}.min.isr=1"));
    }
    if flush == Flush::EveryMessage {
        lines.push("log.flush.interval.messages=1".to_owned());
    }
    lines.join("\n") + "\n"
}

fn java(heap: &str) -> anyhow::Result<Command> {
    let class_path = std::fs::read_to_string(bootstrapped("jvm/cp.txt", "jvm")?)?;
    let logging = bootstrapped("jvm/log4j2.properties", "jvm")?;
    let mut command = Command::new("java");
    command
        .args([&format!("-Xms{heap}"), &format!("-Xmx{heap}")])
        // As kafka-run-class.sh starts it.
        .args(["-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"])
        .args([
            "-XX:InitiatingHeapOccupancyPercent=35",
            "-Djava.awt.headless=true",
        ])
        .arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
        .args(["-cp", class_path.trim()]);
    Ok(command)
}

fn finished(mut command: Command) -> anyhow::Result<String> {
    let output = command.output().context("run java")?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl KafkaBroker {
    /// Formats its storage, which is not part of its start.
    pub(crate) fn format(directory: &Path, flush: Flush) -> anyhow::Result<SocketAddr> {
        let (kafka, controller) = (free_port()?, free_port()?);
        let file = directory.join("kafka.properties");
        std::fs::write(&file, properties(directory, kafka, controller, flush))?;
        let mut identity = java("256m")?;
        identity.args(["kafka.tools.StorageTool", "random-uuid"]);
        let identity = finished(identity)?;
        let identity = identity.lines().last().context("a cluster id")?;
        let mut format = java("256m")?;
        format
            .args(["kafka.tools.StorageTool", "format", "--standalone"])
            .args(["-t", identity, "-c"])
            .arg(&file);
        finished(format)?;
        Ok(SocketAddr::from(([127, 0, 0, 1], kafka)))
    }

    /// Starts it on formatted storage, without waiting.
    pub(crate) fn spawn(directory: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let log = std::fs::File::create(directory.join("kafka.log"))?;
        let child = java("1g")?
            .arg("kafka.Kafka")
            .arg(directory.join("kafka.properties"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start Apache Kafka")?;
        Ok(Self { child, address })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
