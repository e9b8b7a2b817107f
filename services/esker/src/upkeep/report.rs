//! The reports of both commands, as JSON and as text. Stable: docs/verify-and-rebuild.md.

use std::collections::BTreeMap;

use esker_audit::{AuditFigures, AuditReport, Depth, Finding, Severity};
use esker_metadata_api::Topic;
use esker_object::RequestMeter;
use serde::Serialize;

use crate::cli::paint::{Paint, Tone};
use crate::cli::show::{Column, Row, Show, left, right, table_of};

/// Version of the JSON of both reports. It rises when a field goes or changes its meaning; new
/// fields may come without.
pub(super) const FORMAT: u32 = 1;

/// Requests of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RequestLine {
    operation: &'static str,
    class: &'static str,
    count: u64,
    bytes: u64,
}

impl Row for RequestLine {
    const COLUMNS: &'static [Column<Self>] = &[
        left("REQUEST", |line| line.operation.to_owned()),
        left("FOR", |line| line.class.to_owned()),
        right("COUNT", |line| line.count.to_string()),
        right("BYTES", |line| line.bytes.to_string()),
    ];
}

/// The requests that were really sent.
pub(super) fn requests_of(meter: &RequestMeter) -> Vec<RequestLine> {
    let mut lines: Vec<RequestLine> = Vec::new();
    for row in meter.snapshot() {
        let (operation, class) = (row.operation.label(), row.class.label());
        let same = lines
            .iter_mut()
            .find(|line| line.operation == operation && line.class == class);
        match same {
            Some(line) => {
                line.count += row.count;
                line.bytes += row.bytes;
            }
            None => lines.push(RequestLine {
                operation,
                class,
                count: row.count,
                bytes: row.bytes,
            }),
        }
    }
    lines
}

/// A number with its name.
#[derive(Clone, Debug)]
pub(super) struct FigureLine {
    pub(super) name: &'static str,
    pub(super) value: u64,
}

impl Serialize for FigureLine {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.name, self.value).serialize(serializer)
    }
}

impl Row for FigureLine {
    const COLUMNS: &'static [Column<Self>] = &[
        left("FIGURE", |line| line.name.replace('_', " ")),
        right("VALUE", |line| line.value.to_string()),
    ];
}

/// Figures as an object of JSON, in the order of the table.
fn figure_lines(figures: &AuditFigures) -> Vec<FigureLine> {
    let rows = [
        ("objects", figures.objects),
        ("object_bytes", figures.object_bytes),
        ("read_bytes", figures.read_bytes),
        ("sessions", figures.sessions),
        ("segments", figures.segments),
        ("session_seals", figures.session_seals),
        ("tail_segments", figures.tail_segments),
        ("rolls", figures.rolls),
        ("journal_entries", figures.journal_entries),
        ("snapshot_roll", figures.snapshot_roll),
        ("partitions", figures.partitions),
        ("extents", figures.extents),
        ("offsets", figures.offsets),
        ("void_ranges", figures.void_ranges),
        ("void_offsets", figures.void_offsets),
        ("void_offsets_seen", figures.void_offsets_seen),
    ];
    let line = |(name, value)| FigureLine { name, value };
    rows.into_iter().map(line).collect()
}

/// A topic, as `--topics` reads it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct TopicLine {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) partitions: u32,
    pub(super) replication_factor: u16,
    pub(super) configs: BTreeMap<String, String>,
}

impl TopicLine {
    pub(super) fn of(topic: &Topic) -> Self {
        Self {
            id: topic.id.to_hex(),
            name: topic.name.to_string(),
            partitions: topic.partition_count.get(),
            replication_factor: topic.replication_factor,
            configs: topic.configs.clone(),
        }
    }
}

#[derive(Debug, Serialize)]
struct FindingLine {
    kind: &'static str,
    severity: &'static str,
    key: Option<String>,
    what: String,
    meaning: &'static str,
    to_do: &'static str,
}

impl FindingLine {
    fn of(finding: &Finding) -> Self {
        Self {
            kind: finding.kind.word(),
            severity: match finding.kind.severity() {
                Severity::Damage => "damage",
                Severity::Notice => "notice",
            },
            key: finding.key.as_ref().map(ToString::to_string),
            what: finding.what.clone(),
            meaning: finding.kind.meaning(),
            to_do: finding.kind.to_do(),
        }
    }

    fn text(&self, paint: Paint) -> String {
        let tone = match self.severity {
            "damage" => Tone::Bad,
            _ => Tone::Faint,
        };
        let severity = paint.tone(tone, self.severity);
        let key = self.key.as_deref().unwrap_or("-");
        let (kind, what, meaning, to_do) = (self.kind, &self.what, self.meaning, self.to_do);
        format!("{severity}  {kind}  {key}\n        {what}: {meaning}\n        to do: {to_do}\n")
    }
}

/// The report of `esker verify`.
#[derive(Debug, Serialize)]
pub(super) struct VerifyReport {
    format: u32,
    command: &'static str,
    cluster_id: String,
    depth: &'static str,
    verdict: &'static str,
    pub(super) damage: u64,
    notices: u64,
    counts: BTreeMap<&'static str, u64>,
    findings: Vec<FindingLine>,
    figures: BTreeMap<&'static str, u64>,
    topics: Vec<TopicLine>,
    requests: Vec<RequestLine>,
    seconds: f64,
    #[serde(skip)]
    lines: Vec<FigureLine>,
}

impl VerifyReport {
    pub(super) fn of(report: &AuditReport, meter: &RequestMeter, seconds: f64) -> Self {
        let findings = &report.findings;
        let counts = findings.counts().iter();
        let lines = figure_lines(&report.figures);
        Self {
            format: FORMAT,
            command: "verify",
            cluster_id: report.cluster.to_hex(),
            depth: match report.depth {
                Depth::Quick => "quick",
                Depth::Deep => "deep",
            },
            verdict: if report.is_damaged() {
                "damaged"
            } else {
                "clean"
            },
            damage: findings.damage(),
            notices: findings.notices(),
            counts: counts.map(|(kind, count)| (kind.word(), *count)).collect(),
            findings: findings.rows().iter().map(FindingLine::of).collect(),
            figures: lines.iter().map(|line| (line.name, line.value)).collect(),
            topics: report
                .topics
                .iter()
                .map(|topic| TopicLine::of(topic))
                .collect(),
            requests: requests_of(meter),
            seconds,
            lines,
        }
    }
}

impl Show for VerifyReport {
    fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            text.push_str(&finding.text(paint));
        }
        let told = u64::try_from(self.findings.len()).unwrap_or(u64::MAX);
        let untold = (self.damage + self.notices).saturating_sub(told);
        if untold > 0 {
            text.push_str(&format!("… and {untold} more, counted in the JSON\n"));
        }
        text.push('\n');
        text.push_str(&table_of(&self.lines, paint));
        text.push('\n');
        text.push_str(&table_of(&self.requests, paint));
        let (verdict, damage, notices) = (self.verdict, self.damage, self.notices);
        let words = format!("{verdict}: {damage} findings mean damage, {notices} do not");
        let tone = match damage {
            0 => Tone::Good,
            _ => Tone::Bad,
        };
        text.push_str(&format!("\n{}\n", paint.tone(tone, &words)));
        text
    }
}
