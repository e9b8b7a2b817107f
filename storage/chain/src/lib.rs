//! Write-once session chains: segments put at numbered places, seals that end a chain, and the
//! proof that a segment and all before it exist. Commit protocol C1-C3, W5-W7, Q1-Q3.
//!
//! Used by ingest (upload, [`ChainTail`]), by the sequencer's shell (look, seal, walk) and by the
//! journal ([`create_settled`]). Uses a dependable bucket. Invariants, limits, cost: docs/chain.md.

mod chain;
mod error;
pub mod limits;
mod look;
mod seal;
mod session_seal;
mod settle;
mod tail;
#[cfg(test)]
mod tests;
mod walk;

pub use chain::Chain;
pub use error::{ForeignObject, LookError, SealError, SettleError, UploadError, WalkError};
pub use look::PlaceHolder;
pub use seal::SealedAhead;
pub use session_seal::{SESSION_SEAL_BYTES, SessionSeal, SessionSealError};
pub use settle::{Settled, create_settled};
pub use tail::{ChainTail, Committed, Uploaded};
pub use walk::{WalkEnd, Walked};
