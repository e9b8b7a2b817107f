//! A rebalance: how it begins, when it ends, and what ends it.
//!
//! I17: the generation it ends in is claimed when it begins and durable before it ends, so no two
//! leaders give out the same one. It ends with exactly one leader, one of those that joined.

use std::time::Duration;

use esker_metadata_api::{GroupError, GroupReply};

use crate::group::{Claimed, Group, InitialDelay, Phase, Preparing};
use crate::turn::Turn;
use crate::{Generation, GroupCommand};
use esker_types::{Planted, planted};

/// When no member has joined in time but static ones are kept, look again not sooner than this.
const POSTPONE_MIN: Duration = Duration::from_secs(1);

impl Group {
    /// Has all members join again. Only outside `Preparing`.
    pub(crate) fn prepare(&mut self, turn: &mut Turn) {
        assert!(
            !matches!(self.phase, Phase::Preparing(_)),
            "a rebalance begins once"
        );
        if self.members.is_empty() {
            self.become_empty(turn);
            return;
        }
        self.send_syncs_away(turn);
        self.taken = self.taken.next();
        let initial = matches!(self.phase, Phase::Empty).then(|| InitialDelay {
            arrived: false,
            delay: turn.config.initial_rebalance_delay,
            remaining: self
                .rebalance_timeout()
                .saturating_sub(turn.config.initial_rebalance_delay),
        });
        let wait = initial.map_or(self.rebalance_timeout(), |initial| initial.delay);
        self.phase = Phase::Preparing(Preparing {
            claim: self.taken,
            claimed: Claimed::Not,
            initial,
            deadline: turn.at.now.after(wait),
            due: false,
        });
        self.append_claim(turn);
        self.try_complete(turn);
    }

    fn append_claim(&mut self, turn: &mut Turn) {
        let Phase::Preparing(preparing) = &mut self.phase else {
            return;
        };
        if preparing.claimed == Claimed::Not {
            preparing.claimed = Claimed::Appended;
            let command = GroupCommand::GenerationTaken {
                group: self.name.clone(),
                at: turn.at.wall,
                generation: preparing.claim,
            };
            self.append(turn, command);
        }
    }

    /// Members that wait for an assignment will get none in this generation.
    fn send_syncs_away(&mut self, turn: &mut Turn) {
        let assigned = matches!(self.phase, Phase::Stable { .. });
        for member in self.members.values_mut() {
            member.sync_pending = false;
            if !assigned {
                member.assignment.clear();
            }
            if let Some(ticket) = member.syncing.take() {
                member.refresh(turn.at.now);
                turn.reply(
                    ticket,
                    GroupReply::Synced(Err(GroupError::RebalanceInProgress)),
                );
            }
        }
    }

    /// The claim of a rebalance became durable.
    pub(crate) fn claim_applied(&mut self, turn: &mut Turn, generation: Generation) {
        if let Phase::Preparing(preparing) = &mut self.phase
            && preparing.claim == generation
        {
            preparing.claimed = Claimed::Durable;
            self.try_complete(turn);
        }
    }

    /// Ends the rebalance if all have joined, or its time is up.
    pub(crate) fn try_complete(&mut self, turn: &mut Turn) {
        let Phase::Preparing(preparing) = &self.phase else {
            return;
        };
        let claimed =
            preparing.claimed == Claimed::Durable || planted(Planted::GenerationBeforeDurable);
        let due = preparing.due;
        let waits_for_more = preparing.initial.is_some();
        if self.members.is_empty() {
            self.become_empty(turn);
            return;
        }
        let joined =
            self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some());
        if claimed && (due || (joined && !waits_for_more)) {
            self.complete(turn);
        }
    }

    fn complete(&mut self, turn: &mut Turn) {
        let absent = self
            .members
            .iter()
            .filter(|(_, member)| member.joining.is_none());
        let dropped = absent.filter(|(_, member)| member.instance.is_none());
        let dropped: Vec<String> = dropped.map(|(id, _)| id.clone()).collect();
        for id in &dropped {
            self.remove(turn, id);
        }
        if self.members.is_empty() {
            self.become_empty(turn);
        } else if self.elect() {
            self.begin_generation(turn);
        } else {
            self.postpone(turn);
        }
    }

    /// Makes sure that the leader is a member that joined; `false` when none has.
    fn elect(&mut self) -> bool {
        let joined = |id: &String| {
            self.members
                .get(id)
                .is_some_and(|one| one.joining.is_some())
        };
        if !self.leader.as_ref().is_some_and(joined) {
            let mut waiting = self
                .members
                .iter()
                .filter(|(_, member)| member.joining.is_some());
            let Some((first, _)) = waiting.next() else {
                return false;
            };
            self.leader = Some(first.clone());
        }
        true
    }

    /// Only static members are left and none has joined: wait until one does or all expire.
    fn postpone(&mut self, turn: &Turn) {
        let wait = self.rebalance_timeout().max(POSTPONE_MIN);
        if let Phase::Preparing(preparing) = &mut self.phase {
            preparing.deadline = turn.at.now.after(wait);
            preparing.due = false;
            preparing.initial = None;
        }
    }

    fn begin_generation(&mut self, turn: &mut Turn) {
        let Phase::Preparing(Preparing { claim, claimed, .. }) = self.phase else {
            return;
        };
        assert!(
            claimed == Claimed::Durable || planted(Planted::GenerationBeforeDurable),
            "I17: a generation is durable before anybody hears of it"
        );
        self.generation = claim;
        self.protocol = self.select_protocol();
        assert!(
            self.protocol.is_some(),
            "a member joins only if one protocol suits all"
        );
        let sync_deadline = turn.at.now.after(self.rebalance_timeout());
        self.phase = Phase::Completing {
            sync_deadline,
            handed_in: false,
        };
        let mut for_leader = self.joined_members();
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let members = if self.is_leader(&id) {
                std::mem::take(&mut for_leader)
            } else {
                Vec::new()
            };
            let reply = self.joined(&id, members);
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            member.refresh(turn.at.now);
            member.is_new = false;
            member.sync_pending = true;
            if let Some(ticket) = member.joining.take() {
                turn.reply(ticket, GroupReply::Joined(Ok(reply)));
            }
        }
    }

    fn become_empty(&mut self, turn: &mut Turn) {
        assert!(self.members.is_empty(), "an empty group has no members");
        self.generation = match &self.phase {
            Phase::Preparing(preparing) => preparing.claim,
            Phase::Empty | Phase::Completing { .. } | Phase::Stable { .. } => self.taken.next(),
        };
        self.taken = self.generation;
        self.phase = Phase::Empty;
        self.protocol = None;
        self.leader = None;
        let command = GroupCommand::Emptied {
            group: self.name.clone(),
            at: turn.at.wall,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
        };
        self.append(turn, command);
    }

    /// Takes a member out and answers what it waits for. [`Self::settle_removals`] must follow.
    pub(crate) fn remove(&mut self, turn: &mut Turn, id: &str) {
        let Some(mut member) = self.take(id) else {
            return;
        };
        if let Some(ticket) = member.joining.take() {
            turn.reply(ticket, GroupReply::Joined(Err(GroupError::UnknownMember)));
        }
        if let Some(ticket) = member.syncing.take() {
            turn.reply(ticket, GroupReply::Synced(Err(GroupError::UnknownMember)));
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Members or newcomers are gone: rebalance, or end the rebalance under way.
    pub(crate) fn settle_removals(&mut self, turn: &mut Turn) {
        match self.phase {
            Phase::Empty => {}
            Phase::Preparing(_) => self.try_complete(turn),
            Phase::Completing { .. } | Phase::Stable { .. } => self.prepare(turn),
        }
    }

    /// Does what is due at `turn.at.now`.
    pub(crate) fn tick(&mut self, turn: &mut Turn) {
        let now = turn.at.now;
        self.append_claim(turn);
        let given_up = self.pending.iter().filter(|(_, until)| **until <= now);
        let given_up: Vec<String> = given_up.map(|(id, _)| id.clone()).collect();
        for id in &given_up {
            self.remove_pending(id);
        }
        let late = |deadline: Option<_>| deadline.is_some_and(|deadline| deadline <= now);
        let dead = self
            .members
            .iter()
            .filter(|(_, member)| late(member.deadline()));
        let dead: Vec<String> = dead.map(|(id, _)| id.clone()).collect();
        for id in &dead {
            self.remove(turn, id);
        }
        if !dead.is_empty() {
            self.settle_removals(turn);
        } else if !given_up.is_empty() {
            self.try_complete(turn);
        }
        self.tick_phase(turn);
    }

    fn tick_phase(&mut self, turn: &mut Turn) {
        let now = turn.at.now;
        match &mut self.phase {
            Phase::Empty => {}
            Phase::Preparing(preparing) => {
                if !preparing.due && preparing.deadline <= now && !preparing.prolong(turn) {
                    preparing.due = true;
                    self.try_complete(turn);
                }
            }
            Phase::Completing { sync_deadline, .. } if *sync_deadline <= now => {
                self.drop_unsynced(turn);
            }
            Phase::Stable {
                sync_deadline: Some(deadline),
            } if *deadline <= now => {
                self.phase = Phase::Stable {
                    sync_deadline: None,
                };
                self.drop_unsynced(turn);
            }
            Phase::Completing { .. } | Phase::Stable { .. } => {}
        }
    }

    /// Members that were told the generation and never asked for their assignment are gone.
    fn drop_unsynced(&mut self, turn: &mut Turn) {
        let unsynced = self
            .members
            .iter()
            .filter(|(_, member)| member.sync_pending);
        let unsynced: Vec<String> = unsynced.map(|(id, _)| id.clone()).collect();
        for id in &unsynced {
            self.remove(turn, id);
        }
        if !unsynced.is_empty() {
            self.settle_removals(turn);
        }
    }
}

impl Preparing {
    /// Waits on when members arrived during the first rebalance of an empty group.
    fn prolong(&mut self, turn: &Turn) -> bool {
        let Some(initial) = &mut self.initial else {
            return false;
        };
        if !initial.arrived || initial.remaining.is_zero() {
            return false;
        }
        let next = turn.config.initial_rebalance_delay.min(initial.remaining);
        initial.remaining = initial.remaining.saturating_sub(initial.delay);
        initial.delay = next;
        initial.arrived = false;
        self.deadline = turn.at.now.after(next);
        true
    }
}
