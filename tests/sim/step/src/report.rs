//! What is printed, and what a panic said.

use std::any::Any;
use std::io::Write as _;

use esker_history::format::{Header, Line};
use serde_json::json;

use crate::fault::Fault;
use crate::run::Outcome;

/// Prints a line; a reader that went away does not end the run.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let owned = panic.downcast_ref::<String>().cloned();
    text.or(owned).unwrap_or_else(|| "panic".to_owned())
}

pub(crate) fn write_history(path: &str, lines: &[Line]) {
    let header = Header {
        gaps_are_noted: true,
        ..Header::default()
    };
    let mut text = serde_json::to_string(&header).unwrap_or_default();
    for line in lines {
        text.push('\n');
        text.push_str(&serde_json::to_string(line).unwrap_or_default());
    }
    text.push('\n');
    if let Err(error) = std::fs::write(path, text) {
        tell(&format!("history not written to {path}: {error}"));
    }
}

/// Sums over seeds.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    /// The sum of what seeds came to.
    pub sum: Outcome,
    /// Seeds run.
    pub seeds: u64,
    /// Seeds that broke a rule.
    pub failed: Vec<Outcome>,
}

impl Sums {
    /// Adds a seed.
    pub fn add(&mut self, one: &Outcome) {
        let sum = &mut self.sum;
        self.seeds += 1;
        sum.simulated += one.simulated;
        sum.events += one.events;
        sum.operations += one.operations;
        sum.acked += one.acked;
        sum.failovers += one.failovers;
        sum.zombies += one.zombies;
        sum.seals += one.seals;
        sum.segments += one.segments;
        sum.void_ranges += one.void_ranges;
        sum.requests += one.requests;
        sum.hash ^= one
            .hash
            .rotate_left(u32::try_from(one.seed % 63).unwrap_or(0));
        for (sum, one) in sum.faults.iter_mut().zip(&one.faults) {
            *sum += one;
        }
        if one.violation.is_some() {
            self.failed.push(one.clone());
        }
    }

    /// Kinds of faults that never struck.
    #[must_use]
    pub fn idle_faults(&self) -> Vec<&'static str> {
        let counted = Fault::ALL.iter().zip(&self.sum.faults);
        let idle = counted.filter(|(_, count)| **count == 0);
        idle.map(|(kind, _)| kind.name()).collect()
    }

    /// Prints the figures.
    pub fn print(&self, wall_seconds: f64) {
        let sum = &self.sum;
        let simulated = seconds(sum.simulated);
        tell(&format!(
            "{} seeds, {:.1} simulated hours in {wall_seconds:.1} s: {:.0} simulated seconds a \
             second, {:.0} events a second",
            self.seeds,
            simulated / 3600.0,
            simulated / wall_seconds.max(0.001),
            float(sum.events) / wall_seconds.max(0.001),
        ));
        tell(&format!(
            "{} operations checked, {} batches acknowledged, {} store requests, {} segments, \
             {} seals, {} void ranges, {} take-overs, {} zombies",
            sum.operations,
            sum.acked,
            sum.requests,
            sum.segments,
            sum.seals,
            sum.void_ranges,
            sum.failovers,
            sum.zombies
        ));
        for (kind, count) in Fault::ALL.iter().zip(&sum.faults) {
            tell(&format!("  {count:>10} {}", kind.name()));
        }
        tell(&format!("hash over all seeds {:016x}", sum.hash));
    }

    /// The figures for machines.
    #[must_use]
    pub fn json(&self, wall_seconds: f64) -> serde_json::Value {
        let sum = &self.sum;
        let counted = Fault::ALL.iter().zip(&sum.faults);
        let faults: serde_json::Map<_, _> = counted
            .map(|(kind, count)| (kind.name().to_owned(), json!(count)))
            .collect();
        let failed: Vec<u64> = self.failed.iter().map(|one| one.seed).collect();
        json!({
            "seeds": self.seeds,
            "simulated_hours": seconds(sum.simulated) / 3600.0,
            "wall_seconds": wall_seconds,
            "events": sum.events,
            "operations": sum.operations,
            "acknowledged": sum.acked,
            "store_requests": sum.requests,
            "segments": sum.segments,
            "seals": sum.seals,
            "void_ranges": sum.void_ranges,
            "take_overs": sum.failovers,
            "zombies": sum.zombies,
            "faults": faults,
            "failed": failed,
        })
    }
}

/// Says what broke.
pub fn tell_failure(outcome: &Outcome) {
    if let Some(violation) = &outcome.violation {
        let what: String = violation.what.chars().take(1200).collect();
        tell(&format!(
            "seed {} at {:.3} simulated s broke {}: {what}",
            outcome.seed,
            seconds(outcome.simulated),
            violation.rule
        ));
    }
}

fn seconds(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64()
}

fn float(count: u64) -> f64 {
    // Printed only.
    count.to_string().parse().unwrap_or(0.0)
}
