//! Counters of the fetch role and their Prometheus text. Labels come from closed enums only.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::reader::Remedy;

/// Responses assembled.
pub(crate) const RESPONSES_TOTAL: &str = "esker_fetch_responses_total";
/// Bytes of records in them.
pub(crate) const RECORDS_BYTES_TOTAL: &str = "esker_fetch_records_bytes_total";
/// Times a request slept at the log's end.
pub(crate) const WAITS_TOTAL: &str = "esker_fetch_waits_total";
/// Sleeps ended by the push.
pub(crate) const WAKES_TOTAL: &str = "esker_fetch_wakes_total";
/// Sleeps that nobody could end: too many partitions were waited for.
pub(crate) const WATCHES_REFUSED_TOTAL: &str = "esker_fetch_watches_refused_total";
/// Reads ahead of sequential readers, begun or left out because too many were waiting.
pub(crate) const READ_AHEAD_TOTAL: &str = "esker_fetch_read_ahead_total";
/// Index questions because the view did not know.
pub(crate) const LOOKUPS_TOTAL: &str = "esker_fetch_index_lookups_total";
/// Updates taken from the feed.
pub(crate) const UPDATES_TOTAL: &str = "esker_fetch_feed_updates_total";
/// Feeds begun, and updates lost on the way.
pub(crate) const FEEDS_TOTAL: &str = "esker_fetch_feeds_total";
/// Whether the feed is followed.
pub(crate) const FEED_CONNECTED: &str = "esker_fetch_feed_connected";
/// What was tried when bytes were wrong.
pub(crate) const REMEDIES_TOTAL: &str = "esker_fetch_remedies_total";
/// Answers with old records that waited for their turn while the tail was yielded to.
pub(crate) const PACED_TOTAL: &str = "esker_fetch_cold_paced_total";
/// Bytes a second that old records may take; 0: as many as can be.
pub(crate) const COLD_PACE: &str = "esker_fetch_cold_pace_bytes_per_second";
/// Partitions in the view.
pub(crate) const VIEW_PARTITIONS: &str = "esker_fetch_view_partitions";
/// Extents in the view.
pub(crate) const VIEW_EXTENTS: &str = "esker_fetch_view_extents";
/// Partitions that requests wait for.
pub(crate) const WATCHES: &str = "esker_fetch_watched_partitions";

/// Counters and gauges of one moment. Counters count from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchStats {
    /// Responses assembled; one request may take several before it has enough.
    pub responses: u64,
    /// Bytes of records in them.
    pub records_bytes: u64,
    /// Times a request slept at the log's end.
    pub waits: u64,
    /// Sleeps ended by the push.
    pub wakes: u64,
    /// Sleeps that nobody could end.
    pub watches_refused: u64,
    /// Reads ahead of sequential readers.
    pub reads_ahead: u64,
    /// Those left out because too many were waiting.
    pub reads_ahead_left_out: u64,
    /// Index questions because the view did not know.
    pub lookups: u64,
    /// Updates taken from the feed.
    pub updates: u64,
    /// Feeds begun, and losses told by the feed.
    pub feeds: u64,
    /// Whether the feed is followed now.
    pub is_connected: bool,
    /// Extents read again because their bytes were wrong.
    pub read_again: u64,
    /// Partitions located again because an object was gone or wrong twice.
    pub located_again: u64,
    /// Partitions that failed all the same.
    pub given_up: u64,
    /// Answers with old records that waited for their turn.
    pub paced: u64,
    /// Bytes a second that old records may take together; 0: as many as can be.
    pub cold_pace: u64,
    /// Partitions in the view.
    pub view_partitions: u64,
    /// Extents in the view.
    pub view_extents: u64,
    /// Partitions that requests wait for.
    pub watches: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    responses: AtomicU64,
    records_bytes: AtomicU64,
    waits: AtomicU64,
    wakes: AtomicU64,
    watches_refused: AtomicU64,
    reads_ahead: AtomicU64,
    reads_ahead_left_out: AtomicU64,
    lookups: AtomicU64,
    updates: AtomicU64,
    feeds: AtomicU64,
    is_connected: AtomicBool,
    read_again: AtomicU64,
    located_again: AtomicU64,
    given_up: AtomicU64,
    paced: AtomicU64,
}

impl Counters {
    pub(crate) fn served(&self, bytes: u64) {
        self.responses.fetch_add(1, Relaxed);
        self.records_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn waited(&self) {
        self.waits.fetch_add(1, Relaxed);
    }

    pub(crate) fn woken(&self) {
        self.wakes.fetch_add(1, Relaxed);
    }

    pub(crate) fn watch_refused(&self) {
        self.watches_refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn read_ahead(&self, is_taken: bool) {
        let counter = match is_taken {
            true => &self.reads_ahead,
            false => &self.reads_ahead_left_out,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn looked_up(&self) {
        self.lookups.fetch_add(1, Relaxed);
    }

    pub(crate) fn updated(&self) {
        self.updates.fetch_add(1, Relaxed);
    }

    pub(crate) fn feed_begun(&self) {
        self.feeds.fetch_add(1, Relaxed);
        self.is_connected.store(true, Relaxed);
    }

    pub(crate) fn feed_ended(&self) {
        self.is_connected.store(false, Relaxed);
    }

    pub(crate) fn remedied(&self, remedy: Remedy) {
        let counter = match remedy {
            Remedy::ReadAgain => &self.read_again,
            Remedy::LocateAgain => &self.located_again,
            Remedy::GiveUp => &self.given_up,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn paced(&self, has_waited: bool) {
        self.paced.fetch_add(u64::from(has_waited), Relaxed);
    }

    /// The counters; gauges are zero.
    pub(crate) fn snapshot(&self) -> FetchStats {
        FetchStats {
            responses: self.responses.load(Relaxed),
            records_bytes: self.records_bytes.load(Relaxed),
            waits: self.waits.load(Relaxed),
            wakes: self.wakes.load(Relaxed),
            watches_refused: self.watches_refused.load(Relaxed),
            reads_ahead: self.reads_ahead.load(Relaxed),
            reads_ahead_left_out: self.reads_ahead_left_out.load(Relaxed),
            lookups: self.lookups.load(Relaxed),
            updates: self.updates.load(Relaxed),
            feeds: self.feeds.load(Relaxed),
            is_connected: self.is_connected.load(Relaxed),
            read_again: self.read_again.load(Relaxed),
            located_again: self.located_again.load(Relaxed),
            given_up: self.given_up.load(Relaxed),
            paced: self.paced.load(Relaxed),
            ..FetchStats::default()
        }
    }
}

fn render_plain(text: &mut String, kind: &str, rows: &[(&str, &str, u64)]) {
    for (name, help, value) in rows {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
        );
    }
}

impl FetchStats {
    /// All of it in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let counters = [
            (RESPONSES_TOTAL, "Responses.", self.responses),
            (RECORDS_BYTES_TOTAL, "Bytes of records.", self.records_bytes),
            (WAITS_TOTAL, "Sleeps at the log's end.", self.waits),
            (WAKES_TOTAL, "Sleeps ended by the push.", self.wakes),
            (
                WATCHES_REFUSED_TOTAL,
                "Sleeps nobody ends.",
                self.watches_refused,
            ),
            (LOOKUPS_TOTAL, "Index questions.", self.lookups),
            (UPDATES_TOTAL, "Updates of the index feed.", self.updates),
            (FEEDS_TOTAL, "Feeds begun or cut.", self.feeds),
            (PACED_TOTAL, "Answers that waited for the tail.", self.paced),
        ];
        render_plain(&mut text, "counter", &counters);
        let connected = u64::from(self.is_connected);
        let gauges = [
            (FEED_CONNECTED, "Whether the feed is up.", connected),
            (
                VIEW_PARTITIONS,
                "Partitions in the view.",
                self.view_partitions,
            ),
            (VIEW_EXTENTS, "Extents in the view.", self.view_extents),
            (WATCHES, "Partitions waited for.", self.watches),
            (COLD_PACE, "Pace of old records.", self.cold_pace),
        ];
        render_plain(&mut text, "gauge", &gauges);
        let _ = write!(
            text,
            "# HELP {REMEDIES_TOTAL} What was tried when bytes were wrong.\n\
             # TYPE {REMEDIES_TOTAL} counter\n"
        );
        for (remedy, value) in [
            ("read_again", self.read_again),
            ("locate_again", self.located_again),
            ("give_up", self.given_up),
        ] {
            let _ = writeln!(text, "{REMEDIES_TOTAL}{{remedy=\"{remedy}\"}} {value}");
        }
        let _ = write!(
            text,
            "# HELP {READ_AHEAD_TOTAL} Reads ahead of sequential readers.\n\
             # TYPE {READ_AHEAD_TOTAL} counter\n\
             {READ_AHEAD_TOTAL}{{outcome=\"begun\"}} {}\n\
             {READ_AHEAD_TOTAL}{{outcome=\"left_out\"}} {}\n",
            self.reads_ahead, self.reads_ahead_left_out
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_family_with_its_labels() {
        let counters = Counters::default();
        counters.served(10);
        counters.feed_begun();
        counters.remedied(Remedy::GiveUp);
        counters.read_ahead(true);

        let text = counters.snapshot().render();

        assert_eq!(text.matches("# TYPE esker_fetch_").count(), 16);
        assert!(text.contains("esker_fetch_records_bytes_total 10\n"));
        assert!(text.contains("esker_fetch_feed_connected 1\n"));
        assert!(text.contains("esker_fetch_read_ahead_total{outcome=\"begun\"} 1\n"));
        assert!(text.contains("esker_fetch_remedies_total{remedy=\"give_up\"} 1\n"));
        assert!(text.contains("esker_fetch_remedies_total{remedy=\"read_again\"} 0\n"));
    }
}
