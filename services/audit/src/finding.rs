//! What an audit finds: a kind, the object, what it means and what to do.
//!
//! The words of kinds are stable: `docs/verify-and-rebuild.md` lists them, scripts rely on them.

use std::collections::BTreeMap;

use esker_object::ObjectKey;

use crate::limits::{DAMAGE_TOLD_MAX, NOTICES_TOLD_MAX};

/// Whether something is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong: told because it takes room, or because a person may wonder.
    Notice,
    /// Something that must be there is not, or is not what it must be.
    Damage,
}

macro_rules! kinds {
    ($(
        $(#[$doc:meta])*
        $name:ident = $word:literal, $severity:ident, $meaning:literal, $to_do:literal;
    )*) => {
        /// What kind of thing was found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FindingKind {
            $($(#[$doc])* $name,)*
        }

        impl FindingKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word in reports.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Whether it means damage.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// What it means.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to do.
            #[must_use]
            pub fn to_do(self) -> &'static str {
                match self { $(Self::$name => $to_do,)* }
            }
        }
    };
}

kinds! {
    /// `cluster.json` is gone.
    ClusterFileMissing = "cluster-file-missing", Damage,
        "nobody can tell whose prefix this is, and the next start would begin a new cluster",
        "esker rebuild --cluster-id writes it again";
    /// Bytes are not what was written.
    ObjectDamaged = "object-damaged", Damage,
        "the object cannot be read, or its bytes are not those that were written",
        "bring this very object back from a version or a replica of the bucket";
    /// A segment that the log needs.
    SegmentMissing = "segment-missing", Damage,
        "acknowledged records are gone",
        "bring the object back from a version or a replica of the bucket";
    /// A segment and the index disagree.
    SegmentMismatch = "segment-mismatch", Damage,
        "readers find other records there than the index says",
        "if the object was replaced bring it back, else esker rebuild --force makes the index anew";
    /// A committed segment that the index does not know.
    SegmentNotIndexed = "segment-not-indexed", Damage,
        "acknowledged records cannot be read",
        "esker rebuild --force makes the index anew from the segments";
    /// A hole in an open chain that no crash explains.
    ChainGap = "chain-gap", Damage,
        "segments behind the hole were acknowledged and would turn void at the next start",
        "do not start esker; bring the missing object back from a version or a replica";
    /// A seal that must stand for ever.
    SealMissing = "seal-missing", Damage,
        "a delayed write could still take the place, and be acknowledged without being in the log",
        "bring the object back, or make sure that no process of that time lives";
    /// A journal entry below the end of its roll.
    JournalEntryMissing = "journal-entry-missing", Damage,
        "changes of topics, groups or the index are gone",
        "bring the object back; if that cannot be, esker rebuild";
    /// Place 0 or the seal of a roll.
    JournalPlaceMissing = "journal-place-missing", Damage,
        "the end of a roll is not marked: an old process could go on writing there",
        "bring the object back; if that cannot be, esker rebuild --force fills the place";
    /// A snapshot without a part.
    SnapshotIncomplete = "snapshot-incomplete", Damage,
        "the state cannot be read, since what the snapshot replaces was deleted",
        "bring the object back; if that cannot be, esker rebuild";
    /// The journal cannot be replayed.
    JournalUnreadable = "journal-unreadable", Damage,
        "esker cannot start",
        "bring the objects named here back; if that cannot be, esker rebuild";
    /// A session that wrote and was never registered.
    SessionUnknown = "session-unknown", Damage,
        "a session is registered before it writes (W1), so a part of the journal is lost",
        "bring the journal's objects back; if that cannot be, esker rebuild --force";
    /// The index contradicts itself.
    IndexContradiction = "index-contradiction", Damage,
        "two records claim one offset, or the end of a partition is wrong",
        "keep the bucket as it is and ask for help; esker rebuild --force makes the index anew";
    /// Producers are remembered otherwise than the segments say.
    ProducerState = "producer-state", Damage,
        "a retry of an idempotent producer may be written twice, or refused",
        "esker rebuild --force makes the state anew from the segments";
    /// Written above a session's end.
    VoidSegment = "void-segment", Notice,
        "written by a process that died or was replaced, never acknowledged and never read",
        "nothing; it only takes room";
    /// A missing segment that nothing refers to.
    SegmentDeleted = "segment-deleted", Notice,
        "nothing refers to it: its topics were deleted",
        "nothing";
    /// Writes in flight, or what a crash left of them.
    OpenGap = "open-gap", Notice,
        "writes that are under way, or were when a process died: none was acknowledged",
        "nothing; if no process died or runs, treat it as chain-gap";
    /// An object that exists and is not listed.
    ListingIncomplete = "listing-incomplete", Notice,
        "the store's listings leave out what is there, so this object was not checked",
        "audit again; Esker itself never relies on listings";
    /// Entries behind the end of a roll.
    JournalLeftover = "journal-leftover", Notice,
        "written when a process died or was replaced, and never durable; or no longer needed",
        "nothing; a later snapshot sweeps it";
    /// Below a snapshot, and not readable.
    RemainsDamaged = "remains-damaged", Notice,
        "a newer snapshot replaces it, nothing reads it any more",
        "nothing; but find out why the bucket damages objects";
    /// Parts of snapshots that no list names.
    SnapshotLeftover = "snapshot-leftover", Notice,
        "being written, or left by a process that died, or no longer needed",
        "nothing; the next snapshot sweeps it";
    /// A key that Esker never makes.
    UnknownKey = "unknown-key", Notice,
        "not written by Esker",
        "find out who writes below this prefix";
    /// The store's start-up probe left it.
    ProbeLeftover = "probe-leftover", Notice,
        "a process died while it probed the store",
        "it may be deleted";
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// The object, or the first of them.
    pub key: Option<ObjectKey>,
    /// What exactly.
    pub what: String,
}

/// All findings: the first ones one by one, the others as numbers.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    rows: Vec<Finding>,
    damage_told: usize,
    notices_told: usize,
    counts: BTreeMap<FindingKind, u64>,
}

impl Findings {
    pub(crate) fn add(&mut self, kind: FindingKind, key: Option<ObjectKey>, what: String) {
        *self.counts.entry(kind).or_default() += 1;
        let (told, told_max) = match kind.severity() {
            Severity::Damage => (&mut self.damage_told, DAMAGE_TOLD_MAX),
            Severity::Notice => (&mut self.notices_told, NOTICES_TOLD_MAX),
        };
        if *told < told_max {
            *told += 1;
            self.rows.push(Finding { kind, key, what });
        }
    }

    pub(crate) fn extend(&mut self, others: Self) {
        for (kind, count) in &others.counts {
            let of_kind = |row: &&Finding| row.kind == *kind;
            let told = others.rows.iter().filter(of_kind).count();
            let untold = count.saturating_sub(u64::try_from(told).unwrap_or(u64::MAX));
            *self.counts.entry(*kind).or_default() += untold;
        }
        for Finding { kind, key, what } in others.rows {
            self.add(kind, key, what);
        }
    }

    /// Those that are told one by one, in the order in which they were found.
    #[must_use]
    pub fn rows(&self) -> &[Finding] {
        &self.rows
    }

    /// How many there are of each kind, told or not.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<FindingKind, u64> {
        &self.counts
    }

    /// How many mean damage.
    #[must_use]
    pub fn damage(&self) -> u64 {
        self.count(Severity::Damage)
    }

    /// How many do not.
    #[must_use]
    pub fn notices(&self) -> u64 {
        self.count(Severity::Notice)
    }

    fn count(&self, severity: Severity) -> u64 {
        let counts = self.counts.iter();
        let counts = counts.filter(|(kind, _)| kind.severity() == severity);
        counts.map(|(_, count)| *count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_every_kind_says_what_to_do() {
        let mut words: Vec<&str> = FindingKind::ALL.iter().map(|kind| kind.word()).collect();
        words.sort_unstable();
        words.dedup();

        assert_eq!(words.len(), FindingKind::ALL.len());
        for kind in FindingKind::ALL {
            assert!(!kind.meaning().is_empty() && !kind.to_do().is_empty());
        }
    }

    #[test]
    fn past_the_limits_findings_are_counted_and_notices_push_out_no_damage() {
        let mut findings = Findings::default();
        for _ in 0..=NOTICES_TOLD_MAX {
            findings.add(FindingKind::UnknownKey, None, String::new());
        }
        for _ in 0..=DAMAGE_TOLD_MAX {
            findings.add(FindingKind::SegmentMissing, None, String::new());
        }
        let mut all = Findings::default();
        all.add(FindingKind::UnknownKey, None, String::new());

        all.extend(findings.clone());

        let told = DAMAGE_TOLD_MAX + NOTICES_TOLD_MAX;
        assert_eq!(findings.rows().len(), told);
        assert_eq!(findings.notices(), 1001);
        assert_eq!((all.damage(), all.notices()), (10_001, 1002));
        assert_eq!(all.rows().len(), told);
        assert_eq!(all.counts()[&FindingKind::UnknownKey], 1002);
    }
}
