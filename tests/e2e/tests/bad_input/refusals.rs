//! `esker serve` that refuses to start: its exit code, and the reason without log lines.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::{Program, esker};
use esker_testkit::{EskerArguments, free_port};

/// A refusal comes sooner; a process that serves instead is killed, and the test fails.
const REFUSED_WITHIN: Duration = Duration::from_secs(40);

/// Why a process did not start.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: i32,
    pub(crate) reason: String,
}

/// `esker serve`, not yet started.
pub(crate) fn serve(arguments: &[&str]) -> anyhow::Result<Program> {
    Ok(esker()?
        .args(["serve"])
        .args(arguments)
        .limit(REFUSED_WITHIN))
}

/// `esker serve` as an end-to-end test starts it, on free ports.
pub(crate) fn serve_as(arguments: &EskerArguments) -> anyhow::Result<Program> {
    let kafka = format!("127.0.0.1:{}", free_port()?);
    let http = format!("127.0.0.1:{}", free_port()?);
    let words = [
        "--store",
        &arguments.store,
        "--kafka-listen",
        &kafka,
        "--http-listen",
        &http,
    ];
    Ok(serve(&words)?.args(&arguments.more))
}

impl Refusal {
    /// Runs what must refuse to start.
    pub(crate) async fn of(program: Program) -> anyhow::Result<Self> {
        let ran = program.run().await?;
        let code = ran.status.code().with_context(|| ran.tell())?;
        ensure!(code != 0, "it did not refuse: {}", ran.tell());
        let said = ran.err();
        let lines = said.lines().filter(|line| !line.starts_with('{'));
        let reason = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
        ensure!(!reason.is_empty(), "no reason: {}", ran.tell());
        ensure!(!said.contains("panicked"), "{}", ran.tell());
        Ok(Self { code, reason })
    }

    /// Exit code 1 and one line that has all of `words`.
    pub(crate) fn says(&self, words: &[&str]) -> anyhow::Result<()> {
        ensure!(self.code == 1, "exit code {}: {}", self.code, self.reason);
        ensure!(
            self.reason.lines().count() == 1,
            "not one line: {}",
            self.reason
        );
        ensure!(self.reason.len() < 1000, "who reads that? {}", self.reason);
        self.names(words)
    }

    /// Exit code 2, for wrong use, and a reason that has all of `words`.
    pub(crate) fn corrects(&self, words: &[&str]) -> anyhow::Result<()> {
        ensure!(self.code == 2, "exit code {}: {}", self.code, self.reason);
        self.names(words)
    }

    fn names(&self, words: &[&str]) -> anyhow::Result<()> {
        for word in words {
            ensure!(
                self.reason.contains(word),
                "{word:?} is missing in {}",
                self.reason
            );
        }
        Ok(())
    }
}
