//! What the checker remembers: partitions, records, sends, transactions, processes.

use std::collections::{BTreeMap, HashMap};

use crate::findings::{Cite, Mark};
use crate::format::{Absence, Isolation, Producer};
use crate::log::{Log, RecordIndex};

/// Number of a partition, pod, group or other name in the order of first use.
pub(crate) type NameIndex = u32;
/// Number of a send in the order of invocation.
pub(crate) type SendIndex = u32;
/// Number of a transaction in the order of first use.
pub(crate) type TxnIndex = u32;

/// How an operation ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not at all: as good as unknown.
    #[default]
    Open,
    Ok,
    Fail,
    Info,
}

/// One record that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) value: u64,
    pub(crate) send: SendIndex,
    /// Place in its batch.
    pub(crate) nth: u32,
    /// Where it was read first.
    pub(crate) offset: Option<u64>,
    /// First read at any isolation, and at `read_committed`.
    pub(crate) read: [Cite; 2],
    /// Whether the last reading at an isolation showed it.
    pub(crate) in_last: [bool; 2],
}

impl Record {
    pub(crate) fn is_read(&self) -> bool {
        self.read[0].done > 0
    }
}

/// Index of an isolation in pairs: every read counts for the first, `read_committed` for both.
pub(crate) fn level(iso: Isolation) -> usize {
    match iso {
        Isolation::Ru => 0,
        Isolation::Rc => 1,
    }
}

/// One record batch.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) key: NameIndex,
    pub(crate) first: RecordIndex,
    pub(crate) count: u32,
    pub(crate) producer: Option<Producer>,
    pub(crate) txn: Option<TxnIndex>,
    /// Process and its incarnation.
    pub(crate) lane: (u32, u32),
    /// The operation that sent it first, and the one that was told where it lies.
    pub(crate) cite: Cite,
    pub(crate) acked: Cite,
    pub(crate) outcome: Outcome,
    pub(crate) base: Option<u64>,
    /// The end below which nothing could be placed any more when it was sent.
    pub(crate) floor: Option<Mark>,
    /// The epoch of its producer that had been heard of when it was sent.
    pub(crate) fence: Option<Mark>,
}

/// One transaction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Txn {
    pub(crate) id: u64,
    pub(crate) end: Option<bool>,
    pub(crate) cite: Cite,
    pub(crate) outcome: Outcome,
    pub(crate) sends: Vec<SendIndex>,
}

impl Txn {
    pub(crate) fn is_committed(&self) -> bool {
        self.end == Some(true) && self.outcome == Outcome::Ok
    }

    /// Surely never to be seen at `read_committed`.
    pub(crate) fn is_aborted(&self) -> bool {
        match self.end {
            Some(true) => self.outcome == Outcome::Fail,
            Some(false) => true,
            None => true,
        }
    }
}

/// Watermarks that were shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) hw: Option<Mark>,
    pub(crate) lso: Option<Mark>,
    pub(crate) log_start: Option<Mark>,
}

/// A range without records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Absent {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) why: Absence,
    pub(crate) line: u64,
}

/// How offsets were passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    WithinPoll,
    BetweenPolls,
    /// A poll brought nothing although the readable end lay above its position.
    Empty,
}

/// Offsets that a reader passed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jump {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) iso: Isolation,
    pub(crate) passed: Passed,
    pub(crate) before: Cite,
    pub(crate) cite: Cite,
}

/// One partition.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) name: String,
    pub(crate) log: Log,
    pub(crate) acked_end: Option<Mark>,
    /// Highest end shown to anybody: watermarks, LATEST, records.
    pub(crate) shown_end: Option<Mark>,
    pub(crate) latest: [Option<Mark>; 2],
    pub(crate) shown: Shown,
    pub(crate) shown_by: HashMap<NameIndex, Shown>,
    pub(crate) leader_epoch: Option<Mark>,
    pub(crate) watermarks: BTreeMap<u64, Cite>,
    pub(crate) absent: Vec<Absent>,
    pub(crate) jumps: Vec<Jump>,
    pub(crate) whole: Option<(Isolation, u64)>,
    /// Ranges from which records were removed, when all lines are known.
    pub(crate) removed: Vec<(u64, u64)>,
    pub(crate) has_txns: bool,
    pub(crate) append_time: bool,
}

/// Where a process reads on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    pub(crate) next: u64,
    pub(crate) time: u64,
    pub(crate) cite: Cite,
}

/// A logical process.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// Rises with each operation of unknown outcome: what was sent before it has no order with what
    /// comes behind.
    pub(crate) incarnation: u32,
    pub(crate) positions: HashMap<NameIndex, Position>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) names: BTreeMap<String, NameIndex>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) keys: BTreeMap<String, NameIndex>,
    pub(crate) records: Vec<Record>,
    pub(crate) by_value: HashMap<(NameIndex, u64), RecordIndex>,
    pub(crate) sends: Vec<Sent>,
    pub(crate) txns: Vec<Txn>,
    pub(crate) txn_ids: HashMap<u64, TxnIndex>,
    pub(crate) processes: HashMap<u32, Process>,
    /// Highest epoch heard of, by producer id.
    pub(crate) producer_epochs: HashMap<u64, Mark>,
    /// Highest sequencer epoch under which a current answer was given.
    pub(crate) sequencer_epoch: Option<Mark>,
    /// A reads-from edge between transactions, with the poll.
    pub(crate) reads_from: Vec<(TxnIndex, TxnIndex, Cite)>,
}

pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Number of the next element of a table.
pub(crate) fn next_index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Tables {
    pub(crate) fn send_of(&self, record: RecordIndex) -> Option<&Sent> {
        let record = self.records.get(index(record))?;
        self.sends.get(index(record.send))
    }

    pub(crate) fn txn_of(&self, record: RecordIndex) -> Option<(TxnIndex, &Txn)> {
        let txn = self.send_of(record)?.txn?;
        Some((txn, self.txns.get(index(txn))?))
    }

    /// The lines that show a record: its send, and its first read.
    pub(crate) fn lines_of(&self, record: RecordIndex) -> Vec<u64> {
        let mut lines = Vec::new();
        if let Some(sent) = self.send_of(record) {
            lines.extend(sent.cite.lines());
            lines.extend(sent.acked.lines());
        }
        if let Some(record) = self.records.get(index(record)) {
            lines.extend(record.read[0].lines());
        }
        if let Some((_, txn)) = self.txn_of(record) {
            lines.extend(txn.cite.lines());
        }
        lines
    }

    /// What a reader of this isolation must not pass over.
    pub(crate) fn is_visible(&self, record: RecordIndex, iso: Isolation) -> bool {
        let Some(known) = self.records.get(index(record)) else {
            return false;
        };
        if known.read[level(iso)].done > 0 {
            return true;
        }
        let Some(sent) = self
            .send_of(record)
            .filter(|sent| sent.outcome != Outcome::Fail)
        else {
            return false;
        };
        let is_proven = sent.outcome == Outcome::Ok || sent.base.is_some();
        let committed = self
            .txn_of(record)
            .is_none_or(|(_, txn)| txn.is_committed());
        is_proven && (iso == Isolation::Ru || committed)
    }

    pub(crate) fn process(&mut self, process: u32) -> &mut Process {
        self.processes.entry(process).or_default()
    }
}
