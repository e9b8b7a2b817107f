//! Each method: its question understood, asked of the trait, its answer told.

use esker_metadata_api::{
    AlterBrokerError, AlterTopicError, AnnounceError, CreateTopicError, DeleteRecordsError,
    DeleteTopicError, LogIndexError, ReserveRequest, WrittenReport,
};
use esker_types::{ClusterId, SessionId};

use super::dispatch::Calls;
use crate::convert::{
    Malformed, Reply as _, alter_request, create_request, id16, offset, present, reserve_outcome,
    topic, topic_partition, topic_ref,
};
use crate::proto::hello_reply::{Outcome as Hello, Welcome};
use crate::proto::refusal::Reason;
use crate::proto::{self, Empty, Refusal};
use crate::protocol::Protocols;

type Answer<T> = Result<T, Malformed>;

impl Calls {
    pub(super) async fn hello(&self, q: proto::HelloRequest) -> Answer<proto::HelloReply> {
        let theirs = Protocols::from(present(q.protocols, "protocols")?);
        let cluster = ClusterId::from_bytes(id16(&q.cluster, "cluster")?);
        let refused = |reason| {
            Hello::Refusal(Refusal {
                reason: Some(reason),
            })
        };
        let outcome = match self.protocols.newest_shared(theirs) {
            None => refused(Reason::Protocols(self.protocols.into())),
            Some(_) if cluster != self.cluster => refused(self.other_cluster()),
            Some(protocol) => Hello::Welcome(Welcome {
                protocol,
                release: env!("CARGO_PKG_VERSION").to_owned(),
            }),
        };
        Ok(proto::HelloReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn register(&self, q: proto::RegisterRequest) -> Answer<proto::RegisterReply> {
        use proto::register_reply::Outcome;
        let replaces = q.replaces.map(|bytes| id16(&bytes, "replaces"));
        let replaces = replaces.transpose()?.map(SessionId::from_bytes);
        let answer = self.parts.sequencer.register(replaces).await;
        let outcome = match answer {
            Ok(registered) => Outcome::Registered(registered.into()),
            Err(error) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::RegisterReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn reserve(&self, q: proto::ReserveRequest) -> Answer<proto::ReserveReply> {
        let request = ReserveRequest::try_from(q)?;
        let answer = self.parts.sequencer.reserve(request).await;
        Ok(reserve_outcome(answer, |error| self.failure(error)))
    }

    pub(super) async fn written(&self, q: proto::WrittenRequest) -> Answer<proto::WrittenReply> {
        use proto::written_reply::Outcome;
        let report = WrittenReport::try_from(q)?;
        let outcome = match self.parts.sequencer.written(report).await {
            Ok(()) => Outcome::Heard(Empty {}),
            Err(error) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::WrittenReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn end_session(
        &self,
        q: proto::EndSessionRequest,
    ) -> Answer<proto::EndSessionReply> {
        use proto::end_session_reply::Outcome;
        let session = SessionId::from_bytes(id16(&q.session, "session")?);
        let outcome = match self.parts.sequencer.end_session(session).await {
            Ok(end) => Outcome::Ended(end.into()),
            Err(error) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::EndSessionReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn look_up(&self, q: proto::LookUpRequest) -> Answer<proto::LookUpReply> {
        use proto::look_up_reply::Outcome;
        let at = topic_partition(q.topic_partition)?;
        let from = offset(q.offset, "offset")?;
        let extents_max = usize::try_from(q.extents_max).unwrap_or(usize::MAX);
        let answer = self.parts.log_index.look_up(at, from, extents_max).await;
        let outcome = match answer {
            Ok(slice) => Outcome::Slice(slice.into()),
            Err(LogIndexError::UnknownPartition) => Outcome::UnknownPartition(Empty {}),
            Err(LogIndexError::NotDecided) => Outcome::NotDecided(Empty {}),
            Err(LogIndexError::Metadata(error)) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::LookUpReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn list_offset(
        &self,
        q: proto::ListOffsetRequest,
    ) -> Answer<proto::ListOffsetReply> {
        use proto::list_offset_reply::Outcome;
        let at = topic_partition(q.topic_partition)?;
        let query = present(q.query, "query")?.into();
        let from = offset(q.from, "from")?;
        let answer = self.parts.log_index.list_offset(at, query, from).await;
        let outcome = match answer {
            Ok(listed) => listed.into(),
            Err(LogIndexError::UnknownPartition) => Outcome::UnknownPartition(Empty {}),
            Err(LogIndexError::NotDecided) => Outcome::NotDecided(Empty {}),
            Err(LogIndexError::Metadata(error)) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::ListOffsetReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn create_topic(
        &self,
        q: proto::CreateTopicRequest,
    ) -> Answer<proto::CreateTopicReply> {
        use proto::create_topic_reply::Outcome;
        let request = create_request(q)?;
        let outcome = match self.parts.admin.create_topic(request).await {
            Ok(created) => Outcome::Created(topic(&created.topic)),
            Err(CreateTopicError::Exists) => Outcome::Exists(Empty {}),
            Err(CreateTopicError::Collides { with }) => {
                Outcome::CollidesWith(with.as_str().to_owned())
            }
            Err(CreateTopicError::TooManyPartitions) => Outcome::TooManyPartitions(Empty {}),
            Err(CreateTopicError::TooManyTopics) => Outcome::TooManyTopics(Empty {}),
            Err(CreateTopicError::Metadata(error)) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::CreateTopicReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn delete_topic(
        &self,
        q: proto::DeleteTopicRequest,
    ) -> Answer<proto::DeleteTopicReply> {
        use proto::delete_topic_reply::Outcome;
        let named = topic_ref(q)?;
        let outcome = match self.parts.admin.delete_topic(named).await {
            Ok(deleted) => Outcome::Deleted(topic(&deleted)),
            Err(DeleteTopicError::Unknown) => Outcome::Unknown(Empty {}),
            Err(DeleteTopicError::Metadata(error)) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::DeleteTopicReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn new_producer_id(
        &self,
        _: proto::NewProducerIdRequest,
    ) -> Answer<proto::NewProducerIdReply> {
        use proto::new_producer_id_reply::Outcome;
        let outcome = match self.parts.admin.producer_id().await {
            Ok(id) => Outcome::ProducerId(id.to_wire()),
            Err(error) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::NewProducerIdReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn group(&self, q: proto::GroupRequest) -> Answer<proto::GroupReply> {
        let request = q.try_into()?;
        Ok(match self.parts.admin.group(request).await {
            Ok(reply) => reply.into(),
            Err(error) => proto::GroupReply::failed(self.failure(error)),
        })
    }

    pub(super) async fn alter_topic(
        &self,
        q: proto::AlterTopicRequest,
    ) -> Answer<proto::AlterTopicReply> {
        use proto::alter_topic_reply::Outcome;
        let request = alter_request(q)?;
        let outcome = match self.parts.topic_admin.alter_topic(request).await {
            Ok(altered) => Outcome::Altered(topic(&altered)),
            Err(AlterTopicError::Unknown) => Outcome::Unknown(Empty {}),
            Err(AlterTopicError::NotMore { partition_count }) => Outcome::NotMore(partition_count),
            Err(AlterTopicError::TooManyPartitions) => Outcome::TooManyPartitions(Empty {}),
            Err(AlterTopicError::Changed) => Outcome::Changed(Empty {}),
            Err(AlterTopicError::Metadata(error)) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::AlterTopicReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn delete_records(
        &self,
        q: proto::DeleteRecordsRequest,
    ) -> Answer<proto::DeleteRecordsReply> {
        use proto::delete_records_reply::Outcome;
        let at = topic_partition(q.topic_partition)?;
        let before = present(q.before, "before")?.try_into()?;
        let answer = self.parts.topic_admin.delete_records(at, before).await;
        let outcome = match answer {
            Ok(log_start) => Outcome::LogStart(log_start.get()),
            Err(DeleteRecordsError::UnknownPartition) => Outcome::UnknownPartition(Empty {}),
            Err(DeleteRecordsError::OutOfRange { high_watermark }) => {
                Outcome::OutOfRange(high_watermark.get())
            }
            Err(DeleteRecordsError::NotDecided) => Outcome::NotDecided(Empty {}),
            Err(DeleteRecordsError::Metadata(error)) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::DeleteRecordsReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn log_bytes(
        &self,
        _: proto::LogBytesRequest,
    ) -> Answer<proto::LogBytesReply> {
        use proto::log_bytes_reply::{Outcome, Partition, Partitions};
        let outcome = match self.parts.topic_admin.log_bytes().await {
            Ok(logs) => Outcome::Partitions(Partitions {
                partitions: logs
                    .into_iter()
                    .map(|(at, bytes)| Partition {
                        topic_partition: Some(at.into()),
                        bytes,
                    })
                    .collect(),
            }),
            Err(error) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::LogBytesReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn alter_broker(
        &self,
        q: proto::AlterBrokerRequest,
    ) -> Answer<proto::AlterBrokerReply> {
        use proto::alter_broker_reply::Outcome;
        let request = q.try_into()?;
        let outcome = match self.parts.topic_admin.alter_broker(request).await {
            Ok(()) => Outcome::Altered(Empty {}),
            Err(AlterBrokerError::Changed) => Outcome::Changed(Empty {}),
            Err(AlterBrokerError::TooManyBrokers) => Outcome::TooManyBrokers(Empty {}),
            Err(AlterBrokerError::Metadata(error)) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::AlterBrokerReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn producers(
        &self,
        q: proto::ProducersRequest,
    ) -> Answer<proto::ProducersReply> {
        use proto::producers_reply::{Active, Outcome};
        let at = topic_partition(q.topic_partition)?;
        let outcome = match self.parts.topic_admin.producers(at).await {
            Ok(active) => Outcome::Active(Active {
                producers: active.into_iter().map(Into::into).collect(),
            }),
            Err(LogIndexError::UnknownPartition) => Outcome::UnknownPartition(Empty {}),
            Err(LogIndexError::NotDecided) => Outcome::NotDecided(Empty {}),
            Err(LogIndexError::Metadata(error)) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::ProducersReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn leadership(
        &self,
        _: proto::LeadershipRequest,
    ) -> Answer<proto::LeadershipReply> {
        use proto::leadership_reply::Outcome;
        let outcome = match self.parts.topic_admin.leadership().await {
            Ok(leads) => Outcome::Leads(leads.into()),
            Err(error) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::LeadershipReply {
            outcome: Some(outcome),
        })
    }

    pub(super) async fn announce(&self, q: proto::AnnounceRequest) -> Answer<proto::AnnounceReply> {
        use proto::announce_reply::Outcome;
        let pod = present(q.pod, "pod")?.try_into()?;
        let outcome = match self.parts.pods.announce(pod).await {
            Ok(lease) => Outcome::Lease(lease.into()),
            Err(AnnounceError::NodeIdTaken) => Outcome::NodeIdTaken(Empty {}),
            Err(AnnounceError::TooManyPods) => Outcome::TooManyPods(Empty {}),
            Err(AnnounceError::Malformed) => Outcome::Malformed(Empty {}),
            Err(AnnounceError::Metadata(error)) => Outcome::Failure(self.failure(error)),
        };
        Ok(proto::AnnounceReply {
            outcome: Some(outcome),
        })
    }
}
