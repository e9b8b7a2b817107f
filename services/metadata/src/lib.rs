//! The metadata service: hosts the pure cores (sequencer, groups, catalogue) on the journal.
//!
//! One process leads at a time; which one is the journal's to say (J). The leader loop owns all
//! state: commands are durable before they are answered, answers that must be current pass an
//! epoch check (R1), produce never waits for the journal. Handles implement `metadata-api`.
//! Cost: a durable command shares a PUT with its neighbours; a current answer one GET with all that
//! wait; idle: one GET each `deposed_check_interval`, no PUT, no LIST.

mod audit;
mod catalogue;
mod command;
mod config;
mod leader;
pub mod limits;
mod metrics;
mod pods;
mod recover;
mod request;
mod service;
mod standby;
mod state;
mod status;
mod task;

pub use audit::{PRODUCER_IDS_SKIPPED, Rebuilt, RebuiltTopic, ReplayedState, Salvage, TopicOrigin};
pub use config::MetadataConfig;
pub use metrics::MetadataMetrics;
pub use recover::RecoveryError;
pub use service::MetadataService;
pub use status::MetadataStatus;
pub use task::{LeaderProbe, MetadataFailure, MetadataParts, MetadataTask};
