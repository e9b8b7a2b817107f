//! Does a reader that catches up disturb those at the tail?

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use esker_env::Env;
use esker_kafka::client::{Client, FetchOptions};
use esker_record::split_batches;
use futures::future::join_all;

use super::{BULK, Figures, MODERATE_PER_SECOND, PARTITIONS, percentile, topic};
use crate::contender::Running;
use crate::own::{self, Load};
use crate::suite::Plan;
use crate::tools::Tools;

/// Who reads the bulk topic again and again beside the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CatchUp {
    Nobody,
    /// `esker bench consume`: about a processor-second per GiB of its own.
    Light,
    /// ConsumerPerformance, whose JVM takes eight, of the same two cores here.
    Kafka,
}

/// A second of reading at a time, so that the last one ends soon after the load.
const LIGHT_SECONDS: u64 = 1;

/// How long a producer's start is left out, its JVM's compilation above all; no more than a quarter
/// of the run.
const START: Duration = Duration::from_secs(5);

/// Three runs of equal length on one topic each: quiet, then beside one and the other reader.
pub(super) async fn run(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    let mut quiet = tailed(on, plan, "tail-quiet", CatchUp::Nobody).await?;
    let mut light = tailed(on, plan, "tail-light", CatchUp::Light).await?;
    let mut busy = tailed(on, plan, "tail-busy", CatchUp::Kafka).await?;
    let (quiet_p99, busy_p99) = (percentile(&mut quiet, 99)?, percentile(&mut busy, 99)?);
    let light_p99 = percentile(&mut light, 99)?;
    Ok(Figures::from([
        ("tail_p50_ms".to_owned(), percentile(&mut quiet, 50)?),
        ("tail_p99_ms".to_owned(), quiet_p99),
        ("tail_p99_light_reader_ms".to_owned(), light_p99),
        (
            "tail_p99_light_reader_ratio".to_owned(),
            light_p99 / quiet_p99.max(1.0),
        ),
        ("tail_p99_catching_up_ms".to_owned(), busy_p99),
        ("tail_p99_ratio".to_owned(), busy_p99 / quiet_p99.max(1.0)),
    ]))
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
        while catch_up != CatchUp::Nobody && !over.load(Ordering::Relaxed) {
            if catch_up == CatchUp::Kafka {
                tools.consume(BULK, plan.records).await?;
                continue;
            }
            let load = Load {
                topic: Some(BULK),
                ..Load::usual("consume", LIGHT_SECONDS)
            };
            own::run(on.bootstrap, load).await?;
        }
        anyhow::Ok(())
    };
    let (told, scanned, readers) = futures::join!(load, scan, readers);
    told?;
    scanned?;
    let mut all = Vec::new();
    for reader in readers {
        all.extend(reader?);
    }
    Ok(all)
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
