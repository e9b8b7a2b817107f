//! Limits of the cache. Each has a test that goes one past it.

use esker_types::limits::{BATCHES_PER_SEGMENT_MAX, SEGMENT_BYTES_MAX};

/// Bytes of one block: what a cold read asks of the bucket at once. A round trip costs about as
/// much as the transfer of a few MiB, and a smaller block would cost more requests per byte.
pub const BLOCK_BYTES: u32 = 1024 * 1024;
/// Bytes of a written object that is taken in: a full segment with its header and footer.
pub const OBJECT_BYTES_MAX: u32 = SEGMENT_BYTES_MAX + 4 * 1024 * 1024;
/// Bytes of one read.
pub const READ_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Blocks that one read waits for at once.
pub const READ_BLOCKS_PARALLEL: usize = 16;
/// Blocks found wrong that are remembered until they came from the bucket.
pub const DISTRUSTED_BLOCKS_MAX: usize = 10_000;
/// Entries that are favoured because they are new; past it the oldest are ordinary ones early.
pub const HOT_ENTRIES_MAX: usize = 100_000;
/// Parts of the cache that are locked apart.
pub const SHARDS_MAX: usize = 16;

const _: () = assert!(
    BATCHES_PER_SEGMENT_MAX * 128 <= OBJECT_BYTES_MAX - SEGMENT_BYTES_MAX,
    "the largest footer fits an object that is taken in"
);
const _: () = assert!(BLOCK_BYTES <= OBJECT_BYTES_MAX);

/// Least bytes of a whole cache: a few loads, one written object, and something to keep.
pub const TOTAL_BYTES_MIN: u64 = 32 * 1024 * 1024;
