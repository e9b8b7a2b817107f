//! The same commands against Apache Kafka's own broker: what only it serves, and what both do.

use anyhow::ensure;
use esker_e2e::{KafkaBroker, proved};

use crate::transcript::Transcript;

#[tokio::test]
async fn every_command_works_against_apache_kafka() -> anyhow::Result<()> {
    let directory = tempfile::TempDir::with_prefix("esker-e2e-kafka-")?;
    let broker = KafkaBroker::start(directory.path()).await?;
    let mut at = Transcript::with(broker.kafka);

    at.run("topic create orders --partitions 2 --config retention.ms=60000")
        .await?;
    let dry = "config alter topic orders --set retention.ms=1000 --delete max.message.bytes";
    at.run(&format!("{dry} --dry-run")).await?;
    at.run("config describe topic orders").await?;
    at.run("config alter topic orders --set retention.ms=1000")
        .await?;
    at.run("config alter topic orders --append cleanup.policy=compact -o json")
        .await?;
    at.run("config describe topic orders -o json").await?;
    at.run("config alter topic orders --delete retention.ms --subtract cleanup.policy=delete")
        .await?;
    at.run("config describe topic orders").await?;
    at.run("config alter topic orders --set nonsense=1").await?;
    at.run("config alter broker 1 --set log.cleaner.threads=2")
        .await?;
    at.run("config alter broker 7 --set log.cleaner.threads=2")
        .await?;
    let json = "{\"timestamp\":1000,\"value\":\"v\"}\n{\"timestamp\":2000,\"value\":\"w\"}\n";
    at.run("topic create plain --partitions 2").await?;
    at.feed("produce plain --input json -p 0", json).await?;
    at.feed("produce orders --input json -p 0", json).await?;
    at.run("consume plain -o json").await?;
    at.run("offsets topic plain --at 1500").await?;
    at.run("offsets reset readers --to-latest --topic plain")
        .await?;
    at.run("offsets reset readers --shift-by -1 -p 0").await?;
    at.run("offsets delete readers --topic plain -p 1").await?;
    at.run("offsets group readers").await?;
    at.run("group describe readers").await?;
    at.run("group delete readers").await?;
    at.run("group delete readers").await?;
    at.run("group list").await?;

    at.is_as_kept("apache-kafka.txt")?;
    let described = at.run("config describe broker 1").await?.out();
    ensure!(described.contains("log.cleaner.threads"), "{described}");
    let bench = "bench end-to-end --rate 200 --duration 2 --warmup 1 -o json";
    let bench = at.run(bench).await?;
    ensure!(bench.status.success(), "{}", bench.tell());
    ensure!(
        bench.out().contains("\"is_complete\": true"),
        "{}",
        bench.tell()
    );
    proved("config alter, offsets delete, group delete, bench against Apache Kafka 4.3.1");
    Ok(())
}
