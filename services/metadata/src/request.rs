//! What callers ask of the leader loop: one variant per call of the five traits, each with the
//! place its answer goes. A caller that went away just drops its end.

use std::collections::BTreeMap;

use esker_metadata_api::{
    ActiveProducer, AlterBroker, AlterBrokerError, AlterTopic, AlterTopicError, AnnounceError,
    CreateTopic, CreateTopicError, CreatedTopic, DeleteBefore, DeleteRecordsError,
    DeleteTopicError, FeedUpdate, GroupReply, GroupRequest, IndexSlice, Leadership, ListedOffset,
    LogIndexError, MetadataError, OffsetQuery, Pod, PodLease, Registered, ReserveError,
    ReserveReply, ReserveRequest, SessionEnd, Topic, TopicRef, TopicTable, WrittenReport,
};
use esker_types::{Offset, ProducerId, SessionId, TopicPartition};
use std::sync::Arc;
use tokio::sync::{broadcast, oneshot};

/// Where an answer goes.
pub(crate) type ReplyTo<T> = oneshot::Sender<T>;
/// Answers of calls that fail only as the service does.
pub(crate) type Answer<T> = Result<T, MetadataError>;

/// What a follower of the index gets.
#[derive(Debug)]
pub(crate) struct FeedStart {
    pub(crate) topics: Arc<TopicTable>,
    pub(crate) updates: broadcast::Receiver<FeedUpdate>,
}

/// One call.
#[derive(Debug)]
pub(crate) enum Request {
    Register {
        replaces: Option<SessionId>,
        reply: ReplyTo<Answer<Registered>>,
    },
    Reserve {
        request: ReserveRequest,
        reply: ReplyTo<Result<ReserveReply, ReserveError>>,
    },
    Written {
        report: WrittenReport,
        reply: ReplyTo<Answer<()>>,
    },
    EndSession {
        session: SessionId,
        reply: ReplyTo<Answer<SessionEnd>>,
    },
    Follow {
        reply: ReplyTo<Answer<FeedStart>>,
    },
    LookUp {
        topic_partition: TopicPartition,
        offset: Offset,
        extents_max: usize,
        reply: ReplyTo<Result<IndexSlice, LogIndexError>>,
    },
    ListOffset {
        topic_partition: TopicPartition,
        query: OffsetQuery,
        from: Offset,
        reply: ReplyTo<Result<ListedOffset, LogIndexError>>,
    },
    TopicsCurrent {
        reply: ReplyTo<Answer<Arc<TopicTable>>>,
    },
    CreateTopic {
        request: CreateTopic,
        reply: ReplyTo<Result<CreatedTopic, CreateTopicError>>,
    },
    DeleteTopic {
        topic: TopicRef,
        reply: ReplyTo<Result<Arc<Topic>, DeleteTopicError>>,
    },
    AlterTopic {
        request: AlterTopic,
        reply: ReplyTo<Result<Arc<Topic>, AlterTopicError>>,
    },
    DeleteRecords {
        topic_partition: TopicPartition,
        before: DeleteBefore,
        reply: ReplyTo<Result<Offset, DeleteRecordsError>>,
    },
    AlterBroker {
        request: AlterBroker,
        reply: ReplyTo<Result<(), AlterBrokerError>>,
    },
    Producers {
        topic_partition: TopicPartition,
        reply: ReplyTo<Result<Vec<ActiveProducer>, LogIndexError>>,
    },
    LogBytes {
        reply: ReplyTo<Answer<BTreeMap<TopicPartition, u64>>>,
    },
    Leadership {
        reply: ReplyTo<Answer<Leadership>>,
    },
    ProducerId {
        reply: ReplyTo<Answer<ProducerId>>,
    },
    Announce {
        pod: Pod,
        reply: ReplyTo<Result<PodLease, AnnounceError>>,
    },
    Group {
        request: GroupRequest,
        reply: ReplyTo<Answer<GroupReply>>,
    },
}
