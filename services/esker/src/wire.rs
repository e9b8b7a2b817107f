//! Puts the parts of one process together: the one place where roles meet.

mod access;
mod data;
mod fleet;
mod health;
mod internal;

use std::sync::Arc;
use std::time::Duration;

use esker_cluster::draw_node_id;
use esker_env::{Env, Shutdown};
use esker_http::{HttpConfig, HttpParts, HttpServer};
use esker_metadata::{
    MetadataConfig, MetadataMetrics, MetadataParts, MetadataService, MetadataTask,
};
use esker_metadata_api::Roles;
use esker_remote::{RemoteServer, RemoteTask};

use crate::config::ServeConfig;
use crate::leader_probe::HttpProbe;
use crate::store::{OpenStore, Races};
use crate::store_watch::StoreWatch;

pub(crate) use access::Access;
pub(crate) use data::DataPlane;

/// A process, put together and not yet running.
#[derive(Debug)]
pub(crate) struct Process {
    /// The metadata service in this process, with the role metadata.
    pub(crate) metadata: Option<(MetadataService, MetadataTask)>,
    /// The connections to the metadata service of other processes.
    pub(crate) remote: Option<RemoteTask>,
    /// The internal API that this process serves.
    pub(crate) internal: Option<RemoteServer>,
    /// Kafka, ingest and fetch, with one of these roles.
    pub(crate) data: Option<DataPlane>,
    pub(crate) http: HttpServer,
    pub(crate) access: Access,
    pub(crate) store_watch: StoreWatch,
    pub(crate) races: Option<Races>,
}

/// When each part is asked to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stops {
    /// Listeners, ingest and fetch: first.
    pub(crate) edges: Shutdown,
}

/// The metadata service of this process.
#[derive(Debug)]
struct Local {
    service: MetadataService,
    metrics: Arc<MetadataMetrics>,
    task: MetadataTask,
}

fn local(config: &ServeConfig, store: &OpenStore, env: &Env, node_id: i32) -> Local {
    let parts = MetadataParts {
        bucket: Arc::clone(&store.bucket),
        env: env.clone(),
        cluster: store.cluster,
        address: config.http_address(),
        probe: Arc::new(HttpProbe::new(Arc::clone(&env.clock))),
    };
    let config = MetadataConfig {
        stall_deadline: config.stall_deadline,
        checkpoint_interval: config.checkpoint_interval,
        node_id,
        group_initial_rebalance_delay: config.group_delay,
        ..MetadataConfig::default()
    };
    let (service, metrics, task) = MetadataService::start(config, parts);
    Local {
        service,
        metrics,
        task,
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
    let node_id = config.node_id.unwrap_or_else(|| draw_node_id(&env.rng));
    // Whose settings of a broker count here.
    let broker = config.clients_see.node_id(node_id);
    let is_leader_role = config.roles.has(Roles::METADATA);
    let local = is_leader_role.then(|| local(config, &store, &env, broker));
    let service = local.as_ref().map(|local| local.service.clone());
    let (access, remote) = Access::open(config, store.cluster, service.clone(), &env, broker)?;
    let store_watch = store.watch(&env);
    let mut health = health::ProcessHealth::new(&store, &store_watch, &access, local.as_ref());
    let serves_records = config.roles.has(Roles::INGEST) || config.roles.has(Roles::FETCH);
    let data = match serves_records {
        true => Some(data::build(config, &store, &access, &env, stops, node_id).await?),
        false => None,
    };
    let blocks = data.as_ref().and_then(|data| data.blocks.clone());
    let internal = match config.internal.listen {
        Some(at) => internal::serve(config, at, store.cluster, (service, blocks), &env).await?,
        None => None,
    };
    if let Some(internal) = &internal {
        health.add_internal(internal);
    }
    let (appender, reader) = data::http_log(data.as_ref(), &env);
    if let Some(data) = &data {
        health.add_data(data);
    }
    let http_parts = HttpParts {
        admin: Arc::clone(&access.admin),
        topic_admin: Arc::clone(&access.topic_admin),
        appender,
        reader,
        health: Arc::new(health),
    };
    let http_config = HttpConfig {
        listen: config.http_listen,
        drain_timeout: config.drain_timeout.min(Duration::from_secs(10)),
        ..HttpConfig::default()
    };
    let http = HttpServer::bind(http_config, http_parts, env).await?;
    Ok(Process {
        metadata: local.map(|local| (local.service, local.task)),
        remote,
        internal,
        data,
        http,
        access,
        store_watch,
        races: store.races,
    })
}
