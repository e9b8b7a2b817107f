//! A cluster in a network of namespaces: each role killed, stopped and cut off under load, one
//! round of what `make cluster-faults` does in ten. Says aloud, with a count, what cannot be
//! played here.

use std::time::Duration;

use anyhow::ensure;
use esker_e2e::{Program, proved};
use esker_testkit::built;

/// Of one round, on two cores beside other work.
const WITHIN: Duration = Duration::from_secs(240);

#[tokio::test]
async fn faults_of_each_role_lose_and_double_nothing_and_no_end_falls() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let json = directory.path().join("cluster.json");
    let program = Program::new(built("esker-faults")?);
    let program = program.args(["--cluster", "1", "--json"]).args([&json]);

    let ran = program.limit(WITHIN).succeed().await?;

    let told: serde_json::Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    if told["skipped"] == 9 {
        proved(&format!(
            "NOTHING: 9 episodes skipped, {}",
            told["why_skipped"]
        ));
        return Ok(());
    }
    let parts = told["parts"].as_array().map_or(&[][..], Vec::as_slice);
    ensure!(parts.len() == 1, "{}", ran.tell());
    for part in parts {
        ensure!(part["episodes"].as_array().map(Vec::len) == Some(9));
        for count in ["lost", "duplicates", "ends_fallen", "anomalies"] {
            ensure!(part[count] == 0, "{count}: {}", ran.tell());
        }
    }
    proved(&format!("{}\n{}", ran.err(), ran.out()));
    Ok(())
}
