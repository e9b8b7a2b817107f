//! The event queue: what happens next, by time and then by the order of scheduling.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::fault::Fault;
use crate::message::Message;
use crate::node::{Nanos, Node, Process};
use crate::outside::Ask;
use crate::store::{GetPlan, Put, StoreReply};

/// What a process's own timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The state machine has something to do.
    Step,
    /// A call was not answered.
    Call(u64),
    /// Every now and then.
    Tick,
    /// Of a client's work.
    Work(u64),
}

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message arrives; `to_life` is set for answers, which only the asking life hears.
    Message {
        from: Process,
        to: Node,
        to_life: Option<u32>,
        message: Message,
    },
    Timer(Process, Timer),
    /// A put is executed: the caller's channel, and what is said instead of what came of it.
    PutExecuted {
        put: u64,
    },
    PutAnswered {
        put: u64,
    },
    GetExecuted {
        asker: Process,
        task: u64,
        ask: Ask,
        plan: GetPlan,
        answered: Nanos,
    },
    Reply {
        asker: Process,
        task: u64,
        reply: StoreReply,
    },
    /// The next episode begins.
    Episode,
    /// One ends.
    Ends(Fault, Node, Node),
    /// Everything is healed.
    Heal,
    /// Is the run's last reading done?
    Settled,
}

/// A put between its begin and its last execution.
#[derive(Debug)]
pub(crate) struct PutUnderWay {
    pub(crate) put: Put,
    pub(crate) asker: Process,
    pub(crate) task: u64,
    pub(crate) sender: Option<futures::channel::oneshot::Sender<esker_object::PutOutcome>>,
    pub(crate) instead: Option<crate::store::PutResult>,
    pub(crate) result: Option<crate::store::PutResult>,
    pub(crate) events_left: usize,
}

struct Entry {
    at: Nanos,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// All that will happen.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Entry>,
    scheduled: u64,
}

impl Queue {
    pub(crate) fn add(&mut self, at: Nanos, event: Event) {
        let number = self.scheduled;
        self.scheduled += 1;
        self.heap.push(Entry { at, number, event });
    }

    pub(crate) fn next(&mut self) -> Option<(Nanos, Event)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}
