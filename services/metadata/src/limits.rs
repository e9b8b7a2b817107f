//! Limits of the metadata service. Each has a test that goes one past it.

use std::time::Duration;

use esker_metadata_api::limits::POD_ANNOUNCE_EVERY;

/// Requests that wait for the leader loop. One more is refused as overloaded, nothing was done.
pub const REQUESTS_WAITING_MAX: usize = 16_384;
/// Commands that wait to be handed to the journal. Above it requests that need one are refused.
pub const COMMANDS_WAITING_MAX: usize = 4096;
/// Questions that wait for an epoch check or for undecided ranges (R1).
pub const QUESTIONS_WAITING_MAX: usize = 16_384;
/// Chain requests (probes, seals, walks) that run at once.
pub const CHAIN_WORK_MAX: usize = 32;
/// Longest that an answer waits for undecided ranges before "not decided" is said. Above the stall
/// deadline and a seal, so that it is reached only while the store does not answer.
pub const UNDECIDED_WAIT_MAX: Duration = Duration::from_secs(20);
/// Followers of the index feed.
pub const FOLLOWERS_MAX: usize = 1024;
/// A process that was deposed sooner than this behind its take-over waits before it ends: it and
/// its successor may not hear each other. Above the longest turn of such a pair.
pub const DEPOSED_CALM_AFTER: Duration = Duration::from_secs(15);
/// The shortest wait of a process that was deposed soon behind its take-over, jitter not counted.
pub const DEPOSED_PAUSE_MIN: Duration = Duration::from_secs(1);
/// Its longest wait, jitter not counted. With a start behind it below the 10 s of a fail-over: the
/// successor may die meanwhile.
pub const DEPOSED_PAUSE_MAX: Duration = Duration::from_secs(4);

/// How long a pod counts after it was heard: some announcements may be lost, and a pod that died is
/// named to clients for no longer.
pub const POD_LEASE: Duration = Duration::from_secs(5);

const _: () = assert!(POD_LEASE.as_secs() >= 3 * POD_ANNOUNCE_EVERY.as_secs());
const _: () = assert!(
    DEPOSED_PAUSE_MAX.as_secs() * 2 < 10,
    "a fail-over takes 10 s at most"
);
const _: () = assert!(DEPOSED_CALM_AFTER.as_secs() > DEPOSED_PAUSE_MAX.as_secs() * 2);
const _: () = assert!(COMMANDS_WAITING_MAX <= REQUESTS_WAITING_MAX);
