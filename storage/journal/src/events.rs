//! What the owner of the journal hears, strictly in order.

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::error::JournalFailure;
use crate::identity::LeaderInfo;
use crate::place::RollNumber;
use crate::writer::AppendTicket;

/// One event.
#[derive(Debug)]
pub enum JournalEvent {
    /// The command is durable, and so is every one before it: apply it, then answer. Comes once for
    /// each ticket, in the order of the tickets.
    Durable {
        /// Which append.
        ticket: AppendTicket,
        /// The command.
        command: Bytes,
    },
    /// A roll of ours has begun, after the last command of the one before and before the first of
    /// its own. Also the first event of a leadership.
    RollBegun {
        /// The roll.
        roll: RollNumber,
        /// Take [`JournalState::snapshot`](crate::JournalState::snapshot) *now*, before the next
        /// event, and hand it to [`JournalWriter::snapshot`](crate::JournalWriter::snapshot).
        snapshot_due: bool,
    },
    /// Another process has taken over: answer nothing more. What is not durable is *unknown*.
    Deposed {
        /// Who, if that could be read.
        by: Option<LeaderInfo>,
    },
    /// The journal cannot go on: answer nothing more. What is not durable is *unknown*.
    Failed {
        /// Why.
        reason: JournalFailure,
    },
}

/// An event on its way, with the room that its command takes in the queue.
#[derive(Debug)]
pub(crate) struct QueuedEvent {
    pub(crate) event: JournalEvent,
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// The events of one leadership. One reader.
#[derive(Debug)]
pub struct JournalEvents {
    pub(crate) inbox: mpsc::Receiver<QueuedEvent>,
}

impl JournalEvents {
    /// The next event; `None` behind [`JournalEvent::Deposed`], [`JournalEvent::Failed`] or a stop.
    /// Taking it makes room for another command. Cancel safe.
    pub async fn next(&mut self) -> Option<JournalEvent> {
        let queued = self.inbox.recv().await?;
        drop(queued.room);
        Some(queued.event)
    }
}
