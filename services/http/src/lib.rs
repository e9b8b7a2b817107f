//! The HTTP front: topics, appends and reads as JSON, health, metrics.
//!
//! Same log, same offsets, same batching path as Kafka's: it states what it needs as small traits
//! (`parts.rs`) that the binary fills. Errors are RFC 9457 problem documents. Limits: limits.rs.

mod append;
mod body;
mod health;
pub mod limits;
mod parts;
mod problem;
mod read;
mod server;
#[cfg(test)]
mod tests;
mod topics;
mod value;

pub use parts::{
    Appender, Health, HttpParts, LogReader, NewRecord, ReadFrom, ReadOutcome, ReadQuery,
    ReadRecord, RecordHeader, RecordPlace,
};
pub use problem::{Problem, ProblemKind};
pub use server::{HttpConfig, HttpListenError, HttpServer};
