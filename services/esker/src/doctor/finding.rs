//! What a check found, and how long the store took.

use std::time::Duration;

use serde::Serialize;

use crate::cli::paint::Paint;
use crate::cli::show::{Column, Row, left, right};

/// How it looks, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    /// It could not be examined, which says nothing.
    Skipped,
    Warning,
    Failed,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) status: Status,
    pub(super) tried: String,
    pub(super) happened: String,
    pub(super) to_do: Option<String>,
}

/// How long one operation of the store took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Timing {
    pub(super) operation: &'static str,
    pub(super) count: usize,
    pub(super) median_ms: f64,
    pub(super) max_ms: f64,
}

/// Everything so far.
#[derive(Debug, Default)]
pub(super) struct Examined {
    pub(super) findings: Vec<Finding>,
    pub(super) timings: Vec<Timing>,
}

impl Examined {
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}

impl Finding {
    fn new(
        check: &'static str,
        status: Status,
        tried: impl Into<String>,
        happened: impl Into<String>,
    ) -> Self {
        Self {
            check,
            status,
            tried: tried.into(),
            happened: one_line(&happened.into()),
            to_do: None,
        }
    }

    pub(super) fn ok(
        check: &'static str,
        tried: impl Into<String>,
        happened: impl Into<String>,
    ) -> Self {
        Self::new(check, Status::Ok, tried, happened)
    }

    pub(super) fn skipped(
        check: &'static str,
        tried: impl Into<String>,
        happened: impl Into<String>,
    ) -> Self {
        Self::new(check, Status::Skipped, tried, happened)
    }

    pub(super) fn warning(
        check: &'static str,
        tried: impl Into<String>,
        happened: impl Into<String>,
        to_do: impl Into<String>,
    ) -> Self {
        Self::new(check, Status::Warning, tried, happened).advise(to_do)
    }

    pub(super) fn failed(
        check: &'static str,
        tried: impl Into<String>,
        happened: impl Into<String>,
        to_do: impl Into<String>,
    ) -> Self {
        Self::new(check, Status::Failed, tried, happened).advise(to_do)
    }

    fn advise(mut self, to_do: impl Into<String>) -> Self {
        self.to_do = Some(to_do.into());
        self
    }

    /// One line of what was tried and happened, one of what to do.
    pub(super) fn text(&self, paint: Paint) -> String {
        let word = match self.status {
            Status::Ok => "ok  ",
            Status::Skipped => "skip",
            Status::Warning => "look",
            Status::Failed => "FAIL",
        };
        let word = paint.tone(self.status.tone(), word);
        let (check, tried, happened) = (self.check, &self.tried, &self.happened);
        let mut text = format!("{word}  {check:<18}  {tried}: {happened}\n");
        if let Some(to_do) = &self.to_do {
            text.push_str(&format!("{:26}to do: {to_do}\n", ""));
        }
        text
    }
}

impl Timing {
    /// `None` where nothing was done.
    pub(super) fn of(operation: &'static str, mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let millis = |time: &Duration| (time.as_secs_f64() * 1e6).round() / 1000.0;
        Some(Self {
            operation,
            count: times.len(),
            median_ms: times.get(times.len() / 2).map(millis)?,
            max_ms: times.last().map(millis)?,
        })
    }
}

impl Row for Timing {
    const COLUMNS: &'static [Column<Self>] = &[
        left("STORE OPERATION", |line| line.operation.to_owned()),
        right("COUNT", |line| line.count.to_string()),
        right("MEDIAN ms", |line| format!("{:.2}", line.median_ms)),
        right("MAX ms", |line| format!("{:.2}", line.max_ms)),
    ];
}

/// Stores answer with XML of several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_was_tried_what_happened_and_what_to_do() {
        let finding = Finding::failed("store create", "create an object", "403\n  no", "ask");

        let text = finding.text(Paint::Plain);

        assert_eq!(
            text,
            "FAIL  store create        create an object: 403 no\n\
             \u{20}                         to do: ask\n"
        );
    }

    #[test]
    fn the_worst_status_is_the_largest() {
        assert!(Status::Failed > Status::Warning);
        assert!(Status::Warning > Status::Skipped);
        assert!(Status::Skipped > Status::Ok);
    }

    #[test]
    fn timings_are_median_and_maximum() {
        let times = [5, 1, 3].map(Duration::from_millis).to_vec();

        let timing = Timing::of("get", times).unwrap();

        assert_eq!(
            (timing.count, timing.median_ms, timing.max_ms),
            (3, 3.0, 5.0)
        );
        assert_eq!(Timing::of("get", Vec::new()), None);
    }
}
