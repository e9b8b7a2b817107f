//! Settings of the metadata service: numbers only.

use std::time::Duration;

use esker_journal::JournalConfig;

use crate::limits::UNDECIDED_WAIT_MAX;

/// How the leader paces its own work. None of it is about safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataConfig {
    /// A segment undecided for longer is probed, then its session is sealed (H3): a few p99.9 puts.
    pub stall_deadline: Duration,
    /// A checkpoint is written when the oldest segment not in one is this old. Bounds what a cold
    /// start reads; costs one put each under load, none when idle.
    pub checkpoint_interval: Duration,
    /// … or when so many segments are not in one.
    pub checkpoint_segments: usize,
    /// How often a leader that has nothing else to ask looks whether it still is one.
    pub deposed_check_interval: Duration,
    /// Pause between two looks of a standby.
    pub standby_interval: Duration,
    /// Looks in a row that find no living leader before a standby takes over.
    pub standby_misses_max: u32,
    /// Looks in a row that do not hear a leader although the journal grows, before a standby takes
    /// over all the same: nobody else may hear it either.
    pub unheard_misses_max: u32,
    /// Looks in a row that find a leader silent which this process never saw alive: it may have
    /// been killed just now with all clients waiting, or merely be slow to answer.
    pub start_misses_max: u32,
    /// Pause between them.
    pub start_interval: Duration,
    /// How often a standby reads what the leader wrote, while that one lives: two GETs at least.
    /// What it has not read when it takes over it reads then.
    pub standby_catch_up_interval: Duration,
    /// The Kafka node id of this process: whose settings count in the tables that it hands out.
    pub node_id: i32,
    /// How long an empty group waits for more members before its first generation.
    pub group_initial_rebalance_delay: Duration,
    /// Batches, rolls and snapshots of the journal.
    pub journal: JournalConfig,
}

impl Default for MetadataConfig {
    fn default() -> Self {
        Self {
            stall_deadline: Duration::from_secs(5),
            checkpoint_interval: Duration::from_secs(10),
            checkpoint_segments: 256,
            deposed_check_interval: Duration::from_secs(10),
            standby_interval: Duration::from_millis(1500),
            standby_misses_max: 3,
            unheard_misses_max: 200,
            start_misses_max: 2,
            start_interval: Duration::from_millis(500),
            standby_catch_up_interval: Duration::from_secs(30),
            node_id: 1,
            group_initial_rebalance_delay: Duration::from_secs(3),
            journal: JournalConfig::default(),
        }
    }
}

const _: () = assert!(
    UNDECIDED_WAIT_MAX.as_secs() > 5,
    "above the stall deadline's default"
);
