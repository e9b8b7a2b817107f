//! A store that fails, lies, hangs or loses its answer while segments are written.
//!
//! Every acknowledged record is there exactly once; what is told to have failed is there at most
//! once. The shaper strikes puts below `/sessions/`: segments and session seals.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use esker_e2e::{HttpApi, HttpRecord, Kcat, StoreKind, TestStore, proved};
use esker_testkit::{EskerProcess, Reply, Rule, ShapedFault, ShaperHandle, StoreOperation};

const KCAT_RECORDS: usize = 120;
const HTTP_RECORDS: usize = 12;

/// How often a rule strikes.
#[derive(Clone, Copy)]
enum Often {
    Share(f64),
    Times(u64),
    /// Every request, for so many milliseconds.
    Millis(u64),
}

const SCENARIOS: [(&str, ShapedFault, Often); 15] = [
    (
        "500-before",
        ShapedFault::Fb {
            reply: Reply::Code(500),
        },
        Often::Share(0.4),
    ),
    (
        "503-before",
        ShapedFault::Fb {
            reply: Reply::Code(503),
        },
        Often::Share(0.5),
    ),
    (
        "412-by-mistake",
        ShapedFault::Fb {
            reply: Reply::Code(412),
        },
        Often::Share(0.3),
    ),
    (
        "reset-before",
        ShapedFault::Fb { reply: Reply::Rst },
        Often::Share(0.4),
    ),
    (
        "hang-before",
        ShapedFault::Fb { reply: Reply::Hang },
        Often::Times(2),
    ),
    (
        "500-after",
        ShapedFault::Fa {
            reply: Reply::Code(500),
        },
        Often::Share(0.4),
    ),
    (
        "lost-reply",
        ShapedFault::Fa { reply: Reply::Rst },
        Often::Share(0.4),
    ),
    (
        "hang-after",
        ShapedFault::Fa { reply: Reply::Hang },
        Often::Times(2),
    ),
    (
        "409-no-effect",
        ShapedFault::C409 { effect: false },
        Often::Share(0.4),
    ),
    (
        "409-with-effect",
        ShapedFault::C409 { effect: true },
        Often::Share(0.4),
    ),
    (
        "late-copy",
        ShapedFault::Hold {
            millis: 400,
            reply: Reply::Code(500),
        },
        Often::Share(0.3),
    ),
    ("twice", ShapedFault::Dup { millis: 30 }, Often::Share(0.5)),
    ("cut-body", ShapedFault::Trunc, Often::Share(0.3)),
    (
        "outage",
        ShapedFault::Fb {
            reply: Reply::Code(500),
        },
        Often::Millis(3000),
    ),
    ("200-with-error", ShapedFault::OkErr, Often::Share(0.3)),
];

fn rule(name: &str, fault: ShapedFault, often: Often) -> Rule {
    let mut rule = Rule::new(fault);
    name.clone_into(&mut rule.name);
    rule.operation = Some(StoreOperation::Put);
    rule.key_contains = Some("/sessions/".to_owned());
    match often {
        Often::Share(share) => rule.probability = Some(share),
        Often::Times(times) => rule.times = Some(times),
        Often::Millis(millis) => rule.for_millis = Some(millis),
    }
    rule
}

fn values(name: &str, count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| format!("{name} {number}").into_bytes())
        .collect()
}

/// An idempotent producer with several small batches in flight; success = all acknowledged.
async fn produce(kcat: &Kcat, topic: &str) -> anyhow::Result<()> {
    let records = values(topic, KCAT_RECORDS)
        .into_iter()
        .map(|value| (b"k".to_vec(), value));
    let records: Vec<_> = records.collect();
    let idempotent = [
        "-X",
        "enable.idempotence=true",
        "-X",
        "batch.num.messages=10",
    ];
    let patient = ["-X", "linger.ms=0", "-X", "message.timeout.ms=60000"];
    kcat.produce(topic, &records, &[idempotent, patient].concat())
        .await?;
    Ok(())
}

/// Appends over HTTP, one after the other; the place of each that was acknowledged.
async fn append(api: &HttpApi, topic: &str) -> anyhow::Result<BTreeMap<Vec<u8>, Option<u64>>> {
    let mut outcomes = BTreeMap::new();
    for value in values(topic, HTTP_RECORDS) {
        let record = HttpRecord::new(None, Some(&value));
        let outcome = api.append(topic, Some(0), &[record]).await;
        let offset = match outcome {
            Ok(places) => Some(places.first().context("a place")?.1),
            Err(_) => None,
        };
        outcomes.insert(value, offset);
    }
    Ok(outcomes)
}

async fn check_idempotent(api: &HttpApi, topic: &str) -> anyhow::Result<()> {
    let read = api.read(topic, 0, "from=earliest").await?;
    let read: Vec<_> = read.into_iter().filter_map(|record| record.value).collect();
    ensure!(
        read == values(topic, KCAT_RECORDS),
        "{topic}: not every record once and in order: {:?}",
        read.iter()
            .map(|value| String::from_utf8_lossy(value))
            .collect::<Vec<_>>()
    );
    Ok(())
}

async fn check_appended(
    api: &HttpApi,
    topic: &str,
    outcomes: &BTreeMap<Vec<u8>, Option<u64>>,
) -> anyhow::Result<usize> {
    let mut places = BTreeMap::<Vec<u8>, Vec<u64>>::new();
    for record in api.read(topic, 0, "from=earliest").await? {
        places
            .entry(record.value.context("a value")?)
            .or_default()
            .push(record.offset);
    }
    ensure!(
        places.keys().all(|value| outcomes.contains_key(value)),
        "{topic}: a stranger"
    );
    for (value, outcome) in outcomes {
        let found = places.get(value).map(Vec::as_slice).unwrap_or_default();
        let value = String::from_utf8_lossy(value);
        match outcome {
            Some(offset) => ensure!(found == [*offset], "{value}: {offset}, found {found:?}"),
            None => ensure!(
                found.len() <= 1,
                "{value}: not acknowledged, found {found:?}"
            ),
        }
    }
    Ok(outcomes.values().flatten().count())
}

async fn run(
    esker: &EskerProcess,
    shaper: &ShaperHandle,
    scenario: &(&str, ShapedFault, Often),
) -> anyhow::Result<String> {
    let (name, fault, often) = *scenario;
    let (kcat, api) = (Kcat::new(esker.kafka), HttpApi::new(esker.http));
    let (by_kcat, by_http) = (format!("{name}-kcat"), format!("{name}-http"));
    api.create_topic(&by_kcat, 1).await?;
    api.create_topic(&by_http, 1).await?;
    shaper.set_rules(vec![rule(name, fault, often)]);

    let (produced, appended) = tokio::join!(produce(&kcat, &by_kcat), append(&api, &by_http));
    let struck = shaper
        .report()
        .faults
        .iter()
        .map(|row| row.struck)
        .sum::<u64>();
    shaper.set_rules(Vec::new());

    produced.with_context(|| format!("{name}: the producer gave up"))?;
    ensure!(struck > 0, "{name} never struck");
    check_idempotent(&api, &by_kcat).await?;
    let acknowledged = check_appended(&api, &by_http, &appended?).await?;
    Ok(format!(
        "{name} (struck {struck}, HTTP {acknowledged}/{HTTP_RECORDS})"
    ))
}

#[tokio::test]
async fn a_faulty_store_neither_loses_nor_doubles_a_record() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let shaper = store.shaper(Vec::new()).await?;
    let mut arguments = store.arguments_through(&shaper);
    let mut esker = EskerProcess::start(&arguments).await?;
    let mut told = Vec::new();

    for scenario in &SCENARIOS {
        let line = run(&esker, &shaper, scenario).await;
        told.push(line.with_context(|| esker.log_tail())?);
    }
    esker.kill9()?;
    arguments.kafka_port = None;
    let again = EskerProcess::start(&arguments).await?;
    let api = HttpApi::new(again.http);
    for (name, _, _) in &SCENARIOS {
        check_idempotent(&api, &format!("{name}-kcat"))
            .await
            .context("after kill -9")?;
    }

    proved(&format!(
        "{KCAT_RECORDS} records of an idempotent producer are there once and in order, each HTTP \
         append that was acknowledged at its offset once, also after kill -9, with a store that \
         answers: {}",
        told.join(", ")
    ));
    Ok(())
}
