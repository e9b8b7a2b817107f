//! The Kafka front of catalogue, configs, cluster, groups and producer ids: all but the data path.
//!
//! The binary hands every request that is not Produce, Fetch, ListOffsets or ApiVersions to
//! [`AdminFront::handle`]. Knows no storage: everything goes through `esker_metadata_api`.
//! Invariants: "unknown" is told only from a current table (R1); trouble of the metadata service
//! becomes a retriable code, never -1; each fact has its code in `reply.rs` alone. Cost of a
//! request: none when the pushed table answers it, else one current table and one call per topic or
//! group. Limits: [`limits`]; all lists are bounded by the guard, all waits by a deadline but those
//! of JoinGroup and SyncGroup, which end with the rebalance.

mod absent;
mod alter_configs;
mod broker_configs;
mod catalogue;
mod cluster;
mod config;
mod config_changes;
mod config_resources;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_configs;
mod describe_topics;
mod error;
mod front;
mod group_deletion;
mod groups;
mod leader_epochs;
pub mod limits;
mod log_dirs;
mod membership;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod operations;
mod placement;
mod producer_ids;
mod producer_states;
mod quorum;
mod reassignments;
mod reply;

pub use config::AdminConfig;
pub use front::{AdminFront, AdminParts};
