//! Polls: which records were read in which order, and what the answer said about the log.

use std::collections::BTreeMap;

use crate::anomaly::Kind;
use crate::checker::Checker;
use crate::error::HistoryError;
use crate::findings::{Cite, Mark};
use crate::format::{Done, Isolation, Poll, Read};
use crate::log::RecordIndex;
use crate::tables::{Jump, NameIndex, Outcome, Passed, Position, Shown, TxnIndex, index, level};

/// A poll on its way, with the watermarks that its answer must reach.
#[derive(Debug)]
pub(crate) struct OpenPoll {
    pub(crate) pod: Option<NameIndex>,
    pub(crate) iso: Isolation,
    last: bool,
    txn: Option<TxnIndex>,
    pub(crate) floors: BTreeMap<NameIndex, (Shown, Option<Mark>)>,
}

/// One answer for one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) p: u32,
    pub(crate) key: NameIndex,
    pub(crate) cite: Cite,
}

impl Checker {
    pub(crate) fn begin_poll(
        &mut self,
        pod: Option<NameIndex>,
        poll: &Poll,
    ) -> Result<OpenPoll, HistoryError> {
        let txn = match poll.txn {
            Some(id) => Some(self.txn(id)?),
            None => None,
        };
        let over_pods = self.header.watermarks_over_pods;
        let mut floors = BTreeMap::new();
        for key in &poll.keys {
            let key = self.key(key)?;
            let partition = self.partition(key);
            let shown = match pod {
                Some(pod) if !over_pods => partition.shown_by.get(&pod).copied(),
                Some(_) | None => Some(partition.shown),
            };
            // Without a pod nothing is known of who answers: only a rule over all pods binds it.
            let shown = shown.filter(|_| pod.is_some() || over_pods);
            floors.insert(key, (shown.unwrap_or_default(), partition.leader_epoch));
        }
        Ok(OpenPoll {
            pod,
            iso: poll.iso,
            last: poll.last,
            txn,
            floors,
        })
    }

    pub(crate) fn complete_poll(
        &mut self,
        p: u32,
        open: &OpenPoll,
        done: &Done,
        outcome: Outcome,
        cite: Cite,
    ) -> Result<(), HistoryError> {
        let is_empty = done.read.values().all(|read| read.recs.is_empty());
        for (name, read) in &done.read {
            let key = self.key(name)?;
            if !open.floors.contains_key(&key) {
                return self.contradiction("a poll reads what it asked for");
            }
            if !read.times.is_empty() && read.times.len() != read.recs.len() {
                return self.contradiction("each record of a read has a time, or none has");
            }
            if read.recs.iter().any(|(offset, _)| *offset == u64::MAX) {
                return self.contradiction("an offset is below 2^64");
            }
            let answered = Answered { p, key, cite };
            if outcome == Outcome::Ok {
                self.check_watermarks(open, answered, read);
                self.check_bounds(open, answered, read);
                if is_empty {
                    self.note_empty(open, answered, read);
                }
                self.read_in_order(open, answered, read);
            }
            for (offset, value) in &read.recs {
                let counts = outcome == Outcome::Ok;
                self.read_record(open, answered, (*offset, *value), counts);
            }
        }
        Ok(())
    }

    /// Positions: nothing twice, nothing passed over, times in order.
    fn read_in_order(&mut self, open: &OpenPoll, answered: Answered, read: &Read) {
        let Answered { p, key, cite } = answered;
        let mut position = self.tables.process(p).positions.get(&key).copied();
        let mut within_poll = false;
        for (nth, (offset, _)) in read.recs.iter().enumerate() {
            let time = read.times.get(nth).copied();
            if let Some(position) = position {
                self.step(open, answered, position, (*offset, time, within_poll));
            }
            position = Some(Position {
                next: offset.saturating_add(1),
                time: time.unwrap_or(0),
                cite,
            });
            within_poll = true;
        }
        if let Some(position) = position {
            self.tables.process(p).positions.insert(key, position);
        }
    }

    fn step(
        &mut self,
        open: &OpenPoll,
        answered: Answered,
        position: Position,
        (offset, time, within_poll): (u64, Option<u64>, bool),
    ) {
        let name = self.partition(answered.key).name.clone();
        let lines = [position.cite.lines(), answered.cite.lines()].concat();
        if offset < position.next {
            let kind = if within_poll {
                Kind::IntNonmonotonicPoll
            } else {
                Kind::NonmonotonicPoll
            };
            let why = || format!("{offset} was read where {} came next", position.next);
            self.findings.found(kind, Some(&name), &lines, why);
        }
        let append_time = self.partition(answered.key).append_time;
        if let Some(time) = time.filter(|time| append_time && *time < position.time) {
            let why = || format!("{offset} has time {time}, behind {}", position.time);
            self.findings
                .found(Kind::TimeRegress, Some(&name), &lines, why);
        }
        if offset > position.next {
            self.partition(answered.key).jumps.push(Jump {
                from: position.next,
                to: offset,
                iso: open.iso,
                passed: if within_poll {
                    Passed::WithinPoll
                } else {
                    Passed::BetweenPolls
                },
                before: position.cite,
                cite: answered.cite,
            });
        }
    }

    fn read_record(
        &mut self,
        open: &OpenPoll,
        answered: Answered,
        (offset, value): (u64, u64),
        counts: bool,
    ) {
        let Answered { key, cite, .. } = answered;
        let Some(record) = self.tables.by_value.get(&(key, value)).copied() else {
            let name = self.partition(key).name.clone();
            let why = || format!("{offset} holds {value}, which nobody had sent");
            self.findings
                .found(Kind::Unsent, Some(&name), &cite.lines(), why);
            return;
        };
        self.check_place(answered, record, offset);
        if !counts {
            return;
        }
        self.check_transaction(open, answered, record, offset);
        let Some(known) = self.tables.records.get_mut(index(record)) else {
            return;
        };
        for level in 0..=level(open.iso) {
            if known.read[level].done == 0 {
                known.read[level] = cite;
            }
        }
        if open.last {
            known.in_last[level(open.iso)] = true;
        }
        self.figures.read(1);
        let partition = self.partition(key);
        Mark::raise(&mut partition.shown_end, offset.saturating_add(1), cite);
    }

    /// One offset has one record, one record has one offset.
    fn check_place(&mut self, answered: Answered, record: RecordIndex, offset: u64) {
        let Answered { key, cite, .. } = answered;
        let name = self.partition(key).name.clone();
        if let Some(other) = self.partition(key).log.set(offset, record) {
            let mut lines = self.tables.lines_of(other);
            lines.extend(self.tables.lines_of(record));
            lines.extend(cite.lines());
            let why = || format!("{offset} holds two records");
            self.findings
                .found(Kind::InconsistentOffsets, Some(&name), &lines, why);
        }
        let Some(known) = self.tables.records.get_mut(index(record)) else {
            return;
        };
        let value = known.value;
        let first = *known.offset.get_or_insert(offset);
        if first == offset {
            return;
        }
        let sent = self.tables.send_of(record);
        if sent.is_none_or(|sent| sent.producer.is_none()) {
            self.figures.doubled = self.figures.doubled.saturating_add(1);
            return;
        }
        let mut lines = self.tables.lines_of(record);
        lines.extend(cite.lines());
        let zero = if offset == 0 {
            " (offset 0: an error told as success?)"
        } else {
            ""
        };
        let why = || format!("{value} is at {first} and at {offset}{zero}");
        self.findings
            .found(Kind::Duplicate, Some(&name), &lines, why);
    }

    fn check_transaction(
        &mut self,
        open: &OpenPoll,
        answered: Answered,
        record: RecordIndex,
        offset: u64,
    ) {
        let Some((writer, txn)) = self.tables.txn_of(record) else {
            return;
        };
        let ends = txn.end == Some(true);
        let mut lines = self.tables.lines_of(record);
        lines.extend(answered.cite.lines());
        if let Some(reader) = open.txn.filter(|reader| *reader != writer) {
            self.tables.reads_from.push((writer, reader, answered.cite));
        }
        if open.iso == Isolation::Ru {
            return;
        }
        let name = self.partition(answered.key).name.clone();
        if open.txn == Some(writer) {
            let why = || format!("{offset} was written by the reading transaction itself");
            self.findings
                .found(Kind::PrecommittedRead, Some(&name), &lines, why);
        } else if !ends {
            let why = || format!("{offset} is of a transaction that nobody had asked to commit");
            self.findings
                .found(Kind::UncommittedRead, Some(&name), &lines, why);
        }
    }
}
