//! Begins the journal again above what is left of it, with a state that was rebuilt from elsewhere.
//!
//! Called by `esker-audit` when the journal is lost or damaged. Nothing is deleted or overwritten:
//! the old journal is ended as a challenger ends it, by a seal behind its highest place, and the
//! next roll begins with a head and a snapshot. Replay begins at that snapshot (J5) and never looks
//! below. An owner that still appends meets the seal and leaves (J3). At any moment a start finds
//! the new journal or fails as before: the old places 0 are filled last. Cost: 1 PUT for each
//! place that is missing, 2 PUTs, the parts of the snapshot and its list.

use bytes::Bytes;
use esker_chain::{SettleError, Settled};
use esker_env::Env;
use esker_object::{ObjectKey, Patience};
use esker_types::SequencerEpoch;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::follower::JournalParts;
use crate::identity::{JournalIdentity, LeaderInfo};
use crate::limits::{SNAPSHOT_PART_BYTES_MAX, SNAPSHOT_PARTS_MAX, SNAPSHOT_REQUESTS_MAX};
use crate::object::{Head, Seal};
use crate::place::{Place, PlaceId, RollNumber, SealRef};
use crate::reader::JournalReader;
use crate::snapshot::{SnapshotFailure, write_snapshot};
use crate::take_over::{create, put_seal};
use crate::writer::HandedSnapshot;

/// What a listing showed of the old journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OldJournal {
    /// The highest roll that any object names, and the highest place found in it; `None` when
    /// nothing at all is left.
    pub last: Option<(RollNumber, u64)>,
    /// Rolls up to the last without their place 0.
    pub openings_missing: Vec<RollNumber>,
    /// Places where a seal must stand and nothing does: the ends of rolls below the last, and
    /// places of the last one that its owner may still be writing to.
    pub seals_missing: Vec<(RollNumber, u64)>,
}

/// Why the journal was not begun again. What was created stays, and does no harm: try again.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// A place that was missing a moment ago is taken: somebody writes to the journal.
    #[error("object {key} appeared meanwhile: a process still writes to the journal")]
    InUse {
        /// The place.
        key: ObjectKey,
    },
    /// An object could not be created.
    #[error("object of the journal could not be created")]
    Settle(#[source] SettleError),
    /// The state is larger than any snapshot may be.
    #[error("snapshot of {part_count} parts is too large")]
    TooLarge {
        /// How many parts.
        part_count: usize,
    },
}

/// The old journal has ended: nothing more of it becomes durable.
#[derive(Debug)]
#[must_use = "the journal has ended and no other has begun"]
pub struct Fence {
    reader: JournalReader,
    env: Env,
    leader: LeaderInfo,
    roll: RollNumber,
    seal: SealRef,
    /// What is filled once the journal has begun: before that nothing may look like a journal that
    /// could be started from.
    openings: Vec<RollNumber>,
    ends: Vec<PlaceId>,
}

/// Ends the old journal: fills the missing places of its last roll, then seals it behind its
/// highest one, naming `identity` and `epoch`, which must be higher than any that was seen. A
/// journal that could not be replayed still cannot.
///
/// # Errors
/// [`ReplaceError`]; [`ReplaceError::InUse`]: a process is alive, stop it and list again.
///
/// # Cancel safety
/// Some of the seals may stand. List again, and end it again.
pub async fn fence(
    parts: JournalParts,
    identity: JournalIdentity,
    epoch: SequencerEpoch,
    old: &OldJournal,
) -> Result<Fence, ReplaceError> {
    let reader = JournalReader {
        bucket: parts.bucket,
        cluster: parts.cluster,
    };
    let leader = LeaderInfo {
        owner: identity.owner,
        address: identity.address,
        epoch,
    };
    let (roll, place) = old.last.unwrap_or((RollNumber::FIRST, 0));
    let (holes, ends): (Vec<_>, Vec<_>) = old
        .seals_missing
        .iter()
        .map(|(of, place)| PlaceId {
            roll: *of,
            place: Place::new(*place),
        })
        .partition(|at| at.roll == roll);
    put_ends(&reader, &parts.env, &holes, &leader).await?;
    let place = Place::new(place).after();
    let seal = put_end(&reader, &parts.env, PlaceId { roll, place }, &leader).await?;
    tracing::info!(%roll, %epoch, "ended the old journal");
    let first = old.last.is_none().then_some(RollNumber::FIRST);
    let openings = first
        .into_iter()
        .chain(old.openings_missing.iter().copied());
    Ok(Fence {
        openings: openings.collect(),
        ends,
        reader,
        env: parts.env,
        leader,
        roll,
        seal,
    })
}

/// Place 0 of a roll that lost it: a head for the first roll, else a seal as of an owner who never
/// came. No owner of that roll can begin it any more.
async fn put_opening(
    reader: &JournalReader,
    env: &Env,
    roll: RollNumber,
    leader: &LeaderInfo,
) -> Result<(), ReplaceError> {
    let write_id = env.rng.write_id();
    let at = roll.opening();
    let object = match roll.before() {
        None => Head {
            roll,
            leader: leader.clone(),
            prev: None,
        }
        .encode(reader.cluster, write_id),
        Some(_) => Seal {
            at,
            next_leader: leader.clone(),
            prev: Some(SealRef {
                place: Place::FIRST_ENTRY,
                write_id,
            }),
        }
        .encode(reader.cluster, write_id),
    };
    let settled = create(reader, env, at, object, Patience::NONE).await;
    match settled.map_err(ReplaceError::Settle)? {
        Settled::Ours => Ok(()),
        Settled::Other(_) => Err(in_use(reader, at)),
    }
}

async fn put_ends(
    reader: &JournalReader,
    env: &Env,
    places: &[PlaceId],
    leader: &LeaderInfo,
) -> Result<(), ReplaceError> {
    let puts = places.iter().map(|at| put_end(reader, env, *at, leader));
    let mut puts = stream::iter(puts).buffer_unordered(SNAPSHOT_REQUESTS_MAX);
    while let Some(_seal) = puts.try_next().await? {}
    Ok(())
}

async fn put_end(
    reader: &JournalReader,
    env: &Env,
    at: PlaceId,
    leader: &LeaderInfo,
) -> Result<SealRef, ReplaceError> {
    assert!(at.place > Place::OPENING, "a roll begins with an opening");
    let seal = Seal {
        at,
        next_leader: leader.clone(),
        prev: None,
    };
    let put = put_seal(reader, env, seal, Patience::NONE).await;
    let end = put.map_err(ReplaceError::Settle)?;
    end.map(|end| end.seal).ok_or_else(|| in_use(reader, at))
}

fn in_use(reader: &JournalReader, at: PlaceId) -> ReplaceError {
    let key = at.key(reader.cluster);
    ReplaceError::InUse { key }
}

impl Fence {
    /// Begins the next roll with `snapshot` as its state, then fills what is missing below; returns
    /// the roll. Whoever starts next finds it and takes over from there. J7: the snapshot follows
    /// the head, so of two that begin the roll only its owner has one.
    ///
    /// # Errors
    /// [`ReplaceError`]: no roll with a state has begun; list and end the journal again.
    ///
    /// # Cancel safety
    /// The roll may have begun without its snapshot: as after an error.
    pub async fn begin(self, snapshot: Vec<Bytes>) -> Result<RollNumber, ReplaceError> {
        let largest = snapshot.iter().map(Bytes::len).max().unwrap_or(0);
        let part_count = snapshot.len();
        if part_count > SNAPSHOT_PARTS_MAX || largest > SNAPSHOT_PART_BYTES_MAX {
            return Err(ReplaceError::TooLarge { part_count });
        }
        let roll = self.roll.after();
        let head = Head {
            roll,
            leader: self.leader.clone(),
            prev: Some(self.seal),
        };
        let object = head.encode(self.reader.cluster, self.env.rng.write_id());
        let at = roll.opening();
        let settled = create(&self.reader, &self.env, at, object, Patience::NONE).await;
        match settled.map_err(ReplaceError::Settle)? {
            Settled::Ours => {}
            Settled::Other(_) => return Err(in_use(&self.reader, roll.opening())),
        }
        let parts = snapshot;
        let handed = HandedSnapshot { roll, parts };
        let written = write_snapshot(&self.reader, &self.env, handed).await;
        written.map_err(|failure| match failure {
            SnapshotFailure::Settle(source) => ReplaceError::Settle(source),
            SnapshotFailure::Taken { key } => ReplaceError::InUse { key },
        })?;
        let (reader, env, leader) = (&self.reader, &self.env, &self.leader);
        let puts = self.openings.iter();
        let puts = puts.map(|roll| put_opening(reader, env, *roll, leader));
        let mut puts = stream::iter(puts).buffer_unordered(SNAPSHOT_REQUESTS_MAX);
        while let Some(()) = puts.try_next().await? {}
        drop(puts);
        put_ends(reader, env, &self.ends, leader).await?;
        Ok(roll)
    }
}

#[cfg(test)]
mod tests;
