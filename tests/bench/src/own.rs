//! `esker bench`, the project's own load: open loop, so that a stall is paid by every record that
//! was due meanwhile. It speaks plain Kafka, to any contender.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use esker_e2e::{Program, esker};
use serde::{Deserialize, Serialize};

/// On top of the seconds that are measured.
const SLACK: Duration = Duration::from_secs(90);

/// What is offered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    /// `produce`, `consume` or `end-to-end`.
    pub(crate) mode: &'static str,
    /// Of a topic that is there; without it one is made and deleted again.
    pub(crate) topic: Option<&'a str>,
    /// Records a second; as many as it takes without.
    pub(crate) rate: Option<u64>,
    pub(crate) partitions: u32,
    pub(crate) producers: u32,
    pub(crate) in_flight: u32,
    pub(crate) record_bytes: u32,
    pub(crate) seconds: u64,
    /// As on another machine: with processor time that nobody else wants.
    pub(crate) is_elsewhere: bool,
}

impl Load<'_> {
    /// 1 KiB records into 16 partitions, from two producers of five requests each.
    pub(crate) fn usual(mode: &'static str, seconds: u64) -> Self {
        Self {
            mode,
            topic: None,
            rate: None,
            partitions: 16,
            producers: 2,
            in_flight: 5,
            record_bytes: 1024,
            seconds,
            is_elsewhere: false,
        }
    }
}

/// The quantiles that are kept, in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Records of one direction.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) struct Flow {
    #[serde(default)]
    pub(crate) mebibytes_per_second: f64,
    #[serde(default)]
    pub(crate) acknowledged: u64,
    #[serde(default)]
    pub(crate) received: u64,
    pub(crate) latency_ms: Option<Quantiles>,
    pub(crate) request_ms: Option<Quantiles>,
}

/// What it told; an unsound run is an error instead.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) struct Told {
    pub(crate) produce: Option<Flow>,
    pub(crate) consume: Option<Flow>,
    pub(crate) end_to_end: Option<Flow>,
}

impl Told {
    pub(crate) fn produced(&self) -> anyhow::Result<Flow> {
        self.produce.context("nothing was produced")
    }

    pub(crate) fn consumed(&self) -> anyhow::Result<Flow> {
        self.consume.context("nothing was consumed")
    }

    pub(crate) fn received(&self) -> anyhow::Result<Flow> {
        self.end_to_end.context("nothing was received")
    }
}

/// Runs it against a broker.
///
/// # Errors
/// It failed, or its figures count for nothing: a failed, lost or doubled record.
pub(crate) async fn run(bootstrap: SocketAddr, load: Load<'_>) -> anyhow::Result<Told> {
    let numbers = [
        ("--duration", load.seconds),
        ("--partitions", u64::from(load.partitions)),
        ("--producers", u64::from(load.producers)),
        ("--in-flight", u64::from(load.in_flight)),
        ("--record-bytes", u64::from(load.record_bytes)),
    ];
    let program = match load.is_elsewhere {
        true => Program::new_elsewhere(esker_testkit::esker_binary()?),
        false => esker()?,
    };
    let mut program = program
        .args(["bench", load.mode, "-o", "json", "--bootstrap"])
        .args([bootstrap.to_string()])
        .limit(Duration::from_secs(load.seconds).saturating_add(SLACK));
    for (name, number) in numbers {
        program = program.args([name.to_owned(), number.to_string()]);
    }
    program = match load.rate {
        Some(rate) => program.args(["--rate".to_owned(), rate.to_string()]),
        None if load.mode == "consume" => program,
        None => program.args(["--max"]),
    };
    if let Some(topic) = load.topic {
        program = program.args(["--topic", topic]);
    }
    let ran = program.succeed().await.map_err(told)?;
    serde_json::from_str(&ran.out()).context("esker bench tells JSON")
}

/// What it said itself, without how it was called: results are kept and shown.
fn told(error: anyhow::Error) -> anyhow::Error {
    let text = error.to_string();
    let said = text.lines().find_map(|line| line.strip_prefix("esker: "));
    match said {
        Some(said) => anyhow!("esker bench failed: {said}"),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_kept_in_its_own_words() {
        let error =
            anyhow!("/somewhere/esker bench\nended\nesker: cannot find topic\n  to do: look");

        assert_eq!(
            told(error).to_string(),
            "esker bench failed: cannot find topic"
        );
        assert_eq!(told(anyhow!("no program")).to_string(), "no program");
    }

    #[test]
    fn what_it_tells_is_read() {
        let text = r#"{"mode":"end-to-end","seconds":1.0,"consume":null,
            "produce":{"mebibytes_per_second":2.5,"acknowledged":7,"failed":0,
              "latency_ms":{"mean":1.0,"p50":1.5,"p99":4.0},"request_ms":null},
            "end_to_end":{"received":7,"is_complete":true,"latency_ms":null}}"#;

        let told: Told = serde_json::from_str(text).unwrap();

        let produced = told.produced().unwrap();
        assert_eq!(produced.acknowledged, 7);
        assert_eq!(produced.latency_ms.unwrap().p99.to_bits(), 4.0f64.to_bits());
        assert_eq!(told.received().unwrap().received, 7);
        assert!(told.consumed().is_err());
    }
}
