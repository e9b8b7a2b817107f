//! The group coordinator: hands each request to its group, and each deadline.
//!
//! Called by the metadata leader alone, from one loop. Cost of a step: one look-up and a walk over
//! the members of one group. A group without members and without news is not held in memory.

use std::collections::{BTreeMap, BTreeSet};

use esker_metadata_api::{
    FetchOffsets, GroupError, GroupReply, GroupRequest, HeartbeatGroup, JoinGroup, LeaveGroup,
    SyncGroup, TopicName,
};
use esker_types::{MonotonicTime, TopicId, TopicPartition};

use crate::arrival::{check_group, check_join, join_bytes};
use crate::group::Group;
use crate::limits::{COORDINATOR_BYTES_MAX, EXPIRY_SWEEP_INTERVAL, GROUP_BYTES_MAX, GROUPS_MAX};
use crate::turn::Turn;
use crate::{GroupCommand, GroupConfig, GroupEffect, GroupOffsets, MemberSeed, Moment, Ticket};

/// Members, deadlines and waiting replies of all groups: what a new leader builds afresh.
#[derive(Clone, Debug)]
pub struct GroupCoordinator {
    pub(crate) config: GroupConfig,
    pub(crate) groups: BTreeMap<String, Group>,
    /// The group each waiting caller waits in.
    waiting: BTreeMap<Ticket, String>,
    /// When to look at a group; may be earlier than anything is due there, never later.
    wakes: BTreeSet<(MonotonicTime, String)>,
    wake_of: BTreeMap<String, MonotonicTime>,
    sweep_at: MonotonicTime,
    /// Bytes of the members of all groups.
    bytes: usize,
}

impl GroupCoordinator {
    /// The coordinator of a new leader: groups stand as at their last completed rebalance, and
    /// every member gets a whole session timeout to be heard of, so that none has to join again.
    /// A rebalance that was under way begins anew, in a generation that nobody has heard of.
    #[must_use]
    pub fn recovered(config: GroupConfig, offsets: &GroupOffsets, now: MonotonicTime) -> Self {
        let mut coordinator = Self {
            config,
            groups: BTreeMap::new(),
            waiting: BTreeMap::new(),
            wakes: BTreeSet::new(),
            wake_of: BTreeMap::new(),
            sweep_at: now.after(EXPIRY_SWEEP_INTERVAL),
            bytes: 0,
        };
        for (name, durable) in &offsets.groups {
            if let Some(summary) = &durable.summary {
                let group = Group::restored(name, durable, summary, now);
                coordinator.bytes += group.bytes;
                coordinator.groups.insert(name.clone(), group);
                coordinator.settle(name);
            }
        }
        coordinator
    }

    /// Answers a request, at once or by a later effect. `offsets` is what is durable now, `exists`
    /// what the catalogue has; `seed` makes the id of a new member and is never used twice.
    #[must_use = "the effects are the answer"]
    pub fn step(
        &mut self,
        at: Moment,
        ticket: Ticket,
        request: GroupRequest,
        offsets: &GroupOffsets,
        exists: &dyn Fn(TopicPartition) -> bool,
        seed: MemberSeed,
    ) -> Vec<GroupEffect> {
        let mut turn = Turn::new(at, self.config);
        // Whoever looks at a group from outside sees it as time has made it: a session that is over
        // keeps no group from being deleted because the host has not ticked yet.
        if matches!(
            request,
            GroupRequest::Describe(_)
                | GroupRequest::List
                | GroupRequest::Delete(_)
                | GroupRequest::DeleteOffsets(_)
        ) {
            self.run_due(&mut turn);
        }
        let name = match request {
            GroupRequest::Join(request) => self.join(&mut turn, ticket, request, offsets, seed),
            GroupRequest::Sync(request) => self.sync(&mut turn, ticket, request),
            GroupRequest::Heartbeat(request) => self.heartbeat(&mut turn, ticket, request),
            GroupRequest::Leave(request) => self.leave(&mut turn, ticket, request),
            GroupRequest::Commit(request) => {
                self.commit(&mut turn, ticket, request, offsets, exists)
            }
            GroupRequest::Fetch(request) => {
                turn.reply(ticket, GroupReply::Offsets(fetch(&request, offsets)));
                request.group
            }
            GroupRequest::Describe(names) => {
                turn.reply(ticket, GroupReply::Described(self.describe(names, offsets)));
                String::new()
            }
            GroupRequest::List => {
                turn.reply(ticket, GroupReply::Listed(self.list(offsets)));
                String::new()
            }
            GroupRequest::Delete(names) => {
                self.delete(&mut turn, ticket, &names, offsets);
                String::new()
            }
            GroupRequest::DeleteOffsets(request) => {
                self.delete_offsets(&mut turn, ticket, &request, offsets);
                request.group
            }
        };
        self.settle(&name);
        self.waiting.insert(ticket, name);
        self.finish(turn)
    }

    /// Does what is due. Call it at [`Self::next_deadline`], or at any other time. `name_of` is the
    /// name of a topic that exists: offsets are kept by id, members subscribe by name.
    #[must_use = "waiting callers are answered here"]
    pub fn tick(
        &mut self,
        at: Moment,
        offsets: &GroupOffsets,
        name_of: &dyn Fn(TopicId) -> Option<TopicName>,
    ) -> Vec<GroupEffect> {
        let mut turn = Turn::new(at, self.config);
        self.run_due(&mut turn);
        if self.sweep_at <= at.now {
            self.sweep_at = at.now.after(EXPIRY_SWEEP_INTERVAL);
            self.sweep(&mut turn, offsets, name_of);
        }
        self.finish(turn)
    }

    /// Does what is due in every group.
    fn run_due(&mut self, turn: &mut Turn) {
        while let Some((wake, name)) = self.wakes.pop_first() {
            if wake > turn.at.now {
                self.wakes.insert((wake, name));
                break;
            }
            self.wake_of.remove(&name);
            self.in_group(&name, |group| group.tick(turn));
            self.settle(&name);
        }
    }

    /// When [`Self::tick`] has something to do; may be early, never late.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonotonicTime> {
        let wake = self.wakes.first().map(|(wake, _)| *wake);
        Some(wake.map_or(self.sweep_at, |wake| wake.min(self.sweep_at)))
    }

    /// Hears that a command, its own or any other, became durable and was applied.
    #[must_use = "waiting callers are answered here"]
    pub fn command_applied(&mut self, at: Moment, command: &GroupCommand) -> Vec<GroupEffect> {
        let mut turn = Turn::new(at, self.config);
        let name = match command {
            GroupCommand::GenerationTaken {
                group: name,
                generation,
                ..
            } => {
                self.in_group(name, |group| group.claim_applied(&mut turn, *generation));
                name
            }
            GroupCommand::Rebalanced {
                group: name,
                summary,
                ..
            } => {
                let generation = summary.generation;
                self.in_group(name, |group| {
                    group.assignment_applied(&mut turn, generation)
                });
                name
            }
            GroupCommand::Emptied { group, .. } => group,
            GroupCommand::Commit { .. }
            | GroupCommand::Expire { .. }
            | GroupCommand::DropTopic { .. }
            | GroupCommand::DeleteGroup { .. }
            | GroupCommand::DeleteOffsets { .. } => return Vec::new(),
        };
        self.in_group(name, |group| {
            group.unapplied = group.unapplied.saturating_sub(1)
        });
        self.settle(name);
        self.finish(turn)
    }

    /// The caller of a waiting ticket went away: no later step answers it (an answer that goes with
    /// a command may still come). Its member has a session timeout from `now` on to come back, or
    /// until the rebalance it joined for ends.
    pub fn cancel(&mut self, now: MonotonicTime, ticket: Ticket) {
        if let Some(name) = self.waiting.remove(&ticket) {
            self.in_group(&name, |group| group.cancel(now, ticket));
            self.settle(&name);
        }
    }

    /// Callers that wait for a rebalance or an assignment.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Members of all groups.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.groups.values().map(|group| group.members.len()).sum()
    }

    /// Bytes of the members of all groups, as the limit counts them.
    #[must_use]
    pub fn member_bytes(&self) -> usize {
        self.bytes
    }

    fn join(
        &mut self,
        turn: &mut Turn,
        ticket: Ticket,
        request: JoinGroup,
        offsets: &GroupOffsets,
        seed: MemberSeed,
    ) -> String {
        match self.admit(turn, &request, offsets) {
            Err(error) => turn.reply(ticket, GroupReply::Joined(Err(error))),
            Ok(()) => self.in_group(&request.group, |group| {
                group.join(turn, ticket, &request, seed)
            }),
        }
        request.group
    }

    /// Checks a Join against the limits, and makes its group if it is new.
    fn admit(
        &mut self,
        turn: &Turn,
        request: &JoinGroup,
        offsets: &GroupOffsets,
    ) -> Result<(), GroupError> {
        check_join(request, &turn.config)?;
        let held = self.groups.get(&request.group);
        if held.is_none() && !request.member.is_empty() {
            return Err(GroupError::UnknownMember);
        }
        let replaced = held.map_or(0, |group| group.bytes_replaced(request));
        let added = join_bytes(request);
        let group_bytes = held.map_or(0, |group| group.bytes);
        if group_bytes + added > GROUP_BYTES_MAX + replaced
            || self.bytes + added > COORDINATOR_BYTES_MAX + replaced
        {
            return Err(GroupError::GroupFull);
        }
        if held.is_none() {
            let durable = offsets.groups.get(&request.group);
            let may_be_made = offsets.has_room_for(&request.group, &request.protocol_type);
            if self.groups.len() >= GROUPS_MAX || !may_be_made {
                return Err(GroupError::GroupFull);
            }
            let group = Group::empty(&request.group, durable);
            self.bytes += group.bytes;
            self.groups.insert(request.group.clone(), group);
        }
        Ok(())
    }

    fn sync(&mut self, turn: &mut Turn, ticket: Ticket, request: SyncGroup) -> String {
        let name = request.group.clone();
        match self.known(&name) {
            Err(error) => turn.reply(ticket, GroupReply::Synced(Err(error))),
            Ok(()) => self.in_group(&name, |group| group.sync(turn, ticket, request)),
        }
        name
    }

    fn heartbeat(&mut self, turn: &mut Turn, ticket: Ticket, request: HeartbeatGroup) -> String {
        let mut outcome = self.known(&request.group);
        if outcome.is_ok() {
            self.in_group(&request.group, |group| {
                outcome = group.heartbeat(turn, &request)
            });
        }
        turn.reply(ticket, GroupReply::Heartbeat(outcome));
        request.group
    }

    fn leave(&mut self, turn: &mut Turn, ticket: Ticket, request: LeaveGroup) -> String {
        match self.known(&request.group) {
            Ok(()) => self.in_group(&request.group, |group| group.leave(turn, ticket, &request)),
            Err(GroupError::UnknownMember) => {
                let left = request
                    .members
                    .iter()
                    .map(|_| Err(GroupError::UnknownMember));
                turn.reply(ticket, GroupReply::Left(Ok(left.collect())));
            }
            Err(error) => turn.reply(ticket, GroupReply::Left(Err(error))),
        }
        request.group
    }

    /// A group that is not held here has no members.
    fn known(&self, group: &str) -> Result<(), GroupError> {
        check_group(group)?;
        if self.groups.contains_key(group) {
            Ok(())
        } else {
            Err(GroupError::UnknownMember)
        }
    }

    /// Runs `act` on a group that is held, keeping count of bytes.
    pub(crate) fn in_group(&mut self, name: &str, act: impl FnOnce(&mut Group)) {
        if let Some(group) = self.groups.get_mut(name) {
            self.bytes -= group.bytes;
            act(group);
            self.bytes += group.bytes;
        }
    }

    /// After a step in a group: notes when to look at it next, or lets it go.
    fn settle(&mut self, name: &str) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let wake = if group.is_idle() {
            None
        } else {
            group.deadline()
        };
        if group.is_idle() {
            self.bytes -= group.bytes;
            self.groups.remove(name);
        }
        let noted = self.wake_of.get(name).copied();
        match (wake, noted) {
            // Deadlines mostly move away: an early look is cheaper than noting each heartbeat.
            (Some(wake), Some(noted)) if noted <= wake => {}
            (wake, noted) => {
                if let Some(noted) = noted {
                    self.wakes.remove(&(noted, name.to_owned()));
                    self.wake_of.remove(name);
                }
                if let Some(wake) = wake {
                    self.wakes.insert((wake, name.to_owned()));
                    self.wake_of.insert(name.to_owned(), wake);
                }
            }
        }
    }

    /// Those that were answered wait no more.
    fn finish(&mut self, turn: Turn) -> Vec<GroupEffect> {
        for effect in &turn.effects {
            match effect {
                GroupEffect::Reply(ticket, _)
                | GroupEffect::Append {
                    then: Some((ticket, _)),
                    ..
                } => {
                    self.waiting.remove(ticket);
                }
                GroupEffect::Append { then: None, .. } => {}
            }
        }
        turn.effects
    }
}

fn fetch(
    request: &FetchOffsets,
    offsets: &GroupOffsets,
) -> Result<Vec<(TopicPartition, esker_metadata_api::CommittedOffset)>, GroupError> {
    crate::arrival::check_text(&request.group)?;
    Ok(offsets.fetch(&request.group, request.partitions.as_deref()))
}
