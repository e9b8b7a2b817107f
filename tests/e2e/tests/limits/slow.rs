//! Clients that hardly send: half frames, one byte at a time, closed on one side; and frames and
//! pipelines at their limits.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use esker_e2e::load::{Connection, PRODUCE_VERSION, batch_of, padded, produce_request};
use esker_e2e::{StoreKind, TestStore, Wire, proved, request, resident_now, resident_peak};
use esker_env::Env;
use esker_kafka::limits::{FRAME_BYTES_MAX, PARTIAL_FRAME_TIMEOUT, PIPELINE_MAX};
use esker_kafka::messages::{ApiKey, Encodable as _, ProduceResponse, RequestHeader};
use esker_record::Compression;
use esker_testkit::EskerProcess;

use crate::others::{Others, TOPIC, answers};

const API_VERSIONS: i16 = 18;
const MIB: usize = 1024 * 1024;
const HOLDERS: usize = 3;

/// ApiVersions, with its length in front.
fn api_versions() -> anyhow::Result<Vec<u8>> {
    let body = request(API_VERSIONS, 0, &[]);
    let mut frame = i32::try_from(body.len())?.to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    Ok(frame)
}

#[tokio::test]
async fn half_a_frame_is_closed_in_its_time_and_slow_or_half_closed_clients_are_answered()
-> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let mut others = Others::start(esker.kafka).await?;
    let clock = Env::system().clock;
    let frame = api_versions()?;
    let begun = clock.now();

    let mut half = Wire::connect(esker.kafka).await?;
    half.send_raw(&frame[..frame.len() / 2]).await?;
    let mut length = Wire::connect(esker.kafka).await?;
    length.send_raw(&frame[..2]).await?;
    let mut slow = Wire::connect(esker.kafka).await?;
    for byte in &frame {
        slow.send_raw(std::slice::from_ref(byte)).await?;
        clock.sleep(Duration::from_millis(100)).await;
    }
    slow.reply().await?.context("one byte at a time: closed")?;
    let mut half_closed = Wire::connect(esker.kafka).await?;
    half_closed.send_raw(&frame).await?;
    half_closed.end_sending().await?;
    half_closed
        .reply()
        .await?
        .context("half closed: no answer")?;
    let after = half_closed.reply().await?;
    let mut cut = Wire::connect(esker.kafka).await?;
    cut.send_raw(&frame[..frame.len() - 1]).await?;
    cut.end_sending().await?;
    let unfinished = cut.reply().await?;
    let longest = others.serve_for(Duration::from_secs(2)).await?;
    let margin = Duration::from_secs(8);
    half.closed_within(PARTIAL_FRAME_TIMEOUT + margin)
        .await
        .context("half a frame")?;
    let waited = clock.now().since(begun);
    length
        .closed_within(margin)
        .await
        .context("half a length")?;

    ensure!(
        after.is_none() && unfinished.is_none(),
        "an answer to nothing"
    );
    ensure!(
        waited >= PARTIAL_FRAME_TIMEOUT,
        "closed after {waited:?} already"
    );
    proved(&format!(
        "half a frame and half a length were closed after {waited:.1?}; one byte at a time, and a \
         client that had closed its side, were answered (others' longest round trip {longest:.0?})"
    ));
    Ok(())
}

#[tokio::test]
async fn frames_that_are_announced_and_not_sent_do_not_keep_others_out() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let mut arguments = store.arguments();
    let words = ["--produce-buffer-bytes", "33554432"];
    arguments.more.extend(words.map(str::to_owned));
    let esker = EskerProcess::start(&arguments).await?;
    let mut others = Others::start(esker.kafka).await?;
    let quiet = others.serve_for(Duration::from_secs(1)).await?;
    let before = resident_now(esker.id())?;

    // Each of them alone takes all the memory there is for requests.
    let length = i32::try_from(FRAME_BYTES_MAX)?.to_be_bytes();
    let mut holders = Vec::new();
    for _ in 0..HOLDERS {
        let mut wire = Wire::connect(esker.kafka).await?;
        wire.send_raw(&length).await?;
        wire.send_raw(&[0; 1000]).await?;
        holders.push(wire);
    }
    let longest = others.serve_for(Duration::from_secs(20)).await?;
    let peak = resident_peak(esker.id())?;
    for wire in &mut holders {
        wire.closed_within(Duration::from_secs(30)).await?;
    }
    others.serve().await?;

    // A producer waits behind those that came first: 5 s each at most.
    ensure!(
        longest < Duration::from_secs(25),
        "others waited {longest:?}"
    );
    let bound = before + u64::try_from(FRAME_BYTES_MAX + 64 * MIB)?;
    ensure!(peak <= bound, "{peak} bytes were resident, {before} before");
    proved(&format!(
        "{HOLDERS} announced frames of {} MiB, of which nothing came, were cut while others waited \
         {longest:.1?} at most ({quiet:.0?} before)",
        FRAME_BYTES_MAX / MIB
    ));
    Ok(())
}

/// A Produce whose frame has exactly `bytes`, its length not counted; its records are nonsense.
fn produce_of(bytes: usize) -> anyhow::Result<Vec<u8>> {
    let version = 8; // no compact lengths: the size is a sum
    let build = |records: usize| {
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        RequestHeader::default()
            .with_request_api_key(0)
            .with_request_api_version(version)
            .encode(&mut frame, ApiKey::Produce.request_header_version(version))?;
        let records = Bytes::from(vec![0; records]);
        produce_request(TOPIC, [(0, records)]).encode(&mut frame, version)?;
        let length = i32::try_from(frame.len() - 4)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        anyhow::Ok(frame.to_vec())
    };
    let head = build(0)?.len() - 4;
    build(bytes - head)
}

#[tokio::test]
async fn the_largest_frame_is_answered_and_one_byte_more_closes() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let mut others = Others::start(esker.kafka).await?;

    let mut wire = Wire::connect(esker.kafka).await?;
    wire.send_raw(&produce_of(FRAME_BYTES_MAX)?).await?;
    let answered = wire.reply().await?;
    answers(&mut wire)
        .await
        .context("after the largest frame")?;
    let mut beyond = Wire::connect(esker.kafka).await?;
    // Closed on its length: the rest may not be taken any more.
    let _ = beyond.send_raw(&produce_of(FRAME_BYTES_MAX + 1)?).await;
    let refused = beyond.reply().await?;
    others.serve().await?;

    ensure!(answered.is_some(), "the largest frame was not answered");
    ensure!(
        refused.is_none(),
        "a frame of one byte too many was answered"
    );
    proved("a frame of 100 MiB is answered, one of one byte more closes its connection");
    Ok(())
}

#[tokio::test]
async fn more_requests_than_a_pipeline_takes_are_all_answered_in_order() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    Others::start(esker.kafka).await?;
    let mut connection = Connection::open(esker.kafka).await?;
    let api = (ApiKey::Produce, PRODUCE_VERSION);
    let count = i64::from(PIPELINE_MAX) + 1;

    for number in 0..count {
        let batch = batch_of(
            [padded(&format!("1:{number}"), 100)],
            Compression::None,
            None,
        )?;
        connection
            .sending
            .send(api, &produce_request(TOPIC, [(0, batch)]))
            .await?;
    }
    let mut offsets = Vec::new();
    for _ in 0..count {
        let reply: ProduceResponse = connection.receiving.receive(api).await?;
        let mut answers = reply
            .responses
            .iter()
            .flat_map(|one| &one.partition_responses);
        let answer = answers.next().context("no answer")?;
        ensure!(answer.error_code == 0, "{answer:?}");
        offsets.push(answer.base_offset);
    }

    ensure!(
        offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "{offsets:?}"
    );
    proved(&format!(
        "{count} requests sent at once were answered in order"
    ));
    Ok(())
}
