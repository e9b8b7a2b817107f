//! Foreign programs, run to their end with a bound, their output kept as bytes.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use esker_env::{Env, timeout};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A program that runs longer is killed, and the test fails.
const RUN_TIME_MAX: Duration = Duration::from_secs(90);

/// A program about to run.
#[derive(Debug)]
pub struct Program {
    command: Command,
    stdin: Vec<u8>,
    limit: Duration,
}

/// A program that ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How it was called, for messages.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it complained.
    pub stderr: Vec<u8>,
}

impl Program {
    /// `name` is a path, or looked for in `PATH`.
    #[must_use]
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(name);
        command
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self {
            command,
            stdin: Vec::new(),
            limit: RUN_TIME_MAX,
        }
    }

    /// The same, with processor time that nobody else wants (`SCHED_IDLE`): a program that stands
    /// for one on another machine.
    #[must_use]
    pub fn new_elsewhere(name: impl AsRef<OsStr>) -> Self {
        Self::new("chrt").args(["--idle", "0"]).args([name])
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn directory(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// What it reads; nothing without it.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// How long it may run.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end, whatever its exit code.
    ///
    /// # Errors
    /// It cannot be started (not installed?), or ran too long.
    pub async fn run(mut self) -> anyhow::Result<Ran> {
        let line = format!("{:?}", self.command.as_std());
        let mut child = self
            .command
            .spawn()
            .with_context(|| format!("start {line} (.ci/bootstrap installs the tools)"))?;
        let mut pipe = child.stdin.take().context("stdin is a pipe")?;
        let input = std::mem::take(&mut self.stdin);
        let feed = async move {
            // One that ends without reading all of its input is judged by its exit code.
            let _ = pipe.write_all(&input).await;
            drop(pipe);
        };
        let clock = Env::system().clock;
        let ended = async { tokio::join!(feed, child.wait_with_output()).1 };
        let Ok(output) = timeout(clock.as_ref(), self.limit, ended).await else {
            bail!("{line} still ran after {:?}", self.limit);
        };
        let output = output?;
        Ok(Ran {
            line,
            status: output.status,
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    /// Runs it and demands success.
    ///
    /// # Errors
    /// As [`Self::run`], or an exit code other than 0: with all that it wrote.
    pub async fn succeed(self) -> anyhow::Result<Ran> {
        let ran = self.run().await?;
        if !ran.status.success() {
            bail!("{}", ran.tell());
        }
        Ok(ran)
    }
}

impl Ran {
    /// Standard output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Everything, for messages.
    #[must_use]
    pub fn tell(&self) -> String {
        format!(
            "{}\nended with {}\nstdout:\n{}\nstderr:\n{}",
            self.line,
            self.status,
            self.out(),
            self.err()
        )
    }
}

/// The binary under test, for its client commands.
///
/// # Errors
/// It was not built.
pub fn esker() -> anyhow::Result<Program> {
    Ok(Program::new(esker_testkit::esker_binary()?))
}

/// Prints what a test has shown, whether or not the harness captures output.
pub fn proved(claim: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "[proved] {claim}");
}
