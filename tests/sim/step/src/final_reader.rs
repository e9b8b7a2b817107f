//! The last reading: when all is healed and sent, each fetch pod must show all that was
//! acknowledged, and the whole log.

use esker_history::format::{Digest, Isolation, Note, Operation, Poll, Whole};

use crate::client::Identity;
use crate::consumer::{ASK_TIMEOUT, read};
use crate::message::{Fetched, Message};
use crate::node::{MILLI, Node, Process};
use crate::queue::Timer;
use crate::recorder::{done, key};
use crate::world::World;

/// Reads every partition from one fetch pod, once.
pub(crate) struct FinalReader {
    identity: Identity,
    node: Node,
    partition: u32,
    position: u64,
    hash: u64,
    asking: Option<(u64, u64)>,
    /// The tail of every partition was seen.
    pub(crate) has_seen_tails: bool,
    pub(crate) is_done: bool,
}

impl FinalReader {
    pub(crate) fn new(identity: Identity, node: Node) -> Self {
        Self {
            identity,
            node,
            partition: 0,
            position: 0,
            hash: 0,
            asking: None,
            has_seen_tails: false,
            is_done: false,
        }
    }

    fn end(&self, world: &World) -> u64 {
        let at = world.at(self.partition);
        world.truth.logs.get(&at).map_or(0, crate::truth::Log::end)
    }

    fn next(&mut self, world: &mut World) {
        while self.partition < world.settings.partitions {
            let end = self.end(world);
            let is_over = match self.has_seen_tails {
                true => self.position >= end,
                false => end == 0 || self.position >= end,
            };
            if !is_over {
                break;
            }
            if self.has_seen_tails {
                let digest = Digest {
                    key: key(self.partition),
                    from: 0,
                    to: end,
                    pod: world.pod_name(self.node),
                    hash: format!("{:016x}", self.hash),
                };
                let now = world.now();
                world.history.note(now, Note::Digest(digest));
            }
            self.begin(world, self.partition + 1);
        }
        if self.partition >= world.settings.partitions {
            if self.has_seen_tails {
                self.is_done = true;
                return;
            }
            self.has_seen_tails = true;
            self.begin(world, 0);
            self.next(world);
            return;
        }
        self.ask(world);
    }

    fn begin(&mut self, world: &mut World, partition: u32) {
        self.partition = partition;
        self.hash = 0;
        self.position = match self.has_seen_tails {
            true => 0,
            false => self.end(world).saturating_sub(1),
        };
        self.identity.p = world.logical();
        let at = [(key(partition), self.position)].into_iter().collect();
        let now = world.now();
        world.history.assign(now, self.identity.p, at);
    }

    fn ask(&mut self, world: &mut World) {
        let poll = Poll {
            keys: vec![key(self.partition)],
            iso: Isolation::Ru,
            last: self.has_seen_tails,
            txn: None,
        };
        let pod = Some(world.pod_name(self.node));
        let (now, p) = (world.now(), self.identity.p);
        let op = world.history.invoke(now, p, pod, Operation::Poll(poll));
        let call = world.number();
        self.asking = Some((call, op));
        let to = world.process(self.node);
        let message = Message::Fetch {
            call,
            partition: self.partition,
            offset: self.position,
        };
        world.send_to(self.identity.process, to, message);
        world.timer(self.identity.process, ASK_TIMEOUT, Timer::Call(call));
    }

    pub(crate) fn timer(&mut self, world: &mut World, timer: Timer) {
        match timer {
            Timer::Tick if self.asking.is_none() && !self.is_done => {
                if self.partition == 0 && self.position == 0 && !self.has_seen_tails {
                    self.begin(world, 0);
                }
                self.next(world);
            }
            Timer::Call(call) => {
                if let Some((_, op)) = self.asking.take_if(|asking| asking.0 == call) {
                    let now = world.now();
                    world.history.info(now, op);
                    let next = self.position;
                    self.identity.p = world.logical();
                    let at = [(key(self.partition), next)].into_iter().collect();
                    world.history.assign(now, self.identity.p, at);
                    self.next(world);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn message(&mut self, world: &mut World, _from: Process, message: Message) {
        let Message::Fetched(call, outcome) = message else {
            return;
        };
        let Some((_, op)) = self.asking.take_if(|asking| asking.0 == call) else {
            return;
        };
        let now = world.now();
        match outcome {
            Ok(fetched) => {
                self.take(&fetched);
                let mut done = done(op);
                done.read.insert(key(self.partition), read(&fetched));
                world.history.ok(now, done);
                if fetched.records.is_empty() {
                    world.timer(self.identity.process, 50 * MILLI, Timer::Tick);
                } else {
                    self.next(world);
                }
            }
            Err(_) => {
                world.history.fail(now, op);
                world.timer(self.identity.process, 100 * MILLI, Timer::Tick);
            }
        }
    }

    fn take(&mut self, fetched: &Fetched) {
        for (offset, val) in &fetched.records {
            self.position = offset + 1;
            let mixed = self.hash ^ offset.rotate_left(32) ^ val;
            self.hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        }
    }
}

/// Partitions were read whole.
pub(crate) fn note_whole(world: &mut World, partition: u32) {
    let whole = Whole {
        key: key(partition),
        iso: Isolation::Ru,
    };
    let now = world.now();
    world.history.note(now, Note::Whole(whole));
}
