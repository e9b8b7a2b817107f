//! Feels every producer's pulse: how long after a moment each of them was acknowledged again.
//!
//! Stands between producers and the history. One producer that goes on says nothing about those
//! that were at the process that was hit, so what counts is the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::bail;
use esker_e2e::load::{SentBatch, Told, Witness};
use esker_env::Clock;
use esker_types::MonotonicTime;

use crate::recorder::Recorder;

/// Hears of every request of every producer; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    recorder: Recorder,
    clock: Arc<dyn Clock>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    producers: BTreeSet<u32>,
    /// Requests that are out: whose, and since when.
    open: BTreeMap<u64, (u32, MonotonicTime)>,
    marked: MonotonicTime,
    beat: Beat,
    /// Producers without an acknowledgement since the mark.
    silent: BTreeSet<u32>,
}

/// Since the mark, for requests that were sent behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beat {
    /// To the first acknowledgement of any producer.
    pub(crate) first: Option<Duration>,
    /// Until every producer had one.
    pub(crate) all: Option<Duration>,
}

impl Pulse {
    /// Of these producers, writing into that history.
    pub(crate) fn new(recorder: Recorder, clock: Arc<dyn Clock>, producers: u32) -> Self {
        let shared = Shared {
            producers: (1..=producers).collect(),
            ..Shared::default()
        };
        Self {
            recorder,
            clock,
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on.
    pub(crate) fn mark(&self) {
        let mut shared = self.lock();
        shared.marked = self.clock.now();
        shared.beat = Beat::default();
        shared.silent = shared.producers.clone();
    }

    /// So far.
    pub(crate) fn beat(&self) -> Beat {
        self.lock().beat
    }

    /// Waits until every producer was acknowledged.
    ///
    /// # Errors
    /// One was not, within `limit` of the mark.
    pub(crate) async fn until_all(&self, limit: Duration) -> anyhow::Result<Beat> {
        loop {
            let (beat, since, silent) = {
                let shared = self.lock();
                let since = self.clock.now().since(shared.marked);
                (shared.beat, since, shared.silent.clone())
            };
            if beat.all.is_some() {
                return Ok(beat);
            }
            if since > limit {
                bail!("for {since:.1?} nothing of producers {silent:?} was acknowledged");
            }
            self.clock.sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Witness for Pulse {
    fn connected(&self) -> u32 {
        self.recorder.connected()
    }

    fn sends(&self, connection: u32, sent: &SentBatch<'_>) -> u64 {
        let request = self.recorder.sends(connection, sent);
        let begun = (sent.producer, self.clock.now());
        self.lock().open.insert(request, begun);
        request
    }

    fn told(&self, request: u64, told: Told) {
        self.recorder.told(request, told);
        let now = self.clock.now();
        let mut shared = self.lock();
        let Some((producer, begun)) = shared.open.remove(&request) else {
            return;
        };
        let is_counted = matches!(told, Told::Acknowledged { .. }) && begun >= shared.marked;
        if !is_counted {
            return;
        }
        let since = now.since(shared.marked);
        shared.beat.first.get_or_insert(since);
        if shared.silent.remove(&producer) && shared.silent.is_empty() {
            shared.beat.all = Some(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use esker_e2e::load::Batch;
    use esker_env::Env;

    use super::*;

    fn sends(pulse: &Pulse, producer: u32) -> u64 {
        let batch = Batch {
            partition: 0,
            first: 0,
            count: 1,
            connection: 0,
            sent_at: pulse.clock.now(),
            told: Told::Unknown,
        };
        let sent = SentBatch {
            producer,
            topic: "t",
            batch,
            owner: None,
        };
        pulse.sends(1, &sent)
    }

    fn acknowledged(pulse: &Pulse, request: u64) {
        let told = Told::Acknowledged {
            base_offset: 0,
            at: pulse.clock.now(),
        };
        pulse.told(request, told);
    }

    #[tokio::test]
    async fn what_was_sent_before_the_mark_is_no_pulse_and_the_last_producer_counts() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Env::system().clock;
        let path = directory.path().join("history.jsonl");
        let recorder = Recorder::create(&path, Arc::clone(&clock)).unwrap();
        let pulse = Pulse::new(recorder, clock, 2);
        let early = sends(&pulse, 1);

        pulse.mark();
        acknowledged(&pulse, early);
        let nothing = pulse.beat();
        let one = sends(&pulse, 1);
        acknowledged(&pulse, one);
        let first = pulse.beat();
        let refused = sends(&pulse, 2);
        pulse.told(refused, Told::Refused { code: 6 });
        let failure = pulse.until_all(Duration::ZERO).await;
        let two = sends(&pulse, 2);
        acknowledged(&pulse, two);

        assert_eq!(nothing, Beat::default());
        assert!(first.first.is_some() && first.all.is_none());
        assert!(failure.unwrap_err().to_string().contains("{2}"));
        assert!(pulse.until_all(Duration::ZERO).await.unwrap().all.is_some());
    }
}
