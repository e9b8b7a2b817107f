//! Apache Kafka itself, one node from the jars of `.ci/bootstrap jvm`, to compare answers with.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use esker_env::Env;
use esker_kafka::client::Client;

use crate::KafkaTools;
use crate::program::Program;

const READY_WITHIN: Duration = Duration::from_secs(90);

/// A running broker; killed on drop.
#[derive(Debug)]
pub struct ReferenceBroker {
    child: Child,
    /// Where clients connect.
    pub kafka: SocketAddr,
    log: PathBuf,
}

impl ReferenceBroker {
    /// Formats a directory below `directory` and starts a broker on it, node id 1.
    ///
    /// # Errors
    /// No jars, or it is not ready in time.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        let loopback = std::net::Ipv4Addr::LOCALHOST;
        let kafka = SocketAddr::from((loopback, esker_testkit::free_port()?));
        let controller = SocketAddr::from((loopback, esker_testkit::free_port()?));
        let properties = directory.join("reference.properties");
        std::fs::write(&properties, settings(directory, kafka, controller))?;
        let properties = properties.display().to_string();
        let tools = KafkaTools::new(kafka)?;
        Program::new("java")
            .args(tools.java_arguments())
            .args(["kafka.tools.StorageTool", "format", "--standalone"])
            .args(["-t", "4L6g3nShT-eMCtK--X86sw", "-c", &properties])
            .succeed()
            .await?;
        let log = directory.join("reference.log");
        let child = Command::new("java")
            .arg("-Xmx512m")
            .args(tools.java_arguments())
            .args(["kafka.Kafka", &properties])
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .context("start java")?;
        let mut broker = Self { child, kafka, log };
        broker.wait_until_ready().await?;
        Ok(broker)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let env = Env::system();
        let deadline = env.clock.now().after(READY_WITHIN);
        loop {
            let status = self.child.try_wait()?;
            ensure!(
                status.is_none(),
                "ended with {status:?}: see {}",
                self.log.display()
            );
            let address = self.kafka.to_string();
            let client = Client::connect(&address, "ready", env.clone()).await;
            if client.is_ok_and(|client| !client.brokers().is_empty()) {
                return Ok(());
            }
            if env.clock.now() >= deadline {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("Apache Kafka is not ready after {READY_WITHIN:?}: {log}");
            }
            env.clock.sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for ReferenceBroker {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(directory: &Path, kafka: SocketAddr, controller: SocketAddr) -> String {
    let listeners = format!("PLAINTEXT://{kafka},CONTROLLER://{controller}");
    let logs = directory.join("reference-logs");
    format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.bootstrap.servers={controller}\n\
         listeners={listeners}\nadvertised.listeners={listeners}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={}\noffsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n",
        logs.display()
    )
}
