//! The metadata service as another pod sees it: over the network, with the leader looked for anew.
//!
//! A call is tried again elsewhere only when surely nothing was done. What the caller drops counts
//! as unanswered: the next call asks another candidate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use esker_env::Rng;
use esker_metadata::MetadataService;
use esker_metadata_api::{
    Admin, CreateTopic, CreateTopicError, CreatedTopic, DeleteTopicError, FeedUpdate, GroupReply,
    GroupRequest, IndexFeed, IndexSlice, ListedOffset, LogIndex, LogIndexError, MetadataError,
    OffsetQuery, Registered, ReserveError, ReserveReply, ReserveRequest, Sequencer, SessionEnd,
    Topic, TopicRef, TopicTable, WrittenReport,
};
use esker_types::{ClusterId, Offset, ProducerId, SessionId, TopicPartition};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, select};

use crate::clock::sleep;
use crate::net::{Call, CallError};
use crate::pods::CLUSTER;
use crate::world::{Place, World};

/// An error that may wrap "no answer".
trait MaybeUnanswered: Send + 'static {
    fn metadata(&self) -> Option<MetadataError>;
    fn of(error: MetadataError) -> Self;
}

impl MaybeUnanswered for MetadataError {
    fn metadata(&self) -> Option<MetadataError> {
        Some(*self)
    }
    fn of(error: MetadataError) -> Self {
        error
    }
}

macro_rules! wrapping {
    ($($error:ident),*) => {$(
        impl MaybeUnanswered for $error {
            fn metadata(&self) -> Option<MetadataError> {
                match self {
                    Self::Metadata(error) => Some(*error),
                    _ => None,
                }
            }
            fn of(error: MetadataError) -> Self {
                Self::Metadata(error)
            }
        }
    )*};
}

wrapping!(
    ReserveError,
    LogIndexError,
    CreateTopicError,
    DeleteTopicError
);

/// One pod's client of the metadata service.
#[derive(Debug)]
pub(crate) struct Remote {
    world: Arc<World>,
    pod: usize,
    candidates: Vec<usize>,
    /// Place in `candidates` of whom is taken for the leader.
    believed: AtomicUsize,
    table: Mutex<Arc<TopicTable>>,
}

/// Turns to the next candidate unless the call was answered.
struct Turn<'a> {
    remote: &'a Remote,
    answered: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.remote.believed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Remote {
    pub(crate) fn new(world: Arc<World>, pod: usize, rng: &Rng) -> Self {
        let candidates = world.pods.iter().filter(|slot| slot.roles.metadata);
        let candidates: Vec<usize> = candidates.map(|slot| slot.index).collect();
        let first = rng
            .stream("leader")
            .below(u64::try_from(candidates.len()).unwrap_or(1));
        Self {
            world,
            pod,
            candidates,
            believed: AtomicUsize::new(usize::try_from(first).unwrap_or(0)),
            table: Mutex::default(),
        }
    }

    fn believed(&self) -> usize {
        let at = self.believed.load(Ordering::Relaxed) % self.candidates.len().max(1);
        self.candidates.get(at).copied().unwrap_or(0)
    }

    async fn ask<T: Send + 'static, E: MaybeUnanswered>(
        &self,
        what: &'static str,
        is_idempotent: bool,
        make: impl Fn(Arc<MetadataService>) -> BoxFuture<'static, Result<T, E>>
        + Send
        + Sync
        + Clone
        + 'static,
    ) -> Result<T, E> {
        let mut nothing_done = MetadataError::Unavailable;
        // Now and then somebody asks a process that leads no more, or does not yet.
        if self.world.chance(3) {
            self.believed.fetch_add(1, Ordering::Relaxed);
        }
        for _ in 0..self.candidates.len() {
            let call = Call {
                from: Place::Pod(self.pod),
                to: self.believed(),
                what,
                is_idempotent,
            };
            let make = make.clone();
            let mut turn = Turn {
                remote: self,
                answered: false,
            };
            let asked = self.world.call(
                call,
                Box::new(move |life| {
                    let service = life.metadata.clone()?;
                    Some(make(Arc::new(service)))
                }),
            );
            match asked.await {
                Err(CallError::NotSent) => nothing_done = MetadataError::Unavailable,
                Err(CallError::Lost) => return Err(E::of(MetadataError::Unknown)),
                Ok(Err(error)) => match error.metadata() {
                    Some(error @ (MetadataError::Recovering | MetadataError::Unavailable)) => {
                        nothing_done = error
                    }
                    Some(MetadataError::Deposed | MetadataError::Unknown) => return Err(error),
                    Some(MetadataError::Overloaded) | None => {
                        turn.answered = true;
                        return Err(error);
                    }
                },
                Ok(Ok(answer)) => {
                    turn.answered = true;
                    return Ok(answer);
                }
            }
        }
        Err(E::of(nothing_done))
    }

    fn set_table(&self, table: &Arc<TopicTable>) {
        let mut heard = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        *heard = Arc::clone(table);
    }

    /// Hears of topics for as long as the process runs.
    pub(crate) async fn keep_topics(&self) {
        loop {
            let asked = select(self.follow(), sleep(Duration::from_secs(5))).await;
            if let Either::Left((Ok(mut feed), _)) = asked {
                while feed.next().await.is_some() {}
            }
            sleep(Duration::from_millis(700)).await;
        }
    }
}

impl Sequencer for Remote {
    fn register(
        &self,
        replaces: Option<SessionId>,
    ) -> BoxFuture<'_, Result<Registered, MetadataError>> {
        self.ask("register", true, move |service| {
            async move { service.register(replaces).await }.boxed()
        })
        .boxed()
    }

    fn reserve(
        &self,
        request: ReserveRequest,
    ) -> BoxFuture<'_, Result<ReserveReply, ReserveError>> {
        self.ask("reserve", true, move |service| {
            let request = request.clone();
            async move { service.reserve(request).await }.boxed()
        })
        .boxed()
    }

    fn written(&self, report: WrittenReport) -> BoxFuture<'_, Result<(), MetadataError>> {
        self.ask("written", true, move |service| {
            async move { service.written(report).await }.boxed()
        })
        .boxed()
    }

    fn end_session(&self, session: SessionId) -> BoxFuture<'_, Result<SessionEnd, MetadataError>> {
        self.ask("end session", true, move |service| {
            async move { service.end_session(session).await }.boxed()
        })
        .boxed()
    }
}

impl LogIndex for Remote {
    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn IndexFeed>, MetadataError>> {
        async move {
            let feed = self.ask("follow", false, move |service| {
                async move { service.follow().await }.boxed()
            });
            let feed: Box<dyn IndexFeed> = feed.await?;
            let feed = RemoteFeed {
                inner: feed,
                world: Arc::clone(&self.world),
                from: self.believed(),
                to: self.pod,
                held: None,
            };
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
        self.ask("look up", true, move |service| {
            async move { service.look_up(topic_partition, offset, extents_max).await }.boxed()
        })
        .boxed()
    }

    fn list_offset(
        &self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
        from: Offset,
    ) -> BoxFuture<'_, Result<ListedOffset, LogIndexError>> {
        self.ask("list offset", true, move |service| {
            async move { service.list_offset(topic_partition, query, from).await }.boxed()
        })
        .boxed()
    }
}

impl Admin for Remote {
    fn cluster(&self) -> ClusterId {
        CLUSTER
    }

    fn topics(&self) -> Arc<TopicTable> {
        Arc::clone(&self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn topics_current(&self) -> BoxFuture<'_, Result<Arc<TopicTable>, MetadataError>> {
        self.ask("topics", true, move |service| {
            async move { service.topics_current().await }.boxed()
        })
        .boxed()
    }

    fn create_topic(
        &self,
        request: CreateTopic,
    ) -> BoxFuture<'_, Result<CreatedTopic, CreateTopicError>> {
        self.ask("create topic", false, move |service| {
            let request = request.clone();
            async move { service.create_topic(request).await }.boxed()
        })
        .boxed()
    }

    fn delete_topic(&self, topic: TopicRef) -> BoxFuture<'_, Result<Arc<Topic>, DeleteTopicError>> {
        self.ask("delete topic", false, move |service| {
            let topic = topic.clone();
            async move { service.delete_topic(topic).await }.boxed()
        })
        .boxed()
    }

    fn producer_id(&self) -> BoxFuture<'_, Result<ProducerId, MetadataError>> {
        self.ask("producer id", true, move |service| {
            async move { service.producer_id().await }.boxed()
        })
        .boxed()
    }

    fn group(&self, request: GroupRequest) -> BoxFuture<'_, Result<GroupReply, MetadataError>> {
        self.ask("group", false, move |service| {
            let request = request.clone();
            async move { service.group(request).await }.boxed()
        })
        .boxed()
    }
}

/// The feed over a connection that is late, and breaks when it is cut.
#[derive(Debug)]
struct RemoteFeed {
    inner: Box<dyn IndexFeed>,
    world: Arc<World>,
    from: usize,
    to: usize,
    held: Option<(FeedUpdate, tokio::time::Instant)>,
}

impl IndexFeed for RemoteFeed {
    fn next(&mut self) -> BoxFuture<'_, Option<FeedUpdate>> {
        async {
            let (here, there) = (Place::Pod(self.from), Place::Pod(self.to));
            if self.held.is_none() {
                let update = self.inner.next().await?;
                let due = tokio::time::Instant::now() + self.world.way(here, there);
                self.held = Some((update, due));
            }
            if let Some((_, due)) = &self.held {
                let left = due.saturating_duration_since(tokio::time::Instant::now());
                sleep(left).await;
            }
            if here != there && (self.world.is_cut(here, there) || self.world.is_lost()) {
                self.world.count_fault("index feed breaks");
                return None;
            }
            let (update, _) = self.held.take()?;
            if let FeedUpdate::Topics(table) = &update
                && let Some(slot) = self.world.pods.get(self.to)
                && let Some(life) = slot.life().as_ref()
            {
                life.remote.set_table(table);
            }
            Some(update)
        }
        .boxed()
    }
}
