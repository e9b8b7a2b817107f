//! When all lines are known: each partition's log from its first offset to its last.

use std::collections::{BTreeMap, HashMap};

use crate::anomaly::Kind;
use crate::checker::Checker;
use crate::findings::Cite;
use crate::format::{Absence, Isolation};
use crate::log::RecordIndex;
use crate::sends::SEQUENCES;
use crate::tables::{
    Absent, Jump, NameIndex, Outcome, Partition, Passed, Record, index, level, next_index,
};

/// What one partition holds, in order.
struct Whole {
    key: NameIndex,
    name: String,
    ordered: Vec<(u64, RecordIndex)>,
    absent: Vec<Absent>,
    /// Ranges without records for any reason, and those from which records were removed: disjoint,
    /// ascending.
    empty: Vec<(u64, u64)>,
    removed: Vec<(u64, u64)>,
    whole: Option<(Isolation, u64)>,
}

/// Producer's first send in a partition under an epoch: its sequence, and the line.
type FirstSends = HashMap<(NameIndex, u64, u32), (u32, u64)>;

impl Whole {
    fn of(key: NameIndex, partition: &mut Partition) -> Self {
        let mut absent = std::mem::take(&mut partition.absent);
        absent.sort_unstable_by_key(|one| (one.from, one.to, one.line));
        absent.dedup_by_key(|one| (one.from, one.to, one.why));
        Self {
            key,
            name: partition.name.clone(),
            ordered: partition.log.ordered(),
            empty: united(&absent, |_| true),
            removed: united(&absent, |why| {
                matches!(why, Absence::Compacted | Absence::Retention)
            }),
            absent,
            whole: partition.whole,
        }
    }

    fn is_removed(&self, offset: u64) -> bool {
        end_of_range(&self.removed, offset).is_some()
    }

    /// Its place in the order, if there is a record at or above the offset.
    fn place_from(&self, offset: u64) -> usize {
        self.ordered.partition_point(|(at, _)| *at < offset)
    }

    fn at(&self, place: usize) -> Option<(u64, RecordIndex)> {
        self.ordered.get(place).copied()
    }
}

/// End of the range that holds an offset.
pub(crate) fn end_of_range(ranges: &[(u64, u64)], offset: u64) -> Option<u64> {
    let behind = ranges.partition_point(|(from, _)| *from <= offset);
    let (_, to) = ranges.get(behind.checked_sub(1)?)?;
    (offset < *to).then_some(*to)
}

/// The union of the ranges of some reasons.
fn united(absent: &[Absent], counts: impl Fn(Absence) -> bool) -> Vec<(u64, u64)> {
    let chosen = absent.iter().filter(|one| counts(one.why));
    let mut ranges: Vec<(u64, u64)> = chosen.map(|one| (one.from, one.to)).collect();
    ranges.sort_unstable();
    let mut all: Vec<(u64, u64)> = Vec::new();
    for (from, to) in ranges {
        match all.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => all.push((from, to)),
        }
    }
    all
}

impl Checker {
    pub(crate) fn finish_partitions(&mut self) {
        let first_sends = self.first_sends();
        for key in 0..self.tables.partitions.len() {
            let key = next_index(key);
            let partition = self.partition(key);
            let jumps = std::mem::take(&mut partition.jumps);
            let watermarks = std::mem::take(&mut partition.watermarks);
            let whole = Whole::of(key, partition);
            self.partition(key).removed.clone_from(&whole.removed);
            self.figures.partition(whole.ordered.len());
            self.check_jumps(&whole, &jumps);
            self.check_absent(&whole, &watermarks);
            self.check_last_reading(&whole);
            self.check_gaps(&whole);
            self.check_sequences(&whole, &first_sends);
        }
    }

    /// Places, from each on, of the next record that a reader of an isolation must not pass over.
    fn next_visible(&self, whole: &Whole, iso: Isolation) -> Vec<usize> {
        let mut next = vec![usize::MAX; whole.ordered.len() + 1];
        for place in (0..whole.ordered.len()).rev() {
            let (offset, record) = whole.ordered[place];
            let visible = self.tables.is_visible(record, iso) && !whole.is_removed(offset);
            next[place] = if visible { place } else { next[place + 1] };
        }
        next
    }

    fn check_jumps(&mut self, whole: &Whole, jumps: &[Jump]) {
        if jumps.is_empty() {
            return;
        }
        let visible = [
            self.next_visible(whole, Isolation::Ru),
            self.next_visible(whole, Isolation::Rc),
        ];
        for jump in jumps {
            let place = whole.place_from(jump.from);
            let next = visible[level(jump.iso)].get(place).copied();
            let passed = next.and_then(|place| whole.at(place));
            let Some((offset, record)) = passed.filter(|(offset, _)| *offset < jump.to) else {
                continue;
            };
            let is_read = self
                .tables
                .records
                .get(index(record))
                .is_some_and(|one| one.is_read());
            let kind = match (jump.passed, is_read) {
                (Passed::Empty, _) => Kind::EmptyBelowHw,
                (_, false) => Kind::LostWrite,
                (Passed::WithinPoll, true) => Kind::IntPollSkip,
                (Passed::BetweenPolls, true) => Kind::PollSkip,
            };
            let mut lines = self.tables.lines_of(record);
            lines.extend(jump.before.lines());
            lines.extend(jump.cite.lines());
            let why = || format!("{offset} was passed over from {} to {}", jump.from, jump.to);
            self.findings.found(kind, Some(&whole.name), &lines, why);
        }
    }

    /// Void ranges are shown by nobody, and no watermark ends in one.
    fn check_absent(&mut self, whole: &Whole, watermarks: &BTreeMap<u64, Cite>) {
        for absent in &whole.absent {
            let (from, to) = (absent.from, absent.to);
            if matches!(absent.why, Absence::Void | Absence::Control) {
                let places = whole.place_from(from)..whole.place_from(to);
                for (offset, record) in places.filter_map(|place| whole.at(place)) {
                    self.check_shown(whole, absent, (offset, record));
                }
            }
            if absent.why != Absence::Void {
                continue;
            }
            let inside = from.saturating_add(1)..=to;
            for (hw, cite) in watermarks.range(inside) {
                let lines = [cite.lines().to_vec(), vec![absent.line]].concat();
                let why = || format!("watermark {hw}, but {from}..{to} is void");
                self.findings
                    .found(Kind::HwInVoid, Some(&whole.name), &lines, why);
            }
        }
    }

    fn check_shown(
        &mut self,
        whole: &Whole,
        absent: &Absent,
        (offset, record): (u64, RecordIndex),
    ) {
        let is_read = self
            .tables
            .records
            .get(index(record))
            .is_some_and(|one| one.is_read());
        let sent = self.tables.send_of(record);
        if !is_read && sent.is_none_or(|sent| sent.outcome != Outcome::Ok) {
            return;
        }
        let mut lines = self.tables.lines_of(record);
        lines.push(absent.line);
        let why = || format!("{offset} holds a record, but its range has none");
        self.findings
            .found(Kind::VoidShown, Some(&whole.name), &lines, why);
    }

    fn check_last_reading(&mut self, whole: &Whole) {
        let Some((iso, line)) = whole.whole else {
            return;
        };
        for (offset, record) in &whole.ordered {
            let in_last = self.tables.records.get(index(*record));
            let in_last = in_last.is_some_and(|known| known.in_last[level(iso)]);
            if in_last || whole.is_removed(*offset) || !self.tables.is_visible(*record, iso) {
                continue;
            }
            let mut lines = self.tables.lines_of(*record);
            lines.push(line);
            let why = || format!("{offset} is not in the last reading");
            self.findings
                .found(Kind::Unseen, Some(&whole.name), &lines, why);
        }
    }

    fn check_gaps(&mut self, whole: &Whole) {
        let Some((Isolation::Ru, line)) = whole.whole.filter(|_| self.header.gaps_are_noted) else {
            return;
        };
        let mut next = 0;
        for (offset, record) in &whole.ordered {
            let gap = first_uncovered(&whole.empty, next, *offset);
            if let Some(missing) = gap {
                let mut lines = self.tables.lines_of(*record);
                lines.push(line);
                let why = || format!("{missing} has no record, and no reason is noted");
                self.findings
                    .found(Kind::Gap, Some(&whole.name), &lines, why);
            }
            self.figures.gap(offset.saturating_sub(next));
            next = offset.saturating_add(1);
        }
    }

    fn check_sequences(&mut self, whole: &Whole, first_sends: &FirstSends) {
        let is_whole = whole.whole.is_some_and(|(iso, _)| iso == Isolation::Ru);
        let gaps_count = is_whole && whole.removed.is_empty();
        let mut due: HashMap<(u64, u32), u32> = HashMap::new();
        let mut last: HashMap<u64, (u32, RecordIndex)> = HashMap::new();
        for (offset, record) in &whole.ordered {
            let known = self.tables.records.get(index(*record)).copied();
            // A second copy is told as such, by another check.
            let is_first = |known: &Record| known.offset.is_none_or(|first| first == *offset);
            let Some(known) = known.filter(is_first) else {
                continue;
            };
            let sent = self.tables.send_of(*record);
            let Some(producer) = sent.and_then(|sent| sent.producer) else {
                continue;
            };
            let seq = (producer.seq.wrapping_add(known.nth)) % SEQUENCES;
            let before = last.insert(producer.id, (producer.epoch, *record));
            let first = first_sends.get(&(whole.key, producer.id, producer.epoch));
            let begin = first
                .filter(|_| gaps_count)
                .map_or(seq, |(first, _)| *first);
            let due = due.entry((producer.id, producer.epoch)).or_insert(begin);
            let ahead = seq.wrapping_sub(*due) % SEQUENCES;
            let expected = std::mem::replace(due, (seq + 1) % SEQUENCES);
            let is_older = before.is_some_and(|(epoch, _)| epoch > producer.epoch);
            let kind = match ahead {
                _ if is_older => Kind::SequenceOrder,
                0 => continue,
                ahead if ahead >= SEQUENCES / 2 => Kind::SequenceOrder,
                _ if gaps_count => Kind::SequenceGap,
                _ => continue,
            };
            let mut lines = self.tables.lines_of(*record);
            if let Some((_, before)) = before {
                lines.extend(self.tables.lines_of(before));
            }
            lines.extend(first.map(|(_, line)| *line));
            lines.extend(whole.whole.map(|(_, line)| line));
            let why = || format!("{offset} has sequence {seq} where {expected} is due");
            self.findings.found(kind, Some(&whole.name), &lines, why);
        }
    }

    /// The first batch of each producer that may have had an effect: nothing lies before it.
    fn first_sends(&self) -> FirstSends {
        let mut first = FirstSends::new();
        // What surely had no effect is no predecessor: its sequence is used again.
        let sends = self.tables.sends.iter();
        for sent in sends.filter(|sent| sent.outcome != Outcome::Fail) {
            if let Some(producer) = sent.producer {
                let writer = (sent.key, producer.id, producer.epoch);
                let is_first = (producer.seq, sent.cite.begun);
                first.entry(writer).or_insert(is_first);
            }
        }
        first
    }
}

/// The first offset of `from..to` that no range covers.
fn first_uncovered(empty: &[(u64, u64)], from: u64, to: u64) -> Option<u64> {
    // The ranges do not touch one another: behind the first that covers there is none.
    let next = end_of_range(empty, from).unwrap_or(from);
    (next < to).then_some(next)
}
