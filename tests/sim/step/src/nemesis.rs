//! Episodes of faults: outages, partitions, kills, pauses, second leaders; and their end.

use esker_env::Rng;
use esker_history::format::{Absence, Note, Range};

use crate::client::{Client, Identity};
use crate::fault::Fault;
use crate::final_reader::{FinalReader, note_whole};
use crate::node::{CLIENTS_MAX, FETCHERS, METAS, MILLI, Nanos, Node, PODS, Process, SECOND};
use crate::queue::{Event, Timer};
use crate::recorder::key;
use crate::world::World;

/// All acknowledged records are readable, and acknowledgements flow, so long after the healing.
const LIVENESS: Nanos = 30 * SECOND;
/// The last reading is over by then.
const READING: Nanos = 3600 * SECOND;

/// Draws what strikes whom.
#[derive(Debug)]
pub(crate) struct Nemesis {
    rng: Rng,
    readers: Vec<usize>,
    all_sent: bool,
}

impl Nemesis {
    pub(crate) fn new(root: &Rng) -> Self {
        Self {
            rng: root.stream("episodes"),
            readers: Vec::new(),
            all_sent: false,
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    fn index(&self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(1);
        usize::try_from(self.rng.below(bound)).unwrap_or(0)
    }
}

impl World {
    /// Schedules the first episode and the healing.
    pub(crate) fn begin_faults(&mut self) {
        let first = self.settings.calm / 2 + self.nemesis.below(self.settings.calm);
        self.queue.add(first, Event::Episode);
        let heal = self.options.minutes.saturating_mul(60 * SECOND);
        self.queue.add(heal, Event::Heal);
    }

    pub(crate) fn episode(&mut self) {
        if !self.faults.are_on() {
            return;
        }
        let now = self.now();
        let next = now + self.settings.calm / 2 + self.nemesis.below(self.settings.calm);
        self.queue.add(next, Event::Episode);
        let Some(fault) = self.faults.episode() else {
            return;
        };
        let length = SECOND / 4
            + self.nemesis.below(match self.nemesis.below(3) {
                0 => SECOND,
                1 => 12 * SECOND,
                _ => 60 * SECOND,
            });
        self.strike(fault, now + length);
    }

    fn strike(&mut self, fault: Fault, until: Nanos) {
        let pod = Node::pod(self.nemesis.index(PODS));
        let fetcher = Node::fetcher(self.nemesis.index(FETCHERS));
        let leader = self.leading().unwrap_or(Node::meta(0));
        let target = match fault {
            Fault::PodKilled | Fault::PodPaused => pod,
            Fault::FetcherKilled | Fault::FetcherPaused => fetcher,
            _ => leader,
        };
        match fault {
            Fault::StoreOutage => self.store.outage_until = self.now() + (until - self.now()) / 2,
            Fault::CutBoth | Fault::CutOneWay => self.cut(fault, until),
            Fault::PodKilled | Fault::FetcherKilled | Fault::MetaKilled => {
                if !self.host(target).is_alive {
                    return;
                }
                self.kill(target);
                self.queue.add(until, Event::Ends(fault, target, target));
            }
            Fault::PodPaused | Fault::MetaPaused | Fault::FetcherPaused => {
                let host = self.host(target);
                if !host.is_alive || host.is_paused {
                    return;
                }
                self.pause(target);
                self.queue.add(until, Event::Ends(fault, target, target));
            }
            Fault::SecondLeader => self.usurp(leader),
            Fault::GreyWay => self.store.grey_until.extend([(pod, until)]),
            Fault::WallJump => {
                let jump = self.nemesis.below(7_200_000);
                let jump = i64::try_from(jump).unwrap_or(0) - 3_600_000;
                let wall = &self.host(target).wall_millis;
                wall.fetch_add(jump, std::sync::atomic::Ordering::Relaxed);
            }
            Fault::ClientCut => self.cut_clients(),
            _ => return,
        }
        self.faults.count(fault);
    }

    /// The other candidate takes over.
    fn usurp(&mut self, leader: Node) {
        let second = (0..METAS).find(|index| Node::meta(*index) != leader);
        let second = second.unwrap_or(0);
        if let Some(mut meta) = self.metas[second].take() {
            meta.usurp(self);
            self.metas[second] = Some(meta);
        }
    }

    /// A candidate's seal stands, and it knows nothing of it yet: it dies, or another takes over.
    pub(crate) fn strike_sealer(&mut self, sealer: Process) {
        let is_there = self.process(sealer.node) == sealer && self.host(sealer.node).is_alive;
        if !is_there || !self.faults.strikes(Fault::SealerStruck) {
            return;
        }
        if self.nemesis.below(2) == 0 {
            self.usurp(sealer.node);
            return;
        }
        self.kill(sealer.node);
        let until = self.now() + SECOND / 4 + self.nemesis.below(12 * SECOND);
        let ends = Event::Ends(Fault::MetaKilled, sealer.node, sealer.node);
        self.queue.add(until, ends);
    }

    fn leading(&self) -> Option<Node> {
        let leads = |index: &usize| {
            self.metas[*index]
                .as_ref()
                .is_some_and(|one| one.is_leading())
        };
        (0..METAS).find(leads).map(Node::meta)
    }

    fn cut(&mut self, fault: Fault, until: Nanos) {
        let nodes: Vec<Node> = Node::servers().chain([Node::JOURNAL]).collect();
        let one = nodes[self.nemesis.index(nodes.len())];
        let other = nodes[self.nemesis.index(nodes.len())];
        let is_isolated = self.nemesis.below(2) == 0;
        let clients = (0..CLIENTS_MAX).map(Node::client);
        let others: Vec<Node> = match is_isolated {
            true => nodes.into_iter().chain(clients).collect(),
            false => vec![other],
        };
        for other in others {
            self.network.cut(one, other, until);
            if fault == Fault::CutBoth {
                self.network.cut(other, one, until);
            }
        }
    }

    fn cut_clients(&mut self) {
        for index in 0..self.clients.len() {
            let Some(mut client) = self.clients[index].take() else {
                continue;
            };
            if let Client::Producer(producer) = &mut *client {
                producer.reconnect(self, true);
            }
            self.clients[index] = Some(client);
        }
    }

    pub(crate) fn episode_ends(&mut self, fault: Fault, node: Node, _: Node) {
        match fault {
            Fault::PodKilled | Fault::FetcherKilled | Fault::MetaKilled => self.restart(node),
            Fault::PodPaused | Fault::MetaPaused | Fault::FetcherPaused => {
                let life = self.host(node);
                if life.is_alive && life.is_paused {
                    if fault == Fault::MetaPaused && self.has_successor(node) {
                        self.figures.zombies += 1;
                    }
                    self.resume(node);
                }
            }
            _ => {}
        }
    }

    fn has_successor(&self, node: Node) -> bool {
        let others = (0..METAS).filter(|index| Node::meta(*index) != node);
        let mut others = others.filter_map(|index| self.metas[index].as_ref());
        others.any(|meta| meta.is_leading())
    }

    pub(crate) fn heal(&mut self) {
        self.faults.heal();
        self.network.heal();
        self.store.outage_until = 0;
        self.store.grey_until.clear();
        self.settings.habits.calm_down();
        for node in Node::servers() {
            self.restart(node);
            self.resume(node);
        }
        let now = self.now();
        self.healed_at = Some(now);
        self.queue.add(now + SECOND, Event::Settled);
    }

    /// Liveness, then the last reading, then the end.
    pub(crate) fn look_settled(&mut self) {
        let now = self.now();
        let waited = now - self.healed_at.unwrap_or(now);
        self.queue.add(now + SECOND / 2, Event::Settled);
        if !self.nemesis.all_sent {
            let is_idle = |client: &Option<Box<Client>>| match client.as_deref() {
                Some(Client::Producer(producer)) => producer.is_idle(),
                _ => true,
            };
            if waited > 3 * SECOND && self.clients.iter().all(is_idle) {
                self.nemesis.all_sent = true;
                self.begin_reading();
            } else if waited > LIVENESS {
                let what = "acknowledgements do not flow 30 s after the healing";
                self.truth.violate("P7", what.to_owned());
            }
            return;
        }
        let readers = self.nemesis.readers.iter();
        let readers = readers.filter_map(|index| self.clients[*index].as_deref());
        let (mut tails, mut done) = (true, true);
        for reader in readers {
            if let Client::Final(reader) = reader {
                tails &= reader.has_seen_tails;
                done &= reader.is_done;
            }
        }
        if !tails && waited > LIVENESS {
            let what = "acknowledged records are not readable 30 s after the healing";
            self.truth.violate("P7", what.to_owned());
        } else if !done && waited > READING {
            self.truth
                .violate("P7", "the last reading does not end".to_owned());
        } else if done {
            self.conclude();
        }
    }

    fn begin_reading(&mut self) {
        for index in 0..FETCHERS {
            let number = CLIENTS_MAX - 1 - index;
            let process = self.process(Node::client(number));
            let p = self.logical();
            while self.clients.len() <= number {
                self.clients.push(Some(Box::new(Client::Silent)));
            }
            let reader = FinalReader::new(Identity { process, p }, Node::fetcher(index));
            self.clients[number] = Some(Box::new(Client::Final(reader)));
            self.nemesis.readers.push(number);
            self.timer(process, MILLI, Timer::Tick);
        }
    }

    /// Notes what the run knows: void ranges, and that all was read.
    fn conclude(&mut self) {
        let now = self.now();
        for partition in 0..self.settings.partitions {
            let at = self.at(partition);
            let gaps = self.truth.logs.get(&at).map(crate::truth::Log::gaps);
            for (from, to) in gaps.unwrap_or_default() {
                let range = Range {
                    key: key(partition),
                    from,
                    to,
                    why: Absence::Void,
                };
                self.figures.void_ranges += 1;
                self.history.note(now, Note::Range(range));
            }
            note_whole(self, partition);
        }
        self.is_over = true;
    }
}
