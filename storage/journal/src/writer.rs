//! The handle of the leader: append commands, ask whether one still leads, hand in a snapshot.
//!
//! Talks to `task.rs` through bounded means only: commands hold room in bytes until their events
//! are taken, questions are a counter, a snapshot has one slot.

#[cfg(test)]
mod tests;

use esker_types::{Planted, planted};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use esker_env::Clock;
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::error::{AppendError, EpochCheckError, SnapshotRefused, TryAppendError};
use crate::limits::{
    APPEND_QUEUE_BYTES_MAX, COMMAND_BYTES_MAX, COMMAND_OVERHEAD_BYTES, SNAPSHOT_PART_BYTES_MAX,
    SNAPSHOT_PARTS_MAX,
};
use crate::metrics::{Counters, JournalStats, add};
use crate::place::RollNumber;
use crate::queue::PendingCommand;

/// Commands that can be on their way at once, by the room that the smallest takes.
pub(crate) const COMMANDS_QUEUED_MAX: usize = APPEND_QUEUE_BYTES_MAX / COMMAND_OVERHEAD_BYTES;

/// Which append: counted from 0 in each leadership, in the order in which commands were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendTicket(pub(crate) u64);

impl AppendTicket {
    /// The bare number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

/// What the task has told those that ask for an epoch check.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answered {
    /// The first so many questions are answered.
    pub(crate) count: u64,
    /// No further one will be.
    pub(crate) ended: Option<EpochCheckError>,
}

/// Where a snapshot waits for the task.
#[derive(Debug, Default)]
enum SnapshotSlot {
    #[default]
    Unwanted,
    Wanted(RollNumber),
    Handed(HandedSnapshot),
    Closed,
}

/// The parts of a snapshot and the roll whose start they show.
#[derive(Debug)]
pub(crate) struct HandedSnapshot {
    pub(crate) roll: RollNumber,
    pub(crate) parts: Vec<Bytes>,
}

/// Gives tickets in the order in which commands enter the queue.
#[derive(Debug)]
struct Order {
    next_ticket: u64,
    outbox: mpsc::Sender<PendingCommand>,
}

/// What writer and task share.
#[derive(Debug)]
pub(crate) struct Shared {
    clock: Arc<dyn Clock>,
    room: Arc<Semaphore>,
    order: Mutex<Order>,
    asked: AtomicU64,
    snapshot: Mutex<SnapshotSlot>,
    /// A question or a snapshot has come.
    woken: Notify,
    pub(crate) counters: Counters,
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock>, outbox: mpsc::Sender<PendingCommand>) -> Self {
        Self {
            clock,
            room: Arc::new(Semaphore::new(APPEND_QUEUE_BYTES_MAX)),
            order: Mutex::new(Order {
                next_ticket: 0,
                outbox,
            }),
            asked: AtomicU64::new(0),
            snapshot: Mutex::default(),
            woken: Notify::new(),
            counters: Counters::default(),
        }
    }

    /// Questions that have come so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Completes when a question or a snapshot has come since. Cancel safe.
    pub(crate) async fn woken(&self) {
        self.woken.notified().await;
    }

    fn slot(&self) -> MutexGuard<'_, SnapshotSlot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a snapshot of the start of `roll`, and for no other any more.
    pub(crate) fn want_snapshot(&self, roll: RollNumber) {
        *self.slot() = SnapshotSlot::Wanted(roll);
    }

    /// The snapshot that was handed in, once.
    pub(crate) fn take_snapshot(&self) -> Option<HandedSnapshot> {
        let mut slot = self.slot();
        match std::mem::take(&mut *slot) {
            SnapshotSlot::Handed(handed) => Some(handed),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Nothing more is taken; who waits for room hears of it.
    pub(crate) fn close(&self) {
        self.room.close();
        *self.slot() = SnapshotSlot::Closed;
    }

    fn hand_over(
        &self,
        command: Bytes,
        room: OwnedSemaphorePermit,
    ) -> Result<AppendTicket, AppendError> {
        let taken_at = self.clock.now();
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = AppendTicket(order.next_ticket);
        let pending = PendingCommand {
            ticket,
            command,
            taken_at,
            room: Some(room),
        };
        match order.outbox.try_send(pending) {
            Ok(()) => {
                order.next_ticket += 1;
                Ok(ticket)
            }
            // Never full: each command in it holds room, and there is no more room than places.
            Err(_) => Err(AppendError::Closed),
        }
    }
}

fn room_of(command: &Bytes) -> Result<u32, AppendError> {
    let command_bytes = command.len();
    let too_large = AppendError::TooLarge { command_bytes };
    if command_bytes > COMMAND_BYTES_MAX {
        return Err(too_large);
    }
    u32::try_from(command_bytes + COMMAND_OVERHEAD_BYTES).map_err(|_| too_large)
}

/// Appends to the journal of one leadership. Clones share it.
#[derive(Clone, Debug)]
pub struct JournalWriter {
    shared: Arc<Shared>,
    answered: watch::Receiver<Answered>,
}

impl JournalWriter {
    pub(crate) fn new(shared: Arc<Shared>, answered: watch::Receiver<Answered>) -> Self {
        Self { shared, answered }
    }

    /// Takes a command; it is durable when its [`Durable`](crate::JournalEvent::Durable) event
    /// comes. Waits while the queue is full, that is until events are taken: who reads the events
    /// must not wait here, but use [`Self::try_append`].
    ///
    /// # Errors
    /// [`AppendError`]: it was not taken and will not be written.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the command was not taken.
    pub async fn append(&self, command: Bytes) -> Result<AppendTicket, AppendError> {
        let room = room_of(&command)?;
        let room = self.shared.room.clone().acquire_many_owned(room).await;
        let room = room.map_err(|_| AppendError::Closed)?;
        self.shared.hand_over(command, room)
    }

    /// Takes a command if there is room, without waiting.
    ///
    /// # Errors
    /// [`TryAppendError`]: it was not taken and will not be written; when full it is handed back.
    pub fn try_append(&self, command: Bytes) -> Result<AppendTicket, TryAppendError> {
        let room = room_of(&command).map_err(TryAppendError::Refused)?;
        let semaphore = self.shared.room.clone();
        match semaphore.try_acquire_many_owned(room) {
            Ok(room) => {
                let taken = self.shared.hand_over(command, room);
                taken.map_err(TryAppendError::Refused)
            }
            Err(tokio::sync::TryAcquireError::NoPermits) => {
                add(&self.shared.counters.refusals, 1);
                Err(TryAppendError::Full { command })
            }
            Err(tokio::sync::TryAcquireError::Closed) => {
                Err(TryAppendError::Refused(AppendError::Closed))
            }
        }
    }

    /// The epoch check (J8, R2): `Ok` proves that nobody had taken over when this was called. One
    /// check serves all that wait when it starts. Waits as long as the store is silent.
    ///
    /// # Errors
    /// [`EpochCheckError`]: answer nothing that must be current.
    pub fn epoch_check(&self) -> BoxFuture<'static, Result<(), EpochCheckError>> {
        if planted(Planted::EpochCheckLeftOut) {
            return std::future::ready(Ok(())).boxed();
        }
        let question = self.shared.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.shared.woken.notify_one();
        let mut answered = self.answered.clone();
        async move {
            let settled = |now: &Answered| now.count >= question || now.ended.is_some();
            match answered.wait_for(settled).await {
                Ok(now) if now.count >= question => Ok(()),
                Ok(now) => Err(now.ended.unwrap_or(EpochCheckError::Closed)),
                Err(_) => Err(EpochCheckError::Closed),
            }
        }
        .boxed()
    }

    /// Hands in the snapshot that [`RollBegun`](crate::JournalEvent::RollBegun) asked for: the
    /// state at the start of `roll`. It is written in the background.
    ///
    /// # Errors
    /// [`SnapshotRefused`]: it was not taken.
    pub fn snapshot(&self, roll: RollNumber, parts: Vec<Bytes>) -> Result<(), SnapshotRefused> {
        let part_count = parts.len();
        if part_count > SNAPSHOT_PARTS_MAX {
            return Err(SnapshotRefused::TooManyParts { part_count });
        }
        let too_large = parts
            .iter()
            .map(Bytes::len)
            .find(|part_bytes| *part_bytes > SNAPSHOT_PART_BYTES_MAX);
        if let Some(part_bytes) = too_large {
            return Err(SnapshotRefused::PartTooLarge { part_bytes });
        }
        let mut slot = self.shared.slot();
        match &*slot {
            SnapshotSlot::Wanted(wanted) if *wanted == roll => {}
            SnapshotSlot::Closed => return Err(SnapshotRefused::Closed),
            SnapshotSlot::Unwanted | SnapshotSlot::Wanted(_) | SnapshotSlot::Handed(_) => {
                return Err(SnapshotRefused::NotWanted { roll });
            }
        }
        *slot = SnapshotSlot::Handed(HandedSnapshot { roll, parts });
        drop(slot);
        self.shared.woken.notify_one();
        Ok(())
    }
    /// Figures for `/metrics` and reports.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        let free = self.shared.room.available_permits();
        let queued = APPEND_QUEUE_BYTES_MAX.saturating_sub(free);
        let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        JournalStats {
            queue_bytes: bytes(queued),
            queue_bytes_max: bytes(APPEND_QUEUE_BYTES_MAX),
            ..self.shared.counters.snapshot()
        }
    }
}
