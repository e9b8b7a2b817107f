//! Producers: idempotent ones send again, in order, to another pod if need be; plain ones do not.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use esker_history::format::{Done, Operation, Producer as Stamp, Send};
use esker_ingest::AppendErrorKind;
use esker_record::{BatchBuilder, Compression, NewRecord};
use esker_types::{ProducerEpoch, ProducerId, Timestamp};

use crate::client::Identity;
use crate::message::{Message, ProduceFailure};
use crate::node::{MILLI, Nanos, Node, PODS, Process, SECOND};
use crate::queue::Timer;
use crate::recorder::{done, key};
use crate::world::World;

/// A request that is not answered is given up after this.
const REQUEST_TIMEOUT: Nanos = 8 * SECOND;

struct Batch {
    op: u64,
    /// Of its lane's batches, counted from 0.
    number: usize,
    sequence: i32,
    records: u32,
    bytes: Bytes,
    since: Nanos,
}

#[derive(Default)]
struct Lane {
    next_sequence: i32,
    created: usize,
    unacked: VecDeque<Batch>,
}

impl Lane {
    /// Batches from the oldest unacknowledged one on: at most five, as Kafka's clients keep it, so
    /// that a server that remembers five knows each of them.
    fn window(&self) -> usize {
        let front = self.unacked.front();
        front.map_or(0, |front| self.created - front.number)
    }
}

/// One producer.
pub(crate) struct Producer {
    identity: Identity,
    /// Of an idempotent one.
    id: Option<ProducerId>,
    epoch: i16,
    lanes: Vec<Lane>,
    pod: usize,
    to: Process,
    connection: u64,
    /// Partition and operation of requests under way.
    calls: BTreeMap<u64, (usize, u64)>,
    retry_due: bool,
    last_probe: bool,
}

impl Producer {
    pub(crate) fn new(world: &mut World, identity: Identity, is_idempotent: bool) -> Self {
        let partitions = usize::try_from(world.settings.partitions).unwrap_or(1);
        let number = i64::try_from(world.number()).unwrap_or(0);
        let pod = usize::try_from(world.faults.below(3)).unwrap_or(0);
        Self {
            identity,
            id: ProducerId::from_wire(number).filter(|_| is_idempotent),
            epoch: 0,
            lanes: (0..partitions).map(|_| Lane::default()).collect(),
            pod,
            to: world.process(Node::pod(pod)),
            connection: world.number(),
            calls: BTreeMap::new(),
            retry_due: false,
            last_probe: false,
        }
    }

    /// Nothing of it waits for an answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.last_probe && self.lanes.iter().all(|lane| lane.unacked.is_empty())
    }

    pub(crate) fn timer(&mut self, world: &mut World, timer: Timer) {
        match timer {
            Timer::Tick => self.think(world),
            Timer::Call(call) => {
                if self.calls.contains_key(&call) {
                    self.reconnect(world, true);
                }
            }
            Timer::Work(connection) if connection == self.connection && self.retry_due => {
                self.retry_due = false;
                self.send_all(world);
            }
            Timer::Work(_) | Timer::Step => {}
        }
    }

    fn think(&mut self, world: &mut World) {
        self.give_up_old(world);
        self.renew_by_chance(world);
        let is_ending = world
            .healed_at
            .is_some_and(|healed| world.now() > healed + 3 * SECOND);
        if !is_ending || !self.last_probe {
            self.last_probe = is_ending;
            let count = u64::try_from(self.lanes.len()).unwrap_or(1);
            let lane = usize::try_from(world.faults.below(count)).unwrap_or(0);
            if self.lanes[lane].window() < world.settings.in_flight_max {
                self.create(world, lane);
            }
        }
        let pause = world.around(world.settings.think);
        world.timer(self.identity.process, pause, Timer::Tick);
    }

    fn create(&mut self, world: &mut World, lane: usize) {
        let records = 1 + u32::try_from(world.faults.below(4)).unwrap_or(0);
        let vals: Vec<u64> = (0..records).map(|_| world.value()).collect();
        let partition = u32::try_from(lane).unwrap_or(0);
        let sequence = self.lanes[lane].next_sequence;
        let producer = self.id.map(|id| Stamp {
            id: u64::try_from(id.to_wire()).unwrap_or(0),
            epoch: u32::try_from(self.epoch).unwrap_or(0),
            seq: u32::try_from(sequence).unwrap_or(0),
        });
        let bytes = self.build(&vals, sequence);
        let send = Send {
            key: key(partition),
            vals,
            producer,
            txn: None,
        };
        let now = world.now();
        let p = self.identity.p;
        let op = world.history.invoke(now, p, None, Operation::Send(send));
        let batch = Batch {
            op,
            number: self.lanes[lane].created,
            sequence,
            records,
            bytes,
            since: now,
        };
        let state = &mut self.lanes[lane];
        state.created += 1;
        state.next_sequence = sequence + i32::try_from(records).unwrap_or(1);
        state.unacked.push_back(batch);
        if !self.retry_due {
            self.send(world, lane, op);
        }
    }

    fn build(&self, vals: &[u64], sequence: i32) -> Bytes {
        let mut builder = BatchBuilder::new(Compression::None);
        if let (Some(id), Some(epoch)) = (self.id, ProducerEpoch::from_wire(self.epoch)) {
            builder = builder.producer(id, epoch, sequence);
        }
        for val in vals {
            let record = NewRecord {
                timestamp: Timestamp::from_millis(i64::try_from(*val).unwrap_or(0)),
                value: Some(Bytes::copy_from_slice(&val.to_be_bytes())),
                ..NewRecord::default()
            };
            let pushed = builder.push(&record);
            assert!(pushed.is_ok(), "a small batch takes a small record");
        }
        builder.build().unwrap_or_default()
    }

    fn send(&mut self, world: &mut World, lane: usize, op: u64) {
        let Some(batch) = self.lanes[lane].unacked.iter().find(|batch| batch.op == op) else {
            return;
        };
        let batch = batch.bytes.clone();
        let call = world.number();
        self.calls.insert(call, (lane, op));
        let message = Message::Produce {
            call,
            connection: self.connection,
            partition: u32::try_from(lane).unwrap_or(0),
            batch,
            timeout_millis: world.settings.habits.produce_timeout / MILLI,
        };
        world.send_to(self.identity.process, self.to, message);
        world.timer(self.identity.process, REQUEST_TIMEOUT, Timer::Call(call));
    }

    fn send_all(&mut self, world: &mut World) {
        for lane in 0..self.lanes.len() {
            let batches = self.lanes[lane].unacked.iter();
            for op in batches.map(|batch| batch.op).collect::<Vec<_>>() {
                self.send(world, lane, op);
            }
        }
    }

    /// A new connection, to the same pod or another; everything unacknowledged is sent again.
    pub(crate) fn reconnect(&mut self, world: &mut World, elsewhere: bool) {
        self.calls.clear();
        if self.id.is_none() {
            self.abandon(world);
        }
        if elsewhere {
            let step = 1 + usize::try_from(world.faults.below(2)).unwrap_or(0);
            self.pod = (self.pod + step) % PODS;
        }
        self.to = world.process(Node::pod(self.pod));
        self.connection = world.number();
        self.retry_due = true;
        let pause = 20 * MILLI + world.faults.below(300 * MILLI);
        world.timer(self.identity.process, pause, Timer::Work(self.connection));
    }

    /// What becomes of unacknowledged batches stays unknown; an idempotent producer goes on under
    /// its next epoch.
    fn abandon(&mut self, world: &mut World) {
        let now = world.now();
        for lane in &mut self.lanes {
            for batch in lane.unacked.drain(..) {
                world.history.info(now, batch.op);
            }
            lane.next_sequence = 0;
        }
        self.epoch += 1;
    }

    fn give_up_old(&mut self, world: &mut World) {
        let now = world.now();
        let limit = world.settings.habits.delivery_timeout;
        let oldest = self.lanes.iter().filter_map(|lane| lane.unacked.front());
        let is_old = oldest
            .map(|batch| batch.since)
            .min()
            .is_some_and(|since| since + limit < now);
        if is_old && world.healed_at.is_none() {
            self.abandon(world);
            self.reconnect(world, true);
        }
    }

    /// As a process that starts again, or asks for its id anew: what it had in flight is on its way
    /// still, and may arrive behind what it sends now, to another pod.
    fn renew_by_chance(&mut self, world: &mut World) {
        let is_due = world.faults.below(1_000) < world.settings.habits.renewal;
        if !is_due || self.id.is_none() || world.healed_at.is_some() {
            return;
        }
        self.abandon(world);
        if world.faults.below(2) == 0 {
            let number = i64::try_from(world.number()).unwrap_or(0);
            self.id = ProducerId::from_wire(number);
            self.epoch = 0;
        }
        let elsewhere = world.faults.below(4) > 0;
        self.reconnect(world, elsewhere);
    }

    pub(crate) fn message(&mut self, world: &mut World, message: Message) {
        let Message::Produced(call, outcome) = message else {
            return;
        };
        let Some((lane, op)) = self.calls.remove(&call) else {
            return;
        };
        let now = world.now();
        match outcome {
            Ok(base) => {
                self.lanes[lane].unacked.retain(|batch| batch.op != op);
                let done = Done {
                    offset: Some(base),
                    ..done(op)
                };
                world.history.ok(now, done);
            }
            Err(failure) if self.id.is_some() => self.refused(world, lane, op, failure),
            Err(failure) => {
                self.lanes[lane].unacked.retain(|batch| batch.op != op);
                match failure {
                    ProduceFailure::Kind(AppendErrorKind::Indeterminate) => {
                        world.history.info(now, op);
                    }
                    _ => world.history.fail(now, op),
                }
            }
        }
    }

    /// An idempotent producer may be refused for good only when it is to blame, which this one
    /// never is (D4): behind an earlier batch that failed it is sent again.
    fn refused(&mut self, world: &mut World, lane: usize, op: u64, failure: ProduceFailure) {
        let front = self.lanes[lane].unacked.front();
        let is_next = front.is_some_and(|batch| batch.op == op);
        let fatal = match failure {
            ProduceFailure::OutOfOrder => is_next,
            ProduceFailure::Kind(AppendErrorKind::Fenced) => true,
            ProduceFailure::DuplicateForgotten => true,
            ProduceFailure::Kind(_) => false,
        };
        if fatal {
            let batch = front.map(|batch| (batch.sequence, batch.records));
            let id = self.id.map(ProducerId::to_wire);
            let what = format!(
                "producer {id:?} epoch {} partition {lane}: next batch {batch:?} got {failure:?}",
                self.epoch
            );
            world.truth.violate("D4", what);
            return;
        }
        let elsewhere = failure == ProduceFailure::Kind(AppendErrorKind::Refresh);
        self.reconnect(world, elsewhere || world.faults.below(4) == 0);
    }
}
