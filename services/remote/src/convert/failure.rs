//! Why there is no answer, kind by kind, and what all replies have in common: they may be that.

use esker_metadata_api::MetadataError;

use crate::proto::{self, FailureKind};

/// A reply of any call.
pub(crate) trait Reply: prost::Message + Default + Send + Sync + 'static {
    /// That there is no answer, if so.
    fn failure(&self) -> Option<&proto::Failure>;
    /// The reply that says so.
    fn failed(failure: proto::Failure) -> Self;
}

macro_rules! replies {
    ($($reply:ident, $module:ident, $field:ident, $outcome:ident;)*) => {$(
        impl Reply for proto::$reply {
            fn failure(&self) -> Option<&proto::Failure> {
                match &self.$field {
                    Some(proto::$module::$outcome::Failure(failure)) => Some(failure),
                    _ => None,
                }
            }

            fn failed(failure: proto::Failure) -> Self {
                Self {
                    $field: Some(proto::$module::$outcome::Failure(failure)),
                }
            }
        }
    )*};
}

replies! {
    RegisterReply, register_reply, outcome, Outcome;
    ReserveReply, reserve_reply, outcome, Outcome;
    WrittenReply, written_reply, outcome, Outcome;
    EndSessionReply, end_session_reply, outcome, Outcome;
    FeedPart, feed_part, part, Part;
    LookUpReply, look_up_reply, outcome, Outcome;
    ListOffsetReply, list_offset_reply, outcome, Outcome;
    TopicsCurrentPart, topics_current_part, part, Part;
    CreateTopicReply, create_topic_reply, outcome, Outcome;
    DeleteTopicReply, delete_topic_reply, outcome, Outcome;
    NewProducerIdReply, new_producer_id_reply, outcome, Outcome;
    GroupReply, group_reply, reply, Reply;
    AlterTopicReply, alter_topic_reply, outcome, Outcome;
    DeleteRecordsReply, delete_records_reply, outcome, Outcome;
    LogBytesReply, log_bytes_reply, outcome, Outcome;
    AlterBrokerReply, alter_broker_reply, outcome, Outcome;
    ProducersReply, producers_reply, outcome, Outcome;
    LeadershipReply, leadership_reply, outcome, Outcome;
    AnnounceReply, announce_reply, outcome, Outcome;
}

/// The failure that tells `error`; `leader` is where the leader may be.
pub(crate) fn failure_of(error: MetadataError, leader: Option<String>) -> proto::Failure {
    let kind = match error {
        MetadataError::Recovering => FailureKind::Recovering,
        MetadataError::Unavailable => FailureKind::Unavailable,
        MetadataError::Unknown => FailureKind::Unknown,
        MetadataError::Deposed => FailureKind::Deposed,
        MetadataError::Overloaded => FailureKind::Overloaded,
    };
    proto::Failure {
        kind: kind.into(),
        leader: leader.unwrap_or_default(),
    }
}

/// The error that a failure tells. A kind that this version does not know may mean that something
/// was done.
pub(crate) fn kind_of(failure: &proto::Failure) -> MetadataError {
    match FailureKind::try_from(failure.kind) {
        Ok(FailureKind::Recovering) => MetadataError::Recovering,
        Ok(FailureKind::Unavailable) => MetadataError::Unavailable,
        Ok(FailureKind::Deposed) => MetadataError::Deposed,
        Ok(FailureKind::Overloaded) => MetadataError::Overloaded,
        Ok(FailureKind::Unknown | FailureKind::Unspecified) | Err(_) => MetadataError::Unknown,
    }
}
