//! A consumer reads a cold log as fast as it can while others write and read at its end.
//!
//! 256 MiB; `ESKER_CATCH_UP_MIB=1024` for the size of the issue. Memory is held against what the
//! settings allow; what the reader costs those at the end is printed, not asserted.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use esker_e2e::load::{Connection, PRODUCE_VERSION, batch_of, padded, produce_request};
use esker_e2e::{StoreKind, TestStore, proved, resident_now, resident_peak};
use esker_env::{Env, Shutdown};
use esker_kafka::client::{Client, FetchOptions};
use esker_kafka::messages::{ApiKey, ProduceResponse};
use esker_record::{Compression, split_batches};
use esker_testkit::{EskerArguments, EskerProcess};

use crate::others::{client_of, topic};

const COLD: &str = "cold";
const TAIL: &str = "tail";
const MIB_DEFAULT: u64 = 256;
const MIB: u64 = 1024 * 1024;
const CACHE_BYTES: u64 = 64 * MIB;
const PRODUCE_BYTES: u64 = 64 * MIB;
/// The program, its allocator, and a test build.
const SLACK_BYTES: u64 = 96 * MIB;
/// The tail: so many records a second, for so long without the reader.
const TAIL_RATE: u32 = 20;
const TAIL_ALONE: Duration = Duration::from_secs(8);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const PRODUCE: (ApiKey, i16) = (ApiKey::Produce, PRODUCE_VERSION);

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told how much to read by the environment"
)]
fn mebibytes() -> u64 {
    let given = std::env::var("ESKER_CATCH_UP_MIB").ok();
    given
        .and_then(|text| text.parse().ok())
        .unwrap_or(MIB_DEFAULT)
}

fn arguments(store: &TestStore) -> EskerArguments {
    let mut arguments = store.arguments();
    let cache = CACHE_BYTES.to_string();
    let produce = PRODUCE_BYTES.to_string();
    let words = ["--cache-bytes", &cache, "--produce-buffer-bytes", &produce];
    arguments.more.extend(words.map(str::to_owned));
    arguments
}

async fn append(connection: &mut Connection, topic: &str, batch: Bytes) -> anyhow::Result<i64> {
    let request = produce_request(topic, [(0, batch)]);
    let reply: ProduceResponse = connection.ask(PRODUCE, &request, ANSWER_WITHIN).await?;
    let mut answers = reply
        .responses
        .iter()
        .flat_map(|one| &one.partition_responses);
    let answer = answers.next().context("no answer")?;
    ensure!(answer.error_code == 0, "{answer:?}");
    Ok(answer.base_offset)
}

/// Reads the whole log of [`COLD`], batches checked for their place; the bytes read.
async fn catch_up(kafka: SocketAddr) -> anyhow::Result<u64> {
    let client = client_of(kafka).await?;
    let (mut next, mut bytes) = (0, 0);
    loop {
        let fetched = client.fetch(COLD, 0, next, FetchOptions::default()).await?;
        for split in split_batches(&fetched.records) {
            let (header, range) = split?;
            let base = header.base_offset();
            ensure!(base == next, "batch {base} where {next} was due");
            next = base + i64::from(header.record_count());
            bytes += u64::try_from(range.len())?;
        }
        if next >= fetched.high_watermark {
            return Ok(bytes);
        }
    }
}

/// Times from sending a record to having read it, sorted.
struct Times(Vec<Duration>);

impl Times {
    fn share(&self, hundredths: usize) -> Duration {
        let place = self.0.len().saturating_sub(1) * hundredths / 100;
        self.0.get(place).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (half, most) = (self.share(50), self.share(99));
        write!(
            f,
            "p50 {half:.1?}, p99 {most:.1?} ({} records)",
            self.0.len()
        )
    }
}

/// Writes and reads at the end of [`TAIL`] at a fixed rate until asked to stop.
async fn tail(
    client: &Client,
    producing: &mut Connection,
    stop: &Shutdown,
) -> anyhow::Result<Times> {
    let clock = Env::system().clock;
    let mut times = Vec::new();
    let begun = clock.now();
    let options = FetchOptions::default();
    for number in 0_u32.. {
        let due = begun.after(Duration::from_secs(1) * number / TAIL_RATE);
        clock.sleep(due.since(clock.now())).await;
        if stop.is_requested() {
            break;
        }
        let sent = clock.now();
        let batch = batch_of(
            [padded(&format!("1:{number}"), 1024)],
            Compression::None,
            None,
        )?;
        let offset = append(producing, TAIL, batch).await?;
        while client
            .fetch(TAIL, 0, offset, options)
            .await?
            .records
            .is_empty()
        {}
        times.push(clock.now().since(sent));
    }
    times.sort_unstable();
    Ok(Times(times))
}

#[tokio::test]
async fn a_cold_log_is_read_beside_load_within_the_memory_that_is_configured() -> anyhow::Result<()>
{
    let mebibytes = mebibytes();
    let store = TestStore::start(StoreKind::Directory).await?;
    let mut esker = EskerProcess::start(&arguments(&store)).await?;
    let client = client_of(esker.kafka).await?;
    topic(&client, COLD, 1).await?;
    topic(&client, TAIL, 1).await?;
    let mut filling = Connection::open(esker.kafka).await?;
    let mut written = 0;
    for number in 0..mebibytes {
        let value = padded(&format!("1:{number}"), 1024 * 1024 - 200);
        let batch = batch_of([value], Compression::None, None)?;
        written += u64::try_from(batch.len())?;
        append(&mut filling, COLD, batch).await?;
    }
    drop((filling, client));
    esker.stop().await?;
    // Nothing of the log is in the memory of this one.
    let esker = EskerProcess::start(&arguments(&store)).await?;
    let before = resident_now(esker.id())?;
    let client = client_of(esker.kafka).await?;
    let mut producing = Connection::open(esker.kafka).await?;
    let clock = Env::system().clock;

    let (stop, stopped) = Shutdown::new();
    let wait = async {
        clock.sleep(TAIL_ALONE).await;
        stop.request();
    };
    let (alone, ()) = tokio::join!(tail(&client, &mut producing, &stopped), wait);
    let (stop, stopped) = Shutdown::new();
    let begun = clock.now();
    let read = async {
        let read = catch_up(esker.kafka).await;
        let took = clock.now().since(begun);
        stop.request();
        read.map(|bytes| (bytes, took))
    };
    let (beside, read) = tokio::join!(tail(&client, &mut producing, &stopped), read);
    let (alone, beside, (bytes, took)) = (alone?, beside?, read?);
    let peak = resident_peak(esker.id())?;

    ensure!(bytes == written, "{bytes} of {written} bytes were read");
    let budgets = CACHE_BYTES + PRODUCE_BYTES;
    let bound = budgets + SLACK_BYTES;
    ensure!(
        peak <= bound,
        "{peak} bytes were resident, budgets allow {budgets}"
    );
    proved(&format!(
        "{mebibytes} MiB were read cold in {took:.1?} beside {TAIL_RATE} records a second; {} MiB \
         resident before, {} at most, budgets {} MiB\n         tail alone:  {alone}\n         tail \
         beside: {beside}",
        before >> 20,
        peak >> 20,
        budgets >> 20
    ));
    Ok(())
}
