//! `esker`: server and command line in one binary. `esker serve` runs every role on one bucket.

mod cli;
mod config;
mod doctor;
mod http_log;
mod kafka_service;
mod leader_probe;
mod open_files;
mod serve;
mod serve_command;
mod store;
mod telemetry;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    serve_command::main()
}
