//! Limits of the chain. Each has a test that goes one past it.

use std::time::Duration;

use esker_env::RetryPolicy;

/// Waits of a create that goes on until it is known who is there. The bucket below has waited
/// between its own tries already, so a long outage costs one more operation each two seconds at
/// most.
pub const SETTLE_RETRY: RetryPolicy = RetryPolicy {
    delay_first: Duration::from_millis(50),
    delay_max: Duration::from_secs(2),
    tries_max: u32::MAX,
};
/// Failed tries of one create after which it is worth a warning; again at each doubling.
pub const SETTLE_WARN_TRIES: u32 = 4;
/// Longest that an upload of a segment bears that the store denies rights. Below the time after
/// which a session is given up, so that its batches are told a definite "not written" while clients
/// wait.
pub const UPLOAD_DENIED_MAX: Duration = Duration::from_secs(10);
/// Reads of an object that make no sense before it counts as foreign: one bit may flip on the way,
/// the same object is not read wrong three times.
pub const FOREIGN_READS_MAX: u32 = 3;
/// Places looked at ahead at once in a walk: hides the round trips of a long chain at take-over.
pub const WALK_READ_AHEAD_MAX: usize = 16;
/// Places looked at at once when a walk towards an open end begins: most such chains end soon.
pub const WALK_READ_AHEAD_FIRST: usize = 2;
/// Seals put at once against a busy pod: twice the 8 segments a session has in flight at most.
pub const SEAL_AHEAD_MAX: u32 = 16;

const _: () = assert!(WALK_READ_AHEAD_FIRST >= 1, "a walk looks at a place");
const _: () = assert!(WALK_READ_AHEAD_FIRST <= WALK_READ_AHEAD_MAX);
