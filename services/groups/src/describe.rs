//! DescribeGroups and ListGroups.

use esker_metadata_api::{DescribedGroup, GroupOverview, GroupState};

use crate::{GroupCoordinator, GroupOffsets};

impl GroupCoordinator {
    /// Groups in the order asked; one that is not known is `Dead`.
    pub(crate) fn describe(
        &self,
        names: Vec<String>,
        offsets: &GroupOffsets,
    ) -> Vec<DescribedGroup> {
        let describe = |name: String| match self.groups.get(&name) {
            Some(group) => {
                let stable = group.state() == GroupState::Stable;
                let protocol = group.protocol.as_deref().filter(|_| stable);
                let members = group.members.iter();
                DescribedGroup {
                    state: group.state(),
                    protocol_type: group.protocol_type.clone(),
                    protocol: protocol.unwrap_or_default().to_owned(),
                    members: members
                        .map(|(id, one)| one.described(id, protocol))
                        .collect(),
                    group: name,
                }
            }
            None => {
                let durable = offsets.groups.get(&name);
                DescribedGroup {
                    state: durable.map_or(GroupState::Dead, |_| GroupState::Empty),
                    protocol_type: durable.map(|g| g.protocol_type.clone()).unwrap_or_default(),
                    protocol: String::new(),
                    members: Vec::new(),
                    group: name,
                }
            }
        };
        names.into_iter().map(describe).collect()
    }

    /// All groups: those with members, and those with nothing but offsets or a past.
    pub(crate) fn list(&self, offsets: &GroupOffsets) -> Vec<GroupOverview> {
        let held = self.groups.values().map(|group| GroupOverview {
            group: group.name.clone(),
            protocol_type: group.protocol_type.clone(),
            state: group.state(),
        });
        let durable = offsets
            .groups
            .iter()
            .filter(|(name, _)| !self.groups.contains_key(*name));
        let durable = durable.map(|(name, group)| GroupOverview {
            group: name.clone(),
            protocol_type: group.protocol_type.clone(),
            state: GroupState::Empty,
        });
        let mut listed: Vec<GroupOverview> = held.chain(durable).collect();
        listed.sort_by(|left, right| left.group.cmp(&right.group));
        listed
    }
}
