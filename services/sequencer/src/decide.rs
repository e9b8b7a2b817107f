//! Decides reserved segments: committed in number order (C1, H2), void only by a durable end (C2).

use std::collections::BTreeSet;

use esker_metadata_api::{PartitionAdvance, SessionEnd, WrittenReport};
use esker_segment::{BatchSummary, SegmentFooter};
use esker_types::{
    ChainIndex, MonotonicTime, Offset, SegmentId, SequencerEpoch, SessionId, TopicPartition,
};
use esker_types::{Planted, planted};

use crate::session::{Phase, Session};
use crate::state::{LogState, index_extent, producer_batch};
use crate::voided::{VoidMark, Writer};
use crate::{Effect, LogCommand, Probe, Sequencer};

impl Sequencer {
    /// Takes a report of written segments. Late, lost and doubled ones change nothing.
    pub fn written(
        &mut self,
        state: &LogState,
        report: &WrittenReport,
        now: MonotonicTime,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        if report.epoch == self.epoch {
            self.hear_written(state, report.session, report.written, now, &mut effects);
        }
        effects
    }

    pub(crate) fn hear_written(
        &mut self,
        state: &LogState,
        id: SessionId,
        written: ChainIndex,
        now: MonotonicTime,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.active_at = now;
        if matches!(session.phase, Phase::Ending(_)) {
            return;
        }
        if written > session.next() {
            // It claims what was never reserved: only the bucket can tell how the session ends.
            self.begin_sealing(id, now, effects);
            return;
        }
        let written = if planted(Planted::WrittenOneAhead) {
            written.after()
        } else {
            written
        };
        self.commit_upto(state, id, written, effects);
    }

    /// Takes what a look at a place (or a try to seal it) has found.
    pub fn probed(
        &mut self,
        state: &LogState,
        segment: SegmentId,
        probe: Probe,
        now: MonotonicTime,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        match probe {
            Probe::Segment => self.found_segment(state, segment, now, &mut effects),
            Probe::Seal => self.found_seal(state, segment, now, &mut effects),
            Probe::Missing if planted(Planted::MissingIsVoid) => {
                self.found_seal(state, segment, now, &mut effects);
            }
            Probe::Missing => self.found_missing(segment, now, &mut effects),
            Probe::Unknown => self.found_nothing(segment, now),
        }
        effects
    }

    /// Takes the success of [`Effect::Seal`]: a seal is at place `end` of the session.
    pub fn sealed_at(
        &mut self,
        state: &LogState,
        session: SessionId,
        end: ChainIndex,
        now: MonotonicTime,
    ) -> Vec<Effect> {
        let segment = SegmentId {
            session,
            index: end,
        };
        self.probed(state, segment, Probe::Seal, now)
    }

    fn found_segment(
        &mut self,
        state: &LogState,
        segment: SegmentId,
        now: MonotonicTime,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get(&segment.session) else {
            return;
        };
        if matches!(session.phase, Phase::Ending(_)) {
            return;
        }
        if segment.index >= session.next() {
            effects.push(Effect::Damaged(segment));
            return;
        }
        if segment.index == session.committed() {
            self.commit_upto(state, segment.session, segment.index.after(), effects);
        }
        self.looked(segment, now, effects);
    }

    /// A seal ends the session only where everything below is committed; elsewhere the lowest place
    /// that is not a segment must be found first (Q1).
    fn found_seal(
        &mut self,
        state: &LogState,
        segment: SegmentId,
        now: MonotonicTime,
        effects: &mut Vec<Effect>,
    ) {
        let SegmentId { session: id, index } = segment;
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if matches!(session.phase, Phase::Ending(_)) {
            return;
        }
        if index == session.committed() {
            session.phase = Phase::Ending(index);
            effects.push(Effect::Append(LogCommand::EndSession {
                session: id,
                end: index,
            }));
        } else if index > session.committed() {
            self.begin_sealing(id, now, effects);
        } else if state
            .session(id)
            .is_none_or(|record| index >= record.decided_upto)
        {
            // Below `decided_upto` the segment may have been collected: then the seal means
            // nothing.
            effects.push(Effect::Damaged(segment));
        } else {
            self.looked(segment, now, effects);
        }
    }

    pub(crate) fn commit_upto(
        &mut self,
        state: &LogState,
        id: SessionId,
        upto: ChainIndex,
        effects: &mut Vec<Effect>,
    ) {
        let mut touched = BTreeSet::new();
        while let Some(footer) = self.commit_first(id, upto) {
            self.commit_segment(&footer, &mut touched);
            self.tail.push(footer);
            self.decisions += 1;
        }
        self.advance(state, &touched, effects);
    }

    fn commit_first(&mut self, id: SessionId, upto: ChainIndex) -> Option<SegmentFooter> {
        let session = self.sessions.get_mut(&id)?;
        if session.committed() >= upto {
            return None;
        }
        let first = session.commit_first()?;
        session.probe.succeeded();
        self.undecided_batches -= first.batches.len();
        Some(first.footer)
    }

    /// Batches of partitions that were dropped meanwhile are skipped.
    fn commit_segment(&mut self, footer: &SegmentFooter, touched: &mut BTreeSet<TopicPartition>) {
        let segment = footer.segment;
        for extent in footer.extents() {
            if let Some(partition) = self.partitions.get_mut(&extent.topic_partition) {
                partition.commit(index_extent(segment, &extent));
                touched.insert(extent.topic_partition);
            }
        }
        for run in runs(footer) {
            let Some(partition) = self.partitions.get_mut(&run.topic_partition) else {
                continue;
            };
            for (stamp, batch) in run.batches.iter().filter_map(producer_batch) {
                let view = partition.producers.get_mut(&stamp.producer_id);
                let view = view.expect("D1: a placed batch is in its producer's overlay");
                view.commit(segment, batch);
            }
        }
    }

    /// Moves the high watermarks of partitions in which something was decided.
    fn advance(
        &mut self,
        state: &LogState,
        touched: &BTreeSet<TopicPartition>,
        effects: &mut Vec<Effect>,
    ) {
        for topic_partition in touched {
            let Some(partition) = self.partitions.get_mut(topic_partition) else {
                continue;
            };
            let log = state.partition(*topic_partition);
            if let Some(advance) = partition.advance(*topic_partition, log) {
                effects.push(Effect::Advanced(advance));
            }
        }
    }

    /// Takes note of a durable command: call it right after [`LogState::apply`], with nothing
    /// between.
    pub fn command_applied(
        &mut self,
        state: &LogState,
        command: &LogCommand,
        now: MonotonicTime,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        match command {
            LogCommand::RegisterSession { session, epoch } => {
                assert_eq!(*epoch, self.epoch, "CP10: only own commands become durable");
                assert!(
                    self.is_serving(),
                    "CP11: no session before the take-over is durable"
                );
                self.sessions.insert(*session, Session::new(*session, now));
                self.begin_grace(now);
            }
            LogCommand::EndSession { session, end } => {
                self.session_ended(state, *session, *end, &mut effects);
            }
            LogCommand::Checkpoint { segments } => {
                for footer in segments {
                    self.checkpointed(footer);
                }
                self.recovered_one();
            }
            LogCommand::DropTopic { topic } => {
                self.partitions.retain(|at, _| at.topic != *topic);
                self.voided.drop_topic(*topic);
                self.decisions += 1;
            }
            LogCommand::MoveLogStart {
                topic_partition,
                log_start: _,
            } => self.log_start_moved(state, *topic_partition, &mut effects),
        }
        effects
    }

    /// A command is durable: one of the take-over's, while any is left.
    fn recovered_one(&mut self) {
        if self.recovering == 0 {
            return;
        }
        self.recovering -= 1;
    }

    /// Before the first session of an epoch nothing is reserved. That this take-over ended no
    /// session tells nothing: one just before may have.
    fn begin_grace(&mut self, now: MonotonicTime) {
        if self.epoch > SequencerEpoch::FIRST {
            let until = now.after(self.config.take_over_grace);
            self.grace_until.get_or_insert(until);
        }
    }

    /// Now, and only now, are the reservations of the session void (C2, D1).
    fn session_ended(
        &mut self,
        state: &LogState,
        id: SessionId,
        end: ChainIndex,
        effects: &mut Vec<Effect>,
    ) {
        self.decisions += 1;
        match self.sessions.remove(&id) {
            None => {
                assert!(
                    !self.is_serving(),
                    "CP10: only the take-over ends sessions of others"
                );
                self.recovered_one();
            }
            Some(mut session) => {
                assert_eq!(
                    session.phase,
                    Phase::Ending(end),
                    "C2: a session ends where its seal was seen"
                );
                let mut touched = BTreeSet::new();
                for reservation in session.void_all(end) {
                    self.undecided_batches -= reservation.batches.len();
                    self.void_segment(&reservation.footer, &mut touched);
                }
                self.advance(state, &touched, effects);
            }
        }
        effects.push(Effect::Ended(id, SessionEnd { end }));
    }

    fn void_segment(&mut self, footer: &SegmentFooter, touched: &mut BTreeSet<TopicPartition>) {
        let segment = footer.segment;
        for extent in footer.extents() {
            if let Some(partition) = self.partitions.get_mut(&extent.topic_partition) {
                partition.void(&index_extent(segment, &extent));
                touched.insert(extent.topic_partition);
            }
        }
        for run in runs(footer) {
            let Some(partition) = self.partitions.get_mut(&run.topic_partition) else {
                continue;
            };
            for (stamp, batch) in run.batches.iter().rev().filter_map(producer_batch) {
                let view = partition.producers.get_mut(&stamp.producer_id);
                let view = view.expect("D1: a placed batch is in its producer's overlay");
                if planted(Planted::OverlayKept) {
                    continue;
                }
                view.take_back(segment, batch);
                partition.settle_producer(stamp.producer_id);
                let writer = Writer {
                    topic_partition: run.topic_partition,
                    producer_id: stamp.producer_id,
                    producer_epoch: stamp.producer_epoch,
                };
                let mark = VoidMark {
                    first: batch.base_sequence,
                    end: batch.end_sequence(),
                };
                self.voided.add(writer, mark);
            }
        }
    }

    fn checkpointed(&mut self, footer: &SegmentFooter) {
        self.tail.remove(footer.segment);
        // What the take-over found has no overlay: nothing is reserved before all of it is durable.
        let with_overlay = self.is_serving();
        for run in runs(footer) {
            let Some(partition) = self.partitions.get_mut(&run.topic_partition) else {
                continue;
            };
            if let Some(first) = run.batches.first() {
                partition.checkpointed(first.base_offset);
            }
            let batches = run.batches.iter().filter(|_| with_overlay);
            for (stamp, _) in batches.filter_map(producer_batch) {
                let view = partition.producers.get_mut(&stamp.producer_id);
                let view = view.expect("D5: a committed batch is known until it is durable");
                view.checkpointed();
                partition.settle_producer(stamp.producer_id);
            }
        }
    }

    fn log_start_moved(
        &mut self,
        state: &LogState,
        topic_partition: TopicPartition,
        effects: &mut Vec<Effect>,
    ) {
        let log_start = state.log_start(topic_partition);
        if let Some(partition) = self.partitions.get_mut(&topic_partition) {
            partition.trim(log_start);
        }
        let high_watermark = self.high_watermark(state, topic_partition);
        effects.push(Effect::Advanced(PartitionAdvance {
            topic_partition,
            log_start,
            high_watermark,
            extents: Vec::new(),
            previous_high_watermark: high_watermark,
        }));
    }

    /// The command that moves the log start offset of a partition; `None` above the high watermark.
    #[must_use]
    pub fn move_log_start(
        &self,
        state: &LogState,
        topic_partition: TopicPartition,
        log_start: Offset,
    ) -> Option<LogCommand> {
        let allowed = log_start <= self.high_watermark(state, topic_partition);
        allowed.then_some(LogCommand::MoveLogStart {
            topic_partition,
            log_start,
        })
    }
}

/// The batches of one partition in a segment.
pub(crate) struct Run<'a> {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) batches: &'a [BatchSummary],
}

pub(crate) fn runs(footer: &SegmentFooter) -> impl Iterator<Item = Run<'_>> {
    let runs = footer
        .batches
        .chunk_by(|one, next| one.topic_partition == next.topic_partition);
    runs.filter_map(|batches| {
        Some(Run {
            topic_partition: batches.first()?.topic_partition,
            batches,
        })
    })
}
