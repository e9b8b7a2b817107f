//! SyncGroup, Heartbeat, LeaveGroup, and who may commit.

use esker_types::{Planted, planted};
use std::collections::BTreeMap;

use bytes::Bytes;
use esker_metadata_api::{
    CommitOffsets, GroupError, GroupReply, HeartbeatGroup, LeaveGroup, LeavingMember, SyncGroup,
    SyncedGroup,
};

use crate::group::{Group, Phase};
use crate::limits::{ASSIGNMENT_BYTES_MAX, MEMBER_METADATA_BYTES_MAX};
use crate::turn::Turn;
use crate::{Generation, GroupCommand, Ticket};

impl Group {
    /// Answers a Sync, or has it wait for the leader's.
    pub(crate) fn sync(&mut self, turn: &mut Turn, ticket: Ticket, request: SyncGroup) {
        if let Err(error) = self.try_sync(turn, ticket, request) {
            turn.reply(ticket, GroupReply::Synced(Err(error)));
        }
    }

    fn try_sync(
        &mut self,
        turn: &mut Turn,
        ticket: Ticket,
        request: SyncGroup,
    ) -> Result<(), GroupError> {
        let (id, instance) = (&request.member, request.instance.as_deref());
        self.validate_generation(id, instance, request.generation)?;
        let differs =
            |asked: &Option<String>, ours: &str| asked.as_ref().is_some_and(|a| a != ours);
        let protocol = self.protocol.as_deref().unwrap_or_default();
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, protocol)
        {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMember),
            Phase::Preparing(_) => Err(GroupError::RebalanceInProgress),
            Phase::Completing { handed_in, .. } => {
                if self.is_leader(id) && !handed_in {
                    self.assign(turn, request.assignments)?;
                }
                self.wait_for_assignment(turn, ticket, id);
                Ok(())
            }
            Phase::Stable { .. } => {
                if let Some(member) = self.members.get_mut(id) {
                    member.sync_pending = false;
                    member.refresh(turn.at.now);
                }
                let reply = self.synced(id);
                turn.reply(ticket, GroupReply::Synced(Ok(reply)));
                Ok(())
            }
        }
    }

    fn wait_for_assignment(&mut self, turn: &mut Turn, ticket: Ticket, id: &str) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.sync_pending = false;
        if let Some(superseded) = member.syncing.replace(ticket) {
            turn.reply(
                superseded,
                GroupReply::Synced(Err(GroupError::RebalanceInProgress)),
            );
        }
    }

    /// Takes the leader's assignment: of current members only (I17); those it left out get none.
    fn assign(
        &mut self,
        turn: &mut Turn,
        assignments: Vec<(String, Bytes)>,
    ) -> Result<(), GroupError> {
        let mut by_member: BTreeMap<String, Bytes> = assignments.into_iter().collect();
        by_member.retain(|id, _| self.members.contains_key(id));
        let total: usize = by_member.values().map(Bytes::len).sum();
        let largest = by_member.values().map(Bytes::len).max().unwrap_or_default();
        if total > ASSIGNMENT_BYTES_MAX || largest > MEMBER_METADATA_BYTES_MAX {
            return Err(GroupError::GroupFull);
        }
        for (id, member) in &mut self.members {
            member.assignment = by_member.remove(id).unwrap_or_default();
        }
        if let Phase::Completing { handed_in, .. } = &mut self.phase {
            *handed_in = true;
        }
        let command = GroupCommand::Rebalanced {
            group: self.name.clone(),
            at: turn.at.wall,
            summary: self.summary(),
        };
        self.append(turn, command);
        Ok(())
    }

    /// The summary of `generation` is durable: its assignments may be told.
    pub(crate) fn assignment_applied(&mut self, turn: &mut Turn, generation: Generation) {
        let Phase::Completing {
            sync_deadline,
            handed_in: true,
        } = self.phase
        else {
            return;
        };
        assert_eq!(
            generation, self.generation,
            "the summaries before it are applied before a generation is told"
        );
        self.phase = Phase::Stable {
            sync_deadline: Some(sync_deadline),
        };
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let reply = self.synced(&id);
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            if let Some(ticket) = member.syncing.take() {
                member.refresh(turn.at.now);
                turn.reply(ticket, GroupReply::Synced(Ok(reply)));
            }
        }
    }

    fn synced(&self, id: &str) -> SyncedGroup {
        SyncedGroup {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone().unwrap_or_default(),
            assignment: self
                .members
                .get(id)
                .map(|one| one.assignment.clone())
                .unwrap_or_default(),
        }
    }

    /// Answers a Heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        turn: &Turn,
        request: &HeartbeatGroup,
    ) -> Result<(), GroupError> {
        let (id, instance) = (&request.member, request.instance.as_deref());
        self.validate_generation(id, instance, request.generation)?;
        if let Some(member) = self.members.get_mut(id) {
            member.refresh(turn.at.now);
        }
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMember),
            Phase::Preparing(_) => Err(GroupError::RebalanceInProgress),
            Phase::Completing { .. } | Phase::Stable { .. } => Ok(()),
        }
    }

    /// Whether a commit is from a member of the current generation (I17), or from outside to a
    /// group without members. Counts as a heartbeat.
    pub(crate) fn may_commit(
        &mut self,
        turn: &Turn,
        request: &CommitOffsets,
    ) -> Result<(), GroupError> {
        let (id, instance) = (&request.member, request.instance.as_deref());
        let from_outside = request.generation < 0 && id.is_empty() && instance.is_none();
        if planted(Planted::CommitAnyGeneration) {
            return Ok(());
        }
        if request.generation < 0 && matches!(self.phase, Phase::Empty) {
            return Ok(());
        }
        if from_outside {
            return Err(GroupError::UnknownMember);
        }
        if !planted(Planted::CommitOfAnyone) {
            self.validate_generation(id, instance, request.generation)?;
        }
        // The member has been told of the generation but not what is its own in it.
        if matches!(self.phase, Phase::Completing { .. }) {
            return Err(GroupError::RebalanceInProgress);
        }
        if let Some(member) = self.members.get_mut(id) {
            member.refresh(turn.at.now);
        }
        Ok(())
    }

    /// Answers a Leave.
    pub(crate) fn leave(&mut self, turn: &mut Turn, ticket: Ticket, request: &LeaveGroup) {
        let (members_before, pending_before) = (self.members.len(), self.pending.len());
        let mut left = Vec::with_capacity(request.members.len());
        for leaving in &request.members {
            left.push(self.leave_one(turn, leaving));
        }
        if self.members.len() < members_before {
            self.settle_removals(turn);
        } else if self.pending.len() < pending_before {
            self.try_complete(turn);
        }
        turn.reply(ticket, GroupReply::Left(Ok(left)));
    }

    fn leave_one(&mut self, turn: &mut Turn, leaving: &LeavingMember) -> Result<(), GroupError> {
        let id = match &leaving.instance {
            // A tool names the instance only.
            Some(instance) if leaving.member.is_empty() => self
                .instances
                .get(instance)
                .cloned()
                .ok_or(GroupError::UnknownMember)?,
            _ => leaving.member.clone(),
        };
        if self.remove_pending(&id) {
            return Ok(());
        }
        self.validate(&id, leaving.instance.as_deref())?;
        self.remove(turn, &id);
        Ok(())
    }
}
