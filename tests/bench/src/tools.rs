//! Kafka's own measuring tools, from the unmodified jars: the same client for every contender.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use esker_e2e::Program;
use esker_testkit::bootstrapped;

const RUN_TIME_MAX: Duration = Duration::from_secs(600);

/// The tools, pointed at one broker.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    class_path: String,
    logging: PathBuf,
    bootstrap: String,
    is_elsewhere: bool,
}

/// What ProducerPerformance tells at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Produced {
    pub(crate) records: f64,
    pub(crate) mib_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
}

/// What EndToEndLatency tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct EndToEnd {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// What ConsumerPerformance tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Consumed {
    pub(crate) records: f64,
    pub(crate) mib: f64,
    pub(crate) mib_per_s: f64,
}

impl Tools {
    pub(crate) fn new(bootstrap: SocketAddr) -> anyhow::Result<Self> {
        let class_path = std::fs::read_to_string(bootstrapped("jvm/cp.txt", "jvm")?)?;
        Ok(Self {
            class_path: class_path.trim().to_owned(),
            logging: bootstrapped("jvm/log4j2.properties", "jvm")?,
            bootstrap: bootstrap.to_string(),
            is_elsewhere: false,
        })
    }

    /// As on another machine: with processor time that nobody else wants.
    pub(crate) fn elsewhere(self) -> Self {
        Self {
            is_elsewhere: true,
            ..self
        }
    }

    async fn run(&self, class: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let logging = format!("-Dlog4j2.configurationFile={}", self.logging.display());
        let java = match self.is_elsewhere {
            true => Program::new_elsewhere("java"),
            false => Program::new("java"),
        };
        let ran = java
            .args(["-Xms512m", "-Xmx512m", &logging, "-cp", &self.class_path])
            .args([&format!("org.apache.kafka.tools.{class}")])
            .args(["--bootstrap-server", &self.bootstrap])
            .args(arguments)
            .limit(RUN_TIME_MAX)
            .succeed()
            .await?;
        Ok(ran.out())
    }

    /// `records` of 1000 bytes, acks=all, linger 20 ms; -1 is as fast as it goes.
    pub(crate) async fn produce(
        &self,
        topic: &str,
        records: u64,
        per_second: i64,
    ) -> anyhow::Result<Produced> {
        let (records, per_second) = (records.to_string(), per_second.to_string());
        let arguments = [
            &["--topic", topic, "--num-records", &records][..],
            &["--record-size", "1000", "--throughput", &per_second],
            &["--command-property", "acks=all", "linger.ms=20"],
        ];
        let text = self.run("ProducerPerformance", &arguments.concat()).await?;
        produced(&text)
    }

    pub(crate) async fn consume(&self, topic: &str, records: u64) -> anyhow::Result<Consumed> {
        let records = records.to_string();
        let arguments = ["--topic", topic, "--num-records", &records, "--hide-header"];
        let text = self.run("ConsumerPerformance", &arguments).await?;
        consumed(&text)
    }

    pub(crate) async fn end_to_end(&self, topic: &str, records: u64) -> anyhow::Result<EndToEnd> {
        let records = records.to_string();
        let arguments = [
            &["--topic", topic, "--num-records", &records][..],
            &["--producer-acks", "all", "--record-size", "256"],
        ];
        end_to_end(&self.run("EndToEndLatency", &arguments.concat()).await?)
    }
}

/// The number in front of the first occurrence of `unit`.
fn before(text: &str, unit: &str) -> anyhow::Result<f64> {
    let (head, _) = text
        .split_once(unit)
        .with_context(|| format!("no {unit:?} in {text:?}"))?;
    let start = head.rfind(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let number = start.map_or(head, |at| &head[at + 1..]);
    number
        .parse()
        .with_context(|| format!("no number before {unit:?} in {text:?}"))
}

fn produced(text: &str) -> anyhow::Result<Produced> {
    let summary = text.lines().rev().find(|line| line.contains("99.9th"));
    let Some(line) = summary else {
        bail!("ProducerPerformance told no summary: {text}");
    };
    Ok(Produced {
        records: before(line, " records sent")?,
        mib_per_s: before(line, " MB/sec")?,
        p50_ms: before(line, " ms 50th")?,
        p95_ms: before(line, " ms 95th")?,
        p99_ms: before(line, " ms 99th")?,
        p999_ms: before(line, " ms 99.9th")?,
    })
}

fn consumed(text: &str) -> anyhow::Result<Consumed> {
    let rows = text.lines().map(|line| line.split(',').map(str::trim));
    let mut rows = rows.map(Iterator::collect::<Vec<_>>);
    let row = rows.rfind(|row| row.len() >= 8);
    let row = row.with_context(|| format!("ConsumerPerformance told no figures: {text}"))?;
    let field = |at: usize| -> anyhow::Result<f64> { Ok(row.get(at).context("short")?.parse()?) };
    let (mib, fetch_ms) = (field(2)?, field(7)?);
    Ok(Consumed {
        records: field(4)?,
        mib,
        // Without the time it takes to join the group.
        mib_per_s: mib / (fetch_ms / 1000.0),
    })
}

fn end_to_end(text: &str) -> anyhow::Result<EndToEnd> {
    let line = text.lines().find(|line| line.contains("Percentiles"));
    let line = line.with_context(|| format!("EndToEndLatency told no percentiles: {text}"))?;
    let after = |name: &str| -> anyhow::Result<f64> {
        let (_, rest) = line.split_once(name).context("a percentile")?;
        let number = rest.trim_start().split([',', ' ']).next();
        Ok(number.context("a number")?.parse()?)
    };
    Ok(EndToEnd {
        p50_ms: after("50th =")?,
        p99_ms: after("99th =")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tools_print_is_read() {
        let text = "1 records sent, 1.0 records/sec (0.00 MB/sec), 1.0 ms avg latency.\n\
            500000 records sent, 49950.5 records/sec (47.64 MB/sec), 1.23 ms avg latency, \
            300.00 ms max latency, 1 ms 50th, 2 ms 95th, 10 ms 99th, 20 ms 99.9th.\n";
        let told = produced(text).unwrap();
        assert_eq!((told.records, told.mib_per_s), (500_000.0, 47.64));
        assert_eq!((told.p50_ms, told.p95_ms), (1.0, 2.0));
        assert_eq!((told.p99_ms, told.p999_ms), (10.0, 20.0));

        let text = "2026-11-26 12:00:00:000, 2026-11-26 12:00:04:000, 95.3674, 23.8, 100000, \
            25000.0, 2000, 2000, 47.7, 50000.0\n";
        let told = consumed(text).unwrap();
        assert_eq!((told.records, told.mib), (100_000.0, 95.3674));
        assert!((told.mib_per_s - 47.6837).abs() < 1e-9);

        let text = "0\t12.0\nAvg latency: 1.5 ms\n\
            Percentiles: 50th = 3, 99th = 14, 99.9th = 30\n";
        let told = end_to_end(text).unwrap();
        assert_eq!((told.p50_ms, told.p99_ms), (3.0, 14.0));
    }

    #[test]
    fn output_without_figures_is_an_error() {
        assert!(produced("nothing").is_err());
        assert!(consumed("nothing").is_err());
        assert!(end_to_end("nothing").is_err());
    }
}
