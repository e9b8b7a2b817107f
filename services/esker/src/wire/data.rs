//! Kafka, ingest and fetch of one process. Every process that takes clients can do all of it; roles
//! say where clients are sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use anyhow::Context as _;
use esker_admin::{AdminConfig, AdminParts};
use esker_cache::{BlockCache, BlockPeers, CacheConfig, SegmentCache};
use esker_chain::Chain;
use esker_cluster::{ClientZones, Membership, MembershipTask};
use esker_env::Env;
use esker_fetch::{Fetch, FetchConfig, FetchParts, FetchTask};
use esker_http::{Appender, LogReader};
use esker_ingest::{Ingest, IngestConfig, IngestParts, IngestTask};
use esker_kafka::{Listener, ListenerConfig};
use esker_metadata_api::{Endpoint, Pod, Sequencer};
use esker_remote::BlockSource;

use super::fleet::{self, FleetPart, ToldSequencer};
use super::{Access, Stops};
use crate::config::ServeConfig;
use crate::http_log::{HttpAppender, HttpReader};
use crate::kafka_service::{Fronts, KafkaService};
use crate::no_records::NoRecords;
use crate::open_files;
use crate::readers_elsewhere::ReadersElsewhere;
use crate::store::OpenStore;

/// What serves records.
#[derive(Debug)]
pub(crate) struct DataPlane {
    pub(crate) ingest: Ingest,
    pub(crate) ingest_task: IngestTask,
    pub(crate) fetch: Fetch,
    pub(crate) fetch_task: FetchTask,
    pub(crate) cache: Arc<dyn SegmentCache>,
    /// Other processes that have blocks, if this one has any for them.
    pub(crate) fleet: Option<FleetPart>,
    /// The blocks of this process, for others.
    pub(super) blocks: Option<Arc<dyn BlockSource>>,
    pub(crate) membership: Membership,
    pub(crate) membership_task: MembershipTask,
    pub(crate) kafka: Listener,
    /// Set once clients are let in.
    pub(crate) is_open: Arc<AtomicBool>,
}

fn ingest_config(config: &ServeConfig) -> anyhow::Result<IngestConfig> {
    let ingest = IngestConfig {
        segment_bytes_max: config.segment_bytes,
        linger: config.linger,
        uploads_max: config.segments_in_flight,
        produce_bytes_max: config.produce_buffer_bytes,
        drain_timeout: config.drain_timeout.mul_f64(0.8),
        ..IngestConfig::default()
    };
    ingest.check().context("settings of ingest")?;
    Ok(ingest)
}

fn cache_config(config: &ServeConfig, is_among_peers: bool) -> anyhow::Result<CacheConfig> {
    let total = u64::try_from(config.cache_bytes).unwrap_or(u64::MAX);
    let mut cache = CacheConfig::within(total);
    if is_among_peers {
        cache = cache.among_peers();
    }
    cache.check().context("settings of the cache")?;
    Ok(cache)
}

fn cache(
    store: &OpenStore,
    fleet: Option<&FleetPart>,
    config: CacheConfig,
    env: &Env,
) -> Arc<dyn SegmentCache> {
    let (bucket, cluster) = (Arc::clone(&store.bucket), store.cluster);
    Arc::new(match fleet {
        Some(part) => {
            let peers: Arc<dyn BlockPeers> = part.fleet.clone();
            BlockCache::among(peers, bucket, cluster, env.clone(), config)
        }
        None => BlockCache::new(bucket, cluster, env.clone(), config),
    })
}

/// As ingest asks it: with others that may read what it writes, they are told of its sessions.
fn sequencer(
    access: &Access,
    fleet: Option<&FleetPart>,
    membership: &Membership,
) -> Arc<dyn Sequencer> {
    let sequencer = Arc::clone(&access.sequencer);
    match fleet {
        Some(_) => Arc::new(ToldSequencer {
            sequencer,
            membership: membership.clone(),
        }),
        None => sequencer,
    }
}

fn admin_config(config: &ServeConfig, kafka: SocketAddr) -> AdminConfig {
    let told = endpoint(config.advertise.as_ref(), kafka);
    AdminConfig {
        advertised_host: told.host,
        advertised_port: told.port,
        auto_create_topics: config.auto_create_topics,
        partition_count_default: config.default_partitions,
        zone_map: Arc::clone(&config.zone_map),
        clients_see: config.clients_see,
        ..AdminConfig::default()
    }
}

/// What can be told to others of an address that is listened at.
fn endpoint(advertised: Option<&Endpoint>, listens: SocketAddr) -> Endpoint {
    advertised.cloned().unwrap_or_else(|| Endpoint {
        host: listens.ip().to_string(),
        port: listens.port(),
    })
}

/// This process, as others are told of it.
fn pod(config: &ServeConfig, env: &Env, node_id: i32) -> Pod {
    let internal = &config.internal;
    // Who listens everywhere must be told how it is reached.
    let is_known = |at: &SocketAddr| internal.advertise.is_some() || !at.ip().is_unspecified();
    let inside = internal.listen.filter(is_known);
    Pod {
        pod: env.rng.pod_id(),
        node_id,
        roles: config.roles,
        zone: config.zone.clone(),
        kafka: Some(endpoint(config.advertise.as_ref(), config.kafka_listen)),
        internal: inside.map(|listens| endpoint(internal.advertise.as_ref(), listens)),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        is_draining: false,
        sessions: Vec::new(),
    }
}

/// Builds it; nothing runs yet.
///
/// # Errors
/// The Kafka address is taken, or settings do not fit together.
pub(super) async fn build(
    config: &ServeConfig,
    store: &OpenStore,
    access: &Access,
    env: &Env,
    stops: &Stops,
    node_id: i32,
) -> anyhow::Result<DataPlane> {
    let here = pod(config, env, node_id);
    let pods = Arc::clone(&access.pods);
    let (membership, membership_task) =
        Membership::start(here, config.node_id.is_some(), pods, env.clone());
    let fleet = fleet::start(config, store.cluster, &membership, env);
    let cache_config = cache_config(config, fleet.is_some())?;
    let cache = cache(store, fleet.as_ref(), cache_config, env);
    let ingest_parts = IngestParts {
        sequencer: sequencer(access, fleet.as_ref(), &membership),
        admin: Arc::clone(&access.admin),
        chain: Chain::new(Arc::clone(&store.bucket), env.clone(), store.cluster),
        cache: Arc::clone(&cache),
        env: env.clone(),
    };
    let (ingest, ingest_task) =
        Ingest::start(ingest_config(config)?, ingest_parts, stops.edges.clone());
    let fetch_parts = FetchParts {
        log_index: Arc::clone(&access.log_index),
        admin: Arc::clone(&access.admin),
        cache: Arc::clone(&cache),
        placement: Some(Arc::new(ReadersElsewhere::new(
            membership.clone(),
            config.clients_see,
        ))),
        env: env.clone(),
    };
    let held_bytes = u32::try_from(cache_config.held_bytes).unwrap_or(u32::MAX);
    let fetch_config = FetchConfig {
        cold_read_bytes: held_bytes / 2,
        ..FetchConfig::default()
    };
    let (fetch, fetch_task) = Fetch::start(fetch_config, fetch_parts, stops.edges.clone());
    let service = KafkaService {
        ingest: ingest.clone(),
        fetch: fetch.clone(),
        fronts: fronts(config, access, membership.clone(), env),
        zones: ClientZones::new(membership.clone(), Arc::clone(&config.zone_map)),
    };
    let kafka = kafka_listener(config, service, env).await?;
    let loading_bytes = cache_config.held_bytes / 4;
    let blocks = fleet
        .as_ref()
        .map(|fleet| fleet.source(&cache, loading_bytes));
    Ok(DataPlane {
        ingest,
        ingest_task,
        fetch,
        fetch_task,
        cache,
        fleet,
        blocks,
        membership,
        membership_task,
        kafka,
        is_open: Arc::default(),
    })
}

/// Appends and reads for the HTTP front; a process without records says so.
pub(super) fn http_log(
    data: Option<&DataPlane>,
    env: &Env,
) -> (Arc<dyn Appender>, Arc<dyn LogReader>) {
    match data {
        Some(data) => (
            Arc::new(HttpAppender {
                ingest: data.ingest.clone(),
                clock: Arc::clone(&env.clock),
                turn: AtomicU32::new(0),
            }),
            Arc::new(HttpReader {
                fetch: data.fetch.clone(),
            }),
        ),
        None => (Arc::new(NoRecords), Arc::new(NoRecords)),
    }
}

fn fronts(config: &ServeConfig, access: &Access, membership: Membership, env: &Env) -> Fronts {
    let is_fixed = config.advertise.is_some();
    let admin_config = admin_config(config, config.kafka_listen);
    let parts = AdminParts {
        admin: Arc::clone(&access.admin),
        topic_admin: Arc::clone(&access.topic_admin),
        log_index: Arc::clone(&access.log_index),
        membership,
    };
    Fronts::new(admin_config, is_fixed, parts, env.clone())
}

async fn kafka_listener(
    config: &ServeConfig,
    service: KafkaService,
    env: &Env,
) -> anyhow::Result<Listener> {
    let listener = ListenerConfig {
        listen: config.kafka_listen,
        request_bytes_max: config.produce_buffer_bytes,
        // What replies that nobody takes hold of the cache is missing for all others.
        reply_bytes_max: config.cache_bytes / 2,
        connections_max: open_files::connections_max(config.kafka.connections),
        connections_per_address_max: config.kafka.connections_per_address,
        idle_timeout: config.kafka.idle_timeout,
        drain_timeout: config.drain_timeout,
        ..ListenerConfig::default()
    };
    let bound = Listener::bind(listener, Arc::new(service), env.clone()).await;
    bound.context("choose another address with --kafka-listen")
}
