//! Reads what is left of a journal: topics, group offsets, epochs, and where it must be ended.
//!
//! What cannot be read is left out. Entries that never became durable (behind the seal of their
//! roll) are not taken; others that were never answered may be: their outcome was unknown (J3).
//! Memory: the entries of one roll, and the salvaged state.

use bytes::Bytes;
use esker_journal::{JournalNote, LeaderInfo, OldJournal, RollNumber};
use esker_metadata::Salvage;
use esker_object::{ListedObject, ObjectKey, StoreError};
use esker_types::SequencerEpoch;
use futures::StreamExt as _;

use crate::audit::AuditParts;
use crate::journal_audit::{Noted, Snapshots, list_snapshots, note, read_snapshot};
use crate::limits::JOURNAL_READS_MAX;
use crate::listing::list_all;
use crate::rolls::{Holder, Rolls};
use crate::watch::Watch;

/// What is left of a journal.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) salvage: Salvage,
    /// Where it must be ended and filled.
    pub(crate) old: OldJournal,
    /// The highest epoch that any object names.
    pub(crate) epoch: SequencerEpoch,
    /// The newest leader that any object names.
    pub(crate) leader: Option<LeaderInfo>,
    /// The roll of the snapshot that was taken, if any.
    pub(crate) snapshot_roll: Option<RollNumber>,
    /// Commands that were read behind it.
    pub(crate) commands: u64,
    /// Objects that could not be read.
    pub(crate) unreadable: u64,
}

/// Commands of the roll that is being read, by place.
#[derive(Debug, Default)]
struct OpenRoll {
    roll: u64,
    entries: Vec<(u64, Vec<Bytes>)>,
    lowest_seal: Option<u64>,
}

impl Remains {
    pub(crate) async fn read(parts: &AuditParts, watch: &dyn Watch) -> Result<Self, StoreError> {
        let snapshots = list_snapshots(parts).await?;
        let mut remains = Self {
            salvage: Salvage::default(),
            old: OldJournal::default(),
            epoch: SequencerEpoch::default(),
            leader: None,
            snapshot_roll: None,
            commands: 0,
            unreadable: 0,
        };
        remains.take_snapshot(parts, &snapshots).await?;
        let mut rolls = Rolls::new(parts.cluster, u64::MAX, true);
        let mut open = OpenRoll::default();
        let prefix = ObjectKey::journal(parts.cluster);
        let rows = list_all(parts.bucket.as_ref(), &prefix);
        let reads = rows.map(|row| async move {
            let row: ListedObject = row?;
            let noted = note(parts, &row.key).await?.0;
            Ok::<_, StoreError>((row, noted))
        });
        let mut reads = std::pin::pin!(reads.buffered(JOURNAL_READS_MAX));
        while let Some(read) = reads.next().await {
            let (row, noted) = read?;
            watch.done(1, row.object_bytes);
            if let Some(at) = row.key.as_journal_place(parts.cluster) {
                remains.place(at, noted, &mut rolls, &mut open);
            }
        }
        remains.take_roll(open, None);
        let told = rolls.last.map_or(0, |(roll, _)| roll);
        let listed = snapshots.lists.last().map_or(0, |roll| roll.get());
        rolls.finish(told.max(listed));
        remains.old = end_of(&rolls);
        Ok(remains)
    }

    /// The newest snapshot that is whole; without one, what is left of the newest.
    async fn take_snapshot(
        &mut self,
        parts: &AuditParts,
        snapshots: &Snapshots,
    ) -> Result<(), StoreError> {
        let mut left = None;
        for roll in snapshots.lists.iter().rev() {
            let Some(read) = read_snapshot(parts, *roll).await? else {
                self.unreadable += 1;
                continue;
            };
            let whole: Option<Vec<Bytes>> = read.iter().cloned().collect();
            let salvage = whole.and_then(|parts| Salvage::of_snapshot(&parts).ok());
            if let Some(salvage) = salvage {
                self.salvage = salvage;
                self.snapshot_roll = Some(*roll);
                return Ok(());
            }
            self.unreadable += 1;
            left = left.or_else(|| Some((Salvage::of_remains(&read)?, *roll)));
        }
        if let Some((salvage, roll)) = left {
            self.salvage = salvage;
            self.snapshot_roll = Some(roll);
        }
        Ok(())
    }

    fn place(&mut self, at: (u64, u64), noted: Noted, rolls: &mut Rolls, open: &mut OpenRoll) {
        let (roll, place) = at;
        let note = match noted {
            Noted::Gone => return,
            Noted::Damaged(_) => {
                self.unreadable += 1;
                None
            }
            Noted::Note(note) => Some(note),
        };
        let holder = note.as_ref().map_or(Holder::Unknown, Holder::of);
        if roll != open.roll {
            let end = match &holder {
                Holder::Head { prev } | Holder::Seal { prev, .. } if place == 0 => *prev,
                _ => None,
            };
            let is_next = roll == open.roll + 1;
            let end = end.filter(|_| is_next).map(|seal| seal.place);
            self.take_roll(std::mem::take(open), end);
            open.roll = roll;
        }
        rolls.place(at, holder);
        match note {
            Some(JournalNote::Head { leader, .. }) => self.saw(leader),
            Some(JournalNote::Seal { next_leader, .. }) => {
                self.saw(next_leader);
                open.lowest_seal.get_or_insert(place);
            }
            Some(JournalNote::Entry { epoch, commands }) => {
                self.epoch = self.epoch.max(epoch);
                open.entries.push((place, commands));
            }
            Some(JournalNote::Part { .. } | JournalNote::Done { .. }) | None => {}
        }
    }

    fn saw(&mut self, leader: LeaderInfo) {
        self.epoch = self.epoch.max(leader.epoch);
        let is_newer = |known: &LeaderInfo| leader.epoch >= known.epoch;
        if self.leader.as_ref().is_none_or(is_newer) {
            self.leader = Some(leader);
        }
    }

    /// Takes the commands of a roll that ends at `end`, or at its lowest seal, or nowhere.
    fn take_roll(&mut self, roll: OpenRoll, end: Option<u64>) {
        if self
            .snapshot_roll
            .is_some_and(|snapshot| roll.roll < snapshot.get())
        {
            return;
        }
        let end = end.or(roll.lowest_seal).unwrap_or(u64::MAX);
        let durable = roll.entries.iter().filter(|(place, _)| *place < end);
        for command in durable.flat_map(|(_, commands)| commands) {
            match self.salvage.apply(command) {
                Ok(()) => self.commands += 1,
                Err(error) => {
                    tracing::warn!(%error, roll = roll.roll, "command cannot be read");
                    self.unreadable += 1;
                }
            }
        }
    }
}

fn end_of(rolls: &Rolls) -> OldJournal {
    let roll = |roll: &u64| RollNumber::new(*roll);
    let mut seals_missing: Vec<(u64, u64)> = rolls.seals_missing.clone();
    seals_missing.extend(rolls.holes());
    OldJournal {
        last: rolls.last.map(|(last, place)| (roll(&last), place)),
        openings_missing: rolls.openings_missing.iter().map(roll).collect(),
        seals_missing: seals_missing
            .iter()
            .map(|(of, place)| (roll(of), *place))
            .collect(),
    }
}
