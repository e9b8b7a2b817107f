//! Which partition a key belongs to, exactly as Kafka's Java client decides.
//!
//! Used where Esker itself is the producer: HTTP append and the command line.
//! Source: `Utils.murmur2` and `BuiltInPartitioner` of Kafka's clients.

use esker_types::PartitionIndex;

const SEED: u32 = 0x9747_b28c;
const FACTOR: u32 = 0x5bd1_e995;

/// Kafka's 32-bit MurmurHash2, signed as in Java.
#[must_use]
pub fn murmur2(key: &[u8]) -> i32 {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let (words, rest) = key.as_chunks::<4>();
    let mut hash = SEED ^ length;
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(FACTOR) ^ mixed.wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let low_first = rest.iter().rev();
        let tail = low_first.fold(0, |tail: u32, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(FACTOR);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(FACTOR);
    (hash ^ hash >> 15).cast_signed()
}

/// The partition that a Java producer sends records with this key to. `None` when there is no
/// partition, or more than a topic may have.
#[must_use]
pub fn partition_for_key(key: &[u8], partition_count: u32) -> Option<PartitionIndex> {
    PartitionIndex::new(partition_count.checked_sub(1)?)?;
    let positive = murmur2(key).cast_unsigned() & 0x7fff_ffff;
    PartitionIndex::new(positive.checked_rem(partition_count)?)
}

#[cfg(test)]
mod tests {
    use esker_types::limits::PARTITIONS_PER_TOPIC_MAX;

    use super::*;

    /// Keys with their hash and their partition of 12, from Kafka's own test and its Java client.
    const VECTORS: [(&str, i32, u32); 10] = [
        ("21", -973_932_308, 0),
        ("foobar", -790_332_482, 6),
        ("a-little-bit-long-string", -985_981_536, 8),
        ("a-little-bit-longer-string", -1_486_304_829, 11),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
            5,
        ),
        ("abc", 479_470_107, 3),
        ("", 275_646_681, 9),
        ("a", -1_563_381_124, 4),
        ("ab", 316_155_434, 2),
        ("\u{e9}\u{ff}", -1_748_483_581, 7),
    ];

    #[test]
    fn keys_go_where_java_sends_them() {
        for (key, hash, partition) in VECTORS {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
            assert_eq!(
                partition_for_key(key.as_bytes(), 12),
                PartitionIndex::new(partition)
            );
        }
    }

    #[test]
    fn no_partition_is_made_up() {
        assert_eq!(partition_for_key(b"key", 0), None);
        assert_eq!(partition_for_key(b"key", 1), PartitionIndex::new(0));
        assert!(partition_for_key(b"key", PARTITIONS_PER_TOPIC_MAX).is_some());
        assert_eq!(
            partition_for_key(b"key", PARTITIONS_PER_TOPIC_MAX + 1),
            None
        );
    }
}
