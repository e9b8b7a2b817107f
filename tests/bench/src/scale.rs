//! What a cluster does when it grows: more ingest processes, more partitions. `make scale` writes
//! `docs/scaling.md` from the raw results; ratios are of one run, side by side, and nothing else.

mod driver;
mod grow;
mod many;
mod page;
mod partitions;
mod pods;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(crate) use page::{write as report, write_partitions};

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// One ingest process, two, three.
    Grow,
    /// 10 partitions beside 10 000.
    Partitions,
    /// 100 000 partitions: memory and fail-over.
    Many,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Grow, Self::Partitions, Self::Many];
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Seconds of each measurement.
    pub(crate) seconds: u64,
    /// Of measurements that are compared.
    pub(crate) rounds: u32,
    /// Topics of 10 000 partitions.
    pub(crate) topics: u32,
}

/// Raw results.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Scale {
    pub(crate) about: BTreeMap<String, String>,
    pub(crate) grow: Option<grow::Grown>,
    pub(crate) partitions: Option<partitions::Compared>,
    pub(crate) many: Option<many::Many>,
}

impl Scale {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("results {}", path.display()))
    }

    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
    }
}

/// Runs the parts; what is measured is written behind each, into what the file has already.
pub(crate) async fn run(plan: Plan, parts: &[Part], out: &Path) -> anyhow::Result<()> {
    let mut scale = Scale::read(out).unwrap_or_default();
    // A part that is run again tells its machine itself, if it may be another one.
    if scale.about.is_empty() || parts.len() == Part::ALL.len() {
        scale.about = crate::suite::machine()?;
        let build = match cfg!(debug_assertions) {
            true => "dev",
            false => "release",
        };
        let build = ("client build".to_owned(), build.to_owned());
        scale.about.extend([build]);
    }
    for part in parts {
        match part {
            Part::Grow => scale.grow = Some(Box::pin(grow::run(plan)).await?),
            Part::Partitions => {
                scale.partitions = Some(Box::pin(partitions::run(plan)).await?);
            }
            Part::Many => scale.many = Some(Box::pin(many::run(plan)).await?),
        }
        scale.write(out)?;
    }
    Ok(())
}
