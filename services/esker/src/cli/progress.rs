//! Progress on stderr: a bar on a terminal, nothing anywhere else.

use std::io;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Plainness;

/// How often the bar is drawn anew, at most.
const REDRAWS_PER_SECOND: u8 = 10;

/// Counts records and bytes, and shows them where somebody looks.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    records: u64,
    bytes: u64,
}

impl Progress {
    /// `total` is the number of records to come, when it is known; `is_free` says that nothing else
    /// uses the terminal.
    pub(crate) fn start(plainness: Plainness, is_free: bool, total: Option<u64>) -> Self {
        let wanted = !plainness.no_progress && !plainness.ci && is_free;
        let shown = wanted && io::stderr().is_terminal();
        let bar = shown.then(|| {
            let bar = ProgressBar::new(total.unwrap_or(0));
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
            let template = match total {
                Some(_) => "{wide_bar} {human_pos} of {human_len} records  {msg}  {eta}",
                None => "{spinner} {human_pos} records  {msg}  {elapsed}",
            };
            let style = ProgressStyle::with_template(template);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        Self {
            bar,
            records: 0,
            bytes: 0,
        }
    }

    pub(crate) fn add(&mut self, records: u64, bytes: u64) {
        self.records = self.records.saturating_add(records);
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(bar) = &self.bar {
            bar.set_message(HumanBytes(self.bytes).to_string());
            bar.set_position(self.records);
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
    fn no_time_at_all_is_no_division_by_zero() {
        assert!(summary(1, 1, Duration::ZERO).starts_with("1 record (1 B) in 0.00 s"));
    }
}
