//! Limits of the group coordinator. Each has a test that goes one past it.
//!
//! Memory of one coordinator is bounded by bytes: members by [`COORDINATOR_BYTES_MAX`], committed
//! offsets by [`OFFSETS_BYTES_MAX`].

use std::time::Duration;

pub use esker_metadata_api::limits::{
    GROUP_MEMBERS_MAX, GROUP_TEXT_BYTES_MAX, MEMBER_METADATA_BYTES_MAX, OFFSET_METADATA_BYTES_MAX,
};

/// Groups of a cluster, those with nothing but offsets included.
pub const GROUPS_MAX: usize = 100_000;
/// Newcomers of one group that were given a member id and have not yet come back with it.
pub const PENDING_MEMBERS_MAX: usize = GROUP_MEMBERS_MAX;
/// Protocols that one member may offer.
pub const MEMBER_PROTOCOLS_MAX: usize = 128;
/// Ids, names and metadata of all members of one group, for all protocols they offer. Kafka stops
/// at about 1 MiB (a group's summary is one record there).
pub const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Assignments of one generation.
pub const ASSIGNMENT_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Members of all groups together, as [`GROUP_BYTES_MAX`] counts them.
pub const COORDINATOR_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Committed offsets of all groups together, group names and texts included.
pub const OFFSETS_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Offsets of a commit are cut into commands of about so many bytes.
pub const COMMIT_COMMAND_BYTES: usize = 1024 * 1024;
/// Offsets that one command deletes.
pub const DELETED_OFFSETS_PER_COMMAND_MAX: usize = 50_000;
/// Bytes of the largest command: a summary. A quarter of a MiB less than a snapshot part, so that
/// what one command says of a group fits one part.
pub const COMMAND_BYTES_MAX: usize = SNAPSHOT_PART_BYTES_MAX - 256 * 1024;
/// A snapshot part closes at about so many bytes; a larger record is a part of its own …
pub const SNAPSHOT_PART_BYTES: usize = 4 * 1024 * 1024;
/// … of at most so many: the journal takes no larger ones.
pub const SNAPSHOT_PART_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Groups whose offsets one sweep lets expire: bounds what a clock that jumped can do in one step.
pub const EXPIRED_GROUPS_PER_SWEEP_MAX: usize = 1000;
/// Time between two sweeps for expired offsets (Kafka's `offsets.retention.check.interval.ms`).
pub const EXPIRY_SWEEP_INTERVAL: Duration = Duration::from_secs(600);
/// A new member's first join waits no longer than this (Kafka's `group.new.member.join.timeout`).
pub const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(300);

/// What a member costs beside its own texts and bytes, in memory and in a summary.
pub(crate) const MEMBER_OVERHEAD_BYTES: usize = 128;
/// What a committed offset costs beside its text.
pub(crate) const OFFSET_OVERHEAD_BYTES: usize = 64;

const _: () = assert!(
    GROUP_BYTES_MAX + ASSIGNMENT_BYTES_MAX + 4 * GROUP_TEXT_BYTES_MAX <= COMMAND_BYTES_MAX,
    "the summary of the largest group is one command"
);
const _: () = assert!(
    COMMIT_COMMAND_BYTES
        + OFFSET_OVERHEAD_BYTES
        + OFFSET_METADATA_BYTES_MAX
        + 2 * GROUP_TEXT_BYTES_MAX
        <= COMMAND_BYTES_MAX
);
const _: () = assert!(
    DELETED_OFFSETS_PER_COMMAND_MAX * 20 + 2 * GROUP_TEXT_BYTES_MAX <= COMMIT_COMMAND_BYTES * 2
);
const _: () = assert!(MEMBER_METADATA_BYTES_MAX <= GROUP_BYTES_MAX);
const _: () = assert!(GROUP_MEMBERS_MAX * MEMBER_OVERHEAD_BYTES < GROUP_BYTES_MAX);
const _: () = assert!(SNAPSHOT_PART_BYTES < COMMAND_BYTES_MAX);
const _: () = assert!(
    COMMAND_BYTES_MAX + 4 * GROUP_TEXT_BYTES_MAX <= SNAPSHOT_PART_BYTES_MAX,
    "what a command says of a group fits one part"
);
