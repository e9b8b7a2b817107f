//! One writer of 1 KiB records and one reader that follows it, of one partition or one stream, at
//! 10 MiB/s and as fast as it goes: the one load that S2's own tool carries too. S2's latencies
//! count from submission, those of `esker bench` from the moment a record was due.

use super::Figures;
use super::own_load::short;
use crate::contender::Running;
use crate::own::{self, Load, Quantiles};
use crate::suite::Plan;

const OFFERED_MIB: u64 = 10;
const PER_MIB: u64 = 1024;
/// More than anything here takes.
const UNBOUNDED_MIB: u64 = 100_000;

pub(super) async fn run(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    on.server().forget_peak()?;
    if let Some(s2) = on.s2() {
        let told = s2.bench(OFFERED_MIB, short(plan)).await?;
        add(&mut figures, "ack", Some(told.ack_ms));
        add(&mut figures, "received", Some(told.received_ms));
        let told = s2.bench(UNBOUNDED_MIB, short(plan)).await?;
        figures.insert("mib_per_s".to_owned(), told.mib_per_s);
    } else {
        let load = Load {
            partitions: 1,
            producers: 1,
            rate: Some(OFFERED_MIB * PER_MIB),
            ..Load::usual("end-to-end", short(plan))
        };
        let told = own::run(on.bootstrap, load).await?;
        add(&mut figures, "ack", told.produced()?.latency_ms.map(pair));
        add(
            &mut figures,
            "received",
            told.received()?.latency_ms.map(pair),
        );
        let told = own::run(on.bootstrap, Load { rate: None, ..load }).await?;
        let rate = told.produced()?.mebibytes_per_second;
        figures.insert("mib_per_s".to_owned(), rate);
    }
    figures.insert("server_peak_mib".to_owned(), on.server().peak_mib()?);
    Ok(figures)
}

fn pair(quantiles: Quantiles) -> (f64, f64) {
    (quantiles.p50, quantiles.p99)
}

fn add(figures: &mut Figures, what: &str, pair: Option<(f64, f64)>) {
    let Some((p50, p99)) = pair else { return };
    for (name, value) in [("p50", p50), ("p99", p99)] {
        figures.insert(format!("{what}_{name}_ms_at_10_mib_per_s"), value);
    }
}
