//! What the end-to-end tests stand on: the S3 shaping proxy, real stores and real processes.
//!
//! Everything listens on loopback, or in a network of its own, and ends with its handle.

mod binaries;
mod bucket_maker;
mod control_group;
mod minio;
mod network;
mod ports;
mod process;
mod seaweed;
mod shaper;

pub use binaries::{bootstrapped, variable};
pub use bucket_maker::{STORE_KEYS, StoreKeys, create_bucket};
pub use control_group::ControlGroup;
pub use minio::MinioServer;
pub use network::{End, Network, Place, network_or_reason};
pub use ports::free_port;
pub use process::{EskerArguments, EskerProcess, built, esker_binary};
pub use seaweed::{SEAWEED_READER_KEYS, SeaweedServer};
pub use shaper::{
    Decision, DecisionLog, FaultCount, LatencySummary, Profile, Reply, RequestCount, Rule,
    ShapedFault, Shaper, ShaperConfig, ShaperHandle, ShaperReport, StoreOperation,
};
