//! Why a batch was not appended, and why the produce path as a whole stops.
//!
//! Every variant of [`AppendError`] says whether the batch may be in the log: only `Undecided` may.

use std::sync::Arc;
use std::time::Duration;

use esker_env::TaskFailure;
use esker_metadata_api::{MetadataError, ProduceRefusal};
use esker_record::{BatchError, ValidateError};
use esker_types::{ChainIndex, SegmentId, SessionId, Timestamp};

/// Why one batch was not appended (or, for [`AppendError::Undecided`], is not known to be).
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Acknowledgements other than 0, 1 and all.
    #[error("acks {acks} is none of 0, 1 and -1")]
    Acks {
        /// What was asked for.
        acks: i16,
    },
    /// No such topic or partition, by an answer that is current (R1).
    #[error("topic or partition does not exist")]
    UnknownPartition,
    /// No such topic or partition as last heard, and nobody could say whether that is still so.
    #[error("whether the topic exists is not known")]
    Unconfirmed(#[source] MetadataError),
    /// No records at all.
    #[error("partition has no record batch")]
    Empty,
    /// The bytes are not a record batch that the topic takes.
    #[error("record batch is not admitted")]
    Invalid(#[source] Arc<ValidateError>),
    /// All records are older than the topic's `message.timestamp.before.max.ms` allows.
    #[error("timestamp {timestamp:?} is earlier than the topic takes")]
    TimestampTooEarly {
        /// The batch's largest timestamp.
        timestamp: Timestamp,
    },
    /// Transactions are not served.
    #[error("transactions are not served")]
    Transactional,
    /// The sequencer's final word.
    #[error("sequencer refused the batch")]
    Refused(#[source] ProduceRefusal),
    /// The session that should have carried it ended before it: surely not written.
    #[error("session ended before the batch was written")]
    Voided,
    /// The store refuses writes: surely not written.
    #[error("object store refused the segment")]
    StoreRefused,
    /// No offset was reserved in time, as store or sequencer are away: surely not written.
    #[error("no offset could be reserved in time")]
    NotReserved,
    /// No sequencer has answered for long: surely not written; other pods may reach it.
    #[error("no sequencer answers for {silence:?}")]
    NoSequencer {
        /// For how long.
        silence: Duration,
    },
    /// Not known in time. The batch may be in the log, now or later.
    #[error("outcome was not known in time")]
    Undecided,
    /// The process stops: surely not written.
    #[error("process is stopping")]
    Stopping,
}

/// What the caller may do about an [`AppendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AppendErrorKind {
    /// Surely not appended; the same again may work.
    Retry,
    /// Surely not appended; ask who serves the partition, then try again.
    Refresh,
    /// A newer producer took over.
    Fenced,
    /// The request is wrong; the same again will fail again.
    Invalid,
    /// The bytes were damaged on their way.
    Corrupt,
    /// It may be appended or not.
    Indeterminate,
    /// This process takes nothing more.
    Closed,
}

impl AppendError {
    pub(crate) fn invalid(error: ValidateError) -> Self {
        Self::Invalid(Arc::new(error))
    }

    /// The innermost reason, for people.
    #[must_use]
    pub fn detail(&self) -> String {
        let mut innermost: &dyn std::error::Error = self;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        innermost.to_string()
    }

    /// What the caller may do.
    #[must_use]
    pub fn kind(&self) -> AppendErrorKind {
        match self {
            Self::Acks { .. }
            | Self::Empty
            | Self::TimestampTooEarly { .. }
            | Self::Transactional => AppendErrorKind::Invalid,
            Self::Invalid(error) if is_damage(error) => AppendErrorKind::Corrupt,
            Self::Invalid(_) => AppendErrorKind::Invalid,
            Self::Refused(refusal) => kind_of(*refusal),
            Self::UnknownPartition | Self::Voided | Self::NoSequencer { .. } => {
                AppendErrorKind::Refresh
            }
            Self::Unconfirmed(_) | Self::StoreRefused | Self::NotReserved => AppendErrorKind::Retry,
            Self::Undecided => AppendErrorKind::Indeterminate,
            Self::Stopping => AppendErrorKind::Closed,
        }
    }
}

/// Bytes that were changed or lost on their way, other than bytes that were never right.
fn is_damage(error: &ValidateError) -> bool {
    matches!(
        error,
        ValidateError::Batch(BatchError::Checksum | BatchError::Incomplete { .. })
    )
}

fn kind_of(refusal: ProduceRefusal) -> AppendErrorKind {
    match refusal {
        ProduceRefusal::UnknownPartition | ProduceRefusal::PredecessorVoid => {
            AppendErrorKind::Refresh
        }
        ProduceRefusal::OutOfOrderSequence
        | ProduceRefusal::DuplicateForgotten
        | ProduceRefusal::OffsetsExhausted
        | ProduceRefusal::UnexpectedEnd { .. } => AppendErrorKind::Invalid,
        ProduceRefusal::ProducerFenced => AppendErrorKind::Fenced,
    }
}

/// Why the produce path stopped by itself: what it rests on does not hold. The process must exit.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A place of our own chain holds what neither we nor a sealer wrote.
    #[error("segment {segment} holds a stranger's object")]
    Stranger {
        /// The place.
        segment: SegmentId,
    },
    /// A session was ended below what was acknowledged: acknowledged records are lost.
    #[error("session {session} ends at {end} but {acknowledged} was acknowledged")]
    AcknowledgedBeyondEnd {
        /// The session.
        session: SessionId,
        /// Its end.
        end: ChainIndex,
        /// The last place acknowledged.
        acknowledged: ChainIndex,
    },
    /// A call's task panicked: what became of its segment is not known.
    #[error("a task of the produce path failed")]
    Task(#[source] TaskFailure),
}
