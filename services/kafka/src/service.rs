//! What a listener asks of the rest of Esker: one trait, implemented by `wire.rs` of the binary.

use std::fmt::Debug;
use std::net::SocketAddr;

use esker_types::MonotonicTime;
use futures::future::BoxFuture;
use kafka_protocol::protocol::StrBytes;

use crate::fetch_reply::FetchReply;
use crate::request::{Request, Response};

/// What is known about a request besides its body.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Version of the request's body; the reply is written in the same one.
    pub api_version: i16,
    /// The client's number for the request. The connection writes it into the reply.
    pub correlation_id: i32,
    /// What the client calls itself; `None` when it sent null.
    pub client_id: Option<StrBytes>,
    /// The client's end of the connection.
    pub client_address: SocketAddr,
    /// Our end of the connection: which address the client could reach.
    pub local_address: SocketAddr,
    /// When the last byte of the request had come.
    pub received: MonotonicTime,
    /// Counts connections of this process from 1.
    pub connection_id: u64,
    /// Whether the client has said on this connection what software it is (KIP-511).
    pub is_software_named: bool,
}

/// How a request ends.
#[derive(Debug)]
pub enum Reply {
    /// A message for the codec. It must answer the request's API.
    Message(Response),
    /// A Fetch response whose record bytes are written without being copied.
    Fetch(FetchReply),
    /// No answer: Produce with acks = 0.
    Nothing,
    /// Close the connection without an answer.
    Close,
}

/// Serves requests. One for all connections of a listener.
pub trait Service: Debug + Send + Sync + 'static {
    /// Admits the request: awaited in arrival order per connection, so this is where back-pressure
    /// happens. The future it gives is the reply; for Produce it is awaited together with those of
    /// later Produce requests, all others are done before the next request is read.
    ///
    /// # Cancel safety
    /// Both futures are dropped when the connection ends first; what was admitted may still happen.
    fn admit(
        &self,
        context: RequestContext,
        request: Request,
    ) -> BoxFuture<'_, BoxFuture<'static, Reply>>;
}
