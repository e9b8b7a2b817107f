//! Figures of both sides and their Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Connections of clients that are open.
pub(crate) const SERVER_CONNECTIONS: &str = "esker_remote_server_connections";
/// Calls and feeds in hand.
pub(crate) const SERVER_CALLS: &str = "esker_remote_server_calls";
/// Requests that were not taken up, and connections closed at once.
pub(crate) const SERVER_REFUSALS_TOTAL: &str = "esker_remote_server_refusals_total";
/// Connections dialled.
pub(crate) const CLIENT_DIALS_TOTAL: &str = "esker_remote_client_dials_total";
/// Dials that failed.
pub(crate) const CLIENT_DIAL_FAILURES_TOTAL: &str = "esker_remote_client_dial_failures_total";
/// Calls made.
pub(crate) const CLIENT_CALLS_TOTAL: &str = "esker_remote_client_calls_total";
/// Calls whose outcome is not known.
pub(crate) const CLIENT_UNKNOWN_TOTAL: &str = "esker_remote_client_unknown_total";

type Row<'a> = (&'static str, &'static str, &'static str, &'a AtomicU64);

/// Figures of a server.
#[derive(Debug, Default)]
pub struct ServerMetrics {
    pub(crate) connections: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) refusals: AtomicU64,
}

/// Figures of a client.
#[derive(Debug, Default)]
pub struct ClientMetrics {
    pub(crate) dials: AtomicU64,
    pub(crate) dial_failures: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) unknown: AtomicU64,
}

pub(crate) fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn set(gauge: &AtomicU64, count: usize) {
    gauge.store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn render(rows: &[Row<'_>]) -> String {
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        let value = value.load(Ordering::Relaxed);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
        );
    }
    text
}

impl ServerMetrics {
    /// Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        render(&[
            (
                SERVER_CONNECTIONS,
                "gauge",
                "Open connections of internal clients.",
                &self.connections,
            ),
            (
                SERVER_CALLS,
                "gauge",
                "Internal calls and feeds in hand.",
                &self.calls,
            ),
            (
                SERVER_REFUSALS_TOTAL,
                "counter",
                "Internal requests and connections refused.",
                &self.refusals,
            ),
        ])
    }

    /// Requests and connections refused so far.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl ClientMetrics {
    /// Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        render(&[
            (
                CLIENT_DIALS_TOTAL,
                "counter",
                "Dials of other processes.",
                &self.dials,
            ),
            (
                CLIENT_DIAL_FAILURES_TOTAL,
                "counter",
                "Dials that failed.",
                &self.dial_failures,
            ),
            (
                CLIENT_CALLS_TOTAL,
                "counter",
                "Internal calls made.",
                &self.calls,
            ),
            (
                CLIENT_UNKNOWN_TOTAL,
                "counter",
                "Internal calls of unknown outcome.",
                &self.unknown,
            ),
        ])
    }

    /// Dials so far.
    #[must_use]
    pub fn dials(&self) -> u64 {
        self.dials.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_told_with_its_kind() {
        let server = ServerMetrics::default();
        set(&server.calls, 3);
        let client = ClientMetrics::default();
        add_one(&client.unknown);

        let text = server.render() + &client.render();

        assert!(text.contains("# TYPE esker_remote_server_calls gauge\n"));
        assert!(text.contains("\nesker_remote_server_calls 3\n"));
        assert!(text.contains("\nesker_remote_client_unknown_total 1\n"));
        assert_eq!(text.matches("# TYPE").count(), 7);
    }
}
