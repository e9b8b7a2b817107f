//! Numbers of the journal. Times are on the monotonic clock.

use std::time::Duration;

use crate::limits::{IN_FLIGHT_MAX, ROLL_BYTES_MAX, ROLL_ENTRIES_MAX};

/// How the journal batches, rolls and cleans up. All processes of a cluster may differ in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// A command waits so long for others to share its PUT: far less than a PUT takes.
    pub linger: Duration,
    /// Places in flight (K), 1 to [`IN_FLIGHT_MAX`]. More raises throughput, not latency.
    pub in_flight_max: usize,
    /// Entries after which a roll ends, 1 to [`ROLL_ENTRIES_MAX`].
    pub roll_entries_max: u64,
    /// Bytes of entries after which a roll ends, at most [`ROLL_BYTES_MAX`].
    pub roll_bytes_max: u64,
    /// A snapshot is due when the entries since the last one weigh more than it does and more than
    /// this. An entry weighs its bytes, and at least [`entry_weight_min`](Self::entry_weight_min).
    pub snapshot_weight_min: u64,
    /// What the smallest entry weighs: a GET at replay takes as long as reading this many bytes.
    pub entry_weight_min: u64,
    /// Time between a snapshot and the collection of what it makes superfluous: spares slow readers
    /// a second replay. Safety does not rest on it.
    pub collection_grace: Duration,
    /// Time for commands in flight to become durable once a stop is requested.
    pub drain_timeout: Duration,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(1),
            in_flight_max: 4,
            roll_entries_max: ROLL_ENTRIES_MAX,
            roll_bytes_max: ROLL_BYTES_MAX,
            snapshot_weight_min: ROLL_BYTES_MAX,
            entry_weight_min: ROLL_BYTES_MAX / ROLL_ENTRIES_MAX,
            collection_grace: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl JournalConfig {
    /// Stops on numbers that are out of range: they are the program's, checked at start.
    pub(crate) fn check(&self) {
        assert!(
            (1..=IN_FLIGHT_MAX).contains(&self.in_flight_max),
            "places in flight are within their limit"
        );
        assert!(
            (1..=ROLL_ENTRIES_MAX).contains(&self.roll_entries_max),
            "entries of a roll are within their limit"
        );
        assert!(
            (1..=ROLL_BYTES_MAX).contains(&self.roll_bytes_max),
            "bytes of a roll are within their limit"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the program may start with `config`.
    fn is_taken(config: JournalConfig) -> bool {
        std::panic::catch_unwind(|| config.check()).is_ok()
    }

    #[test]
    fn numbers_at_their_limits_are_taken_and_one_more_is_not() {
        let with = |in_flight_max, roll_entries_max, roll_bytes_max| JournalConfig {
            in_flight_max,
            roll_entries_max,
            roll_bytes_max,
            ..JournalConfig::default()
        };
        let (places, entries, bytes) = (IN_FLIGHT_MAX, ROLL_ENTRIES_MAX, ROLL_BYTES_MAX);

        assert!(is_taken(with(places, entries, bytes)));
        assert!(!is_taken(with(places + 1, entries, bytes)));
        assert!(!is_taken(with(places, entries + 1, bytes)));
        assert!(!is_taken(with(places, entries, bytes + 1)));
        assert!(!is_taken(with(0, entries, bytes)));
    }
}
