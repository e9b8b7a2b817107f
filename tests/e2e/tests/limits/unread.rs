//! Clients that ask and never read: what they hold of the process is bounded and taken from them,
//! and whoever reads is served all the while.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::{BufMut as _, BytesMut};
use esker_e2e::load::{Connection, PRODUCE_VERSION, batch_of, metric, padded, produce_request};
use esker_e2e::{StoreKind, TestStore, Wire, proved, resident_now, resident_peak};
use esker_env::Env;
use esker_kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use esker_kafka::messages::{
    ApiKey, Encodable, FetchRequest, ProduceResponse, RequestHeader, StrBytes, TopicName,
};
use esker_record::Compression;
use esker_testkit::{EskerArguments, EskerProcess};

use crate::others::{Others, client_of, topic};

const UNREAD: &str = "unread";
const FETCH: (ApiKey, i16, i16) = (ApiKey::Fetch, 1, 12);
const PRODUCE: (ApiKey, i16, i16) = (ApiKey::Produce, 0, PRODUCE_VERSION);
/// Small sockets, so that a reply soon waits in the process.
const RECEIVE_BYTES: u32 = 4096;
const MIB: u64 = 1024 * 1024;
/// `--cache-bytes`, all that the cache holds; half of it may wait in replies.
const CACHE_BYTES: u64 = 64 * MIB;
/// `--produce-buffer-bytes`.
const PRODUCE_BYTES: u64 = 32 * MIB;
/// Allocator, connections, the kernel's view of freed memory.
const SLACK_BYTES: u64 = 96 * MIB;
/// Beside a tail an answer has 2 MiB, which the kernel may take whole, without a standstill; of
/// several to one client the second or third stands. All together are more than the cache holds.
const CONSUMERS: i64 = 64;
const FETCHES: usize = 3;
const PRODUCERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);
/// Usually within 15 s; on a machine that is late old records come slowly, and with them the need.
const CUT_WITHIN: Duration = Duration::from_secs(60);

fn arguments(store: &TestStore, more: &[&str]) -> EskerArguments {
    let mut arguments = store.arguments();
    let cache = CACHE_BYTES.to_string();
    let produce = PRODUCE_BYTES.to_string();
    let words = ["--cache-bytes", &cache, "--produce-buffer-bytes", &produce];
    arguments.more.extend(words.map(str::to_owned));
    arguments
        .more
        .extend(more.iter().map(|word| (*word).to_owned()));
    arguments
}

/// A frame with its length in front.
fn framed(
    (api, key, version): (ApiKey, i16, i16),
    request: &impl Encodable,
) -> anyhow::Result<Vec<u8>> {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version);
    header.encode(&mut frame, api.request_header_version(version))?;
    request.encode(&mut frame, version)?;
    let length = i32::try_from(frame.len() - 4)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame.to_vec())
}

fn fetch_from(offset: i64, bytes: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(bytes);
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str(UNREAD)))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(100)
        .with_max_bytes(bytes)
        .with_topics(vec![topic])
}

/// Writes so many MiB to [`UNREAD`].
async fn fill(esker: &EskerProcess, mebibytes: u64) -> anyhow::Result<()> {
    let client = client_of(esker.kafka).await?;
    topic(&client, UNREAD, 1).await?;
    let mut connection = Connection::open(esker.kafka).await?;
    for number in 0..mebibytes {
        let value = padded(&format!("1:{number}"), 1024 * 1024 - 200);
        let batch = batch_of([value], Compression::None, None)?;
        let request = produce_request(UNREAD, [(0, batch)]);
        let api = (ApiKey::Produce, PRODUCE_VERSION);
        let reply: ProduceResponse = connection.ask(api, &request, PATIENCE).await?;
        let mut answers = reply
            .responses
            .iter()
            .flat_map(|one| &one.partition_responses);
        let answer = answers.next().context("no answer")?;
        ensure!(answer.error_code == 0, "{answer:?}");
    }
    Ok(())
}

async fn stragglers_cut(esker: &EskerProcess) -> anyhow::Result<f64> {
    let metrics = reqwest::get(format!("http://{}/metrics", esker.http))
        .await?
        .text()
        .await?;
    let row = "esker_kafka_refusals_total{reason=\"straggler\"} ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(row));
    Ok(value.context("no such metric")?.parse()?)
}

#[tokio::test]
async fn consumers_that_never_read_hold_a_bounded_share_and_are_cut_when_others_need_it()
-> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let mut esker = EskerProcess::start(&arguments(&store, &[])).await?;
    fill(&esker, 80).await?;
    esker.stop().await?;
    // Afresh, so that what they ask for is read from the store.
    let esker = EskerProcess::start(&arguments(&store, &[])).await?;
    let mut others = Others::start(esker.kafka).await?;
    let quiet = others.serve_for(Duration::from_secs(2)).await?;
    let before = resident_now(esker.id())?;

    let mut wires = Vec::new();
    for offset in 0..CONSUMERS {
        let request = framed(FETCH, &fetch_from(offset, 50 * 1024 * 1024))?;
        let mut wire = Wire::connect_from(esker.kafka, [127, 0, 0, 1], Some(RECEIVE_BYTES)).await?;
        wire.send_raw(&request.repeat(FETCHES)).await?;
        wires.push(wire);
    }
    let clock = Env::system().clock;
    let begun = clock.now();
    let mut longest = others.serve_for(Duration::from_secs(15)).await?;
    let mut cut = stragglers_cut(&esker).await?;
    while cut == 0.0 && clock.now().since(begun) < CUT_WITHIN {
        longest = longest.max(others.serve_for(Duration::from_secs(1)).await?);
        cut = stragglers_cut(&esker).await?;
    }
    let peak = resident_peak(esker.id())?;

    let bound = before + CACHE_BYTES + SLACK_BYTES;
    ensure!(
        peak <= bound,
        "{peak} bytes were resident, {before} before, {bound} are the bound"
    );
    ensure!(longest <= PATIENCE, "others waited {longest:?}");
    ensure!(
        cut > 0.0,
        "none of {CONSUMERS} was cut; {} MiB resident before and {} at most, others' longest round \
         trip was {longest:.0?}",
        before >> 20,
        peak >> 20
    );
    proved(&format!(
        "{CONSUMERS} consumers asked for 50 MiB each and read nothing: {cut} were cut, {} MiB \
         resident before and {} at most (bound {}); others' longest round trip was {quiet:.0?} \
         before and {longest:.0?} beside them",
        before >> 20,
        peak >> 20,
        bound >> 20
    ));
    Ok(())
}

#[tokio::test]
async fn who_reads_nothing_is_closed_at_the_idle_timeout_consumer_and_producer()
-> anyhow::Result<()> {
    let idle = Duration::from_secs(4);
    let store = TestStore::start(StoreKind::Directory).await?;
    let millis = idle.as_millis().to_string();
    let more = ["--kafka-idle-timeout-ms", millis.as_str()];
    let esker = EskerProcess::start(&arguments(&store, &more)).await?;
    fill(&esker, 24).await?;
    let before = resident_now(esker.id())?;
    let clock = Env::system().clock;

    let mut consumer = Wire::connect_from(esker.kafka, [127, 0, 0, 1], Some(RECEIVE_BYTES)).await?;
    consumer
        .send_raw(&framed(FETCH, &fetch_from(0, 50 * 1024 * 1024))?)
        .await?;
    let mut producers = Vec::new();
    for _ in 0..PRODUCERS {
        producers.push(stalled_producer(&esker).await?);
    }
    let stalled = clock.now();
    let mut others = Others::start(esker.kafka).await?;
    let longest = others.serve_for(idle + Duration::from_secs(2)).await?;
    let peak = resident_peak(esker.id())?;
    let open = metric(esker.http, "esker_kafka_connections_open").await?;
    // What the kernels hold is still read, then the close.
    let left = idle.saturating_sub(clock.now().since(stalled));
    consumer
        .closed_within(left + Duration::from_secs(5))
        .await
        .context("the consumer")?;
    for producer in &mut producers {
        producer
            .closed_within(Duration::from_secs(5))
            .await
            .context("a producer")?;
    }

    let bound = before + PRODUCE_BYTES + CACHE_BYTES + SLACK_BYTES;
    ensure!(
        peak <= bound,
        "{peak} bytes were resident, {before} before, {bound} are the bound"
    );
    ensure!(
        open <= 8.0,
        "{open} connections are open: those that stall were not closed"
    );
    proved(&format!(
        "a consumer and {PRODUCERS} producers that read nothing were closed at the idle timeout of \
         {idle:?}; {} MiB resident before and {} at most; others' longest round trip was \
         {longest:.0?}",
        before >> 20,
        peak >> 20
    ));
    Ok(())
}

/// A producer that sends until the process takes no more, because it reads no answer.
async fn stalled_producer(esker: &EskerProcess) -> anyhow::Result<Wire> {
    let mut wire = Wire::connect_from(esker.kafka, [127, 0, 0, 1], Some(RECEIVE_BYTES)).await?;
    // To partitions that do not exist: refused without a write, in answers that soon fill sockets.
    let batch = batch_of([padded("1:1", 10)], Compression::None, None)?;
    let batches = (7..107).map(|partition| (partition, batch.clone()));
    let refused = framed(PRODUCE, &produce_request(UNREAD, batches))?;
    let many = refused.repeat(16);
    let clock = Env::system().clock;
    for _ in 0..4000 {
        let sent = wire.send_raw(&many);
        let sent = esker_env::timeout(clock.as_ref(), Duration::from_secs(1), sent).await;
        // Nothing more is taken, or it is closed already.
        if !matches!(sent, Ok(Ok(()))) {
            return Ok(wire);
        }
    }
    anyhow::bail!("64 000 requests were taken from a producer that reads nothing")
}
