//! Ids: who and where. Random ids are made by `esker-env`; here are only their shapes.

use crate::limits::PARTITIONS_PER_TOPIC_MAX;

/// A text that is not an id of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text is not a valid {kind}")]
pub struct IdError {
    /// What was expected.
    pub kind: &'static str,
}

macro_rules! id16 {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            #[must_use]
            pub const fn bytes(self) -> [u8; 16] {
                self.0
            }

            /// 32 lower-case hexadecimal digits, as in object keys.
            #[must_use]
            pub fn to_hex(self) -> String {
                self.0.iter().map(|byte| format!("{byte:02x}")).collect()
            }

            /// Reads what [`Self::to_hex`] wrote.
            ///
            /// # Errors
            /// [`IdError`] for anything but 32 hexadecimal digits.
            pub fn from_hex(text: &str) -> Result<Self, IdError> {
                let wrong = IdError { kind: $kind };
                if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(wrong);
                }
                let value = u128::from_str_radix(text, 16).map_err(|_| wrong)?;
                Ok(Self(value.to_be_bytes()))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.to_hex())
            }
        }
    };
}

id16!(
    /// A topic's incarnation: random, never zero, new when a topic is created again.
    TopicId,
    "topic id"
);
id16!(
    /// One registration of one ingest process; never used again.
    SessionId,
    "session id"
);
id16!(
    /// Names one write of one object: the same bytes at the same key carry the same write id.
    WriteId,
    "write id"
);
id16!(
    /// The cluster a bucket prefix belongs to. Kafka clients see it as 22 base64url digits.
    ClusterId,
    "cluster id"
);

id16!(
    /// One process, from its start to its end.
    PodId,
    "pod id"
);

/// A partition of a topic, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionIndex(u32);

impl PartitionIndex {
    /// `None` at or past [`PARTITIONS_PER_TOPIC_MAX`].
    #[must_use]
    pub fn new(value: u32) -> Option<Self> {
        (value < PARTITIONS_PER_TOPIC_MAX).then_some(Self(value))
    }

    /// As Kafka's wire has it; `None` when negative or past the limit.
    #[must_use]
    pub fn from_wire(value: i32) -> Option<Self> {
        u32::try_from(value).ok().and_then(Self::new)
    }

    /// As Kafka's wire has it.
    #[must_use]
    pub fn to_wire(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX)
    }

    /// The bare number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// One partition of one topic incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's id, never its name (I26).
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
}

/// Kafka's producer id: 0 or more. Ids are given out from 0 up; those from 2^62 on are never given
/// out but made of an idempotency key, and write one batch per partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(i64);

impl ProducerId {
    const KEYED_FROM: i64 = 1 << 62;

    /// The id that stands for an idempotency key: 62 bits of `hash`, which must be one that nobody
    /// can steer.
    #[must_use]
    pub fn from_key_hash(hash: [u8; 8]) -> Self {
        let low = i64::from_be_bytes(hash) & (Self::KEYED_FROM - 1);
        Self(Self::KEYED_FROM | low)
    }

    /// Whether it stands for an idempotency key.
    #[must_use]
    pub fn is_keyed(self) -> bool {
        self.0 >= Self::KEYED_FROM
    }

    /// `None` when negative.
    #[must_use]
    pub fn from_wire(value: i64) -> Option<Self> {
        (value >= 0).then_some(Self(value))
    }

    /// As Kafka's wire has it.
    #[must_use]
    pub fn to_wire(self) -> i64 {
        self.0
    }
}

/// The n of a segment in its session's chain, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainIndex(u64);

impl ChainIndex {
    /// The first place of a chain.
    pub const ZERO: Self = Self(0);

    /// Wraps a number.
    #[must_use]
    pub fn new(value: u64) -> Self {
        Self(value)
    }

    /// The bare number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The place behind this one.
    #[must_use]
    pub fn after(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl std::fmt::Display for ChainIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One segment: its session and its place in the session's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// The session that wrote it.
    pub session: SessionId,
    /// Its place in the session's chain.
    pub index: ChainIndex,
}

impl std::fmt::Display for SegmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.session, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_of_an_id_reads_back_and_nothing_else_does() {
        let id = TopicId::from_bytes([0xab; 16]);

        assert_eq!(TopicId::from_hex(&id.to_hex()), Ok(id));
        assert!(TopicId::from_hex(&"+".repeat(32)).is_err());
        assert!(TopicId::from_hex("abc").is_err());
    }

    #[test]
    fn a_partition_stops_at_its_limit() {
        assert!(PartitionIndex::new(PARTITIONS_PER_TOPIC_MAX - 1).is_some());
        assert!(PartitionIndex::new(PARTITIONS_PER_TOPIC_MAX).is_none());
        assert!(PartitionIndex::from_wire(-1).is_none());
    }
}
