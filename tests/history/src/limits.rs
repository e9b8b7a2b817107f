//! What a history may hold: one past a limit is refused with its line, and nothing is checked.
//!
//! Memory is about 120 bytes a record and 150 an operation, so these bound a run at some 4 GiB.

/// Bytes of one line.
pub const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Operations that are open at one time.
pub const OPEN_OPERATIONS_MAX: usize = 100_000;
/// Partitions, or pods, or processes, or groups that a history names.
pub const NAMES_MAX: usize = 100_000;
/// Bytes of one name.
pub const NAME_BYTES_MAX: usize = 256;
/// Records that are sent, all in all.
pub const RECORDS_MAX: usize = 32_000_000;
/// Sends, and transactions, all in all.
pub const SENDS_MAX: usize = 16_000_000;
/// Offset commits of one group and partition that may all be the last one; past it an answer there
/// is counted as unchecked.
pub const COMMITS_IN_DOUBT_MAX: usize = 64;
/// Anomalies of one kind that a report keeps; the others are counted.
pub const ANOMALIES_KEPT_MAX: usize = 20;
/// Events that one anomaly cites.
pub const CITED_EVENTS_MAX: usize = 64;
