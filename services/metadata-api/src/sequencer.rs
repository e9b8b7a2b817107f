//! What ingest asks: a session, offsets for a segment, and to be heard when it is written.
//!
//! Commit protocol §4 to §6. Any message may be lost, doubled or late; all are idempotent.

use std::fmt::Debug;

use esker_types::{
    ChainIndex, ClusterId, Offset, ProducerEpoch, ProducerId, SequencerEpoch, SessionId, Timestamp,
    TopicPartition,
};
use futures::future::BoxFuture;

use crate::MetadataError;

/// Who wrote a batch, and where in the producer's sequence it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerSpan {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record; later ones count up, 2^31 - 1 is followed by 0.
    pub base_sequence: i32,
}

/// What the sequencer must know of one batch. In the order of the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationSummary {
    /// Where it goes.
    pub topic_partition: TopicPartition,
    /// Offsets it takes, at least 1.
    pub record_count: u32,
    /// Bytes on the wire.
    pub batch_bytes: u32,
    /// Its largest timestamp.
    pub max_timestamp: Timestamp,
    /// Set for idempotent producers.
    pub producer: Option<ProducerSpan>,
    /// Part of a transaction.
    pub transactional: bool,
    /// Placed only when nothing is undecided in the partition and its last committed record ends
    /// here: a conditional append. `None` for all others.
    pub expected_end: Option<Offset>,
}

/// A new session, registered durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The session; its chain starts at 0.
    pub session: SessionId,
    /// The sequencer that registered it.
    pub epoch: SequencerEpoch,
    /// The cluster, for object headers and keys.
    pub cluster: ClusterId,
}

/// Asks for the offsets of segment (session, index). Idempotent by these two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveRequest {
    /// The session.
    pub session: SessionId,
    /// The epoch it was registered under.
    pub epoch: SequencerEpoch,
    /// The segment's place. One call is outstanding per session; places go up by one.
    pub index: ChainIndex,
    /// Segments `0..written` are known to be written (cumulative `Written`).
    pub written: ChainIndex,
    /// The batches, grouped by partition, in arrival order inside a partition.
    pub batches: Vec<ReservationSummary>,
}

/// A final refusal of one batch; the others of the segment go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceRefusal {
    /// No such topic incarnation or partition (any more).
    #[error("topic or partition does not exist")]
    UnknownPartition,
    /// The sequence is neither next nor a replay.
    #[error("producer sequence is out of order")]
    OutOfOrderSequence,
    /// An older replay than the five batches remembered, decided committed long ago.
    #[error("batch was committed before the five batches remembered")]
    DuplicateForgotten,
    /// A newer epoch of this producer id has written.
    #[error("producer epoch is fenced by a newer one")]
    ProducerFenced,
    /// Behind a batch of the same producer that turned void: same order again, please.
    #[error("an earlier batch of this producer was voided")]
    PredecessorVoid,
    /// The partition's offsets are used up.
    #[error("partition has no offsets left")]
    OffsetsExhausted,
    /// A conditional append that expected another end of the log.
    #[error("partition ends at another offset than expected")]
    UnexpectedEnd {
        /// The end at this moment, or below what is still undecided.
        end: Offset,
    },
}

/// What became of one batch of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchVerdict {
    /// It gets this base offset and a place in the segment.
    Placed {
        /// Offset of its first record.
        base_offset: Offset,
        /// The partition's log start offset.
        log_start: Offset,
    },
    /// It is in the log already: committed, with this base offset. It gets no place.
    Duplicate {
        /// Offset of the original's first record.
        base_offset: Offset,
        /// The partition's log start offset.
        log_start: Offset,
    },
    /// Its original is in segment `original` of this same session, not yet decided: answer as that
    /// one is answered. It gets no place.
    DuplicateInFlight {
        /// Place of the original.
        original: ChainIndex,
        /// Offset of the original's first record.
        base_offset: Offset,
        /// The partition's log start offset.
        log_start: Offset,
    },
    /// A batch of this producer is undecided in another session: offer it again a little later.
    /// It gets no place, and later batches of the same producer and partition must wait behind it.
    Deferred,
    /// Refused for good. It gets no place.
    Refused(ProduceRefusal),
}

/// The answer to [`ReserveRequest`]: one verdict per batch, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveReply {
    /// As many as batches were asked for.
    pub verdicts: Vec<BatchVerdict>,
}

/// Why a whole reservation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// The session is unknown, ended or being sealed here: register a new one.
    #[error("session is closed")]
    SessionClosed,
    /// The place was used for other batches, or places were skipped: register a new one.
    #[error("reservation does not continue the session")]
    OutOfTurn,
    /// More undecided segments than allowed: wait for some to be written.
    #[error("too many undecided segments")]
    TooManyUndecided,
    /// No answer; see the source for what is known.
    #[error("reservation was not answered")]
    Metadata(#[source] MetadataError),
}

/// "Segments 0..written of the session exist." Cumulative; may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenReport {
    /// The session.
    pub session: SessionId,
    /// The epoch it was registered under.
    pub epoch: SequencerEpoch,
    /// One past the last written place.
    pub written: ChainIndex,
}

/// `ended(s)` is durable: `Dead(s, m)` of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// Segments below are committed; this one and all above surely are not written.
    pub end: ChainIndex,
}

/// The sequencer, as ingest sees it.
pub trait Sequencer: Debug + Send + Sync + 'static {
    /// Registers a new session, durable before the answer. `replaces` is sealed in the background.
    fn register(
        &self,
        replaces: Option<SessionId>,
    ) -> BoxFuture<'_, Result<Registered, MetadataError>>;

    /// Reserves offsets; in memory only.
    fn reserve(&self, request: ReserveRequest)
    -> BoxFuture<'_, Result<ReserveReply, ReserveError>>;

    /// Tells of written segments. The answer says only that it was heard.
    fn written(&self, report: WrittenReport) -> BoxFuture<'_, Result<(), MetadataError>>;

    /// Seals the session (if nobody has) and answers when its end is durable (W7).
    fn end_session(&self, session: SessionId) -> BoxFuture<'_, Result<SessionEnd, MetadataError>>;
}
