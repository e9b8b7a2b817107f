//! An ingest pod: the product's writer, and a driver that makes its calls.
//!
//! The driver's own: time limits of calls (as `calls.rs` of the product has them), which candidate
//! it asks, the repetition of reports and of questions for a session's end.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use esker_env::{Clock as _, Shutdown};
use esker_ingest::{AppendError, IngestError, ProduceAnswer, ProduceCall, ProduceCore, Waiting};
use esker_metadata_api::{MetadataError, ProduceRefusal, ReserveError, WrittenReport};
use esker_record::{ProduceRules, validate_produced};
use esker_types::limits::RECORD_BATCH_BYTES_MAX;
use esker_types::{SegmentId, SessionId};

use crate::host::Done;
use crate::message::{Message, ProduceFailure};
use crate::node::{MILLI, Nanos, Node, Process};
use crate::queue::Timer;
use crate::world::World;

/// A call that was not answered yet.
enum Calling {
    Register,
    Reserve(SegmentId),
    End(SessionId, Shutdown),
    Written,
}

/// A client's batch that waits for its answer.
struct Asker {
    client: Process,
    call: u64,
    partition: u32,
    identity: i64,
    waiting: Waiting,
}

/// One life of an ingest pod.
pub(crate) struct Pod {
    process: Process,
    core: ProduceCore,
    calls: BTreeMap<u64, Calling>,
    askers: Vec<Asker>,
    step_at: Option<Nanos>,
    /// The candidate to ask.
    hint: usize,
    report: Option<WrittenReport>,
    telling: Option<WrittenReport>,
}

impl Pod {
    pub(crate) fn new(world: &World, node: Node) -> Self {
        let host = world.host(node);
        Self {
            process: host.process,
            core: ProduceCore::new(world.settings.ingest, host.env.clone()),
            calls: BTreeMap::new(),
            askers: Vec::new(),
            step_at: None,
            hint: 0,
            report: None,
            telling: None,
        }
    }

    fn leader(&self) -> Node {
        Node::meta(self.hint)
    }

    pub(crate) fn message(&mut self, world: &mut World, from: Process, message: Message) {
        match message {
            Message::Produce {
                call,
                connection,
                partition,
                batch,
                timeout_millis,
            } => {
                let asker = (from, call, connection);
                self.produce(world, asker, partition, batch, timeout_millis);
            }
            Message::Registered(call, answer) => {
                if let Some(Calling::Register) = self.calls.remove(&call) {
                    self.unless_gone(answer.is_err());
                    self.hear(world, ProduceAnswer::Registered(answer));
                }
            }
            Message::Reserved(call, answer) => {
                if let Some(Calling::Reserve(segment)) = self.calls.remove(&call) {
                    self.unless_gone(matches!(answer, Err(ReserveError::Metadata(_))));
                    self.hear(world, ProduceAnswer::Reserved { segment, answer });
                }
            }
            Message::Ended(call, answer) => match (answer, self.calls.remove(&call)) {
                (Some(end), Some(Calling::End(session, over))) if !over.is_requested() => {
                    self.hear(world, ProduceAnswer::Ended { session, end });
                }
                (None, Some(Calling::End(session, over))) => {
                    self.unless_gone(true);
                    self.calls.insert(call, Calling::End(session, over));
                }
                _ => {}
            },
            Message::Heard(call) if self.calls.remove(&call).is_some() => {
                self.telling = None;
                self.tell(world);
            }
            _ => {}
        }
        self.pump(world);
    }

    fn unless_gone(&mut self, is_gone: bool) {
        if is_gone {
            self.hint += 1;
        }
    }

    pub(crate) fn timer(&mut self, world: &mut World, timer: Timer) {
        match timer {
            Timer::Step => self.step_at = None,
            Timer::Call(call) => self.not_answered(world, call),
            Timer::Tick | Timer::Work(_) => {}
        }
        self.pump(world);
    }

    fn not_answered(&mut self, world: &mut World, call: u64) {
        let Some(calling) = self.calls.remove(&call) else {
            return;
        };
        self.hint += 1;
        let unknown = MetadataError::Unknown;
        match calling {
            Calling::Register => self.hear(world, ProduceAnswer::Registered(Err(unknown))),
            Calling::Reserve(segment) => {
                let answer = Err(ReserveError::Metadata(unknown));
                self.hear(world, ProduceAnswer::Reserved { segment, answer });
            }
            Calling::End(session, over) => self.ask_end(world, session, over),
            Calling::Written => {
                self.report = self.report.or(self.telling.take());
                self.tell(world);
            }
        }
    }

    pub(crate) fn done(&mut self, world: &mut World, done: Done) {
        if let Done::Uploaded(segment, answer) = done {
            self.hear(world, ProduceAnswer::Uploaded { segment, answer });
        }
        self.pump(world);
    }

    fn hear(&mut self, world: &mut World, answer: ProduceAnswer) {
        match self.core.hear(answer) {
            Ok(()) => {}
            Err(error @ IngestError::AcknowledgedBeyondEnd { .. }) => {
                world.truth.violate("CP1", error.to_string());
            }
            Err(error) => world.truth.violate("I7", error.to_string()),
        }
    }

    fn produce(
        &mut self,
        world: &mut World,
        (client, call, connection): (Process, u64, u64),
        partition: u32,
        batch: Bytes,
        timeout_millis: u64,
    ) {
        let rules = ProduceRules {
            batch_bytes_max: RECORD_BATCH_BYTES_MAX,
            zstd_allowed: true,
            timestamp_max: None,
            walk_records: false,
            keys_required: false,
        };
        let Ok(batch) = validate_produced(batch, &rules) else {
            world
                .truth
                .violate("I22", "a client's batch was refused".to_owned());
            return;
        };
        let now = world.host(self.process.node).clock.now();
        let deadline = now.after(std::time::Duration::from_millis(timeout_millis));
        let at = world.at(partition);
        let Some(waiting) = self.core.append(connection, at, &batch, now, deadline) else {
            return; // The pool is full: the connection is not read.
        };
        self.askers.push(Asker {
            client,
            call,
            partition,
            identity: batch.header().max_timestamp().millis(),
            waiting,
        });
    }

    /// Steps the writer, makes its calls, hands out its answers.
    fn pump(&mut self, world: &mut World) {
        loop {
            let calls = self.core.step();
            if calls.is_empty() {
                break;
            }
            for call in calls {
                self.call(world, call);
            }
        }
        self.answer(world);
        let Some(next) = self.core.next_step() else {
            return;
        };
        let at = world.host(self.process.node).clock.at(next);
        let at = at.max(world.now() + MILLI / 4);
        if self.step_at.is_none_or(|known| at < known) {
            self.step_at = Some(at);
            world.timer(self.process, at - world.now(), Timer::Step);
        }
    }

    fn limit(&mut self, world: &mut World, call: u64, calling: Calling) {
        let ingest = &world.settings.ingest;
        let limit = match calling {
            Calling::Register | Calling::End(..) => ingest.register_timeout,
            Calling::Reserve(_) | Calling::Written => ingest.reserve_timeout,
        };
        self.calls.insert(call, calling);
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        world.timer(self.process, limit, Timer::Call(call));
    }

    fn call(&mut self, world: &mut World, call: ProduceCall) {
        let number = world.number();
        match call {
            ProduceCall::Register { replaces } => {
                self.limit(world, number, Calling::Register);
                world.send(
                    self.process,
                    self.leader(),
                    Message::Register(number, replaces),
                );
            }
            ProduceCall::Reserve { request, .. } => {
                let segment = SegmentId {
                    session: request.session,
                    index: request.index,
                };
                self.limit(world, number, Calling::Reserve(segment));
                let request = Message::Reserve(number, Arc::new(request));
                world.send(self.process, self.leader(), request);
            }
            ProduceCall::Upload {
                segment,
                object,
                over,
            } => {
                let chain = world.host(self.process.node).chain(world.cluster);
                let upload = async move {
                    let answer = chain.upload(segment, object).await;
                    Done::Uploaded(segment, answer)
                };
                world.spawn(self.process.node, Some(over), upload);
            }
            ProduceCall::End { session, over } => self.ask_end(world, session, over),
            ProduceCall::Written(report) => {
                self.report = Some(report);
                self.tell(world);
            }
        }
    }

    fn ask_end(&mut self, world: &mut World, session: SessionId, over: Shutdown) {
        if over.is_requested() {
            return;
        }
        let number = world.number();
        self.limit(world, number, Calling::End(session, over));
        let leader = self.leader();
        world.send(self.process, leader, Message::EndSession(number, session));
    }

    fn tell(&mut self, world: &mut World) {
        if self.telling.is_some() {
            return;
        }
        let Some(report) = self.report.take() else {
            return;
        };
        self.telling = Some(report);
        let number = world.number();
        self.limit(world, number, Calling::Written);
        world.send(
            self.process,
            self.leader(),
            Message::Written(number, report),
        );
    }

    fn answer(&mut self, world: &mut World) {
        let process = self.process;
        self.askers.retain_mut(|asker| {
            let Some(outcome) = asker.waiting.outcome() else {
                return true;
            };
            let outcome = match outcome {
                Ok(appended) => {
                    let base = appended.base_offset.get();
                    let at = world.at(asker.partition);
                    world.truth.acked(at, base, asker.identity);
                    world.figures.acked += 1;
                    Ok(base)
                }
                Err(error) => Err(failure(&error)),
            };
            let answer = Message::Produced(asker.call, outcome);
            world.send_back(process.node, asker.client, answer);
            false
        });
    }
}

fn failure(error: &AppendError) -> ProduceFailure {
    match error {
        AppendError::Refused(ProduceRefusal::OutOfOrderSequence) => ProduceFailure::OutOfOrder,
        AppendError::Refused(ProduceRefusal::DuplicateForgotten) => {
            ProduceFailure::DuplicateForgotten
        }
        error => ProduceFailure::Kind(error.kind()),
    }
}
