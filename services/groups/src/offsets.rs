//! What is durable of all groups: committed offsets, and each group's last completed rebalance.
//!
//! A pure fold of commands: the same commands in the same order give the same state (J6). Expiry
//! compares times that commands carry; nothing here reads a clock.

use std::collections::BTreeMap;

use esker_metadata_api::{CommittedOffset, OffsetPartition};
use esker_types::{PartitionIndex, Timestamp, TopicId, TopicPartition};

use crate::limits::{GROUPS_MAX, OFFSET_OVERHEAD_BYTES, OFFSETS_BYTES_MAX};
use crate::{Generation, GroupCommand, GroupSummary};

/// The durable state of all groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupOffsets {
    pub(crate) groups: BTreeMap<String, DurableGroup>,
    offset_count: usize,
    bytes: usize,
}

/// The durable state of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DurableGroup {
    /// The highest generation taken, whether or not its rebalance ended.
    pub(crate) generation: Generation,
    /// When the membership last changed.
    pub(crate) changed_at: Timestamp,
    /// Empty when the group never had members.
    pub(crate) protocol_type: String,
    /// Set while the group has members.
    pub(crate) summary: Option<GroupSummary>,
    pub(crate) offsets: BTreeMap<TopicPartition, StoredOffset>,
}

/// A committed offset and when it was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredOffset {
    pub(crate) at: Timestamp,
    pub(crate) committed: CommittedOffset,
}

impl GroupOffsets {
    /// Applies one durable command. `exists` says whether the catalogue has a partition at this
    /// place of the journal: a commit that crossed the topic's deletion leaves nothing behind.
    pub fn apply(&mut self, command: &GroupCommand, exists: &dyn Fn(TopicPartition) -> bool) {
        match command {
            GroupCommand::Commit { group, at, offsets } => {
                for (topic_partition, committed) in offsets {
                    if exists(*topic_partition) {
                        let stored = StoredOffset {
                            at: *at,
                            committed: committed.clone(),
                        };
                        self.store(group, *topic_partition, stored);
                    }
                }
            }
            GroupCommand::GenerationTaken {
                group,
                at,
                generation,
            } => self.edit(group, *at, |group| {
                (group.generation, group.changed_at) = (*generation, *at);
            }),
            // Its generation was taken before, and a later one may have been.
            GroupCommand::Rebalanced { group, at, summary } => self.edit(group, *at, |group| {
                group.changed_at = *at;
                group.protocol_type.clone_from(&summary.protocol_type);
                group.summary = Some(summary.clone());
            }),
            GroupCommand::Emptied {
                group,
                at,
                generation,
                protocol_type,
            } => self.edit(group, *at, |group| {
                (group.generation, group.changed_at) = (*generation, *at);
                group.protocol_type.clone_from(protocol_type);
                group.summary = None;
            }),
            GroupCommand::Expire { group, before } => self.expire(group, *before),
            GroupCommand::DropTopic { topic } => self.drop_topic(*topic),
            GroupCommand::DeleteGroup { group } => {
                if self
                    .groups
                    .get(group)
                    .is_some_and(|found| found.summary.is_none())
                {
                    self.remove(group);
                }
            }
            GroupCommand::DeleteOffsets {
                group,
                before,
                partitions,
            } => self.delete_offsets(group, *before, partitions),
        }
    }

    /// Stored offsets of a group, by partition: of `partitions`, or all. Partitions without one are
    /// left out, an unknown group has none.
    #[must_use]
    pub fn fetch(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Vec<(TopicPartition, CommittedOffset)> {
        let Some(group) = self.groups.get(group) else {
            return Vec::new();
        };
        let answer =
            |(at, stored): (&TopicPartition, &StoredOffset)| (*at, stored.committed.clone());
        match partitions {
            None => group.offsets.iter().map(answer).collect(),
            Some(asked) => {
                let found = asked
                    .iter()
                    .filter_map(|at| group.offsets.get_key_value(at));
                found.map(answer).collect()
            }
        }
    }

    /// Groups that are known, with members or without.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Committed offsets of all groups.
    #[must_use]
    pub fn offset_count(&self) -> usize {
        self.offset_count
    }

    /// Bytes of committed offsets and of group names and types, as the limit counts them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether an [`GroupCommand::Expire`] with this time would take anything away.
    pub(crate) fn has_expired(&self, group: &str, before: Timestamp) -> bool {
        self.groups.get(group).is_some_and(|group| {
            let aged = group.changed_at < before;
            let any = group.offsets.values().any(|stored| stored.at < before);
            group.summary.is_none() && aged && (any || group.offsets.is_empty())
        })
    }

    /// Offsets of a group that were committed before this time.
    pub(crate) fn older_than<'a>(
        &'a self,
        group: &str,
        before: Timestamp,
    ) -> impl Iterator<Item = TopicPartition> + use<'a> {
        let offsets = self.groups.get(group).map(|group| &group.offsets);
        let older = offsets.into_iter().flatten();
        older.filter_map(move |(at, stored)| (stored.at < before).then_some(*at))
    }

    /// Whether a group may be made, if it is not there already.
    pub(crate) fn has_room_for(&self, group: &str, protocol_type: &str) -> bool {
        let added = group.len() + protocol_type.len() + OFFSET_OVERHEAD_BYTES;
        let room = self.groups.len() < GROUPS_MAX && self.bytes + added <= OFFSETS_BYTES_MAX;
        room || self.groups.contains_key(group)
    }

    /// Bytes by which a commit would add to [`Self::bytes`].
    pub(crate) fn growth(&self, group: &str, offsets: &[OffsetPartition]) -> usize {
        let known = self.groups.get(group);
        let stored = |at: &TopicPartition| {
            known
                .and_then(|group| group.offsets.get(at))
                .map_or(0, offset_bytes)
        };
        let grown = |one: &OffsetPartition| {
            committed_bytes(&one.committed).saturating_sub(stored(&one.topic_partition))
        };
        let name = if known.is_none() {
            group.len() + OFFSET_OVERHEAD_BYTES
        } else {
            0
        };
        name + offsets.iter().map(grown).sum::<usize>()
    }

    /// Puts back a group from a snapshot; `false` when it is there already.
    pub(crate) fn restore_group(&mut self, name: String, group: DurableGroup) -> bool {
        if self.groups.contains_key(&name) {
            return false;
        }
        self.bytes += group_bytes(&name, &group);
        self.groups.insert(name, group);
        true
    }

    /// Stores an offset; the group is made when it is new.
    pub(crate) fn store(&mut self, group: &str, at: TopicPartition, stored: StoredOffset) {
        let (mut replaced, added, time) = (None, offset_bytes(&stored), stored.at);
        self.edit(group, time, |group| {
            replaced = group.offsets.insert(at, stored)
        });
        match &replaced {
            Some(old) => self.bytes -= offset_bytes(old),
            None => self.offset_count += 1,
        }
        self.bytes += added;
    }

    /// Changes a group (a new one when there is none), keeping count of its own bytes.
    fn edit(&mut self, name: &str, at: Timestamp, change: impl FnOnce(&mut DurableGroup)) {
        if let Some(group) = self.groups.get_mut(name) {
            self.bytes -= group_bytes(name, group);
            change(group);
            self.bytes += group_bytes(name, group);
        } else {
            let mut group = DurableGroup {
                changed_at: at,
                ..DurableGroup::default()
            };
            change(&mut group);
            self.bytes += group_bytes(name, &group);
            self.groups.insert(name.to_owned(), group);
        }
    }

    fn expire(&mut self, name: &str, before: Timestamp) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        if group.summary.is_some() || group.changed_at >= before {
            return;
        }
        let expired = group.offsets.extract_if(.., |_, stored| stored.at < before);
        for (_, stored) in expired {
            self.offset_count -= 1;
            self.bytes -= offset_bytes(&stored);
        }
        if group.offsets.is_empty() {
            self.remove(name);
        }
    }

    fn delete_offsets(&mut self, name: &str, before: Timestamp, partitions: &[TopicPartition]) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        for at in partitions {
            let is_older = group.offsets.get(at).is_some_and(|one| one.at < before);
            if let Some(stored) = is_older.then(|| group.offsets.remove(at)).flatten() {
                self.offset_count -= 1;
                self.bytes -= offset_bytes(&stored);
            }
        }
    }

    fn drop_topic(&mut self, topic: TopicId) {
        let first = TopicPartition {
            topic,
            partition: PartitionIndex::default(),
        };
        for group in self.groups.values_mut() {
            let dropped: Vec<TopicPartition> = group
                .offsets
                .range(first..)
                .map(|(at, _)| *at)
                .take_while(|at| at.topic == topic)
                .collect();
            for stored in dropped.iter().filter_map(|at| group.offsets.remove(at)) {
                self.offset_count -= 1;
                self.bytes -= offset_bytes(&stored);
            }
        }
    }

    fn remove(&mut self, name: &str) {
        let Some(group) = self.groups.remove(name) else {
            return;
        };
        self.offset_count -= group.offsets.len();
        let offsets: usize = group.offsets.values().map(offset_bytes).sum();
        self.bytes -= offsets + group_bytes(name, &group);
    }
}

/// What the limit counts for one stored offset.
pub(crate) fn committed_bytes(committed: &CommittedOffset) -> usize {
    committed.metadata.len() + OFFSET_OVERHEAD_BYTES
}

fn offset_bytes(stored: &StoredOffset) -> usize {
    committed_bytes(&stored.committed)
}

/// What the limit counts for a group beside its offsets. Members count in the coordinator.
fn group_bytes(name: &str, group: &DurableGroup) -> usize {
    name.len() + group.protocol_type.len() + OFFSET_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use esker_types::TopicId;

    use super::*;

    #[test]
    fn an_offset_without_metadata_counts_all_the_same() {
        let mut offsets = GroupOffsets::default();
        let at = TopicPartition {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionIndex::default(),
        };
        let committed = CommittedOffset {
            offset: 0,
            leader_epoch: -1,
            metadata: String::new(),
        };
        let commit = GroupCommand::Commit {
            group: "g".to_owned(),
            at: Timestamp::from_millis(1),
            offsets: vec![(at, committed)],
        };

        offsets.apply(&commit, &|_| true);

        assert_eq!(offsets.bytes(), "g".len() + 2 * OFFSET_OVERHEAD_BYTES);
    }
}
