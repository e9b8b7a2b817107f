//! Limits of the internal API.

use std::time::Duration;

/// Bytes of a topic name (Kafka).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Updates a follower may lie behind before it must look up afresh.
pub const FEED_UPDATES_MAX: usize = 65_536;
/// Extents in one answer to a look-up.
pub const LOOKUP_EXTENTS_MAX: usize = 1024;
/// Bytes of one group or member id, protocol name or instance id.
pub const GROUP_TEXT_BYTES_MAX: usize = 32_767;
/// Members of one group.
pub const GROUP_MEMBERS_MAX: usize = 1000;
/// Bytes of one member's metadata or assignment.
pub const MEMBER_METADATA_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the metadata text kept with a committed offset (Kafka).
pub const OFFSET_METADATA_BYTES_MAX: usize = 4096;
/// Bytes of one setting of a topic.
pub const CONFIG_VALUE_BYTES_MAX: usize = 32_767;
/// Brokers that have settings of their own, beside those of all.
pub const BROKERS_CONFIGURED_MAX: usize = 1000;
/// Topics of a cluster.
pub const TOPICS_MAX: usize = 100_000;
/// Partitions of a cluster, all topics together.
pub const PARTITIONS_MAX: usize = 200_000;
/// Processes of a cluster.
pub const PODS_MAX: usize = 1000;
/// Bytes of one text of an announcement: a host, a zone, a version.
pub const POD_TEXT_BYTES_MAX: usize = 255;
/// Sessions that a pod tells it writes: the open one, and those before it that may be read still.
pub const POD_SESSIONS_MAX: usize = 8;
/// How often a pod announces itself.
pub const POD_ANNOUNCE_EVERY: Duration = Duration::from_secs(1);
