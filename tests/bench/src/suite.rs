//! The run: contenders alternate round by round, so that what disturbs the machine meets them all.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

use crate::contender::Contender;
use crate::results::{Results, Row};
use crate::workloads::{self, Workload};

/// What is run and how much of it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    /// Records of 1000 bytes per throughput run.
    pub(crate) records: u64,
    /// Records written and read before anything but the start is measured.
    pub(crate) warm_up_records: u64,
    /// Seconds of a run at a fixed rate.
    pub(crate) seconds: u64,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) workloads: Vec<Workload>,
    /// Rounds are added to those that the results have already.
    pub(crate) appends: bool,
}

#[expect(
    clippy::print_stdout,
    reason = "a command line tool tells its progress"
)]
fn tell(line: &str) {
    println!("{line}");
}

/// Runs the plan; the results are written after each contender, so that a stop loses little.
pub(crate) async fn run(plan: &Plan, out: &Path) -> anyhow::Result<()> {
    let rows = match plan.appends {
        true => Results::read(out)?.rows,
        false => Vec::new(),
    };
    let first = rows.iter().map(|row| row.round + 1).max().unwrap_or(0);
    let about = about(plan)?;
    let mut results = Results { about, rows };
    let mut sound = true;
    for round in first..first + plan.rounds {
        for contender in &plan.contenders {
            tell(&format!(
                "round {} of {}: {}",
                round + 1,
                first + plan.rounds,
                contender.name()
            ));
            for row in measured(*contender, round, plan).await? {
                sound &= row.void.is_none();
                results.rows.push(row);
            }
            results.write(out)?;
        }
    }
    tell(&format!("raw results: {}", out.display()));
    anyhow::ensure!(sound, "some runs are void: see {}", out.display());
    Ok(())
}

async fn measured(contender: Contender, round: u32, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let running = contender.start().await;
    let running = running.with_context(|| format!("start {}", contender.name()))?;
    workloads::warm_up(&running, plan).await?;
    let mut rows = Vec::new();
    let carried = plan.workloads.iter();
    for workload in carried.filter(|workload| contender.carries(**workload)) {
        let (figures, void) = match workload.run(&running, plan).await {
            Ok(figures) => (figures, None),
            Err(error) => (BTreeMap::new(), Some(format!("{error:#}"))),
        };
        let told: Vec<String> = figures
            .iter()
            .map(|(name, value)| format!("{name} {}", crate::numbers::short(*value)))
            .collect();
        let verdict = void.as_deref().unwrap_or_default();
        tell(&format!(
            "  {}: {}{verdict}",
            workload.name(),
            told.join(", ")
        ));
        rows.push(Row {
            contender: contender.name().to_owned(),
            workload: workload.name().to_owned(),
            round,
            figures,
            void,
        });
    }
    Ok(rows)
}

/// The machine that everything ran on.
pub(crate) fn machine() -> anyhow::Result<BTreeMap<String, String>> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
    let cores = cpu
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let memory = memory.lines().next().unwrap_or_default();
    let memory = memory.trim_start_matches("MemTotal:").trim();
    Ok(BTreeMap::from([
        ("processor".to_owned(), format!("{cores} x {model}")),
        ("memory".to_owned(), memory.to_owned()),
    ]))
}

fn about(plan: &Plan) -> anyhow::Result<BTreeMap<String, String>> {
    let mut about = machine()?;
    about.extend([
        ("records_per_run".to_owned(), plan.records.to_string()),
        (
            "warm_up_records".to_owned(),
            plan.warm_up_records.to_string(),
        ),
        ("seconds_per_run".to_owned(), plan.seconds.to_string()),
        (
            "client".to_owned(),
            "Apache Kafka 4.3.1 tools: 1000 B, 16 partitions, linger.ms=20, acks=all".to_owned(),
        ),
        (
            "kafka".to_owned(),
            "Apache Kafka 4.3.1, one KRaft node, 1 GiB heap".to_owned(),
        ),
    ]);
    Ok(about)
}
