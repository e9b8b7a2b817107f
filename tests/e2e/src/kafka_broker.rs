//! Apache Kafka itself, one KRaft node from the jars of `.ci/bootstrap jvm`: our client commands
//! must work against it, our answers are compared with its, and our figures too.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use esker_env::Env;
use esker_kafka::client::Client;
use esker_testkit::{bootstrapped, free_port};

use crate::program::Program;

/// The JVM starts slowly on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Any 16 bytes, as Kafka writes them.
const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";

/// What the broker is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaUse {
    /// Its answers: started quickly, with a small heap.
    Answers,
    /// Its speed: the heap and options of its own start script, acknowledged from the page cache.
    Speed,
    /// The same, and each append is on disk before it is acknowledged.
    SpeedFlushed,
}

/// A directory formatted for a broker that was not started yet.
#[derive(Debug)]
pub struct FormattedKafka {
    kind: KafkaUse,
    properties: PathBuf,
    log: PathBuf,
    address: SocketAddr,
}

/// A running broker; killed on drop.
#[derive(Debug)]
pub struct KafkaBroker {
    child: Child,
    /// Where clients connect.
    pub kafka: SocketAddr,
    log: PathBuf,
}

fn java(kind: KafkaUse) -> anyhow::Result<Vec<String>> {
    let class_path = std::fs::read_to_string(bootstrapped("jvm/cp.txt", "jvm")?)?;
    let logging = bootstrapped("jvm/log4j2.properties", "jvm")?;
    let options: &[&str] = match kind {
        KafkaUse::Answers => &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m"],
        // As kafka-server-start.sh and kafka-run-class.sh do.
        KafkaUse::Speed | KafkaUse::SpeedFlushed => &[
            "-Xms1g",
            "-Xmx1g",
            "-server",
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
            "-XX:InitiatingHeapOccupancyPercent=35",
        ],
    };
    let mut words: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
    words.push(format!("-Dlog4j2.configurationFile={}", logging.display()));
    words.extend(["-cp".to_owned(), class_path.trim().to_owned()]);
    Ok(words)
}

fn settings(kind: KafkaUse, directory: &Path, kafka: SocketAddr, controller: SocketAddr) -> String {
    let listeners = format!("PLAINTEXT://{kafka},CONTROLLER://{controller}");
    let mut lines = vec![
        "process.roles=broker,controller".to_owned(),
        "node.id=1".to_owned(),
        format!("controller.quorum.bootstrap.servers={controller}"),
        format!("listeners={listeners}"),
        format!("advertised.listeners={listeners}"),
        "controller.listener.names=CONTROLLER".to_owned(),
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned(),
        format!("log.dirs={}", directory.join("kafka-logs").display()),
        "offsets.topic.replication.factor=1".to_owned(),
        "offsets.topic.num.partitions=1".to_owned(),
        "transaction.state.log.replication.factor=1".to_owned(),
        "transaction.state.log.min.isr=1".to_owned(),
        "share.coordinator.state.topic.replication.factor=1".to_owned(),
        "share.coordinator.state.topic.min.isr=1".to_owned(),
        "group.initial.rebalance.delay.ms=0".to_owned(),
    ];
    if kind == KafkaUse::SpeedFlushed {
        lines.push("log.flush.interval.messages=1".to_owned());
    }
    lines.join("\n") + "\n"
}

impl FormattedKafka {
    /// Formats storage below `directory`, node id 1.
    ///
    /// # Errors
    /// The jars are missing, or the tool fails.
    pub async fn new(directory: &Path, kind: KafkaUse) -> anyhow::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let controller = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let properties = directory.join("kafka.properties");
        std::fs::write(&properties, settings(kind, directory, address, controller))?;
        Program::new("java")
            .args(java(KafkaUse::Answers)?)
            .args(["kafka.tools.StorageTool", "format", "--standalone"])
            .args(["-t", CLUSTER_ID, "-c"])
            .args([&properties])
            .succeed()
            .await?;
        Ok(Self {
            kind,
            properties,
            log: directory.join("kafka.log"),
            address,
        })
    }

    /// Starts the broker without waiting for it.
    ///
    /// # Errors
    /// No java.
    pub fn spawn(&self) -> anyhow::Result<KafkaBroker> {
        let log = std::fs::File::create(&self.log)?;
        let child = Command::new("java")
            .args(java(self.kind)?)
            .arg("kafka.Kafka")
            .arg(&self.properties)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start Apache Kafka")?;
        Ok(KafkaBroker {
            child,
            kafka: self.address,
            log: self.log.clone(),
        })
    }
}

impl KafkaBroker {
    /// Formats storage below `directory`, starts a broker for its answers, and waits for it.
    ///
    /// # Errors
    /// The jars are missing, or it does not come up: its log is told.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        let formatted = FormattedKafka::new(directory, KafkaUse::Answers).await?;
        let mut broker = formatted.spawn()?;
        broker.wait_until_ready().await?;
        Ok(broker)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let env = Env::system();
        let deadline = env.clock.now().after(READY_WITHIN);
        let address = self.kafka.to_string();
        while env.clock.now() < deadline && self.child.try_wait()?.is_none() {
            let client = Client::connect(&address, "ready", env.clone()).await;
            if client.is_ok_and(|client| !client.brokers().is_empty()) {
                return Ok(());
            }
            env.clock.sleep(Duration::from_millis(200)).await;
        }
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        bail!("Apache Kafka does not come up:\n{log}")
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
