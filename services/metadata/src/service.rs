//! The in-process client: the five traits of `metadata-api`, answered by the leader loop.
//!
//! Handles are cheap to clone and outlive the leader: without one, calls are refused with what is
//! known (nothing done, or outcome unknown). A remote client will stand beside this one.

use std::collections::BTreeMap;
use std::sync::Arc;

use esker_metadata_api::{
    ActiveProducer, Admin, AlterBroker, AlterBrokerError, AlterTopic, AlterTopicError,
    AnnounceError, CreateTopic, CreateTopicError, CreatedTopic, DeleteBefore, DeleteRecordsError,
    DeleteTopicError, FeedUpdate, GroupReply, GroupRequest, IndexFeed, IndexSlice, Leadership,
    ListedOffset, LogIndex, LogIndexError, MetadataError, OffsetQuery, Pod, PodLease, Pods,
    Registered, ReserveError, ReserveReply, ReserveRequest, Sequencer, SessionEnd, Topic,
    TopicAdmin, TopicRef, TopicTable, WrittenReport,
};
use esker_types::{ClusterId, Offset, ProducerId, SessionId, TopicPartition};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::request::{FeedStart, ReplyTo, Request};
use crate::status::MetadataStatus;

/// Handle of the metadata service in this process.
#[derive(Clone, Debug)]
pub struct MetadataService {
    cluster: ClusterId,
    requests: mpsc::Sender<Request>,
    topics: watch::Receiver<Arc<TopicTable>>,
    status: watch::Receiver<MetadataStatus>,
}

impl MetadataService {
    pub(crate) fn new(
        cluster: ClusterId,
        requests: mpsc::Sender<Request>,
        topics: watch::Receiver<Arc<TopicTable>>,
        status: watch::Receiver<MetadataStatus>,
    ) -> Self {
        Self {
            cluster,
            requests,
            topics,
            status,
        }
    }

    /// Where the service stands now.
    #[must_use]
    pub fn status(&self) -> MetadataStatus {
        self.status.borrow().clone()
    }

    /// Completes when `wanted` holds of the status; at once if it does now. Cancel safe.
    pub async fn status_becomes(&self, wanted: impl Fn(&MetadataStatus) -> bool + Send + Sync) {
        let mut status = self.status.clone();
        // An error means that the service is gone; its last status stands.
        let _ = status.wait_for(|now| wanted(now)).await;
    }

    /// Why nothing can be sent now.
    fn unavailable(&self) -> MetadataError {
        match *self.status.borrow() {
            MetadataStatus::Starting | MetadataStatus::Recovering { .. } => {
                MetadataError::Recovering
            }
            MetadataStatus::Deposed { .. } => MetadataError::Deposed,
            MetadataStatus::Standby { .. }
            | MetadataStatus::Leading { .. }
            | MetadataStatus::Stopped => MetadataError::Unavailable,
        }
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(ReplyTo<T>) -> Request,
    ) -> Result<T, MetadataError> {
        if !self.status.borrow().is_leading() {
            return Err(self.unavailable());
        }
        let (reply, answer) = oneshot::channel();
        match self.requests.try_send(request(reply)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(MetadataError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(self.unavailable()),
        }
        match answer.await {
            Ok(answer) => Ok(answer),
            // The leader ended with the request in its hands.
            Err(_) => match *self.status.borrow() {
                MetadataStatus::Deposed { .. } => Err(MetadataError::Deposed),
                _ => Err(MetadataError::Unknown),
            },
        }
    }

    async fn ask_plain<T>(
        &self,
        request: impl FnOnce(ReplyTo<Result<T, MetadataError>>) -> Request,
    ) -> Result<T, MetadataError> {
        self.ask(request).await.and_then(|answer| answer)
    }
}

impl Sequencer for MetadataService {
    fn register(
        &self,
        replaces: Option<SessionId>,
    ) -> BoxFuture<'_, Result<Registered, MetadataError>> {
        self.ask_plain(move |reply| Request::Register { replaces, reply })
            .boxed()
    }

    fn reserve(
        &self,
        request: ReserveRequest,
    ) -> BoxFuture<'_, Result<ReserveReply, ReserveError>> {
        let asked = self.ask(move |reply| Request::Reserve { request, reply });
        asked
            .map(|answer| answer.unwrap_or_else(|error| Err(ReserveError::Metadata(error))))
            .boxed()
    }

    fn written(&self, report: WrittenReport) -> BoxFuture<'_, Result<(), MetadataError>> {
        self.ask_plain(move |reply| Request::Written { report, reply })
            .boxed()
    }

    fn end_session(&self, session: SessionId) -> BoxFuture<'_, Result<SessionEnd, MetadataError>> {
        self.ask_plain(move |reply| Request::EndSession { session, reply })
            .boxed()
    }
}

impl LogIndex for MetadataService {
    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn IndexFeed>, MetadataError>> {
        self.ask_plain(|reply| Request::Follow { reply })
            .map(|started| {
                let feed = LocalFeed::new(started?, self.topics.clone());
                let feed: Box<dyn IndexFeed> = Box::new(feed);
                Ok(feed)
            })
            .boxed()
    }

    fn look_up(
        &self,
        topic_partition: TopicPartition,
        offset: Offset,
        extents_max: usize,
    ) -> BoxFuture<'_, Result<IndexSlice, LogIndexError>> {
        let asked = self.ask(move |reply| Request::LookUp {
            topic_partition,
            offset,
            extents_max,
            reply,
        });
        asked
            .map(|answer| answer.unwrap_or_else(|error| Err(LogIndexError::Metadata(error))))
            .boxed()
    }

    fn list_offset(
        &self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
        from: Offset,
    ) -> BoxFuture<'_, Result<ListedOffset, LogIndexError>> {
        let asked = self.ask(move |reply| Request::ListOffset {
            topic_partition,
            query,
            from,
            reply,
        });
        asked
            .map(|answer| answer.unwrap_or_else(|error| Err(LogIndexError::Metadata(error))))
            .boxed()
    }
}

impl Admin for MetadataService {
    fn cluster(&self) -> ClusterId {
        self.cluster
    }

    fn topics(&self) -> Arc<TopicTable> {
        Arc::clone(&self.topics.borrow())
    }

    fn topics_current(&self) -> BoxFuture<'_, Result<Arc<TopicTable>, MetadataError>> {
        self.ask_plain(|reply| Request::TopicsCurrent { reply })
            .boxed()
    }

    fn create_topic(
        &self,
        request: CreateTopic,
    ) -> BoxFuture<'_, Result<CreatedTopic, CreateTopicError>> {
        let asked = self.ask(move |reply| Request::CreateTopic { request, reply });
        asked
            .map(|answer| answer.unwrap_or_else(|error| Err(CreateTopicError::Metadata(error))))
            .boxed()
    }

    fn delete_topic(&self, topic: TopicRef) -> BoxFuture<'_, Result<Arc<Topic>, DeleteTopicError>> {
        let asked = self.ask(move |reply| Request::DeleteTopic { topic, reply });
        asked
            .map(|answer| answer.unwrap_or_else(|error| Err(DeleteTopicError::Metadata(error))))
            .boxed()
    }

    fn producer_id(&self) -> BoxFuture<'_, Result<ProducerId, MetadataError>> {
        self.ask_plain(|reply| Request::ProducerId { reply })
            .boxed()
    }

    fn group(&self, request: GroupRequest) -> BoxFuture<'_, Result<GroupReply, MetadataError>> {
        self.ask_plain(move |reply| Request::Group { request, reply })
            .boxed()
    }
}

impl TopicAdmin for MetadataService {
    fn alter_topic(
        &self,
        request: AlterTopic,
    ) -> BoxFuture<'_, Result<Arc<Topic>, AlterTopicError>> {
        let asked = self.ask(move |reply| Request::AlterTopic { request, reply });
        asked
            .map(|answer| answer.unwrap_or_else(|error| Err(AlterTopicError::Metadata(error))))
            .boxed()
    }

    fn delete_records(
        &self,
        topic_partition: TopicPartition,
        before: DeleteBefore,
    ) -> BoxFuture<'_, Result<Offset, DeleteRecordsError>> {
        let asked = self.ask(move |reply| Request::DeleteRecords {
            topic_partition,
            before,
            reply,
        });
        asked
            .map(|answer| answer.unwrap_or_else(|error| Err(DeleteRecordsError::Metadata(error))))
            .boxed()
    }

    fn log_bytes(&self) -> BoxFuture<'_, Result<BTreeMap<TopicPartition, u64>, MetadataError>> {
        self.ask_plain(|reply| Request::LogBytes { reply }).boxed()
    }

    fn alter_broker(&self, request: AlterBroker) -> BoxFuture<'_, Result<(), AlterBrokerError>> {
        let asked = self.ask(move |reply| Request::AlterBroker { request, reply });
        asked
            .map(|answer| answer.unwrap_or_else(|error| Err(AlterBrokerError::Metadata(error))))
            .boxed()
    }

    fn producers(
        &self,
        topic_partition: TopicPartition,
    ) -> BoxFuture<'_, Result<Vec<ActiveProducer>, LogIndexError>> {
        let asked = self.ask(move |reply| Request::Producers {
            topic_partition,
            reply,
        });
        asked
            .map(|answer| answer.unwrap_or_else(|error| Err(LogIndexError::Metadata(error))))
            .boxed()
    }

    fn leadership(&self) -> BoxFuture<'_, Result<Leadership, MetadataError>> {
        self.ask_plain(|reply| Request::Leadership { reply })
            .boxed()
    }
}

impl Pods for MetadataService {
    fn announce(&self, pod: Pod) -> BoxFuture<'_, Result<PodLease, AnnounceError>> {
        let asked = self.ask(move |reply| Request::Announce { pod, reply });
        asked
            .map(|answer| answer.unwrap_or_else(|error| Err(AnnounceError::Metadata(error))))
            .boxed()
    }
}

/// The feed of a follower in this process.
#[derive(Debug)]
struct LocalFeed {
    topics: Option<Arc<TopicTable>>,
    updates: broadcast::Receiver<FeedUpdate>,
    /// The table of this moment: told anew when updates were lost, since one may have been of it.
    current: watch::Receiver<Arc<TopicTable>>,
}

impl LocalFeed {
    fn new(start: FeedStart, current: watch::Receiver<Arc<TopicTable>>) -> Self {
        Self {
            topics: Some(start.topics),
            updates: start.updates,
            current,
        }
    }
}

impl IndexFeed for LocalFeed {
    fn next(&mut self) -> BoxFuture<'_, Option<FeedUpdate>> {
        async {
            if let Some(topics) = self.topics.take() {
                return Some(FeedUpdate::Topics(topics));
            }
            match self.updates.recv().await {
                Ok(update) => Some(update),
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.topics = Some(Arc::clone(&self.current.borrow()));
                    Some(FeedUpdate::Resync)
                }
                Err(broadcast::error::RecvError::Closed) => None,
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use esker_journal::OwnerId;
    use esker_metadata_api::limits::FEED_UPDATES_MAX;
    use esker_types::SequencerEpoch;

    use super::*;
    use crate::limits::REQUESTS_WAITING_MAX;

    #[tokio::test]
    async fn a_follower_that_lies_too_far_behind_is_told_to_look_up_afresh() {
        let (sender, updates) = broadcast::channel(FEED_UPDATES_MAX);
        let topics: Arc<TopicTable> = Arc::default();
        let (table, current) = watch::channel(Arc::clone(&topics));
        let start = FeedStart {
            topics: Arc::clone(&topics),
            updates,
        };
        let mut feed = LocalFeed::new(start, current);
        let changed: Arc<TopicTable> = Arc::default();
        table.send_replace(Arc::clone(&changed));
        for _ in 0..=FEED_UPDATES_MAX {
            let _ = sender.send(FeedUpdate::Resync);
        }

        let first = feed.next().await;
        let second = feed.next().await;
        let third = feed.next().await;
        drop(sender);

        assert!(matches!(first, Some(FeedUpdate::Topics(_))));
        assert!(matches!(second, Some(FeedUpdate::Resync)));
        assert!(
            matches!(third, Some(FeedUpdate::Topics(told)) if Arc::ptr_eq(&told, &changed)),
            "a change of topics may have been among what was lost"
        );
    }

    #[tokio::test]
    async fn one_request_past_the_queue_is_refused_and_nothing_is_asked_without_a_leader() {
        let (sender, waiting) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (_topics, topics) = watch::channel(Arc::default());
        let (status, seen) = watch::channel(MetadataStatus::Leading {
            epoch: SequencerEpoch::FIRST,
            owner: OwnerId::from_bytes([1; 16]),
        });
        let service = MetadataService::new(ClusterId::from_bytes([1; 16]), sender, topics, seen);
        let mut calls = Vec::new();
        for _ in 0..REQUESTS_WAITING_MAX {
            let mut call = Box::pin(service.producer_id());
            assert!(futures::poll!(&mut call).is_pending());
            calls.push(call);
        }

        let beyond = service.producer_id().await;
        status.send_replace(MetadataStatus::Stopped);
        drop(waiting);
        let interrupted = calls.pop().unwrap().await;
        let stopped = service.producer_id().await;
        status.send_replace(MetadataStatus::Starting);
        let starting = service.producer_id().await;

        assert_eq!(beyond, Err(MetadataError::Overloaded));
        assert_eq!(interrupted, Err(MetadataError::Unknown));
        assert_eq!(stopped, Err(MetadataError::Unavailable));
        assert_eq!(starting, Err(MetadataError::Recovering));
    }
}
