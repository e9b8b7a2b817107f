//! The produce path: from a decoded ProduceRequest to an acknowledgement that rests on a proof.
//!
//! Called by `services/esker` (Kafka) and through it by the HTTP front; calls the sequencer and the
//! catalogue, the chain, the cache. Read `pipeline.rs` first. Invariants: an acknowledged batch's
//! segment and all before it exist (CP1, I1); order inside a lane is kept (CP8, I12); every batch
//! admitted is answered once, "unknown" is never told as failed (I24). Memory: the byte pool, plus
//! one copy of what is in flight. Cost: one put per segment, one call in memory; idle: nothing.
//! Limits, timing, the life of a lost session: docs/ingest.md.

mod admit;
mod batch;
mod batcher;
mod calls;
mod config;
mod error;
#[cfg(test)]
mod fixture;
mod given_up;
pub mod limits;
mod metrics;
mod notifier;
mod outgoing;
mod pace;
mod pipeline;
mod pool;
mod produce_core;
mod reply;
mod reserver;
mod rest;
mod session;
mod slots;
mod unplaced;
mod writer;

pub use admit::{AppendRequest, PendingAppend};
pub use config::{IngestConfig, IngestConfigError};
pub use error::{AppendError, AppendErrorKind, IngestError};
pub use metrics::{FlushReason, Metrics, SessionLoss};
pub use pipeline::{Ingest, IngestParts, IngestTask};
pub use produce_core::{ProduceAnswer, ProduceCall, ProduceCore, Waiting};
pub use slots::{Acknowledged, Appended, ReplySlots};
