//! The log as C1 defines it on bucket and journal, and the rules that every step must keep.
//!
//! Whatever a process believes is compared with this: acknowledgements, watermarks, ends of
//! sessions, checkpoints. Cost: a few map look-ups per batch and per watermark.

use std::collections::{BTreeMap, BTreeSet};

use esker_groups::GroupCommand;
use esker_metadata_api::{JoinedGroup, PartitionAdvance};
use esker_segment::{BatchSummary, SegmentFooter};
use esker_sequencer::LogCommand;
use esker_types::{SegmentId, SessionId, TopicPartition};

use crate::generations::Generations;

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name, as in the documentation.
    pub rule: String,
    /// What happened.
    pub what: String,
}

#[derive(Debug, Default)]
struct Session {
    epoch: u64,
    is_registered: bool,
    segments: BTreeMap<u64, SegmentFooter>,
    seals: BTreeSet<u64>,
    committed: u64,
    decided: u64,
    end: Option<u64>,
}

/// A committed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) end: u64,
    pub(crate) identity: i64,
    pub(crate) segment: SegmentId,
    producer: Option<(i64, i16, i32)>,
    records: u32,
}

/// One partition's committed batches, by base offset.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) batches: BTreeMap<u64, Batch>,
    by_identity: BTreeMap<i64, u64>,
    /// By producer: offsets of its batches.
    producers: BTreeMap<i64, BTreeMap<u64, Batch>>,
    /// Highest watermark that any process ever told.
    pub(crate) served: u64,
    /// End of the highest batch that was acknowledged.
    pub(crate) acked: u64,
    /// By epoch: the highest of what its sequencer told and of what was acknowledged in a session
    /// of it. A successor begins above all that were before it.
    shown: BTreeMap<u64, u64>,
}

impl Log {
    fn show(&mut self, epoch: u64, end: u64) {
        let shown = self.shown.entry(epoch).or_default();
        *shown = end.max(*shown);
    }

    /// End of the last committed batch.
    pub(crate) fn end(&self) -> u64 {
        self.batches
            .last_key_value()
            .map_or(0, |(_, last)| last.end)
    }

    /// Ranges without a batch below the end.
    pub(crate) fn gaps(&self) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut next = 0;
        for (base, batch) in &self.batches {
            if *base > next {
                gaps.push((next, *base));
            }
            next = batch.end;
        }
        gaps
    }
}

/// The true state.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    sessions: BTreeMap<SessionId, Session>,
    pub(crate) logs: BTreeMap<TopicPartition, Log>,
    pub(crate) violation: Option<Violation>,
    pub(crate) seals: u64,
    pub(crate) segments: u64,
    pub(crate) ended: u64,
    pub(crate) void_segments: u64,
    generations: Generations,
}

impl Truth {
    pub(crate) fn violate(&mut self, rule: &str, what: String) {
        let rule = rule.to_owned();
        self.violation.get_or_insert(Violation { rule, what });
    }

    /// A segment stands at its place from now on.
    pub(crate) fn segment_created(&mut self, footer: SegmentFooter) {
        self.segments += 1;
        let SegmentId { session, index } = footer.segment;
        let known = self.sessions.entry(session).or_default();
        if known.end.is_some_and(|end| index.get() >= end) {
            self.void_segments += 1;
        }
        known.segments.insert(index.get(), footer);
        self.advance(session);
    }

    /// A seal stands at this place from now on.
    pub(crate) fn seal_created(&mut self, place: SegmentId) {
        self.seals += 1;
        let known = self.sessions.entry(place.session).or_default();
        known.seals.insert(place.index.get());
    }

    /// Commits what C1 says is committed now.
    fn advance(&mut self, id: SessionId) {
        loop {
            let Some(session) = self.sessions.get_mut(&id) else {
                return;
            };
            let may_grow = session.end.is_none_or(|end| session.committed < end);
            let next = session.segments.get(&session.committed).cloned();
            let Some(footer) = next.filter(|_| session.is_registered && may_grow) else {
                return;
            };
            session.committed += 1;
            for batch in &footer.batches {
                self.commit(footer.segment, batch);
            }
        }
    }

    fn commit(&mut self, segment: SegmentId, summary: &BatchSummary) {
        let base = summary.base_offset.get();
        let batch = Batch {
            end: base + u64::from(summary.record_count),
            identity: summary.max_timestamp.millis(),
            segment,
            producer: summary.producer.map(|stamp| {
                (
                    stamp.producer_id.to_wire(),
                    stamp.producer_epoch.to_wire(),
                    stamp.base_sequence,
                )
            }),
            records: summary.record_count,
        };
        let at = summary.topic_partition;
        let log = self.logs.entry(at).or_default();
        let before = log.batches.range(..batch.end).next_back();
        let overlaps = before.is_some_and(|(_, before)| before.end > base);
        let is_late = base < log.served;
        let twice = log.by_identity.insert(batch.identity, base);
        log.batches.insert(base, batch);
        let sequence = batch.producer.and_then(|(id, ..)| {
            let batches = log.producers.entry(id).or_default();
            let before = batches.range(..base).next_back().map(|(_, batch)| *batch);
            let after = batches.range(base..).next().map(|(_, batch)| *batch);
            batches.insert(base, batch);
            let fits =
                follows(before, batch) && after.is_none_or(|after| follows(Some(batch), after));
            (!fits).then_some((before, after))
        });
        let served = log.served;
        if overlaps {
            self.violate("CP2", format!("offset {base} of {at:?} has two contents"));
        }
        if is_late {
            let what = format!("a batch became committed at {base}, below served {served}");
            self.violate("CP3", what);
        }
        if let Some(twice) = twice {
            let what = format!("value {} is at {twice} and {base}", batch.identity);
            self.violate("CP8", what);
        }
        if let Some(around) = sequence {
            let what = format!("at {base} of {at:?}: {batch:?} between {around:?}");
            self.violate("CP8", what);
        }
    }

    /// A command is durable.
    pub(crate) fn durable(&mut self, epoch: u64, command: &LogCommand) {
        match command {
            LogCommand::RegisterSession { session, epoch: of } => {
                if of.get() != epoch {
                    let what = format!("session of epoch {} registered in {epoch}", of.get());
                    self.violate("CP10", what);
                }
                let known = self.sessions.entry(*session).or_default();
                (known.is_registered, known.epoch) = (true, of.get());
                self.advance(*session);
            }
            LogCommand::EndSession { session, end } => self.end(*session, end.get()),
            LogCommand::Checkpoint { segments } => {
                for footer in segments {
                    self.checkpointed(footer);
                }
            }
            LogCommand::DropTopic { .. } | LogCommand::MoveLogStart { .. } => {}
        }
    }

    fn end(&mut self, id: SessionId, end: u64) {
        self.ended += 1;
        let session = self.sessions.entry(id).or_default();
        let moved = session.end.is_some_and(|known| known != end);
        let is_sealed = session.seals.contains(&end) && session.committed == end;
        session.end = Some(end);
        let above = session.segments.range(end..).count();
        self.void_segments += u64::try_from(above).unwrap_or(0);
        let committed = session.committed;
        if moved || !is_sealed {
            let what = format!("session ends at {end}, committed to {committed}, moved {moved}");
            self.violate("C2", what);
        }
    }

    fn checkpointed(&mut self, footer: &SegmentFooter) {
        let SegmentId { session, index } = footer.segment;
        let known = self.sessions.entry(session).or_default();
        let stored = known.segments.get(&index.get());
        let places = |footer: &SegmentFooter| -> Vec<_> {
            let batches = footer.batches.iter();
            batches
                .map(|batch| (batch.topic_partition, batch.base_offset, batch.record_count))
                .collect()
        };
        let is_same = stored.is_some_and(|stored| places(stored) == places(footer));
        let in_turn = known.decided == index.get() && known.committed > index.get();
        known.decided = index.get() + 1;
        if !is_same || !in_turn {
            let segment = footer.segment;
            let what = format!("{segment} checkpointed: same {is_same}, in turn {in_turn}");
            self.violate("CP16", what);
        }
    }

    /// CP11: an offset may be given out only in a session that is durable, of that very epoch.
    pub(crate) fn reserved(&mut self, session: SessionId, epoch: u64) {
        let known = self.sessions.get(&session);
        if !known.is_some_and(|known| known.is_registered && known.epoch == epoch) {
            self.violate("CP11", format!("offsets given in {session}, not durable"));
        }
    }

    /// CP10: a session may be told to a pod only when it is durable.
    pub(crate) fn registered(&mut self, session: SessionId) {
        let known = self.sessions.get(&session);
        if !known.is_some_and(|known| known.is_registered) {
            self.violate(
                "CP10",
                format!("session {session} was told and is not durable"),
            );
        }
    }

    /// I17: a command of a group is durable.
    pub(crate) fn group_durable(&mut self, command: &GroupCommand) {
        if let Some(what) = self.generations.durable(command) {
            self.violate("I17", what);
        }
    }

    /// I17: a member is told its generation.
    pub(crate) fn joined(&mut self, group: &str, joined: &JoinedGroup) {
        if let Some(what) = self.generations.told(group, joined) {
            self.violate("I17", what);
        }
    }

    /// W7: what is told of a session's end must be durable.
    pub(crate) fn told_end(&mut self, session: SessionId, end: u64) {
        let durable = self.sessions.get(&session).and_then(|known| known.end);
        if durable != Some(end) {
            let what = format!("end {end} of {session} was told, durable is {durable:?}");
            self.violate("W7", what);
        }
    }

    /// CP1, CP9: an acknowledged batch is in the log, at its offset.
    pub(crate) fn acked(&mut self, at: TopicPartition, base: u64, identity: i64) {
        let log = self.logs.entry(at).or_default();
        let found = log.batches.get(&base).copied();
        let batch = found.filter(|batch| batch.identity == identity);
        if let Some(batch) = batch {
            log.acked = log.acked.max(batch.end);
            let session = self.sessions.get(&batch.segment.session);
            log.show(session.map_or(0, |session| session.epoch), batch.end);
            return;
        }
        let what = format!("value {identity} was acknowledged at {base} of {at:?}: {found:?}");
        self.violate("CP1", what);
    }

    /// CP4, CP6, CP7: what any sequencer tells is the log by C1.
    pub(crate) fn advanced(&mut self, epoch: u64, advance: &PartitionAdvance) {
        let log = self.logs.entry(advance.topic_partition).or_default();
        let from = advance.previous_high_watermark.get();
        let to = advance.high_watermark.get();
        let mut told = advance.extents.iter().peekable();
        let mut wrong = None;
        for (base, batch) in log.batches.range(from..to) {
            while told
                .peek()
                .is_some_and(|extent| extent.end_offset.get() <= *base)
            {
                told.next();
            }
            let held = told.peek().is_some_and(|extent| {
                extent.base_offset.get() <= *base
                    && extent.end_offset.get() >= batch.end
                    && extent.segment == batch.segment
            });
            if !held {
                wrong = Some(*base);
                break;
            }
        }
        let told_end = advance.extents.last().map(|last| last.end_offset.get());
        let last = log.batches.range(..to).next_back();
        let ends_there = last.is_some_and(|(_, batch)| batch.end == to);
        let stray = advance.extents.iter().find(|extent| {
            let base = extent.base_offset.get();
            let first = log.batches.get(&base);
            first.is_none_or(|batch| batch.segment != extent.segment)
        });
        let (stray, at) = (stray.copied(), advance.topic_partition);
        log.served = log.served.max(to);
        log.show(epoch, to);
        if let Some(base) = wrong {
            self.violate("CP4", format!("epoch {epoch} left out {base} of {at:?}"));
        }
        if let Some(stray) = stray {
            self.violate("CP4", format!("epoch {epoch} tells {stray:?} of {at:?}"));
        }
        if !ends_there || (to > from && told_end != Some(to)) {
            let what = format!("epoch {epoch}: watermark {to} of {at:?} ends no batch");
            self.violate("CP7", what);
        }
    }

    /// CP6: a sequencer that begins to serve shows no lower watermark than any epoch before it ever
    /// told, or acknowledged. What epochs behind it do is not its own: one that was deposed before
    /// it hears that its take-over is durable may lag behind its successor. It answers nothing
    /// current (R2), and what it pushes is true, if old (R3, CP4).
    pub(crate) fn serving(&mut self, epoch: u64, at: TopicPartition, high_watermark: u64) {
        let log = self.logs.entry(at).or_default();
        let before = log.shown.range(..epoch).max_by_key(|(_, end)| **end);
        let Some((before, end)) = before.map(|(before, end)| (*before, *end)) else {
            return;
        };
        if high_watermark < end {
            let what = format!("epoch {epoch} begins at {high_watermark}, {before} showed {end}");
            self.violate("CP6", what);
        }
    }
}

/// Whether a producer's batch continues the one before it (CP8).
fn follows(before: Option<Batch>, batch: Batch) -> bool {
    let Some((_, epoch, sequence)) = batch.producer else {
        return true;
    };
    let Some(before) = before else {
        return sequence == 0;
    };
    let Some((_, before_epoch, before_sequence)) = before.producer else {
        return true;
    };
    let records = i32::try_from(before.records).unwrap_or(i32::MAX);
    if epoch == before_epoch {
        return before_sequence + records == sequence;
    }
    epoch > before_epoch && sequence == 0
}
