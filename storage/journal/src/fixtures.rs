//! What the unit tests of the journal stand on: a state that is a list, and a world with one
//! bucket.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use esker_env::{Env, Rng, Shutdown, ShutdownTrigger, SystemClock, TaskGroup, timeout};
use esker_object::{
    Bucket, FaultyBucket, ListedObject, MemoryBucket, ObjectKey, ObjectRead, PutOutcome, ReadRange,
    StoreError,
};
use esker_types::{ClusterId, SequencerEpoch, WriteId};
use futures::future::BoxFuture;

use crate::config::JournalConfig;
use crate::events::{JournalEvent, JournalEvents};
use crate::follower::{Follower, Journal, JournalParts};
use crate::identity::{JournalIdentity, LeaderInfo, OwnerId};
use crate::object::{Entry, Head, Seal};
use crate::place::{Place, PlaceId, RollNumber, SealRef};
use crate::reader::JournalReader;
use crate::state::{CommandError, JournalState};
use crate::take_over::{Leadership, TakeOver};
use crate::writer::JournalWriter;

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([2; 16]);

/// Commands in one part of a snapshot: few, so that snapshots have several parts.
const COMMANDS_PER_PART: usize = 2;

/// A state that remembers every command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) commands: Vec<Bytes>,
}

impl JournalState for Log {
    type Outcome = usize;

    fn empty() -> Self {
        Self::default()
    }

    fn apply(&mut self, command: &Bytes) -> Result<usize, CommandError> {
        if command.as_ref() == b"unreadable" {
            return Err(CommandError::UnknownVersion { version: 9 });
        }
        self.commands.push(command.clone());
        Ok(self.commands.len())
    }

    fn snapshot(&self) -> Vec<Bytes> {
        self.commands
            .chunks(COMMANDS_PER_PART)
            .map(|chunk| Bytes::from(chunk.join(&b'\n')))
            .collect()
    }

    fn restore(parts: &[Bytes]) -> Result<Self, CommandError> {
        let mut log = Self::default();
        for part in parts {
            let commands = part.split(|byte| *byte == b'\n');
            log.commands.extend(commands.map(Bytes::copy_from_slice));
        }
        Ok(log)
    }
}

pub(crate) fn log_of(commands: &[&str]) -> Log {
    Log {
        commands: commands
            .iter()
            .map(|command| Bytes::copy_from_slice(command.as_bytes()))
            .collect(),
    }
}

/// Keeps every body that is put, in front of all faults.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    inner: FaultyBucket,
    puts: Arc<Mutex<Vec<(ObjectKey, Bytes)>>>,
}

impl Recorder {
    pub(crate) fn puts(&self) -> Vec<(ObjectKey, Bytes)> {
        self.puts.lock().unwrap().clone()
    }
}

impl Bucket for Recorder {
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        self.puts.lock().unwrap().push((key.clone(), body.clone()));
        self.inner.put_if_absent(key, body)
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
        self.inner.get(key, range)
    }

    fn head<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        self.inner.head(key)
    }

    fn list_after<'a>(
        &'a self,
        prefix: &'a ObjectKey,
        after: Option<&'a ObjectKey>,
        count_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>> {
        self.inner.list_after(prefix, after, count_max)
    }

    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.delete(key)
    }
}

/// One bucket, and what is needed to look at it from outside.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) memory: MemoryBucket,
    pub(crate) faulty: FaultyBucket,
    pub(crate) recorder: Recorder,
    pub(crate) env: Env,
}

impl World {
    pub(crate) fn new() -> Self {
        let env = Env {
            clock: Arc::new(SystemClock::new()),
            rng: Rng::from_seed(1),
        };
        let memory = MemoryBucket::new();
        let faulty = FaultyBucket::new(Arc::new(memory.clone()), env.clone());
        let recorder = Recorder {
            inner: faulty.clone(),
            puts: Arc::default(),
        };
        Self {
            memory,
            faulty,
            recorder,
            env,
        }
    }

    pub(crate) fn reader(&self) -> JournalReader {
        JournalReader {
            bucket: Arc::new(self.recorder.clone()),
            cluster: CLUSTER,
        }
    }

    pub(crate) fn identity(&self, address: &str) -> JournalIdentity {
        JournalIdentity {
            owner: OwnerId::draw(&self.env.rng),
            address: address.to_owned(),
        }
    }

    pub(crate) async fn open(&self, address: &str) -> Follower<Log> {
        self.open_with(address, JournalConfig::default()).await
    }

    pub(crate) async fn open_with(&self, address: &str, config: JournalConfig) -> Follower<Log> {
        let parts = JournalParts {
            bucket: Arc::new(self.recorder.clone()),
            env: self.env.clone(),
            cluster: CLUSTER,
        };
        Journal::open(parts, self.identity(address), config)
            .await
            .unwrap()
    }

    /// Takes over and runs the journal.
    pub(crate) async fn lead(&self, address: &str, config: JournalConfig) -> Running {
        let follower = self.open_with(address, config).await;
        Running::start(won(follower.take_over().await.unwrap()), self.env.clone())
    }

    /// Writes an object past all scripts and counts.
    pub(crate) async fn plant(&self, key: &ObjectKey, object: Bytes) {
        let outcome = self.memory.put_if_absent(key, object).await;
        assert!(matches!(outcome, PutOutcome::Created), "{key} is taken");
    }

    pub(crate) async fn plant_head(&self, roll: u64, leader: &LeaderInfo, prev: Option<SealRef>) {
        let roll = RollNumber::new(roll);
        let leader = leader.clone();
        let head = Head { roll, leader, prev };
        let object = head.encode(CLUSTER, self.env.rng.write_id());
        self.plant(&roll.opening().key(CLUSTER), object).await;
    }

    pub(crate) async fn plant_entry(&self, at: PlaceId, epoch: u64, command: &str) {
        let entry = Entry {
            at,
            epoch: SequencerEpoch::new(epoch),
            commands: vec![Bytes::copy_from_slice(command.as_bytes())],
        };
        let object = entry.encode(CLUSTER, self.env.rng.write_id());
        self.plant(&at.key(CLUSTER), object).await;
    }

    /// Seals a place and returns which seal it is.
    pub(crate) async fn plant_seal(
        &self,
        at: PlaceId,
        next_leader: &LeaderInfo,
        prev: Option<SealRef>,
    ) -> SealRef {
        let write_id = self.env.rng.write_id();
        let seal = Seal {
            at,
            next_leader: next_leader.clone(),
            prev,
        };
        self.plant(&at.key(CLUSTER), seal.encode(CLUSTER, write_id))
            .await;
        SealRef {
            place: at.place,
            write_id,
        }
    }

    pub(crate) async fn delete(&self, at: PlaceId) {
        self.memory.delete(&at.key(CLUSTER)).await.unwrap();
    }

    pub(crate) async fn holds(&self, key: &ObjectKey) -> bool {
        let found = self.memory.get(key, ReadRange::Full).await.unwrap();
        found.is_some()
    }
}

pub(crate) fn at(roll: u64, place: u64) -> PlaceId {
    PlaceId {
        roll: RollNumber::new(roll),
        place: Place::new(place),
    }
}

pub(crate) fn leader(owner: u8, epoch: u64) -> LeaderInfo {
    LeaderInfo {
        owner: OwnerId::from_bytes([owner; 16]),
        address: format!("owner-{owner}"),
        epoch: SequencerEpoch::new(epoch),
    }
}

pub(crate) fn seal_ref(place: u64, write: u8) -> SealRef {
    SealRef {
        place: Place::new(place),
        write_id: WriteId::from_bytes([write; 16]),
    }
}

pub(crate) fn won<S>(outcome: TakeOver<S>) -> Leadership<S> {
    match outcome {
        TakeOver::Won(leadership) => leadership,
        TakeOver::Lost(_) => panic!("the take-over was lost"),
    }
}

pub(crate) fn lost<S>(outcome: TakeOver<S>) -> Follower<S> {
    match outcome {
        TakeOver::Lost(follower) => follower,
        TakeOver::Won(_) => panic!("the take-over was won"),
    }
}

/// A leadership whose task runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) state: Log,
    pub(crate) writer: JournalWriter,
    pub(crate) events: JournalEvents,
    pub(crate) stop: ShutdownTrigger,
    pub(crate) tasks: TaskGroup,
    env: Env,
}

impl Running {
    pub(crate) fn start(leadership: Leadership<Log>, env: Env) -> Self {
        let (stop, shutdown) = Shutdown::new();
        let mut tasks = TaskGroup::new("journal of a test");
        tasks.spawn(leadership.task.run(shutdown));
        Self {
            state: leadership.state,
            writer: leadership.writer,
            events: leadership.events,
            stop,
            tasks,
            env,
        }
    }

    /// The next event, applied to the state if it is a command; in short words.
    pub(crate) async fn next(&mut self) -> String {
        match self.events.next().await {
            None => "end".to_owned(),
            Some(JournalEvent::Durable { ticket, command }) => {
                self.state.apply(&command).unwrap();
                format!("{} {}", ticket.get(), String::from_utf8_lossy(&command))
            }
            Some(JournalEvent::RollBegun { roll, snapshot_due }) => {
                let due = if snapshot_due { " snapshot" } else { "" };
                format!("roll {roll}{due}")
            }
            Some(JournalEvent::Deposed { by }) => {
                let by = by.map_or("nobody knows".to_owned(), |leader| leader.address);
                format!("deposed by {by}")
            }
            Some(JournalEvent::Failed { reason }) => format!("failed: {reason}"),
        }
    }

    /// Nothing comes within an hour.
    pub(crate) async fn is_silent(&mut self) -> bool {
        let clock = self.env.clock.clone();
        let hour = Duration::from_secs(3600);
        timeout(clock.as_ref(), hour, self.events.next())
            .await
            .is_err()
    }

    pub(crate) async fn append(&self, command: &'static str) {
        let command = Bytes::from_static(command.as_bytes());
        self.writer.append(command).await.unwrap();
    }

    /// Appends and waits until it is durable.
    pub(crate) async fn write(&mut self, command: &'static str) {
        self.append(command).await;
        loop {
            let event = self.next().await;
            if event.ends_with(command) {
                return;
            }
            assert!(event.starts_with("roll"), "{command} ended with {event}");
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.request();
        self.tasks.join_all().await.unwrap();
    }
}
