//! The only sleeper: a response without enough records waits until one of its partitions grows.
//!
//! Never polls. Woken by the push, the deadline or the stop of the process; then the pipeline plans
//! again.

use std::sync::Arc;

use esker_env::{Env, Shutdown};
use esker_types::MonotonicTime;

use crate::locate::{Located, ReadIntent};
use crate::metrics::Counters;
use crate::view::{Marks, Seen, View};

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) view: Arc<View>,
    pub(crate) env: Env,
    pub(crate) shutdown: Shutdown,
    pub(crate) counters: Arc<Counters>,
}

impl Waiter {
    /// Whether a response must go out with what there is.
    pub(crate) fn is_due(&self, deadline: MonotonicTime) -> bool {
        self.env.clock.now() >= deadline || self.shutdown.is_requested()
    }

    /// Sleeps until one of the partitions has grown since it was located (under the feed of
    /// `generation`), or the response is due. Cancel safe.
    pub(crate) async fn wait(
        &self,
        intents: &[ReadIntent],
        located: &[Located],
        generation: u64,
        deadline: MonotonicTime,
    ) {
        let seen: Vec<Seen> = intents
            .iter()
            .zip(located)
            .filter_map(|(intent, located)| {
                marks_of(located).map(|marks| Seen {
                    topic_partition: intent.topic_partition,
                    high_watermark: marks.high_watermark,
                })
            })
            .collect();
        let watch = self.view.watch(&seen, generation);
        if watch.is_none() {
            self.counters.watch_refused();
        }
        let woken = async {
            match &watch {
                Some(watch) => watch.woken().await,
                None => std::future::pending().await,
            }
        };
        let left = deadline.since(self.env.clock.now());
        self.counters.waited();
        tokio::select! {
            biased;
            () = self.shutdown.requested() => {}
            () = woken => self.counters.woken(),
            () = self.env.clock.sleep(left) => {}
        }
    }
}

fn marks_of(located: &Located) -> Option<Marks> {
    match located {
        Located::Ready(stretch) => Some(stretch.marks),
        Located::AtEnd(marks) => Some(*marks),
        Located::Failed(_) => None,
    }
}
