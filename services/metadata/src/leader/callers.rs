//! Callers that wait: for a group's answer, a session's end, a producer id, the topic table.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use esker_groups::Ticket;
use esker_metadata_api::{
    AlterBrokerError, AlterTopicError, CreateTopicError, CreatedTopic, DeleteTopicError,
    GroupReply, SessionEnd, Topic,
};
use esker_types::{ProducerId, SessionId};

use crate::catalogue::PRODUCER_ID_BLOCK;
use crate::request::{Answer, ReplyTo};

type Created = Result<CreatedTopic, CreateTopicError>;
type Deleted = Result<Arc<Topic>, DeleteTopicError>;
type BrokerAltered = Result<(), AlterBrokerError>;
type Altered = Result<Arc<Topic>, AlterTopicError>;

/// Everyone who waits, bounded by what the cores and the request queue take in.
#[derive(Debug, Default)]
pub(super) struct Callers {
    next_ticket: u64,
    groups: BTreeMap<Ticket, ReplyTo<Answer<GroupReply>>>,
    ends: BTreeMap<SessionId, Vec<ReplyTo<Answer<SessionEnd>>>>,
    /// Answers that must not come before the topic table shows what they say.
    created: Vec<(ReplyTo<Created>, Created)>,
    deleted: Vec<(ReplyTo<Deleted>, Deleted)>,
    altered: Vec<(ReplyTo<Altered>, Altered)>,
    brokers_altered: Vec<(ReplyTo<BrokerAltered>, BrokerAltered)>,
    producer_ids: VecDeque<ReplyTo<Answer<ProducerId>>>,
    ids_next: i64,
    ids_end: i64,
    ids_asked: bool,
}

impl Callers {
    pub(super) fn group_ticket(&mut self, reply: ReplyTo<Answer<GroupReply>>) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket::new(self.next_ticket);
        self.groups.insert(ticket, reply);
        ticket
    }

    pub(super) fn take_group(&mut self, ticket: Ticket) -> Option<ReplyTo<Answer<GroupReply>>> {
        self.groups.remove(&ticket)
    }

    /// Tickets whose callers went away; they are forgotten here.
    pub(super) fn gone(&mut self) -> Vec<Ticket> {
        let closed = self.groups.iter().filter(|(_, reply)| reply.is_closed());
        let gone: Vec<Ticket> = closed.map(|(ticket, _)| *ticket).collect();
        for ticket in &gone {
            self.groups.remove(ticket);
        }
        gone
    }

    pub(super) fn wait_for_end(&mut self, session: SessionId, reply: ReplyTo<Answer<SessionEnd>>) {
        self.ends.entry(session).or_default().push(reply);
    }

    pub(super) fn ended(&mut self, session: SessionId, end: SessionEnd) {
        for reply in self.ends.remove(&session).into_iter().flatten() {
            let _ = reply.send(Ok(end));
        }
    }

    pub(super) fn hold_created(&mut self, reply: ReplyTo<Created>, created: Created) {
        self.created.push((reply, created));
    }

    pub(super) fn hold_deleted(&mut self, reply: ReplyTo<Deleted>, deleted: Deleted) {
        self.deleted.push((reply, deleted));
    }

    pub(super) fn hold_altered(&mut self, reply: ReplyTo<Altered>, altered: Altered) {
        self.altered.push((reply, altered));
    }

    pub(super) fn hold_broker_altered(
        &mut self,
        reply: ReplyTo<BrokerAltered>,
        altered: BrokerAltered,
    ) {
        self.brokers_altered.push((reply, altered));
    }

    /// The topic table is published: those who wait for it hear.
    pub(super) fn answer_topics(&mut self) {
        for (reply, created) in self.created.drain(..) {
            let _ = reply.send(created);
        }
        for (reply, deleted) in self.deleted.drain(..) {
            let _ = reply.send(deleted);
        }
        for (reply, altered) in self.altered.drain(..) {
            let _ = reply.send(altered);
        }
        for (reply, altered) in self.brokers_altered.drain(..) {
            let _ = reply.send(altered);
        }
    }

    pub(super) fn wait_for_producer_id(&mut self, reply: ReplyTo<Answer<ProducerId>>) {
        self.producer_ids.push_back(reply);
        self.answer_producer_ids();
    }

    /// Whether a further block must be asked for; says so once per block.
    pub(super) fn wants_producer_ids(&mut self) -> bool {
        let wants = !self.producer_ids.is_empty() && !self.ids_asked;
        self.ids_asked |= wants;
        wants
    }

    pub(super) fn producer_ids_taken(&mut self, first: ProducerId) {
        self.ids_asked = false;
        self.ids_next = first.to_wire();
        self.ids_end = self.ids_next.saturating_add(PRODUCER_ID_BLOCK);
        self.answer_producer_ids();
    }

    fn answer_producer_ids(&mut self) {
        while self.ids_next < self.ids_end
            && let Some(reply) = self.producer_ids.pop_front()
        {
            if let Some(id) = ProducerId::from_wire(self.ids_next) {
                let _ = reply.send(Ok(id));
            }
            self.ids_next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn producer_ids_are_given_out_once_and_a_block_is_asked_for_when_they_end() {
        let mut callers = Callers::default();
        let (reply, mut first) = oneshot::channel();
        callers.wait_for_producer_id(reply);

        assert!(callers.wants_producer_ids());
        assert!(!callers.wants_producer_ids(), "asked for once");
        callers.producer_ids_taken(ProducerId::from_wire(7000).unwrap());
        let mut given = vec![first.try_recv().unwrap().unwrap().to_wire()];
        for _ in 1..PRODUCER_ID_BLOCK {
            let (reply, mut id) = oneshot::channel();
            callers.wait_for_producer_id(reply);
            given.push(id.try_recv().unwrap().unwrap().to_wire());
        }
        let (reply, mut beyond) = oneshot::channel();
        callers.wait_for_producer_id(reply);

        assert_eq!(given, (7000..7000 + PRODUCER_ID_BLOCK).collect::<Vec<_>>());
        assert!(beyond.try_recv().is_err());
        assert!(callers.wants_producer_ids());
    }

    #[test]
    fn a_caller_that_went_away_is_forgotten_with_its_ticket() {
        let mut callers = Callers::default();
        let (reply, caller) = oneshot::channel();
        let ticket = callers.group_ticket(reply);

        assert!(callers.gone().is_empty());
        drop(caller);

        assert_eq!(callers.gone(), vec![ticket]);
        assert!(callers.take_group(ticket).is_none());
    }
}
