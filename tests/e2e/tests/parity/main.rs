//! The same workload and questions for Esker and for Apache Kafka 4.3.1: equal answers, but for the
//! differences that docs/kafka-differences.md states. A stated one that is none any more fails too.

mod groups;
mod logs;
mod notes;
mod producers;
mod settings;
mod topics;

use std::collections::BTreeSet;

use anyhow::ensure;
use esker_e2e::{KafkaBroker, StoreKind, TestStore, proved};
use esker_env::Env;
use esker_kafka::client::Client;

use notes::Notes;

const DIFFERENCES: &str = include_str!("../../../../docs/kafka-differences.md");

/// Asks one broker everything.
async fn observe(address: &str) -> anyhow::Result<Notes> {
    let client = Client::connect(address, "parity", Env::system()).await?;
    let mut notes = Notes::default();
    topics::observe(&client, &mut notes).await?;
    logs::observe(&client, &mut notes).await?;
    producers::observe(&client, &mut notes).await?;
    settings::observe(&client, &mut notes).await?;
    groups::observe(&client, &mut notes).await?;
    Ok(notes)
}

/// Questions whose answers may differ: first cells, in backticks, of the page's tables.
fn intended() -> Vec<&'static str> {
    let rows = DIFFERENCES
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`').map(|(question, _)| question))
        .collect()
}

#[tokio::test]
async fn answers_equal_those_of_apache_kafka_but_for_the_stated_differences() -> anyhow::Result<()>
{
    let directory = tempfile::tempdir()?;
    let store = TestStore::start(StoreKind::Directory).await?;
    let (esker, reference) = tokio::try_join!(store.esker(), KafkaBroker::start(directory.path()))?;

    let ours = observe(&esker.kafka.to_string()).await?;
    let theirs = observe(&reference.kafka.to_string()).await?;

    let intended = intended();
    let mut unused: BTreeSet<&str> = intended.iter().copied().collect();
    let mut unintended = Vec::new();
    let differences = ours.differences(&theirs);
    for difference in &differences {
        let excuse = intended.iter().find(|stated| difference.is_about(stated));
        match excuse {
            Some(stated) => {
                unused.remove(stated);
            }
            None => unintended.push(difference.to_string()),
        }
    }
    ensure!(
        unintended.is_empty(),
        "answers differ from Apache Kafka's and docs/kafka-differences.md does not say so:\n{}",
        unintended.join("\n")
    );
    ensure!(
        unused.is_empty(),
        "stated, but no difference any more: {unused:?}"
    );
    proved(&format!(
        "{} answers equal Apache Kafka's, {} differ as stated",
        ours.count() - differences.len(),
        differences.len()
    ));
    Ok(())
}
