//! Apache Kafka's own command-line tools, from the unmodified jars of `.ci/bootstrap jvm`.

use std::net::SocketAddr;
use std::path::PathBuf;

use esker_testkit::bootstrapped;

use crate::program::{Program, Ran};

/// The tools, pointed at one broker.
#[derive(Clone, Debug)]
pub struct KafkaTools {
    class_path: String,
    logging: PathBuf,
    bootstrap: String,
}

impl KafkaTools {
    /// Tools that talk to `kafka`.
    ///
    /// # Errors
    /// The jars are missing.
    pub fn new(kafka: SocketAddr) -> anyhow::Result<Self> {
        let class_path = std::fs::read_to_string(bootstrapped("jvm/cp.txt", "jvm")?)?;
        Ok(Self {
            class_path: class_path.trim().to_owned(),
            logging: bootstrapped("jvm/log4j2.properties", "jvm")?,
            bootstrap: kafka.to_string(),
        })
    }

    /// A tool by its class below `org.apache.kafka.tools`; `--bootstrap-server` is given.
    #[must_use]
    pub fn tool(&self, class: &str, arguments: &[&str]) -> Program {
        Program::new("java")
            .args(self.java_arguments())
            .args([format!("org.apache.kafka.tools.{class}")])
            .args(["--bootstrap-server", &self.bootstrap])
            .args(arguments)
    }

    /// What stands before the name of a class. Tools are short-lived: the second compiler would
    /// only cost processor time.
    fn java_arguments(&self) -> Vec<String> {
        let logging = format!("-Dlog4j2.configurationFile={}", self.logging.display());
        let jvm = [
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xshare:auto",
        ];
        let jvm = jvm.iter().map(|argument| (*argument).to_owned());
        jvm.chain([logging, "-cp".to_owned(), self.class_path.clone()])
            .collect()
    }

    /// Runs a tool that must succeed.
    ///
    /// # Errors
    /// It fails.
    pub async fn succeed(&self, class: &str, arguments: &[&str]) -> anyhow::Result<Ran> {
        self.tool(class, arguments).succeed().await
    }
}
