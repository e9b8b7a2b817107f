//! A leader at work: takes calls in, carries out what the cores want, holds back what must be
//! current until a check of its epoch began after the question (R1, R2), as `leader.rs` of the
//! product does.

use std::sync::Arc;

use esker_groups::{GroupEffect, MemberSeed, Ticket};
use esker_metadata_api::{
    GroupError, GroupReply, GroupRequest, MetadataError, Registered, ReserveError, ReserveRequest,
    SessionEnd,
};
use esker_sequencer::{Effect, EndAnswer, has_final_refusal};
use esker_types::{Offset, SegmentId, SequencerEpoch, SessionId};

use crate::leader::{JOURNAL_TIMEOUT, Leader, Pending, Question, probe, seal};
use crate::member::GROUP;
use crate::message::{Command, Message};
use crate::node::{MILLI, Nanos, Node, Process, SECOND};
use crate::world::World;

const TICK_MIN: Nanos = 20 * MILLI;
const TICK_MAX: Nanos = 500 * MILLI;
/// Undecided ranges hold a question up for no longer.
const UNDECIDED_WAIT: Nanos = 10 * SECOND;
/// A leader that nobody asks looks whether it still is one.
const DEPOSED_CHECK: Nanos = 5 * SECOND;
const FEED_LIFE_SIGN: Nanos = SECOND;

/// Says to a call that no leader is here.
pub(crate) fn refuse(world: &mut World, node: Node, from: Process, message: &Message) {
    let unavailable = MetadataError::Unavailable;
    let answer = match message {
        Message::Register(call, _) => Message::Registered(*call, Err(unavailable)),
        Message::Reserve(call, _) => {
            Message::Reserved(*call, Err(ReserveError::Metadata(unavailable)))
        }
        Message::EndSession(call, _) => Message::Ended(*call, None),
        Message::Latest(call, _) => Message::LatestDone(*call, None),
        Message::LookUp { call, .. } => Message::LookedUp(*call, None),
        Message::Group(call, _) => Message::Grouped(*call, Err(unavailable)),
        _ => return,
    };
    world.send_back(node, from, answer);
}

impl Leader {
    pub(crate) fn message(&mut self, world: &mut World, from: Process, message: Message) {
        match message {
            Message::Appended(epoch, next) if epoch == self.epoch => self.appended(world, next),
            Message::Appended(..) => {}
            Message::Checked(call, is_owner) => self.checked(world, call, is_owner),
            message if !self.sequencer.is_serving() => {
                refuse(world, self.process.node, from, &message);
            }
            Message::Register(call, replaces) => self.register(world, (from, call), replaces),
            Message::Reserve(call, request) => self.reserve(world, (from, call), &request),
            Message::Written(call, report) => {
                let now = self.now(world);
                let effects = self.sequencer.written(&self.state, &report, now);
                self.sequencer_effects(world, effects);
                world.send_back(self.process.node, from, Message::Heard(call));
            }
            Message::EndSession(call, session) => self.end_asked(world, (from, call), session),
            Message::Follow(stream) => {
                self.followers
                    .retain(|(process, ..)| process.node != from.node);
                self.followers.push((from, stream, 0));
                self.feed(world, None);
            }
            Message::LookUp {
                call,
                partition,
                offset,
                extents_max,
            } => {
                let at = world.at(partition);
                let offset = Offset::new(offset).unwrap_or_default();
                let slice = self.sequencer.look_up(&self.state, at, offset, extents_max);
                let answer = Message::LookedUp(call, Some(Arc::new(slice)));
                world.send_back(self.process.node, from, answer);
            }
            Message::Latest(call, partition) => {
                let barrier = self.sequencer.barrier(world.at(partition));
                self.arrived.push(Question::Latest(from, call, barrier));
                self.start_check(world);
            }
            Message::Group(call, request) => self.group(world, (from, call), &request),
            _ => {}
        }
    }

    fn register(
        &mut self,
        world: &mut World,
        (pod, call): (Process, u64),
        replaces: Option<SessionId>,
    ) {
        let session = world.host(self.process.node).env.rng.session_id();
        match self.sequencer.register(session) {
            Ok(command) => {
                let pending = Pending::Registered {
                    session,
                    replaces,
                    pod,
                    call,
                };
                self.append(Command::Log(command), pending);
            }
            Err(_) => {
                let answer = Message::Registered(call, Err(MetadataError::Overloaded));
                world.send_back(self.process.node, pod, answer);
            }
        }
    }

    pub(crate) fn registered(
        &mut self,
        world: &mut World,
        session: SessionId,
        replaces: Option<SessionId>,
        (pod, call): (Process, u64),
    ) {
        world.truth.registered(session);
        let registered = Registered {
            session,
            epoch: SequencerEpoch::new(self.epoch),
            cluster: world.cluster,
        };
        let answer = Message::Registered(call, Ok(registered));
        world.send_back(self.process.node, pod, answer);
        if let Some(old) = replaces {
            let now = self.now(world);
            let (_, effects) = self.sequencer.end_requested(&self.state, old, now);
            self.sequencer_effects(world, effects);
        }
    }

    fn reserve(
        &mut self,
        world: &mut World,
        (pod, call): (Process, u64),
        request: &ReserveRequest,
    ) {
        let now = self.now(world);
        let (outcome, effects) = self.sequencer.reserve(&self.state, &|_| true, request, now);
        self.sequencer_effects(world, effects);
        if outcome.is_ok() {
            world.truth.reserved(request.session, self.epoch);
        }
        match outcome {
            Ok(answer) if has_final_refusal(&answer) => {
                self.arrived.push(Question::Reserve(pod, call, answer));
                self.start_check(world);
            }
            outcome => {
                let answer = Message::Reserved(call, outcome);
                world.send_back(self.process.node, pod, answer);
            }
        }
    }

    fn end_asked(&mut self, world: &mut World, (pod, call): (Process, u64), session: SessionId) {
        let now = self.now(world);
        let (answer, effects) = self.sequencer.end_requested(&self.state, session, now);
        self.sequencer_effects(world, effects);
        match answer {
            EndAnswer::Ended(end) => self.tell_end(world, (pod, call), session, end),
            EndAnswer::Pending => self.enders.entry(session).or_default().push((pod, call)),
            EndAnswer::Unknown => {
                world.send_back(self.process.node, pod, Message::Ended(call, None));
            }
        }
    }

    fn tell_end(
        &mut self,
        world: &mut World,
        (pod, call): (Process, u64),
        session: SessionId,
        end: SessionEnd,
    ) {
        world.truth.told_end(session, end.end.get());
        world.send_back(self.process.node, pod, Message::Ended(call, Some(end)));
    }

    pub(crate) fn sequencer_effects(&mut self, world: &mut World, effects: Vec<Effect>) {
        let node = self.process.node;
        for effect in effects {
            match effect {
                Effect::Advanced(advance) => {
                    world.truth.advanced(self.epoch, &advance);
                    self.feed(world, Some(Arc::new(advance)));
                }
                Effect::Probe(segment) => {
                    world.spawn(node, None, probe(self.chain.clone(), segment));
                }
                Effect::Seal(session, index) => {
                    let segment = SegmentId { session, index };
                    world.spawn(node, None, seal(self.chain.clone(), segment));
                }
                Effect::Append(command) => self.append(Command::Log(command), Pending::Nobody),
                Effect::Damaged(segment) => {
                    let what = format!("the sequencer calls {segment} damage");
                    world.truth.violate("C2", what);
                }
                Effect::Ended(session, end) => {
                    for asker in self.enders.remove(&session).unwrap_or_default() {
                        self.tell_end(world, asker, session, end);
                    }
                }
            }
        }
    }

    fn feed(
        &mut self,
        world: &mut World,
        update: Option<Arc<esker_metadata_api::PartitionAdvance>>,
    ) {
        self.fed_at = world.now();
        let mut followers = std::mem::take(&mut self.followers);
        for (process, stream, number) in &mut followers {
            let message = Message::Feed(*stream, *number, update.clone());
            *number += 1;
            world.send_back(self.process.node, *process, message);
        }
        self.followers = followers;
    }

    fn group(&mut self, world: &mut World, (client, call): (Process, u64), request: &GroupRequest) {
        let ticket = world.number();
        self.tickets.insert(ticket, (client, call));
        let seed = world.host(self.process.node).env.rng.write_id().bytes();
        let effects = self.groups.step(
            self.moment(world),
            Ticket::new(ticket),
            request.clone(),
            &self.offsets,
            &|_| true,
            MemberSeed::from_bytes(seed),
        );
        self.group_effects(world, effects);
    }

    pub(crate) fn group_effects(&mut self, world: &mut World, effects: Vec<GroupEffect>) {
        for effect in effects {
            match effect {
                GroupEffect::Reply(ticket, reply) => self.group_reply(world, ticket, reply),
                GroupEffect::Append { command, then } => {
                    self.append(Command::Group(command), Pending::Group(then));
                }
            }
        }
    }

    pub(crate) fn group_reply(&mut self, world: &mut World, ticket: Ticket, reply: GroupReply) {
        let Some((client, call)) = self.tickets.remove(&ticket.get()) else {
            return;
        };
        if let GroupReply::Joined(Ok(joined)) = &reply {
            world.truth.joined(GROUP, joined);
        }
        if must_be_current(&reply) {
            self.arrived.push(Question::Group(client, call, reply));
            self.start_check(world);
        } else {
            let answer = Message::Grouped(call, Ok((Arc::new(reply), self.epoch)));
            world.send_back(self.process.node, client, answer);
        }
    }

    fn start_check(&mut self, world: &mut World) {
        if self.check.is_some() {
            return;
        }
        let call = world.number();
        self.check = Some((call, world.now()));
        self.checking.append(&mut self.arrived);
        let message = Message::Check(call, self.epoch);
        world.send(self.process, Node::JOURNAL, message);
    }

    fn checked(&mut self, world: &mut World, call: u64, is_owner: bool) {
        if self.check.is_none_or(|(asked, _)| asked != call) {
            return;
        }
        self.check = None;
        if !is_owner {
            self.is_deposed = true;
            return;
        }
        let until = world.now() + UNDECIDED_WAIT;
        for question in std::mem::take(&mut self.checking) {
            self.answer_if_decided(world, question, until);
        }
        if !self.arrived.is_empty() {
            self.start_check(world);
        }
    }

    fn answer_if_decided(&mut self, world: &mut World, question: Question, until: Nanos) {
        let node = self.process.node;
        match question {
            Question::Latest(fetcher, call, barrier) => {
                if !self.sequencer.is_decided(&barrier) {
                    let question = Question::Latest(fetcher, call, barrier);
                    self.undecided.push((question, until));
                    return;
                }
                let at = barrier.topic_partition();
                let latest = self.sequencer.high_watermark(&self.state, at).get();
                let answer = Message::LatestDone(call, Some((latest, self.epoch)));
                world.send_back(node, fetcher, answer);
            }
            Question::Reserve(pod, call, answer) => {
                world.send_back(node, pod, Message::Reserved(call, Ok(answer)));
            }
            Question::Group(client, call, reply) => {
                let answer = Message::Grouped(call, Ok((Arc::new(reply), self.epoch)));
                world.send_back(node, client, answer);
            }
        }
    }

    pub(crate) fn tick(&mut self, world: &mut World) {
        let moment = self.moment(world);
        let effects = self.sequencer.tick(moment.now);
        self.sequencer_effects(world, effects);
        let effects = self.groups.tick(moment, &self.offsets, &|_| None);
        self.group_effects(world, effects);
        let now = world.now();
        if let Some((_, since)) = self.check
            && now > since + JOURNAL_TIMEOUT
        {
            // Not answered: those who wait are served by the next one.
            self.check = None;
            self.arrived.append(&mut self.checking);
            self.start_check(world);
        } else if self.check.is_none() && now % DEPOSED_CHECK < TICK_MAX {
            self.start_check(world);
        }
        for (question, until) in std::mem::take(&mut self.undecided) {
            match question {
                Question::Latest(fetcher, call, _) if until <= now => {
                    let answer = Message::LatestDone(call, None);
                    world.send_back(self.process.node, fetcher, answer);
                }
                question => self.undecided.push((question, until)),
            }
        }
        if self.sequencer.is_serving() && now > self.fed_at + FEED_LIFE_SIGN {
            self.feed(world, None);
        }
        self.checkpoint_if_due(world);
    }

    fn checkpoint_if_due(&mut self, world: &World) {
        let now = self.now(world);
        let lag = self.sequencer.checkpoint_lag();
        if lag.segments_waiting == 0 || !self.sequencer.is_serving() {
            self.checkpointed_at = now;
            return;
        }
        let is_old = now.since(self.checkpointed_at) >= world.settings.checkpoint_interval;
        if is_old || lag.segments_waiting >= world.settings.checkpoint_segments {
            while let Some(command) = self.sequencer.checkpoint() {
                self.append(Command::Log(command), Pending::Nobody);
            }
            self.checkpointed_at = now;
        }
    }

    /// When time must be told to the cores.
    pub(crate) fn tick_delay(&self, world: &World) -> Nanos {
        let cores = [self.sequencer.next_tick(), self.groups.next_deadline()];
        let next = cores.into_iter().flatten().min();
        let at = next.map_or(Nanos::MAX, |next| {
            world.host(self.process.node).clock.at(next)
        });
        at.saturating_sub(world.now()).clamp(TICK_MIN, TICK_MAX)
    }

    /// What every turn ends with: commands out, held answers let go.
    pub(crate) fn settle(&mut self, world: &mut World) {
        self.write(world);
        if self.sequencer.is_serving() && !self.was_serving {
            self.was_serving = true;
            for partition in 0..world.settings.partitions {
                let at = world.at(partition);
                let begins = self.sequencer.high_watermark(&self.state, at).get();
                world.truth.serving(self.epoch, at, begins);
            }
        }
        let decisions = self.sequencer.decisions();
        if decisions != std::mem::replace(&mut self.decisions, decisions) {
            for (question, until) in std::mem::take(&mut self.undecided) {
                self.answer_if_decided(world, question, until);
            }
        }
    }
}

/// Reads, and refusals that a client takes as final.
fn must_be_current(reply: &GroupReply) -> bool {
    let is_passing = |error: &GroupError| {
        matches!(
            error,
            GroupError::MemberIdRequired { .. } | GroupError::RebalanceInProgress
        )
    };
    let is_final = |error: Option<&GroupError>| error.is_some_and(|error| !is_passing(error));
    match reply {
        GroupReply::Joined(outcome) => is_final(outcome.as_ref().err()),
        GroupReply::Synced(outcome) => is_final(outcome.as_ref().err()),
        GroupReply::Heartbeat(outcome) => is_final(outcome.as_ref().err()),
        GroupReply::Left(outcome) | GroupReply::Committed(outcome) => {
            is_final(outcome.as_ref().err())
        }
        _ => true,
    }
}
