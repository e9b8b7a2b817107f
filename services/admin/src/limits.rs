//! Limits of the admin front. Each has a test that goes one past it.

use std::time::Duration;

/// How long a call to the metadata service may take: a failover (10 s, p99) just fits.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(12);
/// The longest time that a request may give its topics to be created or deleted.
pub const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(5 * 60);
/// Topics of one request that are created or deleted at the same time: they share journal entries.
pub const TOPIC_CHANGES_PARALLEL: usize = 16;
/// Partitions of one request whose logs are asked about, or cut, at the same time.
pub const PARTITIONS_PARALLEL: usize = 64;
/// Times that a change of settings is worked out again because another one came first.
pub const CONFIG_CHANGE_TRIES_MAX: usize = 8;
/// Groups of one OffsetFetch that are read at the same time.
pub const OFFSET_GROUPS_PARALLEL: usize = 16;
/// Partitions in one answer to DescribeTopicPartitions, as in Kafka
/// (`max.request.partition.size.limit`).
pub const DESCRIBED_PARTITIONS_MAX: usize = 2000;
/// Producers in one answer to DescribeProducers; partitions beyond are refused.
pub const DESCRIBED_PRODUCERS_MAX: usize = 100_000;
/// Characters of a client's own text that an error message sends back.
pub const SHOWN_CHARACTERS_MAX: usize = 100;

const _: () = assert!(
    METADATA_TIMEOUT.as_millis() <= REQUEST_TIMEOUT_MAX.as_millis(),
    "a request may wait at least as long as one call"
);
