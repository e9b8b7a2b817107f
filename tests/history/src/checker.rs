//! Takes one line after the other, and says at the end what is wrong.
//!
//! Every event is handled once; what it must be compared with is kept as running maxima, so nothing
//! is sorted but pages of offsets at the end. Stages: `sends`, `polls`, `watermarks`, `groups`,
//! `transactions` while lines come, `finish` and `partition_end` when all are known.

use std::collections::HashMap;

use crate::error::HistoryError;
use crate::findings::{Cite, Findings, Mark};
use crate::format::{
    Assign, Digest, Done, Event, FORMAT_VERSION, Header, Invoke, Isolation, Line, Note, Operation,
    Range, Whole,
};
use crate::groups::{Groups, OpenCommit, OpenQuestion};
use crate::limits::{NAME_BYTES_MAX, NAMES_MAX, OPEN_OPERATIONS_MAX};
use crate::polls::OpenPoll;
use crate::report::{Figures, Report};
use crate::sends::OpenSend;
use crate::tables::{
    Absent, NameIndex, Outcome, Partition, Position, Tables, TxnIndex, index, level, next_index,
};

/// An operation that has begun.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) p: u32,
    pub(crate) begun: u64,
    pub(crate) what: OpenOperation,
}

#[derive(Debug)]
pub(crate) enum OpenOperation {
    Send(OpenSend),
    Poll(OpenPoll),
    Latest(OpenLatest),
    Commit(OpenCommit),
    Committed(OpenQuestion),
    End(TxnIndex),
}

/// A question for LATEST, with what its answer must reach.
#[derive(Debug)]
pub(crate) struct OpenLatest {
    pub(crate) key: NameIndex,
    pub(crate) iso: Isolation,
    pub(crate) acked: Option<Mark>,
    pub(crate) told: Option<Mark>,
    pub(crate) epoch: Option<Mark>,
}

/// The checker: [`Self::line`] for every line behind the header, then [`Self::finish`].
#[derive(Debug)]
pub struct Checker {
    pub(crate) header: Header,
    pub(crate) line: u64,
    pub(crate) t: u64,
    last_op: Option<u64>,
    open: HashMap<u64, Open>,
    pub(crate) tables: Tables,
    pub(crate) groups: Groups,
    pub(crate) findings: Findings,
    pub(crate) figures: Figures,
    digests: HashMap<(NameIndex, u64, u64), (String, u64)>,
}

impl Checker {
    /// Begins with the header, line 1.
    ///
    /// # Errors
    /// [`HistoryError::Version`]: another format.
    pub fn new(header: Header) -> Result<Self, HistoryError> {
        if header.esker_history != FORMAT_VERSION {
            let found = header.esker_history;
            return Err(HistoryError::Version { found });
        }
        let mut checker = Self {
            header: header.clone(),
            line: 1,
            t: 0,
            last_op: None,
            open: HashMap::new(),
            tables: Tables::default(),
            groups: Groups::default(),
            findings: Findings::default(),
            figures: Figures::default(),
            digests: HashMap::new(),
        };
        for key in &header.append_time {
            let key = checker.key(key)?;
            checker.partition(key).append_time = true;
        }
        Ok(checker)
    }

    /// Takes the next line.
    ///
    /// # Errors
    /// [`HistoryError`]: the line is no part of this history; stop.
    pub fn line(&mut self, line: Line) -> Result<(), HistoryError> {
        self.line = self.line.saturating_add(1);
        if line.t < self.t {
            return Err(HistoryError::Time { line: self.line });
        }
        self.t = line.t;
        self.figures.events = self.figures.events.saturating_add(1);
        match line.event {
            Event::Invoke(invoke) => self.invoke(invoke),
            Event::Ok(done) => self.complete(done, Outcome::Ok),
            Event::Fail(done) => self.complete(done, Outcome::Fail),
            Event::Info(done) => self.complete(done, Outcome::Info),
            Event::Assign(assign) => self.assign(&assign),
            Event::Note(note) => self.note(note),
        }
    }

    /// Says what is wrong.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.figures.open = u64::try_from(self.open.len()).unwrap_or(u64::MAX);
        self.finish_sends();
        self.finish_partitions();
        self.finish_transactions();
        let (anomalies, counts) = self.findings.into_parts();
        Report::new(anomalies, counts, self.figures)
    }

    fn invoke(&mut self, invoke: Invoke) -> Result<(), HistoryError> {
        if self.last_op.is_some_and(|last| invoke.op <= last) {
            return self.contradiction("numbers of operations rise");
        }
        self.last_op = Some(invoke.op);
        if self.open.len() >= OPEN_OPERATIONS_MAX {
            return self.limit("open operations", OPEN_OPERATIONS_MAX);
        }
        let pod = match invoke.pod {
            Some(pod) => Some(self.name(&pod)?),
            None => None,
        };
        self.tables.process(invoke.p);
        let what = match invoke.what {
            Operation::Send(send) => OpenOperation::Send(self.begin_send(invoke.p, &send)?),
            Operation::Poll(poll) => OpenOperation::Poll(self.begin_poll(pod, &poll)?),
            Operation::Latest(latest) => {
                let key = self.key(&latest.key)?;
                OpenOperation::Latest(self.begin_latest(key, latest.iso))
            }
            Operation::Commit(commit) => OpenOperation::Commit(self.begin_commit(&commit)?),
            Operation::Committed(asked) => OpenOperation::Committed(self.begin_committed(&asked)?),
            Operation::End(end) => OpenOperation::End(self.begin_end(&end)?),
        };
        let (p, begun) = (invoke.p, self.line);
        self.open.insert(invoke.op, Open { p, begun, what });
        Ok(())
    }

    fn complete(&mut self, done: Done, outcome: Outcome) -> Result<(), HistoryError> {
        let Some(open) = self.open.remove(&done.op) else {
            return self.contradiction("an operation that is open completes");
        };
        let cite = Cite {
            begun: open.begun,
            done: self.line,
        };
        self.figures.completed(outcome);
        if outcome == Outcome::Info {
            let process = self.tables.process(open.p);
            process.incarnation = process.incarnation.saturating_add(1);
        }
        match open.what {
            OpenOperation::Send(send) => self.complete_send(&send, &done, outcome, cite),
            OpenOperation::Poll(poll) => self.complete_poll(open.p, &poll, &done, outcome, cite),
            OpenOperation::Latest(latest) => self.complete_latest(&latest, &done, outcome, cite),
            OpenOperation::Commit(commit) => {
                self.complete_commit(&commit, outcome, cite);
                Ok(())
            }
            OpenOperation::Committed(asked) => {
                self.complete_committed(&asked, &done, outcome, cite);
                Ok(())
            }
            OpenOperation::End(txn) => {
                self.complete_end(txn, outcome, cite);
                Ok(())
            }
        }
    }

    fn assign(&mut self, assign: &Assign) -> Result<(), HistoryError> {
        let mut positions = HashMap::new();
        for (key, next) in &assign.at {
            let key = self.key(key)?;
            let cite = Cite {
                begun: self.line,
                done: 0,
            };
            let position = Position {
                next: *next,
                time: 0,
                cite,
            };
            positions.insert(key, position);
        }
        self.tables.process(assign.p).positions = positions;
        Ok(())
    }

    fn note(&mut self, note: Note) -> Result<(), HistoryError> {
        match note {
            Note::Range(range) => self.note_range(&range),
            Note::Whole(whole) => self.note_whole(&whole),
            Note::Owns(owns) => self.note_owns(owns),
            Note::Digest(digest) => self.note_digest(digest),
        }
    }

    fn note_range(&mut self, range: &Range) -> Result<(), HistoryError> {
        if range.from >= range.to {
            return self.contradiction("a range has at least one offset");
        }
        let key = self.key(&range.key)?;
        let line = self.line;
        let offsets = range.to - range.from;
        self.figures.absent_offsets = self.figures.absent_offsets.saturating_add(offsets);
        self.partition(key).absent.push(Absent {
            from: range.from,
            to: range.to,
            why: range.why,
            line,
        });
        Ok(())
    }

    fn note_whole(&mut self, whole: &Whole) -> Result<(), HistoryError> {
        let key = self.key(&whole.key)?;
        let line = self.line;
        let partition = self.partition(key);
        if partition.whole.is_some() {
            return self.contradiction("a partition is read whole once");
        }
        partition.whole = Some((whole.iso, line));
        Ok(())
    }

    fn note_digest(&mut self, digest: Digest) -> Result<(), HistoryError> {
        let key = self.key(&digest.key)?;
        let range = (key, digest.from, digest.to);
        let line = self.line;
        match self.digests.get(&range) {
            None => {
                self.digests.insert(range, (digest.hash, line));
            }
            Some((hash, _)) if *hash == digest.hash => {}
            Some((hash, before)) => {
                let why = || format!("{} gives {}, before it was {hash}", digest.pod, digest.hash);
                let lines = [*before, line];
                let kind = crate::Kind::PodEquality;
                self.findings.found(kind, Some(&digest.key), &lines, why);
            }
        }
        Ok(())
    }

    pub(crate) fn begin_latest(&mut self, key: NameIndex, iso: Isolation) -> OpenLatest {
        let epoch = self.tables.sequencer_epoch;
        let partition = self.partition(key);
        // At read_committed an open transaction may hold the answer below what was acknowledged.
        let any = iso == Isolation::Ru;
        OpenLatest {
            key,
            iso,
            acked: partition.acked_end.filter(|_| any),
            told: Mark::higher(
                partition.latest.get(level(iso)).copied().flatten(),
                partition.shown_end.filter(|_| any),
            ),
            epoch,
        }
    }

    /// Number of a partition.
    pub(crate) fn key(&mut self, name: &str) -> Result<NameIndex, HistoryError> {
        if let Some(known) = self.tables.keys.get(name) {
            return Ok(*known);
        }
        self.check_name(name, self.tables.keys.len())?;
        let number = next_index(self.tables.partitions.len());
        self.tables.keys.insert(name.to_owned(), number);
        self.tables.partitions.push(Partition {
            name: name.to_owned(),
            ..Partition::default()
        });
        Ok(number)
    }

    /// Number of a pod or group.
    pub(crate) fn name(&mut self, name: &str) -> Result<NameIndex, HistoryError> {
        if let Some(known) = self.tables.names.get(name) {
            return Ok(*known);
        }
        self.check_name(name, self.tables.names.len())?;
        let number = next_index(self.tables.names.len());
        self.tables.names.insert(name.to_owned(), number);
        Ok(number)
    }

    fn check_name(&self, name: &str, known: usize) -> Result<(), HistoryError> {
        if name.len() > NAME_BYTES_MAX {
            return self.limit("bytes of a name", NAME_BYTES_MAX);
        }
        if known >= NAMES_MAX {
            return self.limit("names", NAMES_MAX);
        }
        Ok(())
    }

    /// A partition that was numbered.
    pub(crate) fn partition(&mut self, key: NameIndex) -> &mut Partition {
        let at = index(key);
        assert!(at < self.tables.partitions.len(), "numbered by key()");
        &mut self.tables.partitions[at]
    }

    pub(crate) fn contradiction<T>(&self, rule: &'static str) -> Result<T, HistoryError> {
        let line = self.line;
        Err(HistoryError::Contradiction { line, rule })
    }

    pub(crate) fn limit<T>(&self, what: &'static str, limit: usize) -> Result<T, HistoryError> {
        let line = self.line;
        Err(HistoryError::Limit { line, what, limit })
    }
}
