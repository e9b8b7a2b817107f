//! Carries out what the pure cores want: tell followers, ask the bucket, append, answer.

use std::sync::Arc;

use esker_groups::{GroupEffect, Ticket};
use esker_metadata_api::{FeedUpdate, GroupError, GroupReply};
use esker_sequencer::{Effect, EndAnswer};
use esker_types::{SegmentId, SessionId};

use super::chain_work::{ChainDone, ChainTask};
use super::durable::Pending;
use super::questions::Question;
use super::{Leader, LeaderEnd};
use crate::command::Command;

impl Leader {
    pub(super) fn sequencer_effects(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Advanced(advance) => {
                    // An error means that nobody follows.
                    let _ = self
                        .parts
                        .feed
                        .send(FeedUpdate::Advanced(Arc::new(advance)));
                }
                Effect::Probe(segment) => self.work.add(ChainTask::Probe(segment)),
                Effect::Seal(session, index) => {
                    self.work.add(ChainTask::Seal(SegmentId { session, index }));
                }
                Effect::Append(command) => self.append(Command::Log(command), Pending::Nobody),
                Effect::Damaged(damage) => {
                    tracing::error!(?damage, "the bucket contradicts what is durable: stop");
                    self.end = Some(LeaderEnd::Damaged);
                }
                Effect::Ended(session, end) => {
                    tracing::info!(%session, end = %end.end, "session ended");
                    self.callers.ended(session, end);
                }
            }
        }
    }

    pub(super) fn chain_done(&mut self, done: Option<ChainDone>) {
        let now = self.now();
        let effects = match done {
            None => Vec::new(),
            Some(ChainDone::Probed(segment, probe)) => {
                self.sequencer.probed(&self.state.log, segment, probe, now)
            }
            Some(ChainDone::Sealed(session, end)) => {
                self.sequencer.sealed_at(&self.state.log, session, end, now)
            }
            Some(ChainDone::SealFailed(session)) => {
                self.sequencer.seal_failed(session, now);
                Vec::new()
            }
            Some(ChainDone::Damaged) => {
                self.end = Some(LeaderEnd::Damaged);
                Vec::new()
            }
        };
        self.sequencer_effects(effects);
    }

    pub(super) fn end_session(&mut self, session: SessionId) -> EndAnswer {
        let now = self.now();
        let (answer, effects) = self.sequencer.end_requested(&self.state.log, session, now);
        self.sequencer_effects(effects);
        answer
    }

    pub(super) fn group_effects(&mut self, effects: Vec<GroupEffect>) {
        for effect in effects {
            match effect {
                GroupEffect::Reply(ticket, reply) => self.group_reply(ticket, reply),
                GroupEffect::Append { command, then } => {
                    self.append(Command::Group(command), Pending::Group(then));
                }
            }
        }
    }

    /// Answers a group's caller; what must be current waits for an epoch check first (R1).
    pub(super) fn group_reply(&mut self, ticket: Ticket, answer: GroupReply) {
        let Some(reply) = self.callers.take_group(ticket) else {
            return;
        };
        if must_be_current(&answer) {
            self.ask_current(Question::Group { reply, answer });
        } else {
            let _ = reply.send(Ok(answer));
        }
    }
}

/// Reads, and refusals that a client takes as final. The others either are durable already or are
/// asked again by the client.
fn must_be_current(reply: &GroupReply) -> bool {
    let is_final = |error: &GroupError| match error {
        GroupError::UnknownMember
        | GroupError::FencedInstance
        | GroupError::IllegalGeneration
        | GroupError::InconsistentProtocol
        | GroupError::GroupFull
        | GroupError::UnknownPartition
        | GroupError::NotEmpty
        | GroupError::UnknownGroup
        | GroupError::SubscribedToTopic => true,
        GroupError::InvalidGroup
        | GroupError::MemberIdRequired { .. }
        | GroupError::RebalanceInProgress
        | GroupError::InvalidSessionTimeout
        | GroupError::OffsetMetadataTooLarge => false,
    };
    let any_final = |rows: &Vec<Result<(), GroupError>>| {
        rows.iter()
            .any(|row| row.as_ref().err().is_some_and(is_final))
    };
    match reply {
        GroupReply::Joined(outcome) => outcome.as_ref().err().is_some_and(is_final),
        GroupReply::Synced(outcome) => outcome.as_ref().err().is_some_and(is_final),
        GroupReply::Heartbeat(outcome) => outcome.as_ref().err().is_some_and(is_final),
        GroupReply::Left(outcome)
        | GroupReply::Committed(outcome)
        | GroupReply::OffsetsDeleted(outcome) => match outcome {
            Ok(rows) => any_final(rows),
            Err(error) => is_final(error),
        },
        GroupReply::Deleted(rows) => any_final(rows),
        GroupReply::Offsets(_) | GroupReply::Described(_) | GroupReply::Listed(_) => true,
    }
}
