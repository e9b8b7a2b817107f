//! The five traits in a process without the metadata service: nothing is done, and whoever asks is
//! sent to others.

use std::collections::BTreeMap;
use std::sync::Arc;

use esker_metadata_api::{
    ActiveProducer, Admin, AlterBroker, AlterBrokerError, AlterTopic, AlterTopicError,
    AnnounceError, CreateTopic, CreateTopicError, CreatedTopic, DeleteBefore, DeleteRecordsError,
    DeleteTopicError, GroupReply, GroupRequest, IndexFeed, IndexSlice, Leadership, ListedOffset,
    LogIndex, LogIndexError, MetadataError, OffsetQuery, Pod, PodLease, Pods, Registered,
    ReserveError, ReserveReply, ReserveRequest, Sequencer, SessionEnd, Topic, TopicAdmin, TopicRef,
    TopicTable, WrittenReport,
};
use esker_types::{ClusterId, Offset, ProducerId, SessionId, TopicPartition};
use futures::future::{BoxFuture, FutureExt as _, ready};

/// Nobody leads here, and nobody ever will.
#[derive(Debug)]
pub(super) struct NoMetadata {
    pub(super) cluster: ClusterId,
}

type Answer<T, E> = BoxFuture<'static, Result<T, E>>;

const ELSEWHERE: MetadataError = MetadataError::Unavailable;

fn elsewhere<T: Send + 'static, E: Send + 'static>(error: E) -> Answer<T, E> {
    ready(Err(error)).boxed()
}

impl Sequencer for NoMetadata {
    fn register(&self, _: Option<SessionId>) -> Answer<Registered, MetadataError> {
        elsewhere(ELSEWHERE)
    }

    fn reserve(&self, _: ReserveRequest) -> Answer<ReserveReply, ReserveError> {
        elsewhere(ReserveError::Metadata(ELSEWHERE))
    }

    fn written(&self, _: WrittenReport) -> Answer<(), MetadataError> {
        elsewhere(ELSEWHERE)
    }

    fn end_session(&self, _: SessionId) -> Answer<SessionEnd, MetadataError> {
        elsewhere(ELSEWHERE)
    }
}

impl LogIndex for NoMetadata {
    fn follow(&self) -> Answer<Box<dyn IndexFeed>, MetadataError> {
        elsewhere(ELSEWHERE)
    }

    fn look_up(&self, _: TopicPartition, _: Offset, _: usize) -> Answer<IndexSlice, LogIndexError> {
        elsewhere(LogIndexError::Metadata(ELSEWHERE))
    }

    fn list_offset(
        &self,
        _: TopicPartition,
        _: OffsetQuery,
        _: Offset,
    ) -> Answer<ListedOffset, LogIndexError> {
        elsewhere(LogIndexError::Metadata(ELSEWHERE))
    }
}

impl Admin for NoMetadata {
    fn cluster(&self) -> ClusterId {
        self.cluster
    }

    fn topics(&self) -> Arc<TopicTable> {
        Arc::default()
    }

    fn topics_current(&self) -> Answer<Arc<TopicTable>, MetadataError> {
        elsewhere(ELSEWHERE)
    }

    fn create_topic(&self, _: CreateTopic) -> Answer<CreatedTopic, CreateTopicError> {
        elsewhere(CreateTopicError::Metadata(ELSEWHERE))
    }

    fn delete_topic(&self, _: TopicRef) -> Answer<Arc<Topic>, DeleteTopicError> {
        elsewhere(DeleteTopicError::Metadata(ELSEWHERE))
    }

    fn producer_id(&self) -> Answer<ProducerId, MetadataError> {
        elsewhere(ELSEWHERE)
    }

    fn group(&self, _: GroupRequest) -> Answer<GroupReply, MetadataError> {
        elsewhere(ELSEWHERE)
    }
}

impl TopicAdmin for NoMetadata {
    fn alter_topic(&self, _: AlterTopic) -> Answer<Arc<Topic>, AlterTopicError> {
        elsewhere(AlterTopicError::Metadata(ELSEWHERE))
    }

    fn delete_records(
        &self,
        _: TopicPartition,
        _: DeleteBefore,
    ) -> Answer<Offset, DeleteRecordsError> {
        elsewhere(DeleteRecordsError::Metadata(ELSEWHERE))
    }

    fn log_bytes(&self) -> Answer<BTreeMap<TopicPartition, u64>, MetadataError> {
        elsewhere(ELSEWHERE)
    }

    fn alter_broker(&self, _: AlterBroker) -> Answer<(), AlterBrokerError> {
        elsewhere(AlterBrokerError::Metadata(ELSEWHERE))
    }

    fn producers(&self, _: TopicPartition) -> Answer<Vec<ActiveProducer>, LogIndexError> {
        elsewhere(LogIndexError::Metadata(ELSEWHERE))
    }

    fn leadership(&self) -> Answer<Leadership, MetadataError> {
        elsewhere(ELSEWHERE)
    }
}

impl Pods for NoMetadata {
    fn announce(&self, _: Pod) -> Answer<PodLease, AnnounceError> {
        elsewhere(AnnounceError::Metadata(ELSEWHERE))
    }
}
