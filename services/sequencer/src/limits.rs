//! Limits of the sequencer. Each has a test that goes one past it.

/// Segments of one session that may be reserved and undecided (K of W2).
pub const UNDECIDED_SEGMENTS_MAX: usize = 64;
/// Committed batches remembered per producer and partition (Kafka).
pub const BATCHES_REMEMBERED: usize = 5;
/// Producers remembered per partition, in the durable state; those that wrote longest ago go first.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 2000;
/// Idempotency keys remembered per partition, beside the producers; the oldest go first.
pub const KEYS_PER_PARTITION_MAX: usize = 2000;
/// Sessions open at a time: one per ingest process.
pub const SESSIONS_OPEN_MAX: usize = 10_000;
/// Ended and fully checkpointed sessions kept, so that their pods may still ask for the end.
pub const SESSIONS_SETTLED_MAX: usize = 4096;
/// Producers remembered because a batch of theirs turned void; the oldest go first.
pub const VOID_MARKS_MAX: usize = 65_536;
/// Committed segments not yet checkpointed; beyond, reservations wait (bounds recovery).
pub const CHECKPOINT_LAG_SEGMENTS_MAX: usize = 65_536;
/// Bytes of the footers of these segments, about; beyond, reservations wait.
pub const CHECKPOINT_LAG_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Batches reserved and undecided, of all sessions; beyond, reservations wait. About 200 bytes
/// each.
pub const UNDECIDED_BATCHES_MAX: usize = 1_000_000;
/// Bytes at which a checkpoint command takes no further segment: some 500 batches. Several commands
/// share a put of the journal; each is applied in one go, while nobody is answered.
pub const CHECKPOINT_BYTES_MAX: usize = 32 * 1024;
/// Bytes of one command: a checkpoint of the largest segment fits, and the journal takes it.
pub const LOG_COMMAND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Smallest snapshot part that can be asked for: the largest record of a snapshot fits.
pub const SNAPSHOT_PART_BYTES_MIN: usize = 8 * 1024;
