//! When a snapshot is due: when the entries since the last one outgrow it (J7). Pure.
//!
//! Entries are weighed, since a small one costs a GET at replay as a large one does, and so are
//! rolls, which are read one after the other. So a cold replay is bounded by the larger of the
//! state and a fixed weight, and snapshots cost no more than entries.

use crate::config::JournalConfig;
use crate::limits::SNAPSHOT_ROLLS;

/// Weighs entries and remembers where the last snapshot stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SnapshotSchedule {
    snapshot_weight_min: u64,
    entry_weight_min: u64,
    /// What a roll weighs besides its entries.
    roll_weight: u64,
    /// Bytes of the last snapshot.
    snapshot_bytes: u64,
    /// Weight of the entries behind the last snapshot.
    weight: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    /// Asked for at the start of a roll, when the weight was `weight`.
    Asked {
        weight: u64,
    },
    /// The parts are being written.
    Writing {
        weight: u64,
    },
    /// The last one failed: try again at the next roll, but end none for it.
    Failed,
}

impl SnapshotSchedule {
    pub(crate) fn new(config: &JournalConfig) -> Self {
        Self {
            snapshot_weight_min: config.snapshot_weight_min,
            entry_weight_min: config.entry_weight_min,
            roll_weight: config.snapshot_weight_min / SNAPSHOT_ROLLS,
            snapshot_bytes: 0,
            weight: 0,
            stage: Stage::Idle,
        }
    }

    /// The state was read from a snapshot: nothing stands behind it yet.
    pub(crate) fn restored(&mut self, snapshot_bytes: u64) {
        self.snapshot_bytes = snapshot_bytes;
        self.weight = 0;
        self.stage = Stage::Idle;
    }

    /// An entry was read or written.
    pub(crate) fn entry(&mut self, entry_bytes: u64) {
        let weight = entry_bytes.max(self.entry_weight_min);
        self.weight = self.weight.saturating_add(weight);
    }

    /// A roll was read or begun.
    pub(crate) fn roll(&mut self) {
        self.weight = self.weight.saturating_add(self.roll_weight);
    }

    fn is_due(&self) -> bool {
        self.weight > 0 && self.weight >= self.snapshot_bytes.max(self.snapshot_weight_min)
    }

    /// Whether the roll should end so that a snapshot can be taken.
    pub(crate) fn ends_roll(&self) -> bool {
        self.stage == Stage::Idle && self.is_due()
    }

    /// A roll begins: whether a snapshot of its start is wanted.
    pub(crate) fn begin_roll(&mut self) -> bool {
        self.roll();
        let wanted = match self.stage {
            Stage::Idle | Stage::Asked { .. } | Stage::Failed => self.is_due(),
            Stage::Writing { .. } => false,
        };
        if wanted {
            let weight = self.weight;
            self.stage = Stage::Asked { weight };
        }
        wanted
    }

    /// The parts were handed in.
    pub(crate) fn writing(&mut self) {
        if let Stage::Asked { weight } = self.stage {
            self.stage = Stage::Writing { weight };
        }
    }

    /// The snapshot is whole.
    pub(crate) fn written(&mut self, snapshot_bytes: u64) {
        if let Stage::Writing { weight } = self.stage {
            assert!(weight <= self.weight, "weight only grows between snapshots");
            self.weight -= weight;
            self.snapshot_bytes = snapshot_bytes;
            self.stage = Stage::Idle;
        }
    }

    /// It could not be written.
    pub(crate) fn failed(&mut self) {
        self.stage = Stage::Failed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> SnapshotSchedule {
        SnapshotSchedule::new(&JournalConfig {
            snapshot_weight_min: 100,
            entry_weight_min: 10,
            ..JournalConfig::default()
        })
    }

    #[test]
    fn a_snapshot_is_due_when_entries_outweigh_it_and_small_entries_count_as_a_request() {
        let mut small = schedule();
        let mut large_state = schedule();
        large_state.restored(250);
        for _ in 0..10 {
            small.entry(1);
            large_state.entry(20);
        }

        assert!(small.ends_roll());
        assert!(!large_state.ends_roll());
        large_state.entry(50);
        assert!(large_state.ends_roll());
    }

    #[test]
    fn rolls_without_entries_make_a_snapshot_due_as_well() {
        let mut schedule = SnapshotSchedule::new(&JournalConfig {
            snapshot_weight_min: SNAPSHOT_ROLLS * 10,
            ..JournalConfig::default()
        });
        for _ in 1..SNAPSHOT_ROLLS {
            schedule.roll();
        }

        assert!(!schedule.ends_roll());
        assert!(schedule.begin_roll());
    }

    #[test]
    fn entries_written_while_a_snapshot_is_made_count_for_the_next() {
        let mut schedule = schedule();
        schedule.entry(100);
        assert!(schedule.begin_roll());

        schedule.writing();
        schedule.entry(90);
        assert!(!schedule.ends_roll() && !schedule.begin_roll());
        schedule.written(50);

        assert!(!schedule.ends_roll());
        schedule.entry(10);
        assert!(schedule.ends_roll());
    }

    #[test]
    fn a_snapshot_never_handed_in_is_asked_for_again() {
        let mut schedule = schedule();
        schedule.entry(100);

        assert!(schedule.begin_roll());
        assert!(!schedule.ends_roll());
        assert!(schedule.begin_roll());
    }

    #[test]
    fn a_failed_snapshot_ends_no_roll_but_is_tried_at_the_next() {
        let mut schedule = schedule();
        schedule.entry(100);
        assert!(schedule.begin_roll());
        schedule.writing();

        schedule.failed();

        assert!(!schedule.ends_roll());
        assert!(schedule.begin_roll());
    }
}
