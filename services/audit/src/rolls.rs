//! Judges the journal's rolls by what stands at their places, told in ascending order. Pure.
//!
//! A roll ends where place 0 of the next one says (its verdict); below the newest snapshot entries
//! may be gone (J4), but place 0 and a seal of each roll stay for ever. Memory: one roll.

use std::collections::BTreeMap;

use esker_journal::{JournalConfig, JournalNote, NamedSeal};
use esker_object::ObjectKey;
use esker_types::{ClusterId, WriteId};

use crate::finding::{FindingKind, Findings};

/// Places that an owner has in flight: a crash leaves a missing one with fewer behind it.
fn in_flight_max() -> u64 {
    let in_flight_max = JournalConfig::default().in_flight_max;
    u64::try_from(in_flight_max).unwrap_or(u64::MAX)
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Head {
        prev: Option<NamedSeal>,
    },
    Entry,
    Seal {
        write_id: WriteId,
        prev: Option<NamedSeal>,
    },
    /// Not read, or not readable.
    Unknown,
}

impl Holder {
    /// What a note says; parts and lists of snapshots stand nowhere in a roll.
    pub(crate) fn of(note: &JournalNote) -> Self {
        match note {
            JournalNote::Head { prev, .. } => Self::Head { prev: *prev },
            JournalNote::Entry { .. } => Self::Entry,
            JournalNote::Seal { write_id, prev, .. } => Self::Seal {
                write_id: *write_id,
                prev: *prev,
            },
            JournalNote::Part { .. } | JournalNote::Done { .. } => Self::Unknown,
        }
    }

    fn prev(&self) -> Option<NamedSeal> {
        match self {
            Self::Head { prev } | Self::Seal { prev, .. } => *prev,
            Self::Entry | Self::Unknown => None,
        }
    }
}

/// The rolls as far as they were told.
#[derive(Debug)]
pub(crate) struct Rolls {
    cluster: ClusterId,
    /// Rolls below are replaced by a snapshot.
    needed_from: u64,
    /// Whether the objects of rolls below were read.
    reads_all: bool,
    roll: u64,
    places: BTreeMap<u64, Holder>,
    pub(crate) findings: Findings,
    pub(crate) entries: u64,
    /// The highest roll told, and its highest place.
    pub(crate) last: Option<(u64, u64)>,
    /// Rolls below the last without place 0.
    pub(crate) openings_missing: Vec<u64>,
    /// Places that must be sealed and are not.
    pub(crate) seals_missing: Vec<(u64, u64)>,
}

impl Rolls {
    pub(crate) fn new(cluster: ClusterId, needed_from: u64, reads_all: bool) -> Self {
        Self {
            cluster,
            needed_from,
            reads_all,
            roll: 0,
            places: BTreeMap::new(),
            findings: Findings::default(),
            entries: 0,
            last: None,
            openings_missing: Vec::new(),
            seals_missing: Vec::new(),
        }
    }

    /// Whether the objects of a roll must be read for the state.
    pub(crate) fn needs(&self, roll: u64) -> bool {
        roll >= self.needed_from
    }

    /// The first roll that must be read, and whether those below are read too.
    pub(crate) fn reading(&self) -> (u64, bool) {
        (self.needed_from, self.reads_all)
    }

    pub(crate) fn place(&mut self, (roll, place): (u64, u64), holder: Holder) {
        self.reach(roll, (place == 0).then_some(&holder));
        self.entries += u64::from(holder == Holder::Entry);
        self.last = Some((roll, place));
        self.places.insert(place, holder);
    }

    /// Judges all rolls below `roll`, whose opening is told if it is there.
    fn reach(&mut self, roll: u64, opening: Option<&Holder>) {
        while self.roll < roll {
            let next = self.roll + 1;
            let opening = opening.filter(|_| next == roll);
            self.judge_ended(opening.and_then(Holder::prev));
            self.roll = next;
            self.places.clear();
        }
    }

    /// All has been told; `roll_max` is the highest roll that anything names.
    pub(crate) fn finish(&mut self, roll_max: u64) {
        self.reach(roll_max, None);
        if self.last.is_some_and(|(roll, _)| roll < self.roll) || self.last.is_none() {
            self.last = (roll_max > 0).then_some((roll_max, 0));
        }
        if self.last.is_some() {
            self.judge_last();
        }
    }

    fn key(&self, place: u64) -> ObjectKey {
        ObjectKey::journal_place(self.cluster, self.roll, place)
    }

    fn find(&mut self, kind: FindingKind, place: u64, what: String) {
        let key = self.key(place);
        self.findings.add(kind, Some(key), what);
    }

    fn judge_opening(&mut self) {
        if self.places.contains_key(&0) {
            return;
        }
        self.openings_missing.push(self.roll);
        let what = format!("roll {} has no place 0", self.roll);
        self.find(FindingKind::JournalPlaceMissing, 0, what);
    }

    fn highest(&self) -> u64 {
        self.places.last_key_value().map_or(0, |(place, _)| *place)
    }

    /// A roll below the last.
    fn judge_ended(&mut self, verdict: Option<NamedSeal>) {
        self.judge_opening();
        match verdict {
            Some(seal) if self.needs(self.roll) => self.judge_by(seal),
            _ => self.judge_sealed(),
        }
    }

    /// Some seal ends it; which one does not matter any more.
    fn judge_sealed(&mut self) {
        let read = self.reads_all || self.needs(self.roll);
        let ends = |(place, holder): (&u64, &Holder)| match holder {
            Holder::Seal { .. } => true,
            Holder::Unknown => !read || *place > 0,
            Holder::Head { .. } | Holder::Entry => false,
        };
        if self.places.iter().any(ends) {
            return;
        }
        let place = self.highest() + 1;
        self.seals_missing.push((self.roll, place));
        let what = format!("roll {} is over, but no seal ends it", self.roll);
        self.find(FindingKind::JournalPlaceMissing, place, what);
    }

    /// The entries are those below the seal that the next roll names.
    fn judge_by(&mut self, seal: NamedSeal) {
        match self.places.get(&seal.place) {
            Some(Holder::Seal { write_id, .. }) if *write_id == seal.write_id => {}
            Some(Holder::Unknown) => {}
            Some(_) => {
                let what = format!("roll {} does not end as the next one says", self.roll);
                self.find(FindingKind::JournalUnreadable, seal.place, what);
            }
            None => {
                self.seals_missing.push((self.roll, seal.place));
                let what = format!("the seal of roll {} is missing", self.roll);
                self.find(FindingKind::JournalPlaceMissing, seal.place, what);
            }
        }
        self.judge_entries(seal.place);
        let end = seal.place;
        let behind = self.places.range(end..);
        let entries = behind.filter(|(_, holder)| **holder == Holder::Entry);
        let entries = entries.count();
        if entries > 0 {
            let what = format!("{entries} entries behind the end of roll {}", self.roll);
            self.find(FindingKind::JournalLeftover, end, what);
        }
    }

    /// Each place in `1..end` holds an entry, or an object that cannot be read.
    fn judge_entries(&mut self, end: u64) {
        let missing: Vec<u64> = (1..end)
            .filter(|place| !self.places.contains_key(place))
            .collect();
        if let Some(first) = missing.first() {
            let (count, roll) = (missing.len(), self.roll);
            let what = format!("{count} entries below the end of roll {roll} are missing");
            self.find(FindingKind::JournalEntryMissing, *first, what);
        }
    }

    /// The last roll: its entries reach to a seal or to the first missing place.
    fn judge_last(&mut self) {
        self.judge_opening();
        let is_seal = |(_, holder): &(&u64, &Holder)| matches!(holder, Holder::Seal { .. });
        let seal = self.places.iter().find(is_seal).map(|(place, _)| *place);
        if let Some(seal) = seal {
            self.judge_entries(seal);
            return;
        }
        let highest = self.highest();
        let gap = (1..=highest).find(|place| !self.places.contains_key(place));
        let Some(gap) = gap else {
            return;
        };
        let roll = self.roll;
        if highest - gap >= in_flight_max() {
            let what = format!("roll {roll} goes on behind this place, which is missing");
            self.find(FindingKind::JournalEntryMissing, gap, what);
        } else {
            let what = format!("roll {roll} has entries shortly behind this missing place");
            self.find(FindingKind::OpenGap, gap, what);
        }
    }

    /// Places of the last roll that its owner may still write to: those that are missing below its
    /// highest one.
    pub(crate) fn holes(&self) -> Vec<(u64, u64)> {
        let highest = self.highest();
        let from = highest.saturating_sub(2 * in_flight_max()).max(1);
        (from..highest)
            .filter(|place| !self.places.contains_key(place))
            .map(|place| (self.roll, place))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_bytes([2; 16]);
    const WRITE: WriteId = WriteId::from_bytes([9; 16]);

    /// Each text is a roll: `h` head, `e` entry, `x` seal, `?` damaged, `.` nothing.
    fn told(rolls: &[&str], needed_from: u64) -> Rolls {
        let mut told = Rolls::new(CLUSTER, needed_from, true);
        for (roll, places) in (0_u64..).zip(rolls) {
            for (place, letter) in (0_u64..).zip(places.chars()) {
                let before = roll.checked_sub(1).and_then(|before| {
                    let before = rolls[usize::try_from(before).unwrap()];
                    before.find('x')
                });
                let prev = before.map(|place| NamedSeal {
                    place: u64::try_from(place).unwrap(),
                    write_id: WRITE,
                });
                let holder = match letter {
                    'h' => Holder::Head { prev },
                    'e' => Holder::Entry,
                    'x' => Holder::Seal {
                        write_id: WRITE,
                        prev: prev.filter(|_| place == 0),
                    },
                    '?' => Holder::Unknown,
                    _ => continue,
                };
                told.place((roll, place), holder);
            }
        }
        let last = u64::try_from(rolls.len()).unwrap().saturating_sub(1);
        told.finish(last);
        told
    }

    fn found(rolls: &[&str], needed_from: u64) -> Vec<(FindingKind, String)> {
        let told = told(rolls, needed_from);
        let rows = told.findings.rows().iter();
        let place = |key: &ObjectKey| {
            let (roll, place) = key.as_journal_place(CLUSTER).unwrap();
            format!("{roll}/{place}")
        };
        rows.map(|row| (row.kind, place(row.key.as_ref().unwrap())))
            .collect()
    }

    fn one(kind: FindingKind, place: &str) -> Vec<(FindingKind, String)> {
        vec![(kind, place.to_owned())]
    }

    #[test]
    fn nothing_is_odd_about_rolls_as_they_are() {
        assert_eq!(found(&["heeex", "hex", "hee"], 0), []);
        assert_eq!(found(&["h...x", "hx", "he"], 2), [], "collected");
        assert_eq!(found(&["hex", "x", "he"], 0), [], "an owner never came");
        assert_eq!(found(&["he"], 0), []);
        assert_eq!(found(&["heex"], 0), []);
    }

    #[test]
    fn each_thing_that_can_be_missing_is_missed() {
        use FindingKind::{JournalEntryMissing, JournalLeftover, JournalPlaceMissing, OpenGap};

        assert_eq!(found(&["he.ex", "he"], 0), one(JournalEntryMissing, "0/2"));
        assert_eq!(found(&["he.ex"], 0), one(JournalEntryMissing, "0/2"));
        assert_eq!(found(&["he.e"], 0), one(OpenGap, "0/2"));
        assert_eq!(found(&["heexe", "he"], 0), one(JournalLeftover, "0/3"));
        assert_eq!(
            found(&["hex", ".ex", "h"], 0),
            one(JournalPlaceMissing, "1/0")
        );
        assert_eq!(
            found(&["h...", "hx", "he"], 2),
            one(JournalPlaceMissing, "0/1")
        );
        assert_eq!(found(&[".e"], 0), one(JournalPlaceMissing, "0/0"));
    }

    #[test]
    fn one_entry_more_than_a_crash_leaves_shows_that_a_place_was_lost() {
        let in_flight = usize::try_from(in_flight_max()).unwrap();
        let crash = format!("he.{}", "e".repeat(in_flight - 1));
        let damage = format!("he.{}", "e".repeat(in_flight));

        assert_eq!(found(&[&crash], 0), one(FindingKind::OpenGap, "0/2"));
        assert_eq!(
            found(&[&damage], 0),
            one(FindingKind::JournalEntryMissing, "0/2")
        );
    }

    #[test]
    fn what_must_be_filled_before_another_journal_begins_is_known() {
        let told = told(&["h..", ".ex", "", "he.e"], 0);

        assert_eq!(told.last, Some((3, 3)));
        assert_eq!(told.openings_missing, [1, 2]);
        assert_eq!(told.seals_missing, [(0, 1), (2, 1)]);
        assert_eq!(told.holes(), [(3, 2)]);
    }
}
