//! An entry: one group of commands, each atomic and whole.

use bytes::Bytes;
use esker_types::{ByteReader, ClusterId, ObjectKind, SequencerEpoch, WriteId};

use super::{DecodeError, ObjectWriter};
use crate::place::{Place, PlaceId, RollNumber};

/// Bytes in front of each command.
pub(crate) const COMMAND_LENGTH_BYTES: usize = 4;
/// Version, roll, place, epoch, count.
pub(crate) const ENTRY_FIXED_BYTES: usize = 1 + 8 + 8 + 8 + 4;

/// Commands that become durable together, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: PlaceId,
    pub(crate) epoch: SequencerEpoch,
    pub(crate) commands: Vec<Bytes>,
}

impl Entry {
    pub(crate) fn encode(&self, cluster: ClusterId, write_id: WriteId) -> Bytes {
        assert!(
            self.at.place > Place::OPENING && !self.commands.is_empty(),
            "an entry stands behind the head and holds a command"
        );
        let command_bytes: usize = self
            .commands
            .iter()
            .map(|command| command.len() + COMMAND_LENGTH_BYTES)
            .sum();
        let mut writer = ObjectWriter::new(ENTRY_FIXED_BYTES + command_bytes);
        writer.put(&self.at.roll.get().to_be_bytes());
        writer.put(&self.at.place.get().to_be_bytes());
        writer.put(&self.epoch.get().to_be_bytes());
        writer.put_count(self.commands.len());
        for command in &self.commands {
            writer.put_count(command.len());
            writer.put(command);
        }
        writer.finish(ObjectKind::JournalEntry, cluster, write_id)
    }

    /// The commands share the memory of `body`.
    pub(super) fn decode(reader: &mut ByteReader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let roll = RollNumber::new(reader.u64()?);
        let place = Place::new(reader.u64()?);
        let epoch = SequencerEpoch::new(reader.u64()?);
        let count = reader.count_u32(COMMAND_LENGTH_BYTES)?;
        if place == Place::OPENING {
            return Err(DecodeError::Field { field: "place" });
        }
        if count == 0 {
            return Err(DecodeError::Field { field: "count" });
        }
        let mut commands = Vec::with_capacity(count);
        for _ in 0..count {
            commands.push(body.slice_ref(reader.bytes_u32()?));
        }
        Ok(Self {
            at: PlaceId { roll, place },
            epoch,
            commands,
        })
    }
}
