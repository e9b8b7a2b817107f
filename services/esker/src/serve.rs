//! `esker serve`: start in an order that fails early, run, stop in an order that loses nothing.
//!
//! Stop: no new connection → drain what is admitted → seal the session → checkpoint → end. A
//! deposed or damaged process does none of it: it ends at once and answers nothing more (J3).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use esker_cluster::Membership;
use esker_env::{Env, Shutdown, TaskGroup};
use esker_ingest::IngestError;
use esker_kafka::Listener;
use esker_metadata::MetadataFailure;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::{ServeConfig, StoreUrl};
use crate::store;
use crate::wire::{DataPlane, Process, Stops, build};

/// A part that ended before it was asked to.
#[derive(Debug)]
enum Early {
    Metadata(Result<(), MetadataFailure>),
    Ingest(Result<(), IngestError>),
}

/// Completes on SIGTERM or SIGINT. Handlers stand from the call on, also for process 1.
fn stop_signal() -> anyhow::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// A process at work.
struct Running {
    /// What answers and what asks inside the cluster: stopped last.
    service: TaskGroup,
    /// Listeners, ingest, fetch: stopped first.
    fronts: TaskGroup,
    membership: Option<Membership>,
    kafka: Option<(Listener, Arc<AtomicBool>)>,
    ended: mpsc::Receiver<Early>,
}

impl Running {
    fn start(process: Process, stops: &Stops, service_stop: &Shutdown) -> Self {
        let (early, ended) = mpsc::channel(2);
        let mut service = TaskGroup::new("metadata");
        if let Some((_, task)) = process.metadata {
            let (heard, stop) = (early.clone(), service_stop.clone());
            service.spawn(async move {
                let outcome = task.run(stop).await;
                // Nobody hears it once the process is stopping.
                let _ = heard.send(Early::Metadata(outcome)).await;
            });
        }
        if let Some(remote) = process.remote {
            service.spawn(remote.run(service_stop.clone()));
        }
        if let Some(internal) = process.internal {
            service.spawn(internal.run(service_stop.clone()));
        }
        let mut fronts = TaskGroup::new("fronts");
        fronts.spawn(process.http.run(stops.edges.clone()));
        let mut running = Self {
            service,
            fronts,
            membership: None,
            kafka: None,
            ended,
        };
        if let Some(data) = process.data {
            running.start_data(data, stops, early);
        }
        running
    }

    fn start_data(&mut self, data: DataPlane, stops: &Stops, early: mpsc::Sender<Early>) {
        let ingest = data.ingest_task;
        self.fronts.spawn(async move {
            let outcome = ingest.run().await;
            let _ = early.send(Early::Ingest(outcome)).await;
        });
        let stop = stops.edges.clone();
        self.fronts.spawn(data.fetch_task.run());
        self.fronts.spawn(data.membership_task.run(stop));
        self.membership = Some(data.membership);
        self.kafka = Some((data.kafka, data.is_open));
    }

    /// Connections wait in the kernel until the metadata service answers.
    fn open_kafka(&mut self, stop: Shutdown) {
        if let Some((kafka, is_open)) = self.kafka.take() {
            is_open.store(true, Ordering::Relaxed);
            self.fronts.spawn(kafka.run(stop));
        }
    }
}

/// Addresses, for the line that tells of readiness.
fn addresses(process: &Process) -> String {
    let mut told = vec![format!("http {}", process.http.address())];
    if let Some(data) = &process.data {
        told.insert(0, format!("kafka {}", data.kafka.local_address()));
    }
    if let Some(internal) = &process.internal {
        told.push(format!("internal {}", internal.address()));
    }
    told.join(", ")
}

/// Runs the process until it is asked to stop, or until it must not go on.
///
/// # Errors
/// It could not start, or ended although nobody asked; the message says what to do.
pub(crate) async fn run(config: &ServeConfig, env: Env) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let mut stop = std::pin::pin!(stop);
    let started = env.clock.now();
    let store = tokio::select! {
        biased;
        _ = &mut stop => return Ok(()),
        store = store::open(config, &env) => store?,
    };
    let cluster = store.cluster;
    let (stop_edges, edges) = Shutdown::new();
    let (stop_service, service_stop) = Shutdown::new();
    let stops = Stops { edges };
    let process = build(config, store, env.clone(), &stops).await?;
    let (addresses, access) = (addresses(&process), process.access.clone());
    let mut running = Running::start(process, &stops, &service_stop);
    let reason = tokio::select! {
        biased;
        reason = &mut stop => Ok(reason),
        Some(early) = running.ended.recv() => Err(early),
        () = access.answers(&env) => {
            let millis = env.clock.now().since(started).as_millis();
            let millis = u64::try_from(millis).unwrap_or(u64::MAX);
            tracing::info!(%cluster, addresses, millis, "ready");
            running.open_kafka(stops.edges.clone());
            tokio::select! {
                biased;
                reason = &mut stop => Ok(reason),
                Some(early) = running.ended.recv() => Err(early),
            }
        }
    };
    let reason = match reason {
        Ok(reason) => reason,
        Err(early) => return ended_early(early),
    };
    tracing::info!(reason, "stopping");
    if let Some(membership) = &running.membership {
        membership.drain();
    }
    stop_edges.request();
    let limit = config.drain_timeout.saturating_add(Duration::from_secs(5));
    let drained = esker_env::timeout(env.clock.as_ref(), limit, running.fronts.join_all()).await;
    stop_service.request();
    let settled = esker_env::timeout(env.clock.as_ref(), limit, running.service.join_all()).await;
    match (drained, settled) {
        (Ok(Ok(())), Ok(Ok(()))) => tracing::info!("stopped"),
        outcome => tracing::warn!(?outcome, "stopped, not all in time"),
    }
    Ok(())
}

fn ended_early(early: Early) -> anyhow::Result<()> {
    match early {
        Early::Metadata(Ok(())) => anyhow::bail!("metadata service ended by itself"),
        Early::Metadata(Err(failure)) => {
            let advice = match &failure {
                MetadataFailure::Deposed { .. } => {
                    "start it again to stand by for the new leader; give each process a bucket \
                     prefix of its own if they should not share one"
                }
                MetadataFailure::Damaged => {
                    "nothing was answered from it; look at the log, keep the bucket as it is"
                }
                MetadataFailure::Replay(_)
                | MetadataFailure::TakeOver(_)
                | MetadataFailure::Journal(_)
                | MetadataFailure::Recovery(_) => "see the cause below; a new start is safe",
            };
            Err(anyhow::Error::new(failure).context(advice))
        }
        Early::Ingest(Ok(())) => anyhow::bail!("produce path ended by itself"),
        Early::Ingest(Err(failure)) => Err(anyhow::Error::new(failure)
            .context("the produce path cannot go on; a new start is safe")),
    }
}

/// What a newcomer sees on a terminal.
pub(crate) fn greeting(config: &ServeConfig) -> String {
    let store = match &config.store {
        StoreUrl::Directory(path) => format!("directory {}", path.display()),
        StoreUrl::S3 { bucket, prefix } => format!("s3://{bucket}/{prefix}"),
        StoreUrl::Memory => "memory (gone when this process ends)".to_owned(),
    };
    format!(
        "esker {} · {store} · kafka {} · http http://{}",
        env!("CARGO_PKG_VERSION"),
        config.kafka_listen,
        config.http_listen
    )
}
