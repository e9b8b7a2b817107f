//! Apache Kafka's own broker, one node, from the jars of `.ci/bootstrap jvm`: what our client
//! commands must work against too.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use esker_env::Env;
use esker_kafka::client::Client;
use esker_testkit::{bootstrapped, free_port};
use tempfile::TempDir;

use crate::program::Program;

/// The JVM starts slowly on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Any 16 bytes, as Kafka writes them.
const CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

/// A running broker; killed on drop.
#[derive(Debug)]
pub struct KafkaBroker {
    child: Child,
    /// Where clients connect.
    pub kafka: SocketAddr,
    directory: TempDir,
}

fn properties(directory: &Path, kafka: SocketAddr, controller: SocketAddr) -> String {
    let lines = [
        "process.roles=broker,controller".to_owned(),
        "node.id=1".to_owned(),
        format!("controller.quorum.voters=1@{controller}"),
        format!("listeners=PLAINTEXT://{kafka},CONTROLLER://{controller}"),
        format!("advertised.listeners=PLAINTEXT://{kafka}"),
        "controller.listener.names=CONTROLLER".to_owned(),
        format!("log.dirs={}", directory.join("logs").display()),
        "offsets.topic.replication.factor=1".to_owned(),
        "offsets.topic.num.partitions=1".to_owned(),
        "group.initial.rebalance.delay.ms=0".to_owned(),
    ];
    lines.join("\n")
}

impl KafkaBroker {
    /// Formats a directory, starts the broker and waits until it answers.
    ///
    /// # Errors
    /// The jars are missing, or it does not come up: the end of its log is told.
    pub async fn start() -> anyhow::Result<Self> {
        let directory = TempDir::with_prefix("esker-e2e-kafka-")?;
        let class_path = std::fs::read_to_string(bootstrapped("jvm/cp.txt", "jvm")?)?;
        let class_path = class_path.trim();
        let kafka = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let controller = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let file = directory.path().join("server.properties");
        std::fs::write(&file, properties(directory.path(), kafka, controller))?;
        let options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
        Program::new("java")
            .args(options)
            .args(["-cp", class_path, "kafka.tools.StorageTool", "format"])
            .args(["-t", CLUSTER_ID, "-c"])
            .args([&file])
            .succeed()
            .await?;
        let logging = bootstrapped("jvm/log4j2.properties", "jvm")?;
        let log = std::fs::File::create(directory.path().join("kafka.log"))?;
        let child = Command::new("java")
            .args(options)
            .args(["-Xmx400m", "-cp", class_path])
            .arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
            .arg("kafka.Kafka")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start Apache Kafka")?;
        let mut broker = Self {
            child,
            kafka,
            directory,
        };
        broker.wait_until_ready().await?;
        Ok(broker)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let env = Env::system();
        let deadline = env.clock.now().after(READY_WITHIN);
        let address = self.kafka.to_string();
        while env.clock.now() < deadline && self.child.try_wait()?.is_none() {
            if Client::connect(&address, "e2e", env.clone()).await.is_ok() {
                return Ok(());
            }
            env.clock.sleep(Duration::from_millis(200)).await;
        }
        let log = std::fs::read_to_string(self.directory.path().join("kafka.log"));
        bail!(
            "Apache Kafka does not come up:\n{}",
            log.unwrap_or_default()
        )
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
