//! `esker-faults`: real processes on real stores, one kind of fault a row, and what must hold.
//!
//! Each run writes a history of all that its clients did and heard, which is checked behind it
//! (docs/fault-matrix.md). Every choice comes from the run's seed; what failed leaves its history,
//! its logs and the proxies' decisions behind.

mod arguments;
mod asker;
mod audit;
mod cluster;
mod foreign;
mod load;
mod member;
mod outcome;
mod pod;
mod reader;
mod recorder;
mod row;
mod rows;
mod run;
mod scene;
mod whole;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.cluster {
        Some(rounds) => Box::pin(cluster::run(&arguments, rounds)).await,
        None => run::run(&arguments).await,
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Standard error is gone: nobody would hear more.
            let _ = writeln!(std::io::stderr(), "esker-faults: {error:?}");
            ExitCode::from(2)
        }
    }
}
