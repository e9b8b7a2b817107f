//! What a run tells: a rolling hash of its events, counts of faults, and what is wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Violations kept in words; more are only counted.
const VIOLATIONS_MAX: usize = 20;

/// The events of one run.
#[derive(Debug, Default)]
pub(crate) struct Log {
    hash: u64,
    pub(crate) events: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) violations: Vec<String>,
    pub(crate) violation_count: u64,
    /// When the run was over.
    pub(crate) ended_at: Duration,
    /// Events are written to standard error.
    is_traced: bool,
    text: String,
}

impl Log {
    pub(crate) fn new(is_traced: bool) -> Self {
        Self {
            is_traced,
            ..Self::default()
        }
    }

    pub(crate) fn event(&mut self, at: Duration, what: std::fmt::Arguments<'_>) {
        self.text.clear();
        let _ = write!(self.text, "{:>12.6} {what}", at.as_secs_f64());
        self.events += 1;
        // FNV-1a over the words before: the same events in the same order give the same number.
        let mut hash = self.hash ^ 0xcbf2_9ce4_8422_2325;
        for byte in self.text.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.hash = hash;
        if self.is_traced {
            trace(&self.text);
        }
    }

    pub(crate) fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    pub(crate) fn violation(&mut self, what: String) {
        self.violation_count += 1;
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(what);
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

fn trace(text: &str) {
    use std::io::Write as _;
    // Whoever reads the trace may go away.
    let _ = writeln!(std::io::stderr(), "{text}");
}
