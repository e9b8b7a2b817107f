//! The APIs that are served, and in which versions: the one list that is advertised and dispatched.
//!
//! Produce is advertised from 0 (librdkafka before 2.11.1 stops compressing otherwise) although
//! bodies begin at 3, and ends at 11, because 12 belongs to `transaction.version` 2, which is not
//! finalised here. Other highest versions are those of the codec, or add only new values of a field
//! to the codec's last (`Api::codec_version`); a test holds that.

pub use kafka_protocol::protocol::VersionRange;

macro_rules! served {
    ($(
        $api:ident = $key:literal, $first:literal to $last:literal, advertised from $floor:literal;
    )*) => {
        /// An API that is served.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Api {
            $(#[doc = concat!("Key ", stringify!($key), ".")] $api,)*
        }

        impl Api {
            /// Every served API, by rising key.
            pub const ALL: &'static [Self] = &[$(Self::$api,)*];

            /// The API of a key on the wire; `None` when it is not served.
            #[must_use]
            pub const fn from_key(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$api),)*
                    _ => None,
                }
            }

            /// Its key on the wire.
            #[must_use]
            pub const fn key(self) -> i16 {
                match self {
                    $(Self::$api => $key,)*
                }
            }

            /// Kafka's name of it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$api => stringify!($api),)*
                }
            }

            /// Versions whose bodies are understood.
            #[must_use]
            pub const fn served(self) -> VersionRange {
                match self {
                    $(Self::$api => VersionRange { min: $first, max: $last },)*
                }
            }

            /// Versions that ApiVersions names.
            #[must_use]
            pub const fn advertised(self) -> VersionRange {
                match self {
                    $(Self::$api => VersionRange { min: $floor, max: $last },)*
                }
            }
        }
    };
}

served! {
    Produce = 0, 3 to 11, advertised from 0;
    Fetch = 1, 4 to 18, advertised from 4;
    ListOffsets = 2, 1 to 11, advertised from 1;
    Metadata = 3, 0 to 13, advertised from 0;
    OffsetCommit = 8, 2 to 9, advertised from 2;
    OffsetFetch = 9, 1 to 9, advertised from 1;
    FindCoordinator = 10, 0 to 6, advertised from 0;
    JoinGroup = 11, 0 to 9, advertised from 0;
    Heartbeat = 12, 0 to 4, advertised from 0;
    LeaveGroup = 13, 0 to 5, advertised from 0;
    SyncGroup = 14, 0 to 5, advertised from 0;
    DescribeGroups = 15, 0 to 6, advertised from 0;
    ListGroups = 16, 0 to 5, advertised from 0;
    ApiVersions = 18, 0 to 4, advertised from 0;
    CreateTopics = 19, 2 to 7, advertised from 2;
    DeleteTopics = 20, 1 to 6, advertised from 1;
    DeleteRecords = 21, 0 to 2, advertised from 0;
    InitProducerId = 22, 0 to 5, advertised from 0;
    OffsetForLeaderEpoch = 23, 2 to 4, advertised from 2;
    DescribeAcls = 29, 1 to 3, advertised from 1;
    DescribeConfigs = 32, 1 to 4, advertised from 1;
    AlterConfigs = 33, 0 to 2, advertised from 0;
    DescribeLogDirs = 35, 1 to 4, advertised from 1;
    CreatePartitions = 37, 0 to 3, advertised from 0;
    DeleteGroups = 42, 0 to 2, advertised from 0;
    ElectLeaders = 43, 0 to 2, advertised from 0;
    IncrementalAlterConfigs = 44, 0 to 1, advertised from 0;
    AlterPartitionReassignments = 45, 0 to 1, advertised from 0;
    ListPartitionReassignments = 46, 0 to 0, advertised from 0;
    OffsetDelete = 47, 0 to 0, advertised from 0;
    DescribeClientQuotas = 48, 0 to 1, advertised from 0;
    DescribeUserScramCredentials = 50, 0 to 0, advertised from 0;
    DescribeQuorum = 55, 0 to 2, advertised from 0;
    DescribeCluster = 60, 0 to 2, advertised from 0;
    DescribeProducers = 61, 0 to 0, advertised from 0;
    DescribeTransactions = 65, 0 to 0, advertised from 0;
    ListTransactions = 66, 0 to 2, advertised from 0;
    ListConfigResources = 74, 0 to 1, advertised from 0;
    DescribeTopicPartitions = 75, 0 to 0, advertised from 0;
}

impl Api {
    /// Whether bodies of `version` are understood.
    #[must_use]
    pub const fn serves(self, version: i16) -> bool {
        let served = self.served();
        served.min <= version && version <= served.max
    }

    /// In which version the codec writes bodies of `version`: ListOffsets 11 gives a meaning to one
    /// more timestamp (KIP-1023) and has the fields of 10, where the codec ends.
    #[must_use]
    pub(crate) const fn codec_version(self, version: i16) -> i16 {
        match (self, version) {
            (Self::ListOffsets, 11) => 10,
            _ => version,
        }
    }
}

impl std::fmt::Display for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::codec_versions;

    #[test]
    fn what_is_served_is_what_the_codec_can_read_and_the_only_hole_is_produce() {
        for api in Api::ALL {
            let codec = codec_versions(*api);
            assert!(codec.min <= api.served().min, "{api}");
            assert!(
                codec.max == api.codec_version(api.served().max) || *api == Api::Produce,
                "{api}"
            );
            assert_eq!(
                api.advertised().min == api.served().min,
                *api != Api::Produce
            );
        }
        assert!(!Api::Produce.serves(2) && Api::Produce.serves(11) && !Api::Produce.serves(12));
    }

    #[test]
    fn keys_and_apis_map_both_ways() {
        for api in Api::ALL {
            assert_eq!(Api::from_key(api.key()), Some(*api));
        }
        assert_eq!(Api::from_key(4), None);
    }
}
