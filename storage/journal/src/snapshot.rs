//! Writes and reads snapshots (J7): the parts first, then the list that makes them a snapshot.
//!
//! Parts stand under the write id of their own list, so that two writers never mix. Cost: parts + 1
//! PUTs; parts + 1 GETs. The list is created only when every part is known to be there.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use esker_chain::{SettleError, Settled, create_settled};
use esker_env::Env;
use esker_object::{ObjectKey, Patience};
use esker_types::WriteId;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::limits::SNAPSHOT_REQUESTS_MAX;
use crate::object::{PartRow, SnapshotDone, SnapshotPart, byte_count};
use crate::place::RollNumber;
use crate::reader::{JournalReader, ReadFailure};
use crate::writer::HandedSnapshot;

/// Why a snapshot is not there. The journal goes on without it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotFailure {
    #[error("object of a snapshot could not be created")]
    Settle(#[source] SettleError),
    #[error("part {key} of a snapshot is taken by another write")]
    Taken { key: ObjectKey },
}

/// Writes a whole snapshot; returns the bytes of its parts. The caller owns the roll, and its head
/// is known.
pub(crate) async fn write_snapshot(
    reader: &JournalReader,
    env: &Env,
    snapshot: HandedSnapshot,
) -> Result<u64, SnapshotFailure> {
    let write_id = env.rng.write_id();
    let roll = snapshot.roll;
    let rows: Vec<PartRow> = snapshot
        .parts
        .iter()
        .map(|part| PartRow::of(part))
        .collect();
    let parts = (0_u32..).zip(snapshot.parts).map(|(part, bytes)| {
        let part = SnapshotPart { roll, part, bytes };
        write_part(reader, env, write_id, part)
    });
    let mut written = stream::iter(parts).buffer_unordered(SNAPSHOT_REQUESTS_MAX);
    let mut written_count = 0;
    while let Some(()) = written.try_next().await? {
        written_count += 1;
    }
    assert_eq!(
        written_count,
        rows.len(),
        "J7: the list is written when all parts are known"
    );
    let snapshot_bytes = rows.iter().map(|row| row.part_bytes).sum();
    let key = ObjectKey::snapshot_done(reader.cluster, roll.get());
    let done = SnapshotDone { roll, parts: rows }.encode(reader.cluster, write_id);
    let settled = create_settled(reader.bucket.as_ref(), env, &key, done, Patience::NONE).await;
    match settled.map_err(SnapshotFailure::Settle)? {
        Settled::Ours => {}
        // Each roll has one owner and each owner one snapshot of it: never seen, and harmless.
        Settled::Other(_) => tracing::warn!(%roll, "roll has a snapshot already"),
    }
    Ok(snapshot_bytes)
}

async fn write_part(
    reader: &JournalReader,
    env: &Env,
    write_id: WriteId,
    part: SnapshotPart,
) -> Result<(), SnapshotFailure> {
    let (roll, number) = (part.roll.get(), part.part);
    let key = ObjectKey::snapshot_part(reader.cluster, roll, write_id, number);
    let body = part.encode(reader.cluster, write_id);
    drop(part);
    let settled = create_settled(reader.bucket.as_ref(), env, &key, body, Patience::NONE).await;
    match settled.map_err(SnapshotFailure::Settle)? {
        Settled::Ours => Ok(()),
        // The write id is fresh, so the key is ours alone; what stands there is no part of this.
        Settled::Other(_) => Err(SnapshotFailure::Taken { key }),
    }
}

/// A snapshot as it was written.
#[derive(Debug)]
pub(crate) struct ReadSnapshot {
    pub(crate) parts: Vec<Bytes>,
    pub(crate) snapshot_bytes: u64,
}

/// Reads the snapshot of `roll`. `None` when it is not usable: its list or a part of it is gone or
/// damaged, so a later one exists or a person must look.
pub(crate) async fn read_snapshot(
    reader: &JournalReader,
    roll: RollNumber,
) -> Result<Option<ReadSnapshot>, ReadFailure> {
    let Some((write_id, done)) = usable(reader.done(roll).await)? else {
        return Ok(None);
    };
    let parts = (0_u32..).zip(done.parts.iter().copied());
    let reads = parts.map(|(part, row)| read_part(reader, roll, write_id, part, row));
    let mut reads = stream::iter(reads).buffered(SNAPSHOT_REQUESTS_MAX);
    let mut parts = Vec::with_capacity(done.parts.len());
    while let Some(part) = reads.next().await {
        match part? {
            Some(bytes) => parts.push(bytes),
            None => return Ok(None),
        }
    }
    assert_eq!(parts.len(), done.parts.len(), "a snapshot is read whole");
    let snapshot_bytes = parts.iter().map(|part| byte_count(part)).sum();
    Ok(Some(ReadSnapshot {
        parts,
        snapshot_bytes,
    }))
}

async fn read_part(
    reader: &JournalReader,
    roll: RollNumber,
    write_id: WriteId,
    part: u32,
    row: PartRow,
) -> Result<Option<Bytes>, ReadFailure> {
    let found = usable(reader.part(roll, write_id, part).await)?;
    Ok(found
        .map(|found| found.bytes)
        .filter(|bytes| PartRow::of(bytes) == row))
}

/// Damage makes a snapshot unusable; a version or cluster that is not ours stops the reader.
fn usable<T>(read: Result<Option<T>, ReadFailure>) -> Result<Option<T>, ReadFailure> {
    match read {
        Err(ReadFailure::Object { key, source }) if source.is_damage() => {
            tracing::warn!(%key, error = ?source, "part of a snapshot is damaged");
            Ok(None)
        }
        other => other,
    }
}
