//! The history of a run: every operation of every client goes through the checker as it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use esker_history::format::{Assign, Done, Event, Header, Invoke, Line, Note, Operation, Read};
use esker_history::{Checker, HistoryError, Report};

/// Feeds the checker.
#[derive(Debug)]
pub(crate) struct Recorder {
    checker: Option<Checker>,
    error: Option<HistoryError>,
    next_op: u64,
    next_process: u32,
    next_value: u64,
    /// Batches acknowledged so far.
    pub(crate) acked: u64,
    /// All lines, when they are wanted.
    lines: Option<Vec<Line>>,
}

/// How an operation ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    Ok,
    Offset(Option<u64>),
    Read(String, Read),
    Fail(&'static str),
    Info(&'static str),
}

impl Recorder {
    pub(crate) fn new(keeps_lines: bool) -> Self {
        Self {
            checker: Checker::new(Header::default()).ok(),
            error: None,
            next_op: 0,
            next_process: 0,
            next_value: 0,
            acked: 0,
            lines: keeps_lines.then(Vec::new),
        }
    }

    fn line(&mut self, at: Duration, event: Event) {
        let t = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let line = Line { t, event };
        if let Some(lines) = &mut self.lines {
            lines.push(line.clone());
        }
        if self.error.is_none()
            && let Some(checker) = &mut self.checker
        {
            self.error = checker.line(line).err();
        }
    }

    /// A new logical process.
    pub(crate) fn process(&mut self) -> u32 {
        self.next_process += 1;
        self.next_process
    }

    /// Identities for so many records, never used before.
    pub(crate) fn values(&mut self, count: u64) -> Vec<u64> {
        let first = self.next_value;
        self.next_value += count;
        (first..self.next_value).collect()
    }

    pub(crate) fn invoke(&mut self, at: Duration, p: u32, pod: usize, what: Operation) -> u64 {
        let op = self.next_op;
        self.next_op += 1;
        let pod = Some(pod.to_string());
        self.line(at, Event::Invoke(Invoke { op, p, pod, what }));
        op
    }

    pub(crate) fn end(&mut self, at: Duration, op: u64, ended: Ended) {
        let done = |offset, read, error: Option<&str>| Done {
            op,
            offset,
            read,
            epoch: None,
            error: error.map(str::to_owned),
        };
        let event = match ended {
            Ended::Ok => Event::Ok(done(None, BTreeMap::new(), None)),
            Ended::Offset(offset) => Event::Ok(done(offset, BTreeMap::new(), None)),
            Ended::Read(key, read) => Event::Ok(done(None, BTreeMap::from([(key, read)]), None)),
            Ended::Fail(error) => Event::Fail(done(None, BTreeMap::new(), Some(error))),
            Ended::Info(error) => Event::Info(done(None, BTreeMap::new(), Some(error))),
        };
        self.line(at, event);
    }

    pub(crate) fn assign(&mut self, at: Duration, p: u32, positions: BTreeMap<String, u64>) {
        self.line(at, Event::Assign(Assign { p, at: positions }));
    }

    pub(crate) fn note(&mut self, at: Duration, note: Note) {
        self.line(at, Event::Note(note));
    }

    /// The verdict, and the lines if they were kept.
    pub(crate) fn finish(&mut self) -> (Result<Report, HistoryError>, Option<Vec<Line>>) {
        let report = match (self.error.take(), self.checker.take()) {
            (Some(error), _) => Err(error),
            (None, Some(checker)) => Ok(checker.finish()),
            (None, None) => Err(HistoryError::NoHeader),
        };
        (report, self.lines.take())
    }
}
