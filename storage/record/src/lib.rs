//! Record batches (magic 2): bounded parsing, checking, stamping, reading and building.
//!
//! Used by ingest, segment builder, fetch, HTTP and the command line. Pure bytes: no clock, no I/O.
//! Invariants: no foreign byte panics; memory is bounded by the input, records by `limits.rs`;
//! nothing between a batch's attributes and its end changes but for the log append time and a
//! codec that the topic wants.
//! Cost of admission: 61 bytes parsed, one checksum; records are looked at only when asked for.

mod append_time;
mod builder;
#[cfg(test)]
mod forge;
mod header;
mod inflate;
pub mod limits;
mod partitioner;
mod recompress;
mod records;
mod split;
#[cfg(test)]
mod tests;
mod validate;
mod varint;

pub use append_time::set_log_append_time;
pub use builder::{BatchBuilder, BuildError, NewRecord};
pub use header::{
    BATCH_CHECKED_FROM, BatchError, BatchHeader, Compression, RECORD_BATCH_HEADER_BYTES, stamp,
};
pub use inflate::{CodecError, Lz4Error, SnappyError};
pub use partitioner::{murmur2, partition_for_key};
pub use recompress::Recompression;
pub use records::{ReadLimits, Record, RecordError, Records, read_records};
pub use split::{BatchSplitter, split_batches};
pub use validate::{ProduceRules, ValidateError, ValidatedBatch, validate_produced};
