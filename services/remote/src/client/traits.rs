//! The five traits: questions told, answers understood.
//!
//! An answer that makes no sense here came from a server that took the question up: its outcome is
//! unknown. Dropping any of these futures lets the server drop what it does for it; what a change
//! that was on its way came to is unknown then, as in one process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use esker_env::timeout;
use esker_metadata_api::{
    ActiveProducer, Admin, AlterBroker, AlterBrokerError, AlterTopic, AlterTopicError,
    AnnounceError, Configs, CreateTopic, CreateTopicError, CreatedTopic, DeleteBefore,
    DeleteRecordsError, DeleteTopicError, GroupReply, GroupRequest, IndexFeed, IndexSlice,
    Leadership, ListedOffset, LogIndex, LogIndexError, MetadataError, OffsetQuery, Pod, PodLease,
    Pods, Registered, ReserveError, ReserveReply, ReserveRequest, Sequencer, SessionEnd, Topic,
    TopicAdmin, TopicRef, TopicTable, WrittenReport,
};
use esker_types::{ChainIndex, ClusterId, Offset, ProducerId, SessionId, TopicPartition};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tonic::Streaming;

use super::RemoteMetadata;
use super::feed::RemoteFeed;
use super::route::Opened;
use crate::convert::{
    Malformed, Reply, TableParts, bytes16, collision, extent, kind_of, offset, present,
    producer_id, topic_of, topic_partition, verdicts,
};
use crate::proto;
use crate::protocol::SESSIONS_FROM;

type Sense<T> = Result<T, Malformed>;

/// What did not make sense may have been done.
fn sense<T>(understood: Sense<Result<T, MetadataError>>) -> Result<T, MetadataError> {
    understood.unwrap_or_else(|error| Err(nonsense(error)))
}

fn nonsense(error: Malformed) -> MetadataError {
    let error: &dyn std::error::Error = &error;
    tracing::error!(error, "answer of a metadata server makes no sense");
    MetadataError::Unknown
}

/// Without what a server of an older version would refuse.
fn in_version(question: &mut proto::AnnounceRequest, protocol: u32) {
    if let Some(pod) = &mut question.pod
        && protocol < SESSIONS_FROM
    {
        pod.sessions.clear();
    }
}

impl RemoteMetadata {
    async fn ask<Q, R>(&self, method: &'static str, question: Q) -> Result<R, MetadataError>
    where
        Q: prost::Message + Clone + 'static,
        R: Reply,
    {
        let deadline = self.inner.config.deadlines.call;
        self.inner.ask(method, deadline, question).await
    }

    /// The defaults of topics here, as last heard.
    fn defaults(&self) -> Arc<Configs> {
        let node = self.inner.config.node_id;
        self.topics.borrow().table.brokers().topic_defaults(node)
    }

    fn topic(&self, value: proto::Topic) -> Sense<Arc<Topic>> {
        topic_of(value, self.defaults()).map(Arc::new)
    }
}

impl Sequencer for RemoteMetadata {
    fn register(
        &self,
        replaces: Option<SessionId>,
    ) -> BoxFuture<'_, Result<Registered, MetadataError>> {
        use proto::register_reply::Outcome;
        let question = proto::RegisterRequest {
            replaces: replaces.map(|session| bytes16(session.bytes())),
        };
        async move {
            let reply: proto::RegisterReply = self.ask("Register", question).await?;
            let understood = || -> Sense<Result<Registered, MetadataError>> {
                Ok(match present(reply.outcome, "outcome")? {
                    Outcome::Registered(registered) => Ok(registered.try_into()?),
                    Outcome::Failure(failure) => Err(kind_of(&failure)),
                })
            };
            sense(understood())
        }
        .boxed()
    }

    fn reserve(
        &self,
        request: ReserveRequest,
    ) -> BoxFuture<'_, Result<ReserveReply, ReserveError>> {
        let batch_count = request.batches.len();
        let question = proto::ReserveRequest::from(request);
        async move {
            let reply = self.ask("Reserve", question).await;
            let reply = reply.map_err(ReserveError::Metadata)?;
            let understood = verdicts(reply, batch_count);
            understood.unwrap_or_else(|error| Err(ReserveError::Metadata(nonsense(error))))
        }
        .boxed()
    }

    fn written(&self, report: WrittenReport) -> BoxFuture<'_, Result<(), MetadataError>> {
        use proto::written_reply::Outcome;
        let question = proto::WrittenRequest::from(report);
        async move {
            let reply: proto::WrittenReply = self.ask("Written", question).await?;
            sense(
                present(reply.outcome, "outcome").map(|outcome| match outcome {
                    Outcome::Heard(_) => Ok(()),
                    Outcome::Failure(failure) => Err(kind_of(&failure)),
                }),
            )
        }
        .boxed()
    }

    fn end_session(&self, session: SessionId) -> BoxFuture<'_, Result<SessionEnd, MetadataError>> {
        use proto::end_session_reply::Outcome;
        let question = proto::EndSessionRequest {
            session: bytes16(session.bytes()),
        };
        async move {
            let reply: proto::EndSessionReply = self.ask("EndSession", question).await?;
            sense(
                present(reply.outcome, "outcome").map(|outcome| match outcome {
                    Outcome::Ended(ended) => Ok(SessionEnd {
                        end: ChainIndex::new(ended.end),
                    }),
                    Outcome::Failure(failure) => Err(kind_of(&failure)),
                }),
            )
        }
        .boxed()
    }
}

impl LogIndex for RemoteMetadata {
    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn IndexFeed>, MetadataError>> {
        use proto::feed_part::Part;
        async move {
            let place = Arc::clone(&self.inner.feeds).try_acquire_owned();
            let place = place.map_err(|_| MetadataError::Overloaded)?;
            let question = proto::FollowRequest { topics_only: false };
            let opened: Opened<proto::FeedPart> = self.inner.open("Follow", question).await?;
            if !matches!(opened.first.part, Some(Part::Begun(_))) {
                return Err(nonsense(Malformed { field: "part" }));
            }
            let node_id = self.inner.config.node_id;
            let feed = RemoteFeed::new(opened.rest, node_id, Some(place));
            let feed: Box<dyn IndexFeed> = Box::new(feed);
            Ok(feed)
        }
        .boxed()
    }

    fn look_up(
        &self,
        topic_partition: TopicPartition,
        offset: Offset,
        extents_max: usize,
    ) -> BoxFuture<'_, Result<IndexSlice, LogIndexError>> {
        use proto::look_up_reply::Outcome;
        let question = proto::LookUpRequest {
            topic_partition: Some(topic_partition.into()),
            offset: offset.get(),
            extents_max: u32::try_from(extents_max).unwrap_or(u32::MAX),
        };
        async move {
            let reply = self.ask("LookUp", question).await;
            let reply: proto::LookUpReply = reply.map_err(LogIndexError::Metadata)?;
            let understood = || -> Sense<Result<IndexSlice, LogIndexError>> {
                Ok(match present(reply.outcome, "outcome")? {
                    Outcome::Slice(slice) => Ok(slice.try_into()?),
                    Outcome::Failure(failure) => Err(LogIndexError::Metadata(kind_of(&failure))),
                    Outcome::UnknownPartition(_) => Err(LogIndexError::UnknownPartition),
                    Outcome::NotDecided(_) => Err(LogIndexError::NotDecided),
                })
            };
            understood().unwrap_or_else(|error| Err(LogIndexError::Metadata(nonsense(error))))
        }
        .boxed()
    }

    fn list_offset(
        &self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
        from: Offset,
    ) -> BoxFuture<'_, Result<ListedOffset, LogIndexError>> {
        use proto::list_offset_reply::Outcome;
        let question = proto::ListOffsetRequest {
            topic_partition: Some(topic_partition.into()),
            from: from.get(),
            query: Some(query.into()),
        };
        async move {
            let reply = self.ask("ListOffset", question).await;
            let reply: proto::ListOffsetReply = reply.map_err(LogIndexError::Metadata)?;
            let understood = || -> Sense<Result<ListedOffset, LogIndexError>> {
                Ok(match present(reply.outcome, "outcome")? {
                    Outcome::Known(at) => Ok(ListedOffset::Known(offset(at, "known")?)),
                    Outcome::Inside(inside) => Ok(ListedOffset::Inside(extent(inside)?)),
                    Outcome::Nothing(_) => Ok(ListedOffset::Nothing),
                    Outcome::Failure(failure) => Err(LogIndexError::Metadata(kind_of(&failure))),
                    Outcome::UnknownPartition(_) => Err(LogIndexError::UnknownPartition),
                    Outcome::NotDecided(_) => Err(LogIndexError::NotDecided),
                })
            };
            understood().unwrap_or_else(|error| Err(LogIndexError::Metadata(nonsense(error))))
        }
        .boxed()
    }
}

impl Admin for RemoteMetadata {
    fn cluster(&self) -> ClusterId {
        self.inner.config.cluster
    }

    fn topics(&self) -> Arc<TopicTable> {
        Arc::clone(&self.topics.borrow().table)
    }

    fn topics_current(&self) -> BoxFuture<'_, Result<Arc<TopicTable>, MetadataError>> {
        self.current_table().boxed()
    }

    fn create_topic(
        &self,
        request: CreateTopic,
    ) -> BoxFuture<'_, Result<CreatedTopic, CreateTopicError>> {
        use proto::create_topic_reply::Outcome;
        let question = proto::CreateTopicRequest::from(request);
        async move {
            let reply = self.ask("CreateTopic", question).await;
            let reply: proto::CreateTopicReply = reply.map_err(CreateTopicError::Metadata)?;
            let understood = || -> Sense<Result<CreatedTopic, CreateTopicError>> {
                Ok(match present(reply.outcome, "outcome")? {
                    Outcome::Created(topic) => Ok(CreatedTopic {
                        topic: self.topic(topic)?,
                    }),
                    Outcome::Failure(failure) => Err(CreateTopicError::Metadata(kind_of(&failure))),
                    Outcome::Exists(_) => Err(CreateTopicError::Exists),
                    Outcome::CollidesWith(name) => Err(CreateTopicError::Collides {
                        with: collision(&name)?,
                    }),
                    Outcome::TooManyPartitions(_) => Err(CreateTopicError::TooManyPartitions),
                    Outcome::TooManyTopics(_) => Err(CreateTopicError::TooManyTopics),
                })
            };
            understood().unwrap_or_else(|error| Err(CreateTopicError::Metadata(nonsense(error))))
        }
        .boxed()
    }

    fn delete_topic(&self, topic: TopicRef) -> BoxFuture<'_, Result<Arc<Topic>, DeleteTopicError>> {
        use proto::delete_topic_reply::Outcome;
        let question = proto::DeleteTopicRequest::from(topic);
        async move {
            let reply = self.ask("DeleteTopic", question).await;
            let reply: proto::DeleteTopicReply = reply.map_err(DeleteTopicError::Metadata)?;
            let understood = || -> Sense<Result<Arc<Topic>, DeleteTopicError>> {
                Ok(match present(reply.outcome, "outcome")? {
                    Outcome::Deleted(topic) => Ok(self.topic(topic)?),
                    Outcome::Failure(failure) => Err(DeleteTopicError::Metadata(kind_of(&failure))),
                    Outcome::Unknown(_) => Err(DeleteTopicError::Unknown),
                })
            };
            understood().unwrap_or_else(|error| Err(DeleteTopicError::Metadata(nonsense(error))))
        }
        .boxed()
    }

    fn producer_id(&self) -> BoxFuture<'_, Result<ProducerId, MetadataError>> {
        use proto::new_producer_id_reply::Outcome;
        let question = proto::NewProducerIdRequest {};
        async move {
            let reply: proto::NewProducerIdReply = self.ask("NewProducerId", question).await?;
            let understood = || -> Sense<Result<ProducerId, MetadataError>> {
                Ok(match present(reply.outcome, "outcome")? {
                    Outcome::ProducerId(id) => Ok(producer_id(id)?),
                    Outcome::Failure(failure) => Err(kind_of(&failure)),
                })
            };
            sense(understood())
        }
        .boxed()
    }

    fn group(&self, request: GroupRequest) -> BoxFuture<'_, Result<GroupReply, MetadataError>> {
        let deadline = self.group_deadline(&request);
        let question = proto::GroupRequest::from(request);
        async move {
            let asked = self.inner.ask("Group", deadline, question);
            let reply: proto::GroupReply = asked.await?;
            reply.try_into().map_err(nonsense)
        }
        .boxed()
    }
}

impl RemoteMetadata {
    fn group_deadline(&self, request: &GroupRequest) -> Duration {
        let deadlines = self.inner.config.deadlines;
        match request {
            GroupRequest::Join(_) | GroupRequest::Sync(_) => deadlines.rebalance,
            GroupRequest::Heartbeat(_)
            | GroupRequest::Leave(_)
            | GroupRequest::Commit(_)
            | GroupRequest::Fetch(_)
            | GroupRequest::Describe(_)
            | GroupRequest::List
            | GroupRequest::Delete(_)
            | GroupRequest::DeleteOffsets(_) => deadlines.call,
        }
    }

    async fn current_table(&self) -> Result<Arc<TopicTable>, MetadataError> {
        use proto::topics_current_part::Part;
        let known = self.topics.borrow().clone();
        let question = proto::TopicsCurrentRequest {
            known_server: known.server,
            known_version: known.table.version,
        };
        let opened: Opened<proto::TopicsCurrentPart> =
            self.inner.open("TopicsCurrent", question).await?;
        let Opened { first, mut rest } = opened;
        match first.part {
            Some(Part::Unchanged(_)) => return Ok(known.table),
            Some(Part::Begun(_)) => {}
            _ => return Err(nonsense(Malformed { field: "part" })),
        }
        let clock = self.inner.env.clock.as_ref();
        let limit = self.inner.config.deadlines.call;
        let table = timeout(clock, limit, self.whole_table(&mut rest)).await;
        table.unwrap_or(Err(MetadataError::Unknown))
    }

    async fn whole_table(
        &self,
        rest: &mut Streaming<proto::TopicsCurrentPart>,
    ) -> Result<Arc<TopicTable>, MetadataError> {
        use proto::topics_current_part::Part;
        let mut table = TableParts::default();
        // A read: broken off, nothing was done.
        while let Ok(Some(part)) = rest.message().await {
            let Some(Part::Topics(delta)) = part.part else {
                return Err(nonsense(Malformed { field: "part" }));
            };
            let node_id = self.inner.config.node_id;
            if let Some(whole) = table.take(delta, node_id).map_err(nonsense)? {
                return Ok(Arc::new(whole));
            }
        }
        Err(MetadataError::Unknown)
    }
}

impl TopicAdmin for RemoteMetadata {
    fn alter_topic(
        &self,
        request: AlterTopic,
    ) -> BoxFuture<'_, Result<Arc<Topic>, AlterTopicError>> {
        use proto::alter_topic_reply::Outcome;
        let question = proto::AlterTopicRequest::from(request);
        async move {
            let reply = self.ask("AlterTopic", question).await;
            let reply: proto::AlterTopicReply = reply.map_err(AlterTopicError::Metadata)?;
            let understood = || -> Sense<Result<Arc<Topic>, AlterTopicError>> {
                Ok(match present(reply.outcome, "outcome")? {
                    Outcome::Altered(topic) => Ok(self.topic(topic)?),
                    Outcome::Failure(failure) => Err(AlterTopicError::Metadata(kind_of(&failure))),
                    Outcome::Unknown(_) => Err(AlterTopicError::Unknown),
                    Outcome::NotMore(partition_count) => {
                        Err(AlterTopicError::NotMore { partition_count })
                    }
                    Outcome::TooManyPartitions(_) => Err(AlterTopicError::TooManyPartitions),
                    Outcome::Changed(_) => Err(AlterTopicError::Changed),
                })
            };
            understood().unwrap_or_else(|error| Err(AlterTopicError::Metadata(nonsense(error))))
        }
        .boxed()
    }

    fn delete_records(
        &self,
        topic_partition: TopicPartition,
        before: DeleteBefore,
    ) -> BoxFuture<'_, Result<Offset, DeleteRecordsError>> {
        use proto::delete_records_reply::Outcome;
        let question = proto::DeleteRecordsRequest {
            topic_partition: Some(topic_partition.into()),
            before: Some(before.into()),
        };
        async move {
            let reply = self.ask("DeleteRecords", question).await;
            let reply: proto::DeleteRecordsReply = reply.map_err(DeleteRecordsError::Metadata)?;
            let understood = || -> Sense<Result<Offset, DeleteRecordsError>> {
                Ok(match present(reply.outcome, "outcome")? {
                    Outcome::LogStart(at) => Ok(offset(at, "log_start")?),
                    Outcome::Failure(failure) => {
                        Err(DeleteRecordsError::Metadata(kind_of(&failure)))
                    }
                    Outcome::UnknownPartition(_) => Err(DeleteRecordsError::UnknownPartition),
                    Outcome::OutOfRange(at) => Err(DeleteRecordsError::OutOfRange {
                        high_watermark: offset(at, "out_of_range")?,
                    }),
                    Outcome::NotDecided(_) => Err(DeleteRecordsError::NotDecided),
                })
            };
            understood().unwrap_or_else(|error| Err(DeleteRecordsError::Metadata(nonsense(error))))
        }
        .boxed()
    }

    fn log_bytes(&self) -> BoxFuture<'_, Result<BTreeMap<TopicPartition, u64>, MetadataError>> {
        use proto::log_bytes_reply::Outcome;
        let question = proto::LogBytesRequest {};
        async move {
            let reply: proto::LogBytesReply = self.ask("LogBytes", question).await?;
            let understood = || -> Sense<Result<BTreeMap<TopicPartition, u64>, MetadataError>> {
                Ok(match present(reply.outcome, "outcome")? {
                    Outcome::Partitions(logs) => {
                        let rows = logs.partitions.into_iter();
                        let rows =
                            rows.map(|row| Ok((topic_partition(row.topic_partition)?, row.bytes)));
                        Ok(rows.collect::<Sense<_>>()?)
                    }
                    Outcome::Failure(failure) => Err(kind_of(&failure)),
                })
            };
            sense(understood())
        }
        .boxed()
    }

    fn alter_broker(&self, request: AlterBroker) -> BoxFuture<'_, Result<(), AlterBrokerError>> {
        use proto::alter_broker_reply::Outcome;
        let question = proto::AlterBrokerRequest::from(request);
        async move {
            let reply = self.ask("AlterBroker", question).await;
            let reply: proto::AlterBrokerReply = reply.map_err(AlterBrokerError::Metadata)?;
            let outcome = present(reply.outcome, "outcome");
            match outcome.map_err(|error| AlterBrokerError::Metadata(nonsense(error)))? {
                Outcome::Altered(_) => Ok(()),
                Outcome::Failure(failure) => Err(AlterBrokerError::Metadata(kind_of(&failure))),
                Outcome::Changed(_) => Err(AlterBrokerError::Changed),
                Outcome::TooManyBrokers(_) => Err(AlterBrokerError::TooManyBrokers),
            }
        }
        .boxed()
    }

    fn producers(
        &self,
        topic_partition: TopicPartition,
    ) -> BoxFuture<'_, Result<Vec<ActiveProducer>, LogIndexError>> {
        use proto::producers_reply::Outcome;
        let question = proto::ProducersRequest {
            topic_partition: Some(topic_partition.into()),
        };
        async move {
            let reply = self.ask("Producers", question).await;
            let reply: proto::ProducersReply = reply.map_err(LogIndexError::Metadata)?;
            let understood = || -> Sense<Result<Vec<ActiveProducer>, LogIndexError>> {
                Ok(match present(reply.outcome, "outcome")? {
                    Outcome::Active(active) => {
                        let rows = active.producers.into_iter().map(TryInto::try_into);
                        Ok(rows.collect::<Sense<_>>()?)
                    }
                    Outcome::Failure(failure) => Err(LogIndexError::Metadata(kind_of(&failure))),
                    Outcome::UnknownPartition(_) => Err(LogIndexError::UnknownPartition),
                    Outcome::NotDecided(_) => Err(LogIndexError::NotDecided),
                })
            };
            understood().unwrap_or_else(|error| Err(LogIndexError::Metadata(nonsense(error))))
        }
        .boxed()
    }

    fn leadership(&self) -> BoxFuture<'_, Result<Leadership, MetadataError>> {
        use proto::leadership_reply::Outcome;
        let question = proto::LeadershipRequest {};
        async move {
            let reply: proto::LeadershipReply = self.ask("Leadership", question).await?;
            sense(
                present(reply.outcome, "outcome").map(|outcome| match outcome {
                    Outcome::Leads(leads) => Ok(leads.into()),
                    Outcome::Failure(failure) => Err(kind_of(&failure)),
                }),
            )
        }
        .boxed()
    }
}

impl Pods for RemoteMetadata {
    fn announce(&self, pod: Pod) -> BoxFuture<'_, Result<PodLease, AnnounceError>> {
        use proto::announce_reply::Outcome;
        let question = proto::AnnounceRequest {
            pod: Some((&pod).into()),
        };
        async move {
            let deadline = self.inner.config.deadlines.call;
            let asked = self
                .inner
                .ask_in("Announce", deadline, question, in_version);
            let reply = asked.await;
            let reply: proto::AnnounceReply = reply.map_err(AnnounceError::Metadata)?;
            let outcome = present(reply.outcome, "outcome");
            match outcome.map_err(|error| AnnounceError::Metadata(nonsense(error)))? {
                Outcome::Lease(lease) => Ok(lease.into()),
                Outcome::Failure(failure) => Err(AnnounceError::Metadata(kind_of(&failure))),
                Outcome::NodeIdTaken(_) => Err(AnnounceError::NodeIdTaken),
                Outcome::TooManyPods(_) => Err(AnnounceError::TooManyPods),
                Outcome::Malformed(_) => Err(AnnounceError::Malformed),
            }
        }
        .boxed()
    }
}
