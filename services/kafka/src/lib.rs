//! Kafka's wire protocol: listener, frames, guard, order per connection, codec, client.
//!
//! `services/esker` implements [`Service`] and runs a [`Listener`]; roles use [`messages`] and
//! [`KafkaError`]; the command line and tests use [`client`]. Knows no storage. No byte of a socket
//! reaches the codec before [`guard_frame`] has passed it.

mod answer_sizes;
mod api_versions;
mod arrivals;
mod budget;
pub mod client;
mod config;
mod connection;
mod encode;
mod error_code;
mod fetch_reply;
mod frame;
mod guard;
pub mod limits;
mod listener;
mod metrics;
mod request;
mod service;
mod slots;
mod stragglers;
mod versions;

pub use config::ListenerConfig;
pub use error_code::KafkaError;
pub use fetch_reply::{AbortedTransaction, FetchPartitionReply, FetchReply, FetchTopicReply};
pub use guard::{GuardError, GuardedFrame, guard_frame};
pub use listener::{ListenError, Listener};
pub use metrics::{Metrics, Refusal};
pub use request::{DecodeError, Request, Response, decode_frame, decode_request};
pub use service::{Reply, RequestContext, Service};
pub use versions::{Api, VersionRange};

/// The codec's message structs and the few types they are made of: their one home in the project.
pub mod messages {
    pub use kafka_protocol::messages::*;
    pub use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes};
}
