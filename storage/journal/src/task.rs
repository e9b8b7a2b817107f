//! The loop that writes the journal of one leadership: drives the pipeline, tells the owner.
//!
//! One loop owns all state. Puts and looks are polled by it (K + 1 at most); snapshot and
//! collection run behind it, one of each. The loop never waits for the owner: each command holds
//! room from append to event, so the event queue cannot fill. Nothing is sent when nothing has
//! changed.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use esker_chain::limits::SETTLE_RETRY;
use esker_chain::{SettleError, Settled, create_settled};
use esker_env::{Env, Shutdown, TaskFailure, timeout};
use esker_object::{Patience, StoreErrorKind};
use esker_types::{ObjectKind, Planted, planted};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::background::{Background, Finished};
use crate::config::JournalConfig;
use crate::error::{EpochCheckError, JournalFailure, ReplayError};
use crate::events::{JournalEvent, JournalEvents, QueuedEvent};
use crate::identity::LeaderInfo;
use crate::limits::{DENIED_MAX, DEPOSED_BY_TIMEOUT};
use crate::metrics::add;
use crate::object::byte_count;
use crate::pipeline::{Effect, Ending, Holder, Pipeline, Step};
use crate::place::{Place, PlaceId};
use crate::queue::PendingCommand;
use crate::reader::{Behind, JournalReader, ReadFailure};
use crate::writer::{Answered, COMMANDS_QUEUED_MAX, JournalWriter, Shared};

/// Each command has one event, each roll that begins has one and at least one command, and there is
/// one at each end.
const EVENTS_QUEUED_MAX: usize = 2 * COMMANDS_QUEUED_MAX + 2;

/// A request of the pipeline that has been answered.
#[derive(Debug)]
enum Answer {
    Settled {
        at: PlaceId,
        settled: Result<Settled, SettleError>,
    },
    Looked {
        at: PlaceId,
        found: Result<Option<ObjectKind>, ReadFailure>,
    },
}

/// Why the loop ends.
#[derive(Debug)]
enum End {
    Ending(Ending),
    Failure(JournalFailure),
    /// All that was taken is durable, or the time for it is over.
    Drained,
    /// The owner has dropped its events.
    Unheard,
}

/// Writes the journal until it is deposed, fails or is asked to stop.
#[derive(Debug)]
pub struct JournalTask {
    reader: JournalReader,
    env: Env,
    config: JournalConfig,
    pipeline: Box<Pipeline>,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<PendingCommand>,
    events: mpsc::Sender<QueuedEvent>,
    answered: watch::Sender<Answered>,
    requests: FuturesUnordered<BoxFuture<'static, Answer>>,
    background: Background,
    /// Closes the writer's side when the task is gone, however it ends.
    _closing: Closing,
}

#[derive(Debug)]
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl JournalTask {
    /// The head of the pipeline's roll is known to be ours.
    pub(crate) fn new(
        reader: JournalReader,
        env: Env,
        config: JournalConfig,
        pipeline: Pipeline,
    ) -> (JournalWriter, JournalEvents, Self) {
        let (outbox, inbox) = mpsc::channel(COMMANDS_QUEUED_MAX);
        let (events, event_inbox) = mpsc::channel(EVENTS_QUEUED_MAX);
        let (answered, answers) = watch::channel(Answered::default());
        let shared = Arc::new(Shared::new(env.clock.clone(), outbox));
        let background = Background::new(reader.clone(), env.clone(), config.collection_grace);
        let task = Self {
            _closing: Closing(shared.clone()),
            shared: shared.clone(),
            reader,
            env,
            config,
            pipeline: Box::new(pipeline),
            inbox,
            events,
            answered,
            requests: FuturesUnordered::new(),
            background,
        };
        let events = JournalEvents { inbox: event_inbox };
        (JournalWriter::new(shared, answers), events, task)
    }

    /// Runs to the end of the leadership. After a request to stop, commands that were taken have
    /// [`drain_timeout`](crate::JournalConfig::drain_timeout) to become durable.
    pub async fn run(mut self, shutdown: Shutdown) {
        let begun = self.pipeline.begin();
        let end = match self.act([begun]) {
            Some(end) => end,
            None => self.work(&shutdown).await,
        };
        self.finish(end).await;
    }

    async fn work(&mut self, shutdown: &Shutdown) -> End {
        loop {
            self.send();
            let wake = self.wake();
            let end = tokio::select! {
                biased;
                () = shutdown.requested() => Some(self.drain().await),
                Some(answer) = self.requests.next() => self.take_answer(answer),
                finished = self.background.next() => self.take_finished(finished),
                Some(command) = self.inbox.recv() => {
                    self.pipeline.push(command);
                    None
                }
                () = self.shared.woken() => {
                    self.take_snapshot();
                    None
                }
                () = wake => None,
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Starts every request that may be sent now.
    fn send(&mut self) {
        while let Ok(command) = self.inbox.try_recv() {
            self.pipeline.push(command);
        }
        let now = self.env.clock.now();
        // The questions are counted before each step: what is sent later serves them.
        while let Some(step) = self
            .pipeline
            .next_step(now, self.shared.asked(), &self.env.rng)
        {
            self.count_step(&step);
            let (reader, env) = (self.reader.clone(), self.env.clone());
            self.requests.push(match step {
                Step::Put { at, object } => Box::pin(async move {
                    let settled = create_when_there_is_room(&reader, &env, at, object).await;
                    Answer::Settled { at, settled }
                }),
                Step::Look { at } => Box::pin(async move {
                    let found = look(&reader, &env, at).await;
                    Answer::Looked { at, found }
                }),
            });
        }
    }

    fn count_step(&self, step: &Step) {
        let counters = &self.shared.counters;
        match step {
            Step::Put { object, .. } => {
                add(&counters.places, 1);
                add(&counters.place_bytes, byte_count(object));
            }
            Step::Look { .. } => add(&counters.looks, 1),
        }
        self.show_in_flight();
    }

    fn show_in_flight(&self) {
        let count = u64::try_from(self.pipeline.in_flight()).unwrap_or(u64::MAX);
        let gauge = &self.shared.counters.places_in_flight;
        gauge.store(count, std::sync::atomic::Ordering::Relaxed);
    }

    /// Completes when a group has lingered long enough.
    fn wake(&self) -> BoxFuture<'static, ()> {
        match self.pipeline.wake_at() {
            Some(at) => self.env.clock.sleep(at.since(self.env.clock.now())),
            None => Box::pin(std::future::pending()),
        }
    }

    fn take_answer(&mut self, answer: Answer) -> Option<End> {
        let effects = match answer {
            Answer::Settled { at, settled } => match settled {
                Ok(Settled::Ours) => self.pipeline.settled(at, Holder::Ours),
                Ok(Settled::Other(_)) if planted(Planted::JournalSealIsSuccess) => {
                    self.pipeline.settled(at, Holder::Ours)
                }
                Ok(Settled::Other(header)) => {
                    self.pipeline.settled(at, Holder::Stranger(header.kind))
                }
                Err(error) => return Some(End::Failure(JournalFailure::Settle(error))),
            },
            Answer::Looked { at, found } => match found {
                Ok(found) => self.pipeline.looked(at, found),
                Err(failure) => {
                    let failure = JournalFailure::Look(ReplayError::from(failure));
                    return Some(End::Failure(failure));
                }
            },
        };
        self.show_in_flight();
        self.act(effects)
    }

    fn take_snapshot(&mut self) {
        if let Some(snapshot) = self.shared.take_snapshot() {
            self.pipeline.schedule().writing();
            self.background.write(snapshot);
        }
    }

    fn take_finished(&mut self, finished: Result<Finished, TaskFailure>) -> Option<End> {
        match finished {
            Err(failure) => return Some(End::Failure(JournalFailure::Task(failure))),
            Ok(Finished::Snapshot { roll, result }) => match result {
                Ok(snapshot_bytes) => {
                    tracing::info!(%roll, snapshot_bytes, "wrote a snapshot of the journal");
                    add(&self.shared.counters.snapshots, 1);
                    self.pipeline.schedule().written(snapshot_bytes);
                    self.background.collect_below(roll);
                }
                Err(error) => {
                    tracing::error!(%roll, error = ?error, "snapshot of the journal failed");
                    add(&self.shared.counters.snapshot_failures, 1);
                    self.pipeline.schedule().failed();
                }
            },
            Ok(Finished::Collection { result }) => {
                match &result {
                    Ok(_) => add(&self.shared.counters.collections, 1),
                    Err(error) => {
                        add(&self.shared.counters.collection_failures, 1);
                        tracing::warn!(error = ?error, "collection of the journal stopped early");
                    }
                }
                self.background.collected(result.ok());
            }
        }
        None
    }

    /// Tells the owner, in order.
    fn act(&mut self, effects: impl IntoIterator<Item = Effect>) -> Option<End> {
        for effect in effects {
            let (event, room) = match effect {
                Effect::Durable(pending) => {
                    add(&self.shared.counters.commands, 1);
                    let (ticket, command) = (pending.ticket, pending.command);
                    (JournalEvent::Durable { ticket, command }, pending.room)
                }
                Effect::RollBegun { roll, snapshot_due } => {
                    add(&self.shared.counters.rolls, 1);
                    if snapshot_due {
                        self.shared.want_snapshot(roll);
                    }
                    (JournalEvent::RollBegun { roll, snapshot_due }, None)
                }
                Effect::Checked { answered } => {
                    self.answered.send_modify(|told| told.count = answered);
                    continue;
                }
                Effect::Ended(ending) => return Some(End::Ending(ending)),
            };
            if !self.tell(event, room) {
                return Some(End::Unheard);
            }
        }
        None
    }

    /// `false` when the owner has dropped its events.
    fn tell(&self, event: JournalEvent, room: Option<OwnedSemaphorePermit>) -> bool {
        match self.events.try_send(QueuedEvent { event, room }) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                unreachable!("events are bounded by the room of the commands that cause them")
            }
        }
    }

    /// Nothing new is taken; what was taken has a while to become durable.
    async fn drain(&mut self) -> End {
        self.shared.close();
        self.inbox.close();
        self.pipeline.drain();
        let clock = self.env.clock.clone();
        let mut deadline = clock.sleep(self.config.drain_timeout);
        loop {
            self.send();
            if self.pipeline.is_idle() {
                return End::Drained;
            }
            let end = tokio::select! {
                biased;
                Some(answer) = self.requests.next() => self.take_answer(answer),
                () = &mut deadline => {
                    tracing::warn!("commands of the journal are unknown at the stop");
                    return End::Drained;
                }
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// J3: from here on nothing is answered. Checks fail before the owner hears why.
    async fn finish(self, end: End) {
        self.shared.close();
        let ended = match &end {
            End::Ending(Ending::Deposed { .. }) => EpochCheckError::Deposed,
            End::Ending(Ending::Foreign { .. }) | End::Failure(_) | End::Drained | End::Unheard => {
                EpochCheckError::Closed
            }
        };
        self.answered.send_modify(|told| told.ended = Some(ended));
        let event = match end {
            End::Ending(Ending::Deposed { at }) => {
                let by = deposed_by(&self.reader, &self.env, at).await;
                tracing::info!(%at, by = ?by, "journal was taken over");
                JournalEvent::Deposed { by }
            }
            End::Ending(Ending::Foreign { at }) => {
                let key = at.key(self.reader.cluster);
                let reason = JournalFailure::ForeignObject { key };
                JournalEvent::Failed { reason }
            }
            End::Failure(reason) => JournalEvent::Failed { reason },
            End::Drained | End::Unheard => return,
        };
        // An owner that has dropped its events wants to hear nothing.
        let _ = self.tell(event, None);
    }
}

/// Whom the seal at a place of ours names; not worth a long wait.
async fn deposed_by(reader: &JournalReader, env: &Env, at: PlaceId) -> Option<LeaderInfo> {
    let read = async {
        if at.place == Place::OPENING {
            let opening = reader.opening(at.roll).await.ok()??;
            return Some(opening.leader().clone());
        }
        match reader.behind(at).await.ok()? {
            Behind::Seal(end) => Some(end.next_leader),
            Behind::Missing | Behind::Entry { .. } => None,
        }
    };
    let named = timeout(env.clock.as_ref(), DEPOSED_BY_TIMEOUT, read).await;
    named.ok().flatten()
}

/// Creates an object of ours. A full store ends nothing, as nobody else could write there either:
/// commands wait until there is room. Rights may return as well, and are waited for less long.
async fn create_when_there_is_room(
    reader: &JournalReader,
    env: &Env,
    at: PlaceId,
    object: Bytes,
) -> Result<Settled, SettleError> {
    let key = at.key(reader.cluster);
    let mut backoff = SETTLE_RETRY.begin();
    loop {
        let patience = Patience::new(DENIED_MAX);
        let bucket = reader.bucket.as_ref();
        let settled = create_settled(bucket, env, &key, object.clone(), patience).await;
        match &settled {
            Err(SettleError::Store { source, .. }) if source.kind == StoreErrorKind::Full => {
                if backoff.tries() == 1 {
                    tracing::error!(%at, error = ?source, "store is full: the journal waits");
                }
            }
            _ => return settled,
        }
        let delay = backoff.next_delay(&env.rng);
        env.clock
            .sleep(delay.unwrap_or(SETTLE_RETRY.delay_max))
            .await;
    }
}

/// Reads a place never sent to until it is known whether somebody is there.
async fn look(
    reader: &JournalReader,
    env: &Env,
    at: PlaceId,
) -> Result<Option<ObjectKind>, ReadFailure> {
    let mut backoff = SETTLE_RETRY.begin();
    let mut patience = Patience::new(DENIED_MAX);
    loop {
        match reader.behind(at).await {
            Ok(Behind::Missing) => return Ok(None),
            Ok(Behind::Entry { .. }) => return Ok(Some(ObjectKind::JournalEntry)),
            Ok(Behind::Seal(_)) => return Ok(Some(ObjectKind::JournalSeal)),
            Err(ReadFailure::Store(error)) if patience.bears(error.kind, env.clock.now()) => {
                tracing::debug!(%at, error = ?error, "look of an epoch check failed");
            }
            Err(failure) => return Err(failure),
        }
        let delay = backoff.next_delay(&env.rng);
        env.clock
            .sleep(delay.unwrap_or(SETTLE_RETRY.delay_max))
            .await;
    }
}
