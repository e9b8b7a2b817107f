//! What can go wrong for a client, as facts that the caller can act on.

use std::io;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{StrBytes, VersionRange};

use super::Address;
use crate::error_code::KafkaError;
use crate::frame::FrameError;

/// Why a client's request has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not `host:port`.
    #[error("{given:?} is not a list of host:port")]
    BadAddress {
        /// What was given.
        given: String,
    },
    /// No connection; nothing was sent.
    #[error("cannot reach {address}")]
    Unreachable {
        /// Whom.
        address: Address,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Metadata names no such broker; ask for metadata again.
    #[error("no broker has node id {node}")]
    UnknownBroker {
        /// The node id.
        node: i32,
    },
    /// The connection ended before the answer; the request's effect is unknown.
    #[error("{address} closed the connection before answering")]
    Closed {
        /// Whose.
        address: Address,
        /// What the operating system says, when it was not an orderly end.
        #[source]
        source: Option<io::Error>,
    },
    /// No answer in time; the request's effect is unknown.
    #[error("{address} did not answer within {limit:?}")]
    NoAnswer {
        /// Who.
        address: Address,
        /// How long was waited.
        limit: Duration,
    },
    /// No version in common, or a field is set that the common version lacks.
    #[error("{} is not possible here: {}", name(*.api), versions(.ours, .theirs.as_ref()))]
    Unsupported {
        /// What was asked.
        api: Option<ApiKey>,
        /// Versions of this client.
        ours: VersionRange,
        /// Versions of the broker; `None` when it does not serve the API.
        theirs: Option<VersionRange>,
    },
    /// The answer cannot be read, or lacks what was asked for.
    #[error("the answer of {address} to {} cannot be understood", name(*.api))]
    Malformed {
        /// Whose.
        address: Address,
        /// What was asked.
        api: Option<ApiKey>,
    },
    /// The answer lacks the topic, partition or group that was asked for.
    #[error("the answer to {api:?} lacks what was asked for")]
    Incomplete {
        /// What was asked.
        api: ApiKey,
    },
    /// The cluster answered with an error code.
    #[error("{api:?} failed with {error}{}", detail(.message.as_ref()))]
    Kafka {
        /// What was asked.
        api: ApiKey,
        /// The code.
        error: KafkaError,
        /// The broker's own words, when it sent any.
        message: Option<StrBytes>,
    },
    /// The cluster answered with a code that Kafka 4.3.1 does not know.
    #[error("{api:?} failed with unknown code {code}")]
    UnknownCode {
        /// What was asked.
        api: ApiKey,
        /// The code.
        code: i16,
    },
}

fn name(api: Option<ApiKey>) -> String {
    api.map_or_else(|| "the request".to_owned(), |api| format!("{api:?}"))
}

fn versions(ours: &VersionRange, theirs: Option<&VersionRange>) -> String {
    match theirs {
        Some(theirs) => format!("it takes versions {theirs}, this client sends {ours}"),
        None => "it does not serve it".to_owned(),
    }
}

fn detail(message: Option<&StrBytes>) -> String {
    message
        .map(|message| format!(": {message}"))
        .unwrap_or_default()
}

impl ClientError {
    /// The code, when the cluster answered with one.
    #[must_use]
    pub fn code(&self) -> Option<KafkaError> {
        match self {
            Self::Kafka { error, .. } => Some(*error),
            _ => None,
        }
    }

    pub(super) fn of_frame(address: &Address, api: Option<ApiKey>, error: FrameError) -> Self {
        let address = address.clone();
        match error {
            FrameError::Closed => Self::Closed {
                address,
                source: None,
            },
            FrameError::Socket(source) => Self::Closed {
                address,
                source: Some(source),
            },
            FrameError::Idle { limit } | FrameError::Partial { limit } => {
                Self::NoAnswer { address, limit }
            }
            // Of listeners only.
            FrameError::Straggler => Self::Closed {
                address,
                source: None,
            },
            FrameError::Length { .. } => Self::Malformed { address, api },
        }
    }

    /// Whether asking again is useful and cannot have an effect twice that one try would not have.
    pub(super) fn is_retriable(&self) -> bool {
        match self {
            Self::Kafka { error, .. } => error.is_retriable(),
            Self::Unreachable { .. }
            | Self::UnknownBroker { .. }
            | Self::Closed { .. }
            | Self::NoAnswer { .. } => true,
            Self::BadAddress { .. }
            | Self::Unsupported { .. }
            | Self::Malformed { .. }
            | Self::Incomplete { .. }
            | Self::UnknownCode { .. } => false,
        }
    }

    /// Whether the request certainly had no effect, so that even a write may be asked again.
    pub(super) fn is_surely_undone(&self) -> bool {
        match self {
            Self::Kafka { error, .. } => matches!(
                error,
                KafkaError::UnknownTopicOrPartition
                    | KafkaError::LeaderNotAvailable
                    | KafkaError::NotLeaderOrFollower
                    | KafkaError::CoordinatorLoadInProgress
                    | KafkaError::CoordinatorNotAvailable
                    | KafkaError::NotCoordinator
                    | KafkaError::NotController
                    | KafkaError::NotEnoughReplicas
                    | KafkaError::KafkaStorageError
            ),
            Self::Unreachable { .. } | Self::UnknownBroker { .. } => true,
            _ => false,
        }
    }
}

/// An error code as a result.
pub(super) fn check(api: ApiKey, code: i16, message: Option<&StrBytes>) -> Result<(), ClientError> {
    match KafkaError::from_code(code) {
        Some(KafkaError::None) => Ok(()),
        Some(error) => Err(ClientError::Kafka {
            api,
            error,
            message: message.cloned(),
        }),
        None => Err(ClientError::UnknownCode { api, code }),
    }
}
