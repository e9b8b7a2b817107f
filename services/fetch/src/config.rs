//! Numbers of the fetch role.

use std::time::Duration;

use esker_env::RetryPolicy;

use crate::limits::RESPONSE_BYTES_MAX;

/// How the fetch role waits and how much it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchConfig {
    /// Bytes of records in one response, at most
    /// [`RESPONSE_BYTES_MAX`](crate::limits::RESPONSE_BYTES_MAX).
    pub response_bytes_max: u32,
    /// Bytes of cached blocks that reads of old records may have in hand, all together: well below
    /// what the cache has to give, since replies on their way to clients hold some too.
    pub cold_read_bytes: u32,
    /// How long a fetch above what this process knows waits for the push, once the sequencer has
    /// said that the log reaches there. The push follows within milliseconds.
    pub lag_wait: Duration,
    /// Time for one ListOffsets: undecided segments are decided or sealed well within it. And for
    /// one attempt to follow the index.
    pub query_timeout: Duration,
    /// Extents in the view, all partitions together; about 80 bytes each.
    pub index_extents_max: usize,
    /// Waits between attempts to follow the index. Never given up.
    pub follow_retry: RetryPolicy,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            response_bytes_max: RESPONSE_BYTES_MAX,
            // Half of what the cache's default holds beside what it keeps.
            cold_read_bytes: 40 * 1024 * 1024,
            lag_wait: Duration::from_secs(1),
            query_timeout: Duration::from_secs(30),
            index_extents_max: 400_000,
            follow_retry: RetryPolicy {
                delay_first: Duration::from_millis(50),
                delay_max: Duration::from_secs(2),
                tries_max: u32::MAX,
            },
        }
    }
}
