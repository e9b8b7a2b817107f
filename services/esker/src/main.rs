//! `esker`: server and command line in one binary. `esker serve` runs every role on one bucket.

mod cli;
mod config;
mod doctor;
mod http_log;
mod kafka_service;
mod leader_probe;
mod no_records;
mod open_files;
mod readers_elsewhere;
mod serve;
mod serve_command;
mod store;
mod store_watch;
mod telemetry;
mod upkeep;
mod wire;

use std::process::ExitCode;

/// Buffers of requests and segments come and go at hundreds of MB/s. Of three allocators measured
/// on the produce and fetch paths, glibc's faults in fresh pages for them all the time, mimalloc
/// kept twice the memory, and this one does neither.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    serve_command::main()
}
