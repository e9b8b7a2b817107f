//! Object stores behind one narrow trait: conditional create, ranged get, head, list, delete.
//!
//! Back ends: local directory, memory, S3. Around them: own retry, hedged puts, request meter,
//! start-up probe. Only this crate knows `object_store` and the file system.

mod bucket;
mod cluster;
#[cfg(any(test, feature = "test-util"))]
mod conformance;
mod durable;
#[cfg(any(test, feature = "test-util"))]
mod faulty;
mod key;
pub mod limits;
mod local;
mod memory;
mod meter;
pub mod metrics;
mod patience;
mod probe;
mod pulse;
#[cfg(feature = "s3")]
mod s3;

pub use bucket::{
    Bucket, IDENTITY_BYTES, ListedObject, ObjectRead, PutOutcome, ReadRange, StoreError,
    StoreErrorKind,
};
pub use cluster::{
    CLUSTER_FORMAT, ClusterError, ClusterFile, ClusterFileError, claim_cluster, open_cluster,
    read_cluster,
};
#[cfg(any(test, feature = "test-util"))]
pub use conformance::conformance;
pub use durable::{DurableBucket, DurableConfig};
#[cfg(any(test, feature = "test-util"))]
pub use faulty::{Fault, FaultRule, FaultyBucket, Gate};
pub use key::{KeyClass, OBJECT_KEY_BYTES_MAX, ObjectKey};
pub use local::{LocalBucket, LocalOpenError};
pub use memory::MemoryBucket;
pub use meter::{LatencyRow, MeterRow, Operation, RequestMeter, RequestOutcome};
pub use patience::Patience;
pub use probe::{ProbeError, ProbeReport, probe, probe_conditions, probe_races};
pub use pulse::{Lifeline, Stopped, StorePulse};
#[cfg(feature = "s3")]
pub use s3::{S3Bucket, S3Config, S3OpenError, UploadChecksum};
