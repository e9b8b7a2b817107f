//! The stored form of commands: version, kind, fields.

use bytes::Bytes;
use esker_segment::SegmentFooter;
use esker_types::{ByteReader, ChainIndex, SequencerEpoch, SessionId, TopicId};

use super::{CodecError, VERSION, get_offset, get_topic_partition, put_count, put_topic_partition};
use crate::LogCommand;
use crate::limits::LOG_COMMAND_BYTES_MAX;

const REGISTER_SESSION: u8 = 1;
const END_SESSION: u8 = 2;
const CHECKPOINT: u8 = 3;
const DROP_TOPIC: u8 = 4;
const MOVE_LOG_START: u8 = 5;
/// Bytes of a footer's length.
const LENGTH_BYTES: usize = 4;

impl LogCommand {
    /// The stored form, at most [`LOG_COMMAND_BYTES_MAX`] bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = vec![VERSION];
        match self {
            Self::RegisterSession { session, epoch } => {
                bytes.push(REGISTER_SESSION);
                bytes.extend_from_slice(&session.bytes());
                bytes.extend_from_slice(&epoch.get().to_be_bytes());
            }
            Self::EndSession { session, end } => {
                bytes.push(END_SESSION);
                bytes.extend_from_slice(&session.bytes());
                bytes.extend_from_slice(&end.get().to_be_bytes());
            }
            Self::Checkpoint { segments } => {
                bytes.push(CHECKPOINT);
                put_count(&mut bytes, segments.len());
                for footer in segments {
                    let footer = footer.encode();
                    put_count(&mut bytes, footer.len());
                    bytes.extend_from_slice(&footer);
                }
            }
            Self::DropTopic { topic } => {
                bytes.push(DROP_TOPIC);
                bytes.extend_from_slice(&topic.bytes());
            }
            Self::MoveLogStart {
                topic_partition,
                log_start,
            } => {
                bytes.push(MOVE_LOG_START);
                put_topic_partition(&mut bytes, *topic_partition);
                bytes.extend_from_slice(&log_start.get().to_be_bytes());
            }
        }
        assert!(
            bytes.len() <= LOG_COMMAND_BYTES_MAX,
            "K1: one command is one journal entry"
        );
        Bytes::from(bytes)
    }

    /// Reads what [`Self::encode`] wrote, all of `bytes`.
    ///
    /// # Errors
    /// [`CodecError`]: not a command, or one from the future: stop and alarm. Never `Order`.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > LOG_COMMAND_BYTES_MAX {
            let bytes = bytes.len();
            return Err(CodecError::Long { bytes });
        }
        let mut reader = ByteReader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(CodecError::Version { version });
        }
        let command = match reader.u8()? {
            REGISTER_SESSION => Self::RegisterSession {
                session: SessionId::from_bytes(reader.array()?),
                epoch: SequencerEpoch::new(reader.u64()?),
            },
            END_SESSION => Self::EndSession {
                session: SessionId::from_bytes(reader.array()?),
                end: ChainIndex::new(reader.u64()?),
            },
            CHECKPOINT => Self::Checkpoint {
                segments: get_footers(&mut reader)?,
            },
            DROP_TOPIC => Self::DropTopic {
                topic: TopicId::from_bytes(reader.array()?),
            },
            MOVE_LOG_START => Self::MoveLogStart {
                topic_partition: get_topic_partition(&mut reader)?,
                log_start: get_offset(&mut reader)?,
            },
            code => return Err(CodecError::Kind { code }),
        };
        match reader.remaining() {
            0 => Ok(command),
            left_bytes => Err(CodecError::Trailing { left_bytes }),
        }
    }
}

fn get_footers(reader: &mut ByteReader<'_>) -> Result<Vec<SegmentFooter>, CodecError> {
    let count = reader.count_u32(LENGTH_BYTES)?;
    let mut footers = Vec::new();
    for _ in 0..count {
        let footer = SegmentFooter::decode(reader.bytes_u32()?).map_err(CodecError::Footer)?;
        footers.push(footer);
    }
    Ok(footers)
}
