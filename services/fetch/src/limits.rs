//! Limits of the fetch role. Each has a test that goes one past it.

use std::time::Duration;

use esker_cache::limits::READ_BYTES_MAX;
use esker_env::RetryPolicy;
use esker_metadata_api::limits::LOOKUP_EXTENTS_MAX;
use esker_types::limits::{RECORD_BATCH_BYTES_MAX, SEGMENT_BYTES_MAX};

/// Bytes of records in one response; a first batch that is larger goes out all the same.
pub const RESPONSE_BYTES_MAX: u32 = 50 * 1024 * 1024;
/// Partitions of one Fetch or ListOffsets.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;
/// How long one Fetch may wait for records, whatever it asks for: below the idle time-out.
pub const WAIT_MAX: Duration = Duration::from_secs(5 * 60);
/// Extents of one partition at the log's end that the view keeps.
pub const PARTITION_EXTENTS_MAX: usize = 2048;
/// Extents planned for one partition in one response.
pub const PLANNED_EXTENTS_MAX: usize = 1024;
/// Extents asked for in one look-up: what a response of several megabytes needs.
pub const LOOKUP_EXTENTS: usize = 256;
/// Look-ups for one partition before one plan gives up.
pub const LOOKUPS_PER_PLAN_MAX: u32 = 3;
/// Look-ups of one request that run at once.
pub const LOOKUPS_PARALLEL: usize = 64;
/// Cache reads of one request that run at once.
pub const READS_PARALLEL: usize = 16;
/// Bytes between two planned ranges of an object that are read rather than split at.
pub const MERGE_GAP_BYTES: u64 = 64 * 1024;
/// Partitions that requests wait for, all together. Past it a request sleeps without being woken.
pub const WATCHES_MAX: usize = 1_000_000;
/// Connections whose starved partition is remembered.
pub const STARVED_MAX: usize = 10_000;
/// Partitions of one ListOffsets that are resolved at once.
pub const QUERIES_PARALLEL: usize = 32;
/// Extents that one timestamp query reads, when headers promise timestamps that no record has.
pub const QUERY_EXTENTS_MAX: usize = 1000;
/// Reads ahead of sequential readers that wait for their turn; more are left to the readers.
pub const AHEAD_QUEUE_MAX: usize = 64;
/// Reads ahead that run at once.
pub const AHEAD_PARALLEL: usize = 8;
/// Ends of cold answers that are remembered, to know a reader that goes on from one.
pub const AHEAD_PLACES_MAX: usize = 10_000;
/// Bytes of blocks that a read of old records may have in hand while others want some too.
pub const COLD_SHARE_BYTES: u64 = 4 * 1024 * 1024;
/// Of so many turns of waiting reads of old records, one goes to who has waited longest and the
/// others to the oldest records.
pub const COLD_TURNS: u64 = 4;
/// Bytes a second of old records that are always served, all together, however late the process is.
/// Of what is loaded for an answer or is in it, whichever is more.
pub const COLD_PACE_MIN: u64 = 8 * 1024 * 1024;
/// Bytes a second of old records, all together, when they begin to be read while the tail is.
pub const COLD_PACE_START: u64 = 32 * 1024 * 1024;
const _: () = assert!(COLD_PACE_MIN <= COLD_PACE_START);
/// How long an answer with old records waits for its turn while the tail is yielded to.
pub const COLD_PACE_WAIT_MAX: Duration = Duration::from_secs(1);
/// Answers that a second of the pace is cut into: larger ones come in bursts.
pub const PACED_ANSWERS_PER_SECOND: u64 = 16;
/// Bytes of an answer with old records while the tail is yielded to, however fast the pace is.
pub const PACED_ANSWER_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes that such an answer loads, a smaller one in proportion: pieces of many segments cost a
/// block each, all at one time.
pub const PACED_LOADS_BYTES: u64 = 4 * 1024 * 1024;
/// How often a reader that does not go where it is sent is sent again.
pub const REDIRECT_EVERY: Duration = Duration::from_secs(30);
/// Readers that are remembered as sent away.
pub const REDIRECTS_MAX: usize = 100_000;
/// How long the owner of a block has to give it: it may have to load it.
pub const OWNER_WAIT: Duration = Duration::from_secs(2);
/// How long the writer of an object has to give a block of it: it has it in memory or not.
pub const WRITER_WAIT: Duration = Duration::from_millis(500);
/// How long a process that did not answer is left alone. Never given up.
pub const PEER_REST: RetryPolicy = RetryPolicy {
    delay_first: Duration::from_secs(1),
    delay_max: Duration::from_secs(30),
    tries_max: u32::MAX,
};
/// Processes that are remembered as not answering.
pub const RESTS_MAX: usize = 1000;
/// Extents from the log's end within which a reader counts as hot.
pub const HOT_EXTENTS: usize = 64;

const _: () = assert!(LOOKUP_EXTENTS <= LOOKUP_EXTENTS_MAX);
const _: () = assert!(HOT_EXTENTS <= PARTITION_EXTENTS_MAX);
const _: () = assert!(RECORD_BATCH_BYTES_MAX <= RESPONSE_BYTES_MAX);
const _: () = assert!(MERGE_GAP_BYTES < READ_BYTES_MAX);
#[expect(clippy::as_conversions, reason = "widening, in a constant")]
const _: () = assert!(
    SEGMENT_BYTES_MAX as u64 <= READ_BYTES_MAX,
    "an extent is read from its front, so all of it must fit one read"
);
