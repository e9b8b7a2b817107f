//! Offsets for the batches of one segment: W3, W4 and the producer rules D1 to D4.
//!
//! In memory only. A batch that gets no place changes nothing, so a segment without any placed
//! batch leaves its number unused. Cost: a few map look-ups per partition and per idempotent batch.

use std::collections::{BTreeSet, VecDeque};

use esker_metadata_api::{
    BatchVerdict, ProduceRefusal, ProducerSpan, ReservationSummary, ReserveError, ReserveReply,
    ReserveRequest,
};
use esker_segment::{PlacedBatch, ProducerStamp, SegmentFooter};
use esker_types::{MonotonicTime, Offset, ProducerId, SegmentId, SequencerEpoch, TopicPartition};
use esker_types::{Planted, planted};

use crate::limits::{
    CHECKPOINT_LAG_BYTES_MAX, CHECKPOINT_LAG_SEGMENTS_MAX, UNDECIDED_BATCHES_MAX,
    UNDECIDED_SEGMENTS_MAX,
};
use crate::overlay::{Candidate, InFlight, Judgement, Known, ProducerView};
use crate::producers::{ProducerBatch, Sequence};
use crate::session::{Phase, Reservation};
use crate::state::{LogState, PartitionLog};
use crate::voided::{VoidMarks, Writer};
use crate::watermark::Partition;
use crate::{Effect, Sequencer};

/// Whether a reply refuses a batch in a way that a client takes as final and that another epoch
/// might see otherwise.
#[must_use]
pub fn has_final_refusal(reply: &ReserveReply) -> bool {
    reply.verdicts.iter().any(|verdict| match verdict {
        BatchVerdict::Refused(refusal) => match refusal {
            ProduceRefusal::UnknownPartition
            | ProduceRefusal::OutOfOrderSequence
            | ProduceRefusal::ProducerFenced
            | ProduceRefusal::OffsetsExhausted
            | ProduceRefusal::UnexpectedEnd { .. } => true,
            ProduceRefusal::DuplicateForgotten | ProduceRefusal::PredecessorVoid => false,
        },
        BatchVerdict::Placed { .. }
        | BatchVerdict::Duplicate { .. }
        | BatchVerdict::DuplicateInFlight { .. }
        | BatchVerdict::Deferred => false,
    })
}

/// Which answer a reservation gets, by its number.
enum Turn {
    /// Its number is the next one.
    Next,
    /// It was given out to these very batches (W3).
    Again(ReserveReply),
    /// It is decided: a late copy of an old call.
    Late,
    /// It was given out to others, or numbers were skipped.
    Wrong,
}

impl Sequencer {
    /// Answers a reservation (W3, W4); `exists` tells which partitions the catalogue has now.
    ///
    /// A reply that [`has_final_refusal`] may be given out only after an epoch check that began
    /// after the request came (R1, R2); the wait of R1 is done here, by deferring.
    pub fn reserve(
        &mut self,
        state: &LogState,
        exists: &dyn Fn(TopicPartition) -> bool,
        request: &ReserveRequest,
        now: MonotonicTime,
    ) -> (Result<ReserveReply, ReserveError>, Vec<Effect>) {
        let mut effects = Vec::new();
        let reply = self.answer(state, exists, request, now, &mut effects);
        (reply, effects)
    }

    fn answer(
        &mut self,
        state: &LogState,
        exists: &dyn Fn(TopicPartition) -> bool,
        request: &ReserveRequest,
        now: MonotonicTime,
        effects: &mut Vec<Effect>,
    ) -> Result<ReserveReply, ReserveError> {
        if request.epoch != self.epoch {
            return Err(ReserveError::SessionClosed);
        }
        self.hear_written(state, request.session, request.written, now, effects);
        match self.turn(request)? {
            Turn::Again(reply) if planted(Planted::ReserveTwice) => return Ok(moved(reply)),
            Turn::Again(reply) => return Ok(reply),
            Turn::Late => return Err(ReserveError::OutOfTurn),
            Turn::Next if fits_a_segment(request) => {}
            Turn::Next | Turn::Wrong => {
                self.begin_sealing(request.session, now, effects);
                return Err(ReserveError::OutOfTurn);
            }
        }
        self.check_room(request)?;
        Ok(self.place(state, exists, request, now, effects))
    }

    fn turn(&self, request: &ReserveRequest) -> Result<Turn, ReserveError> {
        let session = self.sessions.get(&request.session);
        let session = session.filter(|session| session.phase == Phase::Open);
        let session = session.ok_or(ReserveError::SessionClosed)?;
        Ok(match session.reservation(request.index) {
            Some(known) if known.batches == request.batches => Turn::Again(known.reply.clone()),
            None if request.index == session.next() => Turn::Next,
            None if request.index < session.committed() => Turn::Late,
            Some(_) | None => Turn::Wrong,
        })
    }

    fn check_room(&self, request: &ReserveRequest) -> Result<(), ReserveError> {
        let session = self.sessions.get(&request.session);
        let undecided = session.map_or(0, |session| session.undecided().len());
        let lag = self.checkpoint_lag();
        let batches = self.undecided_batches + request.batches.len();
        let full = undecided >= UNDECIDED_SEGMENTS_MAX
            || batches > UNDECIDED_BATCHES_MAX
            || lag.segments >= CHECKPOINT_LAG_SEGMENTS_MAX
            || lag.bytes >= CHECKPOINT_LAG_BYTES_MAX;
        if full {
            return Err(ReserveError::TooManyUndecided);
        }
        Ok(())
    }

    fn place(
        &mut self,
        state: &LogState,
        exists: &dyn Fn(TopicPartition) -> bool,
        request: &ReserveRequest,
        now: MonotonicTime,
        effects: &mut Vec<Effect>,
    ) -> ReserveReply {
        let segment = SegmentId {
            session: request.session,
            index: request.index,
        };
        let in_grace = self.grace_until.is_some_and(|until| now < until);
        let mut placing = Placing::new(segment, &mut self.voided, in_grace);
        let runs = request
            .batches
            .chunk_by(|one, next| one.topic_partition == next.topic_partition);
        for run in runs {
            let Some(topic_partition) = run.first().map(|first| first.topic_partition) else {
                continue;
            };
            if exists(topic_partition) {
                let partition = Self::partition_mut(&mut self.partitions, state, topic_partition);
                placing.place_run(partition, state.partition(topic_partition), run);
            } else {
                placing.refuse_run(run);
            }
        }
        let (reply, placed, blockers) = placing.finish();
        if let Some(session) = self.sessions.get_mut(&request.session)
            && !placed.is_empty()
        {
            self.undecided_batches += request.batches.len();
            session.reserve(Reservation {
                batches: request.batches.clone(),
                reply: reply.clone(),
                footer: footer_of(segment, self.epoch, &placed),
                reserved_at: now,
            });
        }
        for blocker in blockers {
            self.want_decided(blocker, now, effects);
        }
        reply
    }
}

/// A planted answer: other offsets than the first time.
fn moved(mut reply: ReserveReply) -> ReserveReply {
    for verdict in &mut reply.verdicts {
        if let BatchVerdict::Placed { base_offset, .. } = verdict {
            *base_offset = base_offset.after(1).unwrap_or(*base_offset);
        }
    }
    reply
}

/// Whether the batches keep the rules of a segment, wherever their offsets may be.
fn fits_a_segment(request: &ReserveRequest) -> bool {
    if request.batches.is_empty() {
        return true;
    }
    let segment = SegmentId {
        session: request.session,
        index: request.index,
    };
    let mut run = None;
    let mut next = Offset::ZERO;
    let batches = request.batches.iter().map(|batch| {
        if run != Some(batch.topic_partition) {
            run = Some(batch.topic_partition);
            next = Offset::ZERO;
        }
        let placed = PlacedBatch {
            producer: None,
            ..placed_at(batch, next)
        };
        next = placed.base_offset.after(batch.record_count).unwrap_or(next);
        (placed, batch.batch_bytes, 0)
    });
    SegmentFooter::lay_out(segment, request.epoch, batches).is_ok()
}

fn placed_at(batch: &ReservationSummary, base_offset: Offset) -> PlacedBatch {
    PlacedBatch {
        topic_partition: batch.topic_partition,
        base_offset,
        record_count: batch.record_count,
        max_timestamp: batch.max_timestamp,
        producer: batch.producer.map(|span| ProducerStamp {
            producer_id: span.producer_id,
            producer_epoch: span.producer_epoch,
            base_sequence: span.base_sequence,
        }),
        transactional: batch.transactional,
    }
}

/// The footer that the pod will write, but for the batches' checksums, which nobody asks for here.
fn footer_of(
    segment: SegmentId,
    epoch: SequencerEpoch,
    placed: &[(PlacedBatch, u32)],
) -> SegmentFooter {
    let batches = placed.iter().map(|(batch, bytes)| (*batch, *bytes, 0));
    SegmentFooter::lay_out(segment, epoch, batches)
        .expect("some of the batches that fit a segment fit a segment")
}

/// The batches of one segment on their way to their places.
struct Placing<'a> {
    segment: SegmentId,
    voided: &'a mut VoidMarks,
    in_grace: bool,
    verdicts: Vec<BatchVerdict>,
    placed: Vec<(PlacedBatch, u32)>,
    /// Undecided segments of other sessions that hold batches up.
    blockers: BTreeSet<SegmentId>,
    /// Producers of the run of which a batch was deferred: their later ones wait behind it.
    deferred: BTreeSet<ProducerId>,
}

impl<'a> Placing<'a> {
    fn new(segment: SegmentId, voided: &'a mut VoidMarks, in_grace: bool) -> Self {
        Self {
            segment,
            voided,
            in_grace,
            verdicts: Vec::new(),
            placed: Vec::new(),
            blockers: BTreeSet::new(),
            deferred: BTreeSet::new(),
        }
    }

    fn refuse_run(&mut self, run: &[ReservationSummary]) {
        let refused = BatchVerdict::Refused(ProduceRefusal::UnknownPartition);
        self.verdicts.extend(run.iter().map(|_| refused));
    }

    fn place_run(
        &mut self,
        partition: &mut Partition,
        log: Option<&PartitionLog>,
        run: &[ReservationSummary],
    ) {
        self.deferred.clear();
        let log_start = log.map_or(Offset::ZERO, |log| log.log_start);
        for batch in run {
            let judgement = match self.judge(partition, log, batch) {
                Judgement::Place => condition(partition, batch),
                judged => judged,
            };
            let verdict = match judgement {
                Judgement::Place => self.place_batch(partition, log, batch),
                Judgement::Duplicate { base_offset } => BatchVerdict::Duplicate {
                    base_offset,
                    log_start,
                },
                Judgement::DuplicateInFlight {
                    original,
                    base_offset,
                } => BatchVerdict::DuplicateInFlight {
                    original,
                    base_offset,
                    log_start,
                },
                Judgement::Defer { blocker } => self.defer(blocker, batch),
                Judgement::Refuse(refusal) => BatchVerdict::Refused(refusal),
            };
            self.verdicts.push(verdict);
        }
    }

    fn judge(
        &self,
        partition: &Partition,
        log: Option<&PartitionLog>,
        batch: &ReservationSummary,
    ) -> Judgement {
        let Some(span) = batch.producer else {
            return Judgement::Place;
        };
        let session = self.segment.session;
        let Some(candidate) = Candidate::new(session, span, batch.record_count) else {
            return Judgement::Refuse(ProduceRefusal::OutOfOrderSequence);
        };
        if self.deferred.contains(&span.producer_id) {
            return Judgement::Defer {
                blocker: self.segment,
            };
        }
        let mark = self.voided.get(writer(batch.topic_partition, span));
        let none = VecDeque::new();
        let (committed, undecided) = match partition.producers.get(&span.producer_id) {
            Some(view) => (view.committed.as_ref(), view.undecided()),
            None => {
                let committed = log.and_then(|log| log.producers.get(&span.producer_id));
                (committed, &none)
            }
        };
        candidate.judge(Known {
            committed,
            undecided,
            mark,
            in_grace: self.in_grace,
        })
    }

    fn place_batch(
        &mut self,
        partition: &mut Partition,
        log: Option<&PartitionLog>,
        batch: &ReservationSummary,
    ) -> BatchVerdict {
        let Some(base_offset) = partition.reserve(self.segment, batch.record_count) else {
            return BatchVerdict::Refused(ProduceRefusal::OffsetsExhausted);
        };
        self.placed
            .push((placed_at(batch, base_offset), batch.batch_bytes));
        if let Some(span) = batch.producer {
            let known = ProducerBatch {
                base_sequence: Sequence::from_wire(span.base_sequence).unwrap_or(Sequence::ZERO),
                record_count: batch.record_count,
                base_offset,
            };
            let view = partition
                .producers
                .entry(span.producer_id)
                .or_insert_with(|| {
                    let committed = log.and_then(|log| log.producers.get(&span.producer_id));
                    ProducerView::of(committed.cloned())
                });
            view.place(InFlight {
                segment: self.segment,
                epoch: span.producer_epoch,
                batch: known,
            });
            let writer = writer(batch.topic_partition, span);
            self.voided.placed(writer, known.end_sequence());
        }
        BatchVerdict::Placed {
            base_offset,
            log_start: log.map_or(Offset::ZERO, |log| log.log_start),
        }
    }

    fn defer(&mut self, blocker: SegmentId, batch: &ReservationSummary) -> BatchVerdict {
        if let Some(span) = batch.producer {
            self.deferred.insert(span.producer_id);
        }
        if blocker.session != self.segment.session {
            self.blockers.insert(blocker);
        }
        BatchVerdict::Deferred
    }

    fn finish(self) -> (ReserveReply, Vec<(PlacedBatch, u32)>, BTreeSet<SegmentId>) {
        let verdicts = self.verdicts;
        (ReserveReply { verdicts }, self.placed, self.blockers)
    }
}

/// Whether a conditional batch may be placed. Records at or above the offset it expects are final
/// as soon as they are committed; what rests on undecided ones waits for them (R1).
fn condition(partition: &Partition, batch: &ReservationSummary) -> Judgement {
    let Some(expected) = batch.expected_end else {
        return Judgement::Place;
    };
    let end = partition.committed_end();
    if end > expected || partition.next() < expected {
        return Judgement::Refuse(ProduceRefusal::UnexpectedEnd { end });
    }
    match partition.last_undecided() {
        Some(blocker) => Judgement::Defer { blocker },
        None if end == expected => Judgement::Place,
        None => Judgement::Refuse(ProduceRefusal::UnexpectedEnd { end }),
    }
}

fn writer(topic_partition: TopicPartition, span: ProducerSpan) -> Writer {
    Writer {
        topic_partition,
        producer_id: span.producer_id,
        producer_epoch: span.producer_epoch,
    }
}
