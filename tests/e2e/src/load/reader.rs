//! Reads a whole topic, or follows it while it is written.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use esker_env::{Env, Shutdown};
use esker_kafka::client::{Client, FetchOptions, Isolation, OffsetQuery};
use esker_record::{ReadLimits, read_records, split_batches};

/// Records of a topic by partition and offset: producer and number of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Partition → offset → (producer, number).
    pub partitions: BTreeMap<i32, BTreeMap<i64, (u32, u64)>>,
}

/// What a follower saw.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// The records.
    pub log: Log,
    /// Fetches that brought some.
    pub fetches: u64,
}

fn number_of(value: &Bytes) -> anyhow::Result<(u32, u64)> {
    let text = String::from_utf8_lossy(value);
    let mut parts = text.split(':');
    let mut part = || parts.next().with_context(|| format!("value {text:?}"));
    let (producer, number) = (part()?.parse()?, part()?.parse()?);
    Ok((producer, number))
}

/// Adds the records of a fetch at or above `offset`; the offset to go on from.
fn add(
    records: &mut BTreeMap<i64, (u32, u64)>,
    fetched: &Bytes,
    offset: i64,
) -> anyhow::Result<i64> {
    let mut next = offset;
    for split in split_batches(fetched) {
        let (_, range) = split?;
        for record in read_records(&fetched.slice(range), &ReadLimits::default())? {
            let record = record?;
            if record.offset < offset {
                continue;
            }
            ensure!(
                record.offset >= next,
                "offset {} after {next}",
                record.offset
            );
            next = record.offset + 1;
            let value = record.value.as_ref().context("a record without value")?;
            records.insert(record.offset, number_of(value)?);
        }
    }
    Ok(next)
}

/// Reads all partitions from the beginning to the end that each has now.
///
/// # Errors
/// A fetch fails for good, or brings what no producer of this module wrote.
pub async fn read_all(client: &Client, topic: &str, partitions: i32) -> anyhow::Result<Log> {
    let mut log = Log::default();
    for partition in 0..partitions {
        let query = OffsetQuery::Latest;
        let isolation = Isolation::ReadUncommitted;
        let end = client
            .list_offset(topic, partition, query, isolation)
            .await?
            .offset;
        let records = log.partitions.entry(partition).or_default();
        let mut next = 0;
        while next < end {
            let fetched = client
                .fetch(topic, partition, next, FetchOptions::default())
                .await?;
            ensure!(
                fetched.high_watermark >= end,
                "the high watermark fell below {end}"
            );
            let after = add(records, &fetched.records, next)?;
            ensure!(
                after > next,
                "partition {partition} brings nothing at {next} below {end}"
            );
            next = after;
        }
    }
    Ok(log)
}

/// Follows one partition from `from` until asked to stop, through losses of the server.
///
/// # Errors
/// It brings what cannot be.
pub async fn follow(
    client: &Client,
    (topic, partition): (&str, i32),
    from: i64,
    stop: &Shutdown,
) -> anyhow::Result<Tail> {
    let env = Env::system();
    let mut tail = Tail::default();
    let mut next = from;
    let options = FetchOptions {
        wait_max: Duration::from_secs(1),
        ..FetchOptions::default()
    };
    while !stop.is_requested() {
        let fetch = client.fetch(topic, partition, next, options);
        let fetched = tokio::select! {
            biased;
            () = stop.requested() => break,
            fetched = fetch => fetched,
        };
        let Ok(fetched) = fetched else {
            env.clock.sleep(Duration::from_millis(50)).await;
            continue;
        };
        let records = tail.log.partitions.entry(partition).or_default();
        let after = add(records, &fetched.records, next)?;
        tail.fetches += u64::from(after > next);
        next = after;
    }
    Ok(tail)
}

impl Tail {
    /// Whether all that was seen is in `log`, at the same offsets, and nothing between was missed.
    ///
    /// # Errors
    /// What differs.
    pub fn agrees_with(&self, log: &Log) -> anyhow::Result<u64> {
        let mut count = 0;
        for (partition, seen) in &self.log.partitions {
            let (Some((first, _)), Some((last, _))) =
                (seen.first_key_value(), seen.last_key_value())
            else {
                continue;
            };
            let whole = log
                .partitions
                .get(partition)
                .context("a partition is gone")?;
            let same = whole.range(*first..=*last).eq(seen.iter());
            ensure!(
                same,
                "partition {partition}: the tail saw another log in {first}..={last}"
            );
            count += u64::try_from(seen.len())?;
        }
        Ok(count)
    }
}
