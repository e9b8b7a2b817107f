//! JoinGroup: newcomers, members that come back, static members under a new id.

use esker_metadata_api::{GroupError, GroupReply, JoinGroup};

use crate::group::{Group, Phase};
use crate::limits::{NEW_MEMBER_JOIN_TIMEOUT, PENDING_MEMBERS_MAX};
use crate::member::Member;
use crate::turn::Turn;
use crate::{GroupCommand, MemberSeed, Ticket};

/// Bytes of a client id or instance id that go into a member id.
const STEM_BYTES_MAX: usize = 1024;
/// Bytes of a member id: stem, hyphen, UUID.
pub(crate) const MEMBER_ID_BYTES_MAX: usize = STEM_BYTES_MAX + 37;

impl Group {
    /// Answers a Join whose sizes and timeouts were checked.
    pub(crate) fn join(
        &mut self,
        turn: &mut Turn,
        ticket: Ticket,
        request: &JoinGroup,
        seed: MemberSeed,
    ) {
        let known = self.known_as(request);
        if !self.has_room(known.as_deref(), turn.config.group_members_max) {
            self.refuse(turn, ticket, GroupError::GroupFull);
            if let Some(id) = known {
                self.remove(turn, &id);
                self.settle_removals(turn);
            }
        } else if !self.supports(request) {
            self.refuse(turn, ticket, GroupError::InconsistentProtocol);
        } else if request.member.is_empty() {
            self.join_newcomer(turn, ticket, request, seed);
        } else if request.instance.is_none() && self.pending.contains_key(&request.member) {
            self.add(turn, ticket, request, &request.member);
        } else if let Err(error) = self.validate(&request.member, request.instance.as_deref()) {
            self.refuse(turn, ticket, error);
        } else {
            self.join_again(turn, ticket, request);
        }
    }

    /// The member whose place a Join takes: by its id, or by its instance when it has none.
    fn known_as(&self, request: &JoinGroup) -> Option<String> {
        let by_instance = || self.instances.get(request.instance.as_ref()?);
        let id = if request.member.is_empty() {
            by_instance()
        } else {
            Some(&request.member)
        };
        id.filter(|id| self.members.contains_key(*id)).cloned()
    }

    /// Bytes of the member whose place a Join takes.
    pub(crate) fn bytes_replaced(&self, request: &JoinGroup) -> usize {
        let known = self.known_as(request);
        let member = known
            .as_ref()
            .and_then(|id| self.members.get(id).map(|one| one.bytes(id)));
        member.unwrap_or_default()
    }

    fn refuse(&self, turn: &mut Turn, ticket: Ticket, error: GroupError) {
        turn.reply(ticket, GroupReply::Joined(Err(error)));
    }

    /// During a rebalance those that have joined count, so that members that do not come back
    /// give their places away.
    fn has_room(&self, known: Option<&str>, members_max: usize) -> bool {
        match &self.phase {
            Phase::Empty => true,
            Phase::Preparing(_) => {
                let known = known.and_then(|id| self.members.get(id));
                known.is_some_and(|member| member.joining.is_some())
                    || self.awaiting_join_count() < members_max
            }
            Phase::Completing { .. } | Phase::Stable { .. } => {
                known.is_some() || self.members.len() < members_max
            }
        }
    }

    fn join_newcomer(
        &mut self,
        turn: &mut Turn,
        ticket: Ticket,
        request: &JoinGroup,
        seed: MemberSeed,
    ) {
        let id = member_id(request, seed);
        if let Some(instance) = &request.instance {
            match self.instances.get(instance).cloned() {
                Some(old) => self.replace_static(turn, ticket, request, &old, &id),
                None => self.add(turn, ticket, request, &id),
            }
        } else if request.member_id_required && self.pending.len() >= PENDING_MEMBERS_MAX {
            self.refuse(turn, ticket, GroupError::GroupFull);
        } else if request.member_id_required {
            self.add_pending(&id, turn.at.now.after(request.session_timeout));
            self.refuse(turn, ticket, GroupError::MemberIdRequired { member: id });
        } else {
            self.add(turn, ticket, request, &id);
        }
    }

    fn add(&mut self, turn: &mut Turn, ticket: Ticket, request: &JoinGroup, id: &str) {
        if let Phase::Preparing(preparing) = &mut self.phase
            && let Some(initial) = &mut preparing.initial
        {
            initial.arrived = true;
        }
        if self.members.is_empty() {
            self.protocol_type.clone_from(&request.protocol_type);
        }
        let alive_until = turn.at.now.after(NEW_MEMBER_JOIN_TIMEOUT);
        self.insert(id, Member::joining(request, ticket, alive_until));
        self.leader.get_or_insert_with(|| id.to_owned());
        self.rebalance(turn);
    }

    fn join_again(&mut self, turn: &mut Turn, ticket: Ticket, request: &JoinGroup) {
        let id = &request.member;
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        if member.is_new {
            member.alive_until = turn.at.now.after(NEW_MEMBER_JOIN_TIMEOUT);
        } else {
            member.refresh(turn.at.now);
        }
        let unchanged = member.matches(request);
        let leads = self.is_leader(id);
        match self.phase {
            // It did not hear the answer to its last Join: the same again.
            Phase::Completing { .. } if unchanged => {
                let members = if leads {
                    self.joined_members()
                } else {
                    Vec::new()
                };
                let reply = self.joined(id, members);
                turn.reply(ticket, GroupReply::Joined(Ok(reply)));
            }
            // A leader may ask for a rebalance for reasons of its own, such as new partitions.
            Phase::Stable { .. } if unchanged && !leads => {
                let reply = self.joined(id, Vec::new());
                turn.reply(ticket, GroupReply::Joined(Ok(reply)));
            }
            Phase::Preparing(_) | Phase::Completing { .. } | Phase::Stable { .. } => {
                self.update(turn, ticket, request, id);
                self.rebalance(turn);
            }
            Phase::Empty => self.refuse(turn, ticket, GroupError::UnknownMember),
        }
    }

    /// Takes over what a member says now, and has it wait. An older Join of it is superseded.
    fn update(&mut self, turn: &mut Turn, ticket: Ticket, request: &JoinGroup, id: &str) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        self.bytes -= member.bytes(id);
        member.update(request);
        self.bytes += member.bytes(id);
        if let Some(superseded) = member.joining.replace(ticket) {
            turn.reply(
                superseded,
                GroupReply::Joined(Err(GroupError::RebalanceInProgress)),
            );
        }
    }

    fn rebalance(&mut self, turn: &mut Turn) {
        match self.phase {
            Phase::Preparing(_) => self.try_complete(turn),
            Phase::Empty | Phase::Completing { .. } | Phase::Stable { .. } => self.prepare(turn),
        }
    }

    /// A static member came back without its member id: it gets a new one and keeps its place;
    /// whoever uses the old one is fenced. A stable group goes on unless its protocol would change.
    fn replace_static(
        &mut self,
        turn: &mut Turn,
        ticket: Ticket,
        request: &JoinGroup,
        old: &str,
        id: &str,
    ) {
        let leader_before = self.leader.clone();
        let Some(mut member) = self.take(old) else {
            return;
        };
        let fenced = GroupError::FencedInstance;
        if let Some(waiting) = member.joining.take() {
            turn.reply(waiting, GroupReply::Joined(Err(fenced.clone())));
        }
        if let Some(waiting) = member.syncing.take() {
            turn.reply(waiting, GroupReply::Synced(Err(fenced)));
        }
        member.update(request);
        member.refresh(turn.at.now);
        member.is_new = false;
        self.insert(id, member);
        if self.is_leader(old) {
            self.leader = Some(id.to_owned());
        }
        if matches!(self.phase, Phase::Stable { .. }) && self.select_protocol() == self.protocol {
            self.keep_assignment(turn, ticket, request, id, leader_before);
        } else {
            if let Some(member) = self.members.get_mut(id) {
                member.joining = Some(ticket);
            }
            self.rebalance(turn);
        }
    }

    /// The new id becomes durable before the member hears of it, like the assignment it inherits.
    fn keep_assignment(
        &mut self,
        turn: &mut Turn,
        ticket: Ticket,
        request: &JoinGroup,
        id: &str,
        leader_before: Option<String>,
    ) {
        let leads = self.is_leader(id);
        let mut reply = self.joined(id, Vec::new());
        if request.skip_assignment_supported {
            reply.skip_assignment = leads;
            if leads {
                reply.members = self.joined_members();
            }
        } else {
            // An older client that saw itself as leader would assign anew: show it the old leader.
            reply.leader = leader_before.unwrap_or_default();
        }
        let command = GroupCommand::Rebalanced {
            group: self.name.clone(),
            at: turn.at.wall,
            summary: self.summary(),
        };
        self.unapplied = self.unapplied.saturating_add(1);
        turn.append(command, Some((ticket, GroupReply::Joined(Ok(reply)))));
    }
}

/// `stem-uuid`, the stem being what the client calls itself.
fn member_id(request: &JoinGroup, seed: MemberSeed) -> String {
    let stem = request.instance.as_ref().unwrap_or(&request.client_id);
    let end = stem.floor_char_boundary(STEM_BYTES_MAX);
    let mut id = stem.get(..end).unwrap_or_default().to_owned();
    for (at, byte) in seed.bytes().iter().enumerate() {
        if matches!(at, 0 | 4 | 6 | 8 | 10) {
            id.push('-');
        }
        id.push_str(&format!("{byte:02x}"));
    }
    id
}
