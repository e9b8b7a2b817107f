//! One producer of a benchmark: sends what its maker makes, several requests in flight, and takes
//! the time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use esker_kafka::client::{Client, ClientError};
use esker_types::MonotonicTime;
use futures::stream::{FuturesUnordered, StreamExt as _};

use super::Shared;
use super::maker::{Load, Maker, Ready};
use super::report::{Part, Produced};

/// Behind the end, nothing is waited for longer.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// A producer about to work.
#[derive(Debug)]
pub(super) struct Producer {
    client: Client,
    shared: Shared,
    load: Load,
    maker: Maker,
}

/// A request's end.
struct Sent {
    ready: Ready,
    sent_at: MonotonicTime,
    outcome: Result<(), ClientError>,
}

impl Producer {
    pub(super) fn new(client: Client, shared: Shared, load: Load, partitions: &[i32]) -> Self {
        let rng = &shared.env.rng;
        let maker = Maker::new(load, shared.window, shared.run_id, partitions, rng);
        Self {
            client,
            shared,
            load,
            maker,
        }
    }

    /// Offers its load until the window's end, waits for what is in flight, tells what it saw.
    pub(super) async fn run(mut self) {
        let produced = self.offer().await;
        // A run that has failed wants no part.
        let _ = self.shared.parts.send(Part::Produced(produced)).await;
    }

    async fn offer(&mut self) -> Produced {
        let clock = self.shared.env.clock.clone();
        let (client, topic) = (&self.client, &self.shared.topic);
        let send = async |ready: Ready, sent_at| {
            let bytes = ready.bytes.clone();
            let produced = client.produce(topic, ready.partition, bytes).await;
            Sent {
                ready,
                sent_at,
                outcome: produced.map(drop),
            }
        };
        let mut produced = Produced::default();
        let mut in_flight = FuturesUnordered::new();
        let mut unanswered: u64 = 0;
        let give_up_at = self.shared.window.end.after(DRAIN_MAX);
        loop {
            let now = clock.now();
            if let Err(error) = self.maker.make(now, clock.wall()) {
                produced.fail(0, || error.to_string());
                break;
            }
            while in_flight.len() < self.load.in_flight
                && let Some(ready) = self.maker.next()
            {
                unanswered = unanswered.saturating_add(ready.tally.records);
                in_flight.push(send(ready, clock.now()));
            }
            if now > give_up_at || (in_flight.is_empty() && self.maker.is_over(now)) {
                break;
            }
            let wake = self.maker.wake_at(now).unwrap_or(give_up_at);
            tokio::select! {
                Some(sent) = in_flight.next(), if !in_flight.is_empty() => {
                    unanswered = unanswered.saturating_sub(sent.ready.tally.records);
                    take(&self.shared, self.load, &mut produced, &sent);
                }
                () = clock.sleep(wake.since(clock.now())) => {}
            }
        }
        if unanswered > 0 {
            let words = || format!("no answer within {DRAIN_MAX:?} after the end");
            produced.fail(unanswered, words);
        }
        produced
    }
}

/// Counts a request's end, and the latencies of its records.
fn take(shared: &Shared, load: Load, produced: &mut Produced, sent: &Sent) {
    let now = shared.env.clock.now();
    let records = sent.ready.tally.records;
    if let Err(error) = &sent.outcome {
        shared.counters.failed.fetch_add(records, Ordering::Relaxed);
        produced.fail(records, || error.to_string());
        return;
    }
    shared
        .counters
        .records
        .fetch_add(records, Ordering::Relaxed);
    produced.acknowledged.merge(sent.ready.tally);
    let window = shared.window;
    if now >= window.measured_from && now < window.end {
        let value_bytes = u64::try_from(load.record_bytes).unwrap_or(0);
        produced
            .measured
            .add(records, records.saturating_mul(value_bytes));
    }
    if sent.sent_at >= window.measured_from {
        produced.service.add(now.since(sent.sent_at));
    }
    if load.rate.is_none() {
        return;
    }
    for moment in &sent.ready.moments {
        if *moment >= window.measured_from {
            produced.latencies.add(now.since(*moment));
        }
    }
}
