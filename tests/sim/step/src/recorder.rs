//! What clients did and heard, as a history of `esker-history`, checked while it is written.

use std::collections::BTreeMap;

use esker_history::format::{Assign, Done, Event, Header, Invoke, Line, Note, Operation};
use esker_history::{Checker, Report};

use crate::node::Nanos;

/// The history of a run.
#[derive(Debug)]
pub(crate) struct Recorder {
    checker: Option<Checker>,
    operations: u64,
    /// A line that is no part of a history: a bug of the simulator.
    pub(crate) broken: Option<String>,
    /// Kept when it is to be written to a file.
    pub(crate) lines: Option<Vec<Line>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        // A plain fetch may lag (R3), so watermarks rise at each pod, not over all of them.
        let header = Header {
            gaps_are_noted: true,
            watermarks_over_pods: false,
            ..Header::default()
        };
        Self {
            checker: Checker::new(header).ok(),
            operations: 0,
            broken: None,
            lines: None,
        }
    }

    fn line(&mut self, t: Nanos, event: Event) {
        let line = Line { t, event };
        if let Some(lines) = &mut self.lines {
            lines.push(line.clone());
        }
        let outcome = self.checker.as_mut().map(|checker| checker.line(line));
        if let Some(Err(error)) = outcome {
            self.broken.get_or_insert(error.to_string());
        }
    }

    /// An operation begins; its number.
    pub(crate) fn invoke(&mut self, t: Nanos, p: u32, pod: Option<String>, what: Operation) -> u64 {
        self.operations += 1;
        let op = self.operations;
        let invoke = Invoke { op, p, pod, what };
        self.line(t, Event::Invoke(invoke));
        op
    }

    pub(crate) fn ok(&mut self, t: Nanos, done: Done) {
        self.line(t, Event::Ok(done));
    }

    pub(crate) fn fail(&mut self, t: Nanos, op: u64) {
        self.line(t, Event::Fail(done(op)));
    }

    pub(crate) fn info(&mut self, t: Nanos, op: u64) {
        self.line(t, Event::Info(done(op)));
    }

    pub(crate) fn assign(&mut self, t: Nanos, p: u32, at: BTreeMap<String, u64>) {
        self.line(t, Event::Assign(Assign { p, at }));
    }

    pub(crate) fn note(&mut self, t: Nanos, note: Note) {
        self.line(t, Event::Note(note));
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    /// Ends the history.
    pub(crate) fn finish(&mut self) -> Option<Report> {
        self.checker.take().map(Checker::finish)
    }
}

/// A completion that tells nothing.
pub(crate) fn done(op: u64) -> Done {
    Done {
        op,
        offset: None,
        read: BTreeMap::new(),
        epoch: None,
        error: None,
    }
}

/// A partition's name in the history.
pub(crate) fn key(partition: u32) -> String {
    format!("p{partition}")
}
