//! Apache Kafka's command-line tools and a sarama program, as their users run them.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use esker_e2e::{KafkaTools, Kcat, Program, StoreKind, proved};
use esker_testkit::bootstrapped;

use crate::placement::keyed_lines;
use crate::start;

const TOPIC: &str = "java-quickstart";
const GROUP: &str = "java-group";
/// Per tool of sarama and codec.
const SARAMA_RECORDS: &str = "40";

/// A line of the console consumer: `Partition:3`, `Offset:0`, key, value, with tabs between.
fn parse_printed(line: &str) -> Option<(i32, i64, Vec<u8>, Vec<u8>)> {
    let mut words = line.split('\t');
    let partition = words.next()?.strip_prefix("Partition:")?.parse().ok()?;
    let offset = words.next()?.strip_prefix("Offset:")?.parse().ok()?;
    let key = words.next()?.as_bytes().to_vec();
    Some((partition, offset, key, words.next()?.as_bytes().to_vec()))
}

async fn create_and_describe(tools: &KafkaTools) -> anyhow::Result<()> {
    let create = ["--create", "--topic", TOPIC, "--partitions", "7"];
    let created = tools.succeed("TopicCommand", &create).await?;
    ensure!(
        created.out().contains("Created topic"),
        "{}",
        created.tell()
    );
    let described = tools
        .succeed("TopicCommand", &["--describe", "--topic", TOPIC])
        .await?;
    let out = described.out();
    ensure!(out.contains("PartitionCount: 7"), "{}", described.tell());
    ensure!(
        out.matches("Leader: 1").count() == 7,
        "{}",
        described.tell()
    );
    Ok(())
}

/// What the console consumer printed equals what was produced, and is what kcat reads.
async fn consume(tools: &KafkaTools, kcat: &Kcat, count: usize) -> anyhow::Result<()> {
    let most = count.to_string();
    let arguments = [
        "--topic",
        TOPIC,
        "--from-beginning",
        "--group",
        GROUP,
        "--max-messages",
        &most,
        "--timeout-ms",
        "60000",
        "--formatter-property",
        "print.key=true",
        "--formatter-property",
        "print.partition=true",
        "--formatter-property",
        "print.offset=true",
    ];
    let ran = tools
        .succeed("consumer.ConsoleConsumer", &arguments)
        .await?;
    let out = ran.out();
    let printed = out
        .lines()
        .map(|line| parse_printed(line).context(line.to_owned()));
    let mut printed = printed
        .collect::<anyhow::Result<Vec<_>>>()
        .with_context(|| ran.tell())?;
    printed.sort();
    let read = kcat.consume(TOPIC, "beginning", &[]).await?;
    let row = |row: esker_e2e::KcatRecord| {
        let (key, value) = (row.key.unwrap_or_default(), row.value.unwrap_or_default());
        (row.partition, row.offset, key, value)
    };
    let mut read: Vec<_> = read.into_iter().map(row).collect();
    read.sort();
    ensure!(
        printed == read,
        "console consumer and kcat differ:\n{printed:?}\n{read:?}"
    );
    let mut values: Vec<_> = printed.into_iter().map(|row| (row.2, row.3)).collect();
    let mut wanted = keyed_lines(count);
    values.sort();
    wanted.sort();
    ensure!(values == wanted, "not what was produced: {values:?}");
    Ok(())
}

/// Group and topic sizes as Kafka's tools see them.
async fn inspect(tools: &KafkaTools, count: usize) -> anyhow::Result<()> {
    let class = "consumer.group.ConsumerGroupCommand";
    let described = tools
        .succeed(class, &["--describe", "--group", GROUP])
        .await?;
    let out = described.out();
    let rows = out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows = rows.filter(|row| row.first() == Some(&GROUP));
    // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG …
    let lags: Vec<_> = rows
        .map(|row| row.get(5).copied().unwrap_or_default())
        .collect();
    ensure!(
        lags.len() == 7 && lags.iter().all(|lag| *lag == "0"),
        "{}",
        described.tell()
    );
    let groups = tools.succeed(class, &["--list"]).await?;
    ensure!(
        groups.out().lines().any(|line| line == GROUP),
        "{}",
        groups.tell()
    );
    let offsets = tools.succeed("GetOffsetShell", &["--topic", TOPIC]).await?;
    let out = offsets.out();
    let ends = out
        .lines()
        .filter_map(|line| line.rsplit(':').next()?.parse::<usize>().ok());
    ensure!(ends.sum::<usize>() == count, "{}", offsets.tell());
    Ok(())
}

pub(crate) async fn kafka_tools(kind: StoreKind) -> anyhow::Result<()> {
    let (_store, esker) = start(kind).await?;
    let (tools, kcat) = (KafkaTools::new(esker.kafka)?, Kcat::new(esker.kafka));
    let count = 300;

    create_and_describe(&tools).await?;
    let mut input = Vec::new();
    for (key, value) in keyed_lines(count) {
        input.extend([key, b"|".to_vec(), value, b"\n".to_vec()].concat());
    }
    let keyed = ["--topic", TOPIC, "--reader-property", "parse.key=true"];
    let producer = tools.tool("ConsoleProducer", &keyed);
    let producer = producer.args(["--reader-property", "key.separator=|"]);
    producer.stdin(input).succeed().await?;
    consume(&tools, &kcat, count).await?;
    inspect(&tools, count).await?;
    // The keys that Java placed, before the topic goes.
    crate::placement::same_as_java(&esker, TOPIC, count).await?;
    tools
        .succeed("TopicCommand", &["--delete", "--topic", TOPIC])
        .await?;
    let left = tools.succeed("TopicCommand", &["--list"]).await?;
    ensure!(
        !left.out().lines().any(|line| line == TOPIC),
        "{}",
        left.tell()
    );

    proved(&format!(
        "{kind:?}: TopicCommand create, describe, delete and list, ConsoleProducer, \
         ConsoleConsumer, ConsumerGroupCommand and GetOffsetShell of Apache Kafka 4.3.1, \
         unmodified: {count} keyed records exact, lag 0 on 7 partitions, every key where \
         Kafka's producer put it"
    ));
    Ok(())
}

pub(crate) async fn sarama(kind: StoreKind) -> anyhow::Result<()> {
    let (_store, esker) = start(kind).await?;
    let program = bootstrapped("bin/sarama-quickstart", "sarama")?;
    let bootstrap = esker.kafka.to_string();
    let mut said = BTreeMap::new();

    for version in ["default", "max"] {
        let topic = format!("sarama-{version}");
        let arguments = [&bootstrap, topic.as_str(), version, SARAMA_RECORDS];
        let ran = Program::new(&program).args(arguments).succeed().await?;
        said.insert(version, ran.out().trim().to_owned());
    }

    ensure!(
        said.values().all(|line| line.starts_with("OK ")),
        "{said:?}"
    );
    proved(&format!(
        "{kind:?}: sarama creates, produces with 5 codecs, consumes: {said:?}"
    ));
    Ok(())
}
