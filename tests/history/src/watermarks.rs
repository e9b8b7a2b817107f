//! Watermarks: what answers say about the log as a whole never falls, and bounds what they hold.

use crate::anomaly::Kind;
use crate::checker::{Checker, OpenLatest};
use crate::error::HistoryError;
use crate::findings::{Cite, Findings, Mark};
use crate::format::{Done, Isolation, Read};
use crate::polls::{Answered, OpenPoll};
use crate::tables::{Jump, Outcome, Passed, level};

/// `told` must reach `floor`.
fn check_floor(
    findings: &mut Findings,
    kind: Kind,
    name: &str,
    (floor, told): (Option<Mark>, u64),
    cite: Cite,
) {
    let Some(floor) = floor.filter(|floor| told < floor.value) else {
        return;
    };
    let lines = [floor.cite.lines(), cite.lines()].concat();
    let why = || format!("{told} was told after {} had been", floor.value);
    findings.found(kind, Some(name), &lines, why);
}

impl Checker {
    pub(crate) fn check_watermarks(&mut self, open: &OpenPoll, answered: Answered, read: &Read) {
        let Answered { key, cite, .. } = answered;
        let (floor, leader_epoch) = open.floors.get(&key).copied().unwrap_or_default();
        let name = self.partition(key).name.clone();
        let told = [
            (Kind::HwRegress, floor.hw, read.hw),
            (Kind::LsoRegress, floor.lso, read.lso),
            (Kind::LogStartRegress, floor.log_start, read.log_start),
            (Kind::LeaderEpochRegress, leader_epoch, read.leader_epoch),
        ];
        for (kind, floor, told) in told {
            if let Some(told) = told {
                check_floor(&mut self.findings, kind, &name, (floor, told), cite);
            }
        }
        let partition = self.partition(key);
        let by_pod = open
            .pod
            .map(|pod| partition.shown_by.entry(pod).or_default());
        for shown in [Some(&mut partition.shown), by_pod].into_iter().flatten() {
            raise(&mut shown.hw, read.hw, cite);
            raise(&mut shown.lso, read.lso, cite);
            raise(&mut shown.log_start, read.log_start, cite);
        }
        raise(&mut partition.leader_epoch, read.leader_epoch, cite);
        raise(&mut partition.shown_end, read.hw, cite);
        if let Some(hw) = read.hw {
            partition.watermarks.entry(hw).or_insert(cite);
        }
    }

    /// One answer must agree with itself.
    pub(crate) fn check_bounds(&mut self, open: &OpenPoll, answered: Answered, read: &Read) {
        let name = self.partition(answered.key).name.clone();
        let lines = answered.cite.lines();
        let start = read.log_start.unwrap_or(0);
        let hw = read.hw.unwrap_or(u64::MAX);
        let lso = read.lso.unwrap_or(hw);
        if start > lso || lso > hw {
            let why = || format!("log start {start}, lso {lso}, hw {hw}");
            self.findings
                .found(Kind::WatermarkOrder, Some(&name), &lines, why);
        }
        let end = if open.iso == Isolation::Rc { lso } else { hw };
        for (offset, _) in &read.recs {
            if *offset >= end {
                let why = || format!("{offset} was read, the readable end is {end}");
                self.findings
                    .found(Kind::ReadBeyondHw, Some(&name), &lines, why);
            }
            if *offset < start {
                let why = || format!("{offset} was read, the log starts at {start}");
                self.findings
                    .found(Kind::ReadBelowLogStart, Some(&name), &lines, why);
            }
        }
        for offset in &read.corrupt {
            let why = || format!("{offset} does not match its checksum");
            self.findings
                .found(Kind::Corruption, Some(&name), &lines, why);
        }
    }

    /// A poll that brought nothing at all had nothing to bring: checked when the log is known,
    /// since clients step over control records on their own.
    pub(crate) fn note_empty(&mut self, open: &OpenPoll, answered: Answered, read: &Read) {
        let Answered { p, key, cite } = answered;
        let position = self.tables.process(p).positions.get(&key).copied();
        let end = match open.iso {
            Isolation::Ru => read.hw,
            Isolation::Rc => read.lso,
        };
        let (Some(position), Some(end)) = (position, end) else {
            return;
        };
        if position.next < end {
            self.partition(key).jumps.push(Jump {
                from: position.next,
                to: end,
                iso: open.iso,
                passed: Passed::Empty,
                before: position.cite,
                cite,
            });
        }
    }

    pub(crate) fn complete_latest(
        &mut self,
        open: &OpenLatest,
        done: &Done,
        outcome: Outcome,
        cite: Cite,
    ) -> Result<(), HistoryError> {
        if outcome != Outcome::Ok {
            return Ok(());
        }
        let Some(told) = done.offset else {
            return self.contradiction("LATEST that succeeded has an offset");
        };
        self.check_epoch(open.epoch, done.epoch, cite);
        let name = self.partition(open.key).name.clone();
        let findings = &mut self.findings;
        check_floor(
            findings,
            Kind::LatestBelowAck,
            &name,
            (open.acked, told),
            cite,
        );
        check_floor(
            findings,
            Kind::LatestRegress,
            &name,
            (open.told, told),
            cite,
        );
        let partition = self.partition(open.key);
        if let Some(latest) = partition.latest.get_mut(level(open.iso)) {
            Mark::raise(latest, told, cite);
        }
        Mark::raise(&mut partition.shown_end, told, cite);
        Ok(())
    }

    /// A current answer is given by the newest sequencer that ever answered.
    pub(crate) fn check_epoch(&mut self, floor: Option<Mark>, told: Option<u64>, cite: Cite) {
        let Some(told) = told else {
            return;
        };
        if let Some(floor) = floor.filter(|floor| told < floor.value) {
            let lines = [floor.cite.lines(), cite.lines()].concat();
            let why = || format!("epoch {told} answered after epoch {} had", floor.value);
            self.findings.found(Kind::EpochRegress, None, &lines, why);
        }
        Mark::raise(&mut self.tables.sequencer_epoch, told, cite);
    }
}

fn raise(slot: &mut Option<Mark>, told: Option<u64>, cite: Cite) {
    if let Some(told) = told {
        Mark::raise(slot, told, cite);
    }
}
