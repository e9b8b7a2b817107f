//! `esker-sim-shell`: runs seeds of the shell simulation. Exit code 1 when something is wrong.

use std::process::ExitCode;

use clap::Parser;
use esker_sim_shell::{Command, execute};

/// The product's asynchronous shells under virtual time and faults.
#[derive(Debug, Parser)]
#[command(name = "esker-sim-shell")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    match execute(&Arguments::parse().command) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
