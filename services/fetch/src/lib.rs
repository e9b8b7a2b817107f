//! The fetch role: Kafka's Fetch and ListOffsets, and reads for HTTP, from cache and bucket.
//!
//! Read `pipeline.rs` first: admit, locate, plan, read, assemble, reply. The index is a local view
//! fed by the sequencer's push (R3: it may lag, it is never wrong); what must be current asks the
//! sequencer (R1). Record bytes are shared slices from cache to socket. The high watermark shown
//! never falls (CP6). Numbers and cost: docs/fetch.md. Kafka's error codes only in `reply.rs`.

mod admit;
mod ahead;
mod assemble;
mod cold;
mod config;
mod coverage;
mod error;
mod fairness;
mod fetch;
mod fetch_core;
mod fleet;
mod follower;
pub mod limits;
mod list_offsets;
mod locate;
mod metrics;
mod pace;
mod pipeline;
mod planner;
mod read;
mod reader;
mod redirect;
mod reply;
mod seek;
mod slices;
mod view;
mod waiter;

pub use config::FetchConfig;
pub use error::ReadError;
pub use fetch::{Fetch, FetchParts, FetchTask};
pub use fetch_core::{DamagedExtent, Ends, FetchCore, LookUp, Place};
pub use fleet::{
    AskedStats, BlockDesk, BlockPlaces, BlockTransport, Fleet, FleetStats, NoPeerAnswer, PeerAnswer,
};
pub use metrics::FetchStats;
pub use read::{FoundOffset, ReadReply, ReadRequest};
pub use redirect::ReadPlacement;
