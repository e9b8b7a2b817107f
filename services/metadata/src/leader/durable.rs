//! What the journal made durable: applied in order, then heard by the cores, then answered.

use esker_groups::{GroupCommand, Ticket};
use esker_journal::{JournalEvent, JournalState as _, RollNumber};
use esker_metadata_api::{
    AlterBrokerError, AlterTopicError, CreateTopicError, CreatedTopic, DeleteRecordsError,
    DeleteTopicError, GroupReply, MetadataError, Registered, Topic,
};
use esker_sequencer::LogCommand;
use esker_types::{Offset, ProducerId, SessionId, TopicPartition};
use std::sync::Arc;

use super::{Leader, LeaderEnd};
use crate::catalogue::CatalogueOutcome;
use crate::metrics::add_one;
use crate::request::{Answer, ReplyTo};
use crate::state::Outcome;

/// What follows a command once it is durable.
#[derive(Debug)]
pub(super) enum Pending {
    /// Nobody waits for it.
    Nobody,
    Registered {
        session: SessionId,
        replaces: Option<SessionId>,
        reply: ReplyTo<Answer<Registered>>,
    },
    Created(ReplyTo<Result<CreatedTopic, CreateTopicError>>),
    Deleted(ReplyTo<Result<Arc<Topic>, DeleteTopicError>>),
    Altered(ReplyTo<Result<Arc<Topic>, AlterTopicError>>),
    BrokerAltered(ReplyTo<Result<(), AlterBrokerError>>),
    LogStartMoved {
        topic_partition: TopicPartition,
        reply: ReplyTo<Result<Offset, DeleteRecordsError>>,
    },
    Group(Option<(Ticket, GroupReply)>),
}

impl Leader {
    pub(super) fn journal_event(&mut self, event: JournalEvent) {
        match event {
            JournalEvent::Durable { command, .. } => self.durable(&command),
            JournalEvent::RollBegun { roll, snapshot_due } => {
                (self.roll, self.commands) = (roll.get(), 0);
                if snapshot_due {
                    self.snapshot(roll);
                }
            }
            JournalEvent::Deposed { by } => {
                add_one(&self.parts.metrics.fenced);
                self.end = Some(LeaderEnd::Deposed { by });
            }
            JournalEvent::Failed { reason } => self.end = Some(LeaderEnd::Journal(reason)),
        }
    }

    fn snapshot(&mut self, roll: RollNumber) {
        let parts = self.state.snapshot();
        if let Err(error) = self.journal.snapshot(roll, parts) {
            tracing::warn!(%error, "snapshot not taken, the journal asks again");
        }
    }

    fn durable(&mut self, command: &bytes::Bytes) {
        let pending = self.pending.pop_front();
        assert!(
            pending.is_some(),
            "J2: every durable command was appended by this leader"
        );
        add_one(&self.parts.metrics.commands);
        self.commands += 1;
        let outcome = match self.state.apply(command) {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "durable command does not fit the state: stop");
                self.end = Some(LeaderEnd::Damaged);
                return;
            }
        };
        let pending = pending.unwrap_or(Pending::Nobody);
        match outcome {
            Outcome::Log(command) => self.log_applied(&command, pending),
            Outcome::Group(command) => self.group_applied(&command, pending),
            Outcome::Catalogue(outcome) => self.catalogue_applied(outcome, pending),
        }
    }

    fn log_applied(&mut self, command: &LogCommand, pending: Pending) {
        let now = self.now();
        let effects = self
            .sequencer
            .command_applied(&self.state.log, command, now);
        self.sequencer_effects(effects);
        match pending {
            Pending::Registered {
                session,
                replaces,
                reply,
            } => self.registered(session, replaces, reply),
            Pending::LogStartMoved {
                topic_partition,
                reply,
            } => self.log_start_moved(topic_partition, reply),
            _ => {}
        }
    }

    fn log_start_moved(
        &self,
        topic_partition: TopicPartition,
        reply: ReplyTo<Result<Offset, DeleteRecordsError>>,
    ) {
        // The topic may have been deleted in front of the command, which then did nothing.
        let exists = self.state.catalogue.has(topic_partition);
        let moved = exists.then(|| self.state.log.log_start(topic_partition));
        let _ = reply.send(moved.ok_or(DeleteRecordsError::UnknownPartition));
    }

    fn registered(
        &mut self,
        session: SessionId,
        replaces: Option<SessionId>,
        reply: ReplyTo<Answer<Registered>>,
    ) {
        tracing::info!(%session, epoch = %self.epoch, "session registered");
        let registered = Registered {
            session,
            epoch: self.epoch,
            cluster: self.parts.cluster,
        };
        // The caller may be gone; its session ends idle, or replaced.
        let _ = reply.send(Ok(registered));
        if let Some(old) = replaces {
            self.end_session(old);
        }
    }

    fn group_applied(&mut self, command: &GroupCommand, pending: Pending) {
        let moment = self.moment();
        let effects = self.groups.command_applied(moment, command);
        self.group_effects(effects);
        if let Pending::Group(Some((ticket, reply))) = pending {
            self.group_reply(ticket, reply);
        }
    }

    fn catalogue_applied(&mut self, outcome: CatalogueOutcome, pending: Pending) {
        match (outcome, pending) {
            (CatalogueOutcome::Created(created), pending) => {
                self.topics_changed |= created.is_ok();
                if let Pending::Created(reply) = pending {
                    let created = created.map(|topic| CreatedTopic { topic });
                    self.callers.hold_created(reply, created);
                }
            }
            (CatalogueOutcome::Deleted(deleted), pending) => {
                self.topics_changed |= deleted.is_ok();
                if let Ok(topic) = &deleted {
                    self.topic_dropped(topic);
                }
                if let Pending::Deleted(reply) = pending {
                    self.callers.hold_deleted(reply, deleted);
                }
            }
            (CatalogueOutcome::Altered(altered), pending) => {
                self.topics_changed |= altered.is_ok();
                if let Pending::Altered(reply) = pending {
                    self.callers.hold_altered(reply, altered);
                }
            }
            (CatalogueOutcome::BrokerAltered(altered), pending) => {
                self.topics_changed |= altered.is_ok();
                if let Pending::BrokerAltered(reply) = pending {
                    self.callers.hold_broker_altered(reply, altered);
                }
            }
            (CatalogueOutcome::ProducerIds(first), _) => self.producer_ids_taken(first),
        }
    }

    fn topic_dropped(&mut self, topic: &Topic) {
        let moment = self.moment();
        let dropped = LogCommand::DropTopic { topic: topic.id };
        let effects = self
            .sequencer
            .command_applied(&self.state.log, &dropped, moment.now);
        self.sequencer_effects(effects);
        let dropped = GroupCommand::DropTopic { topic: topic.id };
        let effects = self.groups.command_applied(moment, &dropped);
        self.group_effects(effects);
    }

    fn producer_ids_taken(&mut self, first: ProducerId) {
        self.callers.producer_ids_taken(first);
        if self.callers.wants_producer_ids() {
            self.take_producer_ids();
        }
    }

    pub(super) fn refuse<T>(&self, reply: ReplyTo<Answer<T>>, error: MetadataError) {
        add_one(&self.parts.metrics.refusals);
        let _ = reply.send(Err(error));
    }
}
