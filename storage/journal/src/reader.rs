//! Reads one object of the journal: a place, the verdict on a roll, a part or list of a snapshot.
//!
//! Called by replay, take-over, collection and the loop of the leader. What makes no sense is read
//! again first: a bit may flip on the way, the same object is not read wrong three times.

use std::sync::Arc;

use esker_object::{Bucket, ObjectKey, ReadRange, StoreError};
use esker_types::{ByteRange, ClusterId, WriteId};

use crate::identity::LeaderInfo;
use crate::limits::{OBJECT_BYTES_MAX, UNREADABLE_READS_MAX};
use crate::object::{DecodeError, Decoded, Entry, JournalObject, SnapshotDone, SnapshotPart};
use crate::place::{Place, PlaceId, RollNumber, SealRef};

/// Why an object could not be read.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    Store(StoreError),
    Object { key: ObjectKey, source: DecodeError },
}

/// What stands behind the head of a roll.
#[derive(Debug)]
pub(crate) enum Behind {
    Missing,
    Entry { entry: Entry, object_bytes: u64 },
    Seal(RollEnd),
}

/// A seal and whom it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RollEnd {
    pub(crate) seal: SealRef,
    pub(crate) next_leader: LeaderInfo,
}

/// Place 0 of a roll. On the roll before it is the verdict: `prev` is the seal that ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) prev: Option<SealRef>,
    pub(crate) holder: OpeningHolder,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpeningHolder {
    /// The owner came.
    Head(LeaderInfo),
    /// The owner never came: the roll ended before it began.
    Seal(RollEnd),
}

impl Opening {
    /// Who is the newest leader by this object.
    pub(crate) fn leader(&self) -> &LeaderInfo {
        match &self.holder {
            OpeningHolder::Head(leader) => leader,
            OpeningHolder::Seal(end) => &end.next_leader,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct JournalReader {
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) cluster: ClusterId,
}

impl JournalReader {
    /// Place 0 of `roll`; `None` when it is missing.
    pub(crate) async fn opening(&self, roll: RollNumber) -> Result<Option<Opening>, ReadFailure> {
        let key = roll.opening().key(self.cluster);
        let Some((decoded, _)) = self.read(&key).await? else {
            return Ok(None);
        };
        let opening = match decoded.object {
            JournalObject::Head(head) if head.roll == roll => Opening {
                prev: head.prev,
                holder: OpeningHolder::Head(head.leader),
            },
            JournalObject::Seal(seal) if seal.at == roll.opening() => Opening {
                prev: seal.prev,
                holder: OpeningHolder::Seal(RollEnd {
                    seal: SealRef {
                        place: Place::OPENING,
                        write_id: decoded.write_id,
                    },
                    next_leader: seal.next_leader,
                }),
            },
            _ => return Err(misplaced(key)),
        };
        Ok(Some(opening))
    }

    /// The verdict on `roll`: place 0 of the roll behind it.
    pub(crate) async fn verdict(&self, roll: RollNumber) -> Result<Option<Opening>, ReadFailure> {
        self.opening(roll.after()).await
    }

    /// A place behind the head.
    pub(crate) async fn behind(&self, at: PlaceId) -> Result<Behind, ReadFailure> {
        assert!(at.place > Place::OPENING, "place 0 is read as an opening");
        let key = at.key(self.cluster);
        let Some((decoded, object_bytes)) = self.read(&key).await? else {
            return Ok(Behind::Missing);
        };
        match decoded.object {
            JournalObject::Entry(entry) if entry.at == at => Ok(Behind::Entry {
                entry,
                object_bytes,
            }),
            JournalObject::Seal(seal) if seal.at == at => Ok(Behind::Seal(RollEnd {
                seal: SealRef {
                    place: at.place,
                    write_id: decoded.write_id,
                },
                next_leader: seal.next_leader,
            })),
            _ => Err(misplaced(key)),
        }
    }

    /// The list of the snapshot of `roll` and the write that made it.
    pub(crate) async fn done(
        &self,
        roll: RollNumber,
    ) -> Result<Option<(WriteId, SnapshotDone)>, ReadFailure> {
        let key = ObjectKey::snapshot_done(self.cluster, roll.get());
        match self.read(&key).await? {
            None => Ok(None),
            Some((decoded, _)) => match decoded.object {
                JournalObject::Done(done) if done.roll == roll => {
                    Ok(Some((decoded.write_id, done)))
                }
                _ => Err(misplaced(key)),
            },
        }
    }

    /// Part `part` of the snapshot that `write_id` made of `roll`.
    pub(crate) async fn part(
        &self,
        roll: RollNumber,
        write_id: WriteId,
        part: u32,
    ) -> Result<Option<SnapshotPart>, ReadFailure> {
        let key = ObjectKey::snapshot_part(self.cluster, roll.get(), write_id, part);
        match self.read(&key).await? {
            None => Ok(None),
            Some((decoded, _)) => match decoded.object {
                JournalObject::Part(found)
                    if found.roll == roll && found.part == part && decoded.write_id == write_id =>
                {
                    Ok(Some(found))
                }
                _ => Err(misplaced(key)),
            },
        }
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<(Decoded, u64)>, ReadFailure> {
        let range = ByteRange::new(0, OBJECT_BYTES_MAX);
        let range = range.map_or(ReadRange::Full, ReadRange::Bounded);
        let mut reads = 1;
        loop {
            let read = self.bucket.get(key, range).await;
            let Some(read) = read.map_err(ReadFailure::Store)? else {
                return Ok(None);
            };
            match crate::object::decode(self.cluster, &read.bytes) {
                Ok(decoded) => return Ok(Some((decoded, read.object_bytes))),
                Err(source) if reads >= UNREADABLE_READS_MAX => {
                    let key = key.clone();
                    return Err(ReadFailure::Object { key, source });
                }
                Err(error) => {
                    tracing::debug!(%key, error = ?error, "reading an object of the journal again");
                    reads += 1;
                }
            }
        }
    }
}

fn misplaced(key: ObjectKey) -> ReadFailure {
    let source = DecodeError::Misplaced;
    ReadFailure::Object { key, source }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use esker_types::SequencerEpoch;

    use super::*;
    use crate::fixtures::{CLUSTER, World, at};
    use crate::limits::COMMAND_BYTES_MAX;

    async fn read_command(command_bytes: usize) -> Result<Behind, ReadFailure> {
        let world = World::new();
        let entry = Entry {
            at: at(0, 1),
            epoch: SequencerEpoch::FIRST,
            commands: vec![Bytes::from(vec![0; command_bytes])],
        };
        let object = entry.encode(CLUSTER, world.env.rng.write_id());
        world.plant(&at(0, 1).key(CLUSTER), object).await;
        world.reader().behind(at(0, 1)).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_command_reads_back_and_an_object_beyond_all_limits_does_not() {
        let beyond = usize::try_from(OBJECT_BYTES_MAX).unwrap();

        let largest = read_command(COMMAND_BYTES_MAX).await;
        let too_large = read_command(beyond).await;

        assert!(matches!(largest, Ok(Behind::Entry { .. })));
        assert!(matches!(
            too_large,
            Err(ReadFailure::Object {
                source: DecodeError::Length { .. },
                ..
            })
        ));
    }
}
