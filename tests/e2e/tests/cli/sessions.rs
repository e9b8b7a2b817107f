//! Sessions at a prompt, against Esker: tables, JSON, errors and exit codes as kept.

use std::time::Duration;

use anyhow::ensure;
use esker_e2e::{StoreKind, TestStore, proved};
use esker_env::Env;

use crate::transcript::Transcript;

/// Lines `k1:v1` to `k6:v6`: three partitions get some each.
fn lines() -> String {
    let lines = (1..=6).map(|number| format!("k{number}:v{number}\n"));
    lines.collect()
}

#[tokio::test]
async fn topics_and_groups() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let mut at = Transcript::with(esker.kafka);

    at.run("topic create orders --partitions 3 --config retention.ms=60000")
        .await?;
    at.run("topic create clicks -o json").await?;
    at.run("topic list").await?;
    at.run("topic list -o json").await?;
    at.feed("produce orders --key-separator :", &lines())
        .await?;
    at.run("topic describe orders").await?;
    at.run("topic describe orders -o json").await?;
    at.run("config describe topic orders").await?;
    at.run("config describe topic orders -o json").await?;
    at.run("group list").await?;
    at.run("consume orders --partition 0 --group readers")
        .await?;
    at.run("group list").await?;
    at.run("group describe readers").await?;
    at.run("group describe readers -o json").await?;
    at.run("topic delete clicks").await?;
    at.run("topic list").await?;

    at.is_as_kept("topics-and-groups.txt")?;
    proved("topics, configs and groups: tables and JSON are as kept");
    Ok(())
}

#[tokio::test]
async fn records_there_and_back() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let mut at = Transcript::with(esker.kafka);
    at.run("topic create words").await?;

    let json = concat!(
        r#"{"timestamp":1000,"key":"k","value":"one","headers":[{"name":"h","value":"x"}]}"#,
        "\n",
        r#"{"timestamp":2000,"value":{"base64":"/wA="}}"#,
        "\n",
        r#"{"timestamp":3000,"key":"gone","value":null}"#,
        "\n",
    );
    at.feed("produce words --input json", json).await?;
    at.feed(
        "produce words --value-format hex --key k4 -H a=b",
        "66 6f\n",
    )
    .await?;
    at.feed(
        "produce words --value-format hex --key k4 -H a=b",
        "666f6f\n",
    )
    .await?;
    let document = "{ \"a\": [1, 2] }\n";
    at.feed("produce words --value-format json", document)
        .await?;
    at.run("consume words --until 3 -o json").await?;
    at.run("consume words --from @2000 --until @3000 --format %o/%T:%V")
        .await?;
    at.run("consume words --from -2 --value-format json --format %o=%v\\n")
        .await?;
    at.run("consume words --from 4 -o json --value-format json")
        .await?;
    at.run("consume words -n 2 --value-format base64 --key-format hex")
        .await?;
    at.run("consume words -n 1 --header-format hex --format %h\\n")
        .await?;
    at.run("consume words --from latest").await?;

    at.is_as_kept("records.txt")?;
    // What consume writes, produce reads: the same records, byte for byte.
    let written = at.run("consume words -o json").await?.out();
    at.run("topic create copy").await?;
    at.feed("produce copy --input json", &written).await?;
    let copied = at.run("consume copy -o json").await?.out();
    let copied = copied.replace("\"topic\":\"copy\"", "\"topic\":\"words\"");
    ensure!(copied == written, "{copied}\nis not\n{written}");
    proved("records by offset, time and tail, in text, JSON, base64 and hex, there and back");
    Ok(())
}

#[tokio::test]
async fn offsets_by_time_and_of_groups() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let mut at = Transcript::with(esker.kafka);
    at.run("topic create orders --partitions 2").await?;
    let record = |time: u32| format!("{{\"timestamp\":{time},\"value\":\"v\"}}\n");
    let records: String = (1..=4).map(|time| record(time * 1000)).collect();
    at.feed("produce orders --input json --partition 0", &records)
        .await?;

    at.run("offsets topic orders").await?;
    at.run("offsets topic orders -o json -p 0").await?;
    at.run("offsets topic orders --at 2500").await?;
    at.run("offsets topic orders --at 1970-01-01T00:01:00Z -o json")
        .await?;
    at.run("offsets reset readers --to-earliest").await?;
    at.run("offsets reset readers --to-latest --topic orders --dry-run")
        .await?;
    at.run("offsets group readers").await?;
    at.run("offsets reset readers --to-latest --topic orders")
        .await?;
    at.run("offsets reset readers --shift-by -3 -p 0").await?;
    at.run("offsets group readers").await?;
    at.run("offsets reset readers --to-datetime 1970-01-01T00:00:03Z -o json -p 0")
        .await?;
    at.run("offsets reset readers --to-offset 99 -p 0").await?;
    at.run("offsets group readers -o json").await?;
    at.run("offsets delete readers --topic orders -p 1 --dry-run")
        .await?;
    at.run("offsets delete readers --topic other").await?;

    at.is_as_kept("offsets.txt")?;
    proved("offsets by time, and of groups: shown, reset, shifted, dry runs change nothing");
    Ok(())
}

#[tokio::test]
async fn errors_say_what_was_tried_what_happened_and_what_to_do() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let mut at = Transcript::with(esker.kafka);
    at.run("topic create orders").await?;

    at.run("topic create orders").await?;
    at.run("topic describe nowhere").await?;
    at.run("topic delete nowhere").await?;
    at.run("consume nowhere").await?;
    at.run("consume orders --partition 7").await?;
    at.run("consume orders --from soon").await?;
    at.run("group describe nobody").await?;
    at.run("offsets group nobody").await?;
    at.run("config describe topic nowhere").await?;
    at.run("config describe broker 7").await?;
    at.feed("produce orders --input json", "{}\nno record\n")
        .await?;
    at.feed("produce orders --value-format base64", "===\n")
        .await?;
    at.run("produce orders --input json --key-separator :")
        .await?;
    at.run("produce orders --from /no/such/file").await?;
    at.run("bench consume --topic nowhere").await?;
    at.run("topic list --bootstrap 127.0.0.1:1").await?;
    at.run("topic list --bootstrap nowhere").await?;

    at.is_as_kept("errors.txt")?;
    proved("17 mistakes: each is told with its exit code and what to do");
    Ok(())
}

#[tokio::test]
async fn following_waits_for_records_and_a_group_goes_on_where_it_stopped() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let produce = async |lines: &str| {
        let mut at = Transcript::with(esker.kafka);
        at.feed("produce news", lines).await
    };
    produce("one\ntwo\n").await?;
    let mut following = Transcript::with(esker.kafka);
    let mut group = Transcript::with(esker.kafka);

    let follow = following.run("consume news --follow -n 4 --format %o=%v\\n");
    let later = async {
        Env::system().clock.sleep(Duration::from_millis(800)).await;
        produce("three\nfour\nfive\n").await
    };
    let (followed, produced) = tokio::join!(follow, later);
    produced?;
    let first = group.run("consume news --group readers -n 2").await?.out();
    let rest = group.run("consume news --group readers").await?.out();
    let none = group.run("consume news --group readers").await?.out();

    let followed = followed?.out();
    ensure!(followed == "0=one\n1=two\n2=three\n3=four\n", "{followed}");
    ensure!((first.as_str(), rest.as_str()) == ("one\ntwo\n", "three\nfour\nfive\n"));
    ensure!(none.is_empty(), "{none}");
    proved("consume --follow waits for records; a group goes on where it stopped");
    Ok(())
}
