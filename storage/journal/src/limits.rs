//! Limits of the journal. Each has a test that goes one past it.

use std::time::Duration;

/// Bytes of one command. A larger one is refused before it gets a sequence number.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Encoded bytes of the commands of one entry; a larger command is an entry of its own.
pub const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// Places sent and not yet durable (K): the most that [`crate::JournalConfig`] may ask for. Bounds
/// how far void entries can lie behind the seal of a challenger.
pub const IN_FLIGHT_MAX: usize = 16;
/// Entries of one roll.
pub const ROLL_ENTRIES_MAX: u64 = 4096;
/// Bytes of the entries of one roll; the last entry may exceed it.
pub const ROLL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of the commands that were appended and whose events were not yet taken.
pub const APPEND_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a command weighs in that queue beyond its bytes.
pub const COMMAND_OVERHEAD_BYTES: usize = 256;
/// Bytes of one part of a snapshot.
pub const SNAPSHOT_PART_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Rolls, read one after the other, behind which a snapshot of a small state is due: restarts
/// of a quiet cluster write rolls and hardly an entry.
pub const SNAPSHOT_ROLLS: u64 = 16;
/// Parts of one snapshot.
pub const SNAPSHOT_PARTS_MAX: usize = 4096;
/// Bytes of an owner's address, which is opaque to the journal.
pub const ADDRESS_BYTES_MAX: usize = 1024;

const _: () = assert!(GROUP_BYTES_MAX <= COMMAND_BYTES_MAX);
const _: () = assert!(
    COMMAND_BYTES_MAX + COMMAND_OVERHEAD_BYTES <= APPEND_QUEUE_BYTES_MAX,
    "the largest command must fit the queue"
);

/// Bytes of any object of the journal: the largest command or part, with room for the other fields.
pub const OBJECT_BYTES_MAX: u64 = 16 * 1024 * 1024 + 64 * 1024;
/// Reads of an object that make no sense before it counts as damaged.
pub const UNREADABLE_READS_MAX: u32 = 3;
/// Objects that replay reads at once. Usual entries are small; of the largest commands this many
/// would take 512 MiB for a moment.
pub const REPLAY_READS_MAX: usize = 32;
/// Parts of a snapshot that are read or written at once.
pub const SNAPSHOT_REQUESTS_MAX: usize = 8;
/// Pages of one listing of the snapshots; a listing is a hint, so a cut one is as good.
pub const LIST_PAGES_MAX: usize = 100;
/// Rounds of a challenge against an owner who goes on appending. The second one seals 2K + 1 places
/// at once, so more are needed only when the owner gets that far between a read and a put.
pub const CHALLENGE_ROUNDS_MAX: usize = 32;
/// Deletions that a collection has under way at once.
pub const DELETIONS_MAX: usize = 16;
/// Longest that the journal bears that the store denies rights, for one place with all its tries.
/// Credentials that are replaced and grants that spread take seconds, seldom a minute. Behind it
/// the process ends: a new start may have been given other credentials.
pub const DENIED_MAX: Duration = Duration::from_secs(60);
/// Time for reading who deposed us: the owner should hear *that* it is deposed soon.
pub const DEPOSED_BY_TIMEOUT: Duration = Duration::from_secs(1);
