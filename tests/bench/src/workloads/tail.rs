//! Does a reader that catches up disturb those at the tail?

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use esker_env::Env;
use esker_kafka::client::{Client, FetchOptions};
use esker_record::split_batches;
use futures::future::{self, join_all};

use super::{BULK, Figures, MODERATE_PER_SECOND, PARTITIONS, percentile, topic};
use crate::contender::Running;
use crate::own::{self, Load};
use crate::suite::Plan;
use crate::tools::Tools;

/// Who reads the bulk topic, and begins again when it is through, beside the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CatchUp {
    Nobody,
    /// `esker bench consume`, with processor time that nobody else wants: a reader on another
    /// machine, as catching up is in the field.
    Light,
    /// ConsumerPerformance, in the same way.
    Kafka,
    /// ConsumerPerformance as one more process on the same cores: its JVM takes eight
    /// processor-seconds for each GiB of what the load and the server have too.
    KafkaBeside,
}

/// How long a producer's start is left out, its JVM's compilation above all; no more than a quarter
/// of the run.
const START: Duration = Duration::from_secs(5);

/// Runs of equal length on one topic each: quiet, then beside each reader.
pub(super) async fn run(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    let mut quiet = tailed(on, plan, "tail-quiet", CatchUp::Nobody).await?;
    let quiet_p99 = percentile(&mut quiet, 99)?;
    let mut figures = Figures::from([
        ("tail_p50_ms".to_owned(), percentile(&mut quiet, 50)?),
        ("tail_p99_ms".to_owned(), quiet_p99),
    ]);
    for (name, reader) in [
        ("light_reader_elsewhere", CatchUp::Light),
        ("kafka_reader_elsewhere", CatchUp::Kafka),
        ("kafka_reader_on_same_cores", CatchUp::KafkaBeside),
    ] {
        let topic = format!("tail-{name}");
        let p99 = percentile(&mut tailed(on, plan, &topic, reader).await?, 99)?;
        figures.insert(format!("tail_p99_{name}_ms"), p99);
        figures.insert(format!("tail_p99_{name}_ratio"), p99 / quiet_p99.max(1.0));
    }
    Ok(figures)
}

/// Milliseconds from the producer's timestamp to the receipt, of each batch behind the start.
async fn tailed(
    on: &Running,
    plan: &Plan,
    name: &str,
    catch_up: CatchUp,
) -> anyhow::Result<Vec<i64>> {
    topic(on, name).await?;
    let tools = Tools::new(on.bootstrap)?;
    let over = AtomicBool::new(false);
    let start = START.min(Duration::from_secs(plan.seconds) / 4);
    let follow = |partition| follow(on, name, partition, start, &over);
    let readers = join_all((0..PARTITIONS).map(follow));
    let records = MODERATE_PER_SECOND * plan.seconds;
    let load = async {
        let per_second = i64::try_from(MODERATE_PER_SECOND)?;
        let told = tools.produce(name, records, per_second).await;
        over.store(true, Ordering::Relaxed);
        told
    };
    let scan = async {
        if catch_up == CatchUp::Nobody {
            future::pending::<()>().await;
        }
        loop {
            if let Err(error) = read_all(on, plan, catch_up).await {
                break error;
            }
        }
    };
    // Whoever still catches up then is stopped.
    let (told, readers) = tokio::select! {
        ended = future::join(load, readers) => ended,
        error = scan => return Err(error.context("the reader that catches up")),
    };
    told?;
    let mut all = Vec::new();
    for reader in readers {
        all.extend(reader?);
    }
    Ok(all)
}

/// The bulk topic from its start.
async fn read_all(on: &Running, plan: &Plan, reader: CatchUp) -> anyhow::Result<()> {
    let tools = Tools::new(on.bootstrap)?;
    match reader {
        CatchUp::Nobody => {}
        CatchUp::Light => {
            let load = Load {
                topic: Some(BULK),
                is_elsewhere: true,
                ..Load::usual("consume", plan.seconds)
            };
            own::run(on.bootstrap, load).await?;
        }
        CatchUp::Kafka => drop(tools.elsewhere().consume(BULK, plan.records).await?),
        CatchUp::KafkaBeside => drop(tools.consume(BULK, plan.records).await?),
    }
    Ok(())
}

async fn follow(
    on: &Running,
    topic: &str,
    partition: i32,
    start: Duration,
    over: &AtomicBool,
) -> anyhow::Result<Vec<i64>> {
    let env = Env::system();
    let client = Client::connect(&on.bootstrap.to_string(), "tail", env.clone()).await?;
    let mut offset = 0;
    let mut ages = Vec::new();
    let mut begun = None;
    while !over.load(Ordering::Relaxed) {
        let options = FetchOptions::default();
        let fetched = client.fetch(topic, partition, offset, options).await?;
        let now = env.clock.wall().millis();
        let mut seen = Vec::new();
        offset = note(&fetched.records, now, offset, &mut seen)?;
        if seen.is_empty() {
            continue;
        }
        let begun = *begun.get_or_insert_with(|| env.clock.now());
        if env.clock.now().since(begun) >= start {
            ages.extend(seen);
        }
    }
    Ok(ages)
}

/// Adds the age of each whole batch; the offset behind the last one.
fn note(records: &[u8], now: i64, offset: i64, ages: &mut Vec<i64>) -> anyhow::Result<i64> {
    let mut next = offset;
    for batch in split_batches(records) {
        // The broker may have cut the last one.
        let Ok((header, _)) = batch else { break };
        ages.push(now - header.max_timestamp().millis());
        next = header.base_offset() + i64::from(header.last_offset_delta()) + 1;
    }
    Ok(next)
}
