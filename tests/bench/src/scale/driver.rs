//! Open-loop load as Kafka's own producers make it: one request a tick to each process that leads
//! partitions, with what is due for its partitions. Records are due whatever is unanswered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use esker_e2e::load::{Connection, PRODUCE_VERSION, Receiving, batch_of, padded, produce_request};
use esker_env::{Env, timeout};
use esker_kafka::client::Client;
use esker_kafka::messages::{ApiKey, ProduceResponse};
use esker_record::Compression;
use esker_types::MonotonicTime;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

const PRODUCE: (ApiKey, i16) = (ApiKey::Produce, PRODUCE_VERSION);
const TICK: Duration = Duration::from_millis(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Which partitions the records of one tick go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Spread {
    /// Each to another one, as with keys.
    Keyed,
    /// All of a process's to one of its partitions, as without keys.
    Sticky,
}

/// What is offered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) topic: &'a str,
    /// Of 1 KiB each, a second.
    pub(crate) records: u64,
    pub(crate) seconds: u64,
    pub(crate) spread: Spread,
}

/// Requests: how long from their tick to their answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Answered {
    pub(crate) requests: u64,
    pub(crate) batches: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) longest_ms: f64,
}

/// The partitions of a topic, by whoever leads them.
async fn leaders(
    bootstrap: SocketAddr,
    topic: &str,
) -> anyhow::Result<BTreeMap<SocketAddr, Vec<i32>>> {
    let client = Client::connect(&bootstrap.to_string(), "scale", Env::system()).await?;
    let metadata = client.metadata(Some(&[topic])).await?;
    let mut brokers = BTreeMap::new();
    for broker in &metadata.brokers {
        let address = format!("{}:{}", broker.host.as_str(), broker.port);
        brokers.insert(broker.node_id, address.parse::<SocketAddr>()?);
    }
    let mut led: BTreeMap<SocketAddr, Vec<i32>> = BTreeMap::new();
    for partition in metadata.topics.iter().flat_map(|topic| &topic.partitions) {
        let leader = brokers.get(&partition.leader_id).context("a leader")?;
        led.entry(*leader)
            .or_default()
            .push(partition.partition_index);
    }
    Ok(led)
}

/// One connection's part of the load.
struct Lane<'a> {
    offer: Offer<'a>,
    partitions: Vec<i32>,
    value: Bytes,
    start: MonotonicTime,
    /// Records that this lane has due in each second.
    share: f64,
}

impl Lane<'_> {
    fn due(&self, tick: u32) -> MonotonicTime {
        self.start.after(TICK * tick)
    }

    fn ticks(&self) -> anyhow::Result<u32> {
        let millis = self.offer.seconds * 1000;
        Ok(u32::try_from(millis / u64::try_from(TICK.as_millis())?)?)
    }

    /// Records due by the end of a tick.
    #[expect(clippy::as_conversions, reason = "a count, not an address")]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small count"
    )]
    fn due_by(&self, tick: u32) -> usize {
        (self.share * TICK.as_secs_f64() * f64::from(tick + 1)) as usize
    }

    fn batches(&self, count: usize, turn: &mut usize) -> anyhow::Result<Vec<(i32, Bytes)>> {
        let mut counts: BTreeMap<i32, usize> = BTreeMap::new();
        let next = |turn: &mut usize| {
            let partition = self.partitions.get(*turn % self.partitions.len());
            *turn += 1;
            partition.copied().context("a partition")
        };
        match self.offer.spread {
            Spread::Sticky => {
                counts.insert(next(turn)?, count);
            }
            Spread::Keyed => {
                for _ in 0..count {
                    *counts.entry(next(turn)?).or_insert(0) += 1;
                }
            }
        }
        let batch = |count| {
            let values = std::iter::repeat_n(self.value.clone(), count);
            batch_of(values, Compression::None, None)
        };
        counts
            .into_iter()
            .map(|(at, count)| Ok((at, batch(count)?)))
            .collect()
    }

    async fn run(&self, connection: Connection) -> anyhow::Result<(Vec<Duration>, u64)> {
        let clock = Env::system().clock;
        let Connection {
            mut sending,
            receiving,
        } = connection;
        let ticks = self.ticks()?;
        let send = async {
            let (mut sent, mut turn, mut batches) = (0, 0, 0_u64);
            for tick in 0..ticks {
                let due = self.due_by(tick);
                clock.sleep(self.due(tick).since(clock.now())).await;
                let count = due.saturating_sub(sent).max(1);
                let some = self.batches(count, &mut turn)?;
                sent += count;
                batches += u64::try_from(some.len())?;
                let request = produce_request(self.offer.topic, some);
                sending.send(PRODUCE, &request).await?;
            }
            anyhow::Ok((batches, sending))
        };
        let (sent, times) = tokio::join!(send, self.receive(receiving, ticks));
        Ok((times?, sent?.0))
    }

    async fn receive(&self, mut receiving: Receiving, ticks: u32) -> anyhow::Result<Vec<Duration>> {
        let clock = Env::system().clock;
        let mut times = Vec::new();
        for tick in 0..ticks {
            let reply = receiving.receive::<ProduceResponse>(PRODUCE);
            let reply = timeout(clock.as_ref(), ANSWER_WITHIN, reply).await??;
            let answers = reply
                .responses
                .iter()
                .flat_map(|one| &one.partition_responses);
            let refused = answers.filter(|answer| answer.error_code != 0).count();
            ensure!(refused == 0, "{refused} batches were refused");
            times.push(clock.now().since(self.due(tick)));
        }
        Ok(times)
    }
}

/// Offers it and waits for every answer.
pub(super) async fn offer(bootstrap: SocketAddr, offer: Offer<'_>) -> anyhow::Result<Answered> {
    let led = leaders(bootstrap, offer.topic).await?;
    let all: usize = led.values().map(Vec::len).sum();
    let per_partition = crate::numbers::of(offer.records) / crate::numbers::of(u64::try_from(all)?);
    let value = padded("scale", 1024);
    let start = Env::system().clock.now();
    let lanes = led.into_iter().map(|(address, partitions)| {
        let value = value.clone();
        async move {
            let share = per_partition * crate::numbers::of(u64::try_from(partitions.len())?);
            let lane = Lane {
                offer,
                partitions,
                value,
                start,
                share,
            };
            lane.run(Connection::open(address).await?).await
        }
    });
    let ended = try_join_all(lanes).await?;
    let mut times: Vec<Duration> = ended.iter().flat_map(|(times, _)| times.clone()).collect();
    times.sort_unstable();
    let at = |percent: usize| {
        let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times
            .get(place)
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    Ok(Answered {
        requests: u64::try_from(times.len())?,
        batches: ended.iter().map(|(_, batches)| batches).sum(),
        p50_ms: at(50),
        p99_ms: at(99),
        longest_ms: at(100),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(spread: Spread) -> Lane<'static> {
        Lane {
            offer: Offer {
                topic: "t",
                records: 100,
                seconds: 1,
                spread,
            },
            partitions: (0..10).collect(),
            value: Bytes::from_static(b"v"),
            start: MonotonicTime::default(),
            share: 175.0,
        }
    }

    #[test]
    fn what_is_due_adds_up_and_is_spread_as_told() {
        let (keyed, sticky) = (lane(Spread::Keyed), lane(Spread::Sticky));
        let mut turn = 9;

        let spread: Vec<i32> = keyed
            .batches(3, &mut turn)
            .unwrap()
            .iter()
            .map(|one| one.0)
            .collect();
        let together = sticky.batches(3, &mut turn).unwrap();

        assert_eq!(spread, [0, 1, 9]);
        assert_eq!(together.iter().map(|one| one.0).collect::<Vec<_>>(), [2]);
        assert_eq!(keyed.ticks().unwrap(), 50);
        assert_eq!((keyed.due_by(0), keyed.due_by(49)), (3, 175));
    }
}
