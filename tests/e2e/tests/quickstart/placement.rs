//! Keys go to the partitions that Apache Kafka's producer chooses, whoever writes them.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use esker_e2e::{HttpApi, HttpRecord, Kcat, StoreKind, esker, proved};
use esker_testkit::EskerProcess;

use crate::start;

const PARTITIONS: u32 = 7;

/// Partition of each key.
type Places = BTreeMap<Vec<u8>, i32>;

/// Keys of many lengths, with letters beyond ASCII, and a value each.
pub(crate) fn keyed_lines(count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let line = |number: usize| {
        let key = match number % 3 {
            0 => format!("k{number}"),
            1 => format!("ключ-{number}"),
            _ => format!("{}-{number}", "x".repeat(number % 23)),
        };
        (key.into_bytes(), format!("value of {number}").into_bytes())
    };
    (0..count).map(line).collect()
}

/// Keys that are no text, with all lengths modulo 4.
fn binary_keys() -> Vec<(Vec<u8>, Vec<u8>)> {
    let key = |number: u8| {
        let length = usize::from(number % 9) + 1;
        let bytes = (0..length).map(|index| {
            number
                .wrapping_mul(37)
                .wrapping_add(u8::try_from(index).unwrap_or(0))
                | 0x80
        });
        [bytes.collect::<Vec<_>>(), vec![number]].concat()
    };
    (0..=199)
        .map(|number| (key(number), vec![number]))
        .collect()
}

async fn places_in(kcat: &Kcat, topic: &str) -> anyhow::Result<Places> {
    let records = kcat.consume(topic, "beginning", &[]).await?;
    let place = |record: esker_e2e::KcatRecord| {
        Ok((
            record.key.context("a record lost its key")?,
            record.partition,
        ))
    };
    records.into_iter().map(place).collect()
}

async fn places_of_http(
    esker: &EskerProcess,
    topic: &str,
    lines: &[(Vec<u8>, Vec<u8>)],
) -> anyhow::Result<Places> {
    let api = HttpApi::new(esker.http);
    api.create_topic(topic, PARTITIONS).await?;
    let records = lines
        .iter()
        .map(|(key, value)| HttpRecord::new(Some(key), Some(value)));
    let records: Vec<_> = records.collect();
    let mut places = Places::new();
    for part in records.chunks(100) {
        let answers = api.append(topic, None, part).await?;
        for (record, (partition, _)) in part.iter().zip(answers) {
            let key = record.key.clone().context("keyed")?;
            places.insert(key, i32::try_from(partition)?);
        }
    }
    Ok(places)
}

async fn places_of_kcat(
    esker: &EskerProcess,
    topic: &str,
    lines: &[(Vec<u8>, Vec<u8>)],
) -> anyhow::Result<Places> {
    HttpApi::new(esker.http)
        .create_topic(topic, PARTITIONS)
        .await?;
    let kcat = Kcat::new(esker.kafka);
    let partitioner = ["-X", "topic.partitioner=murmur2_random"];
    kcat.produce(topic, lines, &partitioner).await?;
    places_in(&kcat, topic).await
}

/// The keys of [`keyed_lines`] are in `topic`, written by Java: all other writers agree.
pub(crate) async fn same_as_java(
    process: &EskerProcess,
    topic: &str,
    count: usize,
) -> anyhow::Result<()> {
    let lines = keyed_lines(count);
    let kcat = Kcat::new(process.kafka);
    let java = places_in(&kcat, topic).await?;
    ensure!(
        java.len() == count,
        "Java wrote {} of {count} keys",
        java.len()
    );

    let http = places_of_http(process, "placed-by-http", &lines).await?;
    let librdkafka = places_of_kcat(process, "placed-by-kcat", &lines).await?;
    HttpApi::new(process.http)
        .create_topic("placed-by-esker", PARTITIONS)
        .await?;
    let mut input = Vec::new();
    for (key, value) in &lines {
        input.extend([key, &b"|"[..], value, b"\n"].concat());
    }
    let arguments = [
        "produce",
        "placed-by-esker",
        "--key-separator",
        "|",
        "--no-progress",
    ];
    let command = esker()?
        .args(arguments)
        .args(["--bootstrap", &process.kafka.to_string()]);
    command.stdin(input).succeed().await?;
    let ours = places_in(&kcat, "placed-by-esker").await?;

    ensure!(http == java, "HTTP places keys elsewhere than Java");
    ensure!(librdkafka == java, "kcat places keys elsewhere than Java");
    ensure!(
        ours == java,
        "esker produce places keys elsewhere than Java"
    );
    Ok(())
}

/// Keys that the console producer cannot write: HTTP against librdkafka's form of Java's rule.
pub(crate) async fn placement(kind: StoreKind) -> anyhow::Result<()> {
    let (_store, process) = start(kind).await?;
    let lines = binary_keys();

    let http = places_of_http(&process, "by-http", &lines).await?;
    let librdkafka = places_of_kcat(&process, "by-kcat", &lines).await?;

    ensure!(http.len() == lines.len(), "keys are not distinct");
    ensure!(http == librdkafka, "HTTP and kcat differ");
    let used: std::collections::BTreeSet<_> = http.values().collect();
    ensure!(used.len() == 7, "200 keys fill only {used:?}");
    proved(&format!(
        "{kind:?}: {} binary keys lie on the same of {PARTITIONS} partitions by HTTP and by \
         kcat's murmur2",
        lines.len()
    ));
    Ok(())
}
