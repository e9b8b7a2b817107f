//! Heads and seals: who owns a roll, and where the one before it ended.

use bytes::Bytes;
use esker_types::{ByteReader, ClusterId, ObjectKind, SequencerEpoch, WriteId};

use super::{DecodeError, ObjectWriter};
use crate::identity::{LeaderInfo, OwnerId};
use crate::limits::ADDRESS_BYTES_MAX;
use crate::place::{Place, PlaceId, RollNumber, SealRef};

/// Place 0 of a roll, written by its owner. `prev` names the seal that ended the roll before; the
/// first roll has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) roll: RollNumber,
    pub(crate) leader: LeaderInfo,
    pub(crate) prev: Option<SealRef>,
}

/// Ends a roll and names the owner of the next. At place 0 it carries `prev` like a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) at: PlaceId,
    pub(crate) next_leader: LeaderInfo,
    pub(crate) prev: Option<SealRef>,
}

/// Fields but the address, which is written once and short.
const BODY_BYTES_GUESS: usize = 128;

impl Head {
    pub(crate) fn encode(&self, cluster: ClusterId, write_id: WriteId) -> Bytes {
        assert_eq!(
            self.prev.is_none(),
            self.roll == RollNumber::FIRST,
            "J10: a head names the end of the roll before, the first has none"
        );
        let mut writer = ObjectWriter::new(BODY_BYTES_GUESS);
        writer.put(&self.roll.get().to_be_bytes());
        put_leader(&mut writer, &self.leader);
        put_prev(&mut writer, self.prev);
        writer.finish(ObjectKind::JournalHead, cluster, write_id)
    }

    pub(super) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        let roll = RollNumber::new(reader.u64()?);
        let leader = read_leader(reader)?;
        let prev = read_prev(reader)?;
        if prev.is_none() != (roll == RollNumber::FIRST) {
            return Err(DecodeError::Field { field: "prev" });
        }
        Ok(Self { roll, leader, prev })
    }
}

impl Seal {
    pub(crate) fn encode(&self, cluster: ClusterId, write_id: WriteId) -> Bytes {
        assert!(self.prev_fits(), "a seal at place 0 is a verdict");
        let mut writer = ObjectWriter::new(BODY_BYTES_GUESS);
        writer.put(&self.at.roll.get().to_be_bytes());
        writer.put(&self.at.place.get().to_be_bytes());
        put_leader(&mut writer, &self.next_leader);
        put_prev(&mut writer, self.prev);
        writer.finish(ObjectKind::JournalSeal, cluster, write_id)
    }

    pub(super) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        let roll = RollNumber::new(reader.u64()?);
        let place = Place::new(reader.u64()?);
        let seal = Self {
            at: PlaceId { roll, place },
            next_leader: read_leader(reader)?,
            prev: read_prev(reader)?,
        };
        if !seal.prev_fits() {
            return Err(DecodeError::Field { field: "prev" });
        }
        Ok(seal)
    }

    fn prev_fits(&self) -> bool {
        let opens = self.at.place == Place::OPENING;
        // Nobody is named as owner of roll 0, so nobody seals its place 0.
        self.prev.is_some() == opens && !(opens && self.at.roll == RollNumber::FIRST)
    }
}

fn put_leader(writer: &mut ObjectWriter, leader: &LeaderInfo) {
    assert!(
        leader.address.len() <= ADDRESS_BYTES_MAX,
        "the address was checked when the journal was opened"
    );
    writer.put(&leader.epoch.get().to_be_bytes());
    writer.put(&leader.owner.bytes());
    writer.put_count(leader.address.len());
    writer.put(leader.address.as_bytes());
}

fn read_leader(reader: &mut ByteReader<'_>) -> Result<LeaderInfo, DecodeError> {
    let wrong = DecodeError::Field { field: "address" };
    let epoch = SequencerEpoch::new(reader.u64()?);
    let owner = OwnerId::from_bytes(reader.array()?);
    let address = reader.bytes_u32()?;
    if address.len() > ADDRESS_BYTES_MAX {
        return Err(wrong);
    }
    let address = std::str::from_utf8(address).map_err(|_| wrong)?;
    if epoch < SequencerEpoch::FIRST {
        return Err(DecodeError::Field { field: "epoch" });
    }
    Ok(LeaderInfo {
        owner,
        address: address.to_owned(),
        epoch,
    })
}

fn put_prev(writer: &mut ObjectWriter, prev: Option<SealRef>) {
    match prev {
        None => writer.put(&[0]),
        Some(seal) => {
            writer.put(&[1]);
            writer.put(&seal.place.get().to_be_bytes());
            writer.put(&seal.write_id.bytes());
        }
    }
}

fn read_prev(reader: &mut ByteReader<'_>) -> Result<Option<SealRef>, DecodeError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(SealRef {
            place: Place::new(reader.u64()?),
            write_id: WriteId::from_bytes(reader.array()?),
        })),
        _ => Err(DecodeError::Field { field: "prev" }),
    }
}
