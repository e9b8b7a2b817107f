//! The world: everything there is, and how one event after the other is carried out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use esker_chain::SessionSeal;
use esker_env::{Rng, Shutdown};
use esker_segment::{TailRead, read_tail};
use esker_types::{ClusterId, ObjectHeader, ObjectKind, PartitionIndex, TopicId, TopicPartition};

use crate::client::Client;
use crate::fault::{Fault, Faults};
use crate::fetcher::Fetcher;
use crate::host::{Done, Host, Task};
use crate::journal::Journal;
use crate::leader::Meta;
use crate::message::Message;
use crate::nemesis::Nemesis;
use crate::network::Network;
use crate::node::{FETCHERS, METAS, NODES, Nanos, Node, PODS, Process, Role};
use crate::options::{RunOptions, Settings};
use crate::outside::{Ask, Asked, Outside, RATE_ONE};
use crate::pod::Pod;
use crate::queue::{Event, PutUnderWay, Queue, Timer};
use crate::recorder::Recorder;
use crate::store::{Put, PutResult, Store, StoreReply, put_outcome};
use crate::truth::Truth;

/// The whole simulated world.
pub(crate) struct World {
    pub(crate) options: RunOptions,
    pub(crate) settings: Settings,
    pub(crate) root: Rng,
    pub(crate) cluster: ClusterId,
    pub(crate) topic: TopicId,
    pub(crate) outside: Arc<Outside>,
    pub(crate) queue: Queue,
    pub(crate) faults: Faults,
    pub(crate) network: Network,
    pub(crate) store: Store,
    pub(crate) journal: Journal,
    pub(crate) truth: Truth,
    pub(crate) history: Recorder,
    pub(crate) nemesis: Nemesis,
    pub(crate) hosts: Vec<Host>,
    pub(crate) pods: Vec<Option<Box<Pod>>>,
    pub(crate) fetchers: Vec<Option<Box<Fetcher>>>,
    pub(crate) metas: Vec<Option<Box<Meta>>>,
    pub(crate) clients: Vec<Option<Box<Client>>>,
    puts: BTreeMap<u64, PutUnderWay>,
    finished: Vec<(Process, Done)>,
    numbers: u64,
    values: u64,
    pub(crate) figures: Figures,
    hash: u64,
    pub(crate) healed_at: Option<Nanos>,
    pub(crate) is_over: bool,
    skew: Rng,
}

/// Counts of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) events: u64,
    pub(crate) take_overs: u64,
    pub(crate) zombies: u64,
    pub(crate) acked: u64,
    pub(crate) void_ranges: u64,
}

impl World {
    pub(crate) fn new(options: RunOptions) -> Self {
        let root = Rng::from_seed(options.seed);
        let settings = Settings::draw(&root);
        let outside = Arc::new(Outside::default());
        let ids = root.stream("ids");
        let skew = root.stream("clocks");
        let mut hosts = Vec::new();
        for index in 0..NODES {
            let node = all_nodes(index);
            let rate = drawn_rate(&skew, settings.skew);
            hosts.push(Host::new(&outside, Process { node, life: 0 }, rate, &root));
        }
        let faults = Faults::draw(&root, &options.masked);
        let mut world = Self {
            cluster: ids.cluster_id(),
            topic: ids.topic_id(),
            network: Network::new(settings.network_latency),
            store: Store::new(settings.store_latency),
            journal: Journal::new(),
            truth: Truth::default(),
            history: Recorder::new(),
            nemesis: Nemesis::new(&root),
            pods: (0..PODS).map(|_| None).collect(),
            fetchers: (0..FETCHERS).map(|_| None).collect(),
            metas: (0..METAS).map(|_| None).collect(),
            clients: Vec::new(),
            puts: BTreeMap::new(),
            finished: Vec::new(),
            numbers: 0,
            values: 0,
            figures: Figures::default(),
            hash: 0xcbf2_9ce4_8422_2325,
            healed_at: None,
            is_over: false,
            queue: Queue::default(),
            options,
            settings,
            root,
            outside,
            faults,
            hosts,
            skew,
        };
        for node in Node::servers() {
            world.begin(node);
        }
        let works = world.settings.clients.clone();
        for (index, work) in works.into_iter().enumerate() {
            let client = Client::new(&mut world, index, work);
            world.clients.push(Some(Box::new(client)));
        }
        world
    }

    pub(crate) fn now(&self) -> Nanos {
        self.outside.now()
    }

    /// A number that nobody else has.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// A record's value, used once.
    pub(crate) fn value(&mut self) -> u64 {
        self.values += 1;
        self.values
    }

    pub(crate) fn at(&self, partition: u32) -> TopicPartition {
        TopicPartition {
            topic: self.topic,
            partition: PartitionIndex::new(partition).unwrap_or_default(),
        }
    }

    pub(crate) fn host(&self, node: Node) -> &Host {
        &self.hosts[node.index()]
    }

    pub(crate) fn host_mut(&mut self, node: Node) -> &mut Host {
        &mut self.hosts[node.index()]
    }

    pub(crate) fn process(&self, node: Node) -> Process {
        self.host(node).process
    }

    pub(crate) fn timer(&mut self, process: Process, delay: Nanos, timer: Timer) {
        let at = self.now() + delay;
        self.queue.add(at, Event::Timer(process, timer));
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(17);
    }

    /// Begins the product's part of a process.
    fn begin(&mut self, node: Node) {
        match node.role() {
            Role::Pod(index) => {
                let pod = Pod::new(self, node);
                self.pods[index] = Some(Box::new(pod));
            }
            Role::Fetcher(index) => {
                let fetcher = Fetcher::new(self, node);
                self.fetchers[index] = Some(Box::new(fetcher));
            }
            Role::Meta(index) => {
                let meta = Meta::new(self, node);
                self.metas[index] = Some(Box::new(meta));
            }
            Role::Journal | Role::Client(_) => {}
        }
    }

    /// The process is gone, with all that it held in memory.
    pub(crate) fn kill(&mut self, node: Node) {
        let host = self.host_mut(node);
        host.is_alive = false;
        host.is_paused = false;
        host.stalled.clear();
        host.tasks.clear();
        match node.role() {
            Role::Pod(index) => self.pods[index] = None,
            Role::Fetcher(index) => self.fetchers[index] = None,
            Role::Meta(index) => self.metas[index] = None,
            Role::Journal | Role::Client(_) => {}
        }
    }

    /// A new life at the same place.
    pub(crate) fn restart(&mut self, node: Node) {
        if self.host(node).is_alive {
            return;
        }
        let life = self.host(node).process.life + 1;
        let rate = drawn_rate(&self.skew, self.settings.skew);
        let process = Process { node, life };
        self.hosts[node.index()] = Host::new(&self.outside, process, rate, &self.root);
        self.begin(node);
    }

    pub(crate) fn pause(&mut self, node: Node) {
        self.host_mut(node).is_paused = true;
    }

    /// Goes on, and finds all that came meanwhile.
    pub(crate) fn resume(&mut self, node: Node) {
        let now = self.now();
        let host = self.host_mut(node);
        host.is_paused = false;
        for event in std::mem::take(&mut host.stalled) {
            self.queue.add(now, event);
        }
    }

    /// Starts a future of the product in a process.
    pub(crate) fn spawn(
        &mut self,
        node: Node,
        over: Option<Shutdown>,
        future: impl Future<Output = Done> + 'static,
    ) {
        let task = self.number();
        let future = Box::pin(future);
        self.host_mut(node)
            .tasks
            .insert(task, Task { future, over });
        self.poll(node, task);
    }

    fn poll(&mut self, node: Node, id: u64) {
        let Some(mut task) = self.host_mut(node).tasks.remove(&id) else {
            return;
        };
        if task.over.as_ref().is_some_and(Shutdown::is_requested) {
            return;
        }
        self.outside.begin_task(id);
        let mut context = Context::from_waker(Waker::noop());
        let polled = task.future.as_mut().poll(&mut context);
        for asked in self.outside.take() {
            self.asked(asked);
        }
        match polled {
            Poll::Pending => {
                self.host_mut(node).tasks.insert(id, task);
            }
            Poll::Ready(done) => {
                let process = self.process(node);
                self.finished.push((process, done));
            }
        }
    }

    fn asked(&mut self, asked: Asked) {
        let Asked { process, task, ask } = asked;
        let now = self.now();
        match ask {
            Ask::Sleep(until, sender) => {
                let reply = StoreReply::Slept(sender);
                let asker = process;
                self.queue
                    .add(until.max(now), Event::Reply { asker, task, reply });
            }
            Ask::Put(key, body, sender) => {
                let plan = self.store.plan_put(now, process.node, &mut self.faults);
                let id = self.number();
                let under_way = PutUnderWay {
                    put: Put { key, body },
                    asker: process,
                    task,
                    sender: Some(sender),
                    instead: plan.instead,
                    result: None,
                    events_left: plan.executed.len() + 1,
                };
                self.puts.insert(id, under_way);
                for at in plan.executed {
                    self.queue.add(at, Event::PutExecuted { put: id });
                }
                self.queue
                    .add(plan.answered, Event::PutAnswered { put: id });
            }
            Ask::Get(key, range, sender) => {
                let (executed, answered, plan) = self.store.plan_get(now, &mut self.faults);
                let event = Event::GetExecuted {
                    asker: process,
                    task,
                    ask: Ask::Get(key, range, sender),
                    plan,
                    answered,
                };
                self.queue.add(executed, event);
            }
        }
    }

    fn put_executed(&mut self, id: u64) {
        let Some(under_way) = self.puts.get_mut(&id) else {
            return;
        };
        let created = self.store.create(&under_way.put);
        let result = if created {
            PutResult::Created
        } else {
            PutResult::Exists
        };
        under_way.result.get_or_insert(result);
        let body = created.then(|| under_way.put.body.clone());
        let asker = under_way.asker;
        self.put_over(id);
        let Some(body) = body else {
            return;
        };
        let kind = ObjectHeader::decode(&body).map(|header| header.kind);
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if kind == Ok(ObjectKind::SessionSeal) {
            if let Ok(seal) = SessionSeal::decode(&body) {
                self.truth.seal_created(seal.place);
                self.strike_sealer(asker);
            }
        } else if let Ok(TailRead::Footer(footer)) = read_tail(length, &body) {
            self.truth.segment_created(footer);
        }
    }

    fn put_answered(&mut self, id: u64) {
        let now = self.now();
        let Some(under_way) = self.puts.get_mut(&id) else {
            return;
        };
        let result = under_way.instead.or(under_way.result);
        let outcome = put_outcome(&under_way.put.key, result.unwrap_or(PutResult::Unknown));
        let (asker, task) = (under_way.asker, under_way.task);
        if let Some(sender) = under_way.sender.take() {
            let reply = StoreReply::Put(sender, outcome);
            self.queue.add(now, Event::Reply { asker, task, reply });
        }
        self.put_over(id);
    }

    fn put_over(&mut self, id: u64) {
        if let Some(under_way) = self.puts.get_mut(&id) {
            under_way.events_left -= 1;
            if under_way.events_left == 0 {
                self.puts.remove(&id);
            }
        }
    }

    /// Carries out what happens next; false when nothing does.
    pub(crate) fn step(&mut self) -> bool {
        let Some((at, event)) = self.queue.next() else {
            return false;
        };
        self.outside.set_now(at);
        self.happen(event);
        while !self.finished.is_empty() {
            for (process, done) in std::mem::take(&mut self.finished) {
                if self.process(process.node) == process {
                    self.done(process.node, done);
                }
            }
        }
        true
    }

    fn happen(&mut self, event: Event) {
        if let Event::Reply { reply, .. } = &event
            && !reply.is_awaited()
        {
            return;
        }
        self.figures.events += 1;
        let process = match &event {
            Event::Message { to, to_life, .. } => {
                let here = self.process(*to);
                let is_meant = to_life.is_none_or(|life| life == here.life);
                is_meant.then_some(here)
            }
            Event::Timer(process, _) => Some(*process),
            Event::Reply { asker, .. } => Some(*asker),
            _ => return self.outside_happens(event),
        };
        let Some(process) = process else {
            return;
        };
        let host = self.host_mut(process.node);
        if host.process != process || !host.is_alive {
            return;
        }
        if host.is_paused {
            host.stalled.push_back(event);
            return;
        }
        self.trace(&event);
        match event {
            Event::Message {
                from, to, message, ..
            } => {
                let (kind, number) = message.kind();
                let length = u64::try_from(kind.len()).unwrap_or(0);
                self.mix(number ^ (length << 40) ^ (to.number() << 56));
                self.message(from, to, message);
            }
            Event::Timer(process, timer) => {
                self.mix(process.node.number() << 8);
                self.timer_rings(process, timer);
            }
            Event::Reply { task, reply, .. } => {
                self.mix(task);
                reply.deliver();
                self.poll(process.node, task);
            }
            _ => {}
        }
        let now = self.now();
        self.mix(now);
    }

    fn outside_happens(&mut self, event: Event) {
        self.trace(&event);
        match event {
            Event::PutExecuted { put } => self.put_executed(put),
            Event::PutAnswered { put } => self.put_answered(put),
            Event::GetExecuted {
                asker,
                task,
                ask,
                plan,
                answered,
            } => {
                if let Ask::Get(key, range, sender) = ask {
                    let read = self.store.read(&key, range, plan, &self.faults);
                    let reply = StoreReply::Get(sender, read);
                    self.queue
                        .add(answered, Event::Reply { asker, task, reply });
                }
            }
            Event::Episode => self.episode(),
            Event::Ends(fault, one, other) => self.episode_ends(fault, one, other),
            Event::Heal => self.heal(),
            Event::Settled => self.look_settled(),
            Event::Message { .. } | Event::Timer(..) | Event::Reply { .. } => {}
        }
    }

    fn message(&mut self, from: Process, to: Node, message: Message) {
        match to.role() {
            Role::Pod(index) => {
                if let Some(mut pod) = self.pods[index].take() {
                    pod.message(self, from, message);
                    self.pods[index] = Some(pod);
                }
            }
            Role::Fetcher(index) => {
                if let Some(mut fetcher) = self.fetchers[index].take() {
                    fetcher.message(self, from, message);
                    self.fetchers[index] = Some(fetcher);
                }
            }
            Role::Meta(index) => {
                if let Some(mut meta) = self.metas[index].take() {
                    meta.message(self, from, message);
                    self.metas[index] = Some(meta);
                }
            }
            Role::Journal => self.journal_asked(from, message),
            Role::Client(index) => {
                if let Some(mut client) = self.clients.get_mut(index).and_then(Option::take) {
                    client.message(self, from, message);
                    self.clients[index] = Some(client);
                }
            }
        }
    }

    fn timer_rings(&mut self, process: Process, timer: Timer) {
        match process.node.role() {
            Role::Pod(index) => {
                if let Some(mut pod) = self.pods[index].take() {
                    pod.timer(self, timer);
                    self.pods[index] = Some(pod);
                }
            }
            Role::Fetcher(index) => {
                if let Some(mut fetcher) = self.fetchers[index].take() {
                    fetcher.timer(self, timer);
                    self.fetchers[index] = Some(fetcher);
                }
            }
            Role::Meta(index) => {
                if let Some(mut meta) = self.metas[index].take() {
                    meta.timer(self, timer);
                    self.metas[index] = Some(meta);
                }
            }
            Role::Journal => {}
            Role::Client(index) => {
                if let Some(mut client) = self.clients.get_mut(index).and_then(Option::take) {
                    client.timer(self, timer);
                    self.clients[index] = Some(client);
                }
            }
        }
    }

    /// A future ended. Told when the event is over: its owner may have been the one that began it.
    fn done(&mut self, node: Node, done: Done) {
        match node.role() {
            Role::Pod(index) => {
                if let Some(mut pod) = self.pods[index].take() {
                    pod.done(self, done);
                    self.pods[index] = Some(pod);
                }
            }
            Role::Fetcher(index) => {
                if let Some(mut fetcher) = self.fetchers[index].take() {
                    fetcher.done(self, done);
                    self.fetchers[index] = Some(fetcher);
                }
            }
            Role::Meta(index) => {
                if let Some(mut meta) = self.metas[index].take() {
                    meta.done(self, done);
                    self.metas[index] = Some(meta);
                }
            }
            Role::Journal | Role::Client(_) => {}
        }
    }

    fn journal_asked(&mut self, from: Process, message: Message) {
        let answer = match message {
            Message::Open(call) => Message::Opened(call, self.journal.open()),
            Message::Append(epoch, first, commands) => {
                let next = self
                    .journal
                    .append(epoch, first, &commands, &mut self.truth);
                Message::Appended(epoch, next)
            }
            Message::Check(call, epoch) => Message::Checked(call, self.journal.is_owner(epoch)),
            _ => return,
        };
        if !self.faults.strikes(Fault::JournalReplyLost) {
            self.send_back(Node::JOURNAL, from, answer);
        }
    }

    fn trace(&self, event: &Event) {
        if self.options.trace {
            let millis = self.now() / 1_000;
            let text = format!("{event:?}");
            let short: String = text.chars().take(300).collect();
            crate::report::tell(&format!("{millis:>12} us {short}"));
        }
    }
}

fn all_nodes(index: usize) -> Node {
    let servers = Node::servers().nth(index);
    let clients_from = Node::client(0).index();
    match servers {
        Some(node) => node,
        None if index < clients_from => Node::JOURNAL,
        None => Node::client(index - clients_from),
    }
}

fn drawn_rate(rng: &Rng, skew: u64) -> u64 {
    RATE_ONE - skew + rng.below(2 * skew + 1)
}
