//! Limits that more than one crate relies on. Each has a test that goes one past it.

/// Bytes of one record batch on the wire, header included: Kafka's default `max.message.bytes`.
pub const RECORD_BATCH_BYTES_DEFAULT: u32 = 1_048_588;
/// Largest `max.message.bytes` a topic may ask for: one batch must fit one segment.
pub const RECORD_BATCH_BYTES_MAX: u32 = 7 * 1024 * 1024;
/// Bytes of record batches in one segment, header and footer not counted.
pub const SEGMENT_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Offsets are signed 64-bit numbers on the wire.
pub const OFFSET_MAX: u64 = u64::MAX >> 1;
/// Partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: u32 = 10_000;
/// Record batches in one segment: bounds its footer (about 90 bytes each) and a checkpoint entry.
pub const BATCHES_PER_SEGMENT_MAX: u32 = 16_384;

const _: () = assert!(RECORD_BATCH_BYTES_DEFAULT <= RECORD_BATCH_BYTES_MAX);
const _: () = assert!(
    RECORD_BATCH_BYTES_MAX <= SEGMENT_BYTES_MAX,
    "one batch must fit one segment"
);
