//! Versions of the internal API, and the headers that every call carries.
//!
//! Both sides speak a range of versions; a connection uses the highest that both speak. A version
//! rises when a message changes its meaning, or gains a field that a request must not lose.

use std::time::Duration;

use esker_types::ClusterId;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use crate::limits::CALL_DEADLINE_MAX;
use crate::proto::ProtocolRange;

/// The oldest version that this build speaks.
pub const PROTOCOL_MIN: u32 = 1;
/// The newest version that this build speaks.
pub const PROTOCOL_MAX: u32 = 2;
/// From this version on an announcement may name the sessions that a pod writes.
pub(crate) const SESSIONS_FROM: u32 = 2;

pub(crate) const PACKAGE: &str = "/esker.internal.v1.";
pub(crate) const SERVICE: &str = "/esker.internal.v1.Metadata/";
/// Method of another service than that of [`SERVICE`]: named with it.
pub(crate) const READ_BLOCK: &str = "Blocks/Read";
pub(crate) const PROTOCOL: &str = "esker-protocol";
pub(crate) const CLUSTER: &str = "esker-cluster";
pub(crate) const DEADLINE: &str = "esker-deadline-ms";

const _: () = assert!(PROTOCOL_MIN >= 1 && PROTOCOL_MIN <= PROTOCOL_MAX);

/// Versions from `min` to `max`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

impl Protocols {
    /// What this build speaks.
    pub const OURS: Self = Self {
        min: PROTOCOL_MIN,
        max: PROTOCOL_MAX,
    };

    /// The newest version that is in both; `None` when there is none.
    #[must_use]
    pub fn newest_shared(self, other: Self) -> Option<u32> {
        let newest = self.max.min(other.max);
        let oldest = self.min.max(other.min);
        (newest >= oldest && oldest >= 1).then_some(newest)
    }

    /// Whether `version` is one of them.
    #[must_use]
    pub fn has(self, version: u32) -> bool {
        self.min <= version && version <= self.max
    }
}

impl std::fmt::Display for Protocols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

impl From<Protocols> for ProtocolRange {
    fn from(value: Protocols) -> Self {
        Self {
            min: value.min,
            max: value.max,
        }
    }
}

impl From<ProtocolRange> for Protocols {
    fn from(value: ProtocolRange) -> Self {
        Self {
            min: value.min,
            max: value.max,
        }
    }
}

/// What the headers of a call say; `None` for what is missing or makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallHead {
    pub(crate) protocol: Option<u32>,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) deadline: Option<Duration>,
}

impl CallHead {
    pub(crate) fn of(headers: &http::HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let deadline = text(DEADLINE).and_then(|text| text.parse().ok());
        let deadline = deadline.map(Duration::from_millis);
        Self {
            protocol: text(PROTOCOL).and_then(|text| text.parse().ok()),
            cluster: text(CLUSTER).and_then(|text| ClusterId::from_hex(text).ok()),
            deadline: deadline
                .filter(|deadline| !deadline.is_zero() && *deadline <= CALL_DEADLINE_MAX),
        }
    }
}

/// Writes the headers of a call.
pub(crate) fn write_head(
    to: &mut MetadataMap,
    protocol: u32,
    cluster: ClusterId,
    deadline: Duration,
) {
    let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    let rows = [
        (PROTOCOL, protocol.to_string()),
        (CLUSTER, cluster.to_hex()),
        (DEADLINE, millis.max(1).to_string()),
    ];
    for (name, value) in rows {
        // Digits always are a header value.
        if let Ok(value) = AsciiMetadataValue::try_from(value) {
            to.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: u32, max: u32) -> Protocols {
        Protocols { min, max }
    }

    #[test]
    fn the_newest_shared_version_is_taken_and_none_outside_a_range() {
        assert_eq!(range(1, 3).newest_shared(range(2, 5)), Some(3));
        assert_eq!(range(2, 5).newest_shared(range(1, 3)), Some(3));
        assert_eq!(range(1, 1).newest_shared(range(1, 1)), Some(1));
        assert_eq!(range(1, 2).newest_shared(range(3, 4)), None);
        assert_eq!(range(3, 1).newest_shared(range(1, 3)), None);
        assert_eq!(range(0, 0).newest_shared(range(0, 0)), None);
    }

    #[test]
    fn the_head_of_a_call_reads_back_and_a_longer_deadline_than_allowed_does_not() {
        let cluster = ClusterId::from_bytes([7; 16]);
        let head = |deadline| {
            let mut metadata = MetadataMap::new();
            write_head(&mut metadata, 4, cluster, deadline);
            CallHead::of(&metadata.into_headers())
        };

        let whole = CallHead {
            protocol: Some(4),
            cluster: Some(cluster),
            deadline: Some(CALL_DEADLINE_MAX),
        };
        assert_eq!(head(CALL_DEADLINE_MAX), whole);
        let past = head(CALL_DEADLINE_MAX + Duration::from_millis(1));
        assert_eq!(past.deadline, None);
    }
}
