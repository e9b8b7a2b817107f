//! Sessions and reservations.

use esker_metadata_api::{
    BatchVerdict, MetadataError, ProduceRefusal, ProducerSpan, Registered, ReservationSummary,
    ReserveError, ReserveReply, ReserveRequest, SessionEnd, WrittenReport,
};
use esker_types::{ChainIndex, SequencerEpoch, Timestamp};

use super::ids::{bytes16, cluster, offset, producer_epoch, producer_id, session, topic_partition};
use super::{Malformed, kind_of, present};
use crate::proto::batch_verdict::refused::{Reason, UnexpectedEnd};
use crate::proto::batch_verdict::{InFlight, Placed, Refused, Verdict};
use crate::proto::reserve_reply::{Outcome, Verdicts};
use crate::proto::{self, Empty};

impl From<Registered> for proto::Registered {
    fn from(value: Registered) -> Self {
        Self {
            session: bytes16(value.session.bytes()),
            epoch: value.epoch.get(),
            cluster: bytes16(value.cluster.bytes()),
        }
    }
}

impl TryFrom<proto::Registered> for Registered {
    type Error = Malformed;

    fn try_from(value: proto::Registered) -> Result<Self, Malformed> {
        Ok(Self {
            session: session(&value.session)?,
            epoch: SequencerEpoch::new(value.epoch),
            cluster: cluster(&value.cluster)?,
        })
    }
}

impl From<ReserveRequest> for proto::ReserveRequest {
    fn from(value: ReserveRequest) -> Self {
        Self {
            session: bytes16(value.session.bytes()),
            epoch: value.epoch.get(),
            index: value.index.get(),
            written: value.written.get(),
            batches: value.batches.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<proto::ReserveRequest> for ReserveRequest {
    type Error = Malformed;

    fn try_from(value: proto::ReserveRequest) -> Result<Self, Malformed> {
        let batches = value.batches.into_iter().map(TryInto::try_into);
        Ok(Self {
            session: session(&value.session)?,
            epoch: SequencerEpoch::new(value.epoch),
            index: ChainIndex::new(value.index),
            written: ChainIndex::new(value.written),
            batches: batches.collect::<Result<_, _>>()?,
        })
    }
}

impl From<ReservationSummary> for proto::ReservationSummary {
    fn from(value: ReservationSummary) -> Self {
        Self {
            topic_partition: Some(value.topic_partition.into()),
            record_count: value.record_count,
            batch_bytes: value.batch_bytes,
            max_timestamp: value.max_timestamp.millis(),
            producer: value.producer.map(|producer| proto::ProducerSpan {
                producer_id: producer.producer_id.to_wire(),
                producer_epoch: producer.producer_epoch.to_wire().into(),
                base_sequence: producer.base_sequence,
            }),
            transactional: value.transactional,
            expected_end: value.expected_end.map(|end| end.get()),
        }
    }
}

impl TryFrom<proto::ReservationSummary> for ReservationSummary {
    type Error = Malformed;

    fn try_from(value: proto::ReservationSummary) -> Result<Self, Malformed> {
        let producer = value.producer.map(|producer| {
            Ok(ProducerSpan {
                producer_id: producer_id(producer.producer_id)?,
                producer_epoch: producer_epoch(producer.producer_epoch)?,
                base_sequence: producer.base_sequence,
            })
        });
        let expected_end = value.expected_end.map(|end| offset(end, "expected_end"));
        Ok(Self {
            topic_partition: topic_partition(value.topic_partition)?,
            record_count: value.record_count,
            batch_bytes: value.batch_bytes,
            max_timestamp: Timestamp::from_millis(value.max_timestamp),
            producer: producer.transpose()?,
            transactional: value.transactional,
            expected_end: expected_end.transpose()?,
        })
    }
}

impl From<BatchVerdict> for proto::BatchVerdict {
    fn from(value: BatchVerdict) -> Self {
        let placed = |base: esker_types::Offset, start: esker_types::Offset| Placed {
            base_offset: base.get(),
            log_start: start.get(),
        };
        let verdict = match value {
            BatchVerdict::Placed {
                base_offset,
                log_start,
            } => Verdict::Placed(placed(base_offset, log_start)),
            BatchVerdict::Duplicate {
                base_offset,
                log_start,
            } => Verdict::Duplicate(placed(base_offset, log_start)),
            BatchVerdict::DuplicateInFlight {
                original,
                base_offset,
                log_start,
            } => Verdict::DuplicateInFlight(InFlight {
                original: original.get(),
                base_offset: base_offset.get(),
                log_start: log_start.get(),
            }),
            BatchVerdict::Deferred => Verdict::Deferred(Empty {}),
            BatchVerdict::Refused(refusal) => Verdict::Refused(Refused {
                reason: Some(refusal.into()),
            }),
        };
        Self {
            verdict: Some(verdict),
        }
    }
}

impl TryFrom<proto::BatchVerdict> for BatchVerdict {
    type Error = Malformed;

    fn try_from(value: proto::BatchVerdict) -> Result<Self, Malformed> {
        Ok(match present(value.verdict, "verdict")? {
            Verdict::Placed(at) => Self::Placed {
                base_offset: offset(at.base_offset, "base_offset")?,
                log_start: offset(at.log_start, "log_start")?,
            },
            Verdict::Duplicate(at) => Self::Duplicate {
                base_offset: offset(at.base_offset, "base_offset")?,
                log_start: offset(at.log_start, "log_start")?,
            },
            Verdict::DuplicateInFlight(at) => Self::DuplicateInFlight {
                original: ChainIndex::new(at.original),
                base_offset: offset(at.base_offset, "base_offset")?,
                log_start: offset(at.log_start, "log_start")?,
            },
            Verdict::Deferred(Empty {}) => Self::Deferred,
            Verdict::Refused(refused) => {
                Self::Refused(present(refused.reason, "refused")?.try_into()?)
            }
        })
    }
}

impl From<ProduceRefusal> for Reason {
    fn from(value: ProduceRefusal) -> Self {
        match value {
            ProduceRefusal::UnknownPartition => Self::UnknownPartition(Empty {}),
            ProduceRefusal::OutOfOrderSequence => Self::OutOfOrderSequence(Empty {}),
            ProduceRefusal::DuplicateForgotten => Self::DuplicateForgotten(Empty {}),
            ProduceRefusal::ProducerFenced => Self::ProducerFenced(Empty {}),
            ProduceRefusal::PredecessorVoid => Self::PredecessorVoid(Empty {}),
            ProduceRefusal::OffsetsExhausted => Self::OffsetsExhausted(Empty {}),
            ProduceRefusal::UnexpectedEnd { end } => {
                Self::UnexpectedEnd(UnexpectedEnd { end: end.get() })
            }
        }
    }
}

impl TryFrom<Reason> for ProduceRefusal {
    type Error = Malformed;

    fn try_from(value: Reason) -> Result<Self, Malformed> {
        Ok(match value {
            Reason::UnknownPartition(Empty {}) => Self::UnknownPartition,
            Reason::OutOfOrderSequence(Empty {}) => Self::OutOfOrderSequence,
            Reason::DuplicateForgotten(Empty {}) => Self::DuplicateForgotten,
            Reason::ProducerFenced(Empty {}) => Self::ProducerFenced,
            Reason::PredecessorVoid(Empty {}) => Self::PredecessorVoid,
            Reason::OffsetsExhausted(Empty {}) => Self::OffsetsExhausted,
            Reason::UnexpectedEnd(UnexpectedEnd { end }) => Self::UnexpectedEnd {
                end: offset(end, "end")?,
            },
        })
    }
}

/// What a reservation is answered with; `failed` makes the failure of a missing answer.
pub(crate) fn reserve_outcome(
    answer: Result<ReserveReply, ReserveError>,
    failed: impl FnOnce(MetadataError) -> proto::Failure,
) -> proto::ReserveReply {
    let outcome = match answer {
        Ok(reply) => Outcome::Verdicts(Verdicts {
            verdicts: reply.verdicts.into_iter().map(Into::into).collect(),
        }),
        Err(ReserveError::SessionClosed) => Outcome::SessionClosed(Empty {}),
        Err(ReserveError::OutOfTurn) => Outcome::OutOfTurn(Empty {}),
        Err(ReserveError::TooManyUndecided) => Outcome::TooManyUndecided(Empty {}),
        Err(ReserveError::Metadata(error)) => Outcome::Failure(failed(error)),
    };
    proto::ReserveReply {
        outcome: Some(outcome),
    }
}

/// The answer to a reservation of `batch_count` batches: one verdict for each.
pub(crate) fn verdicts(
    reply: proto::ReserveReply,
    batch_count: usize,
) -> Result<Result<ReserveReply, ReserveError>, Malformed> {
    Ok(match present(reply.outcome, "outcome")? {
        Outcome::Verdicts(Verdicts { verdicts }) => {
            if verdicts.len() != batch_count {
                return Err(Malformed { field: "verdicts" });
            }
            let verdicts = verdicts.into_iter().map(TryInto::try_into);
            Ok(ReserveReply {
                verdicts: verdicts.collect::<Result<_, _>>()?,
            })
        }
        Outcome::Failure(failure) => Err(ReserveError::Metadata(kind_of(&failure))),
        Outcome::SessionClosed(Empty {}) => Err(ReserveError::SessionClosed),
        Outcome::OutOfTurn(Empty {}) => Err(ReserveError::OutOfTurn),
        Outcome::TooManyUndecided(Empty {}) => Err(ReserveError::TooManyUndecided),
    })
}

impl From<WrittenReport> for proto::WrittenRequest {
    fn from(value: WrittenReport) -> Self {
        Self {
            session: bytes16(value.session.bytes()),
            epoch: value.epoch.get(),
            written: value.written.get(),
        }
    }
}

impl TryFrom<proto::WrittenRequest> for WrittenReport {
    type Error = Malformed;

    fn try_from(value: proto::WrittenRequest) -> Result<Self, Malformed> {
        Ok(Self {
            session: session(&value.session)?,
            epoch: SequencerEpoch::new(value.epoch),
            written: ChainIndex::new(value.written),
        })
    }
}

impl From<SessionEnd> for proto::end_session_reply::Ended {
    fn from(value: SessionEnd) -> Self {
        Self {
            end: value.end.get(),
        }
    }
}
