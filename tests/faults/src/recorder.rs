//! Writes the history of a run while it happens, one line an event, in the order of one clock.
//!
//! Shared by all clients. Also counts, and times the recoveries: from a mark to the first
//! acknowledgement of a send that began behind it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use esker_e2e::load::{SentBatch, Told, Witness};
use esker_env::Clock;
use esker_history::format::{
    Assign, Done, Event, Header, Invoke, Line, Note, Operation, Producer, Send,
};
use esker_types::MonotonicTime;

/// Recoveries that are timed in one run; a row that marks more is wrong.
const RECOVERIES_MAX: usize = 1000;

/// The one writer of a run's history; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    clock: Arc<dyn Clock>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    out: BufWriter<File>,
    path: PathBuf,
    start: MonotonicTime,
    failure: Option<std::io::Error>,
    next_op: u64,
    next_process: u32,
    /// When each open send began.
    open_sends: BTreeMap<u64, MonotonicTime>,
    counts: Counts,
    marked: Option<MonotonicTime>,
    recoveries: Vec<Duration>,
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Operations that ended.
    pub(crate) operations: u64,
    /// Sends that ended without a word on what came of them.
    pub(crate) sends_in_doubt: u64,
    /// Sends that were acknowledged.
    pub(crate) sends_acknowledged: u64,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Well.
    Ok,
    /// Surely without effect.
    Fail,
    /// Nobody knows.
    Info,
}

/// The name of a partition in a history.
pub(crate) fn key(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// The identity of a producer's record in a history.
pub(crate) fn value(producer: u32, number: u64) -> u64 {
    (u64::from(producer) << 40) | number
}

impl Recorder {
    /// Begins a history at `path`.
    pub(crate) fn create(path: &Path, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let mut out = BufWriter::new(file);
        serde_json::to_writer(&mut out, &Header::default())?;
        out.write_all(b"\n")?;
        let start = clock.now();
        let shared = Shared {
            out,
            path: path.to_owned(),
            start,
            failure: None,
            next_op: 1,
            next_process: 1,
            open_sends: BTreeMap::new(),
            counts: Counts::default(),
            marked: None,
            recoveries: Vec::new(),
        };
        Ok(Self {
            clock,
            shared: Arc::new(Mutex::new(shared)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new logical process.
    pub(crate) fn process(&self) -> u32 {
        let mut shared = self.lock();
        shared.next_process += 1;
        shared.next_process
    }

    /// An operation begins; its number.
    pub(crate) fn begin(&self, p: u32, pod: Option<&str>, what: Operation) -> u64 {
        let mut shared = self.lock();
        let now = self.clock.now();
        let op = shared.next_op;
        shared.next_op += 1;
        if matches!(what, Operation::Send(_)) {
            shared.open_sends.insert(op, now);
        }
        let pod = pod.map(str::to_owned);
        let event = Event::Invoke(Invoke { op, p, pod, what });
        shared.write(now, event);
        op
    }

    /// An operation ends; `done` needs no number.
    pub(crate) fn end(&self, op: u64, end: End, done: Done) {
        let mut shared = self.lock();
        let now = self.clock.now();
        shared.counts.operations += 1;
        if let Some(begun) = shared.open_sends.remove(&op) {
            shared.send_ended(begun, now, end);
        }
        let done = Done { op, ..done };
        let event = match end {
            End::Ok => Event::Ok(done),
            End::Fail => Event::Fail(done),
            End::Info => Event::Info(done),
        };
        shared.write(now, event);
    }

    /// A reader's positions were set.
    pub(crate) fn assign(&self, p: u32, at: BTreeMap<String, u64>) {
        let mut shared = self.lock();
        let now = self.clock.now();
        shared.write(now, Event::Assign(Assign { p, at }));
    }

    /// Something else is known.
    pub(crate) fn note(&self, note: Note) {
        let mut shared = self.lock();
        let now = self.clock.now();
        shared.write(now, Event::Note(note));
    }

    /// From now until the next acknowledgement of what is sent from now on: one recovery. A mark
    /// that is still open stays.
    pub(crate) fn mark(&self) {
        let mut shared = self.lock();
        let now = self.clock.now();
        shared.marked.get_or_insert(now);
    }

    /// The recoveries so far, and whether one is still waited for.
    pub(crate) fn recoveries(&self) -> (Vec<Duration>, bool) {
        let shared = self.lock();
        (shared.recoveries.clone(), shared.marked.is_some())
    }

    /// What was done so far.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Everything stands in the file; where it is.
    pub(crate) fn flush(&self) -> anyhow::Result<PathBuf> {
        let mut shared = self.lock();
        if let Some(failure) = shared.failure.take() {
            return Err(failure).context("write the history");
        }
        shared.out.flush().context("write the history")?;
        Ok(shared.path.clone())
    }
}

impl Shared {
    fn write(&mut self, now: MonotonicTime, event: Event) {
        let since = now.since(self.start).as_nanos();
        let line = Line {
            t: u64::try_from(since).unwrap_or(u64::MAX),
            event,
        };
        let written = serde_json::to_writer(&mut self.out, &line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"));
        if let Err(failure) = written {
            self.failure.get_or_insert(failure);
        }
    }

    fn send_ended(&mut self, begun: MonotonicTime, now: MonotonicTime, end: End) {
        match end {
            End::Ok => self.counts.sends_acknowledged += 1,
            End::Info => self.counts.sends_in_doubt += 1,
            End::Fail => {}
        }
        let Some(marked) = self.marked.filter(|marked| *marked <= begun) else {
            return;
        };
        if end == End::Ok && self.recoveries.len() < RECOVERIES_MAX {
            self.recoveries.push(now.since(marked));
            self.marked = None;
        }
    }
}

impl Witness for Recorder {
    fn connected(&self) -> u32 {
        self.process()
    }

    fn sends(&self, connection: u32, sent: &SentBatch<'_>) -> u64 {
        let batch = &sent.batch;
        let numbers = batch.first..batch.first + batch.count;
        let producer = sent.owner.and_then(|owner| {
            Some(Producer {
                id: u64::try_from(owner.id.to_wire()).ok()?,
                epoch: u32::try_from(owner.epoch.to_wire()).ok()?,
                seq: u32::try_from(owner.base_sequence).ok()?,
            })
        });
        let send = Send {
            key: key(sent.topic, batch.partition),
            vals: numbers.map(|number| value(sent.producer, number)).collect(),
            producer,
            txn: None,
        };
        self.begin(connection, None, Operation::Send(send))
    }

    fn told(&self, request: u64, told: Told) {
        let (end, offset) = match told {
            Told::Acknowledged { base_offset, .. } => (End::Ok, u64::try_from(base_offset).ok()),
            Told::Refused { .. } => (End::Fail, None),
            Told::Unknown => (End::Info, None),
        };
        let error = match told {
            Told::Refused { code } => Some(format!("code {code}")),
            Told::Acknowledged { .. } | Told::Unknown => None,
        };
        let done = Done {
            offset,
            error,
            ..nothing()
        };
        self.end(request, end, done);
    }
}

/// A completion that says nothing more.
pub(crate) fn nothing() -> Done {
    Done {
        op: 0,
        offset: None,
        read: BTreeMap::new(),
        epoch: None,
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use esker_env::Env;

    use super::*;

    fn recorder(directory: &Path) -> Recorder {
        let clock = Env::system().clock;
        Recorder::create(&directory.join("history.jsonl"), clock).unwrap()
    }

    fn send(recorder: &Recorder, number: u64) -> u64 {
        let send = Send {
            key: key("t", 0),
            vals: vec![value(1, number)],
            producer: None,
            txn: None,
        };
        recorder.begin(1, None, Operation::Send(send))
    }

    fn acknowledge(recorder: &Recorder, op: u64, offset: u64) {
        let offset = Some(offset);
        let done = Done {
            offset,
            ..nothing()
        };
        recorder.end(op, End::Ok, done);
    }

    #[test]
    fn what_is_recorded_is_a_history_and_its_anomalies_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let recorder = recorder(directory.path());
        for number in 0..3 {
            let op = send(&recorder, number);
            acknowledge(&recorder, op, number);
        }

        let clean = esker_history::check_file(&recorder.flush().unwrap()).unwrap();
        let op = send(&recorder, 3);
        acknowledge(&recorder, op, 1);
        let broken = esker_history::check_file(&recorder.flush().unwrap()).unwrap();

        assert!(clean.clean && clean.figures.acknowledged == 3, "{clean}");
        assert!(!broken.clean, "{broken}");
        assert_eq!(recorder.counts().operations, 4);
    }

    #[test]
    fn a_recovery_ends_with_what_was_sent_behind_its_mark() {
        let directory = tempfile::tempdir().unwrap();
        let recorder = recorder(directory.path());
        let before = send(&recorder, 0);

        recorder.mark();
        acknowledge(&recorder, before, 0);
        let open = recorder.recoveries();
        let behind = send(&recorder, 1);
        acknowledge(&recorder, behind, 1);
        let closed = recorder.recoveries();

        assert_eq!((open.0.len(), open.1), (0, true));
        assert_eq!((closed.0.len(), closed.1), (1, false));
    }

    #[test]
    fn one_recovery_past_the_limit_is_never_over() {
        let directory = tempfile::tempdir().unwrap();
        let recorder = recorder(directory.path());
        let limit = RECOVERIES_MAX;

        for number in 0..=u64::try_from(limit).unwrap() {
            recorder.mark();
            let op = send(&recorder, number);
            acknowledge(&recorder, op, number);
        }

        let (recoveries, is_open) = recorder.recoveries();
        assert_eq!((recoveries.len(), is_open), (limit, true));
    }
}
