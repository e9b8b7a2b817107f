//! Servers and clients of tests: on loopback, at free ports, joined at their end.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use esker_env::{Env, Shutdown, ShutdownTrigger, TaskGroup};
use esker_metadata_api::{Admin, LogIndex, Pods, Sequencer, TopicAdmin};
use esker_remote::{
    LeaderHint, NoHint, RemoteConfig, RemoteMetadata, RemoteServer, ServerConfig, ServerMetrics,
    ServerParts,
};
use esker_types::ClusterId;

pub(crate) const NODE: i32 = 1;

/// All that a service is.
pub(crate) trait Service: Sequencer + LogIndex + Admin + TopicAdmin + Pods {}
impl<T: Sequencer + LogIndex + Admin + TopicAdmin + Pods> Service for T {}

/// A leader at a fixed place.
#[derive(Debug)]
pub(crate) struct LeaderAt(pub(crate) String);

impl LeaderHint for LeaderAt {
    fn leader(&self) -> Option<String> {
        Some(self.0.clone())
    }
}

pub(crate) fn parts<S: Service>(service: &Arc<S>) -> ServerParts {
    ServerParts {
        sequencer: service.clone(),
        log_index: service.clone(),
        admin: service.clone(),
        topic_admin: service.clone(),
        pods: service.clone(),
        hint: Arc::new(NoHint),
        blocks: None,
    }
}

pub(crate) fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Anywhere on loopback, and not long at its end.
pub(crate) fn server_config(cluster: ClusterId) -> ServerConfig {
    ServerConfig {
        drain_timeout: Duration::from_millis(300),
        ..ServerConfig::new(anywhere(), cluster)
    }
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Arc<ServerMetrics>,
    stop: ShutdownTrigger,
    tasks: TaskGroup,
}

impl Serving {
    pub(crate) async fn start(config: ServerConfig, parts: ServerParts) -> Self {
        let server = RemoteServer::bind(config, parts, Env::system());
        let server = server.await.unwrap();
        let (stop, shutdown) = Shutdown::new();
        let (address, metrics) = (server.address(), server.metrics());
        let mut tasks = TaskGroup::new("server of a test");
        tasks.spawn(server.run(shutdown));
        Self {
            address,
            metrics,
            stop,
            tasks,
        }
    }

    /// With defaults, anywhere on loopback.
    pub(crate) async fn of<S: Service>(service: &Arc<S>, cluster: ClusterId) -> Self {
        Self::start(server_config(cluster), parts(service)).await
    }

    pub(crate) async fn stop(self) {
        self.stop.request();
        self.tasks.join_all().await.unwrap();
    }

    /// As a process that is killed: nothing is drained.
    pub(crate) async fn kill(mut self) {
        self.tasks.abort_all();
        self.tasks.join_all().await.unwrap();
    }
}

/// A client that runs.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) remote: RemoteMetadata,
    stop: ShutdownTrigger,
    tasks: TaskGroup,
}

pub(crate) fn config(addresses: &[SocketAddr], cluster: ClusterId) -> RemoteConfig {
    let addresses = addresses.iter().map(ToString::to_string).collect();
    RemoteConfig::new(addresses, cluster, NODE)
}

impl Client {
    pub(crate) fn start(config: RemoteConfig) -> Self {
        let (remote, task) = RemoteMetadata::start(config, Env::system()).unwrap();
        let (stop, shutdown) = Shutdown::new();
        let mut tasks = TaskGroup::new("client of a test");
        tasks.spawn(task.run(shutdown));
        Self {
            remote,
            stop,
            tasks,
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.request();
        self.tasks.join_all().await.unwrap();
    }
}

/// Waits until `holds`, asking again and again.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}
