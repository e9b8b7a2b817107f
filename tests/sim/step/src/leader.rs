//! A metadata candidate: stands by, takes over, leads; deposed, it stands by again.
//!
//! What it decides as a leader is the product's: `Sequencer`, `LogState`, `GroupCoordinator`. The
//! driver's own: when a standby takes over, the order of journal writes, R1's wait (serving.rs).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use esker_chain::{Chain, LookError, PlaceHolder, SealError, WalkEnd};
use esker_env::Clock as _;
use esker_groups::{GroupConfig, GroupCoordinator, GroupOffsets, Moment, Ticket};
use esker_metadata_api::{GroupReply, ReserveReply};
use esker_sequencer::{
    Barrier, LogState, Probe, Sequencer, SequencerConfig, SessionToWalk, WalkedSession,
};
use esker_types::{MonotonicTime, SegmentId, SequencerEpoch, SessionId};

use crate::host::Done;
use crate::message::{Command, Message, Opened};
use crate::node::{MILLI, Nanos, Node, Process, SECOND};
use crate::queue::Timer;
use crate::world::World;

/// Pause between two looks of a standby.
const STANDBY_LOOK: Nanos = SECOND;
/// A journal write that is not answered is sent again after this.
pub(crate) const JOURNAL_TIMEOUT: Nanos = 2 * SECOND;
/// Commands of one journal write.
const COMMANDS_MAX: usize = 64;

/// What follows a durable command.
#[derive(Debug)]
pub(crate) enum Pending {
    Nobody,
    Registered {
        session: SessionId,
        replaces: Option<SessionId>,
        pod: Process,
        call: u64,
    },
    Group(Option<(Ticket, GroupReply)>),
}

/// An answer that must be current (R1).
#[derive(Debug)]
pub(crate) enum Question {
    Latest(Process, u64, Barrier),
    Reserve(Process, u64, ReserveReply),
    Group(Process, u64, GroupReply),
}

/// A leadership.
pub(crate) struct Leader {
    pub(crate) process: Process,
    pub(crate) epoch: u64,
    pub(crate) state: LogState,
    pub(crate) offsets: GroupOffsets,
    pub(crate) sequencer: Sequencer,
    pub(crate) groups: GroupCoordinator,
    pub(crate) chain: Chain,
    /// Commands that are not known to be durable, the first of them with this number.
    pub(crate) outbox: VecDeque<(Command, Pending)>,
    pub(crate) first: u64,
    pub(crate) writing_since: Option<Nanos>,
    pub(crate) enders: BTreeMap<SessionId, Vec<(Process, u64)>>,
    pub(crate) tickets: BTreeMap<u64, (Process, u64)>,
    pub(crate) followers: Vec<(Process, u64, u64)>,
    /// For the next check; served by the one under way; checked and undecided.
    pub(crate) arrived: Vec<Question>,
    pub(crate) checking: Vec<Question>,
    pub(crate) undecided: Vec<(Question, Nanos)>,
    pub(crate) check: Option<(u64, Nanos)>,
    pub(crate) decisions: u64,
    pub(crate) was_serving: bool,
    pub(crate) checkpointed_at: MonotonicTime,
    pub(crate) fed_at: Nanos,
    pub(crate) is_deposed: bool,
}

enum Stage {
    Standby,
    /// The journal is being opened.
    Opening(u64, Nanos),
    Walking {
        opened: Arc<Opened>,
        left: usize,
        walked: Vec<WalkedSession>,
    },
    Leading(Box<Leader>),
}

/// One life of a candidate.
pub(crate) struct Meta {
    process: Process,
    stage: Stage,
    misses: u32,
    ping: u64,
}

impl Meta {
    pub(crate) fn new(world: &mut World, node: Node) -> Self {
        let process = world.process(node);
        world.timer(process, MILLI, Timer::Tick);
        let is_first = node == Node::meta(0) && process.life == 0;
        Self {
            process,
            stage: Stage::Standby,
            misses: if is_first { 100 } else { 0 },
            ping: 0,
        }
    }

    pub(crate) fn is_leading(&self) -> bool {
        matches!(&self.stage, Stage::Leading(_))
    }

    /// Takes over, whoever leads.
    pub(crate) fn usurp(&mut self, world: &mut World) {
        if matches!(self.stage, Stage::Standby) {
            self.open(world);
        }
    }

    fn other(&self) -> Node {
        match self.process.node == Node::meta(0) {
            true => Node::meta(1),
            false => Node::meta(0),
        }
    }

    fn open(&mut self, world: &mut World) {
        let call = world.number();
        self.stage = Stage::Opening(call, world.now());
        world.send(self.process, Node::JOURNAL, Message::Open(call));
    }

    pub(crate) fn timer(&mut self, world: &mut World, timer: Timer) {
        match (&mut self.stage, timer) {
            (Stage::Leading(leader), Timer::Tick) => leader.tick(world),
            (Stage::Opening(_, since), Timer::Tick)
                if world.now() > *since + 2 * JOURNAL_TIMEOUT =>
            {
                self.open(world);
            }
            (Stage::Standby, Timer::Tick) => self.look(world),
            _ => {}
        }
        self.settle(world);
        if timer == Timer::Tick {
            let delay = match &self.stage {
                Stage::Leading(leader) => leader.tick_delay(world),
                _ => STANDBY_LOOK,
            };
            world.timer(self.process, delay, Timer::Tick);
        }
    }

    fn look(&mut self, world: &mut World) {
        self.misses += 1;
        if self.misses > world.settings.standby_misses {
            self.open(world);
            return;
        }
        self.ping = world.number();
        world.send(self.process, self.other(), Message::Ping(self.ping));
    }

    pub(crate) fn message(&mut self, world: &mut World, from: Process, message: Message) {
        match (message, &mut self.stage) {
            (Message::Ping(call), _) => {
                let leads = self.is_leading();
                world.send_back(self.process.node, from, Message::Pong(call, leads));
            }
            (Message::Pong(call, true), Stage::Standby) if call == self.ping => self.misses = 0,
            (Message::Opened(call, opened), Stage::Opening(asked, _)) if call == *asked => {
                self.opened(world, opened);
            }
            (message, Stage::Leading(leader)) => leader.message(world, from, message),
            (message, _) => crate::serving::refuse(world, self.process.node, from, &message),
        }
        self.settle(world);
    }

    /// Step 3 of the take-over: every session that is not fully read, to its end.
    fn opened(&mut self, world: &mut World, opened: Arc<Opened>) {
        world.figures.take_overs += 1;
        let node = self.process.node;
        let chain = world.host(node).chain(world.cluster);
        let chain = chain.sealing_as(SequencerEpoch::new(opened.epoch));
        let to_walk = opened.log.sessions_to_walk();
        self.stage = Stage::Walking {
            opened,
            left: to_walk.len(),
            walked: Vec::new(),
        };
        for session in to_walk {
            let env = world.host(node).env.clone();
            world.spawn(node, None, walk(chain.clone(), env, session));
        }
    }

    pub(crate) fn done(&mut self, world: &mut World, done: Done) {
        match (done, &mut self.stage) {
            (Done::Damaged(what), _) => world.truth.violate("CP17", what),
            (Done::Walked(session), Stage::Walking { left, walked, .. }) => {
                *left -= 1;
                walked.push(session);
            }
            (done, Stage::Leading(leader)) => leader.chain_done(world, done),
            _ => {}
        }
        self.settle(world);
    }

    /// What every turn ends with.
    fn settle(&mut self, world: &mut World) {
        if matches!(&self.stage, Stage::Walking { left: 0, .. }) {
            self.begin(world);
        }
        if let Stage::Leading(leader) = &mut self.stage {
            leader.settle(world);
            if leader.is_deposed {
                self.stage = Stage::Standby;
                self.misses = 0;
                // Its own futures ask for nobody any more.
                world.host_mut(self.process.node).tasks.clear();
            }
        }
    }

    /// Steps 4 and 5: the sequencer of the new epoch, whose decisions are not durable yet.
    fn begin(&mut self, world: &mut World) {
        let stage = std::mem::replace(&mut self.stage, Stage::Standby);
        let Stage::Walking { opened, walked, .. } = stage else {
            return;
        };
        let epoch = SequencerEpoch::new(opened.epoch);
        let config = SequencerConfig {
            stall_deadline: world.settings.stall_deadline,
            take_over_grace: world.settings.take_over_grace,
            ..SequencerConfig::default()
        };
        let recovered = Sequencer::recover(epoch, config, &opened.log, &|_| true, walked);
        let recovered = match recovered {
            Ok(recovered) => recovered,
            Err(error) => {
                world
                    .truth
                    .violate("CP2", format!("recovery failed: {error}"));
                return;
            }
        };
        let host = world.host(self.process.node);
        let now = host.clock.now();
        let groups = GroupConfig {
            initial_rebalance_delay: world.settings.rebalance_delay,
            ..GroupConfig::default()
        };
        let chain = host.chain(world.cluster).sealing_as(epoch);
        let mut leader = Box::new(Leader {
            process: self.process,
            epoch: opened.epoch,
            state: opened.log.clone(),
            groups: GroupCoordinator::recovered(groups, &opened.groups, now),
            offsets: opened.groups.clone(),
            sequencer: recovered.sequencer,
            chain,
            outbox: VecDeque::new(),
            first: 0,
            writing_since: None,
            enders: BTreeMap::new(),
            tickets: BTreeMap::new(),
            followers: Vec::new(),
            arrived: Vec::new(),
            checking: Vec::new(),
            undecided: Vec::new(),
            check: None,
            decisions: 0,
            was_serving: false,
            checkpointed_at: now,
            fed_at: 0,
            is_deposed: false,
        });
        for command in recovered.commands {
            leader.append(Command::Log(command), Pending::Nobody);
        }
        self.stage = Stage::Leading(leader);
        world.timer(self.process, MILLI, Timer::Step);
    }
}

impl Leader {
    pub(crate) fn now(&self, world: &World) -> MonotonicTime {
        world.host(self.process.node).clock.now()
    }

    pub(crate) fn moment(&self, world: &World) -> Moment {
        let clock = &world.host(self.process.node).clock;
        Moment {
            now: clock.now(),
            wall: clock.wall(),
        }
    }

    pub(crate) fn append(&mut self, command: Command, pending: Pending) {
        self.outbox.push_back((command, pending));
    }

    /// One write at a time, sent again until it is answered: commands have numbers.
    pub(crate) fn write(&mut self, world: &mut World) {
        let now = world.now();
        let is_waiting = self
            .writing_since
            .is_some_and(|since| now < since + JOURNAL_TIMEOUT);
        if self.outbox.is_empty() || is_waiting {
            return;
        }
        self.writing_since = Some(now);
        let commands = self.outbox.iter().take(COMMANDS_MAX);
        let commands = commands.map(|(command, _)| command.clone()).collect();
        let message = Message::Append(self.epoch, self.first, Arc::new(commands));
        world.send(self.process, Node::JOURNAL, message);
    }

    pub(crate) fn appended(&mut self, world: &mut World, next: Option<u64>) {
        let Some(next) = next else {
            self.is_deposed = true;
            return;
        };
        while self.first < next {
            let Some((command, pending)) = self.outbox.pop_front() else {
                break;
            };
            self.first += 1;
            self.durable(world, command, pending);
        }
        self.writing_since = None;
    }

    fn durable(&mut self, world: &mut World, command: Command, pending: Pending) {
        match command {
            Command::Log(command) => {
                if let Err(error) = self.state.apply(&command, &|_| true) {
                    let what = format!("a leader's own command does not fit: {error}");
                    world.truth.violate("CP16", what);
                    return;
                }
                let now = self.now(world);
                let effects = self.sequencer.command_applied(&self.state, &command, now);
                self.sequencer_effects(world, effects);
                if let Pending::Registered {
                    session,
                    replaces,
                    pod,
                    call,
                } = pending
                {
                    self.registered(world, session, replaces, (pod, call));
                }
            }
            Command::Group(command) => {
                self.offsets.apply(&command, &|_| true);
                let moment = self.moment(world);
                let effects = self.groups.command_applied(moment, &command);
                self.group_effects(world, effects);
                if let Pending::Group(Some((ticket, reply))) = pending {
                    self.group_reply(world, ticket, reply);
                }
            }
        }
    }

    /// What a look or a seal came to, as `chain_work.rs` of the product tells it.
    fn chain_done(&mut self, world: &mut World, done: Done) {
        let now = self.now(world);
        let effects = match done {
            Done::Probed(segment, probe) => self.sequencer.probed(&self.state, segment, probe, now),
            Done::Sealed(session, end) => self.sequencer.sealed_at(&self.state, session, end, now),
            Done::SealFailed(session) => {
                self.sequencer.seal_failed(session, now);
                return;
            }
            _ => return,
        };
        self.sequencer_effects(world, effects);
    }
}

/// Reads one chain, again and again until it is read.
async fn walk(chain: Chain, env: esker_env::Env, to_walk: SessionToWalk) -> Done {
    let until = to_walk.end.map_or(WalkEnd::Open, WalkEnd::At);
    loop {
        match chain.walk(to_walk.session, to_walk.from, until).await {
            Ok(walked) => {
                return Done::Walked(WalkedSession {
                    session: to_walk.session,
                    segments: walked.segments,
                    end: walked.end,
                });
            }
            Err(error) if error.is_damage() => return Done::Damaged(error.to_string()),
            Err(_) => env.clock.sleep(std::time::Duration::from_millis(500)).await,
        }
    }
}

/// Looks at a place.
pub(crate) async fn probe(chain: Chain, segment: SegmentId) -> Done {
    match chain.look(segment).await {
        Ok(PlaceHolder::Missing) => Done::Probed(segment, Probe::Missing),
        Ok(PlaceHolder::Segment(_)) => Done::Probed(segment, Probe::Segment),
        Ok(PlaceHolder::Seal) => Done::Probed(segment, Probe::Seal),
        Err(LookError::Store { .. }) => Done::Probed(segment, Probe::Unknown),
        Err(error @ LookError::Foreign { .. }) => Done::Damaged(error.to_string()),
    }
}

/// Seals a place.
pub(crate) async fn seal(chain: Chain, segment: SegmentId) -> Done {
    match chain.seal(segment).await {
        Ok(PlaceHolder::Seal) => Done::Sealed(segment.session, segment.index),
        Ok(PlaceHolder::Segment(_)) => Done::Probed(segment, Probe::Segment),
        Ok(PlaceHolder::Missing) => Done::SealFailed(segment.session),
        Err(SealError::Refused { .. } | SealError::Indeterminate { .. }) => {
            Done::SealFailed(segment.session)
        }
        Err(error @ SealError::Foreign { .. }) => Done::Damaged(error.to_string()),
    }
}
