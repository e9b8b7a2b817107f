//! `esker serve`: start in an order that fails early, run, stop in an order that loses nothing.
//!
//! Stop: no new connection → drain what is admitted → seal the session → checkpoint → end. A
//! deposed or damaged process does none of it: it ends at once and answers nothing more (J3).

use std::time::Duration;

use anyhow::Context as _;
use esker_cluster::Membership;
use esker_env::{Env, Shutdown, TaskGroup};
use esker_ingest::IngestError;
use esker_kafka::Listener;
use esker_metadata::{MetadataFailure, MetadataService, MetadataStatus};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::{ServeConfig, StoreUrl};
use crate::store;
use crate::wire::{Process, Stops, build};

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
    metadata: MetadataService,
    membership: Membership,
    /// The metadata service: stopped last.
    service: TaskGroup,
    /// Listeners, ingest, fetch: stopped first.
    fronts: TaskGroup,
    kafka: Option<Listener>,
    ended: mpsc::Receiver<Early>,
}

impl Running {
    fn start(process: Process, stops: &Stops, metadata_stop: Shutdown) -> Self {
        let Process {
            metadata,
            metadata_task,
            ingest_task,
            fetch_task,
            membership,
            membership_task,
            kafka,
            http,
        } = process;
        let (early, ended) = mpsc::channel(2);
        let mut service = TaskGroup::new("metadata");
        let heard = early.clone();
        service.spawn(async move {
            let outcome = metadata_task.run(metadata_stop).await;
            // Nobody hears it once the process is stopping.
            let _ = heard.send(Early::Metadata(outcome)).await;
        });
        let mut fronts = TaskGroup::new("fronts");
        fronts.spawn(async move {
            let outcome = ingest_task.run().await;
            let _ = early.send(Early::Ingest(outcome)).await;
        });
        fronts.spawn(fetch_task.run());
        fronts.spawn(membership_task.run(stops.edges.clone()));
        fronts.spawn(http.run(stops.edges.clone()));
        Self {
            metadata,
            membership,
            service,
            fronts,
            kafka: Some(kafka),
            ended,
        }
    }

    /// Connections wait in the kernel until there is a leader to serve them.
    fn open_kafka(&mut self, stop: Shutdown) {
        if let Some(kafka) = self.kafka.take() {
            self.fronts.spawn(kafka.run(stop));
        }
    }
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
    let (stop_metadata, metadata_stop) = Shutdown::new();
    let stops = Stops { edges };
    let process = build(config, store, env.clone(), &stops).await?;
    let addresses = (process.kafka.local_address(), process.http.address());
    let mut running = Running::start(process, &stops, metadata_stop);
    let reason = tokio::select! {
        biased;
        reason = &mut stop => Ok(reason),
        Some(early) = running.ended.recv() => Err(early),
        () = running.metadata.status_becomes(MetadataStatus::is_leading) => {
            tracing::info!(
                cluster = %cluster,
                kafka = %addresses.0,
                http = %addresses.1,
                millis = u64::try_from(env.clock.now().since(started).as_millis())
                    .unwrap_or(u64::MAX),
                "ready"
            );
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
    running.membership.drain();
    stop_edges.request();
    let limit = config.drain_timeout.saturating_add(Duration::from_secs(5));
    let drained = esker_env::timeout(env.clock.as_ref(), limit, running.fronts.join_all()).await;
    stop_metadata.request();
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
