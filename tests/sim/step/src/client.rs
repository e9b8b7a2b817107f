//! A client: one of several kinds of work.

use crate::consumer::{Consumer, LatestAsker};
use crate::final_reader::FinalReader;
use crate::member::Member;
use crate::message::Message;
use crate::node::{MILLI, Nanos, Node, Process};
use crate::options::Work;
use crate::producer::Producer;
use crate::queue::Timer;
use crate::world::World;

/// What a client is busy with.
pub(crate) enum Client {
    Producer(Producer),
    Consumer(Consumer),
    Latest(LatestAsker),
    Member(Box<Member>),
    Final(FinalReader),
    Silent,
}

/// How a client is known, in the network and in the history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) process: Process,
    /// Process of the history; a new one after an unknown outcome of a read.
    pub(crate) p: u32,
}

impl Client {
    pub(crate) fn new(world: &mut World, index: usize, work: Work) -> Self {
        if world.options.silent.contains(&index) {
            return Self::Silent;
        }
        let process = world.process(Node::client(index));
        let p = world.logical();
        let delay = world.faults.below(500) * MILLI + MILLI;
        world.timer(process, delay, Timer::Tick);
        let identity = Identity { process, p };
        match work {
            Work::Idempotent => Self::Producer(Producer::new(world, identity, true)),
            Work::Plain => Self::Producer(Producer::new(world, identity, false)),
            Work::Consume => Self::Consumer(Consumer::new(world, identity)),
            Work::Latest => Self::Latest(LatestAsker::new(identity)),
            Work::Member => Self::Member(Box::new(Member::new(identity))),
        }
    }

    pub(crate) fn message(&mut self, world: &mut World, from: Process, message: Message) {
        match self {
            Self::Producer(producer) => producer.message(world, message),
            Self::Consumer(consumer) => consumer.message(world, message),
            Self::Latest(asker) => asker.message(world, message),
            Self::Member(member) => member.message(world, message),
            Self::Final(reader) => reader.message(world, from, message),
            Self::Silent => {}
        }
    }

    pub(crate) fn timer(&mut self, world: &mut World, timer: Timer) {
        match self {
            Self::Producer(producer) => producer.timer(world, timer),
            Self::Consumer(consumer) => consumer.timer(world, timer),
            Self::Latest(asker) => asker.timer(world, timer),
            Self::Member(member) => member.timer(world, timer),
            Self::Final(reader) => reader.timer(world, timer),
            Self::Silent => {}
        }
    }
}

impl World {
    /// A process of the history that nobody else is.
    pub(crate) fn logical(&mut self) -> u32 {
        u32::try_from(self.number() % 1_000_000_000).unwrap_or(0)
    }

    /// Name of a fetch pod's life in the history.
    pub(crate) fn pod_name(&self, node: Node) -> String {
        let process = self.process(node);
        format!("f{}.{}", node.index(), process.life)
    }

    /// A time around a mean.
    pub(crate) fn around(&self, mean: Nanos) -> Nanos {
        mean / 2 + self.faults.below(mean.max(1))
    }
}
