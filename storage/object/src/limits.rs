//! Limits of the object layer. Each has a test that goes one past it.

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
/// Puts of one size class whose times are remembered for hedging.
pub const LATENCY_SAMPLES_MAX: usize = 128;
