//! When all lines are known: where each batch lies, and whether it may lie there.

use std::collections::HashMap;

use crate::anomaly::Kind;
use crate::checker::Checker;
use crate::findings::Cite;
use crate::tables::{Outcome, SendIndex, Sent, index, next_index};

/// By process, its incarnation and partition: the highest base offset, and its send.
type Highest = HashMap<((u32, u32), u32), (u64, Cite)>;

impl Checker {
    pub(crate) fn finish_sends(&mut self) {
        let mut highest = Highest::new();
        for number in 0..self.tables.sends.len() {
            self.settle(next_index(number));
            let Some(sent) = self.tables.sends.get(number).cloned() else {
                continue;
            };
            self.check_failed(&sent);
            let Some(base) = sent.base.filter(|_| sent.outcome != Outcome::Fail) else {
                continue;
            };
            self.check_floors(&sent, base);
            // An unknown batch without a producer may come through behind later ones.
            if sent.outcome == Outcome::Ok || sent.producer.is_some() {
                self.check_order(&mut highest, &sent, base);
            }
        }
    }

    /// Finds out where a batch lies, and puts its records there.
    fn settle(&mut self, number: SendIndex) {
        let Some(sent) = self.tables.sends.get(index(number)).cloned() else {
            return;
        };
        let records = sent.first..sent.first.saturating_add(sent.count);
        let read = records.clone().find_map(|record| {
            let record = self.tables.records.get(index(record))?;
            record.offset?.checked_sub(u64::from(record.nth))
        });
        let Some(base) = sent.base.or(read).filter(|_| sent.outcome != Outcome::Fail) else {
            return;
        };
        if let Some(sent) = self.tables.sends.get_mut(index(number)) {
            sent.base = Some(base);
        }
        for (nth, record) in (0_u64..).zip(records) {
            let offset = base.saturating_add(nth);
            let known = self.tables.records.get(index(record));
            let elsewhere = known
                .and_then(|known| known.offset)
                .filter(|at| *at != offset);
            if let Some(at) = elsewhere.filter(|_| sent.producer.is_some()) {
                self.found_moved(&sent, record, (offset, at));
                continue;
            }
            let other = self.partition(sent.key).log.set(offset, record);
            let Some(other) = other else {
                continue;
            };
            let name = self.partition(sent.key).name.clone();
            let mut lines = self.tables.lines_of(other);
            lines.extend(self.tables.lines_of(record));
            let why = || format!("{offset} holds one record and was acknowledged for another");
            self.findings
                .found(Kind::InconsistentOffsets, Some(&name), &lines, why);
        }
    }

    fn found_moved(&mut self, sent: &Sent, record: u32, (due, at): (u64, u64)) {
        let name = self.partition(sent.key).name.clone();
        let mut lines = self.tables.lines_of(record);
        // Another record of the batch may be the one that says where it lies.
        lines.extend(self.tables.lines_of(sent.first));
        let why = || format!("a record of the batch is at {at}, not at {due}");
        self.findings.found(Kind::Moved, Some(&name), &lines, why);
    }

    fn check_failed(&mut self, sent: &Sent) {
        for record in sent.first..sent.first.saturating_add(sent.count) {
            let Some(known) = self.tables.records.get(index(record)).copied() else {
                continue;
            };
            let txn = self.tables.txn_of(record).map(|(_, txn)| txn);
            let is_aborted = txn.is_some_and(super::tables::Txn::is_aborted);
            let failed = sent.outcome == Outcome::Fail && known.is_read();
            let aborted = is_aborted && known.read[1].done > 0;
            if !failed && !aborted {
                continue;
            }
            let name = self.partition(sent.key).name.clone();
            let mut lines = self.tables.lines_of(record);
            lines.extend(known.read[1].lines());
            let what = if failed { "failed" } else { "was aborted" };
            let why = || format!("{} was read, but its writer {what}", known.value);
            self.findings.found(Kind::G1a, Some(&name), &lines, why);
        }
    }

    fn check_floors(&mut self, sent: &Sent, base: u64) {
        let name = self.partition(sent.key).name.clone();
        let own = [sent.cite.lines().to_vec(), self.tables.lines_of(sent.first)].concat();
        if let Some(floor) = sent.floor.filter(|floor| base < floor.value) {
            let lines = [own.clone(), floor.cite.lines().to_vec()].concat();
            let why = || format!("{base} was given out after {} was known", floor.value);
            self.findings
                .found(Kind::RealTime, Some(&name), &lines, why);
        }
        let epoch = sent
            .producer
            .map_or(0, |producer| u64::from(producer.epoch));
        if let Some(fence) = sent.fence.filter(|fence| epoch < fence.value) {
            let lines = [own, fence.cite.lines().to_vec()].concat();
            let why = || format!("epoch {epoch} wrote after epoch {} had", fence.value);
            self.findings
                .found(Kind::FencedProducer, Some(&name), &lines, why);
        }
    }

    fn check_order(&mut self, highest: &mut Highest, sent: &Sent, base: u64) {
        let before = highest.entry((sent.lane, sent.key));
        let before = before.or_insert((base, sent.cite));
        if base < before.0 {
            let name = self.partition(sent.key).name.clone();
            let earlier = *before;
            let mut lines = [earlier.1.lines(), sent.cite.lines()].concat();
            lines.extend(self.tables.lines_of(sent.first));
            let why = || format!("{base} was sent behind {} by the same process", earlier.0);
            self.findings
                .found(Kind::NonmonotonicSend, Some(&name), &lines, why);
        } else {
            *before = (base, sent.cite);
        }
    }
}
