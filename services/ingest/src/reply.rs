//! Stage 6, the Kafka side: outcomes of batches become a ProduceResponse, in the request's order.
//!
//! The only place of this crate that knows Kafka's error codes. An error never carries an offset:
//! -1 stands where Kafka has none.

use esker_kafka::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use esker_kafka::messages::{ProduceResponse, StrBytes, TopicName};
use esker_kafka::{KafkaError, Reply, Response};
use esker_metadata_api::ProduceRefusal;
use esker_record::{BatchError, ValidateError};
use esker_types::Timestamp;
use tokio::sync::oneshot;

use crate::error::{AppendError, AppendErrorKind};
use crate::slots::{Appended, Outcome};

/// What a partition of a request waits for.
#[derive(Debug)]
pub(crate) enum Pending {
    /// Nothing: it was not admitted.
    Refused(AppendError),
    /// The answer of its slot.
    Admitted(oneshot::Receiver<Outcome>),
}

impl Pending {
    /// Waits for the answer. A slot that was dropped has none: the outcome is unknown.
    pub(crate) async fn outcome(self) -> Outcome {
        match self {
            Self::Refused(error) => Err(error),
            Self::Admitted(outcome) => outcome.await.unwrap_or(Err(AppendError::Undecided)),
        }
    }
}

/// A request's answer to come.
#[derive(Debug, Default)]
pub(crate) struct PendingReply {
    pub(crate) topics: Vec<(TopicName, Vec<(i32, Pending)>)>,
}

impl PendingReply {
    /// The end of a request with acks 0: no answer; one failure closes the connection, as in
    /// Kafka, since only that makes the client ask for metadata again.
    pub(crate) async fn silence(self) -> Reply {
        for (_, partitions) in self.topics {
            for (_, pending) in partitions {
                if pending.outcome().await.is_err() {
                    return Reply::Close;
                }
            }
        }
        Reply::Nothing
    }

    /// Waits for every batch, then answers.
    pub(crate) async fn answer(self) -> Reply {
        let mut responses = Vec::with_capacity(self.topics.len());
        for (name, partitions) in self.topics {
            let mut rows = Vec::with_capacity(partitions.len());
            for (index, pending) in partitions {
                rows.push(row(index, pending.outcome().await));
            }
            let topic = TopicProduceResponse::default()
                .with_name(name)
                .with_partition_responses(rows);
            responses.push(topic);
        }
        let response = ProduceResponse::default().with_responses(responses);
        Reply::Message(Response::Produce(response))
    }
}

fn row(index: i32, outcome: Outcome) -> PartitionProduceResponse {
    let row = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(Appended {
            base_offset,
            log_start,
            log_append_time,
        }) => row
            .with_error_code(KafkaError::None.code())
            .with_base_offset(base_offset.to_wire())
            .with_log_start_offset(log_start.to_wire())
            .with_log_append_time_ms(log_append_time.unwrap_or(Timestamp::NONE).millis()),
        Err(error) => row
            .with_error_code(error_code(&error).code())
            .with_base_offset(-1)
            .with_log_append_time_ms(Timestamp::NONE.millis())
            .with_log_start_offset(-1)
            .with_record_errors(record_errors(&error))
            .with_error_message(message(&error)),
    }
}

/// Kafka's code for each error.
fn error_code(error: &AppendError) -> KafkaError {
    match error {
        AppendError::Acks { .. } => KafkaError::InvalidRequiredAcks,
        AppendError::UnknownPartition => KafkaError::UnknownTopicOrPartition,
        AppendError::Empty => KafkaError::InvalidRecord,
        AppendError::Invalid(error) => invalid_code(error),
        AppendError::TimestampTooEarly { .. } => KafkaError::InvalidTimestamp,
        AppendError::Transactional => KafkaError::InvalidTxnState,
        AppendError::Refused(refusal) => refusal_code(*refusal),
        AppendError::Voided | AppendError::NoSequencer { .. } | AppendError::Stopping => {
            KafkaError::NotLeaderOrFollower
        }
        AppendError::Unconfirmed(_) | AppendError::StoreRefused | AppendError::NotReserved => {
            KafkaError::KafkaStorageError
        }
        AppendError::Undecided => KafkaError::RequestTimedOut,
    }
}

fn invalid_code(error: &ValidateError) -> KafkaError {
    match error {
        ValidateError::Batch(error) => batch_code(error),
        ValidateError::TooLarge { .. } => KafkaError::MessageTooLarge,
        ValidateError::Zstd => KafkaError::UnsupportedCompressionType,
        ValidateError::AppendTime | ValidateError::TimestampTooLate { .. } => {
            KafkaError::InvalidTimestamp
        }
        ValidateError::Trailing { .. }
        | ValidateError::Count { .. }
        | ValidateError::TooManyRecords { .. }
        | ValidateError::BaseOffset { .. }
        | ValidateError::Control
        | ValidateError::Producer { .. }
        | ValidateError::KeyMissing { .. }
        | ValidateError::Records(_) => KafkaError::InvalidRecord,
    }
}

fn batch_code(error: &BatchError) -> KafkaError {
    match error {
        BatchError::Checksum | BatchError::Incomplete { .. } => KafkaError::CorruptMessage,
        BatchError::Short(_)
        | BatchError::Length { .. }
        | BatchError::Magic { .. }
        | BatchError::Codec { .. }
        | BatchError::LastOffsetDelta { .. }
        | BatchError::RecordCount { .. } => KafkaError::InvalidRecord,
    }
}

fn refusal_code(refusal: ProduceRefusal) -> KafkaError {
    match refusal {
        ProduceRefusal::UnknownPartition => KafkaError::UnknownTopicOrPartition,
        ProduceRefusal::OutOfOrderSequence => KafkaError::OutOfOrderSequenceNumber,
        ProduceRefusal::DuplicateForgotten => KafkaError::DuplicateSequenceNumber,
        ProduceRefusal::ProducerFenced => KafkaError::InvalidProducerEpoch,
        ProduceRefusal::PredecessorVoid => KafkaError::NotLeaderOrFollower,
        // Kafka has no code for it; this one is final for every client.
        ProduceRefusal::OffsetsExhausted | ProduceRefusal::UnexpectedEnd { .. } => {
            KafkaError::PolicyViolation
        }
    }
}

/// Which records are at fault, where some are (Produce 8 and later show it).
fn record_errors(error: &AppendError) -> Vec<BatchIndexAndErrorMessage> {
    let AppendError::Invalid(error) = error else {
        return Vec::new();
    };
    let ValidateError::KeyMissing { records } = &**error else {
        return Vec::new();
    };
    let text = "a compacted topic takes no record without a key";
    let one = |record: &u32| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(i32::try_from(*record).unwrap_or(i32::MAX))
            .with_batch_index_error_message(Some(StrBytes::from_static_str(text)))
    };
    records.iter().map(one).collect()
}

/// What a person should read, where the client is at fault.
fn message(error: &AppendError) -> Option<StrBytes> {
    let is_clients = error.kind() == AppendErrorKind::Invalid;
    is_clients.then(|| StrBytes::from_string(error.detail()))
}

#[cfg(test)]
mod tests;
