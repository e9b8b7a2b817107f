//! Starts and stops the proxy: accept loop, one task per client connection, one for late work.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use esker_env::{Env, Rng, Shutdown, ShutdownTrigger, TaskGroup};
use futures::future::BoxFuture;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::decisions::DecisionLog;
use super::proxy::State;
use super::upstream::Link;
use super::{Profile, Rule, ShaperReport};

/// Requests that wait to be delivered late (HOLD, DUP).
const LATE_COUNT_MAX: usize = 1024;

/// What to listen on, and what to pretend.
#[derive(Clone, Debug)]
pub struct ShaperConfig {
    /// Port 0: the system chooses.
    pub listen: SocketAddr,
    /// The store behind.
    pub upstream: SocketAddr,
    /// Latency.
    pub profile: Profile,
    /// Of every random decision.
    pub seed: u64,
    /// Faults from the start.
    pub rules: Vec<Rule>,
}

impl ShaperConfig {
    /// A proxy on a free loopback port that only counts.
    #[must_use]
    pub fn before(upstream: SocketAddr) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            upstream,
            profile: Profile::None,
            seed: 1,
            rules: Vec::new(),
        }
    }
}

/// Starts proxies.
#[derive(Debug)]
pub struct Shaper;

/// A running proxy; it stops when this is dropped.
#[derive(Debug)]
pub struct ShaperHandle {
    /// Where it listens.
    pub addr: SocketAddr,
    state: Arc<State>,
    trigger: ShutdownTrigger,
    tasks: TaskGroup,
}

pub(super) type LateWork = BoxFuture<'static, ()>;

impl Shaper {
    /// Listens and serves until stopped.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(config: ShaperConfig) -> anyhow::Result<ShaperHandle> {
        let listener = TcpListener::bind(config.listen).await.context("listen")?;
        let addr = listener.local_addr()?;
        let env = Env {
            rng: Rng::from_seed(config.seed),
            ..Env::system()
        };
        let (late, late_inbox) = mpsc::channel(LATE_COUNT_MAX);
        let state = Arc::new(State::new(&config, env, late));
        let (trigger, shutdown) = Shutdown::new();
        let mut tasks = TaskGroup::new("shaper");
        tasks.spawn(accept(listener, Arc::clone(&state), shutdown.clone()));
        tasks.spawn(deliver_late(late_inbox, shutdown));
        Ok(ShaperHandle {
            addr,
            state,
            trigger,
            tasks,
        })
    }
}

impl ShaperHandle {
    /// The URL of the proxy, for a store's endpoint.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it saw so far.
    #[must_use]
    pub fn report(&self) -> ShaperReport {
        self.state.report()
    }

    /// Whom it struck, oldest first, and the seed of every decision.
    #[must_use]
    pub fn decisions(&self) -> DecisionLog {
        self.state.decisions()
    }

    /// Replaces all rules; their windows begin now.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        self.state.set_rules(rules);
    }

    /// Forgets counts and latencies; rules stay, their counts begin anew.
    pub fn reset(&self) {
        self.state.reset();
    }

    /// Closes every connection and waits for the tasks.
    ///
    /// # Errors
    /// One of them panicked.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.trigger.request();
        self.tasks.join_all().await?;
        Ok(())
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, shutdown: Shutdown) {
    let mut connections = TaskGroup::new("shaper connections");
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.requested() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => connections.spawn(serve(stream, Arc::clone(&state))),
            Err(error) => tracing::warn!(%error, "accept failed"),
        }
        if let Err(error) = connections.reap() {
            tracing::warn!(%error, "a connection's task failed");
        }
    }
    // Dropping the group ends the connections at once: that is what stopping a proxy means.
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let link = Link::new(state.upstream());
    let service = service_fn(move |request| {
        let (state, link) = (Arc::clone(&state), Arc::clone(&link));
        async move { state.handle(&link, request).await }
    });
    if let Err(error) = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(%error, "connection ended");
    }
}

async fn deliver_late(mut inbox: mpsc::Receiver<LateWork>, shutdown: Shutdown) {
    let mut late = TaskGroup::new("shaper late requests");
    loop {
        tokio::select! {
            biased;
            () = shutdown.requested() => break,
            work = inbox.recv() => match work {
                Some(work) => late.spawn(work),
                None => break,
            },
        }
        let _ = late.reap();
    }
}
