//! A sequencer with its durable state, driven as the shell drives them.

use std::time::Duration;

use esker_metadata_api::{
    BatchVerdict, IndexExtent, PartitionAdvance, ProduceRefusal, ProducerSpan, ReservationSummary,
    ReserveError, ReserveReply, ReserveRequest, WrittenReport,
};
use esker_segment::{PlacedBatch, ProducerStamp, SegmentFooter};
use esker_types::{
    ChainIndex, MonotonicTime, Offset, PartitionIndex, ProducerEpoch, ProducerId, SegmentId,
    SequencerEpoch, SessionId, Timestamp, TopicId, TopicPartition,
};

use crate::{
    Effect, LogCommand, LogState, Probe, Recovered, Sequencer, SequencerConfig, WalkedSession,
};

pub(crate) const BATCH_BYTES: u32 = 100;

pub(crate) fn at(partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_bytes([7; 16]),
        partition: PartitionIndex::new(partition).unwrap(),
    }
}

pub(crate) fn session(name: u8) -> SessionId {
    SessionId::from_bytes([name; 16])
}

pub(crate) fn segment(name: u8, index: u64) -> SegmentId {
    SegmentId {
        session: session(name),
        index: ChainIndex::new(index),
    }
}

pub(crate) fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

/// A batch without a producer id.
pub(crate) fn plain(partition: u32, record_count: u32) -> ReservationSummary {
    ReservationSummary {
        topic_partition: at(partition),
        record_count,
        batch_bytes: BATCH_BYTES,
        max_timestamp: Timestamp::from_millis(0),
        producer: None,
        transactional: false,
        expected_end: None,
    }
}

/// A batch of an idempotent producer under epoch 0, to partition 0.
pub(crate) fn from(producer: i64, base_sequence: i32, record_count: u32) -> ReservationSummary {
    under_epoch(0, producer, base_sequence, record_count)
}

pub(crate) fn under_epoch(
    epoch: i16,
    producer: i64,
    base_sequence: i32,
    record_count: u32,
) -> ReservationSummary {
    ReservationSummary {
        producer: Some(ProducerSpan {
            producer_id: ProducerId::from_wire(producer).unwrap(),
            producer_epoch: ProducerEpoch::from_wire(epoch).unwrap(),
            base_sequence,
        }),
        ..plain(0, record_count)
    }
}

pub(crate) fn placed(base_offset: u64) -> BatchVerdict {
    BatchVerdict::Placed {
        base_offset: offset(base_offset),
        log_start: Offset::ZERO,
    }
}

pub(crate) fn duplicate(base_offset: u64) -> BatchVerdict {
    BatchVerdict::Duplicate {
        base_offset: offset(base_offset),
        log_start: Offset::ZERO,
    }
}

pub(crate) fn in_flight(original: u64, base_offset: u64) -> BatchVerdict {
    BatchVerdict::DuplicateInFlight {
        original: ChainIndex::new(original),
        base_offset: offset(base_offset),
        log_start: Offset::ZERO,
    }
}

pub(crate) fn refused(refusal: ProduceRefusal) -> BatchVerdict {
    BatchVerdict::Refused(refusal)
}

/// A footer as a pod writes it: one batch per (partition, base offset, records).
pub(crate) fn footer(
    at_segment: SegmentId,
    epoch: u64,
    batches: &[(u32, u64, u32)],
) -> SegmentFooter {
    let batches = batches.iter().map(|(partition, base_offset, records)| {
        let placed = PlacedBatch {
            topic_partition: at(*partition),
            base_offset: offset(*base_offset),
            record_count: *records,
            max_timestamp: Timestamp::from_millis(0),
            producer: None,
            transactional: false,
        };
        (placed, BATCH_BYTES, 0)
    });
    SegmentFooter::lay_out(at_segment, SequencerEpoch::new(epoch), batches).unwrap()
}

/// The same with a producer's batches, to partition 0: (base offset, records, sequence).
pub(crate) fn producer_footer(
    at_segment: SegmentId,
    epoch: u64,
    producer: i64,
    batches: &[(u64, u32, i32)],
) -> SegmentFooter {
    let plain: Vec<_> = batches.iter().map(|(base, n, _)| (0, *base, *n)).collect();
    let mut footer = footer(at_segment, epoch, &plain);
    for (batch, (_, _, base_sequence)) in footer.batches.iter_mut().zip(batches) {
        batch.producer = Some(ProducerStamp {
            producer_id: ProducerId::from_wire(producer).unwrap(),
            producer_epoch: ProducerEpoch::from_wire(0).unwrap(),
            base_sequence: *base_sequence,
        });
    }
    footer
}

pub(crate) fn exists(topic_partition: TopicPartition) -> bool {
    topic_partition.topic == at(0).topic && topic_partition.partition.get() < 2000
}

/// A leader: what is durable, what is in memory, what it was asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    pub(crate) state: LogState,
    pub(crate) sequencer: Sequencer,
    pub(crate) now: MonotonicTime,
    /// Effects since they were last taken.
    pub(crate) effects: Vec<Effect>,
}

impl Leader {
    /// The first leader of a new cluster, with sessions 1 and 2.
    pub(crate) fn new() -> Self {
        let mut leader = Self::over(LogState::empty(), 1, Vec::new());
        leader.register(1);
        leader.register(2);
        leader
    }

    /// A leader of a later epoch; all that it decided is durable.
    pub(crate) fn over(state: LogState, epoch: u64, walked: Vec<WalkedSession>) -> Self {
        let (mut leader, commands) = Self::recovering(state, epoch, walked);
        for command in &commands {
            leader.apply(command);
        }
        leader.effects.clear();
        leader
    }

    pub(crate) fn recovering(
        state: LogState,
        epoch: u64,
        walked: Vec<WalkedSession>,
    ) -> (Self, Vec<LogCommand>) {
        let Recovered {
            sequencer,
            commands,
        } = Sequencer::recover(
            SequencerEpoch::new(epoch),
            SequencerConfig::default(),
            &state,
            &exists,
            walked,
        )
        .unwrap();
        let leader = Self {
            state,
            sequencer,
            now: MonotonicTime::default(),
            effects: Vec::new(),
        };
        (leader, commands)
    }

    pub(crate) fn register(&mut self, name: u8) {
        let command = self.sequencer.register(session(name)).unwrap();
        self.apply(&command);
    }

    /// The command is durable.
    pub(crate) fn apply(&mut self, command: &LogCommand) {
        self.state.apply(command, &exists).unwrap();
        let effects = self
            .sequencer
            .command_applied(&self.state, command, self.now);
        self.effects.extend(effects);
    }

    pub(crate) fn request(
        &self,
        name: u8,
        index: u64,
        batches: Vec<ReservationSummary>,
    ) -> ReserveRequest {
        ReserveRequest {
            session: session(name),
            epoch: self.sequencer.epoch(),
            index: ChainIndex::new(index),
            written: ChainIndex::ZERO,
            batches,
        }
    }

    pub(crate) fn ask(&mut self, request: &ReserveRequest) -> Result<ReserveReply, ReserveError> {
        let (reply, effects) = self
            .sequencer
            .reserve(&self.state, &exists, request, self.now);
        self.effects.extend(effects);
        reply
    }

    pub(crate) fn try_reserve(
        &mut self,
        name: u8,
        index: u64,
        batches: Vec<ReservationSummary>,
    ) -> Result<Vec<BatchVerdict>, ReserveError> {
        let request = self.request(name, index, batches);
        self.ask(&request).map(|reply| reply.verdicts)
    }

    pub(crate) fn reserve(
        &mut self,
        name: u8,
        index: u64,
        batches: Vec<ReservationSummary>,
    ) -> Vec<BatchVerdict> {
        self.try_reserve(name, index, batches).unwrap()
    }

    /// The pod says that it wrote places below `written`.
    pub(crate) fn written(&mut self, name: u8, written: u64) {
        let report = WrittenReport {
            session: session(name),
            epoch: self.sequencer.epoch(),
            written: ChainIndex::new(written),
        };
        let effects = self.sequencer.written(&self.state, &report, self.now);
        self.effects.extend(effects);
    }

    pub(crate) fn probed(&mut self, name: u8, index: u64, probe: Probe) {
        let effects = self
            .sequencer
            .probed(&self.state, segment(name, index), probe, self.now);
        self.effects.extend(effects);
    }

    pub(crate) fn sealed_at(&mut self, name: u8, end: u64) {
        let end = ChainIndex::new(end);
        let effects = self
            .sequencer
            .sealed_at(&self.state, session(name), end, self.now);
        self.effects.extend(effects);
    }

    pub(crate) fn end_requested(&mut self, name: u8) -> crate::EndAnswer {
        let (answer, effects) = self
            .sequencer
            .end_requested(&self.state, session(name), self.now);
        self.effects.extend(effects);
        answer
    }

    /// Seals the session where its first uncommitted place is, and makes the end durable.
    pub(crate) fn end(&mut self, name: u8, end: u64) {
        self.end_requested(name);
        self.sealed_at(name, end);
        self.apply(&end_command(name, end));
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.now = self.now.after(Duration::from_millis(millis));
        let effects = self.sequencer.tick(self.now);
        self.effects.extend(effects);
    }

    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn take_advances(&mut self) -> Vec<PartitionAdvance> {
        let advance = |effect| match effect {
            Effect::Advanced(advance) => Some(advance),
            _ => None,
        };
        self.take_effects()
            .into_iter()
            .filter_map(advance)
            .collect()
    }

    /// Checkpoints all that waits.
    pub(crate) fn checkpoint(&mut self) {
        while let Some(command) = self.sequencer.checkpoint() {
            self.apply(&command);
        }
    }

    pub(crate) fn high_watermark(&self, partition: u32) -> u64 {
        self.sequencer
            .high_watermark(&self.state, at(partition))
            .get()
    }

    pub(crate) fn look_up(&self, partition: u32, from: u64) -> Vec<IndexExtent> {
        self.sequencer
            .look_up(&self.state, at(partition), offset(from), usize::MAX)
            .extents
    }

    /// Base and end offsets of what is visible.
    pub(crate) fn visible(&self, partition: u32) -> Vec<(u64, u64)> {
        spans(&self.look_up(partition, 0))
    }
}

pub(crate) fn spans(extents: &[IndexExtent]) -> Vec<(u64, u64)> {
    let span = |extent: &IndexExtent| (extent.base_offset.get(), extent.end_offset.get());
    extents.iter().map(span).collect()
}

pub(crate) fn end_command(name: u8, end: u64) -> LogCommand {
    LogCommand::EndSession {
        session: session(name),
        end: ChainIndex::new(end),
    }
}

pub(crate) fn walked(name: u8, segments: Vec<SegmentFooter>, end: u64) -> WalkedSession {
    WalkedSession {
        session: session(name),
        segments,
        end: ChainIndex::new(end),
    }
}
