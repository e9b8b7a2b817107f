//! `esker serve`: start in an order that fails early, run, stop in an order that loses nothing.
//!
//! Stop: send readers away → no new connection → drain what is admitted → seal the session →
//! checkpoint → refuse → end.
//! A deposed or damaged process does none of it: it ends at once and answers nothing more (J3).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use esker_cluster::{ClientsSee, Membership};
use esker_env::{Env, Shutdown, TaskGroup};
use esker_ingest::IngestError;
use esker_kafka::Listener;
use esker_metadata::MetadataFailure;
use esker_metadata_api::Roles;
use esker_object::{ProbeError, StoreError, StoreErrorKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::{ServeConfig, StoreUrl};
use crate::store;
use crate::wire::{DataPlane, Process, Stops, build};

/// How long readers are told of other processes before this one takes no more questions: two of the
/// waits that clients' Fetch has by default (500 ms).
const SEND_AWAY_FOR: Duration = Duration::from_secs(1);

/// A part that ended before it was asked to.
#[derive(Debug)]
enum Early {
    Metadata(Result<(), MetadataFailure>),
    Ingest(Result<(), IngestError>),
    Store(ProbeError),
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
        let (early, ended) = mpsc::channel(3);
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
        fronts.spawn(process.store_watch.run(stops.edges.clone()));
        if let Some(races) = process.races {
            let early = early.clone();
            fronts.spawn(async move {
                if let Err(error) = races.run().await {
                    let _ = early.send(Early::Store(error)).await;
                }
            });
        }
        let mut running = Self {
            service,
            fronts,
            membership: None,
            kafka: None,
            ended,
        };
        if let Some(data) = process.data {
            running.start_data(data, (stops, service_stop), early);
        }
        running
    }

    fn start_data(
        &mut self,
        data: DataPlane,
        (stops, service_stop): (&Stops, &Shutdown),
        early: mpsc::Sender<Early>,
    ) {
        if let Some(fleet) = data.fleet {
            self.service.spawn(fleet.task.run(service_stop.clone()));
        }
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
        Err(early) => {
            // Clients must find the new leader at once; only the end of the process waits.
            drop(running);
            tokio::select! {
                biased;
                _ = &mut stop => {}
                () = env.clock.sleep(pause_before_end(&early)) => {}
            }
            return ended_early(early);
        }
    };
    tracing::info!(reason, "stopping");
    if let Some(membership) = &running.membership {
        membership.drain();
        // Whose question waits is answered, and whoever asks again is told of another process,
        // unless clients know one only.
        let is_sent_away = config.clients_see != ClientsSee::Single;
        if config.roles != Roles::ALL && is_sent_away {
            env.clock.sleep(SEND_AWAY_FOR).await;
        }
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
    // A pod's address goes with its process. Whoever is sent there still is refused at once while
    // it is there, and waits for as long as its client likes to when it is not.
    env.clock.sleep(config.exit_delay).await;
    Ok(())
}

/// Whoever supervises this process may start it again at once, and would have it depose its
/// successor at once if the two cannot hear each other.
fn pause_before_end(early: &Early) -> Duration {
    match early {
        Early::Metadata(Err(MetadataFailure::Deposed { by, pause })) if !pause.is_zero() => {
            let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(%by, millis, "deposed soon behind the take-over, waits before it ends");
            *pause
        }
        Early::Metadata(_) | Early::Ingest(_) | Early::Store(_) => Duration::ZERO,
    }
}

/// Whether it was the store that denied rights.
fn is_denied(failure: &MetadataFailure) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(failure);
    while let Some(error) = source {
        let store = error.downcast_ref::<StoreError>();
        if store.is_some_and(|store| store.kind == StoreErrorKind::Denied) {
            return true;
        }
        source = error.source();
    }
    false
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
                failure if is_denied(failure) => {
                    "the store has denied this process its rights for a while: check that its \
                     credentials are valid, that they may read, create and list below the prefix, \
                     and that this machine's clock is right; then start it again, nothing is lost"
                }
                MetadataFailure::Replay(_)
                | MetadataFailure::TakeOver(_)
                | MetadataFailure::Journal(_)
                | MetadataFailure::Recovery(_) => "see the cause below; a new start is safe",
            };
            Err(anyhow::Error::new(failure).context(advice))
        }
        Early::Store(error) => {
            Err(anyhow::Error::new(error).context("the store failed its start-up probe"))
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

#[cfg(test)]
mod tests {
    use esker_journal::ReplayError;
    use esker_object::ObjectKey;

    use super::*;

    fn told(failure: MetadataFailure) -> String {
        let ended = ended_early(Early::Metadata(Err(failure)));
        format!("{:#}", ended.unwrap_err())
    }

    #[test]
    fn a_process_whose_rights_were_denied_says_what_to_do() {
        let store = |kind| StoreError::new("get", &ObjectKey::cluster(), kind);
        let replay = |kind| MetadataFailure::Replay(ReplayError::Store(store(kind)));

        let denied = told(replay(StoreErrorKind::Denied));
        let gone = told(replay(StoreErrorKind::NoBucket));

        assert!(
            denied.contains("check that its credentials are valid"),
            "{denied}"
        );
        assert!(gone.contains("a new start is safe"), "{gone}");
    }

    #[test]
    fn only_a_process_that_was_deposed_waits_before_it_ends() {
        let pause = Duration::from_secs(3);
        let by = "127.0.0.1:1".to_owned();
        let deposed = Early::Metadata(Err(MetadataFailure::Deposed { by, pause }));

        assert_eq!(pause_before_end(&deposed), pause);
        for early in [
            Early::Metadata(Ok(())),
            Early::Metadata(Err(MetadataFailure::Damaged)),
            Early::Ingest(Ok(())),
        ] {
            assert_eq!(pause_before_end(&early), Duration::ZERO);
        }
    }
}
