//! Limits of what a process is told of the cluster. Each has a test that goes one past it.

/// Networks of one zone map. Each request of a client without another hint looks through them.
pub const ZONE_MAP_ENTRIES_MAX: usize = 256;
/// Bytes of the name of a zone, as of one in an announcement.
pub const ZONE_BYTES_MAX: usize = esker_metadata_api::limits::POD_TEXT_BYTES_MAX;
