//! What one seed runs with: the world's shape, the settings of the product, which faults and how
//! often. Drawn anew for each seed, so that a thousand seeds are not a thousand times the same.

use std::time::Duration;

use esker_env::{RetryPolicy, Rng};
use esker_fetch::FetchConfig;
use esker_ingest::IngestConfig;
use esker_journal::JournalConfig;
use esker_metadata::MetadataConfig;
use esker_object::DurableConfig;

use crate::store_faults::StoreFault;

/// Which parts a pod runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// A candidate for the metadata leader.
    pub metadata: bool,
    /// A produce path.
    pub ingest: bool,
    /// A fetch path.
    pub fetch: bool,
}

impl Roles {
    const ALL: Self = Self {
        metadata: true,
        ingest: true,
        fetch: true,
    };
    const METADATA: Self = Self {
        metadata: true,
        ingest: false,
        fetch: false,
    };
    const INGEST: Self = Self {
        metadata: false,
        ingest: true,
        fetch: false,
    };
    const FETCH: Self = Self {
        metadata: false,
        ingest: false,
        fetch: true,
    };
}

/// Everything that a seed decides at its begin.
#[derive(Clone, Debug)]
pub struct Options {
    /// The pods.
    pub pods: Vec<Roles>,
    /// Partitions of each topic.
    pub topics: Vec<u32>,
    /// Producers with sequences; each has a lane per partition that it writes.
    pub idempotent: u32,
    /// Producers without, with several batches in flight.
    pub plain: u32,
    /// Consumers.
    pub consumers: u32,
    /// Members of the consumer group.
    pub members: u32,
    /// How long faults happen.
    pub fault_time: Duration,
    /// Mean time between two actions against processes and the network.
    pub action_gap: Duration,
    /// Chance of each fault of the store, in a million, while the store is troubled.
    pub store_ppm: Vec<(StoreFault, u64)>,
    /// Time of a put that nothing hinders.
    pub put_time: Duration,
    /// Time of a read.
    pub get_time: Duration,
    /// Chance that a message or its reply is lost, in a million, while the network is troubled.
    pub loss_ppm: u64,
    /// Mean pause of a producer between two batches.
    pub produce_gap: Duration,
    /// Settings of the product.
    pub metadata: MetadataConfig,
    /// Settings of the product.
    pub ingest: IngestConfig,
    /// Settings of the product.
    pub fetch: FetchConfig,
    /// Settings of the product.
    pub durable: DurableConfig,
}

fn between(rng: &Rng, low: u64, high: u64) -> u64 {
    low + rng.below(high.saturating_sub(low) + 1)
}

fn millis(rng: &Rng, low: u64, high: u64) -> Duration {
    Duration::from_millis(between(rng, low, high))
}

fn count(rng: &Rng, low: u64, high: u64) -> usize {
    usize::try_from(between(rng, low, high)).unwrap_or(1)
}

fn small(rng: &Rng, low: u64, high: u64) -> u32 {
    u32::try_from(between(rng, low, high)).unwrap_or(1)
}

fn pods(rng: &Rng) -> Vec<Roles> {
    match rng.below(3) {
        0 => vec![Roles::ALL; count(rng, 2, 3)],
        1 => vec![
            Roles::METADATA,
            Roles::METADATA,
            Roles::METADATA,
            Roles::INGEST,
            Roles::INGEST,
            Roles::INGEST,
            Roles::FETCH,
            Roles::FETCH,
        ],
        _ => vec![
            Roles::ALL,
            Roles::METADATA,
            Roles::INGEST,
            Roles::INGEST,
            Roles::FETCH,
        ],
    }
}

fn store_ppm(rng: &Rng) -> Vec<(StoreFault, u64)> {
    StoreFault::ALL
        .iter()
        .map(|fault| {
            let ppm = match rng.below(4) {
                // Lists are rare.
                _ if *fault == StoreFault::StaleList => 400_000,
                0 | 1 => 0,
                2 => between(rng, 1_000, 10_000),
                _ => between(rng, 10_000, 60_000),
            };
            (*fault, ppm.min(fault.ppm_max()))
        })
        .collect()
}

fn journal(rng: &Rng) -> JournalConfig {
    JournalConfig {
        linger: Duration::from_millis(1),
        in_flight_max: count(rng, 1, 6),
        roll_entries_max: between(rng, 2, 40),
        roll_bytes_max: JournalConfig::default().roll_bytes_max,
        snapshot_weight_min: between(rng, 1, 60_000),
        entry_weight_min: between(rng, 1, 4096),
        collection_grace: match rng.below(3) {
            0 => Duration::from_secs(5),
            _ => Duration::ZERO,
        },
        drain_timeout: Duration::from_secs(5),
    }
}

fn metadata(rng: &Rng) -> MetadataConfig {
    // A stream of its own: the draws of older seeds stay what they were.
    let standby = rng.stream("standby");
    MetadataConfig {
        stall_deadline: millis(rng, 300, 5_000),
        checkpoint_interval: millis(rng, 300, 8_000),
        checkpoint_segments: count(rng, 2, 64),
        deposed_check_interval: millis(rng, 1_000, 12_000),
        standby_interval: millis(rng, 300, 2_000),
        standby_misses_max: small(rng, 1, 3),
        // Leaders that live and write are deposed too.
        unheard_misses_max: small(&standby, 1, 6),
        start_misses_max: small(&standby, 1, 2),
        start_interval: millis(&standby, 50, 500),
        standby_catch_up_interval: millis(rng, 1_000, 30_000),
        group_initial_rebalance_delay: millis(rng, 10, 3_000),
        journal: journal(rng),
        ..MetadataConfig::default()
    }
}

fn ingest(rng: &Rng) -> IngestConfig {
    IngestConfig {
        segment_batches_max: small(rng, 1, 40),
        linger: millis(rng, 0, 60),
        uploads_max: count(rng, 1, 8),
        reserve_timeout: millis(rng, 500, 5_000),
        register_timeout: millis(rng, 3_000, 15_000),
        stall: millis(rng, 3_000, 20_000),
        patience: millis(rng, 4_000, 15_000),
        append_timeout: millis(rng, 2_000, 30_000),
        ..IngestConfig::default()
    }
}

fn durable(rng: &Rng) -> DurableConfig {
    let default = DurableConfig::default();
    DurableConfig {
        attempt_timeout: millis(rng, 800, 8_000),
        operation_timeout: millis(rng, 4_000, 30_000),
        retry: RetryPolicy {
            tries_max: small(rng, 1, 8),
            ..default.retry
        },
        hedge_share_percent: small(rng, 0, 60),
        hedge_delay_min: millis(rng, 5, 50),
        hedge_samples_min: count(rng, 3, 20),
        ..default
    }
}

impl Options {
    /// What `seed` runs with.
    #[must_use]
    pub fn draw(root: &Rng) -> Self {
        let rng = root.stream("options");
        let put_ms = between(&rng, 5, 80);
        Self {
            pods: pods(&rng),
            topics: (0..between(&rng, 1, 2))
                .map(|_| small(&rng, 1, 3))
                .collect(),
            idempotent: small(&rng, 1, 3),
            plain: small(&rng, 0, 2),
            consumers: small(&rng, 1, 3),
            members: small(&rng, 0, 3),
            fault_time: Duration::from_secs(between(&rng, 30, 90)),
            action_gap: millis(&rng, 800, 8_000),
            store_ppm: store_ppm(&rng),
            put_time: Duration::from_millis(put_ms),
            get_time: Duration::from_millis(put_ms / 3 + 1),
            loss_ppm: match rng.below(3) {
                0 => 0,
                _ => between(&rng, 2_000, 60_000),
            },
            produce_gap: millis(&rng, 30, 400),
            metadata: metadata(&rng),
            ingest: ingest(&rng),
            fetch: FetchConfig {
                query_timeout: millis(&rng, 3_000, 15_000),
                ..FetchConfig::default()
            },
            durable: durable(&rng),
        }
    }
}
