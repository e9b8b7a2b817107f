//! Limits of the produce path. Each has a test that goes one past it.
//!
//! Memory: the byte pool bounds what is admitted; everything behind it holds admitted batches only.

use std::time::Duration;

use esker_env::RetryPolicy;

/// Requests between admission and the writer; one more waits in its connection's admission.
pub const REQUESTS_QUEUED_MAX: usize = 1024;
/// Answers of calls (register, reserve, upload, end) that wait for the writer; one more call waits
/// before it ends.
pub const ANSWERS_QUEUED_MAX: usize = 64;
/// Largest number of segments in flight that a configuration may ask for.
pub const UPLOADS_MAX: usize = 64;
/// Lost sessions whose end is not yet known; with as many no new session is registered.
pub const LOST_SESSIONS_MAX: usize = 4;
/// Producers' lanes in which a batch was given up a moment ago, by connection; as many again that
/// came over none. For one more the oldest is forgotten.
pub const GIVEN_UP_LANES_MAX: usize = 10_000;
/// How long such a lane is remembered for its connection. What was sent before its client heard
/// comes within it, also when this process stood still meanwhile; longer than any connection rests.
pub const GIVEN_UP_MEMORY: Duration = Duration::from_secs(15 * 60);
/// The same without a connection. Who comes later has heard.
pub const GIVEN_UP_MEMORY_UNCONNECTED: Duration = Duration::from_secs(10);
/// Bytes charged to the pool for each batch beside its own: its bookkeeping while it is in flight.
pub const BATCH_OVERHEAD_BYTES: usize = 512;
/// Longest linger that a configuration may ask for.
pub const LINGER_MAX: Duration = Duration::from_secs(10);
/// While segments are in flight, how long a batch waits at least for others to come with it.
pub const BURST_GAP: Duration = Duration::from_millis(5);
/// With nothing in flight, how long a batch waits for as many requests as came with the last
/// segment: about what a client takes from an answer to its next request.
pub const COMPANY_GAP: Duration = Duration::from_millis(2);
/// Longest rest of the store between two small segments.
pub const REST_MAX: Duration = Duration::from_millis(10);
/// A segment of at least so many bytes is worth a put at once.
pub const RESTING_BYTES_MAX: u64 = 256 << 10;
/// Where rests bring nobody, one in at most about so many segments has one still.
pub const VAIN_RESTS_MAX: u32 = 255;
/// A client's shorter timeout is read as this one: a put takes a few hundred milliseconds, and
/// an answer that comes after the client's own timeout harms nobody.
pub const PRODUCE_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// A client's longer timeout is read as this one.
pub const PRODUCE_TIMEOUT_MAX: Duration = Duration::from_secs(5 * 60);
/// A batch deferred for the n-th time is offered again after 2^(n-1) times this …
pub const DEFER_DELAY_FIRST: Duration = Duration::from_millis(20);
/// … and after no more than this.
pub const DEFER_DELAY_MAX: Duration = Duration::from_millis(500);
/// While no sequencer answers, how often batches that ran out of patience are looked for.
pub const PATIENCE_LOOK: Duration = Duration::from_millis(250);

/// Waits between calls to a sequencer that does not answer. Batches end them, not a count.
pub const CALL_RETRY: RetryPolicy = RetryPolicy {
    delay_first: Duration::from_millis(20),
    delay_max: Duration::from_secs(1),
    tries_max: u32::MAX,
};

const _: () = assert!(UPLOADS_MAX <= ANSWERS_QUEUED_MAX);
