//! Limits of the object layer. Each has a test that goes one past it.

use std::time::Duration;

/// Rows of one listing request: what S3 returns at most.
pub const LIST_PAGE_COUNT_MAX: usize = 1000;
/// Rows that one call of [`crate::DurableBucket`] collects over several requests.
pub const LIST_COUNT_MAX: usize = 100_000;
/// Bytes of `cluster.json`.
pub const CLUSTER_FILE_BYTES_MAX: u64 = 4096;
/// File operations of one local bucket that run at once; the others wait.
pub const LOCAL_OPERATIONS_MAX: usize = 32;
/// Directories that a local bucket remembers as durable; past it, it forgets all and syncs again.
pub const LOCAL_DIRECTORIES_KNOWN_MAX: usize = 4096;
/// Parts of a key (`a/b/c` has three) in a local bucket: bounds the depth of a walk.
pub const LOCAL_KEY_PARTS_MAX: usize = 16;
/// A kind of request counts as stopped when nothing but failures came for so long. Twice the
/// longest operation with all its tries: an unready process loses its clients, also those that it
/// could still serve, so this is not for outages that pass.
pub const PULSE_STOPPED_AFTER: Duration = Duration::from_secs(60);
/// Failures in a row, at least, of a kind of request that counts as stopped.
pub const PULSE_FAILURES_MIN: u32 = 5;
/// Reads that have failed for so long are tried with an object that was good.
pub const PULSE_CANARY_AFTER: Duration = Duration::from_secs(20);
/// What nobody tries any more is not known to fail: behind so long it counts as well again.
pub const PULSE_FORGOTTEN_AFTER: Duration = Duration::from_secs(120);
/// Puts of one size class whose times are remembered for hedging.
pub const LATENCY_SAMPLES_MAX: usize = 128;

const _: () = assert!(PULSE_CANARY_AFTER.as_secs() < PULSE_STOPPED_AFTER.as_secs());
const _: () = assert!(PULSE_STOPPED_AFTER.as_secs() < PULSE_FORGOTTEN_AFTER.as_secs());
