//! Workloads of `esker bench`: latency by load, small records, many partitions, one partition,
//! several readers of one log.

use anyhow::Context as _;
use futures::future::try_join_all;

use super::{BULK, Bill, Figures};
use crate::contender::Running;
use crate::numbers;
use crate::own::{self, Load, Quantiles, Told};
use crate::suite::Plan;

/// Records of 1 KiB in a MiB.
const PER_MIB: u64 = 1024;
/// Offered MiB a second of the curve.
const CURVE: [u64; 4] = [1, 10, 20, 40];
const READERS: usize = 5;
const MIB: f64 = 1024.0 * 1024.0;

/// From each record's moment to its acknowledgement and to a reader that waits, by offered load.
pub(super) async fn curve(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for mib in CURVE {
        let load = Load {
            rate: Some(mib * PER_MIB),
            ..Load::usual("end-to-end", short(plan))
        };
        let told = own::run(on.bootstrap, load).await;
        let told = told.with_context(|| format!("at {mib} MiB/s"))?;
        add(&mut figures, "ack", mib, told.produced()?.latency_ms);
        add(&mut figures, "received", mib, told.received()?.latency_ms);
    }
    Ok(figures)
}

fn add(figures: &mut Figures, what: &str, mib: u64, quantiles: Option<Quantiles>) {
    let Some(quantiles) = quantiles else { return };
    for (name, value) in [("p50", quantiles.p50), ("p99", quantiles.p99)] {
        figures.insert(format!("{what}_{name}_ms_at_{mib:02}_mib_per_s"), value);
    }
}

/// 100 bytes a record, as many as it takes.
pub(super) async fn small_records(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    let load = Load {
        record_bytes: 100,
        ..Load::usual("produce", short(plan))
    };
    saturate(on, load).await
}

/// 1000 partitions at 1 MiB a second: what small pieces cost.
pub(super) async fn many_partitions(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    let load = Load {
        partitions: 1000,
        rate: Some(PER_MIB),
        ..Load::usual("produce", short(plan))
    };
    saturate(on, load).await
}

/// One producer and one partition, one request at a time and five.
pub(super) async fn one_partition(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for in_flight in [1, 5] {
        let load = Load {
            partitions: 1,
            producers: 1,
            in_flight,
            ..Load::usual("produce", short(plan))
        };
        let told = own::run(on.bootstrap, load).await?.produced()?;
        let name = format!("mib_per_s_{in_flight}_in_flight");
        figures.insert(name, told.mebibytes_per_second);
    }
    Ok(figures)
}

/// Five readers of everything that the throughput run wrote.
pub(super) async fn fan_out(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    let load = Load {
        topic: Some(BULK),
        ..Load::usual("consume", short(plan))
    };
    let bill = Bill::open(on).await?;
    let readers = (0..READERS).map(|_| own::run(on.bootstrap, load));
    let told: Vec<Told> = try_join_all(readers).await?;
    let mut figures = Figures::new();
    let (mut rate, mut records) = (0.0, 0);
    for told in told {
        let consumed = told.consumed()?;
        rate += consumed.mebibytes_per_second;
        records += consumed.received;
    }
    figures.insert("mib_per_s".to_owned(), rate);
    bill.settle(super::gib_of(records), &mut figures).await?;
    Ok(figures)
}

pub(super) async fn saturate(on: &Running, load: Load<'_>) -> anyhow::Result<Figures> {
    let bill = Bill::open(on).await?;
    let told = own::run(on.bootstrap, load).await?.produced()?;
    let mut figures = Figures::from([("mib_per_s".to_owned(), told.mebibytes_per_second)]);
    if let Some(request) = told.latency_ms.or(told.request_ms) {
        figures.insert("p50_ms".to_owned(), request.p50);
        figures.insert("p99_ms".to_owned(), request.p99);
    }
    // The warm-up is part of what the servers did.
    let bytes = numbers::of(told.acknowledged) * numbers::of(u64::from(load.record_bytes));
    bill.settle(bytes / (MIB * 1024.0), &mut figures).await?;
    Ok(figures)
}

/// A third of a run at a fixed rate: these are many.
pub(super) fn short(plan: &Plan) -> u64 {
    (plan.seconds / 3).max(3)
}
