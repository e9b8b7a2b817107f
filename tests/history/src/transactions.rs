//! Transactions: how they ended, whether they are visible whole, and who read from whom.

use std::collections::BTreeSet;

use crate::anomaly::Kind;
use crate::checker::Checker;
use crate::cycles::cycles;
use crate::error::HistoryError;
use crate::findings::Cite;
use crate::format::{End, Isolation};
use crate::limits::SENDS_MAX;
use crate::partition_end::end_of_range;
use crate::tables::{Outcome, Txn, TxnIndex, index, level, next_index};

impl Checker {
    /// Number of a transaction.
    pub(crate) fn txn(&mut self, id: u64) -> Result<TxnIndex, HistoryError> {
        if let Some(known) = self.tables.txn_ids.get(&id) {
            return Ok(*known);
        }
        if self.tables.txns.len() >= SENDS_MAX {
            return self.limit("transactions", SENDS_MAX);
        }
        let number = next_index(self.tables.txns.len());
        self.tables.txn_ids.insert(id, number);
        self.tables.txns.push(Txn {
            id,
            ..Txn::default()
        });
        Ok(number)
    }

    pub(crate) fn begin_end(&mut self, end: &End) -> Result<TxnIndex, HistoryError> {
        let number = self.txn(end.txn)?;
        let line = self.line;
        let Some(txn) = self.tables.txns.get_mut(index(number)) else {
            return Ok(number);
        };
        if txn.end.is_some_and(|before| before != end.commit) {
            return self.contradiction("a transaction is ended in one way");
        }
        if txn.end.is_none() {
            txn.end = Some(end.commit);
            txn.cite.begun = line;
        }
        Ok(number)
    }

    pub(crate) fn complete_end(&mut self, number: TxnIndex, outcome: Outcome, cite: Cite) {
        let Some(txn) = self.tables.txns.get_mut(index(number)) else {
            return;
        };
        // Once it is known to have ended a repeat changes nothing.
        if txn.outcome != Outcome::Ok {
            txn.outcome = outcome;
            txn.cite = cite;
        }
    }

    pub(crate) fn finish_transactions(&mut self) {
        for number in 0..self.tables.txns.len() {
            self.check_torn(next_index(number));
        }
        self.check_circles();
        let mut over_each_other = Vec::new();
        for partition in &self.tables.partitions {
            let mut last: Option<TxnIndex> = None;
            for (_, record) in partition.log.ordered() {
                let Some((txn, _)) = self.tables.txn_of(record) else {
                    continue;
                };
                if let Some(last) = last.filter(|last| *last != txn) {
                    over_each_other.push((last, txn));
                }
                last = Some(txn);
            }
        }
        let count = cycles(self.tables.txns.len(), &over_each_other).len();
        self.figures.g0 = u64::try_from(count).unwrap_or(u64::MAX);
    }

    /// What `read_committed` sees of a transaction in partitions that were read whole: all or none.
    fn check_torn(&mut self, number: TxnIndex) {
        let Some(txn) = self.tables.txns.get(index(number)) else {
            return;
        };
        let (mut seen, mut missing) = (Vec::new(), Vec::new());
        for send in &txn.sends {
            let Some(sent) = self.tables.sends.get(index(*send)) else {
                continue;
            };
            let partition = self.tables.partitions.get(index(sent.key));
            let whole = partition.and_then(|partition| partition.whole);
            let is_whole = whole.is_some_and(|(iso, _)| iso == Isolation::Rc);
            if !is_whole || sent.outcome != Outcome::Ok {
                continue;
            }
            let whole_line = whole.map_or(0, |(_, line)| line);
            let base = sent.base.unwrap_or(0);
            for (offset, record) in (base..).zip(sent.first..sent.first.saturating_add(sent.count))
            {
                let removed = partition.map_or(&[][..], |partition| &partition.removed);
                if end_of_range(removed, offset).is_some() {
                    continue;
                }
                let known = self.tables.records.get(index(record));
                let is_in = known.is_some_and(|known| known.in_last[level(Isolation::Rc)]);
                let side = if is_in { &mut seen } else { &mut missing };
                if side.is_empty() {
                    side.extend(self.tables.lines_of(record));
                    side.push(whole_line);
                }
            }
        }
        if seen.is_empty() || missing.is_empty() {
            return;
        }
        let id = txn.id;
        seen.extend(missing);
        let why = || format!("a part of transaction {id} is in the last reading, a part is not");
        self.findings.found(Kind::TornTxn, None, &seen, why);
    }

    fn check_circles(&mut self) {
        let edges = &self.tables.reads_from;
        let pairs: Vec<(TxnIndex, TxnIndex)> = edges.iter().map(|edge| (edge.0, edge.1)).collect();
        for circle in cycles(self.tables.txns.len(), &pairs) {
            let members: BTreeSet<TxnIndex> = circle.iter().copied().collect();
            let mut lines = Vec::new();
            for (writer, reader, cite) in edges {
                if members.contains(writer) && members.contains(reader) {
                    lines.extend(cite.lines());
                }
            }
            let mut ids = Vec::new();
            for member in &circle {
                if let Some(txn) = self.tables.txns.get(index(*member)) {
                    ids.push(txn.id);
                    let sends = txn.sends.iter().take(2);
                    let sends = sends.filter_map(|send| self.tables.sends.get(index(*send)));
                    lines.extend(sends.flat_map(|sent| sent.cite.lines()));
                }
            }
            let why = || format!("transactions {ids:?} read from one another");
            self.findings.found(Kind::G1c, None, &lines, why);
        }
    }
}
