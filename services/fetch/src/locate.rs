//! Stage 2 of a fetch, first half: where the bytes of an offset are, or why there are none.
//!
//! The view answers; on a miss the index is looked up. An offset above the known end is never out
//! of range by this process's own knowledge (R1, R3): the sequencer is asked, and when it says that
//! the log reaches there, the push is waited for.

use std::sync::Arc;

use esker_env::{Env, timeout};
use esker_metadata_api::{ListedOffset, LogIndex, LogIndexError, MetadataError, OffsetQuery};
use esker_types::{Offset, Planted, TopicPartition, planted};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};

use crate::FetchConfig;
use crate::error::ReadError;
use crate::limits::{LOOKUP_EXTENTS, LOOKUPS_PARALLEL, LOOKUPS_PER_PLAN_MAX};
use crate::metrics::Counters;
use crate::view::{Asked, Found, Marks, Seen, Stretch, View};

/// What one partition is to be read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadIntent {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) offset: Offset,
    pub(crate) bytes_max: u32,
}

/// Where an intent leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Located {
    /// There are batches.
    Ready(Stretch),
    /// The log ends there.
    AtEnd(Marks),
    Failed(ReadError),
}

#[derive(Debug)]
pub(crate) struct Locator {
    pub(crate) view: Arc<View>,
    pub(crate) log_index: Arc<dyn LogIndex>,
    pub(crate) env: Env,
    pub(crate) config: FetchConfig,
    pub(crate) counters: Arc<Counters>,
}

impl Locator {
    /// One answer per intent, in order.
    pub(crate) async fn locate_all(&self, intents: &[ReadIntent]) -> Vec<Located> {
        let known: Vec<_> = intents
            .iter()
            .map(|intent| settled(self.find(intent)))
            .collect();
        if known.iter().all(Option::is_some) {
            return known.into_iter().flatten().collect();
        }
        let locating = |(intent, known): (&ReadIntent, Option<Located>)| {
            let intent = *intent;
            async move {
                match known {
                    Some(located) => located,
                    None => self.locate(&intent).await,
                }
            }
        };
        let mut located: Vec<_> = stream::iter(intents.iter().zip(known))
            .map(locating)
            .buffered(LOOKUPS_PARALLEL)
            .collect()
            .await;
        // A partition may be named twice: what was learned for one place holds for the other.
        for (intent, located) in intents.iter().zip(&mut located) {
            if self.has_grown(intent, located) {
                *located = self.locate(intent).await;
            }
        }
        located
    }

    fn has_grown(&self, intent: &ReadIntent, located: &Located) -> bool {
        let Located::AtEnd(marks) = located else {
            return false;
        };
        let now = self.view.marks(intent.topic_partition).unwrap_or(*marks);
        now.high_watermark > marks.high_watermark
    }

    fn find(&self, intent: &ReadIntent) -> Found {
        let bytes_max = u64::from(intent.bytes_max);
        self.view
            .find(intent.topic_partition, intent.offset, bytes_max)
    }

    /// One partition, asking the index as often as it takes (bounded).
    pub(crate) async fn locate(&self, intent: &ReadIntent) -> Located {
        let mut asked_end = false;
        for _ in 0..LOOKUPS_PER_PLAN_MAX {
            let mut found = self.find(intent);
            if found == Found::Unknown {
                found = match self.look_up(intent).await {
                    Ok(found) => found,
                    Err(error) => return self.unanswered(intent, error),
                };
            }
            match found {
                Found::AboveEnd(marks) if planted(Planted::StaleOutOfRange) => {
                    return Located::Failed(ReadError::OutOfRange {
                        log_start: marks.log_start,
                        high_watermark: marks.high_watermark,
                    });
                }
                Found::AboveEnd(_) if asked_end => return self.await_push(intent).await,
                Found::AboveEnd(marks) => {
                    asked_end = true;
                    if let Err(error) = self.check_end(intent, marks).await {
                        return Located::Failed(error);
                    }
                    // The log reaches there: look once more before waiting.
                    match self.look_up(intent).await.map(settled) {
                        Ok(Some(located)) => return located,
                        Ok(None) | Err(LogIndexError::Metadata(_) | LogIndexError::NotDecided) => {}
                        Err(LogIndexError::UnknownPartition) => {
                            return self.unanswered(intent, LogIndexError::UnknownPartition);
                        }
                    }
                }
                other => {
                    if let Some(located) = settled(other) {
                        return located;
                    }
                }
            }
        }
        self.await_push(intent).await
    }

    async fn look_up(&self, intent: &ReadIntent) -> Result<Found, LogIndexError> {
        self.counters.looked_up();
        let asked = Asked {
            topic_partition: intent.topic_partition,
            offset: intent.offset,
            extents_max: LOOKUP_EXTENTS,
            generation: self.view.generation(),
        };
        let question =
            self.log_index
                .look_up(asked.topic_partition, asked.offset, asked.extents_max);
        let slice = self.in_time(question).await?;
        Ok(self.view.learn(asked, u64::from(intent.bytes_max), &slice))
    }

    /// A question that is not answered in time counts as not answered.
    pub(crate) async fn in_time<T>(
        &self,
        question: BoxFuture<'_, Result<T, LogIndexError>>,
    ) -> Result<T, LogIndexError> {
        timeout(&*self.env.clock, self.config.query_timeout, question)
            .await
            .unwrap_or(Err(LogIndexError::Metadata(MetadataError::Unknown)))
    }

    /// No answer from the index. At the known end that is no reason to fail: fetches go on below
    /// the known high watermark while no sequencer serves (R3).
    fn unanswered(&self, intent: &ReadIntent, error: LogIndexError) -> Located {
        if error == LogIndexError::UnknownPartition {
            self.view.forget(intent.topic_partition);
            return Located::Failed(ReadError::UnknownPartition);
        }
        let marks = self.view.marks(intent.topic_partition);
        match marks {
            Some(marks) if marks.high_watermark == intent.offset => Located::AtEnd(marks),
            Some(_) | None => Located::Failed(error.into()),
        }
    }

    /// Asks the sequencer whether the log reaches the offset (R1).
    async fn check_end(&self, intent: &ReadIntent, marks: Marks) -> Result<(), ReadError> {
        let (at, query) = (intent.topic_partition, OffsetQuery::Latest);
        let question = self.log_index.list_offset(at, query, intent.offset);
        match self.in_time(question).await {
            Ok(ListedOffset::Known(latest)) if latest < intent.offset => {
                Err(ReadError::OutOfRange {
                    log_start: marks.log_start,
                    high_watermark: latest.max(marks.high_watermark),
                })
            }
            Ok(ListedOffset::Known(_)) => Ok(()),
            Err(LogIndexError::UnknownPartition) => {
                self.view.forget(intent.topic_partition);
                Err(ReadError::UnknownPartition)
            }
            // Whoever cannot know must not say "out of range": clients would reset their position.
            Ok(ListedOffset::Inside(_) | ListedOffset::Nothing)
            | Err(LogIndexError::NotDecided | LogIndexError::Metadata(_)) => {
                Err(ReadError::NotVisible)
            }
        }
    }

    /// Waits a little for the push to reach the offset.
    async fn await_push(&self, intent: &ReadIntent) -> Located {
        let wait = timeout(&*self.env.clock, self.config.lag_wait, self.pushed(intent));
        wait.await.unwrap_or(Located::Failed(ReadError::NotVisible))
    }

    async fn pushed(&self, intent: &ReadIntent) -> Located {
        loop {
            let marks = self.view.marks(intent.topic_partition);
            let seen = Seen {
                topic_partition: intent.topic_partition,
                high_watermark: marks.unwrap_or_default().high_watermark,
            };
            let watch = self.view.watch(&[seen], self.view.generation());
            if let Some(located) = settled(self.find(intent)) {
                return located;
            }
            match watch {
                Some(watch) => watch.woken().await,
                None => std::future::pending().await,
            }
        }
    }
}

/// The answer, when what was found is one.
fn settled(found: Found) -> Option<Located> {
    match found {
        Found::Extents(stretch) => Some(Located::Ready(stretch)),
        Found::AtEnd(marks) => Some(Located::AtEnd(marks)),
        Found::BelowStart(marks) => Some(Located::Failed(ReadError::OutOfRange {
            log_start: marks.log_start,
            high_watermark: marks.high_watermark,
        })),
        Found::AboveEnd(_) | Found::Unknown => None,
    }
}

#[cfg(test)]
mod tests;
