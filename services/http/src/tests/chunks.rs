//! Claims about the chunks of streams in: one after the other, none behind one that is not there.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};

use super::*;
use crate::limits::{BODY_STALL_MAX, CHUNK_BATCHES_BYTES_MAX, CHUNK_BYTES_MAX, CHUNK_RECORDS_MAX};

const PARTITION: &str = "/api/v1/topics/t/partitions/1/records";
const NDJSON: &str = "application/x-ndjson";
const BATCHES: &str = "application/vnd.esker.batches";

fn post(kind: &str) -> http::request::Builder {
    Request::post(PARTITION).header(header::CONTENT_TYPE, kind)
}

fn last_line(answer: &Answer) -> Value {
    serde_json::from_str(answer.text.lines().last().unwrap()).unwrap()
}

/// More lines than two chunks hold.
fn lines_of_three_chunks() -> String {
    "{\"value\":\"a\"}\n".repeat(2 * CHUNK_RECORDS_MAX + 1)
}

/// A batch of the test's log, of so many bytes.
fn batch(bytes: usize) -> Vec<u8> {
    let mut batch = vec![1; bytes];
    batch[8..12].copy_from_slice(&u32::try_from(bytes).unwrap().to_be_bytes());
    batch[12..16].copy_from_slice(&1_u32.to_be_bytes());
    batch
}

#[tokio::test]
async fn nothing_of_a_stream_is_appended_behind_a_chunk_that_was_refused() {
    for keyed in [true, false] {
        let world = World::new();
        let refusal = Problem::new(ProblemKind::Refused, "no");
        *world.log.refusal.lock().unwrap() = Some(refusal);
        let request = match keyed {
            true => post(NDJSON).header("idempotency-key", "k"),
            false => post(NDJSON),
        };

        let answer = world.send(request, lines_of_three_chunks()).await;

        assert_problem(&answer, 422, "refused");
        assert_eq!(world.log.appends.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn no_batch_is_appended_behind_a_chunk_of_batches_that_was_refused() {
    let world = World::new();
    let refusal = Problem::new(ProblemKind::Refused, "no");
    *world.log.refusal.lock().unwrap() = Some(refusal);
    let large = batch(CHUNK_BATCHES_BYTES_MAX / 4);

    let answer = world.send(post(BATCHES), large.repeat(9)).await;

    assert_problem(&answer, 422, "refused");
    assert!(answer.text.contains("batch 1"), "{}", answer.text);
    let appended = world.log.batches.lock().unwrap().len();
    assert_eq!(appended, 4, "a chunk of as many bytes as it may have");
}

#[tokio::test]
async fn a_chunk_that_was_taken_in_part_ends_the_stream_and_tells_what_is_there() {
    let world = World::new();
    *world.log.refused_partition.lock().unwrap() = PartitionIndex::new(2);
    let path = "/api/v1/topics/t/records";
    let request = Request::post(path).header(header::CONTENT_TYPE, NDJSON);
    let body = "{\"partition\":0}\n{\"partition\":2}\n".repeat(CHUNK_RECORDS_MAX);

    let answer = world.send(request, body).await;

    let half = CHUNK_RECORDS_MAX / 2;
    let first: Value = serde_json::from_str(answer.text.lines().next().unwrap()).unwrap();
    let last = last_line(&answer);
    assert_eq!(first["records"], half);
    assert_eq!(
        (&last["done"], &last["records"]),
        (&json!(false), &json!(half))
    );
    assert_eq!(last["error"]["type"], "/problems/refused");
    assert_eq!(world.log.appends.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_append_that_was_done_in_part_has_an_unknown_outcome() {
    let world = World::new();
    *world.log.refused_partition.lock().unwrap() = PartitionIndex::new(1);
    let records = json!({"records": [{"partition": 0}, {"partition": 1}, {"partition": 0}]});

    let answer = world.append(&records).await;

    assert_problem(&answer, 504, "outcome-unknown");
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("2 of 3 records were appended"),
        "{detail}"
    );
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
}

#[tokio::test(start_paused = true)]
async fn the_next_chunk_is_gathered_while_one_is_in_flight_and_its_client_may_rest() {
    let world = World::new();
    *world.log.is_stuck.lock().unwrap() = true;
    let (mut sender, body) = futures::channel::mpsc::channel(0);
    let body = Body::from_stream(body.map(Ok::<Bytes, std::io::Error>));
    let clock = Arc::clone(&world.log.env.clock);
    let log = Arc::clone(&world.log);
    let client = async move {
        let mut counts = Vec::new();
        for line in [
            "{\"value\":\"a\"}\n",
            "{\"value\":\"b\"}\n",
            "{\"value\":\"c\"}\n",
        ] {
            sender.send(Bytes::from(line)).await.unwrap();
            clock.sleep(Duration::from_secs(1)).await;
            counts.push(log.appends.lock().unwrap().len());
        }
        // It sends nothing for long, and what it has sent waits: that is not its fault.
        clock.sleep(BODY_STALL_MAX * 3).await;
        *log.is_stuck.lock().unwrap() = false;
        log.unstuck.notify_one();
        clock.sleep(Duration::from_secs(1)).await;
        counts
    };

    let (answer, counts) = tokio::join!(world.send(post(NDJSON), body), client);

    assert_eq!(counts, [1, 1, 1], "one in flight");
    assert_eq!(last_line(&answer), json!({"done": true, "records": 3}));
    let appends = world.log.appends.lock().unwrap();
    let sizes: Vec<_> = appends.iter().map(|append| append.records.len()).collect();
    assert_eq!(sizes, [1, 2]);
}

#[tokio::test]
async fn a_chunk_is_full_at_its_bytes_and_one_record_past_them_is_in_the_next() {
    let world = World::new();
    let frame = crate::record::record_bytes(&NewRecord {
        partition: None,
        timestamp: None,
        key: None,
        value: None,
        headers: Vec::new(),
    });
    let half = "v".repeat(CHUNK_BYTES_MAX / 2 - frame);
    let line = format!("{{\"value\":\"{half}\"}}\n");

    world.send(post(NDJSON), line.repeat(3)).await;

    let appends = world.log.appends.lock().unwrap();
    let sizes: Vec<_> = appends.iter().map(|append| append.records.len()).collect();
    assert_eq!(sizes, [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_ends_when_the_process_stops_resting_or_busy() {
    let line = Bytes::from_static(b"{\"value\":\"a\"}\n");
    for rests in [true, false] {
        let world = World::new();
        let first = futures::stream::iter([line.clone()]);
        let more = match rests {
            true => futures::stream::pending().boxed(),
            false => futures::stream::repeat(line.clone()).boxed(),
        };
        let body = Body::from_stream(first.chain(more).map(Ok::<_, std::io::Error>));
        let stop = async {
            world.log.env.clock.sleep(Duration::from_secs(1)).await;
            world.stop.request();
        };
        // One that is always busy lets the stop come between two chunks.
        if !rests {
            world.stop.request();
        }

        let (answer, ()) = tokio::join!(world.send(post(NDJSON), body), stop);

        match rests {
            true => {
                let last = last_line(&answer);
                assert_eq!(
                    (&last["done"], &last["records"]),
                    (&json!(false), &json!(1))
                );
                assert_eq!(last["error"]["type"], "/problems/unavailable");
            }
            false => assert_problem(&answer, 503, "unavailable"),
        }
        assert!(answer.text.contains("stopping"), "{}", answer.text);
    }
}
