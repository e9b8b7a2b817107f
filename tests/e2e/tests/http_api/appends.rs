//! Idempotency keys and conditional appends, with kill -9 in between; Confluent's endpoint.

use anyhow::{Context as _, ensure};
use esker_e2e::{HttpApi, HttpRecord, Kcat, Program, StoreKind, TestStore, proved};
use esker_testkit::EskerProcess;
use serde_json::{Value, json};

use crate::start;

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

async fn again(
    store: &TestStore,
    esker: &mut EskerProcess,
) -> anyhow::Result<(EskerProcess, HttpApi)> {
    esker.kill9()?;
    let esker = store.esker().await?;
    let api = HttpApi::new(esker.http);
    Ok((esker, api))
}

async fn count(api: &HttpApi, topic: &str) -> anyhow::Result<u64> {
    let described = api.get(&format!("/api/v1/topics/{topic}")).await?.body;
    let rows = described["partition_offsets"]
        .as_array()
        .context("no partitions")?;
    Ok(rows
        .iter()
        .filter_map(|row| row["high_watermark"].as_u64())
        .sum())
}

async fn keyed_append(kind: StoreKind) -> anyhow::Result<()> {
    let store = TestStore::start(kind).await?;
    let mut esker = store.esker().await?;
    let mut api = HttpApi::new(esker.http);
    api.create_topic("t", 3).await?;
    let path = "/api/v1/topics/t/records";
    let body = json!({"records": [{"value": "no key"}, {"key": "a", "value": "1"},
        {"key": "b", "value": "2"}, {"partition": 2, "value": "3"}]})
    .to_string();
    let other = json!({"records": [{"partition": 2, "value": "4"}]}).to_string();
    let key = ("idempotency-key", "order 4711");

    let first = api.post_with(path, &[key], body.clone()).await?;
    ensure!(first.status == 200, "{first:?}");
    let mut repeats = Vec::new();
    for _ in 0..3 {
        repeats.push(api.post_with(path, &[key], body.clone()).await?);
        api.post_with(path, &[], body.clone()).await?;
        (esker, api) = again(&store, &mut esker).await?;
        repeats.push(api.post_with(path, &[key], body.clone()).await?);
    }
    let reused = api.post_with(path, &[key], other).await?;

    for repeat in &repeats {
        ensure!(repeat.body == first.body, "{repeat:?} is not {first:?}");
    }
    ensure!(reused.status == 422, "{reused:?}");
    ensure!(
        reused.body["type"] == "/problems/idempotency-key-reused",
        "{reused:?}"
    );
    ensure!(
        count(&api, "t").await? == 4 + 3 * 4,
        "each append is there once"
    );
    esker.kill9()?;
    proved(&format!(
        "{kind:?}: an append repeated 6 times over 3 kill -9 answers with its first offsets"
    ));
    Ok(())
}

#[tokio::test]
async fn a_repeated_append_answers_with_the_first_offsets_after_kill_9_on_a_directory()
-> anyhow::Result<()> {
    keyed_append(StoreKind::Directory).await
}

#[tokio::test]
async fn a_repeated_append_answers_with_the_first_offsets_after_kill_9_on_seaweedfs()
-> anyhow::Result<()> {
    keyed_append(StoreKind::Seaweed).await
}

#[tokio::test]
async fn a_stream_with_a_key_that_broke_off_is_sent_again_and_each_record_is_there_once()
-> anyhow::Result<()> {
    let (store, mut esker, mut api) = start().await?;
    api.create_topic("t", 2).await?;
    let lines = (0..20_000).map(|number| format!("{{\"key\":\"{number}\",\"value\":\"v\"}}\n"));
    let body: String = lines.collect();
    let headers = [NDJSON, ("idempotency-key", "upload 1")];
    let path = "/api/v1/topics/t/records";

    for round in 1..=3 {
        // Ends in the middle of a line somewhere, and the process dies.
        let part = body
            .as_bytes()
            .get(..body.len() * round / 4)
            .context("a part")?;
        api.post_with(path, &headers, part).await?;
        (esker, api) = again(&store, &mut esker).await?;
    }
    let whole = api.post_with(path, &headers, body.clone()).await?;
    let repeat = api.post_with(path, &headers, body).await?;

    let last = whole.text.lines().last().context("no line")?;
    let last: Value = serde_json::from_str(last)?;
    ensure!(last == json!({"done": true, "records": 20_000}), "{last}");
    ensure!(whole.text == repeat.text, "a repeat is answered alike");
    let count = count(&api, "t").await?;
    ensure!(count == 20_000, "{count} records");
    esker.kill9()?;
    proved("an NDJSON upload broken off three times, with kill -9 between: each record once");
    Ok(())
}

#[tokio::test]
async fn nothing_of_a_stream_is_in_the_log_behind_a_chunk_that_was_refused() -> anyhow::Result<()> {
    let (_store, _esker, api) = start().await?;
    api.create_topic("t", 1).await?;
    let headers = [NDJSON, ("idempotency-key", "upload 2")];
    let path = "/api/v1/topics/t/records";
    // Chunks of a keyed stream are cut at so many records.
    let chunk = |value: &str| format!("{{\"value\":\"{value}\"}}\n").repeat(4000);
    let (first, second, other) = (chunk("first"), chunk("second"), chunk("other"));

    let sent = format!("{first}{second}");
    let sent = api.post_with(path, &headers, sent).await?;
    // The second chunk differs from what its key stands for, and more follow it.
    let differs = format!("{first}{other}{second}{second}");
    let differs = api.post_with(path, &headers, differs).await?;
    let count = count(&api, "t").await?;

    ensure!(sent.text.contains("\"records\":8000"), "{}", sent.text);
    let last: Value = serde_json::from_str(differs.text.lines().last().context("no line")?)?;
    ensure!(
        last["error"]["type"] == "/problems/idempotency-key-reused",
        "{last}"
    );
    ensure!(count == 8000, "{count} records");
    proved("a keyed stream whose second chunk is refused: none of its later chunks is in the log");
    Ok(())
}

#[tokio::test]
async fn an_append_that_was_answered_is_in_the_next_page() -> anyhow::Result<()> {
    let (_store, _esker, api) = start().await?;
    api.create_topic("t", 1).await?;
    // Each append is an extent, and one look-up gives 256: a page of more may be short when the
    // process has lost its feed, as one that is starved of processor time does.
    let rounds = 250;
    for round in 0..rounds {
        let record = HttpRecord::new(None, Some(b"v"));
        api.append("t", Some(0), &[record]).await?;
        let query = match round % 3 {
            0 => format!("offset={round}"),
            1 => "tail=1".to_owned(),
            _ => "limit=10000".to_owned(),
        };

        let read = api.read("t", 0, &query).await?;

        let last = read.last().map(|record| record.offset);
        ensure!(last == Some(round), "round {round}, {query}: {last:?}");
    }
    proved(&format!(
        "{rounds} records, each read at once after its append was answered, without a wait"
    ));
    Ok(())
}

#[tokio::test]
async fn of_many_writers_that_expect_the_same_end_one_wins_each_round() -> anyhow::Result<()> {
    let (_store, _esker, api) = start().await?;
    api.create_topic("t", 1).await?;
    let path = |end: u64| format!("/api/v1/topics/t/partitions/0/records?expected_offset={end}");
    let rounds = 10;
    for round in 0..rounds {
        let writers = (0..8).map(|writer| {
            let (api, path) = (api.clone(), path(round));
            async move {
                let body = json!({"records": [{"value": format!("{round} {writer}")}]});
                api.post(&path, &body).await
            }
        });
        let answers = futures::future::try_join_all(writers).await?;
        let won: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == 200)
            .collect();
        ensure!(won.len() == 1, "round {round}: {answers:?}");
        ensure!(
            won.iter()
                .all(|one| one.body["records"][0]["offset"] == round),
            "{won:?}"
        );
        for lost in answers.iter().filter(|answer| answer.status != 200) {
            ensure!(
                lost.status == 412 && lost.body["end_offset"] == round + 1,
                "{lost:?}"
            );
        }
    }
    let early = api
        .post(&path(rounds + 1), &json!({"records": [{"value": "x"}]}))
        .await?;
    let read = api.read("t", 0, "from=earliest").await?;

    ensure!(early.status == 412, "{early:?}");
    ensure!(read.len() == usize::try_from(rounds)?, "{read:?}");
    proved(&format!(
        "{rounds} rounds of 8 writers with one expected_offset: one record a round"
    ));
    Ok(())
}

#[tokio::test]
async fn confluents_producers_stream_records_that_kafka_clients_read() -> anyhow::Result<()> {
    let (_store, esker, api) = start().await?;
    api.create_topic("orders", 1).await?;
    let clusters = api.get("/v3/clusters").await?.body;
    let cluster = clusters["data"][0]["cluster_id"]
        .as_str()
        .context("no cluster")?;
    ensure!(
        cluster == esker_e2e::cluster_id(esker.kafka).await?,
        "{cluster}"
    );
    let url = api.url(&format!(
        "/kafka/v3/clusters/{cluster}/topics/orders/records"
    ));
    let record = |number: u32| {
        let value = json!({"type": "JSON", "data": {"number": number}});
        let key = json!({"type": "BINARY", "data": "a2V5"});
        json!({"key": key, "value": value}).to_string()
    };
    let body: String = (0..500).map(record).collect();

    // As Confluent's documentation has it: chunked, concatenated JSON.
    let ran = Program::new("curl")
        .args(["-sS", "-X", "POST", "-H", "Transfer-Encoding: chunked"])
        .args(["-H", "Content-Type: application/json", "-T", "-", &url])
        .stdin(body)
        .succeed()
        .await?;
    let out = ran.out();
    let reports: Vec<Value> = serde_json::Deserializer::from_str(&out)
        .into_iter()
        .collect::<Result<_, _>>()?;
    let read = Kcat::new(esker.kafka)
        .consume("orders", "beginning", &[])
        .await?;

    ensure!(reports.len() == 500, "{} reports: {out}", reports.len());
    for (report, offset) in reports.iter().zip(0_u64..) {
        ensure!(
            report["error_code"] == 200 && report["offset"] == offset,
            "{report}"
        );
    }
    let last = read.last().context("nothing read")?;
    ensure!(read.len() == 500, "{} records", read.len());
    ensure!(
        last.value.as_deref() == Some(&b"{\"number\":499}"[..]),
        "{last:?}"
    );
    ensure!(last.key.as_deref() == Some(&b"key"[..]), "{last:?}");
    proved("curl streamed 500 records to the v3 endpoint; kcat read them");
    Ok(())
}

#[tokio::test]
async fn offsets_of_a_group_are_set_reset_and_seen() -> anyhow::Result<()> {
    let (_store, _esker, api) = start().await?;
    api.create_topic("t", 2).await?;
    for _ in 0..4 {
        let body = json!({"records": [{"partition": 0, "value": "x"}]});
        api.post("/api/v1/topics/t/records", &body).await?;
    }
    let reset = "/api/v1/groups/g/offsets/reset";

    let dry = api
        .post(
            reset,
            &json!({"topic": "t", "to": "latest", "dry_run": true}),
        )
        .await?;
    let none = api.get("/api/v1/groups/g/offsets").await?;
    let done = api
        .post(
            reset,
            &json!({"topic": "t", "partitions": [0], "to": {"timestamp": 0}}),
        )
        .await?;
    let stored = api.get("/api/v1/groups/g/offsets").await?;
    let groups = api.get("/api/v1/groups").await?;

    ensure!(dry.body["partitions"][0]["offset"] == 4, "{dry:?}");
    ensure!(none.body == json!({"offsets": []}), "{none:?}");
    ensure!(done.status == 200, "{done:?}");
    ensure!(stored.body["offsets"][0]["lag"] == 4, "{stored:?}");
    ensure!(groups.body["groups"][0]["group"] == "g", "{groups:?}");
    Ok(())
}
