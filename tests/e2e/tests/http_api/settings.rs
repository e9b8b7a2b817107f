//! Settings of a topic: changed over HTTP, seen over Kafka's protocol, and the other way round.

use anyhow::ensure;
use esker_e2e::{HttpApi, Program, proved};
use esker_testkit::{EskerProcess, esker_binary};
use serde_json::{Value, json};

use crate::start;

const PATH: &str = "/api/v1/topics/t/configs";

/// The command line against the server, over Kafka's protocol.
async fn config(esker: &EskerProcess, arguments: &[&str]) -> anyhow::Result<String> {
    let bootstrap = esker.kafka.to_string();
    let ran = Program::new(esker_binary()?)
        .args(["config"])
        .args(arguments)
        .args(["--bootstrap", &bootstrap, "-o", "json"])
        .succeed()
        .await?;
    Ok(ran.out())
}

async fn value(api: &HttpApi, name: &str) -> anyhow::Result<Value> {
    let shown = api.get(PATH).await?.body;
    let rows = shown["configs"].as_array().cloned().unwrap_or_default();
    let row = rows.into_iter().find(|row| row["name"] == name);
    Ok(row.unwrap_or_default()["value"].clone())
}

#[tokio::test]
async fn settings_changed_over_http_hold_for_all_and_are_seen_over_kafka() -> anyhow::Result<()> {
    let (_store, esker, api) = start().await?;
    api.create_topic("t", 1).await?;
    let small = json!({"configs": {"max.message.bytes": "1000", "retention.ms": "60000"}});

    let changed = api.patch(PATH, &small).await?;
    let described = config(&esker, &["describe", "topic", "t"]).await?;
    let record = json!({"records": [{"value": "v".repeat(2000)}]});
    let large = api.post("/api/v1/topics/t/records", &record).await?;
    let alteration = ["alter", "topic", "t", "--set", "retention.ms=70000"];
    config(&esker, &alteration).await?;
    let altered = value(&api, "retention.ms").await?;
    let wrong = json!({"configs": {"max.message.bytes": "-1"}});
    let wrong = api.patch(PATH, &wrong).await?;
    let back = api
        .patch(PATH, &json!({"configs": {"max.message.bytes": null}}))
        .await?;
    let fits = api.post("/api/v1/topics/t/records", &record).await?;

    ensure!(changed.status == 200, "{changed:?}");
    ensure!(described.contains("60000"), "{described}");
    ensure!(large.status == 413, "{large:?}");
    ensure!(altered == "70000", "{altered}");
    ensure!(
        wrong.status == 400 && wrong.text.contains("max.message.bytes"),
        "{wrong:?}"
    );
    ensure!(
        back.status == 200 && fits.status == 200,
        "{back:?} {fits:?}"
    );
    proved("settings changed by PATCH are in force, described over Kafka, and altered there");
    Ok(())
}

#[tokio::test]
async fn of_many_clients_that_change_settings_at_once_none_undoes_another() -> anyhow::Result<()> {
    let (_store, _esker, api) = start().await?;
    api.create_topic("t", 1).await?;
    let settings = [
        ("retention.ms", "60001"),
        ("retention.bytes", "60002"),
        ("segment.ms", "60003"),
        ("delete.retention.ms", "60004"),
    ];
    let changes = settings.map(|(name, value)| {
        let (api, body) = (api.clone(), json!({"configs": {name: value}}));
        async move { api.patch(PATH, &body).await }
    });

    let answers = futures::future::try_join_all(changes).await?;

    for (answer, (name, expected)) in answers.iter().zip(settings) {
        ensure!(answer.status == 200, "{answer:?}");
        let found = value(&api, name).await?;
        ensure!(found == expected, "{name}: {found}");
    }
    Ok(())
}
