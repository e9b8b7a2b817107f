//! Deletes what a snapshot makes superfluous (J4, J7): entries below it, older snapshots, stray
//! parts.
//!
//! Called by the leader's loop behind each snapshot of its own; safe for anybody at any time. Never
//! deleted: seals, places 0, anything at or above the snapshot's roll. Rolls go in ascending order
//! and place 1 of each goes last, so its absence says that this roll and all below are done.
//! Cost: 1 LIST, per roll 2 GETs and its deletions (1 LIST more where a challenger ended it).

#[cfg(test)]
mod tests;

use esker_object::{ListedObject, ObjectKey, StoreError};
use esker_types::{ClusterId, Planted, planted};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::limits::{DELETIONS_MAX, IN_FLIGHT_MAX, LIST_PAGES_MAX};
use crate::object::DecodeError;
use crate::place::{Place, PlaceId, RollNumber};
use crate::reader::{Behind, JournalReader, Opening, OpeningHolder, ReadFailure};

/// Rows of one page: what a single listing request returns at most.
pub(crate) const LIST_PAGE_ROWS: usize = esker_object::limits::LIST_PAGE_COUNT_MAX;

/// Why a collection stopped; the next one goes on where it did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    #[error("store failed during collection")]
    Store(#[source] StoreError),
    #[error("object {key} cannot be read during collection")]
    Object {
        key: ObjectKey,
        #[source]
        source: DecodeError,
    },
    #[error("roll {roll} has no verdict although a snapshot above it exists")]
    NoVerdict { roll: RollNumber },
}

impl From<ReadFailure> for CollectError {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Store(source) => Self::Store(source),
            ReadFailure::Object { key, source } => Self::Object { key, source },
        }
    }
}

/// Collects below the snapshot of `done`, whose list is known to exist. `collected` is the first
/// roll that is not known to be collected; returns the new one.
pub(crate) async fn collect(
    reader: &JournalReader,
    done: RollNumber,
    collected: RollNumber,
) -> Result<RollNumber, CollectError> {
    assert!(collected <= done, "what is collected lies below a snapshot");
    let mut roll = first_uncollected(reader, done, collected).await?;
    while roll < done {
        collect_roll(reader, roll).await?;
        roll = roll.after();
    }
    collect_snapshots(reader, done).await?;
    Ok(done)
}

/// The lowest roll that still has its place 1: going down, since the rolls went up. As many steps
/// as there is work, and one more.
async fn first_uncollected(
    reader: &JournalReader,
    done: RollNumber,
    collected: RollNumber,
) -> Result<RollNumber, CollectError> {
    let mut first = done;
    while let Some(roll) = first.before().filter(|roll| *roll >= collected) {
        let verdict = reader.verdict(roll).await?;
        let verdict = verdict.ok_or(CollectError::NoVerdict { roll })?;
        if entry_end(&verdict) > Place::FIRST_ENTRY {
            let place = Place::FIRST_ENTRY;
            let key = PlaceId { roll, place }.key(reader.cluster);
            let there = reader.bucket.head(&key).await;
            if there.map_err(CollectError::Store)?.is_none() {
                break;
            }
        }
        first = roll;
    }
    Ok(first)
}

/// Where the entries of a roll end by its verdict: the place of its seal.
fn entry_end(verdict: &Opening) -> Place {
    verdict.prev.map_or(Place::OPENING, |seal| seal.place)
}

/// J4: the caller knows a snapshot above; the verdict is read here, so both conditions hold.
async fn collect_roll(reader: &JournalReader, roll: RollNumber) -> Result<(), CollectError> {
    let verdict = reader.verdict(roll).await?;
    let verdict = verdict.ok_or(CollectError::NoVerdict { roll })?;
    let end = entry_end(&verdict);
    if end <= Place::FIRST_ENTRY {
        return Ok(());
    }
    let opening = reader.opening(roll).await?;
    if planted(Planted::JournalOpeningDeleted) {
        delete_all(reader, [roll.opening().key(reader.cluster)]).await?;
    }
    if !is_rolled_by_owner(opening.as_ref(), &verdict) {
        delete_void_entries(reader, PlaceId { roll, place: end }).await?;
    }
    let places = (Place::FIRST_ENTRY.get() + 1..end.get()).map(Place::new);
    let keys = places.map(|place| PlaceId { roll, place }.key(reader.cluster));
    delete_all(reader, keys).await?;
    let place = Place::FIRST_ENTRY;
    delete_all(reader, [PlaceId { roll, place }.key(reader.cluster)]).await
}

/// Behind an owner's own seal nothing was ever sent, so nothing void can lie there.
fn is_rolled_by_owner(opening: Option<&Opening>, verdict: &Opening) -> bool {
    match (opening.map(|opening| &opening.holder), &verdict.holder) {
        (Some(OpeningHolder::Head(owner)), OpeningHolder::Head(next)) => owner == next,
        (Some(OpeningHolder::Head(_) | OpeningHolder::Seal(_)) | None, _) => false,
    }
}

/// Void entries lie behind the seal, within what an owner may have had in flight. Only entries go:
/// other challengers' seals stay.
async fn delete_void_entries(reader: &JournalReader, seal: PlaceId) -> Result<(), CollectError> {
    let last = seal
        .place
        .ahead(u64::try_from(IN_FLIGHT_MAX).unwrap_or(u64::MAX));
    let journal = ObjectKey::journal(reader.cluster);
    let after = seal.key(reader.cluster);
    let rows = reader
        .bucket
        .list_after(&journal, Some(&after), IN_FLIGHT_MAX);
    let rows = rows.await.map_err(CollectError::Store)?;
    let mut place = seal.place.after();
    while place <= last {
        let at = PlaceId { place, ..seal };
        let key = at.key(reader.cluster);
        if rows.iter().any(|row| row.key == key)
            && let Behind::Entry { .. } = reader.behind(at).await?
        {
            delete_all(reader, [key]).await?;
        }
        place = place.after();
    }
    Ok(())
}

/// J7: older lists go first, then parts whose list is gone, then parts that the newest does not
/// list. What lies above the snapshot is being written by somebody and stays.
async fn collect_snapshots(reader: &JournalReader, done: RollNumber) -> Result<(), CollectError> {
    let Some((write_id, _)) = reader.done(done).await? else {
        // A later snapshot exists, and its owner has collected: nothing is left to do here.
        return Ok(());
    };
    let listed = ObjectKey::snapshot_part(reader.cluster, done.get(), write_id, 0);
    let listed = listed
        .as_str()
        .rsplit_once('/')
        .map(|(folder, _)| folder.to_owned());
    let mut lists = Vec::new();
    let mut parts = Vec::new();
    let rows = list_snapshots(reader).await.map_err(CollectError::Store)?;
    for row in rows {
        match parse(reader.cluster, &row.key) {
            Some((roll, SnapshotKey::Done))
                if roll < done || planted(Planted::JournalNewestDoneDeleted) =>
            {
                lists.push(row.key);
            }
            Some((roll, SnapshotKey::Part)) if roll < done => parts.push(row.key),
            Some((roll, SnapshotKey::Part)) if roll == done => {
                let folder = row.key.as_str().rsplit_once('/');
                if folder.map(|(folder, _)| folder) != listed.as_deref() {
                    parts.push(row.key);
                }
            }
            Some(_) | None => {}
        }
    }
    delete_all(reader, lists).await?;
    delete_all(reader, parts).await
}

/// What a key below `snapshots/` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SnapshotKey {
    Done,
    Part,
}

/// Reads a key that a listing returned; `None` for what is not ours.
pub(crate) fn parse(cluster: ClusterId, key: &ObjectKey) -> Option<(RollNumber, SnapshotKey)> {
    let prefix = ObjectKey::snapshots(cluster);
    let rest = key.as_str().strip_prefix(prefix.as_str())?;
    let (roll, rest) = rest.split_once('/')?;
    let roll = RollNumber::new(roll.parse().ok()?);
    if *key == ObjectKey::snapshot_done(cluster, roll.get()) {
        return Some((roll, SnapshotKey::Done));
    }
    let is_part = rest.split('/').count() == 2;
    is_part.then_some((roll, SnapshotKey::Part))
}

/// All keys below `snapshots/`, page by page.
pub(crate) async fn list_snapshots(
    reader: &JournalReader,
) -> Result<Vec<ListedObject>, StoreError> {
    let prefix = ObjectKey::snapshots(reader.cluster);
    let mut rows: Vec<ListedObject> = Vec::new();
    for _ in 0..LIST_PAGES_MAX {
        let after = rows.last().map(|row| row.key.clone());
        let page = reader
            .bucket
            .list_after(&prefix, after.as_ref(), LIST_PAGE_ROWS);
        let page = page.await?;
        let is_last = page.len() < LIST_PAGE_ROWS;
        rows.extend(page);
        if is_last {
            break;
        }
    }
    Ok(rows)
}

async fn delete_all(
    reader: &JournalReader,
    keys: impl IntoIterator<Item = ObjectKey>,
) -> Result<(), CollectError> {
    let deletions = keys
        .into_iter()
        .map(|key| async move { reader.bucket.delete(&key).await });
    let mut deletions = stream::iter(deletions).buffer_unordered(DELETIONS_MAX);
    while let Some(()) = deletions.try_next().await.map_err(CollectError::Store)? {}
    Ok(())
}
