//! Claims about streams in and out, single values, keys, conditions, and Confluent's endpoint.

use std::time::Duration;

use futures::SinkExt as _;
use futures::StreamExt as _;

use super::*;
use crate::limits::{CHUNK_RECORDS_MAX, HEARTBEAT};

const RECORDS: &str = "/api/v1/topics/t/records";
const PARTITION: &str = "/api/v1/topics/t/partitions/1/records";
const V3: &str = "/v3/clusters/AQEBAQEBAQEBAQEBAQEBAQ/topics/t/records";

fn ndjson(path: &str) -> http::request::Builder {
    Request::post(path).header(header::CONTENT_TYPE, "application/x-ndjson")
}

fn lines(answer: &Answer) -> Vec<Value> {
    let lines = answer.text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A body that is sent piece by piece.
fn piecewise() -> (
    futures::channel::mpsc::Sender<Result<Bytes, std::io::Error>>,
    Body,
) {
    let (sender, body) = futures::channel::mpsc::channel(1);
    (sender, Body::from_stream(body))
}

#[tokio::test]
async fn ndjson_is_appended_line_by_line_whatever_the_frames_and_the_answer_counts() {
    let world = World::new();
    let (mut sender, body) = piecewise();
    let feed = async move {
        for piece in [
            "{\"value\":",
            "\"a\"}\n\n{\"value\":\"b\"}",
            "\r\n{\"value\":\"c\"}",
        ] {
            sender.send(Ok(Bytes::from(piece))).await.unwrap();
        }
    };

    let (answer, ()) = tokio::join!(world.send(ndjson(PARTITION), body), feed);

    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.kind, "application/x-ndjson");
    let lines = lines(&answer);
    assert_eq!(lines.last(), Some(&json!({"done": true, "records": 3})));
    assert_eq!(lines[0]["partitions"][0]["partition"], 1);
    assert_eq!(world.values(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_line_that_is_wrong_is_told_with_its_number_and_field() {
    let world = World::new();
    for (body, line, word) in [
        ("{\"value\":\"a\"}\n{\"value\":", 2, "EOF"),
        ("\n\n{\"value\":{\"base64\":\"*\"}}", 3, "value"),
        ("{\"val\":1}", 1, "val"),
        ("[1]", 1, "object"),
        ("{\"value\":\"\u{0}\"}", 1, "control character"),
        (
            "{\"headers\":[{\"name\":\"h\",\"value\":{\"base64\":\"?\"}}]}",
            1,
            "headers[0].value",
        ),
    ] {
        let answer = world.send(ndjson(RECORDS), body).await;

        assert_problem(&answer, 400, "bad-request");
        assert_eq!(answer.body["line"], line, "{}", answer.text);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(word), "{detail}");
    }
    let partition = world.send(ndjson(RECORDS), "{\"partition\":3}").await;
    assert_problem(&partition, 404, "unknown-topic");
    let empty = world.send(ndjson(RECORDS), "\n\n").await;
    assert_problem(&empty, 400, "bad-request");
    assert!(world.values().is_empty(), "nothing was appended");
}

#[tokio::test]
async fn what_goes_wrong_behind_the_first_chunk_is_the_last_line_and_ends_the_stream() {
    let world = World::new();
    let (mut sender, body) = piecewise();
    let appends = &world.log.appends;
    let feed = async move {
        sender
            .send(Ok(Bytes::from("{\"value\":\"a\"}\n")))
            .await
            .unwrap();
        while appends.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let _ = sender
            .send(Ok(Bytes::from("{\"value\":5}\n{\"value\":\"b\"}\n")))
            .await;
    };

    let (answer, ()) = tokio::join!(world.send(ndjson(RECORDS), body), feed);

    assert_eq!(answer.status, StatusCode::OK);
    let last = lines(&answer).pop().unwrap();
    assert_eq!(
        (&last["done"], &last["records"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(last["error"]["type"], "/problems/bad-request");
    assert_eq!(last["error"]["line"], 2);
    assert_eq!(world.values(), ["a"]);
}

#[tokio::test]
async fn a_refused_chunk_is_an_error_status_when_it_is_the_first() {
    let world = World::new();
    let refusal = Problem::new(ProblemKind::Refused, "no");
    *world.log.refusal.lock().unwrap() = Some(refusal);

    let answer = world.send(ndjson(RECORDS), "{\"value\":\"a\"}").await;

    assert_problem(&answer, 422, "refused");
}

#[tokio::test]
async fn chunks_of_a_stream_with_a_key_are_cut_by_content_and_have_keys_of_their_own() {
    let world = World::new();
    let body = "{\"value\":\"a\"}\n".repeat(CHUNK_RECORDS_MAX + 1);
    for split in [body.len(), 1000] {
        let (mut sender, stream) = piecewise();
        let pieces: Vec<Bytes> = body
            .as_bytes()
            .chunks(split)
            .map(Bytes::copy_from_slice)
            .collect();
        let feed = async move {
            for piece in pieces {
                sender.send(Ok(piece)).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let request = ndjson(RECORDS).header("idempotency-key", "k");
        let (answer, ()) = tokio::join!(world.send(request, stream), feed);
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }

    let appends = world.log.appends.lock().unwrap();
    let cut: Vec<_> = appends
        .iter()
        .map(|one| (one.records.len(), one.key))
        .collect();
    assert_eq!(cut.len(), 4);
    assert_eq!(cut[0].0, CHUNK_RECORDS_MAX);
    assert_eq!(cut[..2], cut[2..], "a repeat is cut alike");
    assert!(cut[0].1.is_some() && cut[0].1 != cut[1].1);
}

#[tokio::test]
async fn batches_are_appended_as_they_are_but_for_where_they_once_stood() {
    let world = World::new();
    let batch = |fill: u8| {
        let mut batch = vec![fill; 20];
        batch[8..12].copy_from_slice(&20_u32.to_be_bytes());
        batch[12..16].copy_from_slice(&3_u32.to_be_bytes());
        batch
    };
    let kind = "application/vnd.esker.batches";
    let post = |path| Request::post(path).header(header::CONTENT_TYPE, kind);
    let both = [batch(1), batch(2)].concat();

    let answer = world.send(post(PARTITION), both.clone()).await;
    let short = world.send(post(PARTITION), both[..30].to_vec()).await;
    let nowhere = world.send(post(RECORDS), both.clone()).await;
    let keyed = world
        .send(post(PARTITION).header("idempotency-key", "k"), both)
        .await;
    let mut large = batch(3);
    let bytes = esker_types::limits::RECORD_BATCH_BYTES_MAX + 1;
    large[8..12].copy_from_slice(&bytes.to_be_bytes());
    let large = world.send(post(PARTITION), large).await;

    assert_eq!(
        lines(&answer).pop(),
        Some(json!({"done": true, "records": 6}))
    );
    let batches = world.log.batches.lock().unwrap();
    assert_eq!(batches[0][..8], [0; 8]);
    assert_eq!(batches[1][16..], [2; 4]);
    assert_problem(&short, 400, "bad-request");
    assert_problem(&nowhere, 400, "bad-request");
    assert_problem(&keyed, 400, "bad-request");
    assert_problem(&large, 413, "too-large");
}

#[tokio::test]
async fn one_value_a_key_and_a_condition_reach_the_log() {
    let world = World::new();
    let kind = "application/octet-stream";
    let post = |path: &str| Request::post(path).header(header::CONTENT_TYPE, kind);
    let conditional = format!("{PARTITION}?expected_offset=0");

    let request = post(&conditional).header("idempotency-key", "k");
    let value = world.send(request, "any bytes").await;
    let stream = world.send(ndjson(&conditional), "{}").await;
    let anywhere = world
        .send(post(&format!("{RECORDS}?expected_offset=0")), "x")
        .await;
    let strange = Request::post(RECORDS).header(header::CONTENT_TYPE, "text/csv");
    let strange = world.send(strange, "a,b").await;
    let mut moved = Problem::new(ProblemKind::UnexpectedOffset, "ends elsewhere");
    moved.end_offset = Some(5);
    *world.log.refusal.lock().unwrap() = Some(moved);
    let refused = world.send(post(&conditional), "x").await;

    assert_eq!(
        value.body,
        json!({"records": [{"partition": 1, "offset": 0}]})
    );
    let appends = world.log.appends.lock().unwrap();
    assert_eq!(appends[0].expected_end, Some(Offset::ZERO));
    assert!(appends[0].key.is_some());
    assert_problem(&stream, 400, "bad-request");
    assert_problem(&anywhere, 400, "bad-request");
    assert_problem(&strange, 415, "unsupported-media-type");
    assert_problem(&refused, 412, "unexpected-offset");
    assert_eq!(refused.body["end_offset"], 5);
}

#[tokio::test]
async fn a_stream_out_ends_at_the_end_and_at_its_limit() {
    let world = World::new();
    world
        .append(&json!({"records": [{"value": "a"}, {"value": "b"}, {"value": "c"}]}))
        .await;
    let get = |query: &str| {
        let request = Request::get(format!("{PARTITION}?{query}"));
        request.header(header::ACCEPT, "text/html, application/x-ndjson;q=0.9")
    };

    let all = world.send(get(""), "").await;
    let two = world.send(get("offset=1&limit=1"), "").await;
    let none = world.send(get("limit=0&follow=true"), "").await;
    let beyond = world.send(get("offset=4"), "").await;
    let unknown = world.send(get("wait=1"), "").await;
    let batches = Request::get(PARTITION).header(header::ACCEPT, "application/vnd.esker.batches");
    let batches = router_bytes(&world, batches).await;

    assert_eq!(all.kind, "application/x-ndjson");
    let offsets: Vec<_> = lines(&all)
        .iter()
        .map(|row| row["offset"].as_u64())
        .collect();
    assert_eq!(offsets, [Some(0), Some(1), Some(2)]);
    assert_eq!(lines(&two)[0]["value"], "b");
    assert_eq!((lines(&two).len(), none.text.as_str()), (1, ""));
    assert_problem(&beyond, 416, "offset-out-of-range");
    assert_problem(&unknown, 400, "bad-request");
    assert_eq!(batches.len(), 3 * 8);
}

async fn router_bytes(world: &World, request: http::request::Builder) -> Bytes {
    let request = request.body(Body::empty()).unwrap();
    let response = world.router().oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test(start_paused = true)]
async fn events_go_on_behind_the_last_one_seen_beat_and_end_when_the_process_stops() {
    let world = World::new();
    world
        .append(&json!({"records": [{"value": "a"}, {"value": "b\nc"}]}))
        .await;
    let request = Request::get(PARTITION)
        .header(header::ACCEPT, "text/event-stream")
        .header("last-event-id", "0");
    let request = request.body(Body::empty()).unwrap();

    let response = world.router().oneshot(request).await.unwrap();
    let kind = response.headers()[header::CONTENT_TYPE].clone();
    let mut events = response.into_body().into_data_stream();
    let mut next = async || match events.next().await {
        Some(piece) => String::from_utf8(piece.unwrap().to_vec()).unwrap(),
        None => "the end".to_owned(),
    };
    let head = next().await;
    let event = next().await;
    let begun = world.log.env.clock.now();
    let beat = next().await;
    let waited = world.log.env.clock.now().since(begun);
    world.append(&json!({"records": [{"value": "d"}]})).await;
    let late = next().await;
    world.stop.request();
    let end = next().await;

    assert_eq!(kind, "text/event-stream");
    assert_eq!(head, "retry: 1000\n\n");
    let row = event.strip_prefix("id: 1\nevent: record\ndata: ").unwrap();
    let row: Value = serde_json::from_str(row.strip_suffix("\n\n").unwrap()).unwrap();
    assert_eq!(row["value"], "b\nc", "in one line");
    assert_eq!(beat, ": still here\n\n");
    assert!(waited >= HEARTBEAT && waited < HEARTBEAT + Duration::from_secs(1));
    assert!(late.starts_with("id: 2\n"), "{late}");
    assert_eq!(end, "the end");
}

#[tokio::test]
async fn events_are_not_resumed_from_what_is_no_event() {
    let world = World::new();
    for id in ["", "x", "-1", "+1", "1.5", "9223372036854775807"] {
        let request = Request::get(PARTITION)
            .header(header::ACCEPT, "text/event-stream")
            .header("last-event-id", id);

        let answer = world.send(request, "").await;

        assert_problem(&answer, 400, "bad-request");
        assert!(answer.text.contains("Last-Event-ID"), "{id}");
    }
}

#[tokio::test]
async fn confluents_producers_get_a_report_for_each_record_in_order() {
    let world = World::new();
    let documents = [
        json!({"partition_id": 1, "key": {"type": "STRING", "data": "k"},
            "value": {"type": "BINARY", "data": "/w=="}, "timestamp": "2021-02-05T19:14:42Z",
            "headers": [{"name": "h", "value": "aA=="}]}),
        json!({"value": {"type": "AVRO", "data": {}}}),
        json!({"value": {"type": "BINARY", "data": "*"}}),
        json!({"value": 5}),
        json!({"partition_id": 7}),
    ];
    let mut body = documents.map(|document| document.to_string()).concat();
    body.push_str(" {\"value\": {\"type\": \"JSON\", \"data\": {\"b\" : 1, \"a\": \"x y\"}}}\n");

    let answer = world.send(Request::post(V3), body).await;

    assert_eq!(
        (answer.status, answer.kind.as_str()),
        (StatusCode::OK, "application/json")
    );
    let reports = lines(&answer);
    let codes: Vec<_> = reports
        .iter()
        .map(|report| report["error_code"].as_u64())
        .collect();
    let expected = [200, 422, 422, 422, 40403, 200].map(Some);
    assert_eq!(codes, expected, "{}", answer.text);
    assert_eq!(reports[0]["cluster_id"], "AQEBAQEBAQEBAQEBAQEBAQ");
    assert_eq!(
        (&reports[0]["topic_name"], &reports[0]["offset"]),
        (&json!("t"), &json!(0))
    );
    assert_eq!(reports[0]["timestamp"], "2021-02-05T19:14:42.000Z");
    assert_eq!(reports[0]["value"], json!({"type": "BINARY", "size": 1}));
    assert_eq!(reports[5]["offset"], 1);
    let records = world.log.records.lock().unwrap();
    assert_eq!(records[0].headers[0].value.as_deref(), Some(&b"h"[..]));
    assert_eq!(
        records[1].value.as_deref(),
        Some(&b"{\"b\":1,\"a\":\"x y\"}"[..])
    );
}

#[tokio::test]
async fn confluents_errors_have_its_form() {
    let world = World::new();
    let elsewhere = V3.replace("AQEB", "BQEB");
    let csv = Request::post(V3).header(header::CONTENT_TYPE, "text/csv");
    let cases = [
        (world.send(Request::post(V3), "{\"value\":").await, 400, 400),
        (world.send(Request::post(V3), "5").await, 400, 400),
        (world.send(Request::post(V3), "").await, 400, 400),
        (world.send(csv, "{}").await, 415, 415),
        (world.send(Request::post(&elsewhere), "{}").await, 404, 404),
        (
            world
                .send(Request::post(V3.replace("/t/", "/u/")), "{}")
                .await,
            404,
            40403,
        ),
        (world.send(Request::put(V3), "{}").await, 405, 405),
    ];

    for (answer, status, code) in cases {
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        assert_eq!(answer.kind, "application/json");
        assert_eq!(answer.body["error_code"], code, "{}", answer.text);
        assert!(answer.body["message"].is_string());
    }
}

#[tokio::test]
async fn confluents_resources_lead_to_one_another() {
    let world = World::new();
    let get = async |path: &str| world.ask(Method::GET, path, "").await.body;
    let cluster = "/v3/clusters/AQEBAQEBAQEBAQEBAQEBAQ";
    let new = json!({"topic_name": "new", "partitions_count": 2,
        "configs": [{"name": "retention.ms", "value": "60000"}]});

    let clusters = get("/kafka/v3/clusters").await;
    let path = format!("{cluster}/topics");
    let created = world.ask(Method::POST, &path, new.to_string()).await;
    let again = world.ask(Method::POST, &path, new.to_string()).await;
    let described = get(&format!("{cluster}/topics/new")).await;
    let partitions = get(&format!("{cluster}/topics/new/partitions")).await;
    let partition = get(&format!("{cluster}/topics/new/partitions/1")).await;
    let configs = get(&format!("{cluster}/topics/new/configs")).await;
    let config = get(&format!("{cluster}/topics/new/configs/cleanup.policy")).await;
    let no_config = get(&format!("{cluster}/topics/new/configs/none")).await;
    let gone = world
        .ask(Method::DELETE, &format!("{cluster}/topics/new"), "")
        .await;

    assert_eq!(clusters["data"][0]["cluster_id"], "AQEBAQEBAQEBAQEBAQEBAQ");
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(again.body["error_code"], 40002);
    assert_eq!(described["partitions_count"], 2);
    assert_eq!(partitions["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(partition["partition_id"], 1);
    assert!(configs["data"].as_array().unwrap().len() > 20);
    assert_eq!(config["value"], "delete");
    assert_eq!(no_config["error_code"], 404);
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(get(&path).await["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_description_names_every_path_and_how_errors_are_told() {
    let world = World::new();

    let document = world.ask(Method::GET, "/openapi.json", "").await.body;

    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 9 + 9, "{:?}", paths.keys());
    let read = &paths["/api/v1/topics/{name}/partitions/{partition}/records"]["get"];
    assert!(read["responses"]["200"]["content"]["text/event-stream"].is_object());
    let error = &read["responses"]["default"]["content"]["application/problem+json"];
    assert_eq!(error["schema"]["$ref"], "#/components/schemas/Problem");
    assert!(document["components"]["schemas"]["Problem"].is_object());
}

async fn five_records(world: &World) {
    let records: Vec<_> = (0..5).map(|_| json!({"value": "x"})).collect();
    world.append(&json!({"records": records})).await;
}

/// Offsets of the records in front of an error, which must be the last line.
fn told_before_the_error(answer: &Answer) -> Vec<u64> {
    let mut lines = lines(answer);
    let last = lines.pop().unwrap();
    assert_eq!(last["error"]["type"], "/problems/unavailable", "{last}");
    let offsets = lines.iter().map(|row| row["offset"].as_u64().unwrap());
    offsets.collect()
}

#[tokio::test(start_paused = true)]
async fn a_stream_out_that_cannot_go_on_to_its_end_says_so() {
    let get = || Request::get(PARTITION).header(header::ACCEPT, "application/x-ndjson");
    let damaged = World::new();
    five_records(&damaged).await;
    *damaged.log.damaged.lock().unwrap() = Some(2);
    let lagging = World::new();
    five_records(&lagging).await;
    *lagging.log.unheard.lock().unwrap() = 2;

    let damaged = damaged.send(get(), "").await;
    let lagging = lagging.send(get(), "").await;

    assert_eq!(told_before_the_error(&damaged), [0, 1]);
    assert_eq!(told_before_the_error(&lagging), [0, 1, 2]);
}
