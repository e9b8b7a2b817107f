//! Keeps the table of topics as last heard: a feed of topics only, begun anew whenever it ends.

use std::sync::Arc;

use esker_env::Shutdown;
use esker_metadata_api::{FeedUpdate, IndexFeed as _, TopicTable};
use tokio::sync::watch;

use super::Inner;
use super::feed::RemoteFeed;
use super::route::Opened;
use crate::proto::feed_part::Part;
use crate::proto::{FeedPart, FollowRequest};

/// The table, and which run of a server told it.
#[derive(Clone, Debug)]
pub(super) struct KnownTopics {
    pub(super) server: u64,
    pub(super) table: Arc<TopicTable>,
}

#[derive(Debug)]
pub(super) struct TopicsTask {
    inner: Arc<Inner>,
    known: watch::Sender<KnownTopics>,
}

impl TopicsTask {
    pub(super) fn new(inner: Arc<Inner>, known: watch::Sender<KnownTopics>) -> Self {
        Self { inner, known }
    }

    /// Runs until the stop is requested.
    pub(super) async fn run(self, stop: Shutdown) {
        tokio::select! {
            biased;
            () = stop.requested() => {}
            () = self.follow_for_ever() => {}
        }
    }

    async fn follow_for_ever(&self) {
        let policy = self.inner.config.dial_retry;
        let mut backoff = policy.begin();
        loop {
            if self.follow().await {
                backoff = policy.begin();
            }
            let delay = backoff.next_delay(&self.inner.env.rng);
            let delay = delay.unwrap_or(policy.delay_max);
            self.inner.env.clock.sleep(delay).await;
        }
    }

    /// Follows once; whether anything was told.
    async fn follow(&self) -> bool {
        let question = FollowRequest { topics_only: true };
        let opened = self.inner.open::<_, FeedPart>("Follow", question).await;
        let Ok(Opened { first, rest }) = opened else {
            return false;
        };
        let Some(Part::Begun(begun)) = first.part else {
            return false;
        };
        let mut feed = RemoteFeed::new(rest, self.inner.config.node_id, None);
        let mut told = false;
        while let Some(update) = feed.next().await {
            if let FeedUpdate::Topics(table) = update {
                told = true;
                self.known.send_replace(KnownTopics {
                    server: begun.server,
                    table,
                });
            }
        }
        told
    }
}
