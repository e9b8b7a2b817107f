//! Limits of the HTTP front. Each has a test that goes one past it.

use std::time::Duration;

/// Bytes of one request's body.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Records of one append.
pub const APPEND_RECORDS_MAX: usize = 10_000;
/// Headers of one record.
pub const RECORD_HEADERS_MAX: usize = 1024;
/// Records of one read.
pub const READ_RECORDS_MAX: u32 = 10_000;
/// Bytes of record batches that one read looks at, as stored.
pub const READ_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Longest that a read waits for new records.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Requests in progress. One more is refused with 503 and a time to come back.
pub const REQUESTS_MAX: usize = 1024;
/// Bytes of request bodies that all requests hold together. Beyond it requests are refused with
/// 503.
pub const BODIES_BYTES_MAX: usize = 256 * 1024 * 1024;

const _: () = assert!(BODY_BYTES_MAX <= BODIES_BYTES_MAX);
