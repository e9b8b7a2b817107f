//! Limits of segments. Each has a test that goes one past it.

use esker_types::limits::{BATCHES_PER_SEGMENT_MAX, SEGMENT_BYTES_MAX};

use crate::codec::{BATCH_BYTES_MIN, FOOTER_HEAD_BYTES, PRODUCER_BYTES, RUN_BYTES};
use crate::layout::HEADER_BYTES;
use crate::tail::TRAILER_BYTES;

/// Bytes at the end of a segment that a reader asks for first: they hold the footer of some 1000
/// batches of as many partitions, and cost no more than a smaller read.
pub const FOOTER_TAIL_BYTES: u64 = 64 * 1024;
/// Bytes of a footer: every batch in a partition of its own, with a producer id.
pub const FOOTER_BYTES_MAX: u32 =
    FOOTER_HEAD_BYTES + BATCHES_PER_SEGMENT_MAX * (RUN_BYTES + BATCH_BYTES_MIN + PRODUCER_BYTES);
/// Bytes of a whole segment.
pub const SEGMENT_OBJECT_BYTES_MAX: u32 =
    HEADER_BYTES + SEGMENT_BYTES_MAX + FOOTER_BYTES_MAX + TRAILER_BYTES;

const _: () = assert!(
    FOOTER_BYTES_MAX <= 2 * 1024 * 1024,
    "a footer fits a command of the journal many times"
);
