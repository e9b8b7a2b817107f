//! Counters of a cache and their Prometheus text. Labels come from closed enums only.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Heat, ReadError};

/// Reads answered from memory, by what held them.
pub(crate) const HITS_TOTAL: &str = "esker_cache_hits_total";
/// Reads that waited for a load that another one had begun.
pub(crate) const JOINS_TOTAL: &str = "esker_cache_joined_loads_total";
/// Blocks asked of the bucket, by heat.
pub(crate) const LOADS_TOTAL: &str = "esker_cache_loads_total";
/// Bytes that came from the bucket, by heat.
pub(crate) const LOADED_BYTES_TOTAL: &str = "esker_cache_loaded_bytes_total";
/// Loads that failed, by reason.
pub(crate) const FAILURES_TOTAL: &str = "esker_cache_load_failures_total";
/// Written objects taken in.
pub(crate) const INSERTS_TOTAL: &str = "esker_cache_inserts_total";
/// Written objects left out: too large, or memory held by slow readers.
pub(crate) const INSERTS_LEFT_OUT_TOTAL: &str = "esker_cache_inserts_left_out_total";
/// Ranges forgotten because their bytes were wrong.
pub(crate) const FORGETS_TOTAL: &str = "esker_cache_forgets_total";
/// Bytes kept for the next reader.
pub(crate) const CACHED_BYTES: &str = "esker_cache_cached_bytes";
/// Bytes alive: cached, loading or held by readers.
pub(crate) const MEMORY_BYTES: &str = "esker_cache_memory_bytes";
/// The most that may be alive.
pub(crate) const MEMORY_MAX_BYTES: &str = "esker_cache_memory_max_bytes";
/// Bytes of loads in flight, by heat.
pub(crate) const LOADING_BYTES: &str = "esker_cache_loading_bytes";
/// Blocks that other processes gave.
pub(crate) const PEER_BLOCKS_TOTAL: &str = "esker_cache_peer_blocks_total";
/// Bytes of blocks that other processes are being asked for.
pub(crate) const ASKING_BYTES: &str = "esker_cache_asking_bytes";
/// Loads in flight.
pub(crate) const LOADS_IN_FLIGHT: &str = "esker_cache_loads_in_flight";

/// Counters and gauges of one moment. Counters count from the cache's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Reads answered from an object that this process wrote.
    pub object_hits: u64,
    /// Blocks answered from memory.
    pub block_hits: u64,
    /// Blocks that waited for a load which another reader had begun.
    pub joins: u64,
    /// Gets sent for readers at the log's end.
    pub hot_loads: u64,
    /// Gets sent for readers that catch up.
    pub cold_loads: u64,
    /// Bytes that came for readers at the log's end.
    pub hot_loaded_bytes: u64,
    /// Bytes that came for readers that catch up.
    pub cold_loaded_bytes: u64,
    /// Loads that found no object.
    pub reaped: u64,
    /// Loads that found something else than the index says.
    pub corrupt: u64,
    /// Loads that the store failed.
    pub store_failures: u64,
    /// Loads refused because readers hold all memory.
    pub overloads: u64,
    /// Written objects taken in.
    pub inserts: u64,
    /// Written objects left out.
    pub inserts_left_out: u64,
    /// Ranges forgotten.
    pub forgets: u64,
    /// Blocks that came from another process, which owns them.
    pub owner_blocks: u64,
    /// Blocks that came from the process that wrote their object.
    pub writer_blocks: u64,
    /// Bytes of blocks that other processes are being asked for.
    pub ask_bytes: u64,
    /// Bytes kept for the next reader.
    pub cached_bytes: u64,
    /// Bytes alive: cached, loading or held by readers.
    pub memory_bytes: u64,
    /// The most that may be alive.
    pub memory_bytes_max: u64,
    /// Bytes of loads in flight for readers at the log's end.
    pub hot_load_bytes: u64,
    /// Bytes of loads in flight for readers that catch up.
    pub cold_load_bytes: u64,
    /// Blocks that are being loaded, or wait for their turn.
    pub loads_in_flight: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) object_hits: AtomicU64,
    pub(crate) block_hits: AtomicU64,
    pub(crate) joins: AtomicU64,
    pub(crate) inserts: AtomicU64,
    pub(crate) inserts_left_out: AtomicU64,
    pub(crate) forgets: AtomicU64,
    pub(crate) owner_blocks: AtomicU64,
    pub(crate) writer_blocks: AtomicU64,
    hot: LoadCounters,
    cold: LoadCounters,
    reaped: AtomicU64,
    corrupt: AtomicU64,
    store_failures: AtomicU64,
    overloads: AtomicU64,
}

#[derive(Debug, Default)]
struct LoadCounters {
    begun: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    fn of(&self, heat: Heat) -> &LoadCounters {
        match heat {
            Heat::Hot => &self.hot,
            Heat::Cold => &self.cold,
        }
    }

    pub(crate) fn load_begun(&self, heat: Heat) {
        self.of(heat).begun.fetch_add(1, Relaxed);
    }

    pub(crate) fn loaded(&self, heat: Heat, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.of(heat).bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn failed(&self, error: &ReadError) {
        let counter = match error {
            ReadError::Reaped { .. } => &self.reaped,
            ReadError::Corrupt { .. } | ReadError::TooLarge { .. } => &self.corrupt,
            ReadError::Store { .. } => &self.store_failures,
            ReadError::Overloaded { .. } => &self.overloads,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// The counters; gauges are zero.
    pub(crate) fn snapshot(&self) -> CacheStats {
        CacheStats {
            object_hits: self.object_hits.load(Relaxed),
            block_hits: self.block_hits.load(Relaxed),
            joins: self.joins.load(Relaxed),
            hot_loads: self.hot.begun.load(Relaxed),
            cold_loads: self.cold.begun.load(Relaxed),
            hot_loaded_bytes: self.hot.bytes.load(Relaxed),
            cold_loaded_bytes: self.cold.bytes.load(Relaxed),
            reaped: self.reaped.load(Relaxed),
            corrupt: self.corrupt.load(Relaxed),
            store_failures: self.store_failures.load(Relaxed),
            overloads: self.overloads.load(Relaxed),
            inserts: self.inserts.load(Relaxed),
            inserts_left_out: self.inserts_left_out.load(Relaxed),
            forgets: self.forgets.load(Relaxed),
            owner_blocks: self.owner_blocks.load(Relaxed),
            writer_blocks: self.writer_blocks.load(Relaxed),
            ..CacheStats::default()
        }
    }
}

/// Where families of one kind are written, and which kind.
struct Families<'a> {
    text: &'a mut String,
    kind: &'static str,
}

impl Families<'_> {
    /// Adds a family; its rows are labels with braces (or nothing) and a value.
    fn add(&mut self, name: &str, help: &str, rows: &[(&str, u64)]) {
        let kind = self.kind;
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in rows {
            let _ = writeln!(self.text, "{name}{labels} {value}");
        }
    }

    fn add_plain(&mut self, name: &str, help: &str, value: u64) {
        self.add(name, help, &[("", value)]);
    }
}

fn by_heat(hot: u64, cold: u64) -> [(&'static str, u64); 2] {
    [("{heat=\"hot\"}", hot), ("{heat=\"cold\"}", cold)]
}

impl CacheStats {
    /// All of it in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.add_counters(&mut Families {
            text: &mut text,
            kind: "counter",
        });
        self.add_gauges(&mut Families {
            text: &mut text,
            kind: "gauge",
        });
        text
    }

    fn add_counters(&self, to: &mut Families<'_>) {
        let hits = [
            ("{kind=\"object\"}", self.object_hits),
            ("{kind=\"block\"}", self.block_hits),
        ];
        let failures = [
            ("{reason=\"reaped\"}", self.reaped),
            ("{reason=\"corrupt\"}", self.corrupt),
            ("{reason=\"store\"}", self.store_failures),
            ("{reason=\"overloaded\"}", self.overloads),
        ];
        let loads = by_heat(self.hot_loads, self.cold_loads);
        let loaded = by_heat(self.hot_loaded_bytes, self.cold_loaded_bytes);
        to.add(HITS_TOTAL, "Reads answered from memory.", &hits);
        to.add_plain(JOINS_TOTAL, "Waits for another's load.", self.joins);
        to.add(LOADS_TOTAL, "Blocks asked of the bucket.", &loads);
        to.add(LOADED_BYTES_TOTAL, "Bytes that came.", &loaded);
        let from_peers = [
            ("{from=\"owner\"}", self.owner_blocks),
            ("{from=\"writer\"}", self.writer_blocks),
        ];
        to.add(
            PEER_BLOCKS_TOTAL,
            "Blocks from other processes.",
            &from_peers,
        );
        to.add(FAILURES_TOTAL, "Loads that failed.", &failures);
        to.add_plain(INSERTS_TOTAL, "Objects taken in.", self.inserts);
        let left_out = self.inserts_left_out;
        to.add_plain(INSERTS_LEFT_OUT_TOTAL, "Objects left out.", left_out);
        to.add_plain(FORGETS_TOTAL, "Ranges found wrong.", self.forgets);
    }

    fn add_gauges(&self, to: &mut Families<'_>) {
        let loading = by_heat(self.hot_load_bytes, self.cold_load_bytes);
        let most = self.memory_bytes_max;
        to.add_plain(CACHED_BYTES, "Bytes kept.", self.cached_bytes);
        to.add_plain(MEMORY_BYTES, "Bytes alive.", self.memory_bytes);
        to.add_plain(MEMORY_MAX_BYTES, "Bytes that may be alive.", most);
        to.add(LOADING_BYTES, "Bytes of loads in flight.", &loading);
        to.add_plain(
            ASKING_BYTES,
            "Bytes asked of other processes.",
            self.ask_bytes,
        );
        to.add_plain(LOADS_IN_FLIGHT, "Loads in flight.", self.loads_in_flight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_family_with_its_labels() {
        let counters = Counters::default();
        counters.load_begun(Heat::Cold);
        counters.loaded(Heat::Cold, 7);
        counters.failed(&ReadError::TooLarge { bytes: 1 });

        let text = CacheStats {
            cached_bytes: 9,
            ..counters.snapshot()
        }
        .render();

        assert_eq!(text.matches("# TYPE esker_cache_").count(), 15);
        assert!(text.contains("esker_cache_loads_total{heat=\"cold\"} 1\n"));
        assert!(text.contains("esker_cache_loads_total{heat=\"hot\"} 0\n"));
        assert!(text.contains("esker_cache_loaded_bytes_total{heat=\"cold\"} 7\n"));
        assert!(text.contains("esker_cache_load_failures_total{reason=\"corrupt\"} 1\n"));
        assert!(text.contains("esker_cache_cached_bytes 9\n"));
    }
}
