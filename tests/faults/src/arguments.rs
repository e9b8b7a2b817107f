//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use esker_e2e::StoreKind;

/// Runs rows of the fault matrix. Exit code: 0 all held, 1 something did not, 2 nothing was run.
#[derive(Clone, Debug, Parser)]
#[command(name = "esker-faults")]
pub(crate) struct Arguments {
    /// Only these rows; all of them without it.
    #[arg(long = "row", value_name = "N")]
    pub(crate) rows: Vec<u32>,
    /// Only these stores.
    #[arg(long = "store", value_name = "NAME")]
    pub(crate) stores: Vec<StoreName>,
    /// The seed of each first run.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Runs of each row and store, with rising seeds.
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    pub(crate) repeat: u64,
    /// The few rows that every change runs, each on one store.
    #[arg(long)]
    pub(crate) short: bool,
    /// Long faults (30 s and more), and all rows again with new seeds until so many minutes are
    /// over; at least once.
    #[arg(long, value_name = "COUNT")]
    pub(crate) minutes: Option<u64>,
    /// Rows that run at once, each on a store of its own; their clients mostly wait. By default 3
    /// of the short ones, otherwise 1, so that times stand for themselves.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) jobs: Option<u32>,
    /// Where all results go.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where runs that fail leave their history and logs.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) keep: Option<PathBuf>,
    /// A producer and a reader on librdkafka take part in every load.
    #[arg(long)]
    pub(crate) librdkafka: bool,
    /// Instead of rows: so many rounds of each kind of fault at each role of a cluster in a network
    /// of its own. Needs root.
    #[arg(long, value_name = "ROUNDS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) cluster: Option<u32>,
    /// Print the rows and run nothing.
    #[arg(long)]
    pub(crate) list: bool,
}

/// A store, as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreName {
    /// A local directory.
    Dir,
    /// MinIO.
    Minio,
    /// SeaweedFS.
    Seaweed,
}

impl StoreName {
    /// Which store it is.
    pub(crate) fn kind(self) -> StoreKind {
        match self {
            Self::Dir => StoreKind::Directory,
            Self::Minio => StoreKind::Minio,
            Self::Seaweed => StoreKind::Seaweed,
        }
    }

    /// Its name.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Minio => "minio",
            Self::Seaweed => "seaweed",
        }
    }
}

impl Arguments {
    /// How many rows run at once.
    pub(crate) fn jobs(&self) -> usize {
        let jobs = self.jobs.unwrap_or(if self.short { 3 } else { 1 });
        usize::try_from(jobs).unwrap_or(1)
    }

    /// How long rows are repeated.
    pub(crate) fn budget(&self) -> Option<Duration> {
        let minutes = self.minutes?;
        Some(Duration::from_secs(minutes.saturating_mul(60)))
    }
}
