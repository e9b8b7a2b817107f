//! One run of `esker doctor -o json`, and what it found.

use anyhow::{Context as _, ensure};
use esker_e2e::{Program, Ran, esker};
use esker_testkit::free_port;
use serde_json::Value;

/// What the doctor said.
#[derive(Debug)]
pub(crate) struct Examination {
    pub(crate) ran: Ran,
    pub(crate) report: Value,
}

/// `esker doctor` on free ports; later arguments win over none of these.
pub(crate) fn doctor(arguments: &[&str]) -> anyhow::Result<Program> {
    let kafka = format!("127.0.0.1:{}", free_port()?);
    let http = format!("127.0.0.1:{}", free_port()?);
    doctor_at(&kafka, &http, arguments)
}

/// `esker doctor` for a server that listens there.
pub(crate) fn doctor_at(kafka: &str, http: &str, arguments: &[&str]) -> anyhow::Result<Program> {
    let ports = ["--kafka-listen", kafka, "--http-listen", http];
    Ok(esker()?
        .args(["doctor", "-o", "json"])
        .args(ports)
        .args(arguments))
}

impl Examination {
    pub(crate) async fn of(program: Program) -> anyhow::Result<Self> {
        let ran = program.run().await?;
        let report = serde_json::from_slice(&ran.stdout).with_context(|| ran.tell())?;
        Ok(Self { ran, report })
    }

    fn findings(&self) -> impl Iterator<Item = &Value> {
        self.report["findings"].as_array().into_iter().flatten()
    }

    /// The checks with this status.
    pub(crate) fn checks(&self, status: &str) -> Vec<&str> {
        let findings = self.findings().filter(|one| one["status"] == status);
        findings.filter_map(|one| one["check"].as_str()).collect()
    }

    /// Exit code 0, nothing failed, and these checks are well.
    pub(crate) fn is_well(&self, checks: &[&str]) -> anyhow::Result<()> {
        ensure!(self.ran.status.code() == Some(0), "{}", self.ran.tell());
        ensure!(self.checks("failed").is_empty(), "{}", self.ran.tell());
        let well = self.checks("ok");
        for check in checks {
            ensure!(well.contains(check), "{check}: {}", self.ran.tell());
        }
        Ok(())
    }

    /// Exit code 1, just these checks failed, and the first of them says and advises these words.
    pub(crate) fn blames(
        &self,
        checks: &[&str],
        happened: &str,
        to_do: &str,
    ) -> anyhow::Result<String> {
        ensure!(self.ran.status.code() == Some(1), "{}", self.ran.tell());
        ensure!(self.report["verdict"] == "failed", "{}", self.ran.tell());
        let mut failed = self.checks("failed");
        failed.dedup();
        ensure!(failed == checks, "{failed:?}: {}", self.ran.tell());
        let first = self.findings().find(|one| one["status"] == "failed");
        let first = first.context("nothing failed")?;
        let text = |name: &str| first[name].as_str().unwrap_or_default().to_owned();
        ensure!(text("happened").contains(happened), "{first}");
        ensure!(text("to_do").contains(to_do), "{first}");
        ensure!(!text("tried").is_empty(), "{first}");
        ensure!(self.ran.err().contains("to do"), "{}", self.ran.tell());
        Ok(format!("{}: {}", text("tried"), text("happened")))
    }
}
