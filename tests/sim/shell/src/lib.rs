//! The product's asynchronous shells under virtual time and faults, replayed from a seed.
//!
//! Everything a run does is drawn from its seed: which pods there are, what the clients do, which
//! faults strike when. What clients hear goes through the checker of `esker-history` as it
//! happens; the last reading, by processes that know nothing but the bucket, must show every
//! acknowledged record. Read `run.rs` first. docs/simulation-shell.md.

mod client;
mod clock;
mod commands;
mod director;
pub mod known_seeds;
mod log;
mod members;
mod net;
mod options;
mod panics;
mod planted;
mod pods;
mod producers;
mod readers;
mod recorder;
mod remote;
mod run;
mod store;
mod store_faults;
mod topics;
mod world;

pub use commands::{Command, execute};
pub use options::{Options, Roles};
pub use run::{Outcome, Watch, run};
pub use store_faults::StoreFault;
