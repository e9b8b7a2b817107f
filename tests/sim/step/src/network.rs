//! The simulated network: delay, loss, doubles, disorder, cuts in one direction or in both.

use std::collections::BTreeSet;

use crate::fault::Fault;
use crate::message::Message;
use crate::node::{MILLI, NODES, Nanos, Node, Process, Role, SECOND};
use crate::queue::Event;
use crate::world::World;

/// Who reaches whom.
#[derive(Debug)]
pub(crate) struct Network {
    latency: Nanos,
    /// By sender and receiver: cut until then.
    cut_until: Vec<Nanos>,
    /// By sender and receiver: arrival of the last message of an ordered connection.
    last: Vec<Nanos>,
    /// Connections that broke: nothing of them arrives any more.
    broken: BTreeSet<u64>,
}

impl Network {
    pub(crate) fn new(latency: Nanos) -> Self {
        Self {
            latency,
            cut_until: vec![0; NODES * NODES],
            last: vec![0; NODES * NODES],
            broken: BTreeSet::new(),
        }
    }

    fn pair(from: Node, to: Node) -> usize {
        from.index() * NODES + to.index()
    }

    pub(crate) fn cut(&mut self, from: Node, to: Node, until: Nanos) {
        let pair = Self::pair(from, to);
        self.cut_until[pair] = self.cut_until[pair].max(until);
    }

    pub(crate) fn heal(&mut self) {
        self.cut_until.fill(0);
    }
}

impl World {
    /// Sends a message to whoever lives at a place when it arrives.
    pub(crate) fn send(&mut self, from: Process, to: Node, message: Message) {
        self.carry(from, to, None, message);
    }

    /// Sends over a connection to one life of a process.
    pub(crate) fn send_to(&mut self, from: Process, to: Process, message: Message) {
        self.carry(from, to.node, Some(to.life), message);
    }

    /// Answers: only the life that asked hears it.
    pub(crate) fn send_back(&mut self, from: Node, to: Process, message: Message) {
        let from = self.process(from);
        self.carry(from, to.node, Some(to.life), message);
    }

    fn carry(&mut self, from: Process, to: Node, to_life: Option<u32>, message: Message) {
        let pair = Network::pair(from.node, to);
        let now = self.now();
        let is_journal = to == Node::JOURNAL;
        let connection = message.connection();
        if connection.is_some_and(|one| self.network.broken.contains(&one)) {
            return;
        }
        if now < self.network.cut_until[pair] || self.faults.strikes(Fault::MessageLost) {
            self.network.broken.extend(connection);
            return;
        }
        if is_journal && now < self.store.outage_until {
            return;
        }
        let is_ordered = message.is_ordered();
        let latency = match is_journal || from.node == Node::JOURNAL {
            true => self.settings.store_latency / 2,
            false => self.network.latency,
        };
        let is_far = [from.node, to]
            .iter()
            .any(|end| matches!(end.role(), Role::Client(_)));
        let latency = match is_far {
            true => latency + self.settings.habits.distance,
            false => latency,
        };
        let mut arrival = now + latency / 2 + self.faults.below(latency.max(2));
        if is_journal && self.faults.strikes(Fault::JournalHeld) {
            arrival += SECOND + self.faults.below(60 * SECOND);
        } else if !is_ordered && self.faults.strikes(Fault::MessageLate) {
            arrival += MILLI + self.faults.below(5 * SECOND);
        }
        let doubled = match is_journal {
            true => Fault::JournalDoubled,
            false => Fault::MessageDoubled,
        };
        if !is_ordered && self.faults.strikes(doubled) {
            let again = arrival + self.faults.below(10 * SECOND);
            let message = message.clone();
            self.queue.add(again, arriving(from, to, to_life, message));
        }
        if is_ordered {
            arrival = arrival.max(self.network.last[pair] + 1);
            self.network.last[pair] = arrival;
        }
        self.queue
            .add(arrival, arriving(from, to, to_life, message));
    }
}

fn arriving(from: Process, to: Node, to_life: Option<u32>, message: Message) -> Event {
    Event::Message {
        from,
        to,
        to_life,
        message,
    }
}
