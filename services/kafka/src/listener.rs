//! The Kafka port: accepts connections up to their limits, each in its own task; drains on stop.
//!
//! Stop order: stop accepting → connections stop reading → replies in flight are written, within
//! the drain limit → whatever is left is cut. A panic in a connection's task costs that connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use esker_env::{Env, Shutdown, TaskFailure, TaskGroup};
use tokio::net::{TcpListener, TcpStream};

use crate::arrivals::Arrivals;
use crate::budget::Budget;
use crate::config::ListenerConfig;
use crate::connection::Connection;
use crate::metrics::{Metrics, Refusal};
use crate::service::Service;
use crate::slots::{ConnectionPlace, Slots};

/// How long accepting rests after it failed, usually because file descriptors ran out.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// The port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// In use, not ours, or not permitted: choose another address.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

/// An open Kafka port.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local_address: SocketAddr,
    config: Arc<ListenerConfig>,
    service: Arc<dyn Service>,
    env: Env,
    metrics: Arc<Metrics>,
}

impl Listener {
    /// Opens the port. Connections queue in the kernel until [`Self::run`].
    ///
    /// # Errors
    /// [`ListenError::Bind`]: the address is in use or not permitted.
    pub async fn bind(
        config: ListenerConfig,
        service: Arc<dyn Service>,
        env: Env,
    ) -> Result<Self, ListenError> {
        let address = config.listen;
        let failed = |source| ListenError::Bind { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let local_address = socket.local_addr().map_err(failed)?;
        Ok(Self {
            socket,
            local_address,
            config: Arc::new(config),
            service,
            env,
            metrics: Arc::default(),
        })
    }

    /// Where it listens, with the port that was chosen.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// The listener's counters; they outlive it.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Serves until `shutdown` is requested, then drains.
    pub async fn run(self, shutdown: Shutdown) {
        let slots = Slots::new(&self.config, Arc::clone(&self.metrics));
        let clock = Arc::clone(&self.env.clock);
        let budget = Budget::new(&self.config, clock, Arc::clone(&self.metrics));
        let mut connections = TaskGroup::new("kafka connections");
        let mut id = 0_u64;
        let mut is_failing = false;
        let mut arrivals = Arrivals::new();
        loop {
            let wait = arrivals.wait(self.env.clock.now());
            let accepted = tokio::select! {
                biased;
                () = shutdown.requested() => break,
                Some(ended) = connections.join_next(), if connections.count() > 0 => {
                    report(&self.metrics, ended);
                    continue;
                }
                () = self.env.clock.sleep(wait), if !wait.is_zero() => continue,
                accepted = self.socket.accept(), if wait.is_zero() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    is_failing = false;
                    arrivals.arrived(self.env.clock.now());
                    let Some(place) = self.place(&slots, peer) else {
                        continue;
                    };
                    id = id.saturating_add(1);
                    let connection = self.connection(&stream, peer, &budget, &shutdown, id);
                    connections.spawn(serve(connection, stream, place));
                }
                Err(error) => {
                    // Once, not ten times a second as long as it lasts: the metric counts.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%error, "accepting kafka connections fails, trying again");
                    }
                    self.metrics.refused(Refusal::Accept);
                    self.env.clock.sleep(ACCEPT_REST).await;
                }
            }
        }
        drop(self.socket);
        drain(
            &self.env,
            self.config.drain_timeout,
            &self.metrics,
            connections,
        )
        .await;
    }

    fn place(&self, slots: &Arc<Slots>, peer: SocketAddr) -> Option<ConnectionPlace> {
        match slots.take(peer.ip()) {
            Ok(place) => Some(place),
            Err(refusal) => {
                tracing::debug!(?refusal, %peer, "connection refused");
                self.metrics.refused(refusal);
                None
            }
        }
    }

    fn connection(
        &self,
        stream: &TcpStream,
        peer: SocketAddr,
        budget: &Budget,
        shutdown: &Shutdown,
        id: u64,
    ) -> Connection {
        Connection {
            service: Arc::clone(&self.service),
            env: self.env.clone(),
            config: Arc::clone(&self.config),
            budget: budget.for_connection(&self.config),
            metrics: Arc::clone(&self.metrics),
            shutdown: shutdown.clone(),
            client_address: peer,
            local_address: stream.local_addr().unwrap_or(self.local_address),
            id,
            is_software_named: AtomicBool::default(),
        }
    }
}

async fn serve(connection: Connection, stream: TcpStream, place: ConnectionPlace) {
    // Without it small replies wait for the client's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "socket closed before it was served");
        return;
    }
    let (reader, writer) = stream.into_split();
    connection.run(reader, writer).await;
    drop(place);
}

async fn drain(env: &Env, limit: Duration, metrics: &Metrics, mut connections: TaskGroup) {
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            report(metrics, ended);
        }
    };
    let drained = esker_env::timeout(env.clock.as_ref(), limit, all_ended).await;
    if drained.is_err() {
        tracing::warn!(
            left = connections.count(),
            "connections cut at the drain limit"
        );
        connections.abort_all();
        while let Some(ended) = connections.join_next().await {
            report(metrics, ended);
        }
    }
}

fn report(metrics: &Metrics, ended: Result<(), TaskFailure>) {
    if let Err(error) = ended {
        metrics.refused(Refusal::Panic);
        tracing::error!(?error, "a kafka connection panicked");
    }
}
