//! What the workers of a benchmark saw, added up, as people and programs read it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use esker_types::MonotonicTime;
use indicatif::HumanCount;
use serde::Serialize;

use super::histogram::{Latencies, Quantiles};
use super::stamp::Tally;
use super::{Mode, Shared};
use crate::cli::paint::{Paint, Tone};
use crate::cli::show::Show;
use crate::cli::table::{Align, Table};

/// Records and bytes of their values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Volume {
    records: u64,
    bytes: u64,
}

impl Volume {
    pub(super) fn add(&mut self, records: u64, bytes: u64) {
        self.records = self.records.saturating_add(records);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What one producer saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Produced {
    /// From a record's moment to its acknowledgement; empty without moments.
    pub(super) latencies: Latencies,
    /// From a request's sending to its answer.
    pub(super) service: Latencies,
    pub(super) acknowledged: Tally,
    /// Acknowledged within the window.
    pub(super) measured: Volume,
    failed_records: u64,
    first_failure: Option<String>,
}

/// What one reader saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Consumed {
    /// From a record's moment to its arrival.
    pub(super) latencies: Latencies,
    /// From a request's sending to its answer.
    pub(super) service: Latencies,
    pub(super) received: Tally,
    pub(super) all: Volume,
    pub(super) seconds: Duration,
    first_failure: Option<String>,
}

/// What one worker saw.
#[derive(Debug)]
pub(super) enum Part {
    Produced(Produced),
    Consumed(Consumed),
}

/// What all workers saw.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) producers: u32,
    pub(super) readers: usize,
    produced: Produced,
    consumed: Consumed,
}

impl Produced {
    pub(super) fn fail(&mut self, records: u64, words: impl FnOnce() -> String) {
        self.failed_records = self.failed_records.saturating_add(records);
        self.first_failure.get_or_insert_with(words);
    }
}

impl Consumed {
    pub(super) fn fail(&mut self, words: String) {
        self.first_failure.get_or_insert(words);
    }
}

impl Gathered {
    pub(super) fn add(&mut self, part: Part) {
        match part {
            Part::Produced(one) => {
                let all = &mut self.produced;
                all.latencies.merge(&one.latencies);
                all.service.merge(&one.service);
                all.acknowledged.merge(one.acknowledged);
                all.measured.add(one.measured.records, one.measured.bytes);
                all.failed_records = all.failed_records.saturating_add(one.failed_records);
                all.first_failure = all.first_failure.take().or(one.first_failure);
                self.producers = self.producers.saturating_add(1);
            }
            Part::Consumed(one) => {
                let all = &mut self.consumed;
                all.latencies.merge(&one.latencies);
                all.service.merge(&one.service);
                all.received.merge(one.received);
                all.all.add(one.all.records, one.all.bytes);
                all.seconds = all.seconds.max(one.seconds);
                all.first_failure = all.first_failure.take().or(one.first_failure);
                self.readers = self.readers.saturating_add(1);
            }
        }
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) mode: Mode,
    pub(super) topic: String,
    pub(super) partitions: usize,
    pub(super) producers: u32,
    pub(super) record_bytes: u32,
    pub(super) offered_records_per_second: Option<u64>,
    pub(super) seconds: Duration,
}

#[derive(Debug, Serialize)]
struct ProduceResult {
    records_per_second: u64,
    mebibytes_per_second: f64,
    acknowledged: u64,
    failed: u64,
    first_failure: Option<String>,
    /// From each record's moment; null at full speed, where there are no moments.
    latency_ms: Option<Quantiles>,
    /// From each request's sending: what a closed loop would tell.
    request_ms: Option<Quantiles>,
}

#[derive(Debug, Serialize)]
struct ConsumeResult {
    records_per_second: u64,
    mebibytes_per_second: f64,
    received: u64,
    first_failure: Option<String>,
    request_ms: Option<Quantiles>,
}

#[derive(Debug, Serialize)]
struct EndToEndResult {
    received: u64,
    /// Whether exactly the acknowledged records came, each once.
    is_complete: bool,
    first_failure: Option<String>,
    latency_ms: Option<Quantiles>,
}

/// A benchmark's result.
#[derive(Debug, Serialize)]
pub(super) struct BenchReport {
    mode: Mode,
    topic: String,
    partitions: usize,
    producers: u32,
    record_bytes: u32,
    offered_records_per_second: Option<u64>,
    seconds: f64,
    produce: Option<ProduceResult>,
    end_to_end: Option<EndToEndResult>,
    consume: Option<ConsumeResult>,
}

fn per_second(amount: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    let rate = u128::from(amount).saturating_mul(1_000_000) / micros;
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// With two digits behind the point.
fn mebibytes_per_second(bytes: u64, time: Duration) -> f64 {
    let hundredths = per_second(bytes, time).saturating_mul(100) / (1024 * 1024);
    u32::try_from(hundredths).map_or(f64::INFINITY, f64::from) / 100.0
}

impl BenchReport {
    pub(super) fn new(about: About, gathered: Gathered) -> Self {
        let Gathered {
            produced, consumed, ..
        } = gathered;
        let seconds = about.seconds;
        let end_to_end = EndToEndResult {
            received: consumed.received.records,
            is_complete: consumed.received == produced.acknowledged,
            first_failure: consumed.first_failure.clone(),
            latency_ms: consumed.latencies.quantiles(),
        };
        let produce = ProduceResult {
            records_per_second: per_second(produced.measured.records, seconds),
            mebibytes_per_second: mebibytes_per_second(produced.measured.bytes, seconds),
            acknowledged: produced.acknowledged.records,
            failed: produced.failed_records,
            first_failure: produced.first_failure,
            latency_ms: produced.latencies.quantiles(),
            request_ms: produced.service.quantiles(),
        };
        let consume = ConsumeResult {
            records_per_second: per_second(consumed.all.records, consumed.seconds),
            mebibytes_per_second: mebibytes_per_second(consumed.all.bytes, consumed.seconds),
            received: consumed.all.records,
            first_failure: consumed.first_failure,
            request_ms: consumed.service.quantiles(),
        };
        let consumes = about.mode == Mode::Consume;
        Self {
            mode: about.mode,
            topic: about.topic,
            partitions: about.partitions,
            producers: about.producers,
            record_bytes: about.record_bytes,
            offered_records_per_second: about.offered_records_per_second,
            seconds: match consumes {
                true => consumed.seconds.as_secs_f64(),
                false => seconds.as_secs_f64(),
            },
            produce: (!consumes).then_some(produce),
            end_to_end: (about.mode == Mode::EndToEnd).then_some(end_to_end),
            consume: consumes.then_some(consume),
        }
    }

    /// Why the figures count for nothing, if they do.
    pub(super) fn problem(&self) -> Option<String> {
        let failed = self
            .produce
            .as_ref()
            .filter(|one| one.first_failure.is_some());
        if let Some(produce) = failed {
            let reason = produce.first_failure.as_deref().unwrap_or_default();
            return Some(format!(
                "{} records failed, first: {reason}",
                produce.failed
            ));
        }
        let consume = self
            .consume
            .as_ref()
            .and_then(|one| one.first_failure.as_ref());
        let end_to_end = self.end_to_end.as_ref();
        let read = end_to_end.and_then(|one| one.first_failure.as_ref());
        if let Some(reason) = consume.or(read) {
            return Some(format!("reading failed: {reason}"));
        }
        let incomplete = end_to_end.filter(|one| !one.is_complete)?;
        let acknowledged = self.produce.as_ref().map_or(0, |one| one.acknowledged);
        Some(format!(
            "{acknowledged} records were acknowledged and {} came, not the same ones once each",
            incomplete.received
        ))
    }
}

/// Where the run stands, for the progress bar.
pub(super) fn standing(shared: &Shared, now: MonotonicTime) -> String {
    let records = shared.counters.records.load(Ordering::Relaxed);
    let failed = shared.counters.failed.load(Ordering::Relaxed);
    let rate = per_second(records, now.since(shared.window.start));
    let phase = match now < shared.window.measured_from {
        true => "warming up  ",
        false => "",
    };
    let failed = match failed {
        0 => String::new(),
        failed => format!("  {failed} failed"),
    };
    format!(
        "{phase}{} records  {}/s{failed}",
        HumanCount(records),
        HumanCount(rate)
    )
}

fn latency_cells(name: &str, quantiles: Option<&Quantiles>) -> Vec<String> {
    let mut cells = vec![name.to_owned()];
    let dashes = || vec!["-".to_owned(); 7];
    cells.extend(quantiles.map_or_else(dashes, |one| {
        [
            one.mean, one.p50, one.p90, one.p95, one.p99, one.p99_9, one.max,
        ]
        .iter()
        .map(|millis| format!("{millis:.1}"))
        .collect()
    }));
    cells
}

impl BenchReport {
    fn latencies(&self, paint: Paint) -> String {
        let mut table = Table::new(&[
            ("LATENCY (ms)", Align::Left),
            ("mean", Align::Right),
            ("p50", Align::Right),
            ("p90", Align::Right),
            ("p95", Align::Right),
            ("p99", Align::Right),
            ("p99.9", Align::Right),
            ("max", Align::Right),
        ]);
        if let Some(produce) = &self.produce {
            if produce.latency_ms.is_some() {
                table.row(latency_cells("produce", produce.latency_ms.as_ref()));
            }
            table.row(latency_cells(
                "produce request",
                produce.request_ms.as_ref(),
            ));
        }
        if let Some(one) = &self.end_to_end {
            table.row(latency_cells("end to end", one.latency_ms.as_ref()));
        }
        if let Some(one) = &self.consume {
            table.row(latency_cells("fetch request", one.request_ms.as_ref()));
        }
        table.render(paint)
    }
}

impl Show for BenchReport {
    fn text(&self, paint: Paint) -> String {
        let offered = match (self.offered_records_per_second, self.mode) {
            (Some(rate), _) => format!("{} records/s offered", HumanCount(rate)),
            (None, Mode::Consume) => "as fast as it comes".to_owned(),
            (None, Mode::Produce | Mode::EndToEnd) => "as fast as it goes".to_owned(),
        };
        let mut text = format!(
            "topic {}  partitions {}  producers {}  {} B a record  {offered}  {:.1} s\n\n",
            self.topic, self.partitions, self.producers, self.record_bytes, self.seconds
        );
        let mut line = |name: &str, records: u64, mebibytes: f64, rest: String| {
            let rate = HumanCount(records);
            text.push_str(&format!(
                "{name}: {rate} records/s  {mebibytes:.2} MiB/s  {rest}\n"
            ));
        };
        if let Some(one) = &self.produce {
            let rest = format!("{} acknowledged, {} failed", one.acknowledged, one.failed);
            line(
                "produced",
                one.records_per_second,
                one.mebibytes_per_second,
                rest,
            );
        }
        if let Some(one) = &self.consume {
            let rest = format!("{} received", one.received);
            line(
                "consumed",
                one.records_per_second,
                one.mebibytes_per_second,
                rest,
            );
        }
        if let Some(one) = &self.end_to_end {
            let verdict = match one.is_complete {
                true => paint.tone(Tone::Good, "none lost, none doubled"),
                false => paint.tone(Tone::Bad, "not what was acknowledged"),
            };
            text.push_str(&format!(
                "end to end: {} received, {verdict}\n",
                one.received
            ));
        }
        text.push('\n');
        text.push_str(&self.latencies(paint));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(mode: Mode) -> About {
        About {
            mode,
            topic: "t".to_owned(),
            partitions: 2,
            producers: 1,
            record_bytes: 100,
            offered_records_per_second: Some(1000),
            seconds: Duration::from_secs(2),
        }
    }

    fn gathered(failed: u64) -> Gathered {
        let mut produced = Produced::default();
        produced.measured.add(2000, 4 * 1024 * 1024);
        produced.latencies.add(Duration::from_millis(10));
        if failed > 0 {
            produced.fail(failed, || "no".to_owned());
        }
        let mut gathered = Gathered::default();
        gathered.add(Part::Produced(produced));
        gathered.add(Part::Consumed(Consumed::default()));
        gathered
    }

    #[test]
    fn rates_are_over_the_window() {
        let report = BenchReport::new(about(Mode::EndToEnd), gathered(0));

        let text = report.text(Paint::Plain);

        assert!(
            text.contains("produced: 1,000 records/s  2.00 MiB/s"),
            "{text}"
        );
        assert!(text.contains("none lost, none doubled"), "{text}");
        assert_eq!(report.problem(), None);
    }

    #[test]
    fn a_failure_or_a_missing_record_makes_the_figures_void() {
        let failed = BenchReport::new(about(Mode::Produce), gathered(3));
        let mut lost = gathered(0);
        let stamp = super::super::stamp::Stamp {
            run_id: 0,
            producer: 0,
            number: 0,
            moment: MonotonicTime::default(),
        };
        lost.produced.acknowledged.add(&stamp);
        let lost = BenchReport::new(about(Mode::EndToEnd), lost);

        assert_eq!(
            failed.problem().as_deref(),
            Some("3 records failed, first: no")
        );
        assert!(
            lost.problem()
                .unwrap()
                .contains("1 records were acknowledged and 0 came")
        );
    }
}
