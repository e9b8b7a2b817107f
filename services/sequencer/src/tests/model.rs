//! The world around the sequencer, as small as it can be: a bucket, a journal, pods, clients,
//! zombies.
//!
//! The log is defined by C1 on what the bucket holds and what is durable; all invariants are
//! checked against that definition, never against what a sequencer says. A batch's identity is its
//! timestamp.

mod pods;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use esker_metadata_api::{IndexExtent, ReserveReply, ReserveRequest};
use esker_segment::{BatchSummary, SegmentFooter};
use esker_types::{
    ChainIndex, MonotonicTime, Offset, PartitionIndex, SegmentId, SequencerEpoch, SessionId,
    TopicId, TopicPartition,
};

use crate::{
    Barrier, Effect, LogCommand, LogState, Probe, Recovered, Sequencer, SequencerConfig,
    WalkedSession,
};

/// What holds a key of the bucket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Object {
    Segment(SegmentFooter),
    Seal,
}

/// A sequencer with the state it knows to be durable. The last one is current, the others zombies.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) state: LogState,
    pub(crate) sequencer: Sequencer,
    /// Topic B is gone, as far as it knows.
    pub(crate) dropped: bool,
    /// Looks and seals that it asked for.
    pub(crate) asked: Vec<Effect>,
    /// Their results, on the way back.
    pub(crate) found: Vec<(Effect, Probe)>,
}

/// A segment that a pod reserved.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) request: ReserveRequest,
    pub(crate) reply: ReserveReply,
    pub(crate) footer: Option<SegmentFooter>,
}

/// An ingest process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pod {
    pub(crate) session: Option<(SessionId, SequencerEpoch)>,
    pub(crate) sent: Vec<Sent>,
    /// Places whose PUT is known to have succeeded.
    pub(crate) written: BTreeSet<u64>,
    pub(crate) acked: u64,
}

/// A batch of an idempotent client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientBatch {
    pub(crate) identity: i64,
    pub(crate) epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: u32,
}

/// An idempotent client. It writes to one partition.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) producer: i64,
    pub(crate) topic_partition: TopicPartition,
    pub(crate) batches: Vec<ClientBatch>,
}

type Log = BTreeMap<(TopicPartition, Offset), (SegmentId, BatchSummary)>;

pub(crate) fn topic(name: u8) -> TopicId {
    TopicId::from_bytes([name; 16])
}

pub(crate) fn at(name: u8, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: topic(name),
        partition: PartitionIndex::new(partition).unwrap(),
    }
}

/// Topic A has two partitions, topic B, which may be dropped, one.
pub(crate) fn partitions() -> [TopicPartition; 3] {
    [at(0xa, 0), at(0xa, 1), at(0xb, 0)]
}

/// Everything there is.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: MonotonicTime,
    pub(crate) bucket: BTreeMap<SegmentId, Object>,
    /// Appended by the current sequencer, not yet durable.
    pub(crate) journal: VecDeque<LogCommand>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) epoch: u64,
    pub(crate) pods: Vec<Pod>,
    pub(crate) clients: Vec<Client>,
    /// Every PUT that was ever begun: it may arrive at any time, any number of times.
    pub(crate) puts: Vec<SegmentFooter>,
    /// Sessions durably registered, with their durable ends.
    pub(crate) sessions: BTreeMap<SessionId, Option<ChainIndex>>,
    pub(crate) acked: BTreeMap<i64, (TopicPartition, Offset)>,
    /// Highest watermark ever served, with the log below it at that time.
    pub(crate) served: BTreeMap<TopicPartition, (Offset, Vec<(Offset, SegmentId)>)>,
    pub(crate) identities: i64,
    /// Questions for the latest offset under way: to whom, what was undecided, the least true
    /// answer.
    pub(crate) questions: Vec<(usize, Barrier, Offset)>,
    /// How often what happened: a history that reaches nothing proves nothing.
    pub(crate) happened: BTreeMap<&'static str, u64>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clients = [(1, at(0xa, 0)), (2, at(0xa, 0)), (3, at(0xb, 0))];
        let client = |(producer, topic_partition)| Client {
            producer,
            topic_partition,
            batches: Vec::new(),
        };
        let mut world = Self {
            now: MonotonicTime::default(),
            bucket: BTreeMap::new(),
            journal: VecDeque::new(),
            nodes: Vec::new(),
            epoch: 0,
            pods: vec![Pod::default(); 3],
            clients: clients.map(client).to_vec(),
            puts: Vec::new(),
            sessions: BTreeMap::new(),
            acked: BTreeMap::new(),
            served: BTreeMap::new(),
            identities: 0,
            questions: Vec::new(),
            happened: BTreeMap::new(),
        };
        world.take_over(LogState::empty(), false, 0, usize::MAX);
        world
    }

    pub(crate) fn current(&mut self) -> &mut Node {
        self.nodes.last_mut().unwrap()
    }

    pub(crate) fn note(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    pub(crate) fn identity(&mut self) -> i64 {
        self.identities += 1;
        self.identities
    }

    /// The log by C1.
    pub(crate) fn log(&self) -> Log {
        let mut log = Log::new();
        for (session, end) in &self.sessions {
            let mut index = ChainIndex::ZERO;
            while end.is_none_or(|end| index < end) {
                let segment = SegmentId {
                    session: *session,
                    index,
                };
                let Some(Object::Segment(footer)) = self.bucket.get(&segment) else {
                    break;
                };
                for batch in &footer.batches {
                    let key = (batch.topic_partition, batch.base_offset);
                    let before = log.insert(key, (segment, *batch));
                    assert_eq!(before, None, "CP2: one content per offset");
                }
                index = index.after();
            }
        }
        log
    }

    /// Creates an object unless one is there; whether the key holds this very object now.
    pub(crate) fn create(&mut self, segment: SegmentId, object: &Object) -> bool {
        self.bucket.entry(segment).or_insert_with(|| object.clone()) == object
    }

    /// Carries out what a sequencer asks for: looks and seals later, appends in order.
    pub(crate) fn take_effects(&mut self, node: usize, effects: Vec<Effect>) {
        let current = node + 1 == self.nodes.len();
        for effect in effects {
            match effect {
                Effect::Advanced(advance) => {
                    let (before, after) = (advance.previous_high_watermark, advance.high_watermark);
                    assert!(before <= after, "CP6");
                    self.note("advanced");
                    if advance.extents.first().map(|first| first.base_offset) > Some(before) {
                        self.note("gap passed");
                    }
                }
                Effect::Probe(_) | Effect::Seal(..) => self.nodes[node].asked.push(effect),
                Effect::Append(command) if current => self.journal.push_back(command),
                Effect::Append(_) => self.note("zombie append"),
                Effect::Ended(..) => self.note("ended"),
                Effect::Damaged(segment) => panic!("nothing is damaged: {segment}"),
            }
        }
    }

    /// The oldest command in the journal becomes durable.
    pub(crate) fn durable(&mut self) {
        let Some(command) = self.journal.pop_front() else {
            return;
        };
        self.apply(&command);
    }

    pub(crate) fn apply(&mut self, command: &LogCommand) {
        match command {
            LogCommand::RegisterSession { session, .. } => {
                self.sessions.insert(*session, None);
            }
            LogCommand::EndSession { session, end } => {
                let undecided = self.current().sequencer.sessions.get(session);
                if undecided.is_some_and(|known| !known.undecided().is_empty()) {
                    self.note("voided");
                }
                let before = self.sessions.insert(*session, Some(*end)).flatten();
                assert!(before.is_none_or(|before| before == *end), "CP5");
            }
            _ => {}
        }
        let now = self.now;
        let node = self.current();
        node.dropped |= matches!(command, LogCommand::DropTopic { .. });
        let dropped = node.dropped;
        node.state
            .apply(command, &|known| exists(dropped, known))
            .unwrap();
        let effects = node.sequencer.command_applied(&node.state, command, now);
        let last = self.nodes.len() - 1;
        self.take_effects(last, effects);
    }

    /// A new sequencer begins from what is durable; late PUTs arrive while it walks. It may die
    /// when
    /// `durable_max` of its first commands are durable.
    pub(crate) fn take_over(
        &mut self,
        state: LogState,
        dropped: bool,
        late: u8,
        durable_max: usize,
    ) {
        self.epoch += 1;
        self.journal.clear();
        let mut walked = Vec::new();
        self.note("take-over");
        for to_walk in state.sessions_to_walk() {
            self.note(if to_walk.end.is_some() {
                "walked to its end"
            } else if to_walk.from > ChainIndex::ZERO {
                "walked from a checkpoint"
            } else {
                "walked"
            });
            let mut segments = Vec::new();
            let mut index = to_walk.from;
            while to_walk.end.is_none_or(|end| index < end) {
                self.late_put(late.wrapping_add(u8::try_from(segments.len()).unwrap()));
                let segment = SegmentId {
                    session: to_walk.session,
                    index,
                };
                if let Some(Object::Segment(footer)) = self.bucket.get(&segment) {
                    segments.push(footer.clone());
                    self.happened
                        .entry("recovered segment")
                        .and_modify(|count| *count += 1)
                        .or_insert(1);
                    index = index.after();
                } else {
                    assert_eq!(to_walk.end, None, "all below a durable end exists");
                    assert!(self.create(segment, &Object::Seal));
                    break;
                }
            }
            walked.push(WalkedSession {
                session: to_walk.session,
                segments,
                end: index,
            });
        }
        let Recovered {
            sequencer,
            commands,
        } = Sequencer::recover(
            SequencerEpoch::new(self.epoch),
            SequencerConfig::default(),
            &state,
            &|known| exists(dropped, known),
            walked,
        )
        .unwrap();
        self.nodes.push(Node {
            state,
            sequencer,
            dropped,
            asked: Vec::new(),
            found: Vec::new(),
        });
        self.journal = commands.into();
        let mut durable = 0;
        while durable < durable_max && !self.journal.is_empty() {
            self.durable();
            durable += 1;
        }
        if !self.current().sequencer.is_serving() {
            self.note("take-over broken off");
            let (state, dropped) = (self.current().state.clone(), dropped);
            self.nodes.pop();
            self.take_over(state, dropped, late, usize::MAX);
        }
    }

    /// One of the PUTs ever begun arrives (again).
    pub(crate) fn late_put(&mut self, which: u8) {
        if self.puts.is_empty() {
            return;
        }
        let footer = self.puts[usize::from(which) % self.puts.len()].clone();
        self.create(footer.segment, &Object::Segment(footer));
    }

    /// A look or a seal that a sequencer asked for is done; it hears of it later.
    pub(crate) fn carry_out(&mut self, node: usize, which: u8, fails: bool) {
        if self.nodes[node].asked.is_empty() {
            return;
        }
        let which = usize::from(which) % self.nodes[node].asked.len();
        let asked = self.nodes[node].asked.swap_remove(which);
        let segment = place_of(&asked);
        if matches!(asked, Effect::Seal(..)) {
            self.create(segment, &Object::Seal);
        }
        let probe = match self.bucket.get(&segment) {
            _ if fails => Probe::Unknown,
            None => Probe::Missing,
            Some(Object::Segment(_)) => Probe::Segment,
            Some(Object::Seal) => Probe::Seal,
        };
        self.note(match (&asked, probe) {
            (Effect::Seal(..), Probe::Seal) => "sealed",
            (Effect::Seal(..), Probe::Segment) => "seal too late",
            (Effect::Seal(..), _) => "seal failed",
            (_, Probe::Segment) => "probe found it",
            (_, Probe::Missing) => "probe found nobody",
            (_, Probe::Seal) => "probe found a seal",
            (_, Probe::Unknown) => "probe failed",
        });
        self.nodes[node].found.push((asked, probe));
    }

    /// Somebody asks for the latest offset: it must cover all that is acknowledged by now (CP12).
    pub(crate) fn ask_latest(&mut self, known: TopicPartition) {
        let log = self.log();
        let acked = self.acked.values().filter(|place| place.0 == known);
        let ends = acked.filter_map(|place| log.get(place).map(|(_, batch)| batch.end_offset()));
        let least = ends.max().unwrap_or_default();
        let last = self.nodes.len() - 1;
        let barrier = self.nodes[last].sequencer.barrier(known);
        self.questions.push((last, barrier, least));
    }

    /// Answers what is decided, as the sequencer that is still current (R2); others never answer.
    pub(crate) fn answer_latest(&mut self) {
        let last = self.nodes.len() - 1;
        let node = &self.nodes[last];
        let answered = |(asked, barrier, least): &(usize, Barrier, Offset)| {
            let known = barrier.topic_partition();
            if *asked != last || !exists(node.dropped, known) {
                return true;
            }
            let decided = node.sequencer.is_decided(barrier);
            let latest = node.sequencer.high_watermark(&node.state, known);
            assert!(
                !decided || latest >= *least,
                "CP12: latest covers every ack"
            );
            decided
        };
        let before = self.questions.len();
        self.questions.retain(|question| !answered(question));
        if self.questions.len() < before {
            self.note("latest answered");
        }
    }

    /// Somebody looks at a place of its own choice, and a sequencer hears of it.
    pub(crate) fn stray_look(&mut self, node: usize, which: u8) {
        if self.puts.is_empty() {
            return;
        }
        let segment = self.puts[usize::from(which) % self.puts.len()].segment;
        let probe = match self.bucket.get(&segment) {
            None => Probe::Missing,
            Some(Object::Segment(_)) => Probe::Segment,
            Some(Object::Seal) => Probe::Seal,
        };
        self.nodes[node].found.push((Effect::Probe(segment), probe));
    }

    pub(crate) fn hear(&mut self, node: usize, which: u8) {
        let now = self.now;
        let known = &mut self.nodes[node];
        if known.found.is_empty() {
            return;
        }
        let which = usize::from(which) % known.found.len();
        let (asked, probe) = known.found.swap_remove(which);
        let segment = place_of(&asked);
        let (state, sequencer) = (&known.state, &mut known.sequencer);
        let effects = match (asked, probe) {
            (Effect::Seal(session, _), Probe::Unknown) => {
                sequencer.seal_failed(session, now);
                Vec::new()
            }
            (Effect::Seal(session, index), Probe::Seal) => {
                sequencer.sealed_at(state, session, index, now)
            }
            (_, probe) => sequencer.probed(state, segment, probe, now),
        };
        self.take_effects(node, effects);
    }

    pub(crate) fn tick(&mut self, millis: u64) {
        self.now = self.now.after(Duration::from_millis(millis));
        for node in 0..self.nodes.len() {
            let effects = self.nodes[node].sequencer.tick(self.now);
            self.take_effects(node, effects);
        }
    }
}

pub(crate) fn exists(dropped: bool, known: TopicPartition) -> bool {
    partitions().contains(&known) && !(dropped && known.topic == topic(0xb))
}

fn place_of(asked: &Effect) -> SegmentId {
    match asked {
        Effect::Probe(segment) => *segment,
        Effect::Seal(session, index) => SegmentId {
            session: *session,
            index: *index,
        },
        other => panic!("not asked of the bucket: {other:?}"),
    }
}

/// Extents of a log, as an index has them.
pub(crate) fn extents_of(log: &Log, known: TopicPartition) -> Vec<IndexExtent> {
    let mut extents: Vec<IndexExtent> = Vec::new();
    for ((topic_partition, _), (segment, batch)) in log {
        if *topic_partition != known {
            continue;
        }
        match extents.last_mut() {
            Some(last) if last.segment == *segment => {
                last.end_offset = batch.end_offset();
                let range = last.range.start();
                last.range = esker_types::ByteRange::new(range, batch.range.end()).unwrap();
                last.max_timestamp = last.max_timestamp.max(batch.max_timestamp);
            }
            _ => extents.push(IndexExtent {
                base_offset: batch.base_offset,
                end_offset: batch.end_offset(),
                segment: *segment,
                range: batch.range,
                max_timestamp: batch.max_timestamp,
            }),
        }
    }
    extents
}
