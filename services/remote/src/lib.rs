//! The internal API: the five traits of `metadata-api` between processes, over gRPC.
//!
//! [`RemoteServer`] serves any implementation of them on a port of its own; [`RemoteMetadata`] is
//! one, over the addresses of such servers. [`RemoteBlocks`] asks for blocks of segments besides.
//! What was surely not done is told apart from what may have been: a call is of unknown outcome
//! from the moment that it is handed to a connection until its answer is understood.
//! Source: docs/internal-api.md, docs/adr/0002.

mod blocks;
mod client;
mod codec;
mod config;
mod convert;
mod executor;
pub mod limits;
mod metrics;
mod protocol;
mod refusal;
mod server;
mod tls;

// Formatted as its generator does.
#[rustfmt::skip]
#[expect(unreachable_pub, reason = "generated: all is public there")]
#[path = "generated/esker.internal.v1.rs"]
mod proto;

pub use blocks::{BlockAnswer, BlockAsk, BlockQuestion, BlockSource};
pub use client::{
    BlockError, BlocksConfig, ConnectError, PeerCondition, PeerStatus, RemoteBlocks,
    RemoteBlocksTask, RemoteMetadata, RemoteTask,
};
pub use config::{Deadlines, KeepAlive, RemoteConfig, RemoteConfigError, ServerConfig};
pub use metrics::{ClientMetrics, ServerMetrics};
pub use protocol::{PROTOCOL_MAX, PROTOCOL_MIN, Protocols};
pub use server::{BindError, LeaderHint, NoHint, RemoteServer, ServerParts};
pub use tls::{ClientTls, Identity, PeerName, ServerTls, TlsError};
