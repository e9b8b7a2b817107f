//! One group in memory: its phase, its members, who leads, when something is due.
//!
//! Phases go Empty -> Preparing (members join) -> Completing (the leader assigns) -> Stable, and
//! back to Preparing at any change. The steps are in `join`, `rebalance`, `sync` and `leave`.

use std::collections::BTreeMap;
use std::time::Duration;

use esker_metadata_api::{GroupError, GroupState, JoinGroup, JoinedGroup, JoinedMember};
use esker_types::MonotonicTime;
use esker_types::{Planted, planted};

use crate::limits::MEMBER_OVERHEAD_BYTES;
use crate::member::Member;
use crate::offsets::DurableGroup;
use crate::turn::Turn;
use crate::{Generation, GroupCommand, GroupSummary, Ticket};

/// What a group is doing.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// No members.
    Empty,
    /// Waits for its members to join.
    Preparing(Preparing),
    /// Waits for the leader's assignment, then for that to be durable.
    Completing {
        /// Members that have not asked for their assignment by then are dropped.
        sync_deadline: MonotonicTime,
        /// The leader has assigned, the summary is on its way to the journal.
        handed_in: bool,
    },
    /// Works.
    Stable {
        /// As in `Completing`, while some have not asked.
        sync_deadline: Option<MonotonicTime>,
    },
}

/// A rebalance that waits for members.
#[derive(Clone, Debug)]
pub(crate) struct Preparing {
    /// The generation it will end in …
    pub(crate) claim: Generation,
    /// … and how far that is.
    pub(crate) claimed: Claimed,
    /// Set for the first rebalance of an empty group, which waits for more members.
    pub(crate) initial: Option<InitialDelay>,
    /// When it ends without those that have not joined.
    pub(crate) deadline: MonotonicTime,
    /// The deadline has passed; it ends as soon as its claim is durable.
    pub(crate) due: bool,
}

/// How far the claim of a generation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// Not appended: a new leader found the rebalance under way and has had no turn yet.
    Not,
    /// On its way to the journal.
    Appended,
    /// Durable: members may hear of it.
    Durable,
}

/// The wait of an empty group's first rebalance, prolonged while members arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitialDelay {
    /// A member arrived since the wait was last prolonged.
    pub(crate) arrived: bool,
    /// The wait under way.
    pub(crate) delay: Duration,
    /// How much longer it may be prolonged.
    pub(crate) remaining: Duration,
}

/// One group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) phase: Phase,
    pub(crate) generation: Generation,
    /// The highest generation ever claimed.
    pub(crate) taken: Generation,
    pub(crate) protocol_type: String,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    /// By member id.
    pub(crate) members: BTreeMap<String, Member>,
    /// Member id by instance.
    pub(crate) instances: BTreeMap<String, String>,
    /// Ids given to newcomers that have yet to join with them, and until when they may.
    pub(crate) pending: BTreeMap<String, MonotonicTime>,
    /// Commands of this group on their way to the journal.
    pub(crate) unapplied: u32,
    /// Bytes of its name, its members and the ids of newcomers.
    pub(crate) bytes: usize,
}

impl Group {
    /// A group without members. Its generation goes on from what is durable.
    pub(crate) fn empty(name: &str, durable: Option<&DurableGroup>) -> Self {
        let generation = durable.map_or(Generation::NONE, |durable| durable.generation);
        Self {
            name: name.to_owned(),
            phase: Phase::Empty,
            generation,
            taken: generation,
            protocol_type: durable
                .map(|group| group.protocol_type.clone())
                .unwrap_or_default(),
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            unapplied: 0,
            bytes: name.len() + MEMBER_OVERHEAD_BYTES,
        }
    }

    /// A group as it stood at its last completed rebalance. If another was under way, members may
    /// have heard of its generation: it begins anew, in a later one.
    pub(crate) fn restored(
        name: &str,
        durable: &DurableGroup,
        summary: &GroupSummary,
        now: MonotonicTime,
    ) -> Self {
        let mut group = Self::empty(name, Some(durable));
        group.generation = summary.generation;
        group.protocol = Some(summary.protocol.clone());
        group.leader = Some(summary.leader.clone());
        for member in &summary.members {
            let restored = Member::restored(member, &summary.protocol, now);
            group.insert(&member.member, restored);
        }
        group.phase = Phase::Stable {
            sync_deadline: None,
        };
        if durable.generation != summary.generation {
            group.taken = match planted(Planted::GenerationGivenTwice) {
                true => durable.generation,
                false => durable.generation.next(),
            };
            group.phase = Phase::Preparing(Preparing {
                claim: group.taken,
                claimed: Claimed::Not,
                initial: None,
                deadline: now.after(group.rebalance_timeout()),
                due: false,
            });
        }
        group
    }

    /// Adds a member under an id that is free.
    pub(crate) fn insert(&mut self, id: &str, member: Member) {
        self.remove_pending(id);
        if let Some(instance) = &member.instance {
            let before = self.instances.insert(instance.clone(), id.to_owned());
            assert!(before.is_none(), "an instance has one member at a time");
        }
        self.bytes += member.bytes(id);
        let before = self.members.insert(id.to_owned(), member);
        assert!(before.is_none(), "I17: a member id is given out once");
    }

    /// Notes an id that was given to a newcomer.
    pub(crate) fn add_pending(&mut self, id: &str, until: MonotonicTime) {
        self.bytes += id.len() + MEMBER_OVERHEAD_BYTES;
        let before = self.pending.insert(id.to_owned(), until);
        assert!(before.is_none(), "I17: a member id is given out once");
    }

    /// Forgets an id that was given to a newcomer; `false` when there is none.
    pub(crate) fn remove_pending(&mut self, id: &str) -> bool {
        let known = self.pending.remove(id).is_some();
        if known {
            self.bytes -= id.len() + MEMBER_OVERHEAD_BYTES;
        }
        known
    }

    /// Takes a member out; who leads is settled by the caller.
    pub(crate) fn take(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.bytes -= member.bytes(id);
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        Some(member)
    }

    pub(crate) fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::Preparing(_) => GroupState::PreparingRebalance,
            Phase::Completing { .. } => GroupState::CompletingRebalance,
            Phase::Stable { .. } => GroupState::Stable,
        }
    }

    /// Nothing here that the durable state does not have.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Empty) && self.pending.is_empty() && self.unapplied == 0
    }

    pub(crate) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// Whether `member` is the member it says it is.
    pub(crate) fn validate(&self, member: &str, instance: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(GroupError::UnknownMember),
                Some(current) if current != member => return Err(GroupError::FencedInstance),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) {
            Ok(())
        } else {
            Err(GroupError::UnknownMember)
        }
    }

    /// As [`Self::validate`], and of this generation.
    pub(crate) fn validate_generation(
        &self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        self.validate(member, instance)?;
        if generation == self.generation.to_wire() || planted(Planted::AnyGeneration) {
            Ok(())
        } else {
            Err(GroupError::IllegalGeneration)
        }
    }

    /// Whether all members could go on with one of the protocols offered.
    pub(crate) fn supports(&self, request: &JoinGroup) -> bool {
        if self.members.is_empty() {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        request.protocol_type == self.protocol_type
            && request
                .protocols
                .iter()
                .any(|(name, _)| self.all_support(name))
    }

    fn all_support(&self, protocol: &str) -> bool {
        self.members
            .values()
            .all(|member| member.supports(protocol))
    }

    /// The protocol all members can do that most members like best; of equals the first by name.
    pub(crate) fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(best) = member.protocol_names().find(|name| self.all_support(name)) {
                *votes.entry(best).or_default() += 1;
            }
        }
        let most = votes
            .iter()
            .max_by_key(|(name, count)| (**count, std::cmp::Reverse(**name)));
        most.map(|(name, _)| (*name).to_owned())
    }

    /// How long a rebalance waits: as long as its most patient member.
    pub(crate) fn rebalance_timeout(&self) -> Duration {
        let timeouts = self.members.values().map(|member| member.rebalance_timeout);
        timeouts.max().unwrap_or_default()
    }

    pub(crate) fn awaiting_join_count(&self) -> usize {
        self.members
            .values()
            .filter(|member| member.joining.is_some())
            .count()
    }

    /// The answer to a Join in the current generation.
    pub(crate) fn joined(&self, id: &str, members: Vec<JoinedMember>) -> JoinedGroup {
        JoinedGroup {
            generation: self.generation.to_wire(),
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone().unwrap_or_default(),
            leader: self.leader.clone().unwrap_or_default(),
            member: id.to_owned(),
            members,
            skip_assignment: false,
        }
    }

    /// All members with their metadata, as the leader gets them.
    pub(crate) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        self.members
            .iter()
            .map(|(id, member)| member.joined(id, protocol))
            .collect()
    }

    pub(crate) fn summary(&self) -> GroupSummary {
        let protocol = self.protocol.clone().unwrap_or_default();
        GroupSummary {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            members: self
                .members
                .iter()
                .map(|(id, one)| one.summary(id, &protocol))
                .collect(),
            protocol,
        }
    }

    /// Appends a command of this group that nobody waits for by ticket.
    pub(crate) fn append(&mut self, turn: &mut Turn, command: GroupCommand) {
        self.unapplied = self.unapplied.saturating_add(1);
        turn.append(command, None);
    }

    /// The earliest time at which something is due.
    pub(crate) fn deadline(&self) -> Option<MonotonicTime> {
        let phase = match &self.phase {
            Phase::Empty => None,
            Phase::Preparing(preparing) if preparing.claimed == Claimed::Not => {
                Some(MonotonicTime::default())
            }
            Phase::Preparing(preparing) => (!preparing.due).then_some(preparing.deadline),
            Phase::Completing { sync_deadline, .. } => Some(*sync_deadline),
            Phase::Stable { sync_deadline } => *sync_deadline,
        };
        let awaits_sync = self.members.values().any(|member| member.sync_pending);
        let phase = match self.phase {
            Phase::Completing { .. } | Phase::Stable { .. } if !awaits_sync => None,
            _ => phase,
        };
        let members = self.members.values().filter_map(Member::deadline);
        members
            .chain(self.pending.values().copied())
            .chain(phase)
            .min()
    }

    /// Forgets a waiting caller. Its member has a session timeout to come back.
    pub(crate) fn cancel(&mut self, now: MonotonicTime, ticket: Ticket) {
        for member in self.members.values_mut() {
            if member.joining == Some(ticket) || member.syncing == Some(ticket) {
                if member.joining == Some(ticket) {
                    member.joining = None;
                } else {
                    member.syncing = None;
                }
                member.refresh(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_without_members_counts_its_name_and_overhead() {
        let group = Group::empty("abc", None);

        assert_eq!(group.bytes, 3 + MEMBER_OVERHEAD_BYTES);
    }
}
