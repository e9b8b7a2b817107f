//! Settings of the sequencer: deadlines only, safety rests on none of them.

use std::time::Duration;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequencerConfig {
    /// A segment undecided for longer is probed, and its session sealed when it is missing (H3).
    /// A few p99.9 PUTs: shorter ends sessions of healthy but slow pods, longer holds up readers.
    pub stall_deadline: Duration,
    /// First wait after a probe or seal that settled nothing; doubles each time.
    pub retry_delay_min: Duration,
    /// Longest wait between two such tries.
    pub retry_delay_max: Duration,
    /// So long after the first session of a later epoch a batch ahead of its producer's sequence is
    /// told that its predecessor is void, which it may be, instead of being out of order, which
    /// kills some clients. Kafka's `request.timeout.ms`: what was under way then is sent again by
    /// now.
    pub take_over_grace: Duration,
    /// A session that reserves and reports nothing for longer is sealed: its pod is gone, or will
    /// register again in one round trip.
    pub session_idle_max: Duration,
}

impl Default for SequencerConfig {
    fn default() -> Self {
        Self {
            stall_deadline: Duration::from_secs(3),
            retry_delay_min: Duration::from_millis(50),
            retry_delay_max: Duration::from_secs(2),
            take_over_grace: Duration::from_secs(30),
            session_idle_max: Duration::from_secs(60 * 60),
        }
    }
}
