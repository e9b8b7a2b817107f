//! The served OpenAPI document, held against the server by schemathesis.

use std::time::Duration;

use esker_e2e::{Program, bootstrapped, proved};

use crate::start;

/// Fixed, so that a run can be repeated.
const SEED: &str = "20260727";

/// What is there, so that more than refusals is seen; what is deleted is something else.
fn settings(cluster: &str) -> String {
    format!(
        r#"[parameters]
"path.cluster_id" = "{cluster}"
"path.partition" = 0
"path.partition_id" = 0
"path.name" = "t"
"path.topic_name" = "t"
"path.config_name" = "retention.ms"

[[operations]]
include-method = "DELETE"
parameters = {{ "path.name" = "gone", "path.topic_name" = "gone" }}

# A record that cannot be has a report of its own, with status 200.
[[operations]]
include-path = "/v3/clusters/{{cluster_id}}/topics/{{topic_name}}/records"
checks.negative_data_rejection.enabled = false
"#
    )
}

#[tokio::test]
async fn schemathesis_finds_no_answer_that_the_description_does_not_tell() -> anyhow::Result<()> {
    let (store, esker, api) = start().await?;
    api.create_topic("t", 3).await?;
    let schemathesis = bootstrapped("schemathesis/bin/schemathesis", "schemathesis")?;

    let cluster = esker_e2e::cluster_id(esker.kafka).await?;
    std::fs::write(store.path().join("schemathesis.toml"), settings(&cluster))?;

    let ran = Program::new(schemathesis)
        .args([
            "run",
            &api.url("/openapi.json"),
            "--seed",
            SEED,
            "--max-examples",
            "20",
        ])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--workers",
            "1",
            "--no-color",
        ])
        .args(["--request-timeout", "20"])
        // A name of any letters is looked up, and not found: its own refusal.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .directory(store.path())
        .limit(Duration::from_secs(600))
        .succeed()
        .await?;

    let out = ran.out();
    let told = out.lines().rev().take(12).collect::<Vec<_>>();
    let told: Vec<_> = told.into_iter().rev().collect();
    proved(&format!("schemathesis, seed {SEED}:\n{}", told.join("\n")));
    Ok(())
}
