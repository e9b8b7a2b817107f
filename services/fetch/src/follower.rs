//! Follows the sequencer's feed into the view, for as long as the process runs.
//!
//! A lost feed is begun again with backoff, for ever; readers are served from what is known
//! meanwhile (R3).

use std::sync::Arc;

use esker_env::{Env, Shutdown, timeout};
use esker_metadata_api::{FeedUpdate, IndexFeed, LogIndex, MetadataError};

use crate::FetchConfig;
use crate::metrics::Counters;
use crate::view::View;

#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) log_index: Arc<dyn LogIndex>,
    pub(crate) view: Arc<View>,
    pub(crate) env: Env,
    pub(crate) config: FetchConfig,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shutdown: Shutdown,
}

impl Follower {
    /// Runs until the stop is requested.
    pub(crate) async fn run(self) {
        let stop = self.shutdown.clone();
        tokio::select! {
            biased;
            () = stop.requested() => {}
            () = self.follow_for_ever() => {}
        }
        self.counters.feed_ended();
    }

    async fn follow_for_ever(&self) {
        let mut backoff = self.config.follow_retry.begin();
        loop {
            // Asked of a leader that fell silent, it would wait for ever, and its readers with it.
            let asked = self.log_index.follow();
            let asked = timeout(&*self.env.clock, self.config.query_timeout, asked).await;
            match asked.unwrap_or(Err(MetadataError::Unknown)) {
                Ok(feed) => {
                    backoff = self.config.follow_retry.begin();
                    self.take(feed).await;
                    tracing::info!("index feed ended, following anew");
                }
                Err(error) => log_refusal(backoff.tries(), error),
            }
            let delay = backoff.next_delay(&self.env.rng);
            let delay = delay.unwrap_or(self.config.follow_retry.delay_max);
            self.env.clock.sleep(delay).await;
        }
    }

    async fn take(&self, mut feed: Box<dyn IndexFeed>) {
        self.view.begin_generation();
        self.counters.feed_begun();
        while let Some(update) = feed.next().await {
            self.counters.updated();
            match update {
                FeedUpdate::Advanced(advance) => {
                    self.view.advance(&advance, self.env.clock.now());
                }
                FeedUpdate::Topics(topics) => self.view.retain_topics(&topics),
                FeedUpdate::Resync => {
                    self.view.begin_generation();
                    self.counters.feed_begun();
                }
            }
        }
        self.counters.feed_ended();
    }
}

/// Once per outage is enough, and a leader that starts is none.
fn log_refusal(tries: u32, error: MetadataError) {
    let is_outage = !matches!(error, MetadataError::Recovering);
    let error: &dyn std::error::Error = &error;
    if tries == 1 && is_outage {
        tracing::warn!(error, "index feed cannot be followed, trying on");
    } else {
        tracing::debug!(error, tries, "index feed cannot be followed yet");
    }
}
