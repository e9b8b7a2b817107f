//! The HTTP front: topics, appends and reads, groups, health, metrics; and Confluent's REST API.
//!
//! Same log, same offsets, same batching path as Kafka's: it states what it needs as small traits
//! (`parts.rs`) that the binary fills. Streams in (`intake.rs`) and out (`outflow.rs`) hold bounded
//! memory and stop when the other side does. Errors are RFC 9457 problem documents, but for `/v3`.
//! Served description: /openapi.json. Limits: limits.rs. For users and maintainers: docs/http.md.

mod append;
mod batches;
mod body;
mod configs;
mod connection;
mod front;
mod groups;
mod health;
mod idempotency;
mod intake;
pub mod limits;
mod ndjson;
mod openapi;
mod outflow;
mod parts;
mod path;
mod problem;
mod read;
mod record;
mod server;
mod socket;
#[cfg(test)]
mod tests;
mod topics;
mod v3;
mod value;

pub use idempotency::{AppendKey, content_tag};
pub use parts::{
    AppendRecords, Appender, BatchHead, Health, HttpParts, LogReader, NewRecord, PendingAppend,
    PendingBatch, ReadEnd, ReadFrom, ReadOutcome, ReadQuery, ReadRecord, RecordHeader,
    RecordIterator, RecordPlace,
};
pub use problem::{Problem, ProblemKind};
pub use server::{HttpConfig, HttpListenError, HttpServer};
