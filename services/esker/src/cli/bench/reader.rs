//! One partition's reader of a benchmark: to the end that it is told, as records come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use esker_kafka::client::{Client, FetchOptions, Fetched};
use esker_record::{ReadLimits, read_records, split_batches};
use esker_types::MonotonicTime;
use tokio::sync::watch;

use super::Shared;
use super::report::{Consumed, Part};
use super::stamp::Stamp;
use crate::cli::limits::FETCH_BYTES_MAX;

/// How long a broker may wait for records.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// Behind the end, nothing is waited for longer.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// Where readers end.
#[derive(Clone, Debug)]
pub(super) enum Ends {
    /// The producers are still at it.
    Unknown,
    /// Offset behind the last record, by partition.
    Known(BTreeMap<i32, i64>),
}

/// A reader about to work.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) client: Arc<Client>,
    pub(super) shared: Shared,
    pub(super) partition: i32,
    pub(super) next: i64,
    pub(super) ends: watch::Receiver<Ends>,
}

impl Reader {
    pub(super) async fn run(mut self) {
        let consumed = self.read().await;
        // A run that has failed wants no part.
        let _ = self.shared.parts.send(Part::Consumed(consumed)).await;
    }

    fn is_done(&self) -> bool {
        match &*self.ends.borrow() {
            Ends::Unknown => false,
            Ends::Known(ends) => ends
                .get(&self.partition)
                .is_none_or(|end| self.next >= *end),
        }
    }

    async fn read(&mut self) -> Consumed {
        let clock = self.shared.env.clock.clone();
        let begun = clock.now();
        let mut consumed = Consumed::default();
        let give_up_at = self.shared.window.end.after(DRAIN_MAX);
        let options = FetchOptions {
            wait_max: WAIT_MAX,
            bytes_max: FETCH_BYTES_MAX,
            ..FetchOptions::default()
        };
        while !self.is_done() {
            let asked_at = clock.now();
            if asked_at > give_up_at {
                consumed.fail(format!("not at the end {DRAIN_MAX:?} after it"));
                break;
            }
            let topic = &self.shared.topic;
            let asked = self.client.fetch(topic, self.partition, self.next, options);
            let fetched = match asked.await {
                Ok(fetched) => fetched,
                Err(error) => {
                    consumed.fail(error.to_string());
                    break;
                }
            };
            let now = clock.now();
            if !fetched.records.is_empty() {
                consumed.service.add(now.since(asked_at));
            }
            if let Err(error) = self.take(&mut consumed, &fetched, now) {
                consumed.fail(error.to_string());
                break;
            }
        }
        consumed.seconds = clock.now().since(begun);
        consumed
    }

    fn take(
        &mut self,
        consumed: &mut Consumed,
        fetched: &Fetched,
        now: MonotonicTime,
    ) -> Result<(), esker_record::RecordError> {
        for split in split_batches(&fetched.records) {
            // Old brokers cut the last batch: it comes again.
            let Ok((header, range)) = split else {
                return Ok(());
            };
            let last = i64::from(header.last_offset_delta()).saturating_add(1);
            self.next = self.next.max(header.base_offset().saturating_add(last));
            let batch = fetched.records.slice(range);
            for record in read_records(&batch, &ReadLimits::default())? {
                let value = record?.value.unwrap_or_default();
                let bytes = u64::try_from(value.len()).unwrap_or(0);
                consumed.all.add(1, bytes);
                let stamp = Stamp::read(&value);
                let Some(stamp) = stamp.filter(|stamp| stamp.run_id == self.shared.run_id) else {
                    continue;
                };
                consumed.received.add(&stamp);
                if stamp.moment >= self.shared.window.measured_from {
                    consumed.latencies.add(now.since(stamp.moment));
                }
            }
        }
        Ok(())
    }
}
