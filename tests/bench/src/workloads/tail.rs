//! Does a reader that catches up disturb those at the tail?

use std::future;

use anyhow::Context as _;

use super::{BULK, Figures};
use crate::contender::Running;
use crate::own::{self, Load, Quantiles};
use crate::suite::Plan;
use crate::tools::Tools;

/// Records of 1 KiB a second: 5 MiB.
const PER_SECOND: u64 = 5 * 1024;

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

/// Runs of equal length on one topic each: quiet, then beside each reader.
pub(super) async fn run(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    let quiet = tailed(on, plan, CatchUp::Nobody).await?;
    let mut figures = Figures::from([
        ("tail_p50_ms".to_owned(), quiet.p50),
        ("tail_p99_ms".to_owned(), quiet.p99),
    ]);
    for (name, reader) in [
        ("light_reader_elsewhere", CatchUp::Light),
        ("kafka_reader_elsewhere", CatchUp::Kafka),
        ("kafka_reader_on_same_cores", CatchUp::KafkaBeside),
    ] {
        let p99 = tailed(on, plan, reader).await?.p99;
        figures.insert(format!("tail_p99_{name}_ms"), p99);
        figures.insert(format!("tail_p99_{name}_ratio"), p99 / quiet.p99.max(1.0));
    }
    Ok(figures)
}

/// Milliseconds from each record's moment to its receipt by readers that wait for it. The load is
/// `esker bench`, open loop: a JVM that begins takes more of the cores than all of the rest.
async fn tailed(on: &Running, plan: &Plan, catch_up: CatchUp) -> anyhow::Result<Quantiles> {
    let load = Load {
        rate: Some(PER_SECOND),
        ..Load::usual("end-to-end", plan.seconds)
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
    // Whoever still catches up when the load is over is stopped.
    let told = tokio::select! {
        told = own::run(on.bootstrap, load) => told?,
        error = scan => return Err(error.context("the reader that catches up")),
    };
    let latency = told.received()?.latency_ms;
    latency.context("nothing was received at the tail")
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
