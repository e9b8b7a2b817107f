//! What the leader does behind its appends: one snapshot at a time, and one collection behind each.
//!
//! Called by `task.rs`. Neither is waited for by an append, and losing either loses nothing.

use esker_types::{Planted, planted};
use std::time::Duration;

use esker_env::{Env, TaskFailure, TaskGroup};
use tokio::sync::mpsc;

use crate::collect::{CollectError, collect};
use crate::place::RollNumber;
use crate::reader::JournalReader;
use crate::snapshot::{SnapshotFailure, write_snapshot};
use crate::writer::HandedSnapshot;

/// One snapshot and one collection run at once.
const FINISHED_QUEUED_MAX: usize = 2;

/// Something has ended.
#[derive(Debug)]
pub(crate) enum Finished {
    Snapshot {
        roll: RollNumber,
        result: Result<u64, SnapshotFailure>,
    },
    Collection {
        result: Result<RollNumber, CollectError>,
    },
}

#[derive(Debug)]
pub(crate) struct Background {
    reader: JournalReader,
    env: Env,
    grace: Duration,
    tasks: TaskGroup,
    outbox: mpsc::Sender<Finished>,
    inbox: mpsc::Receiver<Finished>,
    is_collecting: bool,
    /// The first roll that is not known to be collected.
    collected: RollNumber,
    /// The newest snapshot of ours, when it has not been collected below yet.
    collect_below: Option<RollNumber>,
}

impl Background {
    pub(crate) fn new(reader: JournalReader, env: Env, grace: Duration) -> Self {
        let (outbox, inbox) = mpsc::channel(FINISHED_QUEUED_MAX);
        Self {
            reader,
            env,
            grace,
            tasks: TaskGroup::new("journal"),
            outbox,
            inbox,
            is_collecting: false,
            collected: RollNumber::FIRST,
            collect_below: None,
        }
    }

    /// Writes a snapshot. The caller has none under way.
    pub(crate) fn write(&mut self, snapshot: HandedSnapshot) {
        let (reader, env) = (self.reader.clone(), self.env.clone());
        let outbox = self.outbox.clone();
        self.tasks.spawn(async move {
            let roll = snapshot.roll;
            if planted(Planted::JournalCollectedEarly) {
                let _collected = collect(&reader, roll, RollNumber::FIRST).await;
            }
            let result = write_snapshot(&reader, &env, snapshot).await;
            // Nobody listens when the leadership is over.
            let _ = outbox.send(Finished::Snapshot { roll, result }).await;
        });
    }

    /// The snapshot of `done` is whole: what it makes superfluous goes, after the grace.
    pub(crate) fn collect_below(&mut self, done: RollNumber) {
        self.collect_below = Some(done);
        self.start_collection();
    }

    fn start_collection(&mut self) {
        if self.is_collecting {
            return;
        }
        let Some(done) = self.collect_below.take() else {
            return;
        };
        self.is_collecting = true;
        let (reader, clock) = (self.reader.clone(), self.env.clock.clone());
        let (grace, collected) = (self.grace, self.collected);
        let outbox = self.outbox.clone();
        self.tasks.spawn(async move {
            clock.sleep(grace).await;
            let result = collect(&reader, done, collected).await;
            let _ = outbox.send(Finished::Collection { result }).await;
        });
    }

    /// A collection has ended.
    pub(crate) fn collected(&mut self, upto: Option<RollNumber>) {
        self.is_collecting = false;
        self.collected = self.collected.max(upto.unwrap_or_default());
        self.start_collection();
    }

    /// What ends next; pends for ever while nothing runs. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Finished, TaskFailure> {
        loop {
            tokio::select! {
                biased;
                Some(finished) = self.inbox.recv() => return Ok(finished),
                Some(ended) = self.tasks.join_next() => ended?,
                else => std::future::pending().await,
            }
        }
    }
}
