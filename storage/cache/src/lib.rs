//! Bytes of segments in memory: objects just written, and blocks read back from the bucket.
//!
//! Ingest inserts what it writes, fetch reads, for others too. Keys are object and block, never a
//! topic or an offset, so an entry can become useless but never wrong (I3, I22). One load per block
//! is in flight; failures are not remembered. All memory, also what a slow reader still holds,
//! comes from one budget in bytes. Numbers and cost: docs/cache.md. Only this crate knows foyer.

mod cache;
mod config;
#[cfg(any(test, feature = "test-util"))]
mod conformance;
mod engine;
mod error;
mod flight;
mod foyer_store;
mod key;
pub mod limits;
mod memory;
mod metrics;
mod peers;
mod plain_store;
mod store;

pub use cache::{BlockCache, Heat, PeerQuestion, PlainCache, SegmentCache};
pub use config::{CacheConfig, CacheConfigError};
#[cfg(any(test, feature = "test-util"))]
pub use conformance::{MakeCache, conformance};
pub use error::{ReadError, ReadErrorKind};
pub use metrics::CacheStats;
pub use peers::{BlockId, BlockPeers};
