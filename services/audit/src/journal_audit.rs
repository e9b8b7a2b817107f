//! Reads the journal and its newest snapshot object by object, then replays it as a start would.
//!
//! On a bucket in use rolls begin and old ones are collected meanwhile: a pass that misses
//! something is repeated as long as the journal moves on.

use bytes::Bytes;
use esker_env::Env;
use esker_journal::{
    Follower, Journal, JournalConfig, JournalIdentity, JournalNote, JournalParts, OwnerId,
    ReplayError, RollNumber, SnapshotRow, read_note, roll_of_list, roll_of_part,
};
use esker_metadata::ReplayedState;
use esker_object::{ListedObject, ObjectKey, ReadRange, StoreError};
use esker_types::WriteId;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::audit::{AuditParts, Depth};
use crate::error::{AuditError, with_causes};
use crate::finding::{FindingKind, Findings};
use crate::limits::{JOURNAL_PASSES_MAX, JOURNAL_READS_MAX, READS_MAX};
use crate::listing::list_all;
use crate::report::{AuditFigures, AuditReport};
use crate::rolls::{Holder, Rolls};
use crate::watch::Watch;

/// What is known of the journal.
#[derive(Debug)]
pub(crate) struct JournalAudit {
    /// The state; `None` when it cannot be read.
    pub(crate) follower: Option<Follower<ReplayedState>>,
    pub(crate) findings: Findings,
    figures: AuditFigures,
}

impl JournalAudit {
    pub(crate) fn tell(&self, report: &mut AuditReport) {
        report.findings.extend(self.findings.clone());
        let (own, all) = (self.figures, &mut report.figures);
        all.objects += own.objects;
        all.object_bytes += own.object_bytes;
        all.read_bytes += own.read_bytes;
        all.rolls = own.rolls;
        all.journal_entries = own.journal_entries;
        all.snapshot_roll = own.snapshot_roll;
    }
}

/// An object of the journal, as it was read.
#[derive(Clone, Debug)]
pub(crate) enum Noted {
    Gone,
    Note(JournalNote),
    Damaged(String),
}

/// Reads one object below `journal/` or `snapshots/`; again if it makes no sense.
pub(crate) async fn note(parts: &AuditParts, key: &ObjectKey) -> Result<(Noted, u64), StoreError> {
    let mut reads = 0;
    loop {
        reads += 1;
        let Some(read) = parts.bucket.get(key, ReadRange::Full).await? else {
            return Ok((Noted::Gone, 0));
        };
        match read_note(parts.cluster, key, &read.bytes) {
            Ok(note) => return Ok((Noted::Note(note), read.object_bytes)),
            Err(error) if reads >= READS_MAX => {
                return Ok((Noted::Damaged(with_causes(&error)), read.object_bytes));
            }
            Err(_) => {}
        }
    }
}

/// The objects below `snapshots/`, by what they are.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// Rolls that have a list, ascending.
    pub(crate) lists: Vec<RollNumber>,
    rows: Vec<ListedObject>,
}

pub(crate) async fn list_snapshots(parts: &AuditParts) -> Result<Snapshots, StoreError> {
    let prefix = ObjectKey::snapshots(parts.cluster);
    let rows = list_all(parts.bucket.as_ref(), &prefix);
    let rows: Vec<ListedObject> = rows.try_collect().await?;
    let lists = rows.iter();
    let lists = lists.filter_map(|row| roll_of_list(parts.cluster, &row.key));
    Ok(Snapshots {
        lists: lists.collect(),
        rows,
    })
}

/// Audits the journal. Deep reads every object, quick those behind the newest snapshot.
pub(crate) async fn audit_journal(
    parts: &AuditParts,
    depth: Depth,
    watch: &dyn Watch,
) -> Result<JournalAudit, AuditError> {
    let mut before = None;
    let mut passes = 0;
    loop {
        passes += 1;
        let pass = Pass::run(parts, depth, watch).await;
        let pass = pass.map_err(AuditError::Store)?;
        let is_settled = before == Some(pass.reached) || passes >= JOURNAL_PASSES_MAX;
        if pass.findings.damage() == 0 && !pass.has_gap() || is_settled {
            return pass.replay(parts).await;
        }
        before = Some(pass.reached);
    }
}

/// How far the journal goes: newest snapshot, last roll and place.
type Reached = (Option<RollNumber>, Option<(u64, u64)>);

/// One reading of the journal.
#[derive(Debug)]
struct Pass {
    findings: Findings,
    figures: AuditFigures,
    reached: Reached,
}

impl Pass {
    async fn run(parts: &AuditParts, depth: Depth, watch: &dyn Watch) -> Result<Self, StoreError> {
        let snapshots = list_snapshots(parts).await?;
        let newest = snapshots.lists.last().copied();
        let mut pass = Self {
            findings: Findings::default(),
            figures: AuditFigures::default(),
            reached: (newest, None),
        };
        pass.read_snapshots(parts, depth, &snapshots).await?;
        let needed_from = newest.map_or(0, RollNumber::get);
        pass.figures.snapshot_roll = needed_from;
        let mut rolls = Rolls::new(parts.cluster, needed_from, depth == Depth::Deep);
        pass.read_places(parts, watch, &mut rolls).await?;
        let told = rolls.last.map_or(0, |(roll, _)| roll);
        rolls.finish(told.max(needed_from));
        pass.reached.1 = rolls.last;
        pass.figures.rolls = rolls.last.map_or(0, |(roll, _)| roll + 1);
        pass.figures.journal_entries = rolls.entries;
        pass.findings.extend(rolls.findings);
        Ok(pass)
    }

    fn has_gap(&self) -> bool {
        self.findings.counts().contains_key(&FindingKind::OpenGap)
    }

    fn count(&mut self, row: &ListedObject, read_bytes: u64) {
        self.figures.objects += 1;
        self.figures.object_bytes += row.object_bytes;
        self.figures.read_bytes += read_bytes;
    }

    async fn read_places(
        &mut self,
        parts: &AuditParts,
        watch: &dyn Watch,
        rolls: &mut Rolls,
    ) -> Result<(), StoreError> {
        let prefix = ObjectKey::journal(parts.cluster);
        let (needed_from, reads_all) = rolls.reading();
        let rows = list_all(parts.bucket.as_ref(), &prefix);
        let reads = rows.map(|row| async move {
            let row = row?;
            let at = row.key.as_journal_place(parts.cluster);
            let reads = at.is_some_and(|(roll, _)| reads_all || roll >= needed_from);
            let noted = match reads {
                true => Some(note(parts, &row.key).await?),
                false => None,
            };
            Ok::<_, StoreError>((row, at, noted))
        });
        let mut reads = std::pin::pin!(reads.buffered(JOURNAL_READS_MAX));
        while let Some(read) = reads.next().await {
            let (row, at, noted) = read?;
            let (noted, bytes) = noted.map_or((None, 0), |(noted, bytes)| (Some(noted), bytes));
            self.count(&row, bytes);
            watch.done(1, row.object_bytes);
            match at {
                None => self.findings.add(
                    FindingKind::UnknownKey,
                    Some(row.key),
                    "no place of the journal".to_owned(),
                ),
                Some(at) => self.place(rolls, (at, row.key), noted),
            }
        }
        Ok(())
    }

    fn place(&mut self, rolls: &mut Rolls, at: ((u64, u64), ObjectKey), noted: Option<Noted>) {
        let (at, key) = at;
        let holder = match noted {
            // Collected since it was listed.
            Some(Noted::Gone) => return,
            Some(Noted::Note(note)) => Holder::of(&note),
            Some(Noted::Damaged(what)) => {
                let kind = match rolls.needs(at.0) {
                    true => FindingKind::ObjectDamaged,
                    false => FindingKind::RemainsDamaged,
                };
                self.findings.add(kind, Some(key), what);
                Holder::Unknown
            }
            None => Holder::Unknown,
        };
        rolls.place(at, holder);
    }

    async fn read_snapshots(
        &mut self,
        parts: &AuditParts,
        depth: Depth,
        snapshots: &Snapshots,
    ) -> Result<(), StoreError> {
        let newest = snapshots.lists.last().copied();
        let list = match newest {
            Some(newest) => read_list(parts, newest).await?,
            None => None,
        };
        let mut kept = Vec::new();
        match (newest, &list) {
            (Some(newest), Some((write_id, rows))) => {
                kept = part_keys(parts, newest, *write_id, rows.len());
                for (key, row) in kept.iter().zip(rows) {
                    self.read_part(parts, depth, (key, *row), snapshots).await?;
                }
            }
            (Some(newest), None) => {
                let key = ObjectKey::snapshot_done(parts.cluster, newest.get());
                let what = "list of the newest snapshot is gone or damaged".to_owned();
                self.findings
                    .add(FindingKind::SnapshotIncomplete, Some(key), what);
            }
            (None, _) => {}
        }
        self.count_snapshots(parts, newest, &kept, snapshots);
        Ok(())
    }

    async fn read_part(
        &mut self,
        parts: &AuditParts,
        depth: Depth,
        (key, row): (&ObjectKey, SnapshotRow),
        snapshots: &Snapshots,
    ) -> Result<(), StoreError> {
        let wrong = match depth {
            Depth::Quick => {
                let is_listed = snapshots.rows.iter().any(|row| row.key == *key);
                (!is_listed).then(|| "part is missing".to_owned())
            }
            Depth::Deep => match note(parts, key).await? {
                (Noted::Note(JournalNote::Part { bytes }), read_bytes) => {
                    self.figures.read_bytes += read_bytes;
                    let is_listed = row.lists(&bytes);
                    (!is_listed).then(|| "part is not the one that was listed".to_owned())
                }
                (Noted::Note(_), _) => Some("object is no part".to_owned()),
                (Noted::Gone, _) => Some("part is missing".to_owned()),
                (Noted::Damaged(what), _) => Some(what),
            },
        };
        if let Some(what) = wrong {
            let key = Some(key.clone());
            self.findings
                .add(FindingKind::SnapshotIncomplete, key, what);
        }
        Ok(())
    }

    fn count_snapshots(
        &mut self,
        parts: &AuditParts,
        newest: Option<RollNumber>,
        kept: &[ObjectKey],
        snapshots: &Snapshots,
    ) {
        let mut left: Option<(ObjectKey, u64)> = None;
        for row in &snapshots.rows {
            self.count(row, 0);
            let list = roll_of_list(parts.cluster, &row.key);
            let is_kept = list.is_some() && list == newest || kept.contains(&row.key);
            if list.is_none() && roll_of_part(parts.cluster, &row.key).is_none() {
                let what = "no object of a snapshot".to_owned();
                self.findings
                    .add(FindingKind::UnknownKey, Some(row.key.clone()), what);
            } else if !is_kept {
                let (_, count) = left.get_or_insert((row.key.clone(), 0));
                *count += 1;
            }
        }
        if let Some((key, count)) = left {
            let what = format!("{count} objects of snapshots that the newest does not list");
            self.findings
                .add(FindingKind::SnapshotLeftover, Some(key), what);
        }
    }

    /// Replays the journal as a start does: what only a replay can find is found here.
    async fn replay(mut self, parts: &AuditParts) -> Result<JournalAudit, AuditError> {
        let follower = match open(parts).await {
            Ok(follower) => Some(follower),
            Err(ReplayError::Store(source)) => return Err(AuditError::Store(source)),
            Err(error) => {
                let key = match &error {
                    ReplayError::Object { key, .. } | ReplayError::Contradiction { key } => {
                        Some(key.clone())
                    }
                    _ => None,
                };
                let what = with_causes(&error);
                self.findings.add(FindingKind::JournalUnreadable, key, what);
                None
            }
        };
        Ok(JournalAudit {
            follower,
            findings: self.findings,
            figures: self.figures,
        })
    }
}

async fn open(parts: &AuditParts) -> Result<Follower<ReplayedState>, ReplayError> {
    let env: Env = parts.env.clone();
    let identity = JournalIdentity {
        owner: OwnerId::draw(&env.rng),
        address: "audit".to_owned(),
    };
    let parts = JournalParts {
        bucket: std::sync::Arc::clone(&parts.bucket),
        env,
        cluster: parts.cluster,
    };
    Journal::open(parts, identity, JournalConfig::default()).await
}

/// The list of a snapshot; `None` when it is gone or damaged.
pub(crate) async fn read_list(
    parts: &AuditParts,
    roll: RollNumber,
) -> Result<Option<(WriteId, Vec<SnapshotRow>)>, StoreError> {
    let key = ObjectKey::snapshot_done(parts.cluster, roll.get());
    Ok(match note(parts, &key).await? {
        (Noted::Note(JournalNote::Done { write_id, rows }), _) => Some((write_id, rows)),
        (Noted::Note(_) | Noted::Gone | Noted::Damaged(_), _) => None,
    })
}

fn part_keys(
    parts: &AuditParts,
    roll: RollNumber,
    write_id: WriteId,
    count: usize,
) -> Vec<ObjectKey> {
    let numbers = (0_u32..).take(count);
    let key = |part| ObjectKey::snapshot_part(parts.cluster, roll.get(), write_id, part);
    numbers.map(key).collect()
}

/// The parts of a snapshot, each if it is there and whole; `None` when the list is not.
pub(crate) async fn read_snapshot(
    parts: &AuditParts,
    roll: RollNumber,
) -> Result<Option<Vec<Option<Bytes>>>, StoreError> {
    let Some((write_id, rows)) = read_list(parts, roll).await? else {
        return Ok(None);
    };
    let keys = part_keys(parts, roll, write_id, rows.len());
    let mut read = Vec::with_capacity(rows.len());
    for (key, row) in keys.iter().zip(&rows) {
        let part = match note(parts, key).await? {
            (Noted::Note(JournalNote::Part { bytes }), _) if row.lists(&bytes) => Some(bytes),
            _ => None,
        };
        read.push(part);
    }
    Ok(Some(read))
}
