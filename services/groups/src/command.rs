//! Commands of the journal about groups: deterministic, with the time they were made (J6).
//!
//! Stored form: docs/formats/metadata-groups.md.

use std::time::Duration;

use bytes::Bytes;
use esker_metadata_api::CommittedOffset;
use esker_types::{ByteReader, PartitionIndex, Timestamp, TopicId, TopicPartition};

use crate::codec::{GroupCodecError, Writer, finish, flag, number, text};
use crate::limits::{GROUP_MEMBERS_MAX, OFFSET_METADATA_BYTES_MAX};
use crate::{Generation, limits};

/// Version of commands and snapshot parts that this build writes, and the newest it reads.
pub(crate) const VERSION: u8 = 1;

/// One change of [`crate::GroupOffsets`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupCommand {
    /// Offsets were committed; each takes the place of the one before it (I18).
    Commit {
        /// The group.
        group: String,
        /// When.
        at: Timestamp,
        /// What was committed, verbatim.
        offsets: Vec<(TopicPartition, CommittedOffset)>,
    },
    /// A rebalance began that will end in this generation: nobody hears of a generation before
    /// it is taken, so none is ever given out twice, whoever leads.
    GenerationTaken {
        /// The group.
        group: String,
        /// When.
        at: Timestamp,
        /// The generation.
        generation: Generation,
    },
    /// A rebalance ended, or a static member came back under a new member id.
    Rebalanced {
        /// The group.
        group: String,
        /// When.
        at: Timestamp,
        /// All its members, with their assignments.
        summary: GroupSummary,
    },
    /// The last member is gone.
    Emptied {
        /// The group.
        group: String,
        /// When: offsets expire some time after it.
        at: Timestamp,
        /// The generation without members.
        generation: Generation,
        /// What the group was.
        protocol_type: String,
    },
    /// Offsets of a group without members that are older than this are gone; so is the group
    /// when none is left.
    Expire {
        /// The group.
        group: String,
        /// Gone are those committed before, if the group emptied before, too.
        before: Timestamp,
    },
    /// A topic was deleted: every group forgets its offsets.
    DropTopic {
        /// The topic.
        topic: TopicId,
    },
    /// A group without members was deleted, offsets and all.
    DeleteGroup {
        /// The group.
        group: String,
    },
    /// Offsets of some partitions are gone: deleted, or of a topic that a group with members has
    /// long stopped reading.
    DeleteOffsets {
        /// The group.
        group: String,
        /// Gone are those committed before.
        before: Timestamp,
        /// Of these partitions.
        partitions: Vec<TopicPartition>,
    },
}

/// A group at the end of a rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// Its generation.
    pub generation: Generation,
    /// `consumer`, `connect`, `sr` or any other word.
    pub protocol_type: String,
    /// The protocol all members can do.
    pub protocol: String,
    /// Member id of the leader, one of the members.
    pub leader: String,
    /// The members, ascending by member id.
    pub members: Vec<SummaryMember>,
}

/// A member at the end of a rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryMember {
    /// Member id.
    pub member: String,
    /// Static membership.
    pub instance: Option<String>,
    /// Client id.
    pub client_id: String,
    /// Client host.
    pub client_host: String,
    /// Dead after so long without a heartbeat; whole milliseconds.
    pub session_timeout: Duration,
    /// How long a rebalance waits for it; whole milliseconds.
    pub rebalance_timeout: Duration,
    /// Metadata for the chosen protocol.
    pub metadata: Bytes,
    /// Assignment, opaque.
    pub assignment: Bytes,
}

const COMMIT: u8 = 1;
const GENERATION_TAKEN: u8 = 2;
const REBALANCED: u8 = 3;
const EMPTIED: u8 = 4;
const EXPIRE: u8 = 5;
const DROP_TOPIC: u8 = 6;
const DELETE_GROUP: u8 = 7;
const DELETE_OFFSETS: u8 = 8;

/// Bytes of the smallest stored offset and member: what a believable count is checked against.
pub(crate) const OFFSET_BYTES_MIN: usize = 16 + 4 + 8 + 4 + 2;
const PARTITION_BYTES: usize = 16 + 4;
const MEMBER_BYTES_MIN: usize = 2 + 1 + 2 + 2 + 4 + 4 + 4 + 4;

impl GroupCommand {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::new();
        to.u8(VERSION);
        match self {
            Self::Commit { group, at, offsets } => {
                to.u8(COMMIT)
                    .text(group)
                    .timestamp(*at)
                    .count(offsets.len());
                for (topic_partition, committed) in offsets {
                    put_offset(&mut to, *topic_partition, committed);
                }
            }
            Self::GenerationTaken {
                group,
                at,
                generation,
            } => {
                to.u8(GENERATION_TAKEN).text(group).timestamp(*at);
                to.i32(generation.to_wire());
            }
            Self::Rebalanced { group, at, summary } => {
                to.u8(REBALANCED).text(group).timestamp(*at);
                summary.put(&mut to);
            }
            Self::Emptied {
                group,
                at,
                generation,
                protocol_type,
            } => {
                to.u8(EMPTIED).text(group).timestamp(*at);
                to.i32(generation.to_wire()).text(protocol_type);
            }
            Self::Expire { group, before } => {
                to.u8(EXPIRE).text(group).timestamp(*before);
            }
            Self::DropTopic { topic } => {
                to.u8(DROP_TOPIC).raw(&topic.bytes());
            }
            Self::DeleteGroup { group } => {
                to.u8(DELETE_GROUP).text(group);
            }
            Self::DeleteOffsets {
                group,
                before,
                partitions,
            } => {
                to.u8(DELETE_OFFSETS).text(group).timestamp(*before);
                to.count(partitions.len());
                for at in partitions {
                    put_partition(&mut to, *at);
                }
            }
        }
        let bytes = to.finish();
        assert!(
            bytes.len() <= limits::COMMAND_BYTES_MAX,
            "a command fits a journal entry"
        );
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`GroupCodecError`]: not such bytes, or of a newer Esker. Memory is bounded by `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, GroupCodecError> {
        if bytes.len() > limits::COMMAND_BYTES_MAX {
            let field = "command length";
            return Err(GroupCodecError::OutOfRange { field });
        }
        let mut from = ByteReader::new(bytes);
        let version = from.u8()?;
        if version != VERSION {
            return Err(GroupCodecError::Version { version });
        }
        let kind = from.u8()?;
        let command = match kind {
            COMMIT => Self::Commit {
                group: text(&mut from)?,
                at: Timestamp::from_millis(from.i64()?),
                offsets: offsets(&mut from)?,
            },
            GENERATION_TAKEN => Self::GenerationTaken {
                group: text(&mut from)?,
                at: Timestamp::from_millis(from.i64()?),
                generation: generation(&mut from)?,
            },
            REBALANCED => Self::Rebalanced {
                group: text(&mut from)?,
                at: Timestamp::from_millis(from.i64()?),
                summary: GroupSummary::read(&mut from)?,
            },
            EMPTIED => Self::Emptied {
                group: text(&mut from)?,
                at: Timestamp::from_millis(from.i64()?),
                generation: generation(&mut from)?,
                protocol_type: text(&mut from)?,
            },
            EXPIRE => Self::Expire {
                group: text(&mut from)?,
                before: Timestamp::from_millis(from.i64()?),
            },
            DROP_TOPIC => Self::DropTopic {
                topic: TopicId::from_bytes(from.array()?),
            },
            DELETE_GROUP => Self::DeleteGroup {
                group: text(&mut from)?,
            },
            DELETE_OFFSETS => Self::DeleteOffsets {
                group: text(&mut from)?,
                before: Timestamp::from_millis(from.i64()?),
                partitions: partitions(&mut from)?,
            },
            kind => return Err(GroupCodecError::Kind { kind }),
        };
        finish(&from)?;
        Ok(command)
    }
}

impl GroupSummary {
    pub(crate) fn put(&self, to: &mut Writer) {
        to.i32(self.generation.to_wire());
        to.text(&self.protocol_type)
            .text(&self.protocol)
            .text(&self.leader);
        to.count(self.members.len());
        for member in &self.members {
            to.text(&member.member)
                .optional_text(member.instance.as_deref());
            to.text(&member.client_id).text(&member.client_host);
            to.millis(member.session_timeout)
                .millis(member.rebalance_timeout);
            to.bytes(&member.metadata).bytes(&member.assignment);
        }
    }

    pub(crate) fn read(from: &mut ByteReader<'_>) -> Result<Self, GroupCodecError> {
        let mut summary = Self {
            generation: generation(from)?,
            protocol_type: text(from)?,
            protocol: text(from)?,
            leader: text(from)?,
            members: Vec::new(),
        };
        let count = from.count_u32(MEMBER_BYTES_MIN)?;
        if count > GROUP_MEMBERS_MAX {
            return Err(GroupCodecError::OutOfRange {
                field: "member count",
            });
        }
        summary.members.reserve_exact(count);
        for _ in 0..count {
            summary.members.push(SummaryMember::read(from)?);
        }
        summary.check()?;
        Ok(summary)
    }

    /// What the coordinator relies on: ids ascend, instances are unique, the leader is a member.
    fn check(&self) -> Result<(), GroupCodecError> {
        let ascending = self
            .members
            .is_sorted_by(|left, right| left.member < right.member);
        let led = self
            .members
            .iter()
            .any(|member| member.member == self.leader);
        let instances: Vec<_> = self
            .members
            .iter()
            .filter_map(|m| m.instance.as_ref())
            .collect();
        let unique: std::collections::BTreeSet<_> = instances.iter().collect();
        if ascending && led && unique.len() == instances.len() {
            Ok(())
        } else {
            Err(GroupCodecError::Inconsistent)
        }
    }
}

impl SummaryMember {
    fn read(from: &mut ByteReader<'_>) -> Result<Self, GroupCodecError> {
        let member = text(from)?;
        let instance = if flag(from)? { Some(text(from)?) } else { None };
        Ok(Self {
            member,
            instance,
            client_id: text(from)?,
            client_host: text(from)?,
            session_timeout: Duration::from_millis(u64::from(from.u32()?)),
            rebalance_timeout: Duration::from_millis(u64::from(from.u32()?)),
            metadata: Bytes::copy_from_slice(from.bytes_u32()?),
            assignment: Bytes::copy_from_slice(from.bytes_u32()?),
        })
    }
}

fn generation(from: &mut ByteReader<'_>) -> Result<Generation, GroupCodecError> {
    number(Generation::from_wire(from.i32()?), "generation")
}

fn offsets(
    from: &mut ByteReader<'_>,
) -> Result<Vec<(TopicPartition, CommittedOffset)>, GroupCodecError> {
    let count = from.count_u32(OFFSET_BYTES_MIN)?;
    let mut offsets = Vec::with_capacity(count);
    for _ in 0..count {
        offsets.push(read_offset(from)?);
    }
    Ok(offsets)
}

fn partitions(from: &mut ByteReader<'_>) -> Result<Vec<TopicPartition>, GroupCodecError> {
    let count = from.count_u32(PARTITION_BYTES)?;
    let mut partitions = Vec::with_capacity(count);
    for _ in 0..count {
        partitions.push(read_partition(from)?);
    }
    Ok(partitions)
}

fn put_partition(to: &mut Writer, at: TopicPartition) {
    to.raw(&at.topic.bytes()).u32(at.partition.get());
}

fn read_partition(from: &mut ByteReader<'_>) -> Result<TopicPartition, GroupCodecError> {
    Ok(TopicPartition {
        topic: TopicId::from_bytes(from.array()?),
        partition: number(PartitionIndex::new(from.u32()?), "partition")?,
    })
}

pub(crate) fn put_offset(to: &mut Writer, at: TopicPartition, committed: &CommittedOffset) {
    put_partition(to, at);
    to.i64(committed.offset).i32(committed.leader_epoch);
    to.text(&committed.metadata);
}

pub(crate) fn read_offset(
    from: &mut ByteReader<'_>,
) -> Result<(TopicPartition, CommittedOffset), GroupCodecError> {
    let topic_partition = read_partition(from)?;
    let committed = CommittedOffset {
        offset: from.i64()?,
        leader_epoch: from.i32()?,
        metadata: text(from)?,
    };
    if committed.metadata.len() > OFFSET_METADATA_BYTES_MAX {
        return Err(GroupCodecError::OutOfRange {
            field: "offset metadata",
        });
    }
    Ok((topic_partition, committed))
}

#[cfg(test)]
mod tests;
