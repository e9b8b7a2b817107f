//! Snapshot of [`GroupOffsets`] in bounded parts, for the journal (J7).
//!
//! A part is a version byte, then records. Stored form: docs/formats/metadata-groups.md.

use bytes::Bytes;
use esker_types::{ByteReader, Timestamp};

use crate::codec::{GroupCodecError, Writer, flag, number, text};
use crate::command::{OFFSET_BYTES_MIN, VERSION, put_offset, read_offset};
use crate::limits::{COMMIT_COMMAND_BYTES, SNAPSHOT_PART_BYTES, SNAPSHOT_PART_BYTES_MAX};
use crate::offsets::{DurableGroup, StoredOffset};
use crate::{Generation, GroupOffsets, GroupSummary};

const GROUP: u8 = 1;
const OFFSETS: u8 = 2;
const TIME_BYTES: usize = 8;

impl GroupOffsets {
    /// The whole state in parts of about [`SNAPSHOT_PART_BYTES`], none above
    /// [`SNAPSHOT_PART_BYTES_MAX`]; none at all when there is nothing.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Bytes> {
        let mut parts = Parts::default();
        for (name, group) in &self.groups {
            parts.add(group_record(name, group));
            let mut rest = group.offsets.iter().peekable();
            while rest.peek().is_some() {
                let mut count: u32 = 0;
                let mut body = Writer::new();
                while body.len() < COMMIT_COMMAND_BYTES {
                    let Some((at, stored)) = rest.next() else {
                        break;
                    };
                    count += 1;
                    body.timestamp(stored.at);
                    put_offset(&mut body, *at, &stored.committed);
                }
                let mut record = Writer::new();
                record.u8(OFFSETS).text(name).u32(count).raw(&body.finish());
                parts.add(record);
            }
        }
        parts.finish()
    }

    /// Reads what [`Self::snapshot`] wrote, all parts in order.
    ///
    /// # Errors
    /// [`GroupCodecError`]: not such parts, or of a newer Esker. Memory is bounded by their bytes.
    pub fn restore(parts: &[Bytes]) -> Result<Self, GroupCodecError> {
        let mut offsets = Self::default();
        for part in parts {
            if part.len() > SNAPSHOT_PART_BYTES_MAX {
                let field = "snapshot part length";
                return Err(GroupCodecError::OutOfRange { field });
            }
            let mut from = ByteReader::new(part);
            let version = from.u8()?;
            if version != VERSION {
                return Err(GroupCodecError::Version { version });
            }
            while from.remaining() > 0 {
                offsets.restore_record(&mut from)?;
            }
        }
        Ok(offsets)
    }

    fn restore_record(&mut self, from: &mut ByteReader<'_>) -> Result<(), GroupCodecError> {
        let kind = from.u8()?;
        let name = text(from)?;
        match kind {
            GROUP => {
                let group = read_group(from)?;
                if !self.restore_group(name, group) {
                    return Err(GroupCodecError::Inconsistent);
                }
            }
            OFFSETS => {
                if !self.groups.contains_key(&name) {
                    return Err(GroupCodecError::Inconsistent);
                }
                for _ in 0..from.count_u32(OFFSET_BYTES_MIN + TIME_BYTES)? {
                    let at = Timestamp::from_millis(from.i64()?);
                    let (topic_partition, committed) = read_offset(from)?;
                    self.store(&name, topic_partition, StoredOffset { at, committed });
                }
            }
            kind => return Err(GroupCodecError::Kind { kind }),
        }
        Ok(())
    }
}

fn group_record(name: &str, group: &DurableGroup) -> Writer {
    let mut to = Writer::new();
    to.u8(GROUP).text(name).i32(group.generation.to_wire());
    to.timestamp(group.changed_at).text(&group.protocol_type);
    match &group.summary {
        None => {
            to.u8(0);
        }
        Some(summary) => summary.put(to.u8(1)),
    }
    to
}

fn read_group(from: &mut ByteReader<'_>) -> Result<DurableGroup, GroupCodecError> {
    let generation = number(Generation::from_wire(from.i32()?), "generation")?;
    let changed_at = Timestamp::from_millis(from.i64()?);
    let protocol_type = text(from)?;
    let summary = if flag(from)? {
        Some(GroupSummary::read(from)?)
    } else {
        None
    };
    Ok(DurableGroup {
        generation,
        changed_at,
        protocol_type,
        summary,
        ..DurableGroup::default()
    })
}

/// Gathers records into parts.
#[derive(Default)]
struct Parts {
    closed: Vec<Bytes>,
    open: Option<Writer>,
}

impl Parts {
    fn add(&mut self, record: Writer) {
        let record = record.finish();
        assert!(
            record.len() < SNAPSHOT_PART_BYTES_MAX,
            "records are bounded as commands are"
        );
        let full = |open: &Writer| open.len() + record.len() > SNAPSHOT_PART_BYTES;
        if self.open.as_ref().is_some_and(full) {
            self.closed.extend(self.open.take().map(Writer::finish));
        }
        let open = self.open.get_or_insert_with(|| {
            let mut part = Writer::new();
            part.u8(VERSION);
            part
        });
        open.raw(&record);
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.closed.extend(self.open.map(Writer::finish));
        self.closed
    }
}
