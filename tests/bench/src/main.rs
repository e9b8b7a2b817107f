//! Esker beside Apache Kafka on one machine, interleaved in one run: throughput, latency at a fixed
//! rate, processor time per GiB, memory, requests to the store, time to the first acknowledgement.
//!
//! Nothing here decides whether a change is right; `make bench` writes `tests/bench/results` and
//! `docs/benchmarks.md` from it, `make bench-compare` shows what a change did.

mod compare;
mod contender;
mod meter;
mod numbers;
mod own;
mod plot;
mod report;
mod results;
mod scale;
mod suite;
mod tools;
mod workloads;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::contender::Contender;
use crate::workloads::Workload;

/// What to do.
#[derive(Debug, Parser)]
#[command(name = "esker-bench", about = "Measures Esker beside Apache Kafka")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run workloads on contenders, round after round, and write the raw results.
    Run {
        /// Where the raw results go (JSON).
        #[arg(long)]
        out: PathBuf,
        /// Add rounds to the results that are there, all of one machine and one build.
        #[arg(long)]
        append: bool,
        /// Rounds; contenders alternate within each.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Records of 1000 bytes per throughput run.
        #[arg(long, default_value_t = 1_000_000)]
        records: u64,
        /// Records written and read on each contender before anything but its start is measured.
        #[arg(long, default_value_t = 1_000_000)]
        warm_up_records: u64,
        /// Seconds of a run at a fixed rate.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// Only these contenders.
        #[arg(long, value_delimiter = ',')]
        contenders: Vec<Contender>,
        /// Only these workloads.
        #[arg(long, value_delimiter = ',')]
        workloads: Vec<Workload>,
    },
    /// Write the page and its plots from raw results.
    Report {
        /// Raw results.
        results: PathBuf,
        /// Raw results of `scale`, for what a cluster does.
        #[arg(long, default_value = "tests/bench/results/scale.json")]
        scale: PathBuf,
        /// The page.
        #[arg(long, default_value = "docs/benchmarks.md")]
        page: PathBuf,
        /// Where the plots go.
        #[arg(long, default_value = "docs/benchmarks")]
        plots: PathBuf,
    },
    /// Measure what a cluster does when it grows, and write docs/scaling.md.
    Scale {
        /// Where the raw results go (JSON); parts that are not run stay as they are.
        #[arg(long, default_value = "tests/bench/results/scale.json")]
        out: PathBuf,
        /// The page.
        #[arg(long, default_value = "docs/scaling.md")]
        page: PathBuf,
        /// Only these parts; with none, the page alone is written.
        #[arg(long, value_delimiter = ',', num_args = 0..)]
        parts: Option<Vec<scale::Part>>,
        /// Seconds of each measurement.
        #[arg(long, default_value_t = 15)]
        seconds: u64,
        /// Rounds of measurements that are compared.
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// Topics of 10 000 partitions.
        #[arg(long, default_value_t = 10)]
        topics: u32,
    },
    /// Print the ratios of two raw results.
    Compare {
        /// The baseline.
        before: PathBuf,
        /// What is compared with it.
        after: PathBuf,
    },
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().action {
        Action::Run {
            out,
            append,
            rounds,
            records,
            warm_up_records,
            seconds,
            contenders,
            workloads,
        } => {
            let plan = suite::Plan {
                rounds,
                appends: append,
                records,
                warm_up_records,
                seconds,
                contenders: or_all(contenders, &Contender::ALL),
                workloads: or_all(workloads, &Workload::ALL),
            };
            suite::run(&plan, &out).await
        }
        Action::Report {
            results,
            scale,
            page,
            plots,
        } => report::write(&results, &scale, &page, &plots),
        Action::Scale {
            out,
            page,
            parts,
            seconds,
            rounds,
            topics,
        } => {
            let plan = scale::Plan {
                seconds,
                rounds,
                topics,
            };
            let parts = parts.unwrap_or_else(|| scale::Part::ALL.to_vec());
            Box::pin(scale::run(plan, &parts, &out)).await?;
            scale::report(&out, &page)
        }
        Action::Compare { before, after } => compare::print(&before, &after),
    }
}

fn or_all<T: Copy>(chosen: Vec<T>, all: &[T]) -> Vec<T> {
    if chosen.is_empty() {
        all.to_vec()
    } else {
        chosen
    }
}
