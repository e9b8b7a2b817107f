//! The stored form of the whole durable state: parts of bounded size, each a version and records.
//!
//! Order: unsettled sessions by id, settled ones oldest first, then each partition with its extents
//! and producers, which may go on in the next part. Equal states have equal bytes.

use bytes::Bytes;
use esker_metadata_api::IndexExtent;
use esker_types::{
    ByteRange, ByteReader, ChainIndex, ProducerEpoch, ProducerId, SequencerEpoch, SessionId,
    Timestamp, TopicPartition,
};

use super::{
    CodecError, VERSION, get_offset, get_segment, get_topic_partition, put_count, put_segment,
    put_topic_partition,
};
use crate::limits::SNAPSHOT_PART_BYTES_MIN;
use crate::producers::{ProducerBatch, ProducerLog, Sequence};
use crate::state::{LogState, PartitionLog, SessionRecord};

const SESSION: u8 = 1;
const PARTITION: u8 = 2;
const EXTENTS: u8 = 3;
const PRODUCERS: u8 = 4;
const EXTENT_BYTES: usize = 64;
const PRODUCER_BYTES_MIN: usize = 35;
/// Extents or producers in one record: it stays far below the smallest part.
const RECORD_ITEMS_MAX: usize = 64;

impl LogState {
    /// The state as parts of at most `part_bytes_max` bytes, to be restored in this order.
    ///
    /// # Panics
    /// When `part_bytes_max` is below [`SNAPSHOT_PART_BYTES_MIN`].
    #[must_use]
    pub fn snapshot(&self, part_bytes_max: usize) -> Vec<Bytes> {
        let mut parts = Parts::new(part_bytes_max);
        for (session, record) in self.sessions.unsettled().chain(self.sessions.settled()) {
            parts.add(&session_record(session, record));
        }
        for (topic_partition, log) in &self.partitions {
            parts.add(&partition_record(*topic_partition, log));
            for extents in log.extents.all().chunks(RECORD_ITEMS_MAX) {
                parts.add(&extents_record(extents));
            }
            let producers: Vec<_> = log.producers.iter().collect();
            for producers in producers.chunks(RECORD_ITEMS_MAX) {
                parts.add(&producers_record(producers));
            }
        }
        parts.finish()
    }

    /// Reads what [`Self::snapshot`] wrote: all parts, in order.
    ///
    /// # Errors
    /// [`CodecError`]: not a snapshot, or one from the future: stop and alarm.
    pub fn restore(parts: &[Bytes]) -> Result<Self, CodecError> {
        let mut restored = Restored::default();
        for part in parts {
            let mut reader = ByteReader::new(part);
            let version = reader.u8()?;
            if version != VERSION {
                return Err(CodecError::Version { version });
            }
            while reader.remaining() > 0 {
                restored.record(&mut reader)?;
            }
        }
        restored.close()?;
        Ok(restored.state)
    }
}

/// Packs records into parts.
struct Parts {
    part_bytes_max: usize,
    full: Vec<Bytes>,
    open: Vec<u8>,
}

impl Parts {
    fn new(part_bytes_max: usize) -> Self {
        assert!(
            part_bytes_max >= SNAPSHOT_PART_BYTES_MIN,
            "the largest record fits a part"
        );
        Self {
            part_bytes_max,
            full: Vec::new(),
            open: vec![VERSION],
        }
    }

    fn add(&mut self, record: &[u8]) {
        if self.open.len() + record.len() > self.part_bytes_max {
            let full = std::mem::replace(&mut self.open, vec![VERSION]);
            self.full.push(Bytes::from(full));
        }
        self.open.extend_from_slice(record);
        assert!(
            self.open.len() <= self.part_bytes_max,
            "the largest record fits a part"
        );
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.full.push(Bytes::from(self.open));
        self.full
    }
}

fn session_record(session: SessionId, record: SessionRecord) -> Vec<u8> {
    let mut bytes = vec![SESSION];
    bytes.extend_from_slice(&session.bytes());
    bytes.extend_from_slice(&record.epoch.get().to_be_bytes());
    bytes.extend_from_slice(&record.decided_upto.get().to_be_bytes());
    bytes.push(u8::from(record.end.is_some()));
    let end = record.end.map_or(0, ChainIndex::get);
    bytes.extend_from_slice(&end.to_be_bytes());
    bytes
}

fn partition_record(topic_partition: TopicPartition, log: &PartitionLog) -> Vec<u8> {
    let mut bytes = vec![PARTITION];
    put_topic_partition(&mut bytes, topic_partition);
    bytes.extend_from_slice(&log.log_start.get().to_be_bytes());
    bytes.extend_from_slice(&log.end.get().to_be_bytes());
    bytes
}

fn extents_record(extents: &[IndexExtent]) -> Vec<u8> {
    let mut bytes = vec![EXTENTS];
    put_count(&mut bytes, extents.len());
    for extent in extents {
        bytes.extend_from_slice(&extent.base_offset.get().to_be_bytes());
        bytes.extend_from_slice(&extent.end_offset.get().to_be_bytes());
        put_segment(&mut bytes, extent.segment);
        bytes.extend_from_slice(&extent.range.start().to_be_bytes());
        bytes.extend_from_slice(&extent.range.end().to_be_bytes());
        bytes.extend_from_slice(&extent.max_timestamp.millis().to_be_bytes());
    }
    bytes
}

fn producers_record(producers: &[(&ProducerId, &ProducerLog)]) -> Vec<u8> {
    let mut bytes = vec![PRODUCERS];
    put_count(&mut bytes, producers.len());
    for (id, log) in producers {
        bytes.extend_from_slice(&id.to_wire().to_be_bytes());
        bytes.extend_from_slice(&log.epoch().to_wire().to_be_bytes());
        bytes.extend_from_slice(&log.epoch_records().to_be_bytes());
        bytes.push(u8::try_from(log.last().len()).unwrap_or(u8::MAX));
        for batch in log.last() {
            bytes.extend_from_slice(&batch.base_sequence.to_wire().to_be_bytes());
            bytes.extend_from_slice(&batch.record_count.to_be_bytes());
            bytes.extend_from_slice(&batch.base_offset.get().to_be_bytes());
        }
    }
    bytes
}

/// A state that is being read, and the partition that the next records belong to.
#[derive(Default)]
struct Restored {
    state: LogState,
    open: Option<(TopicPartition, PartitionLog)>,
}

impl Restored {
    fn record(&mut self, reader: &mut ByteReader<'_>) -> Result<(), CodecError> {
        match reader.u8()? {
            SESSION => self.session(reader),
            PARTITION => {
                self.close()?;
                self.open = Some(get_partition(reader)?);
                Ok(())
            }
            EXTENTS => get_extents(reader, self.open_log()?),
            PRODUCERS => get_producers(reader, self.open_log()?),
            code => Err(CodecError::Kind { code }),
        }
    }

    fn open_log(&mut self) -> Result<&mut PartitionLog, CodecError> {
        let orphan = CodecError::Order { what: "partition" };
        self.open.as_mut().map(|(_, log)| log).ok_or(orphan)
    }

    fn session(&mut self, reader: &mut ByteReader<'_>) -> Result<(), CodecError> {
        let session = SessionId::from_bytes(reader.array()?);
        let epoch = SequencerEpoch::new(reader.u64()?);
        let decided_upto = ChainIndex::new(reader.u64()?);
        let ended = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(CodecError::Value { what: "flag" }),
        };
        let end = ChainIndex::new(reader.u64()?);
        if ended && end < decided_upto {
            return Err(CodecError::Value {
                what: "session end",
            });
        }
        if self.state.sessions.get(session).is_some() {
            return Err(CodecError::Order { what: "session" });
        }
        let record = SessionRecord {
            epoch,
            decided_upto,
            end: ended.then_some(end),
        };
        self.state.sessions.put(session, record);
        Ok(())
    }

    /// Puts the open partition into the state, behind the one before.
    fn close(&mut self) -> Result<(), CodecError> {
        let Some((topic_partition, log)) = self.open.take() else {
            return Ok(());
        };
        let last = self.state.partitions.last_key_value();
        if last.is_some_and(|(last, _)| *last >= topic_partition) {
            return Err(CodecError::Order { what: "partition" });
        }
        self.state.partitions.insert(topic_partition, log);
        Ok(())
    }
}

fn get_partition(
    reader: &mut ByteReader<'_>,
) -> Result<(TopicPartition, PartitionLog), CodecError> {
    let topic_partition = get_topic_partition(reader)?;
    let log = PartitionLog {
        log_start: get_offset(reader)?,
        end: get_offset(reader)?,
        ..PartitionLog::default()
    };
    Ok((topic_partition, log))
}

fn get_extents(reader: &mut ByteReader<'_>, log: &mut PartitionLog) -> Result<(), CodecError> {
    for _ in 0..reader.count_u32(EXTENT_BYTES)? {
        let base_offset = get_offset(reader)?;
        let end_offset = get_offset(reader)?;
        let segment = get_segment(reader)?;
        let range = ByteRange::new(reader.u64()?, reader.u64()?);
        let max_timestamp = Timestamp::from_millis(reader.i64()?);
        let range = range.ok_or(CodecError::Value { what: "byte range" })?;
        if base_offset >= end_offset || end_offset > log.end || end_offset <= log.log_start {
            return Err(CodecError::Value { what: "extent" });
        }
        let last = log.extents.all().last();
        if last.is_some_and(|last| last.end_offset > base_offset) {
            return Err(CodecError::Order { what: "extent" });
        }
        let extent = IndexExtent {
            base_offset,
            end_offset,
            segment,
            range,
            max_timestamp,
        };
        let added = log.extents.insert(extent);
        assert!(added.is_ok(), "CP2: checked before");
    }
    Ok(())
}

fn get_producers(reader: &mut ByteReader<'_>, log: &mut PartitionLog) -> Result<(), CodecError> {
    let impossible = CodecError::Value { what: "producer" };
    for _ in 0..reader.count_u32(PRODUCER_BYTES_MIN)? {
        let id = ProducerId::from_wire(reader.i64()?).ok_or(impossible)?;
        let epoch = ProducerEpoch::from_wire(reader.i16()?).ok_or(impossible)?;
        let epoch_records = reader.u64()?;
        let mut last = Vec::new();
        for _ in 0..reader.u8()? {
            last.push(ProducerBatch {
                base_sequence: Sequence::from_wire(reader.i32()?).ok_or(impossible)?,
                record_count: reader.u32()?,
                base_offset: get_offset(reader)?,
            });
        }
        let producer = ProducerLog::from_parts(epoch, epoch_records, last).ok_or(impossible)?;
        let newest = log.producers.last_key_value();
        if newest.is_some_and(|(newest, _)| *newest >= id) {
            return Err(CodecError::Order { what: "producer" });
        }
        log.producers.insert(id, producer);
    }
    Ok(())
}
