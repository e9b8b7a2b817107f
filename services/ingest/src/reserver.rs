//! Stage 4: asks for the offsets of a sealed segment and sorts its batches by the verdicts.
//!
//! The sequencer's answer comes from outside: what contradicts the question ends the session
//! instead of reaching the builder. Source: commit protocol W3, D2 to D4.

use esker_metadata_api::{BatchVerdict, Registered, ReserveReply, ReserveRequest};
use esker_segment::{BuiltSegment, PlacedBatch, ProducerStamp, SegmentBuilder, SegmentHead};
use esker_types::{ChainIndex, Offset, SegmentId, WriteId};

use crate::batch::{AdmittedBatch, BatchBody};
use crate::batcher::SealedSegment;
use crate::slots::{CommittedOriginal, Promise, ReplaySlot, ReplySlots};

/// A segment with offsets: what was placed, ready to be built.
#[derive(Debug)]
pub(crate) struct ReservedSegment {
    pub(crate) id: SegmentId,
    pub(crate) bodies: Vec<BatchBody>,
    pub(crate) offsets: Vec<Offset>,
    pub(crate) slots: ReplySlots,
}

/// The batches of a segment by verdict.
#[derive(Debug)]
pub(crate) struct Verdicts {
    /// `None` when no batch was placed: the index is free for the next segment.
    pub(crate) reserved: Option<ReservedSegment>,
    pub(crate) deferred: Vec<AdmittedBatch>,
    /// Replays of batches in flight, with the place of the original.
    pub(crate) replays: Vec<(ChainIndex, ReplaySlot)>,
    pub(crate) duplicates: Vec<(AdmittedBatch, CommittedOriginal)>,
    pub(crate) refused: Vec<(AdmittedBatch, esker_metadata_api::ProduceRefusal)>,
}

/// The sequencer's answer does not fit the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplyMismatch {
    /// Another number of verdicts than batches.
    #[error("{verdicts} verdicts for {batches} batches")]
    Count { verdicts: usize, batches: usize },
    /// Offsets of a partition with a gap or out of order, or past the largest.
    #[error("offset {found} does not follow in its partition")]
    Offsets { found: Offset },
    /// The original of a replay is not in the session's chain.
    #[error("original of a replay is at {original}, behind what was reserved")]
    Original { original: ChainIndex },
}

impl SealedSegment {
    /// The question. `written`: all segments below are known to be written.
    pub(crate) fn request(&self, registered: &Registered, written: ChainIndex) -> ReserveRequest {
        let summary = |batch: &AdmittedBatch| batch.body.summary.clone();
        ReserveRequest {
            session: registered.session,
            epoch: registered.epoch,
            index: self.id.index,
            written,
            batches: self.batches.iter().map(summary).collect(),
        }
    }

    /// Whether the answer fits; what is in flight besides is the session's to know.
    fn check(&self, reply: &ReserveReply) -> Result<(), ReplyMismatch> {
        if reply.verdicts.len() != self.batches.len() {
            return Err(ReplyMismatch::Count {
                verdicts: reply.verdicts.len(),
                batches: self.batches.len(),
            });
        }
        let mut run = None;
        for (batch, verdict) in self.batches.iter().zip(&reply.verdicts) {
            let summary = &batch.body.summary;
            match verdict {
                BatchVerdict::Placed { base_offset, .. } => {
                    let found = *base_offset;
                    let follows = run.is_none_or(|(topic_partition, end)| {
                        topic_partition != summary.topic_partition || end == found
                    });
                    let end = found.after(summary.record_count);
                    let end = end.filter(|_| follows);
                    let end = end.ok_or(ReplyMismatch::Offsets { found })?;
                    run = Some((summary.topic_partition, end));
                }
                BatchVerdict::DuplicateInFlight { original, .. } if *original > self.id.index => {
                    let original = *original;
                    return Err(ReplyMismatch::Original { original });
                }
                BatchVerdict::DuplicateInFlight { .. }
                | BatchVerdict::Duplicate { .. }
                | BatchVerdict::Deferred
                | BatchVerdict::Refused(_) => {}
            }
        }
        Ok(())
    }

    /// Sorts the batches by verdict; each goes to exactly one place.
    ///
    /// # Errors
    /// Hands the segment back with what is wrong: end the session and offer it in a new one.
    pub(crate) fn judge(self, reply: &ReserveReply) -> Result<Verdicts, (Self, ReplyMismatch)> {
        if let Err(mismatch) = self.check(reply) {
            return Err((self, mismatch));
        }
        let mut bodies = Vec::new();
        let mut offsets = Vec::new();
        let mut promised = Vec::new();
        let mut verdicts = Verdicts {
            reserved: None,
            deferred: Vec::new(),
            replays: Vec::new(),
            duplicates: Vec::new(),
            refused: Vec::new(),
        };
        for (batch, verdict) in self.batches.into_iter().zip(&reply.verdicts) {
            match *verdict {
                BatchVerdict::Placed {
                    base_offset,
                    log_start,
                } => {
                    bodies.push(batch.body);
                    offsets.push(base_offset);
                    promised.push((batch.slot, promise(base_offset, log_start)));
                }
                BatchVerdict::Duplicate {
                    base_offset,
                    log_start,
                } => {
                    let original = CommittedOriginal::from_verdict(promise(base_offset, log_start));
                    verdicts.duplicates.push((batch, original));
                }
                BatchVerdict::DuplicateInFlight {
                    original,
                    base_offset,
                    log_start,
                } => {
                    let promise = promise(base_offset, log_start);
                    let slot = batch.slot;
                    verdicts
                        .replays
                        .push((original, ReplaySlot { slot, promise }));
                }
                BatchVerdict::Deferred => verdicts.deferred.push(batch),
                BatchVerdict::Refused(refusal) => verdicts.refused.push((batch, refusal)),
            }
        }
        if !bodies.is_empty() {
            verdicts.reserved = Some(ReservedSegment {
                id: self.id,
                bodies,
                offsets,
                slots: ReplySlots::new(self.id, promised),
            });
        }
        Ok(verdicts)
    }
}

fn promise(base_offset: Offset, log_start: Offset) -> Promise {
    Promise {
        base_offset,
        log_start,
    }
}

impl ReservedSegment {
    /// The bytes of the segment, which never change again (W5). The batches share them from here
    /// on, so that what they came in is free.
    pub(crate) fn build(&mut self, registered: &Registered, write_id: WriteId) -> BuiltSegment {
        assert_eq!(
            registered.session, self.id.session,
            "a segment is written in the session that reserved it"
        );
        let bytes: usize = self.bodies.iter().map(|body| body.bytes.len()).sum();
        let head = SegmentHead {
            cluster: registered.cluster,
            segment: self.id,
            epoch: registered.epoch,
            write_id,
        };
        let footer_bytes = self.bodies.len().saturating_mul(FOOTER_BYTES_PER_BATCH);
        let mut builder = SegmentBuilder::with_capacity(head, bytes.saturating_add(footer_bytes));
        for (body, base_offset) in self.bodies.iter().zip(&self.offsets) {
            builder.push(placed(body, *base_offset), &body.bytes);
        }
        let built = builder.finish();
        for (body, summary) in self.bodies.iter_mut().zip(&built.footer.batches) {
            let start = usize::try_from(summary.range.start()).unwrap_or(usize::MAX);
            let end = usize::try_from(summary.range.end()).unwrap_or(usize::MAX);
            body.bytes = built.object.slice(start..end);
        }
        built
    }
}

/// Room for a batch's line in the footer, generously.
const FOOTER_BYTES_PER_BATCH: usize = 80;

fn placed(body: &BatchBody, base_offset: Offset) -> PlacedBatch {
    PlacedBatch {
        topic_partition: body.summary.topic_partition,
        base_offset,
        record_count: body.summary.record_count,
        max_timestamp: body.summary.max_timestamp,
        producer: body.summary.producer.map(|span| ProducerStamp {
            producer_id: span.producer_id,
            producer_epoch: span.producer_epoch,
            base_sequence: span.base_sequence,
        }),
        transactional: body.summary.transactional,
    }
}

#[cfg(test)]
mod tests;
