//! What the black-box tests share: stores, foreign programs, the HTTP API from outside.
//!
//! A tool that is missing fails the test that needs it: `.ci/bootstrap` installs them all.

mod balancer;
mod cluster;
mod golden;
mod http_api;
mod kafka_broker;
mod kafka_tools;
mod kcat;
pub mod load;
mod program;
mod resident;
mod small_disk;
mod store;
mod wire;

pub use balancer::Balancer;
pub use cluster::{ClusterMember, ClusterShape, TestCluster};
pub use golden::check_golden;
pub use http_api::{Answer, HttpApi, HttpRecord};
pub use kafka_broker::{FormattedKafka, KafkaBroker, KafkaUse};
pub use kafka_tools::KafkaTools;
pub use kcat::{Kcat, KcatRecord};
pub use program::{Program, Ran, esker, proved};
pub use resident::{
    limit_open_files, limit_open_files_for_good, open_files, raise_open_files, resident_now,
    resident_peak,
};
pub use small_disk::SmallDisk;
pub use store::{StoreKind, TestStore};
pub use wire::{Wire, cluster_id, request};
