//! What an audit or a rebuild sees of one object of the journal: the fields that tie it to others.
//!
//! Called by `esker-audit`. Reads nothing itself and decides nothing: the rules are J1 to J10.

use bytes::Bytes;
use esker_object::ObjectKey;
use esker_types::{ClusterId, SequencerEpoch, WriteId};

use crate::identity::LeaderInfo;
use crate::object::{DecodeError, JournalObject, PartRow};
use crate::place::{PlaceId, RollNumber, SealRef};

/// A seal as the opening of the next roll names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedSeal {
    /// Its place in its roll.
    pub place: u64,
    /// The write that made it.
    pub write_id: WriteId,
}

/// A row of a snapshot's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRow(PartRow);

impl SnapshotRow {
    /// Whether these are the bytes of the part that the row lists.
    #[must_use]
    pub fn lists(self, part: &[u8]) -> bool {
        PartRow::of(part) == self.0
    }
}

/// An object of the journal that is whole and stands where it says it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalNote {
    /// Place 0, written by the roll's owner.
    Head {
        /// The owner.
        leader: LeaderInfo,
        /// What ended the roll before; none for the first.
        prev: Option<NamedSeal>,
    },
    /// Commands.
    Entry {
        /// The epoch of the roll's owner.
        epoch: SequencerEpoch,
        /// In order.
        commands: Vec<Bytes>,
    },
    /// The end of a roll.
    Seal {
        /// The write that made it.
        write_id: WriteId,
        /// Whom it names.
        next_leader: LeaderInfo,
        /// At place 0: what ended the roll before.
        prev: Option<NamedSeal>,
    },
    /// A part of a snapshot.
    Part {
        /// Its bytes.
        bytes: Bytes,
    },
    /// The list of a snapshot's parts.
    Done {
        /// The write that made it and its parts.
        write_id: WriteId,
        /// The parts, by number.
        rows: Vec<SnapshotRow>,
    },
}

/// Reads an object that stands at `key` below `journal/` or `snapshots/`.
///
/// # Errors
/// [`DecodeError`]: it is not whole, not of `cluster`, or belongs elsewhere.
pub fn read_note(
    cluster: ClusterId,
    key: &ObjectKey,
    bytes: &Bytes,
) -> Result<JournalNote, DecodeError> {
    let decoded = crate::object::decode(cluster, bytes)?;
    let write_id = decoded.write_id;
    let (home, note) = match decoded.object {
        JournalObject::Head(head) => {
            let note = JournalNote::Head {
                leader: head.leader,
                prev: head.prev.map(named),
            };
            (head.roll.opening().key(cluster), note)
        }
        JournalObject::Entry(entry) => {
            let PlaceId { roll, place } = entry.at;
            let note = JournalNote::Entry {
                epoch: entry.epoch,
                commands: entry.commands,
            };
            (PlaceId { roll, place }.key(cluster), note)
        }
        JournalObject::Seal(seal) => {
            let note = JournalNote::Seal {
                write_id,
                next_leader: seal.next_leader,
                prev: seal.prev.map(named),
            };
            (seal.at.key(cluster), note)
        }
        JournalObject::Part(part) => {
            let home = ObjectKey::snapshot_part(cluster, part.roll.get(), write_id, part.part);
            (home, JournalNote::Part { bytes: part.bytes })
        }
        JournalObject::Done(done) => {
            let rows = done.parts.into_iter().map(SnapshotRow).collect();
            let home = ObjectKey::snapshot_done(cluster, done.roll.get());
            (home, JournalNote::Done { write_id, rows })
        }
    };
    match home == *key {
        true => Ok(note),
        false => Err(DecodeError::Misplaced),
    }
}

fn named(seal: SealRef) -> NamedSeal {
    NamedSeal {
        place: seal.place.get(),
        write_id: seal.write_id,
    }
}

/// The roll of a snapshot's list, from the key of one; `None` for any other key.
#[must_use]
pub fn roll_of_list(cluster: ClusterId, key: &ObjectKey) -> Option<RollNumber> {
    let (roll, found) = crate::collect::parse(cluster, key)?;
    (found == crate::collect::SnapshotKey::Done).then_some(roll)
}

/// The roll that a part of a snapshot is of, from its key; `None` for any other key.
#[must_use]
pub fn roll_of_part(cluster: ClusterId, key: &ObjectKey) -> Option<RollNumber> {
    let (roll, found) = crate::collect::parse(cluster, key)?;
    (found == crate::collect::SnapshotKey::Part).then_some(roll)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{CLUSTER, at};
    use crate::object::{Entry, SnapshotDone, SnapshotPart};

    #[test]
    fn an_object_is_read_where_it_belongs_and_nowhere_else() {
        let write_id = WriteId::from_bytes([7; 16]);
        let entry = Entry {
            at: at(4, 2),
            epoch: SequencerEpoch::FIRST,
            commands: vec![Bytes::from_static(b"one")],
        };
        let object = entry.encode(CLUSTER, write_id);

        let read = |roll, place| read_note(CLUSTER, &at(roll, place).key(CLUSTER), &object);

        assert!(
            matches!(read(4, 2), Ok(JournalNote::Entry { commands, .. }) if commands.len() == 1)
        );
        assert_eq!(read(4, 3), Err(DecodeError::Misplaced));
        assert_eq!(read(5, 2), Err(DecodeError::Misplaced));
    }

    #[test]
    fn a_list_knows_its_parts_by_their_bytes() {
        let write_id = WriteId::from_bytes([7; 16]);
        let roll = RollNumber::new(3);
        let bytes = Bytes::from_static(b"state");
        let part = SnapshotPart {
            roll,
            part: 0,
            bytes: bytes.clone(),
        };
        let done = SnapshotDone {
            roll,
            parts: vec![PartRow::of(&bytes)],
        };
        let part_key = ObjectKey::snapshot_part(CLUSTER, 3, write_id, 0);
        let done_key = ObjectKey::snapshot_done(CLUSTER, 3);

        let part = read_note(CLUSTER, &part_key, &part.encode(CLUSTER, write_id)).unwrap();
        let done = read_note(CLUSTER, &done_key, &done.encode(CLUSTER, write_id)).unwrap();

        let JournalNote::Part { bytes } = part else {
            panic!("{part:?}")
        };
        let JournalNote::Done { rows, .. } = done else {
            panic!("{done:?}")
        };
        assert!(rows[0].lists(&bytes) && !rows[0].lists(b"stale"));
        assert_eq!(roll_of_list(CLUSTER, &done_key), Some(roll));
        assert_eq!(roll_of_part(CLUSTER, &part_key), Some(roll));
        assert_eq!(roll_of_part(CLUSTER, &done_key), None);
    }
}
