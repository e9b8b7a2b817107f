//! The step simulation: the product's pure state machines in one seeded, single-threaded world.
//!
//! `world.rs` carries out one event after the other; `store.rs`, `network.rs`, `journal.rs` and
//! `nemesis.rs` are what surrounds the product; `pod.rs`, `fetcher.rs`, `leader.rs`, `serving.rs`
//! drive it; `producer.rs` and its neighbours use it; `truth.rs` and `recorder.rs` judge it. What
//! is real and what is the driver's own: docs/simulation.md.

mod client;
mod consumer;
pub mod fault;
mod fetcher;
mod final_reader;
mod generations;
mod host;
mod journal;
pub mod known_seeds;
mod leader;
mod member;
mod message;
mod nemesis;
mod network;
mod node;
mod options;
mod outside;
#[cfg(feature = "planted")]
pub mod planted;
mod pod;
mod producer;
mod queue;
mod recorder;
pub mod report;
mod run;
mod serving;
pub mod shrink;
mod store;
mod truth;
mod world;

pub use options::RunOptions;
pub use run::{Outcome, run};
pub use truth::Violation;
