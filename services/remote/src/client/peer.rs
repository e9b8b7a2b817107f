//! One server: its connection, made when somebody wants it, one dial at a time, with backoff.
//!
//! Whoever wants the connection asks the task and waits for the state to change; every ask is
//! followed by a change, so nobody sleeps through one. While an address rests after a failed
//! dial, who asks is told at once.

use std::sync::Arc;

use esker_env::{Backoff, Env, Shutdown, TaskGroup, timeout};
use esker_types::MonotonicTime;
use tokio::sync::{mpsc, watch};

use super::connection::{ConnectError, Connection, open};
use crate::config::RemoteConfig;
use crate::metrics::{ClientMetrics, add_one};

/// Where a server may be reached, `host:port`.
pub(super) type Address = Arc<str>;

/// How it stands with one server.
#[derive(Clone, Debug)]
pub enum PeerCondition {
    /// Nobody asked for it, or its connection ended.
    Idle,
    /// Connected, speaking this version.
    Connected {
        /// The version of the internal API.
        protocol: u32,
    },
    /// The last dial failed.
    Failed(Arc<ConnectError>),
}

/// One server.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its address.
    pub address: String,
    /// How it stands.
    pub condition: PeerCondition,
}

#[derive(Clone, Debug)]
pub(super) enum PeerState {
    Idle,
    Up(Connection),
    Down {
        until: MonotonicTime,
        error: Arc<ConnectError>,
    },
}

/// There is no connection, and none can be had now.
#[derive(Debug)]
pub(super) struct NotConnected;

/// Handle of one server.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: Address,
    wanted: mpsc::Sender<()>,
    state: watch::Receiver<PeerState>,
}

/// How servers are dialled.
#[derive(Debug)]
pub(super) struct Dialler {
    pub(super) config: RemoteConfig,
    pub(super) env: Env,
    pub(super) metrics: Arc<ClientMetrics>,
}

/// What dials one server and drives its connection.
#[derive(Debug)]
pub(super) struct PeerTask {
    address: Address,
    dialler: Arc<Dialler>,
    wanted: mpsc::Receiver<()>,
    state: watch::Sender<PeerState>,
    drivers: TaskGroup,
    backoff: Option<Backoff>,
}

impl Peer {
    pub(super) fn new(address: Address, dialler: Arc<Dialler>) -> (Self, PeerTask) {
        // One ask that waits is as good as many.
        let (ask, wanted) = mpsc::channel(1);
        let (sender, state) = watch::channel(PeerState::Idle);
        let peer = Self {
            address: Arc::clone(&address),
            wanted: ask,
            state,
        };
        let task = PeerTask {
            address,
            dialler,
            wanted,
            state: sender,
            drivers: TaskGroup::new("internal api connection"),
            backoff: None,
        };
        (peer, task)
    }

    /// The connection; dialled if need be. Cancel safe: a dial goes on for the next who asks.
    pub(super) async fn connection(&self, env: &Env) -> Result<Connection, NotConnected> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                PeerState::Up(connection) if connection.is_open() => return Ok(connection.clone()),
                PeerState::Down { until, .. } if env.clock.now() < *until => {
                    return Err(NotConnected);
                }
                PeerState::Up(_) | PeerState::Down { .. } | PeerState::Idle => {}
            }
            // Full: an ask is on its way, and a change follows it.
            let _ = self.wanted.try_send(());
            state.changed().await.map_err(|_| NotConnected)?;
        }
    }

    pub(super) fn status(&self) -> PeerStatus {
        let condition = match &*self.state.borrow() {
            PeerState::Up(connection) if connection.is_open() => PeerCondition::Connected {
                protocol: connection.protocol(),
            },
            PeerState::Up(_) | PeerState::Idle => PeerCondition::Idle,
            PeerState::Down { error, .. } => PeerCondition::Failed(Arc::clone(error)),
        };
        PeerStatus {
            address: self.address.to_string(),
            condition,
        }
    }
}

impl PeerTask {
    /// Runs until the stop is requested or nobody holds the handle.
    pub(super) async fn run(mut self, stop: Shutdown) {
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => break,
                Some(ended) = self.drivers.join_next() => {
                    super::tell_panic(ended);
                    self.forget_closed();
                }
                asked = self.wanted.recv() => {
                    if asked.is_none() {
                        break;
                    }
                    tokio::select! {
                        biased;
                        () = stop.requested() => break,
                        () = self.meet() => {}
                    }
                }
            }
        }
    }

    fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), PeerState::Up(connection) if connection.is_open())
    }

    fn forget_closed(&self) {
        if !self.is_up() && matches!(&*self.state.borrow(), PeerState::Up(_)) {
            self.state.send_replace(PeerState::Idle);
        }
    }

    /// Sees that the state changes: who asked waits for that.
    async fn meet(&mut self) {
        if self.is_up() {
            self.state.send_modify(|_| {});
            return;
        }
        let metrics = Arc::clone(&self.dialler.metrics);
        add_one(&metrics.dials);
        match self.dial().await {
            Ok(connection) => {
                tracing::info!(address = %self.address, "connected to another process");
                self.backoff = None;
                self.state.send_replace(PeerState::Up(connection));
            }
            Err(error) => {
                add_one(&metrics.dial_failures);
                self.rest(error);
            }
        }
    }

    async fn dial(&mut self) -> Result<Connection, ConnectError> {
        let dialler = Arc::clone(&self.dialler);
        let limit = dialler.config.dial_timeout;
        let clock = dialler.env.clock.as_ref();
        let address = Arc::clone(&self.address);
        let drivers = &mut self.drivers;
        let dialled = async {
            let (connection, driver) = open(&address, &dialler.config).await?;
            drivers.spawn(driver);
            connection.greet(limit).await
        };
        let dialled = timeout(clock, limit, dialled).await;
        dialled.unwrap_or(Err(ConnectError::TimedOut { limit }))
    }

    fn rest(&mut self, error: ConnectError) {
        let env = &self.dialler.env;
        let policy = self.dialler.config.dial_retry;
        let backoff = self.backoff.get_or_insert_with(|| policy.begin());
        let tries = backoff.tries();
        let delay = backoff.next_delay(&env.rng).unwrap_or(policy.delay_max);
        let shown: &dyn std::error::Error = &error;
        let is_for_people = matches!(
            error,
            ConnectError::Protocol { .. }
                | ConnectError::Cluster { .. }
                | ConnectError::Certificates(_)
                | ConnectError::Tls(_)
        );
        // Once per outage is enough.
        if tries > 1 {
            tracing::debug!(address = %self.address, error = shown, tries, "no connection yet");
        } else if is_for_people {
            tracing::error!(address = %self.address, error = shown, "other process is refused");
        } else {
            tracing::warn!(address = %self.address, error = shown, "no connection, trying on");
        }
        self.state.send_replace(PeerState::Down {
            until: env.clock.now().after(delay),
            error: Arc::new(error),
        });
    }
}
