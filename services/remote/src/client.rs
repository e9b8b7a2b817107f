//! The client: the five traits over connections to metadata servers, one of which leads; and
//! blocks, over connections to all processes that have some.
//!
//! [`RemoteMetadata`] is the handle that the roles hold; [`RemoteTask`] dials, drives connections
//! and follows the topics. A call goes to the server that led last; one that surely was not done
//! goes on to the next, one that may have been done ends there as of unknown outcome.

mod blocks;
mod connection;
mod feed;
mod peer;
mod peers;
mod route;
mod topics;
mod traits;

use std::sync::Arc;

use esker_env::{Env, Shutdown, TaskGroup};
use esker_metadata_api::TopicTable;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::config::{RemoteConfig, RemoteConfigError};
use crate::metrics::ClientMetrics;

use peer::{Dialler, PeerTask};
use peers::Peers;
use topics::{KnownTopics, TopicsTask};

pub use blocks::{BlockError, BlocksConfig, RemoteBlocks, RemoteBlocksTask};
pub use connection::ConnectError;
pub use peer::{PeerCondition, PeerStatus};

/// Handle of the metadata service in other processes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RemoteMetadata {
    inner: Arc<Inner>,
    topics: watch::Receiver<KnownTopics>,
}

#[derive(Debug)]
struct Inner {
    config: RemoteConfig,
    env: Env,
    peers: Peers,
    calls: Arc<Semaphore>,
    feeds: Arc<Semaphore>,
    metrics: Arc<ClientMetrics>,
}

/// What must run for the handle to get anywhere.
#[derive(Debug)]
pub struct RemoteTask {
    joining: mpsc::Receiver<PeerTask>,
    topics: TopicsTask,
}

impl RemoteMetadata {
    /// A handle and its task; nothing is dialled before somebody asks.
    ///
    /// # Errors
    /// [`RemoteConfigError`]: settings that no client can work with.
    pub fn start(config: RemoteConfig, env: Env) -> Result<(Self, RemoteTask), RemoteConfigError> {
        config.check()?;
        let metrics: Arc<ClientMetrics> = Arc::default();
        let dialler = Arc::new(Dialler {
            config: config.clone(),
            env: env.clone(),
            metrics: Arc::clone(&metrics),
        });
        let (peers, joining) = Peers::new(&config.addresses, dialler);
        let (known, topics) = watch::channel(KnownTopics {
            server: 0,
            table: Arc::<TopicTable>::default(),
        });
        let inner = Inner {
            calls: Arc::new(Semaphore::new(config.calls_max)),
            feeds: Arc::new(Semaphore::new(config.feeds_max)),
            config,
            env,
            peers,
            metrics,
        };
        let inner = Arc::new(inner);
        let task = RemoteTask {
            joining,
            topics: TopicsTask::new(Arc::clone(&inner), known),
        };
        Ok((Self { inner, topics }, task))
    }

    /// Where each server stands, for health and people.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.inner.peers.status()
    }

    /// Its figures.
    #[must_use]
    pub fn metrics(&self) -> Arc<ClientMetrics> {
        Arc::clone(&self.inner.metrics)
    }

    /// Completes when `wanted` holds of the topics heard of; at once if it does now. Cancel safe.
    pub async fn topics_become(&self, wanted: impl Fn(&TopicTable) -> bool + Send + Sync) {
        let mut topics = self.topics.clone();
        // An error means that the task is gone; the last table stands.
        let _ = topics.wait_for(|known| wanted(&known.table)).await;
    }
}

impl RemoteTask {
    /// Runs until the stop is requested; then connections are closed, calls in flight are of
    /// unknown outcome and later ones find no leader.
    pub async fn run(self, shutdown: Shutdown) {
        let mut tasks = TaskGroup::new("internal api client");
        tasks.spawn(self.topics.run(shutdown.clone()));
        run_peers(self.joining, tasks, shutdown).await;
    }
}

/// Runs each peer that joins, beside `tasks`, until the stop is requested.
async fn run_peers(
    mut joining: mpsc::Receiver<PeerTask>,
    mut tasks: TaskGroup,
    shutdown: Shutdown,
) {
    loop {
        let ended = tokio::select! {
            biased;
            () = shutdown.requested() => break,
            Some(peer) = joining.recv() => {
                tasks.spawn(peer.run(shutdown.clone()));
                continue;
            }
            Some(ended) = tasks.join_next() => ended,
        };
        tell_panic(ended);
    }
    // Peers that were still waiting to run are dropped: who waits for them hears of it.
    drop(joining);
    tell_panic(tasks.join_all().await);
}

fn tell_panic(ended: Result<(), esker_env::TaskFailure>) {
    if let Err(failure) = ended {
        let error: &dyn std::error::Error = &failure;
        tracing::error!(error, "a task of the internal api's client panicked");
    }
}
