//! The metadata service as the files of this crate ask it: bounded in time, and with R1 built in.
//!
//! A [`View`] says for what it lacks whether that surely does not exist, so "unknown" cannot be
//! told from a table that may lag.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use esker_env::{Clock, Env, timeout};
use esker_metadata_api::{
    ActiveProducer, Admin, AlterBroker, AlterBrokerError, AlterTopic, AlterTopicError, CreateTopic,
    CreateTopicError, CreatedTopic, DeleteBefore, DeleteRecordsError, DeleteTopicError, GroupReply,
    GroupRequest, Leadership, ListedOffset, LogIndex, LogIndexError, MetadataError, OffsetQuery,
    Topic, TopicAdmin, TopicRef, TopicTable,
};
use esker_types::{ClusterId, MonotonicTime, Offset, ProducerId, TopicId, TopicPartition};

use crate::front::AdminParts;

/// The metadata service.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    admin: Arc<dyn Admin>,
    topic_admin: Arc<dyn TopicAdmin>,
    log_index: Arc<dyn LogIndex>,
    clock: Arc<dyn Clock>,
    limit: Duration,
}

/// How a table was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// As last heard: everything that was looked for is in it.
    Cached,
    /// Current (R1): what it lacks does not exist.
    Current,
    /// As last heard, because no current one could be had: what it lacks may exist.
    Unconfirmed(MetadataError),
}

/// Topics, and how far the table may be trusted.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) table: Arc<TopicTable>,
    pub(crate) source: Source,
}

impl View {
    /// What to say of something that the table lacks: `absent` only when the table is current.
    pub(crate) fn gap<E>(&self, absent: E, unconfirmed: impl FnOnce(MetadataError) -> E) -> E {
        match self.source {
            Source::Current => absent,
            // Not reached where `holds` looked for all that is needed; safe all the same.
            Source::Cached => unconfirmed(MetadataError::Unavailable),
            Source::Unconfirmed(error) => unconfirmed(error),
        }
    }
}

impl Catalogue {
    pub(crate) fn new(parts: AdminParts, env: &Env, limit: Duration) -> Self {
        Self {
            admin: parts.admin,
            topic_admin: parts.topic_admin,
            log_index: parts.log_index,
            clock: Arc::clone(&env.clock),
            limit,
        }
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        self.admin.cluster()
    }

    /// All topics as last heard; may lag.
    pub(crate) fn cached(&self) -> Arc<TopicTable> {
        self.admin.topics()
    }

    /// All topics, current (R1).
    pub(crate) async fn current(&self) -> Result<Arc<TopicTable>, MetadataError> {
        self.within(self.limit, self.admin.topics_current()).await
    }

    /// All topics, current (R1), or [`MetadataError::Unknown`] when `deadline` comes first.
    pub(crate) async fn current_by(
        &self,
        deadline: MonotonicTime,
    ) -> Result<Arc<TopicTable>, MetadataError> {
        self.within(self.left(deadline), self.admin.topics_current())
            .await
    }

    /// The cached table when it `holds` all that is looked for, else a current one.
    pub(crate) async fn view(&self, holds: impl Fn(&TopicTable) -> bool + Send) -> View {
        let table = self.cached();
        if holds(&table) {
            let source = Source::Cached;
            return View { table, source };
        }
        match self.current().await {
            Ok(table) => View {
                table,
                source: Source::Current,
            },
            Err(error) => View {
                table,
                source: Source::Unconfirmed(error),
            },
        }
    }

    /// Creates a topic, in the time of a call that names none.
    pub(crate) async fn create(
        &self,
        request: CreateTopic,
    ) -> Result<CreatedTopic, CreateTopicError> {
        self.create_by(self.deadline(), request).await
    }

    /// Creates a topic. At `deadline` it is not known whether it is there.
    pub(crate) async fn create_by(
        &self,
        deadline: MonotonicTime,
        request: CreateTopic,
    ) -> Result<CreatedTopic, CreateTopicError> {
        let left = self.left(deadline);
        if left.is_zero() {
            return Err(CreateTopicError::Metadata(MetadataError::Unavailable));
        }
        let created = timeout(self.clock.as_ref(), left, self.admin.create_topic(request)).await;
        created.unwrap_or(Err(CreateTopicError::Metadata(MetadataError::Unknown)))
    }

    /// Deletes a topic. At `deadline` it is not known whether it is gone.
    pub(crate) async fn delete_by(
        &self,
        deadline: MonotonicTime,
        topic: TopicId,
    ) -> Result<Arc<Topic>, DeleteTopicError> {
        let left = self.left(deadline);
        if left.is_zero() {
            return Err(DeleteTopicError::Metadata(MetadataError::Unavailable));
        }
        let deletion = self.admin.delete_topic(TopicRef::Id(topic));
        let deleted = timeout(self.clock.as_ref(), left, deletion).await;
        deleted.unwrap_or(Err(DeleteTopicError::Metadata(MetadataError::Unknown)))
    }

    /// Changes a topic. At `deadline` it is not known whether it is changed.
    pub(crate) async fn alter_by(
        &self,
        deadline: MonotonicTime,
        request: AlterTopic,
    ) -> Result<Arc<Topic>, AlterTopicError> {
        let left = self.left(deadline);
        if left.is_zero() {
            return Err(AlterTopicError::Metadata(MetadataError::Unavailable));
        }
        let change = self.topic_admin.alter_topic(request);
        let altered = timeout(self.clock.as_ref(), left, change).await;
        altered.unwrap_or(Err(AlterTopicError::Metadata(MetadataError::Unknown)))
    }

    /// Changes settings of brokers. At `deadline` it is not known whether they are changed.
    pub(crate) async fn alter_broker_by(
        &self,
        deadline: MonotonicTime,
        request: AlterBroker,
    ) -> Result<(), AlterBrokerError> {
        let left = self.left(deadline);
        if left.is_zero() {
            return Err(AlterBrokerError::Metadata(MetadataError::Unavailable));
        }
        let change = self.topic_admin.alter_broker(request);
        let altered = timeout(self.clock.as_ref(), left, change).await;
        altered.unwrap_or(Err(AlterBrokerError::Metadata(MetadataError::Unknown)))
    }

    /// The producers that a partition remembers, current (R1).
    pub(crate) async fn producers(
        &self,
        topic_partition: TopicPartition,
    ) -> Result<Vec<ActiveProducer>, LogIndexError> {
        let question = self.topic_admin.producers(topic_partition);
        let answer = timeout(self.clock.as_ref(), self.limit, question).await;
        answer.unwrap_or(Err(LogIndexError::Metadata(MetadataError::Unknown)))
    }

    /// Deletes records. At `deadline` it is not known whether they are gone.
    pub(crate) async fn delete_records_by(
        &self,
        deadline: MonotonicTime,
        topic_partition: TopicPartition,
        before: DeleteBefore,
    ) -> Result<Offset, DeleteRecordsError> {
        let left = self.left(deadline);
        if left.is_zero() {
            return Err(DeleteRecordsError::Metadata(MetadataError::Unavailable));
        }
        let deletion = self.topic_admin.delete_records(topic_partition, before);
        let deleted = timeout(self.clock.as_ref(), left, deletion).await;
        deleted.unwrap_or(Err(DeleteRecordsError::Metadata(MetadataError::Unknown)))
    }

    /// Bytes of every partition's log.
    pub(crate) async fn log_bytes(&self) -> Result<BTreeMap<TopicPartition, u64>, MetadataError> {
        self.within(self.limit, self.topic_admin.log_bytes()).await
    }

    /// Who leads the metadata service.
    pub(crate) async fn leadership(&self) -> Result<Leadership, MetadataError> {
        self.within(self.limit, self.topic_admin.leadership()).await
    }

    /// Milliseconds since 1970.
    pub(crate) fn wall_millis(&self) -> i64 {
        self.clock.wall().millis()
    }

    /// One past the last record of a partition, current (R1).
    pub(crate) async fn log_end(
        &self,
        topic_partition: TopicPartition,
    ) -> Result<Offset, LogIndexError> {
        let latest = OffsetQuery::Latest;
        let question = self
            .log_index
            .list_offset(topic_partition, latest, Offset::ZERO);
        match timeout(self.clock.as_ref(), self.limit, question).await {
            Ok(Ok(ListedOffset::Known(offset))) => Ok(offset),
            // "Latest" is always known; anything else is a bug of ours.
            Ok(Ok(ListedOffset::Inside(_) | ListedOffset::Nothing)) => {
                Err(LogIndexError::NotDecided)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LogIndexError::Metadata(MetadataError::Unknown)),
        }
    }

    /// When a call that names no time of its own gives up.
    pub(crate) fn deadline(&self) -> MonotonicTime {
        self.clock.now().after(self.limit)
    }

    pub(crate) async fn producer_id(&self) -> Result<ProducerId, MetadataError> {
        self.within(self.limit, self.admin.producer_id()).await
    }

    /// A call to the group coordinator that is answered at once.
    pub(crate) async fn group(&self, request: GroupRequest) -> Result<GroupReply, MetadataError> {
        self.within(self.limit, self.admin.group(request)).await
    }

    /// A call that is answered when the rebalance allows: its end is the coordinator's to know.
    pub(crate) async fn rebalance(
        &self,
        request: GroupRequest,
    ) -> Result<GroupReply, MetadataError> {
        self.admin.group(request).await
    }

    fn left(&self, deadline: MonotonicTime) -> Duration {
        deadline.since(self.clock.now())
    }

    async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, MetadataError>> + Send,
    ) -> Result<T, MetadataError> {
        let answer = timeout(self.clock.as_ref(), limit, call).await;
        let answer = answer.unwrap_or(Err(MetadataError::Unknown));
        if let Err(error) = &answer {
            tracing::debug!(%error, "metadata service did not answer");
        }
        answer
    }
}
