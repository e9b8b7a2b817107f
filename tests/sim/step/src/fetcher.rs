//! A fetch pod: the product's view and assembler, and a driver in the order of `locate.rs`.
//!
//! The driver's own: following the leader, the long poll, reading damaged bytes again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use esker_fetch::{FetchCore, LookUp, Place};
use esker_metadata_api::IndexExtent;
use esker_object::{Bucket, ObjectKey, ReadRange};
use esker_record::{ReadLimits, read_records};
use esker_types::{ClusterId, Offset};

use crate::host::Done;
use crate::message::{FetchFailure, Fetched, Message};
use crate::node::{MILLI, Nanos, Node, Process, SECOND};
use crate::queue::Timer;
use crate::world::World;

/// Bytes of one fetch, about.
const FETCH_BYTES: u64 = 16 * 1024;
/// A long poll ends after this.
const POLL_WAIT: Nanos = 500 * MILLI;
/// A feed that is silent for longer is followed anew.
const FEED_SILENT: Nanos = 3 * SECOND;
const QUERY_TIMEOUT: Nanos = 3 * SECOND;

/// A client's fetch under way.
struct Fetching {
    client: Process,
    partition: u32,
    offset: u64,
    since: Nanos,
    asked_end: bool,
    look_ups: u32,
    is_reading: bool,
}

/// Why an extent was not read.
enum Unread {
    /// The object is not there.
    Missing,
    NotNow,
}

enum Question {
    LookUp(u64, LookUp),
    /// For a fetch above the known end.
    End(u64),
    /// For a client.
    Latest(Process, u64),
}

/// One life of a fetch pod.
pub(crate) struct Fetcher {
    process: Process,
    core: FetchCore,
    fetching: BTreeMap<u64, Fetching>,
    questions: BTreeMap<u64, Question>,
    hint: usize,
    /// Whose feed is followed: a hint of its own, since what both change may come round to one.
    feed_hint: usize,
    stream: u64,
    next: u64,
    heard_at: Nanos,
}

impl Fetcher {
    pub(crate) fn new(world: &mut World, node: Node) -> Self {
        let process = world.process(node);
        world.timer(process, MILLI, Timer::Tick);
        Self {
            process,
            core: FetchCore::new(100_000),
            fetching: BTreeMap::new(),
            questions: BTreeMap::new(),
            hint: 0,
            feed_hint: 0,
            stream: 0,
            next: 0,
            heard_at: 0,
        }
    }

    fn leader(&self) -> Node {
        Node::meta(self.hint)
    }

    fn follow(&mut self, world: &mut World) {
        self.stream = world.number();
        self.next = 0;
        self.heard_at = world.now();
        let leader = Node::meta(self.feed_hint);
        world.send(self.process, leader, Message::Follow(self.stream));
    }

    pub(crate) fn timer(&mut self, world: &mut World, timer: Timer) {
        match timer {
            Timer::Tick => {
                if self.stream == 0 || world.now() > self.heard_at + FEED_SILENT {
                    if self.stream != 0 {
                        self.feed_hint += 1;
                    }
                    self.follow(world);
                }
                world.timer(self.process, SECOND, Timer::Tick);
            }
            Timer::Work(call) => self.poll_over(world, call),
            Timer::Call(question) => self.not_answered(world, question),
            Timer::Step => {}
        }
    }

    pub(crate) fn message(&mut self, world: &mut World, from: Process, message: Message) {
        match message {
            Message::Fetch {
                call,
                partition,
                offset,
            } => {
                let fetching = Fetching {
                    client: from,
                    partition,
                    offset,
                    since: world.now(),
                    asked_end: false,
                    look_ups: 0,
                    is_reading: false,
                };
                self.fetching.insert(call, fetching);
                self.serve(world, call);
            }
            Message::Latest(call, partition) => {
                let question = world.number();
                self.ask(world, question, Question::Latest(from, call));
                let leader = self.leader();
                world.send(self.process, leader, Message::Latest(question, partition));
            }
            Message::LatestDone(question, answer) => self.latest_answered(world, question, answer),
            Message::LookedUp(question, slice) => {
                let Some(Question::LookUp(call, asked)) = self.questions.remove(&question) else {
                    return;
                };
                match slice {
                    Some(slice) => {
                        let place = self.core.learn(asked, FETCH_BYTES, &slice);
                        self.placed(world, call, place);
                    }
                    None => self.unanswered(world, call),
                }
            }
            Message::Feed(stream, number, update) if stream == self.stream => {
                self.heard_at = world.now();
                if number != self.next {
                    self.follow(world); // Something was missed.
                    return;
                }
                if number == 0 {
                    self.core.begin_feed();
                }
                self.next += 1;
                if let Some(advance) = update {
                    self.core.advance(&advance);
                    self.grown(world, advance.topic_partition.partition.get());
                }
            }
            _ => {}
        }
    }

    fn ask(&mut self, world: &mut World, number: u64, question: Question) {
        self.questions.insert(number, question);
        world.timer(self.process, QUERY_TIMEOUT, Timer::Call(number));
    }

    fn not_answered(&mut self, world: &mut World, question: u64) {
        match self.questions.remove(&question) {
            Some(Question::LookUp(call, _) | Question::End(call)) => {
                self.hint += 1;
                self.unanswered(world, call);
            }
            Some(Question::Latest(client, call)) => {
                self.hint += 1;
                let answer = Message::LatestDone(call, None);
                world.send_back(self.process.node, client, answer);
            }
            None => {}
        }
    }

    fn latest_answered(&mut self, world: &mut World, number: u64, answer: Option<(u64, u64)>) {
        match self.questions.remove(&number) {
            Some(Question::Latest(client, call)) => {
                if answer.is_none() {
                    self.hint += 1;
                }
                let answer = Message::LatestDone(call, answer);
                world.send_back(self.process.node, client, answer);
            }
            Some(Question::End(call)) => {
                let Some(fetching) = self.fetching.get_mut(&call) else {
                    return;
                };
                match answer {
                    Some((latest, _)) if latest < fetching.offset => {
                        self.fail(world, call, FetchFailure::OutOfRange);
                    }
                    Some(_) => {
                        fetching.asked_end = true;
                        self.look_up(world, call);
                    }
                    None => self.fail(world, call, FetchFailure::NotNow),
                }
            }
            Some(Question::LookUp(..)) | None => {}
        }
    }

    fn serve(&mut self, world: &mut World, call: u64) {
        let Some(fetching) = self.fetching.get(&call) else {
            return;
        };
        let at = world.at(fetching.partition);
        let offset = Offset::new(fetching.offset).unwrap_or_default();
        let place = self.core.find(at, offset, FETCH_BYTES);
        self.placed(world, call, place);
    }

    fn look_up(&mut self, world: &mut World, call: u64) {
        let Some(fetching) = self.fetching.get_mut(&call) else {
            return;
        };
        fetching.look_ups += 1;
        if fetching.look_ups > 4 {
            self.fail(world, call, FetchFailure::NotNow);
            return;
        }
        let (partition, offset) = (fetching.partition, fetching.offset);
        let at = world.at(partition);
        let asked = self
            .core
            .look_up(at, Offset::new(offset).unwrap_or_default());
        let question = world.number();
        let message = Message::LookUp {
            call: question,
            partition,
            offset,
            extents_max: asked.extents_max(),
        };
        self.ask(world, question, Question::LookUp(call, asked));
        world.send(self.process, self.leader(), message);
    }

    fn placed(&mut self, world: &mut World, call: u64, place: Place) {
        let Some(fetching) = self.fetching.get_mut(&call) else {
            return;
        };
        match place {
            Place::Extents { ends, extents } => {
                let told = (ends.log_start.get(), ends.high_watermark.get());
                self.read(world, call, told, extents);
            }
            Place::AtEnd(ends) => {
                let waited = world.now() - fetching.since;
                if waited >= POLL_WAIT {
                    let told = (ends.log_start.get(), ends.high_watermark.get());
                    self.empty(world, call, told);
                } else {
                    world.timer(self.process, POLL_WAIT - waited, Timer::Work(call));
                }
            }
            Place::BelowStart(_) => self.fail(world, call, FetchFailure::OutOfRange),
            Place::AboveEnd(_) if fetching.asked_end => {
                // The log reaches there: the push will come.
                self.fail(world, call, FetchFailure::NotNow);
            }
            Place::AboveEnd(_) => {
                let partition = fetching.partition;
                let question = world.number();
                self.ask(world, question, Question::End(call));
                let leader = self.leader();
                world.send(self.process, leader, Message::Latest(question, partition));
            }
            Place::Unknown => self.look_up(world, call),
        }
    }

    /// No answer from the index: at the known end that is no reason to fail (R3).
    fn unanswered(&mut self, world: &mut World, call: u64) {
        let Some(fetching) = self.fetching.get(&call) else {
            return;
        };
        let ends = self.core.ends(world.at(fetching.partition));
        match ends {
            Some(ends) if ends.high_watermark.get() == fetching.offset => {
                self.empty(world, call, (ends.log_start.get(), fetching.offset));
            }
            _ => self.fail(world, call, FetchFailure::NotNow),
        }
    }

    fn poll_over(&mut self, world: &mut World, call: u64) {
        if self.fetching.contains_key(&call) {
            self.serve(world, call);
        }
    }

    fn grown(&mut self, world: &mut World, partition: u32) {
        let waiting = self.fetching.iter();
        let calls: Vec<u64> = waiting
            .filter(|(_, fetching)| fetching.partition == partition && !fetching.is_reading)
            .map(|(call, _)| *call)
            .collect();
        for call in calls {
            let is_asking = self.questions.values().any(|question| match question {
                Question::LookUp(of, _) | Question::End(of) => *of == call,
                Question::Latest(..) => false,
            });
            if !is_asking {
                self.serve(world, call);
            }
        }
    }

    fn read(
        &mut self,
        world: &mut World,
        call: u64,
        (log_start, high_watermark): (u64, u64),
        extents: Vec<IndexExtent>,
    ) {
        let Some(fetching) = self.fetching.get_mut(&call) else {
            return;
        };
        if std::mem::replace(&mut fetching.is_reading, true) {
            return;
        }
        let offset = fetching.offset;
        let bucket = Arc::clone(&world.host(self.process.node).bucket);
        let cluster = world.cluster;
        let read = async move {
            let mut records = Vec::new();
            for extent in extents.iter().take(8) {
                match read_extent(&*bucket, cluster, extent, offset).await {
                    Ok(read) => records.extend(read),
                    Err(Unread::Missing) => {
                        let what = format!("{} is referenced and missing", extent.segment);
                        return Done::Damaged(what);
                    }
                    Err(Unread::NotNow) if records.is_empty() => {
                        return Done::Read(call, Err(FetchFailure::NotNow));
                    }
                    Err(Unread::NotNow) => break,
                }
            }
            let fetched = Fetched {
                log_start,
                high_watermark,
                records,
            };
            Done::Read(call, Ok(fetched))
        };
        world.spawn(self.process.node, None, read);
    }

    pub(crate) fn done(&mut self, world: &mut World, done: Done) {
        match done {
            Done::Read(call, outcome) => self.reply(world, call, outcome),
            Done::Damaged(what) => world.truth.violate("CP17", what),
            _ => {}
        }
    }

    fn empty(&mut self, world: &mut World, call: u64, (log_start, high_watermark): (u64, u64)) {
        let fetched = Fetched {
            log_start,
            high_watermark,
            records: Vec::new(),
        };
        self.reply(world, call, Ok(fetched));
    }

    fn fail(&mut self, world: &mut World, call: u64, failure: FetchFailure) {
        self.reply(world, call, Err(failure));
    }

    fn reply(&mut self, world: &mut World, call: u64, outcome: Result<Fetched, FetchFailure>) {
        let Some(fetching) = self.fetching.remove(&call) else {
            return;
        };
        let outcome = outcome.map(Arc::new);
        let answer = Message::Fetched(call, outcome);
        world.send_back(self.process.node, fetching.client, answer);
    }
}

/// The records of an extent from `offset` on.
async fn read_extent(
    bucket: &dyn Bucket,
    cluster: ClusterId,
    extent: &IndexExtent,
    offset: u64,
) -> Result<Vec<(u64, u64)>, Unread> {
    let key = ObjectKey::session_place(cluster, extent.segment);
    let from = Offset::new(offset).unwrap_or_default();
    for _ in 0..3 {
        let read = bucket.get(&key, ReadRange::Bounded(extent.range)).await;
        let read = match read {
            Ok(Some(read)) => read,
            // I19, CP17: nothing is deleted in this world, so whatever is referenced exists.
            Ok(None) => return Err(Unread::Missing),
            Err(_) => return Err(Unread::NotNow),
        };
        let Ok(batches) = FetchCore::assemble(extent, read.bytes, from) else {
            continue;
        };
        return records_of(batches, offset);
    }
    Err(Unread::NotNow)
}

/// Offset and value of each record from `offset` on.
fn records_of(batches: Vec<Bytes>, offset: u64) -> Result<Vec<(u64, u64)>, Unread> {
    let mut records = Vec::new();
    for mut rest in batches {
        while !rest.is_empty() {
            let read = read_records(&rest, &ReadLimits::default());
            let read = read.map_err(|_damage| Unread::NotNow)?;
            let batch_bytes = usize::try_from(read.header().batch_bytes()).unwrap_or(0);
            let found = read.flatten().map(|record| {
                let at = u64::try_from(record.offset).unwrap_or(0);
                (at, value_of(record.value.as_deref()))
            });
            records.extend(found.filter(|(at, _)| *at >= offset));
            rest = rest.split_off(batch_bytes.clamp(1, rest.len()));
        }
    }
    Ok(records)
}

fn value_of(bytes: Option<&[u8]>) -> u64 {
    let bytes = bytes.and_then(|bytes| bytes.first_chunk::<8>());
    bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
