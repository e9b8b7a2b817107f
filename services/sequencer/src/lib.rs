//! The sequencer: which offsets a batch gets, what is committed, what may be seen. Pure.
//!
//! `LogState` is what is durable, changed only by applying a `LogCommand` that the journal says is
//! durable; `Sequencer` is what one epoch knows on top of it, in memory. The metadata leader drives
//! both and carries out the `Effect`s. No clock, no I/O, no randomness, ordered maps only.
//! Rules: docs/commit-protocol.md (C, W, D, H, Q, R, K, CP). Bytes: docs/formats/metadata-log.md.
//! Cost: a reservation of 10 000 batches in 1 000 partitions takes a few ms; ~64 bytes an extent.

mod checkpoint;
mod codec;
mod command;
mod config;
mod decide;
mod effect;
mod extents;
mod index;
pub mod limits;
mod overlay;
mod producers;
mod recover;
mod reserve;
mod sequencer;
mod session;
mod stall;
mod state;
#[cfg(test)]
mod tests;
mod voided;
mod watermark;

pub use checkpoint::CheckpointLag;
pub use codec::CodecError;
pub use command::LogCommand;
pub use config::SequencerConfig;
pub use effect::{Effect, EndAnswer, Probe};
pub use recover::{RecoverError, Recovered, SessionToWalk, WalkedSession};
pub use reserve::has_final_refusal;
pub use sequencer::{RegisterError, Sequencer, SequencerFigures};
pub use state::{
    ApplyError, LogState, PartitionView, ProducerView, RememberedBatch, SessionRecord,
};
pub use watermark::Barrier;
