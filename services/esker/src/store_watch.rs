//! Whether the store lets this process do its job, and the reads that find it out when nobody else
//! reads: an unready process has no readers who would see that all is well again.
//!
//! Costs nothing while reads work.

use std::sync::Arc;
use std::time::Duration;

use esker_env::{Clock, Shutdown};
use esker_object::{Bucket, Lifeline, ReadRange, Stopped, StorePulse};
use esker_types::ByteRange;

/// Between two reads while reads fail: so long at most behind the heal is a process ready again.
const CANARY_INTERVAL: Duration = Duration::from_secs(5);

/// Watches the pulse of the store.
#[derive(Clone, Debug)]
pub(crate) struct StoreWatch {
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) pulse: Arc<StorePulse>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl StoreWatch {
    /// Why nothing can be served, if what it takes has stopped getting through.
    pub(crate) fn stopped(&self) -> Option<String> {
        let Stopped { lifeline, since } = self.pulse.stopped(self.clock.now())?;
        let what = match lifeline {
            Lifeline::SegmentGet => "reads of segments",
            Lifeline::SegmentPut => "puts of segments",
            Lifeline::JournalGet => "reads of the journal",
            Lifeline::JournalPut => "puts of the journal",
        };
        Some(format!("{what} fail for {} s now", since.as_secs()))
    }

    /// Prometheus text.
    pub(crate) fn render(&self) -> String {
        esker_object::metrics::render_pulse(&self.pulse, self.clock.now())
    }

    /// Reads while reads fail, until asked to stop.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let first = ByteRange::new(0, 1).map_or(ReadRange::Full, ReadRange::Bounded);
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = self.clock.sleep(CANARY_INTERVAL) => {}
            }
            let Some(key) = self.pulse.canary(self.clock.now()) else {
                continue;
            };
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                read = self.bucket.get(&key, first) => match read {
                    Ok(_) => tracing::info!(%key, "segments can be read again"),
                    Err(error) => tracing::warn!(%error, "reads of segments fail"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use esker_env::Env;
    use esker_object::limits::{PULSE_CANARY_AFTER, PULSE_STOPPED_AFTER};
    use esker_object::{
        DurableBucket, DurableConfig, Fault, FaultRule, FaultyBucket, MemoryBucket, ObjectKey,
        Operation, PutOutcome, StoreErrorKind,
    };
    use esker_types::{ChainIndex, ClusterId, SegmentId, SessionId};

    use super::*;

    fn segment(index: u64) -> ObjectKey {
        let session = SessionId::from_bytes([3; 16]);
        let index = ChainIndex::new(index);
        ObjectKey::session_place(ClusterId::from_bytes([1; 16]), SegmentId { session, index })
    }

    struct World {
        faulty: FaultyBucket,
        watch: StoreWatch,
        clock: Arc<dyn Clock>,
    }

    /// Three segments that were written.
    async fn world() -> World {
        let env = Env::system();
        let faulty = FaultyBucket::new(Arc::new(MemoryBucket::new()), env.clone());
        let inner = Arc::new(faulty.clone());
        let durable = DurableBucket::new(inner, DurableConfig::default(), env.clone());
        for index in 0..3 {
            let body = Bytes::from_static(b"segment");
            let put = durable.put_if_absent(&segment(index), body).await;
            assert!(matches!(put, PutOutcome::Created));
        }
        let watch = StoreWatch {
            pulse: Arc::clone(durable.pulse()),
            bucket: Arc::new(durable),
            clock: env.clock.clone(),
        };
        World {
            faulty,
            watch,
            clock: env.clock,
        }
    }

    impl World {
        /// Reads objects each second.
        async fn read_for(&self, time: Duration, objects: &[u64]) {
            for _ in 0..time.as_secs() {
                for index in objects {
                    let _read = self
                        .watch
                        .bucket
                        .get(&segment(*index), ReadRange::Full)
                        .await;
                }
                self.clock.sleep(Duration::from_secs(1)).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_can_read_nothing_is_unready_and_comes_back_without_readers() {
        let world = world().await;
        let (_stop, shutdown) = Shutdown::new();
        let run = world.watch.clone().run(shutdown);
        let story = async {
            let denied = FaultRule::new(Fault::Refuse(StoreErrorKind::Denied));
            world.faulty.add(denied.on(Operation::Get));
            world.read_for(PULSE_STOPPED_AFTER, &[0, 1, 2]).await;
            let stopped = world.watch.stopped();
            // Nobody reads any more.
            world.clock.sleep(Duration::from_secs(600)).await;
            let still = world.watch.stopped();
            world.faulty.heal();
            world.clock.sleep(CANARY_INTERVAL * 2).await;
            (stopped, still, world.watch.stopped())
        };

        let told = tokio::select! {
            told = story => told,
            () = run => panic!("the watch ended"),
        };

        let seconds = PULSE_STOPPED_AFTER.as_secs();
        let wanted = format!("reads of segments fail for {seconds} s now");
        assert_eq!(told.0, Some(wanted));
        assert!(told.1.is_some(), "the canary keeps it unready");
        assert_eq!(told.2, None);
        assert!(world.watch.render().contains("{request=\"segment_get\"} 0"));
    }

    #[tokio::test(start_paused = true)]
    async fn bad_objects_among_good_ones_leave_a_process_ready() {
        let world = world().await;
        let (_stop, shutdown) = Shutdown::new();
        let run = world.watch.clone().run(shutdown);
        let story = async {
            for bad in [0, 1] {
                let denied = FaultRule::new(Fault::Refuse(StoreErrorKind::Denied));
                let key = segment(bad);
                world
                    .faulty
                    .add(denied.on(Operation::Get).key_containing(key.as_str()));
            }
            // Readers ask for nothing else: they are stuck there.
            for _ in 0..20 {
                world.read_for(PULSE_CANARY_AFTER, &[0, 1]).await;
                assert_eq!(world.watch.stopped(), None);
            }
        };

        tokio::select! {
            () = story => {}
            () = run => panic!("the watch ended"),
        }
    }
}
