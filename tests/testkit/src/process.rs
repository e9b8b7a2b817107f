//! The `esker` binary as a child process: started, asked whether it is ready, stopped or killed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use esker_env::Env;
use rustix::process::{Pid, Signal, kill_process};

use crate::{free_port, variable};

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(40);

/// How to start it. Ports are chosen unless given.
#[derive(Clone, Debug)]
pub struct EskerArguments {
    /// Where the log goes (`esker.log`, appended over restarts).
    pub directory: PathBuf,
    /// `--store`, such as `file:///dir` or `s3://bucket/prefix`.
    pub store: String,
    /// Further arguments of `esker serve`.
    pub more: Vec<String>,
    /// Where it listens.
    pub address: IpAddr,
    /// Program and arguments that start it instead, such as `unshare -m`; empty: none.
    pub wrapper: Vec<String>,
    /// Further environment.
    pub environment: Vec<(String, String)>,
    /// Kafka's port; the same one again for a restart.
    pub kafka_port: Option<u16>,
    /// HTTP's port.
    pub http_port: Option<u16>,
}

impl EskerArguments {
    /// All roles on `store`, log in `directory`.
    #[must_use]
    pub fn new(directory: &Path, store: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            store: store.to_owned(),
            more: Vec::new(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            wrapper: Vec::new(),
            environment: Vec::new(),
            kafka_port: None,
            http_port: None,
        }
    }
}

/// A running `esker serve`; killed on drop.
#[derive(Debug)]
pub struct EskerProcess {
    child: Child,
    /// Where Kafka clients connect.
    pub kafka: SocketAddr,
    /// Where HTTP clients connect.
    pub http: SocketAddr,
    /// Everything it wrote.
    pub log: PathBuf,
    /// From start to the first `ready`.
    pub ready_after: Duration,
}

/// `ESKER_BIN`, else the `esker` beside the running test in cargo's target directory.
///
/// # Errors
/// There is none: build it first.
pub fn esker_binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = variable("ESKER_BIN") {
        return Ok(PathBuf::from(path));
    }
    built("esker").context("set ESKER_BIN, or")
}

/// A program of the workspace, beside the running test in cargo's target directory.
///
/// # Errors
/// There is none: build it first.
pub fn built(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    // target/debug/deps/test-1234 -> target/debug/esker
    let mut directory = test.parent();
    while let Some(candidate) = directory {
        let path = candidate.join(name);
        if path.is_file() {
            return Ok(path);
        }
        directory = candidate.parent();
    }
    bail!("no program {name}: run cargo build --workspace --bins")
}

impl EskerProcess {
    /// Starts it and waits until `/readyz` says so.
    ///
    /// # Errors
    /// No binary, it ended, or it is not ready in time; the end of the log is in the error.
    pub async fn start(arguments: &EskerArguments) -> anyhow::Result<Self> {
        let mut process = Self::spawn(arguments)?;
        process.wait_until_ready().await?;
        Ok(process)
    }

    /// Starts it without waiting: for tests of what it refuses, and of standbys.
    ///
    /// # Errors
    /// No binary.
    pub fn spawn(arguments: &EskerArguments) -> anyhow::Result<Self> {
        let kafka = listen(arguments.address, arguments.kafka_port)?;
        let http = listen(arguments.address, arguments.http_port)?;
        let log = arguments.directory.join("esker.log");
        let output = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)?;
        let mut command = match arguments.wrapper.split_first() {
            None => Command::new(esker_binary()?),
            Some((program, its)) => {
                let mut command = Command::new(program);
                command.args(its).arg(esker_binary()?);
                command
            }
        };
        let child = command
            .arg("serve")
            .args(["--store", &arguments.store])
            .args(["--kafka-listen", &kafka.to_string()])
            .args(["--http-listen", &http.to_string()])
            .args(&arguments.more)
            .envs(
                arguments
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("start esker")?;
        Ok(Self {
            child,
            kafka,
            http,
            log,
            ready_after: Duration::ZERO,
        })
    }

    /// Waits until `/readyz` answers with success.
    ///
    /// # Errors
    /// It ended, or it is not ready in time.
    pub async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        self.wait_until_ready_within(READY_WITHIN).await
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// It ended, or it is not ready in time.
    pub async fn wait_until_ready_within(&mut self, limit: Duration) -> anyhow::Result<()> {
        let env = Env::system();
        let start = env.clock.now();
        let url = format!("http://{}/readyz", self.http);
        while env.clock.now().since(start) < limit {
            if let Some(status) = self.child.try_wait()? {
                bail!("esker ended ({status}):\n{}", self.log_tail());
            }
            if reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                self.ready_after = env.clock.now().since(start);
                return Ok(());
            }
            env.clock.sleep(Duration::from_millis(10)).await;
        }
        bail!("esker is not ready after {limit:?}:\n{}", self.log_tail())
    }

    /// The last lines of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits for the end.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill9(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal, such as `STOP` and `CONT`.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = i32::try_from(self.child.id())?;
        let id = Pid::from_raw(id).context("a process id is not 0")?;
        Ok(kill_process(id, signal)?)
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// SIGTERM, and waits for the drain.
    ///
    /// # Errors
    /// It did not end in time.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_for_end(STOPPED_WITHIN).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It still runs.
    pub async fn wait_for_end(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let env = Env::system();
        let start = env.clock.now();
        while env.clock.now().since(start) < limit {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            env.clock.sleep(Duration::from_millis(10)).await;
        }
        bail!("esker still runs after {limit:?}:\n{}", self.log_tail())
    }
}

fn listen(address: IpAddr, port: Option<u16>) -> anyhow::Result<SocketAddr> {
    let port = match port {
        Some(port) => port,
        None => free_port()?,
    };
    Ok(SocketAddr::from((address, port)))
}

impl Drop for EskerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
