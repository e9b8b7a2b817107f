//! Look-ups for one partition are bounded, whatever the index answers.

use std::sync::atomic::{AtomicU32, Ordering};

use esker_metadata_api::{IndexFeed, IndexSlice};
use esker_types::{PartitionIndex, TopicId};
use futures::future::FutureExt as _;

use super::*;
use crate::view::ViewLimits;

/// With every look-up the feed begins anew, so that its answer is stale at once.
#[derive(Debug)]
struct Restless {
    view: Arc<View>,
    lookups: AtomicU32,
}

impl LogIndex for Restless {
    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn IndexFeed>, MetadataError>> {
        async { Err(MetadataError::Unavailable) }.boxed()
    }

    fn look_up(
        &self,
        _: TopicPartition,
        _: Offset,
        _: usize,
    ) -> BoxFuture<'_, Result<IndexSlice, LogIndexError>> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.view.begin_generation();
        let slice = IndexSlice {
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
            extents: Vec::new(),
        };
        async { Ok(slice) }.boxed()
    }

    fn list_offset(
        &self,
        _: TopicPartition,
        _: OffsetQuery,
        _: Offset,
    ) -> BoxFuture<'_, Result<ListedOffset, LogIndexError>> {
        std::future::pending().boxed()
    }
}

fn locator() -> (Locator, Arc<Restless>) {
    let view = View::new(ViewLimits::new(100));
    let restless = Arc::new(Restless {
        view: Arc::clone(&view),
        lookups: AtomicU32::new(0),
    });
    let locator = Locator {
        view,
        log_index: Arc::<Restless>::clone(&restless),
        env: Env::system(),
        config: FetchConfig::default(),
        counters: Arc::default(),
    };
    (locator, restless)
}

fn intent(offset: u64) -> ReadIntent {
    ReadIntent {
        topic_partition: TopicPartition {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionIndex::default(),
        },
        offset: Offset::new(offset).unwrap(),
        bytes_max: 1,
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_gives_up_after_a_bounded_number_of_look_ups() {
    let (locator, restless) = locator();

    let located = locator.locate(&intent(5)).await;

    assert_eq!(located, Located::Failed(ReadError::NotVisible));
    let lookups = restless.lookups.load(Ordering::Relaxed);
    assert_eq!(lookups, LOOKUPS_PER_PLAN_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_hangs_counts_as_not_answered() {
    let (locator, _) = locator();

    let hung = locator.check_end(&intent(5), Marks::default()).await;

    assert_eq!(hung, Err(ReadError::NotVisible));
}
