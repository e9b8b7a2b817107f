//! Consumers that follow the log, and askers for LATEST.

use std::collections::BTreeMap;

use esker_history::format::{Done, Isolation, Latest, Operation, Poll, Read};

use crate::client::Identity;
use crate::message::{FetchFailure, Fetched, Message};
use crate::node::{FETCHERS, MILLI, Nanos, Node, SECOND};
use crate::queue::Timer;
use crate::recorder::{done, key};
use crate::world::World;

/// A fetch or question that is not answered is given up after this.
pub(crate) const ASK_TIMEOUT: Nanos = 12 * SECOND;

/// A poll under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Polling {
    pub(crate) call: u64,
    pub(crate) op: u64,
    pub(crate) partition: u32,
}

/// Reads partitions from positions; what a consumer and a group member have in common.
pub(crate) struct Reader {
    pub(crate) identity: Identity,
    pub(crate) positions: BTreeMap<u32, u64>,
    pub(crate) polling: Option<Polling>,
    fetcher: usize,
}

impl Reader {
    pub(crate) fn new(world: &mut World, identity: Identity) -> Self {
        let fetcher = usize::try_from(world.faults.below(2)).unwrap_or(0);
        Self {
            identity,
            positions: BTreeMap::new(),
            polling: None,
            fetcher,
        }
    }

    /// Begins at these positions, as a process that was not there before.
    pub(crate) fn assign(&mut self, world: &mut World, positions: BTreeMap<u32, u64>) {
        self.positions = positions;
        self.identity.p = world.logical();
        let named = self.positions.iter().map(|(at, next)| (key(*at), *next));
        let named = named.collect();
        let now = world.now();
        world.history.assign(now, self.identity.p, named);
    }

    pub(crate) fn poll(&mut self, world: &mut World) {
        if self.polling.is_some() || self.positions.is_empty() {
            return;
        }
        let count = u64::try_from(self.positions.len()).unwrap_or(1);
        let chosen = usize::try_from(world.faults.below(count)).unwrap_or(0);
        let Some((partition, offset)) = self.positions.iter().nth(chosen) else {
            return;
        };
        let (partition, offset) = (*partition, *offset);
        if world.faults.below(50) == 0 {
            self.fetcher = (self.fetcher + 1) % FETCHERS;
        }
        let node = Node::fetcher(self.fetcher);
        let poll = Poll {
            keys: vec![key(partition)],
            iso: Isolation::Ru,
            last: false,
            txn: None,
        };
        let pod = Some(world.pod_name(node));
        let (now, p) = (world.now(), self.identity.p);
        let op = world.history.invoke(now, p, pod, Operation::Poll(poll));
        let call = world.number();
        self.polling = Some(Polling {
            call,
            op,
            partition,
        });
        let to = world.process(node);
        let message = Message::Fetch {
            call,
            partition,
            offset,
        };
        world.send_to(self.identity.process, to, message);
        world.timer(self.identity.process, ASK_TIMEOUT, Timer::Call(call));
    }

    /// The answer to the poll under way; true when records came.
    pub(crate) fn answered(
        &mut self,
        world: &mut World,
        call: u64,
        outcome: Result<&Fetched, FetchFailure>,
    ) -> bool {
        let Some(polling) = self.polling.take_if(|polling| polling.call == call) else {
            return false;
        };
        let now = world.now();
        let fetched = match outcome {
            Ok(fetched) => fetched,
            Err(failure) => {
                world.history.fail(now, polling.op);
                if failure == FetchFailure::OutOfRange {
                    let at = self.positions.get(&polling.partition);
                    let what = format!("a consumer of the log at {at:?} is out of range");
                    world.truth.violate("R4", what);
                }
                self.fetcher = (self.fetcher + 1) % FETCHERS;
                return false;
            }
        };
        if let Some((last, _)) = fetched.records.last() {
            self.positions.insert(polling.partition, last + 1);
        }
        let mut done = done(polling.op);
        done.read.insert(key(polling.partition), read(fetched));
        world.history.ok(now, done);
        !fetched.records.is_empty()
    }

    /// No answer came: what was read is not known.
    pub(crate) fn not_answered(&mut self, world: &mut World, call: u64) -> bool {
        let Some(polling) = self.polling.take_if(|polling| polling.call == call) else {
            return false;
        };
        let now = world.now();
        world.history.info(now, polling.op);
        self.fetcher = (self.fetcher + 1) % FETCHERS;
        let positions = self.positions.clone();
        self.assign(world, positions);
        true
    }
}

/// What was read, for the history.
pub(crate) fn read(fetched: &Fetched) -> Read {
    Read {
        recs: fetched.records.clone(),
        hw: Some(fetched.high_watermark),
        lso: Some(fetched.high_watermark),
        log_start: Some(fetched.log_start),
        ..Read::default()
    }
}

/// Follows all partitions from the start of the log.
pub(crate) struct Consumer {
    reader: Reader,
    begun: bool,
}

impl Consumer {
    pub(crate) fn new(world: &mut World, identity: Identity) -> Self {
        Self {
            reader: Reader::new(world, identity),
            begun: false,
        }
    }

    pub(crate) fn timer(&mut self, world: &mut World, timer: Timer) {
        match timer {
            Timer::Tick => {
                if !std::mem::replace(&mut self.begun, true) {
                    let positions = (0..world.settings.partitions).map(|at| (at, 0));
                    let positions = positions.collect();
                    self.reader.assign(world, positions);
                }
                self.reader.poll(world);
            }
            Timer::Call(call) => {
                if self.reader.not_answered(world, call) {
                    self.reader.poll(world);
                }
            }
            Timer::Work(_) | Timer::Step => {}
        }
    }

    pub(crate) fn message(&mut self, world: &mut World, message: Message) {
        if let Message::Fetched(call, outcome) = message {
            let outcome = outcome.as_deref().map_err(|failure| *failure);
            let was_some = self.reader.answered(world, call, outcome);
            let pause = if was_some { 5 * MILLI } else { 100 * MILLI };
            let pause = world.around(pause);
            world.timer(self.reader.identity.process, pause, Timer::Tick);
        }
    }
}

/// Asks for LATEST again and again, each time of another partition and pod.
pub(crate) struct LatestAsker {
    identity: Identity,
    asking: Option<(u64, u64, u32, u64)>,
}

impl LatestAsker {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            asking: None,
        }
    }

    fn ask(&mut self, world: &mut World) {
        let partition = world.faults.below(u64::from(world.settings.partitions));
        let partition = u32::try_from(partition).unwrap_or(0);
        let node = Node::fetcher(usize::try_from(world.faults.below(2)).unwrap_or(0));
        let latest = Latest {
            key: key(partition),
            iso: Isolation::Ru,
        };
        let pod = Some(world.pod_name(node));
        let (now, p) = (world.now(), self.identity.p);
        let what = Operation::Latest(latest);
        let op = world.history.invoke(now, p, pod, what);
        let at = world.at(partition);
        let acked = world.truth.logs.get(&at).map_or(0, |log| log.acked);
        let call = world.number();
        self.asking = Some((call, op, partition, acked));
        let to = world.process(node);
        let message = Message::Latest(call, partition);
        world.send_to(self.identity.process, to, message);
        world.timer(self.identity.process, ASK_TIMEOUT, Timer::Call(call));
    }

    pub(crate) fn timer(&mut self, world: &mut World, timer: Timer) {
        match timer {
            Timer::Tick if self.asking.is_none() => self.ask(world),
            Timer::Call(call) => {
                if let Some((_, op, ..)) = self.asking.take_if(|asking| asking.0 == call) {
                    let now = world.now();
                    world.history.info(now, op);
                    self.ask(world);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn message(&mut self, world: &mut World, message: Message) {
        let Message::LatestDone(call, answer) = message else {
            return;
        };
        let Some((_, op, partition, acked)) = self.asking.take_if(|asking| asking.0 == call) else {
            return;
        };
        let now = world.now();
        match answer {
            Some((offset, epoch)) => {
                let done = Done {
                    offset: Some(offset),
                    epoch: Some(epoch),
                    ..done(op)
                };
                world.history.ok(now, done);
                if offset < acked {
                    let what = format!("LATEST of {partition} is {offset}, acked was {acked}");
                    world.truth.violate("CP12", what);
                }
            }
            None => world.history.fail(now, op),
        }
        let pause = world.around(400 * MILLI);
        world.timer(self.identity.process, pause, Timer::Tick);
    }
}
