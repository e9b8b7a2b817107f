//! Settings of the front: numbers and names only; parts (admin, clock) are handed to `new`.

use std::sync::Arc;
use std::time::Duration;

use esker_cluster::{ClientsSee, ZoneMap};

use crate::limits;

/// How an [`crate::AdminFront`] answers. One per listener, since each listener has its own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// The host that clients of this listener reach this process by.
    pub advertised_host: String,
    /// The port that goes with it.
    pub advertised_port: u16,
    /// `auto.create.topics.enable`: Metadata creates the topics it is asked for by name.
    pub auto_create_topics: bool,
    /// `num.partitions`: partitions of a topic whose creator leaves the count open; at least 1.
    pub partition_count_default: u32,
    /// `default.replication.factor`: shown by tools only, the bucket replicates; at least 1.
    pub replication_factor_default: u16,
    /// How long the metadata service may take to answer where the request names no time of its own.
    pub metadata_timeout: Duration,
    /// Zones of clients that name none, by their network.
    pub zone_map: Arc<ZoneMap>,
    /// Which processes are brokers to clients.
    pub clients_see: ClientsSee,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            advertised_host: String::from("127.0.0.1"),
            advertised_port: 9092,
            // Kafka's own defaults, which test suites and quickstarts rely on.
            auto_create_topics: true,
            partition_count_default: 1,
            replication_factor_default: 1,
            metadata_timeout: limits::METADATA_TIMEOUT,
            zone_map: Arc::default(),
            clients_see: ClientsSee::All,
        }
    }
}
