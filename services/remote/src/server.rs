//! The server: takes connections in, serves the five traits and blocks, stops in order.
//!
//! Stop: no new connection → calls in hand are answered, feeds end → connections are closed.
//! Bounds: connections, streams of each, calls of all, blocks on their way, bytes being received.

mod answers;
mod blocks;
mod body;
mod dispatch;
mod feed;
mod no_metadata;
mod task;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use esker_env::{Env, Shutdown, TaskGroup, timeout};
use esker_metadata_api::{Admin, LogIndex, Pods, Sequencer, TopicAdmin};
use esker_types::ClusterId;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::blocks::BlockSource;
use crate::config::ServerConfig;
use crate::executor::ConnectionTasks;
use crate::limits::{CONNECTION_WINDOW_BYTES, HEADER_BYTES_MAX, STREAM_WINDOW_BYTES};
use crate::metrics::{ServerMetrics, add_one, set};
use crate::tls::{Acceptor, TlsError};

use dispatch::Calls;
use no_metadata::NoMetadata;

/// How long the accept loop rests when the system gives no connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Says where the leader may be, when this process is not it.
pub trait LeaderHint: std::fmt::Debug + Send + Sync + 'static {
    /// `host:port` of its internal API; `None` when not known.
    fn leader(&self) -> Option<String>;
}

/// Knows no leader.
#[derive(Clone, Copy, Debug)]
pub struct NoHint;

impl LeaderHint for NoHint {
    fn leader(&self) -> Option<String> {
        None
    }
}

/// What is served.
#[derive(Clone, Debug)]
pub struct ServerParts {
    /// For ingest.
    pub sequencer: Arc<dyn Sequencer>,
    /// For fetch.
    pub log_index: Arc<dyn LogIndex>,
    /// For the fronts.
    pub admin: Arc<dyn Admin>,
    /// For the fronts.
    pub topic_admin: Arc<dyn TopicAdmin>,
    /// For all.
    pub pods: Arc<dyn Pods>,
    /// Where the leader may be.
    pub hint: Arc<dyn LeaderHint>,
    /// Blocks of segments, for other processes that serve records; `None`: this one has none.
    pub blocks: Option<Arc<dyn BlockSource>>,
}

impl ServerParts {
    /// Of a process without the metadata service: all questions for that are sent elsewhere.
    #[must_use]
    pub fn of_blocks(cluster: ClusterId, blocks: Arc<dyn BlockSource>) -> Self {
        let nobody = Arc::new(NoMetadata { cluster });
        Self {
            sequencer: nobody.clone(),
            log_index: nobody.clone(),
            admin: nobody.clone(),
            topic_admin: nobody.clone(),
            pods: nobody,
            hint: Arc::new(NoHint),
            blocks: Some(blocks),
        }
    }
}

/// Why a server could not begin.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, or not of this machine.
    #[error("listen at {address} for the internal api")]
    Listen {
        /// The address.
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// Its certificates cannot be used.
    #[error("certificates of the internal api")]
    Tls(#[source] TlsError),
}

/// A server that listens; connections wait in the kernel until it runs.
#[derive(Debug)]
pub struct RemoteServer {
    listener: TcpListener,
    address: SocketAddr,
    config: ServerConfig,
    parts: ServerParts,
    env: Env,
    tls: Option<Arc<Acceptor>>,
    metrics: Arc<ServerMetrics>,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

/// What every connection needs.
#[derive(Debug)]
struct Shared {
    config: ServerConfig,
    calls: Arc<Calls>,
    tls: Option<Arc<Acceptor>>,
    env: Env,
    stop: Shutdown,
}

impl RemoteServer {
    /// Listens.
    ///
    /// # Errors
    /// [`BindError`]: choose another address, or see to the certificates.
    pub async fn bind(
        config: ServerConfig,
        parts: ServerParts,
        env: Env,
    ) -> Result<Self, BindError> {
        let tls = match config.tls.clone() {
            Some(tls) => {
                let acceptor = Acceptor::open(tls, Arc::clone(&env.clock)).await;
                Some(Arc::new(acceptor.map_err(BindError::Tls)?))
            }
            None => None,
        };
        let failed = |source| BindError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            config,
            parts,
            env,
            tls,
            metrics: Arc::default(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its figures.
    #[must_use]
    pub fn metrics(&self) -> Arc<ServerMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Serves until the stop is requested, then drains.
    pub async fn run(self, shutdown: Shutdown) {
        let Self {
            listener,
            address: _,
            config,
            parts,
            env,
            tls,
            metrics,
        } = self;
        let calls = Calls::new(&config, parts, &env, shutdown.clone(), Arc::clone(&metrics));
        let (connections_max, drain) = (config.connections_max, config.drain_timeout);
        let shared = Arc::new(Shared {
            config,
            calls: Arc::new(calls),
            tls,
            env: env.clone(),
            stop: shutdown.clone(),
        });
        let mut connections = TaskGroup::new("internal api connections");
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.requested() => break,
                accepted = listener.accept() => accepted,
                Some(ended) = connections.join_next() => {
                    tell_panic(ended);
                    set(&metrics.connections, connections.count());
                    continue;
                }
            };
            match accepted {
                Ok((stream, _)) if connections.count() < connections_max => {
                    connections.spawn(Arc::clone(&shared).serve(stream));
                    set(&metrics.connections, connections.count());
                }
                Ok(_) => {
                    add_one(&metrics.refusals);
                    tracing::debug!("a connection beyond the limit was closed");
                }
                Err(error) => {
                    tracing::warn!(%error, "internal api cannot accept, trying on");
                    env.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        match timeout(env.clock.as_ref(), drain, connections.join_all()).await {
            Ok(ended) => tell_panic(ended),
            Err(error) => tracing::warn!(%error, "connections were cut, not all had ended"),
        }
        set(&metrics.connections, 0);
    }
}

fn tell_panic(ended: Result<(), esker_env::TaskFailure>) {
    if let Err(failure) = ended {
        let error: &dyn std::error::Error = &failure;
        tracing::error!(error, "a connection of the internal api panicked");
    }
}

impl Shared {
    /// One connection, from its first byte to its last.
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        // A small answer must not wait for an acknowledgement of the one before.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let Some(tls) = &self.tls else {
            return self.speak(stream).await;
        };
        let clock = self.env.clock.as_ref();
        match timeout(clock, self.config.handshake_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.speak(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "no TLS with a client"),
            Err(error) => tracing::debug!(%error, "no TLS with a client"),
        }
    }

    async fn speak(&self, stream: impl Wire) {
        let tasks = ConnectionTasks::new();
        let calls = Arc::clone(&self.calls);
        let service = hyper::service::service_fn(move |request| {
            let calls = Arc::clone(&calls);
            async move { Ok::<_, Infallible>(calls.answer(request).await) }
        });
        let keep_alive = self.config.keep_alive;
        let connection = hyper::server::conn::http2::Builder::new(tasks.executor())
            .timer(TokioTimer::new())
            .keep_alive_interval(keep_alive.interval)
            .keep_alive_timeout(keep_alive.timeout)
            .max_concurrent_streams(self.config.streams_max)
            // Callers that give up all at once are no attack.
            .max_pending_accept_reset_streams(usize::try_from(self.config.streams_max).ok())
            .max_header_list_size(HEADER_BYTES_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            biased;
            () = self.stop.requested() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            ended = connection.as_mut() => ended,
        };
        if let Err(error) = ended {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "a connection of the internal api ended");
        }
    }
}
