//! Puts the parts of one process together: the one place where roles meet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use anyhow::Context as _;
use esker_admin::{AdminConfig, AdminParts};
use esker_cache::{BlockCache, CacheConfig, SegmentCache};
use esker_chain::Chain;
use esker_env::{Env, Shutdown};
use esker_fetch::{Fetch, FetchConfig, FetchParts, FetchTask};
use esker_http::{Health, HttpConfig, HttpParts, HttpServer};
use esker_ingest::{Ingest, IngestConfig, IngestParts, IngestTask};
use esker_kafka::{Listener, ListenerConfig};
use esker_metadata::{
    MetadataConfig, MetadataMetrics, MetadataParts, MetadataService, MetadataStatus, MetadataTask,
};
use esker_object::RequestMeter;

use crate::config::ServeConfig;
use crate::http_log::{HttpAppender, HttpReader};
use crate::kafka_service::{Fronts, KafkaService};
use crate::leader_probe::HttpProbe;
use crate::open_files;
use crate::store::{OpenStore, Races};
use crate::store_watch::StoreWatch;

/// A process, put together and not yet running.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) metadata: MetadataService,
    pub(crate) metadata_task: MetadataTask,
    pub(crate) ingest_task: IngestTask,
    pub(crate) fetch_task: FetchTask,
    pub(crate) kafka: Listener,
    pub(crate) http: HttpServer,
    pub(crate) store_watch: StoreWatch,
    pub(crate) races: Option<Races>,
}

/// When each part is asked to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stops {
    /// Listeners, ingest and fetch: first.
    pub(crate) edges: Shutdown,
}

#[derive(Debug)]
struct ProcessHealth {
    metadata: MetadataService,
    metadata_metrics: Arc<MetadataMetrics>,
    ingest: Ingest,
    fetch: Fetch,
    cache: Arc<dyn SegmentCache>,
    meter: Arc<RequestMeter>,
    kafka: Arc<esker_kafka::Metrics>,
    store_watch: StoreWatch,
}

impl Health for ProcessHealth {
    fn not_ready(&self) -> Option<String> {
        match self.metadata.status() {
            MetadataStatus::Leading { .. } => self.store_watch.stopped(),
            MetadataStatus::Starting => Some("reading the metadata journal".to_owned()),
            MetadataStatus::Standby { leader } => Some(format!("standing by for {leader}")),
            MetadataStatus::Recovering { epoch, .. } => Some(format!("recovering, epoch {epoch}")),
            MetadataStatus::Deposed { by } => Some(format!("deposed by {by}")),
            MetadataStatus::Stopped => Some("stopping".to_owned()),
        }
    }

    fn owner(&self) -> Option<String> {
        self.metadata
            .status()
            .owner()
            .map(|owner| owner.to_string())
    }

    fn metrics(&self) -> String {
        let mut text = esker_object::metrics::render(&self.meter);
        text.push_str(&self.store_watch.render());
        text.push_str(&self.kafka.render());
        text.push_str(&self.ingest.metrics().render());
        text.push_str(&self.fetch.stats().render());
        text.push_str(&self.cache.stats().render());
        text.push_str(&self.metadata_metrics.render());
        text
    }
}

fn metadata_config(config: &ServeConfig) -> MetadataConfig {
    MetadataConfig {
        stall_deadline: config.stall_deadline,
        checkpoint_interval: config.checkpoint_interval,
        node_id: config.node_id,
        group_initial_rebalance_delay: config.group_delay,
        ..MetadataConfig::default()
    }
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

fn cache_config(config: &ServeConfig) -> anyhow::Result<CacheConfig> {
    let total = u64::try_from(config.cache_bytes).unwrap_or(u64::MAX);
    let cache = CacheConfig::within(total);
    cache.check().context("settings of the cache")?;
    Ok(cache)
}

fn admin_config(config: &ServeConfig, kafka: SocketAddr) -> AdminConfig {
    let advertised = config.advertise.as_ref();
    AdminConfig {
        node_id: config.node_id,
        advertised_host: advertised.map_or_else(
            || kafka.ip().to_string(),
            |advertised| advertised.host.clone(),
        ),
        advertised_port: advertised.map_or(kafka.port(), |advertised| advertised.port),
        auto_create_topics: config.auto_create_topics,
        partition_count_default: config.default_partitions,
        ..AdminConfig::default()
    }
}

fn http_config(config: &ServeConfig) -> HttpConfig {
    HttpConfig {
        listen: config.http_listen,
        drain_timeout: config.drain_timeout.min(Duration::from_secs(10)),
        ..HttpConfig::default()
    }
}

/// Builds the process around an open store.
///
/// # Errors
/// A port is taken, or settings do not fit together.
pub(crate) async fn build(
    config: &ServeConfig,
    store: OpenStore,
    env: Env,
    stops: &Stops,
) -> anyhow::Result<Process> {
    let metadata_parts = MetadataParts {
        bucket: Arc::clone(&store.bucket),
        env: env.clone(),
        cluster: store.cluster,
        address: config.http_address(),
        probe: Arc::new(HttpProbe {
            clock: Arc::clone(&env.clock),
        }),
    };
    let (metadata, metadata_metrics, metadata_task) =
        MetadataService::start(metadata_config(config), metadata_parts);
    let service = Arc::new(metadata.clone());
    let cache: Arc<dyn SegmentCache> = Arc::new(BlockCache::new(
        Arc::clone(&store.bucket),
        store.cluster,
        env.clone(),
        cache_config(config)?,
    ));
    let ingest_parts = IngestParts {
        sequencer: service.clone(),
        admin: service.clone(),
        chain: Chain::new(Arc::clone(&store.bucket), env.clone(), store.cluster),
        cache: Arc::clone(&cache),
        env: env.clone(),
    };
    let (ingest, ingest_task) =
        Ingest::start(ingest_config(config)?, ingest_parts, stops.edges.clone());
    let fetch_parts = FetchParts {
        log_index: service.clone(),
        admin: service.clone(),
        cache: Arc::clone(&cache),
        env: env.clone(),
    };
    let (fetch, fetch_task) =
        Fetch::start(FetchConfig::default(), fetch_parts, stops.edges.clone());
    let kafka = kafka_listener(config, &ingest, &fetch, service.clone(), &env).await?;
    let store_watch = store.watch(&env);
    let health = ProcessHealth {
        metadata: metadata.clone(),
        metadata_metrics,
        ingest: ingest.clone(),
        fetch: fetch.clone(),
        cache,
        meter: store.meter,
        kafka: kafka.metrics(),
        store_watch: store_watch.clone(),
    };
    let http_parts = HttpParts {
        admin: service.clone(),
        topic_admin: service,
        appender: Arc::new(HttpAppender {
            ingest,
            clock: Arc::clone(&env.clock),
            turn: AtomicU32::new(0),
        }),
        reader: Arc::new(HttpReader { fetch }),
        health: Arc::new(health),
    };
    let http = HttpServer::bind(http_config(config), http_parts, env).await?;
    Ok(Process {
        metadata,
        metadata_task,
        ingest_task,
        fetch_task,
        kafka,
        http,
        store_watch,
        races: store.races,
    })
}

async fn kafka_listener(
    config: &ServeConfig,
    ingest: &Ingest,
    fetch: &Fetch,
    admin: Arc<MetadataService>,
    env: &Env,
) -> anyhow::Result<Listener> {
    let is_fixed = config.advertise.is_some();
    let admin_config = admin_config(config, config.kafka_listen);
    let parts = AdminParts {
        admin: admin.clone(),
        topic_admin: admin.clone(),
        log_index: admin,
    };
    let service = KafkaService {
        ingest: ingest.clone(),
        fetch: fetch.clone(),
        fronts: Fronts::new(admin_config, is_fixed, parts, env.clone()),
    };
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
