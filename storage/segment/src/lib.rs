//! Segments: one immutable object with the record batches of many partitions, and its footer.
//!
//! Used by ingest (build), chain (read footers), sequencer and journal (footers in checkpoints).
//! Pure bytes. CP2: batches of a partition lie in one run, offsets without gaps. Cost: one copy
//! of each batch; record bytes are not summed again, their own
//! checksums are joined; footer 53 to 67 bytes per batch and partition.
//! Limits: `limits.rs`; format: docs/formats/segment.md.

mod builder;
mod check;
mod codec;
mod crc;
mod layout;
pub mod limits;
mod summary;
mod tail;
#[cfg(test)]
mod tests;

pub use builder::{BuiltSegment, SegmentBuilder, SegmentHead};
pub use check::{SegmentError, check_segment};
pub use codec::FooterError;
pub use layout::LayoutError;
pub use limits::FOOTER_TAIL_BYTES;
pub use summary::{BatchSummary, Extent, PlacedBatch, ProducerStamp, SegmentFooter};
pub use tail::{TailRead, read_tail};
