//! Counters of the fleet, and their Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{NoPeerAnswer, PeerAnswer};

/// Questions to other processes, by whom and outcome.
pub(crate) const ASKED_TOTAL: &str = "esker_fleet_asked_total";
/// Bytes of blocks that other processes gave.
pub(crate) const RECEIVED_BYTES_TOTAL: &str = "esker_fleet_received_bytes_total";
/// Questions of other processes, by outcome.
pub(crate) const SERVED_TOTAL: &str = "esker_fleet_served_total";
/// Bytes of blocks that were given to other processes.
pub(crate) const SERVED_BYTES_TOTAL: &str = "esker_fleet_served_bytes_total";

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// The block's owner in this zone.
    Owner,
    /// Who wrote the object.
    Writer,
}

/// Outcomes of questions to others of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskedStats {
    /// A block came.
    pub blocks: u64,
    /// It is not in memory there.
    pub not_here: u64,
    /// It could not be loaded there.
    pub failed: u64,
    /// There was too much to do there.
    pub busy: u64,
    /// No answer.
    pub lost: u64,
    /// Not asked, since it had not answered a moment before.
    pub rested: u64,
}

/// Counters of one moment, from the process's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetStats {
    /// Questions to owners of blocks.
    pub owner: AskedStats,
    /// Questions to writers of objects.
    pub writer: AskedStats,
    /// Bytes that came.
    pub received_bytes: u64,
    /// Blocks given to others.
    pub served_blocks: u64,
    /// Questions of others for what is not in memory.
    pub served_not_here: u64,
    /// Questions of others for what could not be loaded.
    pub served_failed: u64,
    /// Bytes given to others.
    pub served_bytes: u64,
}

#[derive(Debug, Default)]
struct AskedCounters {
    blocks: AtomicU64,
    not_here: AtomicU64,
    failed: AtomicU64,
    busy: AtomicU64,
    lost: AtomicU64,
    rested: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    owner: AskedCounters,
    writer: AskedCounters,
    received_bytes: AtomicU64,
    served_blocks: AtomicU64,
    served_not_here: AtomicU64,
    served_failed: AtomicU64,
    served_bytes: AtomicU64,
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Relaxed);
}

impl AskedCounters {
    fn snapshot(&self) -> AskedStats {
        AskedStats {
            blocks: self.blocks.load(Relaxed),
            not_here: self.not_here.load(Relaxed),
            failed: self.failed.load(Relaxed),
            busy: self.busy.load(Relaxed),
            lost: self.lost.load(Relaxed),
            rested: self.rested.load(Relaxed),
        }
    }
}

impl Counters {
    fn of(&self, whom: Whom) -> &AskedCounters {
        match whom {
            Whom::Owner => &self.owner,
            Whom::Writer => &self.writer,
        }
    }

    pub(super) fn rested(&self, whom: Whom) {
        add(&self.of(whom).rested, 1);
    }

    pub(super) fn asked(&self, whom: Whom, answer: &Result<PeerAnswer, NoPeerAnswer>) {
        let of = self.of(whom);
        let counter = match answer {
            Ok(PeerAnswer::Block(bytes)) => {
                add(&self.received_bytes, bytes.len());
                &of.blocks
            }
            Ok(PeerAnswer::NotHere) => &of.not_here,
            Ok(PeerAnswer::Failed) => &of.failed,
            Err(NoPeerAnswer::Busy) => &of.busy,
            Err(NoPeerAnswer::Lost) => &of.lost,
        };
        add(counter, 1);
    }

    pub(super) fn served(&self, answer: &PeerAnswer) {
        let counter = match answer {
            PeerAnswer::Block(bytes) => {
                add(&self.served_bytes, bytes.len());
                &self.served_blocks
            }
            PeerAnswer::NotHere => &self.served_not_here,
            PeerAnswer::Failed => &self.served_failed,
        };
        add(counter, 1);
    }

    pub(super) fn snapshot(&self) -> FleetStats {
        FleetStats {
            owner: self.owner.snapshot(),
            writer: self.writer.snapshot(),
            received_bytes: self.received_bytes.load(Relaxed),
            served_blocks: self.served_blocks.load(Relaxed),
            served_not_here: self.served_not_here.load(Relaxed),
            served_failed: self.served_failed.load(Relaxed),
            served_bytes: self.served_bytes.load(Relaxed),
        }
    }
}

fn head(text: &mut String, name: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n");
}

impl FleetStats {
    /// All of it in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        head(
            &mut text,
            ASKED_TOTAL,
            "Questions to other processes for blocks.",
        );
        for (whom, asked) in [("owner", self.owner), ("writer", self.writer)] {
            for (outcome, value) in [
                ("block", asked.blocks),
                ("not_here", asked.not_here),
                ("failed", asked.failed),
                ("busy", asked.busy),
                ("lost", asked.lost),
                ("rested", asked.rested),
            ] {
                let labels = format!("whom=\"{whom}\",outcome=\"{outcome}\"");
                let _ = writeln!(text, "{ASKED_TOTAL}{{{labels}}} {value}");
            }
        }
        head(
            &mut text,
            SERVED_TOTAL,
            "Questions of other processes for blocks.",
        );
        for (outcome, value) in [
            ("block", self.served_blocks),
            ("not_here", self.served_not_here),
            ("failed", self.served_failed),
        ] {
            let _ = writeln!(text, "{SERVED_TOTAL}{{outcome=\"{outcome}\"}} {value}");
        }
        for (name, help, value) in [
            (
                RECEIVED_BYTES_TOTAL,
                "Bytes of others' blocks.",
                self.received_bytes,
            ),
            (
                SERVED_BYTES_TOTAL,
                "Bytes of blocks given to others.",
                self.served_bytes,
            ),
        ] {
            head(&mut text, name, help);
            let _ = writeln!(text, "{name} {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_text_has_every_family_with_its_labels() {
        let counters = Counters::default();
        let block = PeerAnswer::Block(Bytes::from_static(b"block"));
        counters.asked(Whom::Owner, &Ok(block.clone()));
        counters.asked(Whom::Owner, &Ok(PeerAnswer::Failed));
        counters.asked(Whom::Writer, &Ok(PeerAnswer::NotHere));
        counters.asked(Whom::Writer, &Err(NoPeerAnswer::Busy));
        counters.rested(Whom::Writer);
        counters.served(&block);

        let text = counters.snapshot().render();

        assert_eq!(text.matches("# TYPE esker_fleet_").count(), 4);
        for row in [
            "esker_fleet_asked_total{whom=\"owner\",outcome=\"block\"} 1\n",
            "esker_fleet_asked_total{whom=\"owner\",outcome=\"failed\"} 1\n",
            "esker_fleet_asked_total{whom=\"owner\",outcome=\"lost\"} 0\n",
            "esker_fleet_asked_total{whom=\"writer\",outcome=\"not_here\"} 1\n",
            "esker_fleet_asked_total{whom=\"writer\",outcome=\"busy\"} 1\n",
            "esker_fleet_asked_total{whom=\"writer\",outcome=\"rested\"} 1\n",
            "esker_fleet_served_total{outcome=\"block\"} 1\n",
            "esker_fleet_received_bytes_total 5\n",
            "esker_fleet_served_bytes_total 5\n",
        ] {
            assert!(text.contains(row), "{row} in {text}");
        }
    }
}
