//! Settings of the group coordinator: numbers only.

use std::time::Duration;

use crate::limits::GROUP_MEMBERS_MAX;

/// How groups behave. Defaults are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// How long the first rebalance of an empty group waits for more members
    /// (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay: Duration,
    /// Shortest session timeout a member may ask for.
    pub session_timeout_min: Duration,
    /// Longest session timeout a member may ask for.
    pub session_timeout_max: Duration,
    /// Members of one group, at most [`GROUP_MEMBERS_MAX`].
    pub group_members_max: usize,
    /// Offsets of a group expire this long after it became empty, or after their commit when that
    /// was later (`offsets.retention.minutes`).
    pub offset_retention: Duration,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::from_secs(3),
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
            group_members_max: GROUP_MEMBERS_MAX,
            offset_retention: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}
