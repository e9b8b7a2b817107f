//! The queue of answers: one past its limit waits, none is lost.

use esker_cache::{CacheConfig, PlainCache};
use esker_metadata_api::WrittenReport;
use esker_object::MemoryBucket;
use esker_types::ClusterId;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::*;

/// A sequencer that is away.
#[derive(Debug)]
struct Away;

impl Sequencer for Away {
    fn register(&self, _: Option<SessionId>) -> BoxFuture<'_, Result<Registered, MetadataError>> {
        std::future::ready(Err(MetadataError::Unavailable)).boxed()
    }

    fn reserve(&self, _: ReserveRequest) -> BoxFuture<'_, Result<ReserveReply, ReserveError>> {
        let error = ReserveError::Metadata(MetadataError::Unavailable);
        std::future::ready(Err(error)).boxed()
    }

    fn written(&self, _: WrittenReport) -> BoxFuture<'_, Result<(), MetadataError>> {
        std::future::ready(Err(MetadataError::Unavailable)).boxed()
    }

    fn end_session(&self, _: SessionId) -> BoxFuture<'_, Result<SessionEnd, MetadataError>> {
        std::future::ready(Err(MetadataError::Unavailable)).boxed()
    }
}

fn calls() -> Calls {
    let env = Env::system();
    let cluster = ClusterId::from_bytes([2; 16]);
    let bucket = Arc::new(MemoryBucket::new());
    let peers = Peers {
        sequencer: Arc::new(Away),
        chain: Chain::new(bucket.clone(), env.clone(), cluster),
        cache: Arc::new(PlainCache::new(
            bucket,
            cluster,
            env.clone(),
            CacheConfig::default(),
        )),
        env,
        metrics: Arc::default(),
    };
    Calls::new(peers, &IngestConfig::default())
}

#[tokio::test]
async fn one_answer_past_the_queue_waits_in_its_call_and_none_is_lost() {
    let mut calls = calls();

    for _ in 0..=ANSWERS_QUEUED_MAX {
        calls.register(None);
    }
    while calls.sender.capacity() > 0 {
        tokio::task::yield_now().await;
    }
    calls.tasks.reap().unwrap();
    let waiting = calls.tasks.count();
    let mut answers = 0;
    while let Some(Ok(answer)) = calls.next().now_or_never() {
        assert!(matches!(answer, Answer::Registered(Err(_))));
        answers += 1;
        tokio::task::yield_now().await;
    }

    assert!(waiting >= 1);
    assert_eq!(answers, ANSWERS_QUEUED_MAX + 1);
}

#[tokio::test]
async fn calls_of_a_session_end_with_it() {
    let mut calls = calls();
    let (trigger, over) = Shutdown::new();
    calls.end(SessionId::from_bytes([1; 16]), over);

    drop(trigger);

    while calls.tasks.count() > 0 {
        let answered = calls.next().now_or_never();
        assert!(answered.is_none());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_call_that_panics_is_seen() {
    let mut calls = calls();
    let (_trigger, over) = Shutdown::new();

    calls.spawn_until(over, async { panic!("planted") });

    assert!(calls.next().await.is_err());
}
