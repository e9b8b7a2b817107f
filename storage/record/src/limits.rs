//! Limits of record batches and of the records inside. Each has a test that goes one past it.

/// Records of one batch.
pub const RECORDS_PER_BATCH_MAX: u32 = 1_000_000;
/// Bytes of the smallest record: length, attributes, two deltas, null key, null value, no headers.
/// A batch of `n` uncompressed bytes holds no more than `n / RECORD_BYTES_MIN` records.
pub const RECORD_BYTES_MIN: u32 = 7;
/// Records without a key that one refusal names.
pub const KEYLESS_RECORDS_TOLD_MAX: usize = 10_000;
/// Headers of one record.
pub const HEADERS_PER_RECORD_MAX: u32 = 1024;
/// Bytes of the smallest header of a record: empty key, null value.
pub const HEADER_BYTES_MIN: u32 = 2;
/// Bytes that the records of one batch may take when decompressed …
pub const DECOMPRESSED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// … and how many times their compressed bytes …
pub const DECOMPRESSED_RATIO_MAX: u64 = 1024;
/// … but so many bytes always: one record of zeros compresses better than any ratio.
pub const DECOMPRESSED_BYTES_FLOOR: u64 = 1024 * 1024;
/// Window of a zstd frame as a power of two: what zstd's own decoder takes. Java producers at
/// levels 20 to 22 ask for 25 to 27. Only what the output fills of it becomes resident.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Level of zstd at which batches are rewritten at most: higher ones take hundreds of MiB each.
pub const ZSTD_LEVEL_MAX: i32 = 12;
/// Bytes that one compressed byte of snappy can become (a copy of 64 in 3), rounded up.
pub const SNAPPY_RATIO_MAX: u64 = 22;
/// Bytes that are decompressed ahead of the record being read.
pub const READ_AHEAD_BYTES: usize = 8 * 1024;
/// Bytes of a record's memory taken before its bytes have come; it grows with them.
pub const RECORD_RESERVE_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(DECOMPRESSED_BYTES_FLOOR <= DECOMPRESSED_BYTES_MAX);
const _: () = assert!(HEADER_BYTES_MIN <= RECORD_BYTES_MIN);
