//! Progress on stderr: a bar on a terminal, nothing anywhere else.

use std::io;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Plainness;

/// How often the bar is drawn anew, at most.
const REDRAWS_PER_SECOND: u8 = 10;

/// How much there is to do, when it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Total {
    Unknown,
    /// Records to come.
    Records(u64),
    /// Bytes of the input.
    Bytes(u64),
    /// Objects to come, nobody knows how many.
    Objects,
    /// Milliseconds that the work takes.
    Millis(u64),
}

impl Total {
    fn template(self) -> &'static str {
        match self {
            Self::Unknown => "{spinner} {human_pos} records  {per_sec}  {msg}  {elapsed}",
            Self::Records(_) => {
                "{wide_bar} {human_pos} of {human_len} records  {per_sec}  {msg}  {eta} left"
            }
            Self::Bytes(_) => {
                "{wide_bar} {bytes} of {total_bytes}  {bytes_per_sec}  {msg}  {eta} left"
            }
            Self::Objects => "{spinner} {human_pos} objects  {per_sec}  {elapsed}",
            Self::Millis(_) => "{wide_bar} {msg}  {eta} left",
        }
    }

    fn length(self) -> u64 {
        match self {
            Self::Unknown | Self::Objects => 0,
            Self::Records(total) | Self::Bytes(total) | Self::Millis(total) => total,
        }
    }
}

/// Counts records and bytes, and shows them where somebody looks.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: Total,
    records: u64,
    bytes: u64,
}

impl Progress {
    /// `is_free` says that nothing else uses the terminal.
    pub(crate) fn start(plainness: Plainness, is_free: bool, total: Total) -> Self {
        let is_plain = plainness.no_progress || plainness.no_color || plainness.ci;
        let shown = !is_plain && is_free && io::stderr().is_terminal();
        let bar = shown.then(|| {
            let bar = ProgressBar::new(total.length());
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
            let style = ProgressStyle::with_template(total.template());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        Self {
            bar,
            total,
            records: 0,
            bytes: 0,
        }
    }

    /// So many more are done.
    pub(crate) fn add(&mut self, records: u64, bytes: u64) {
        self.records = self.records.saturating_add(records);
        self.bytes = self.bytes.saturating_add(bytes);
        let Some(bar) = &self.bar else {
            return;
        };
        match self.total {
            Total::Unknown | Total::Records(_) => {
                bar.set_message(HumanBytes(self.bytes).to_string());
                bar.set_position(self.records);
            }
            Total::Bytes(_) => {
                bar.set_message(format!("{} records", HumanCount(self.records)));
            }
            Total::Objects | Total::Millis(_) => {}
        }
    }

    /// So many bytes of the input are read, objects looked at, or milliseconds over.
    pub(crate) fn advance(&self, by: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(by);
        }
    }

    /// Where the work stands, in words.
    pub(crate) fn message(&self, words: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_message(words());
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Takes the bar away, and says how much was done at which rate.
    pub(crate) fn finish(self, elapsed: Duration) -> String {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        summary(self.records, self.bytes, elapsed)
    }
}

/// `1,000 records (12.0 KiB) in 0.50 s: 2,000 records/s, 24.0 KiB/s`
fn summary(records: u64, bytes: u64, elapsed: Duration) -> String {
    let rate = |amount: u64| {
        let micros = elapsed.as_micros().max(1);
        let rate = u128::from(amount).saturating_mul(1_000_000) / micros;
        u64::try_from(rate).unwrap_or(u64::MAX)
    };
    let unit = if records == 1 { "record" } else { "records" };
    format!(
        "{} {unit} ({}) in {:.2} s: {} records/s, {}/s",
        HumanCount(records),
        HumanBytes(bytes),
        elapsed.as_secs_f64(),
        HumanCount(rate(records)),
        HumanBytes(rate(bytes)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_count_bytes_time_and_rates() {
        let text = summary(1000, 12 * 1024, Duration::from_millis(500));

        assert_eq!(
            text,
            "1,000 records (12.00 KiB) in 0.50 s: 2,000 records/s, 24.00 KiB/s"
        );
    }

    #[test]
    fn every_bar_shows_a_rate_and_what_is_left() {
        for total in [Total::Records(1), Total::Bytes(1), Total::Millis(1)] {
            assert!(ProgressStyle::with_template(total.template()).is_ok());
            assert!(total.template().contains("{eta}"), "{total:?}");
            assert_eq!(total.length(), 1);
        }
        for total in [Total::Unknown, Total::Objects] {
            assert!(total.template().contains("{per_sec}"), "{total:?}");
            assert!(ProgressStyle::with_template(total.template()).is_ok());
        }
    }

    #[test]
    fn no_time_at_all_is_no_division_by_zero() {
        assert!(summary(1, 1, Duration::ZERO).starts_with("1 record (1 B) in 0.00 s"));
    }
}
