//! Counters of a listener and their Prometheus text. Labels come from closed enums only.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::versions::Api;

/// Connections that are open.
pub(crate) const CONNECTIONS: &str = "esker_kafka_connections_open";
/// Connections accepted since the start.
pub(crate) const CONNECTIONS_TOTAL: &str = "esker_kafka_connections_total";
/// Requests by API.
pub(crate) const REQUESTS_TOTAL: &str = "esker_kafka_requests_total";
/// Bytes of requests.
pub(crate) const RECEIVED_BYTES_TOTAL: &str = "esker_kafka_received_bytes_total";
/// Bytes of replies.
pub(crate) const SENT_BYTES_TOTAL: &str = "esker_kafka_sent_bytes_total";
/// What was refused, by reason.
pub(crate) const REFUSALS_TOTAL: &str = "esker_kafka_refusals_total";
/// Bytes of requests in flight.
pub(crate) const REQUEST_BYTES_IN_USE: &str = "esker_kafka_request_in_flight_bytes";

/// Why a connection or request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many connections in all.
    Connections,
    /// Too many connections of one address.
    ConnectionsPerAddress,
    /// A frame above the limit, or below the smallest.
    FrameLength,
    /// A frame that did not end in time.
    PartialFrame,
    /// A transfer that stood still while others waited for its memory.
    Straggler,
    /// Connections that could not be accepted: file descriptors have run out.
    Accept,
    /// No request, or no reply byte taken, for too long.
    Idle,
    /// The guard refused a frame.
    Guard,
    /// An API or version that is not served.
    Unsupported,
    /// A reply that cannot be written: a bug of ours.
    Reply,
    /// A connection's task panicked: a bug of ours.
    Panic,
}

impl Refusal {
    const ALL: [Self; 11] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::FrameLength,
        Self::PartialFrame,
        Self::Idle,
        Self::Guard,
        Self::Unsupported,
        Self::Reply,
        Self::Panic,
        Self::Straggler,
        Self::Accept,
    ];

    const fn place(self) -> (usize, &'static str) {
        match self {
            Self::Connections => (0, "connections"),
            Self::ConnectionsPerAddress => (1, "connections_per_address"),
            Self::FrameLength => (2, "frame_length"),
            Self::PartialFrame => (3, "partial_frame"),
            Self::Idle => (4, "idle"),
            Self::Guard => (5, "guard"),
            Self::Unsupported => (6, "unsupported"),
            Self::Reply => (7, "reply"),
            Self::Panic => (8, "panic"),
            Self::Straggler => (9, "straggler"),
            Self::Accept => (10, "accept"),
        }
    }
}

/// A counter for each API that is served.
#[derive(Debug)]
struct PerApi([AtomicU64; Api::ALL.len()]);

impl Default for PerApi {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// Counters of one listener; shared by its connections.
#[derive(Debug, Default)]
pub struct Metrics {
    connections_open: AtomicU64,
    connections: AtomicU64,
    requests: PerApi,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    refusals: [AtomicU64; Refusal::ALL.len()],
    request_bytes: AtomicU64,
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Metrics {
    pub(crate) fn connection_opened(&self) {
        add(&self.connections, 1);
        add(&self.connections_open, 1);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections_open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn request(&self, api: Api, bytes: usize) {
        add(&self.received_bytes, bytes);
        if let Some(place) = Api::ALL.iter().position(|served| *served == api) {
            add(&self.requests.0[place], 1);
        }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.sent_bytes, bytes);
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        add(&self.refusals[refusal.place().0], 1);
    }

    pub(crate) fn request_bytes_taken(&self, bytes: usize) {
        add(&self.request_bytes, bytes);
    }

    pub(crate) fn request_bytes_given_back(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.request_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections_open(&self) -> u64 {
        self.connections_open.load(Ordering::Relaxed)
    }

    /// Connections accepted since the start.
    #[must_use]
    pub fn connections_total(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Bytes of requests in flight now.
    #[must_use]
    pub fn request_bytes_in_flight(&self) -> u64 {
        self.request_bytes.load(Ordering::Relaxed)
    }

    /// How often `refusal` happened.
    #[must_use]
    pub fn refusals(&self, refusal: Refusal) -> u64 {
        self.refusals[refusal.place().0].load(Ordering::Relaxed)
    }

    /// Requests of `api` so far.
    #[must_use]
    pub fn requests(&self, api: Api) -> u64 {
        let place = Api::ALL.iter().position(|served| *served == api);
        place.map_or(0, |place| self.requests.0[place].load(Ordering::Relaxed))
    }

    /// All metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let plain = [
            (
                CONNECTIONS,
                "gauge",
                "Open Kafka connections.",
                &self.connections_open,
            ),
            (
                CONNECTIONS_TOTAL,
                "counter",
                "Accepted Kafka connections.",
                &self.connections,
            ),
            (
                RECEIVED_BYTES_TOTAL,
                "counter",
                "Bytes of requests.",
                &self.received_bytes,
            ),
            (
                SENT_BYTES_TOTAL,
                "counter",
                "Bytes of replies.",
                &self.sent_bytes,
            ),
            (
                REQUEST_BYTES_IN_USE,
                "gauge",
                "Bytes of requests in flight.",
                &self.request_bytes,
            ),
        ];
        for (name, kind, help, counter) in plain {
            let value = counter.load(Ordering::Relaxed);
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
            );
        }
        let _ = write!(
            text,
            "# HELP {REQUESTS_TOTAL} Requests by API.\n# TYPE {REQUESTS_TOTAL} counter\n"
        );
        for (api, counter) in Api::ALL.iter().zip(&self.requests.0) {
            let value = counter.load(Ordering::Relaxed);
            let _ = writeln!(text, "{REQUESTS_TOTAL}{{api=\"{api}\"}} {value}");
        }
        let _ = write!(
            text,
            "# HELP {REFUSALS_TOTAL} Refusals by reason.\n# TYPE {REFUSALS_TOTAL} counter\n"
        );
        for refusal in Refusal::ALL {
            let (place, name) = refusal.place();
            let value = self.refusals[place].load(Ordering::Relaxed);
            let _ = writeln!(text, "{REFUSALS_TOTAL}{{reason=\"{name}\"}} {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_every_api_and_every_reason() {
        let metrics = Metrics::default();
        metrics.request(Api::Fetch, 10);
        metrics.refused(Refusal::Guard);

        let text = metrics.render();

        assert!(text.contains("esker_kafka_requests_total{api=\"Fetch\"} 1\n"));
        assert!(text.contains("esker_kafka_requests_total{api=\"ListGroups\"} 0\n"));
        assert!(text.contains("esker_kafka_refusals_total{reason=\"guard\"} 1\n"));
        assert!(text.contains("esker_kafka_received_bytes_total 10\n"));
        for (place, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(refusal.place().0, place);
        }
    }
}
