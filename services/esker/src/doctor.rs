//! `esker doctor`: would `esker serve` work here, and does the server that runs?
//!
//! Each finding says what was tried, what happened and what to do. The store is written to below
//! `probe/` only and left as it was; a running server gets a topic that is deleted again.

mod finding;
mod host;
mod server;
mod store;

use std::collections::BTreeMap;

use clap::Args;
use esker_env::Env;
use serde::Serialize;

use crate::cli::exit::{Cause, Failure, with_causes};
use crate::cli::paint::{Paint, Tone};
use crate::cli::show::{Column, Row, Show, left, table_of};
use crate::cli::{Common, Plainness};
use crate::config::{Chosen, FileError, Mistakes, ServeConfig, describe};
use finding::{Examined, Finding, Status, Timing};

// What `esker doctor` has beside the settings of `esker serve`. No doc comment: clap would make it
// the help of the command.
#[derive(Args, Clone, Debug)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    /// HTTP address of the server to examine [default: http-listen]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) http: Option<String>,
}

/// What is examined: settings as they were found, and which server.
#[derive(Debug)]
pub(crate) struct Patient {
    pub(crate) arguments: DoctorArguments,
    /// Whether `--bootstrap` or its variable names a server.
    pub(crate) is_server_given: bool,
    pub(crate) chosen: Result<BTreeMap<&'static str, Chosen>, FileError>,
}

#[derive(Debug, Serialize)]
struct SettingLine {
    setting: String,
    value: String,
    origin: String,
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Report {
    verdict: Status,
    findings: Vec<Finding>,
    timings: Vec<Timing>,
    settings: Vec<SettingLine>,
}

impl Row for SettingLine {
    const COLUMNS: &'static [Column<Self>] = &[
        left("SETTING", |line| line.setting.clone()),
        left("VALUE", |line| line.value.clone()),
        left("ORIGIN", |line| line.origin.clone()),
    ];
}

impl Show for Report {
    fn text(&self, paint: Paint) -> String {
        let mut text = table_of(&self.settings, paint);
        text.push('\n');
        for finding in &self.findings {
            text.push_str(&finding.text(paint));
        }
        if !self.timings.is_empty() {
            text.push('\n');
            text.push_str(&table_of(&self.timings, paint));
        }
        let count = |status: Status| {
            let findings = self.findings.iter();
            findings.filter(|one| one.status == status).count()
        };
        let words = format!(
            "{} ok, {} to look at, {} failed, {} not examined",
            count(Status::Ok),
            count(Status::Warning),
            count(Status::Failed),
            count(Status::Skipped)
        );
        text.push_str(&format!("\n{}\n", paint.tone(self.verdict.tone(), &words)));
        text
    }
}

/// Examines everything and shows what was found.
///
/// # Errors
/// A check failed, after all has been shown; or nothing could be shown.
pub(crate) async fn run(patient: Patient, env: Env) -> Result<(), Failure> {
    let report = examine(&patient, &env).await;
    patient.arguments.common.show(&report)?;
    let failed = report.findings.iter();
    let failed = failed.filter(|one| one.status == Status::Failed).count();
    match failed {
        0 => Ok(()),
        _ => {
            let what = format!("checks that failed: {failed}");
            let failure = Failure::new("call this healthy", Cause::Findings { what });
            Err(failure.advise("each says above what to do"))
        }
    }
}

pub(crate) fn plainness(patient: &Patient) -> Plainness {
    patient.arguments.common.plainness
}

async fn examine(patient: &Patient, env: &Env) -> Report {
    let mut examined = Examined::default();
    let mut settings = Vec::new();
    let mut config = None;
    match &patient.chosen {
        Err(error) => examined.add(unreadable(error)),
        Ok(chosen) => {
            let rows = describe(chosen).into_iter();
            let rows = rows.map(|(setting, value, origin)| SettingLine {
                setting,
                value,
                origin,
            });
            settings = rows.collect();
            match ServeConfig::parse(chosen) {
                Ok(parsed) => {
                    examined.add(Finding::ok(
                        "settings",
                        "read the settings of esker serve",
                        format!("all {} can be used", settings.len()),
                    ));
                    config = Some(parsed);
                }
                Err(mistakes) => wrong_settings(&mut examined, &mistakes),
            }
        }
    }
    if let Some(config) = &config {
        host::examine(&mut examined, config).await;
        let running = server::examine(&mut examined, patient, config, env).await;
        store::examine(&mut examined, config, running, env).await;
    }
    let worst = examined.findings.iter().map(|one| one.status).max();
    Report {
        verdict: worst.unwrap_or(Status::Ok),
        findings: examined.findings,
        timings: examined.timings,
        settings,
    }
}

fn unreadable(error: &FileError) -> Finding {
    let happened = with_causes(error);
    let to_do = "correct the file, or name another with --config";
    Finding::failed("settings", "read the configuration file", happened, to_do)
}

fn wrong_settings(examined: &mut Examined, mistakes: &Mistakes) {
    for mistake in &mistakes.0 {
        examined.add(Finding::failed(
            "settings",
            format!("read {}", mistake.setting),
            format!("it is {:?}, from {}", mistake.value, mistake.origin),
            mistake.wanted.clone(),
        ));
    }
}

impl Status {
    fn tone(self) -> Tone {
        match self {
            Self::Ok => Tone::Good,
            Self::Skipped => Tone::Faint,
            Self::Warning => Tone::Warning,
            Self::Failed => Tone::Bad,
        }
    }
}
