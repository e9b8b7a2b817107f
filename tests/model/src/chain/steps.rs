//! What can happen in a state, and what comes of it.

use super::mutation::Mutation as M;
use super::scenario::ChainModel;
use super::sequencer::Verdict;
use super::state::{
    Cell, OFFSETS, PLAIN, Pending, Phase, Placed, Pod, Question, SessionRecord, Slot, State,
    Status, Write, at, below,
};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A pod asks a sequencer for a session (W1).
    AskSession { pod: u8, sequencer: u8 },
    /// A pod reserves for a batch (W2, W3); the answer may be lost.
    Reserve { pod: u8, batch: u8, heard: bool },
    /// A segment of two batches of which the first is deferred (D3).
    ReserveBoth { pod: u8 },
    /// What was put arrives (W5).
    Arrive { session: u8, place: u8 },
    /// A pod finds out who holds a place of its session (W5), and acknowledges (W6).
    Learn { pod: u8, place: u8 },
    /// A pod reports what is written.
    Written { pod: u8 },
    /// A pod hears where its session ended (W7).
    HearEnd { pod: u8 },
    /// A pod crashes, or tells "unknown" to all and forgets its session.
    GiveUp { pod: u8 },
    /// A sequencer looks at the first undecided place (H3).
    Probe { sequencer: u8, session: u8 },
    /// A sequencer seals there (Q1).
    Seal { sequencer: u8, session: u8 },
    /// A sequencer appends a checkpoint of the next segment (K1).
    Checkpoint { sequencer: u8, session: u8 },
    /// The journal takes a sequencer's command, or refuses it.
    Durable { sequencer: u8 },
    /// The sequencer hears that.
    Hear { sequencer: u8 },
    /// The next sequencer opens the journal.
    TakeOver,
    /// It reads and seals a chain (step 3).
    Walk { sequencer: u8, session: u8 },
    /// All chains are read: it rebuilds its state (step 4).
    Rebuild { sequencer: u8 },
    /// It makes the next end or segment durable, or serves (step 5).
    Settle { sequencer: u8 },
    /// A collected object goes (G2).
    Collect { session: u8, place: u8 },
    /// A seal is deleted, by mistake.
    DeleteSeal { session: u8, place: u8 },
    /// LATEST is asked (R1).
    Ask { sequencer: u8 },
    /// The epoch check (R2).
    Check,
    /// LATEST is answered.
    Answer,
    /// The fetch pod hears a watermark.
    Fetch { sequencer: u8 },
}

impl ChainModel {
    /// The state in which everything begins: sequencer 0 serves, some sessions are registered.
    pub(crate) fn first(&self) -> State {
        let mut state = State::default();
        state.durable.owner = 1;
        state.sequencers[0].status = Status::Serving;
        for session in below(self.scenario.registered) {
            state.durable.sessions[at(session)].epoch = 1;
            state.sequencers[0].sessions[at(session)].phase = Phase::Open;
            state.pods[at(session)].session = Some(session);
            state.pods[at(session)].epoch = 1;
        }
        state.next_session = self.scenario.registered;
        state
    }

    /// Steps that may be possible; those that change nothing are dropped by their outcome.
    pub(crate) fn steps(&self, steps: &mut Vec<Step>) {
        let Self { scenario, .. } = self;
        for pod in below(scenario.pods) {
            for sequencer in below(scenario.sequencers) {
                steps.push(Step::AskSession { pod, sequencer });
            }
            for batch in self.batches() {
                steps.push(Step::Reserve {
                    pod,
                    batch,
                    heard: true,
                });
                if scenario.losses {
                    steps.push(Step::Reserve {
                        pod,
                        batch,
                        heard: false,
                    });
                }
            }
            if scenario.plain && scenario.idempotent > 0 {
                steps.push(Step::ReserveBoth { pod });
            }
            steps.extend(below(scenario.places).map(|place| Step::Learn { pod, place }));
            steps.extend([
                Step::Written { pod },
                Step::HearEnd { pod },
                Step::GiveUp { pod },
            ]);
        }
        for session in below(scenario.sessions) {
            for place in below(scenario.places) {
                steps.push(Step::Arrive { session, place });
                if scenario.collects {
                    steps.push(Step::Collect { session, place });
                }
                if self.is(M::SealDeleted) {
                    steps.push(Step::DeleteSeal { session, place });
                }
            }
        }
        for sequencer in below(scenario.sequencers) {
            self.sequencer_steps(sequencer, steps);
        }
        steps.push(Step::TakeOver);
        if scenario.question {
            steps.extend([Step::Check, Step::Answer]);
        }
    }

    fn sequencer_steps(&self, sequencer: u8, steps: &mut Vec<Step>) {
        let Self { scenario, .. } = self;
        for session in below(scenario.sessions) {
            steps.push(Step::Probe { sequencer, session });
            steps.push(Step::Seal { sequencer, session });
            if scenario.checkpoints {
                steps.push(Step::Checkpoint { sequencer, session });
            }
            steps.push(Step::Walk { sequencer, session });
        }
        steps.extend([
            Step::Durable { sequencer },
            Step::Hear { sequencer },
            Step::Rebuild { sequencer },
            Step::Settle { sequencer },
        ]);
        if scenario.question {
            steps.push(Step::Ask { sequencer });
        }
        if scenario.fetch {
            steps.push(Step::Fetch { sequencer });
        }
    }

    fn batches(&self) -> impl Iterator<Item = u8> + use<> {
        let plain = self.scenario.plain.then_some(PLAIN);
        below(self.scenario.idempotent).chain(plain)
    }

    /// What comes of a step; `None`: it is not possible, or changes nothing.
    pub(crate) fn after(&self, before: &State, step: Step) -> Option<State> {
        let mut state = *before;
        self.take(&mut state, step)?;
        (state != *before).then_some(state)
    }

    fn take(&self, state: &mut State, step: Step) -> Option<()> {
        match step {
            Step::AskSession { pod, sequencer } => self.ask_session(state, pod, sequencer),
            Step::Reserve { pod, batch, heard } => self.reserve(state, pod, batch, heard),
            Step::ReserveBoth { pod } => self.reserve_both(state, pod),
            Step::Arrive { session, place } => {
                state.put(session, place)?;
                let cell = &mut state.bucket[at(session)][at(place)];
                (*cell == Cell::Empty).then(|| *cell = Cell::Segment)
            }
            Step::Learn { pod, place } => self.learn(state, pod, place),
            Step::Written { pod } => self.written(state, pod),
            Step::HearEnd { pod } => hear_end(state, pod),
            Step::GiveUp { pod } => self.give_up(state, pod),
            Step::Probe { sequencer, session } => self.probe(state, sequencer, session),
            Step::Seal { sequencer, session } => self.seal(state, sequencer, session),
            Step::Checkpoint { sequencer, session } => checkpoint(state, sequencer, session),
            Step::Durable { sequencer } => self.durable(state, sequencer),
            Step::Hear { sequencer } => self.hear(state, sequencer),
            Step::TakeOver => self.take_over(state),
            Step::Walk { sequencer, session } => self.walk(state, sequencer, session),
            Step::Rebuild { sequencer } => self.rebuild(state, sequencer),
            Step::Settle { sequencer } => self.settle(state, sequencer),
            Step::Collect { session, place } => self.collect(state, session, place),
            Step::DeleteSeal { session, place } => {
                let ended = state.durable.sessions[at(session)].end == Some(place);
                let cell = &mut state.bucket[at(session)][at(place)];
                (ended && *cell == Cell::Seal).then(|| *cell = Cell::Empty)
            }
            Step::Ask { sequencer } => ask(state, sequencer),
            Step::Check => self.check(state),
            Step::Answer => self.answer(state),
            Step::Fetch { sequencer } => self.fetch(state, sequencer),
        }
    }

    fn ask_session(&self, state: &mut State, pod: u8, sequencer: u8) -> Option<()> {
        let session = state.next_session;
        let known = &mut state.sequencers[at(sequencer)];
        let asking = &mut state.pods[at(pod)];
        let can = asking.session.is_none() && asking.waits_for.is_none();
        if !can || session >= self.scenario.sessions {
            return None;
        }
        (known.status == Status::Serving && known.pending.is_none()).then_some(())?;
        known.pending = Some(Pending {
            write: Write::Register { session, pod },
            is_durable: false,
        });
        state.next_session += 1;
        asking.waits_for = Some(session);
        if self.is(M::RegisterEarly) {
            known.sessions[at(session)].phase = Phase::Open;
            begin_session(asking, session, sequencer);
        }
        Some(())
    }

    /// Whether the pod may offer this batch now.
    fn may_offer(&self, state: &State, pod: u8, batch: u8) -> bool {
        let of = &state.pods[at(pod)];
        let in_flight = |batch| {
            of.slots
                .iter()
                .flatten()
                .any(|slot| slot.placed.batch == batch)
        };
        if of.asked.is_some_and(|asked| asked != batch) || in_flight(batch) {
            return false;
        }
        if batch == PLAIN {
            return of.has_plain || !state.plain_taken;
        }
        // A client sends the second batch on a connection behind the first, or when that is acked.
        let first = batch == 0 || state.acked[0].is_some() || in_flight(0);
        first && state.acked[at(batch)].is_none()
    }

    fn reserve(&self, state: &mut State, pod: u8, batch: u8, heard: bool) -> Option<()> {
        let of = state.pods[at(pod)];
        let session = of
            .session
            .filter(|_| !of.is_lost && of.next < self.scenario.places)?;
        let sequencer = of.epoch - 1;
        self.may_offer(state, pod, batch).then_some(())?;
        let known = &mut state.sequencers[at(sequencer)];
        let asking = &mut state.pods[at(pod)];
        if known.status == Status::Dead || known.sessions[at(session)].phase != Phase::Open {
            // SessionClosed, or nobody answers: the session is given up as lost.
            asking.is_lost = true;
            asking.asked = None;
            return Some(());
        }
        if batch == PLAIN {
            state.plain_taken = true;
            asking.has_plain = true;
        }
        let again = known.sessions[at(session)].placed[at(of.next)];
        let verdict = match again.filter(|_| !self.is(M::ReservesTwice)) {
            Some(placed) => Verdict::Placed(placed.offset),
            None => known.judge(session, batch, self),
        };
        asking.asked = Some(batch);
        if let Verdict::Placed(offset) = verdict {
            if at(offset) >= OFFSETS {
                return None;
            }
            let placed = Placed { batch, offset };
            // The pod wrote what it was told first.
            let is_new = again.is_none() || self.is(M::ReservesTwice);
            if is_new {
                known.next += 1;
                known.sessions[at(session)].placed[at(of.next)] = Some(placed);
                known.advance(self);
                if self.is(M::FetchByReservation) {
                    let cached = &mut state.cached[at(offset)];
                    *cached = Some(cached.unwrap_or(batch));
                }
            }
            if self.is(M::ReservesTwice) && !heard && again.is_none() {
                // The first answer comes late, and the pod believes it.
                state.puts[at(session)][at(of.next)] = Some(placed);
            }
        }
        state.show(sequencer);
        if heard {
            self.hear_verdict(state, pod, batch, verdict)
        } else {
            Some(())
        }
    }

    fn hear_verdict(&self, state: &mut State, pod: u8, batch: u8, verdict: Verdict) -> Option<()> {
        let sequencer = state.pods[at(pod)].epoch - 1;
        let of = &mut state.pods[at(pod)];
        let session = of.session?;
        of.asked = None;
        match verdict {
            Verdict::Placed(offset) => {
                let told = Placed { batch, offset };
                let put = &mut state.puts[at(session)][at(of.next)];
                let placed = *put.get_or_insert(told);
                of.slots[at(of.next)] = Some(Slot {
                    placed,
                    is_known: false,
                });
                of.next += 1;
                of.has_plain &= batch != PLAIN;
            }
            Verdict::Duplicate(offset) => {
                // CP9: answered with the offset of a committed batch only.
                let log = state.log();
                let is_there = log.at.get(at(offset)).copied().flatten() == Some(batch);
                state.broken.duplicate |= !is_there;
                state.tell(Placed { batch, offset });
            }
            Verdict::Deferred => {}
            Verdict::Refused => {
                let deposed = state.durable.owner != sequencer + 1;
                if deposed && !self.is(M::RefusalUnchecked) {
                    // The epoch check of R1 finds the successor.
                    state.sequencers[at(sequencer)].status = Status::Dead;
                    return Some(());
                }
                state.broken.refusal = true;
            }
        }
        Some(())
    }

    /// Two batches in one segment: one that is deferred holds nothing up but itself.
    fn reserve_both(&self, state: &mut State, pod: u8) -> Option<()> {
        let of = state.pods[at(pod)];
        let session = of.session.filter(|_| !of.is_lost && of.asked.is_none())?;
        let both = self.may_offer(state, pod, 0) && self.may_offer(state, pod, PLAIN);
        let known = &state.sequencers[at(of.epoch - 1)];
        let open = known.sessions[at(session)].phase == Phase::Open;
        let deferred = known.judge(session, 0, self) == Verdict::Deferred;
        if !both || !open || !deferred {
            return None;
        }
        if self.is(M::SegmentWaits) {
            state.broken.deferral = true;
            return Some(());
        }
        self.reserve(state, pod, PLAIN, true)
    }

    fn learn(&self, state: &mut State, pod: u8, place: u8) -> Option<()> {
        let session = state.pods[at(pod)].session?;
        let cell = state.cell(session, place);
        let of = &mut state.pods[at(pod)];
        let slot = of.slots[at(place)].as_mut().filter(|slot| !slot.is_known)?;
        match cell {
            Cell::Empty => return None,
            Cell::Segment => slot.is_known = true,
            Cell::Seal if self.is(M::SealIsSuccess) => slot.is_known = true,
            Cell::Seal => {
                let is_plain = slot.placed.batch == PLAIN;
                of.is_lost = true;
                of.asked = None;
                if is_plain && self.is(M::ReofferOnSeal) {
                    of.has_plain = true;
                    of.slots[at(place)] = None;
                }
                return Some(());
            }
        }
        let told = slot.placed;
        if self.is(M::AckOutOfOrder) {
            state.tell(told);
            return Some(());
        }
        acknowledge(state, pod);
        Some(())
    }

    fn written(&self, state: &mut State, pod: u8) -> Option<()> {
        let of = state.pods[at(pod)];
        let session = of.session?;
        let sequencer = of.epoch - 1;
        let known = &mut state.sequencers[at(sequencer)];
        let phase = known.sessions[at(session)].phase;
        if known.status != Status::Serving || !matches!(phase, Phase::Open | Phase::Sealing) {
            return None;
        }
        let mut written = of.acked;
        if self.is(M::ConfirmOutOfOrder) {
            let last = of
                .slots
                .iter()
                .rposition(|slot| slot.is_some_and(|slot| slot.is_known));
            written = last.and_then(|last| u8::try_from(last + 1).ok())?;
        }
        for _ in known.sessions[at(session)].committed..written {
            known.commit_first(session, self);
        }
        state.show(sequencer);
        Some(())
    }

    fn give_up(&self, state: &mut State, pod: u8) -> Option<()> {
        let of = state.pods[at(pod)];
        // A process that waits for an answer that never comes asks again under another id (W1).
        let waits = of.waits_for.is_some_and(|session| {
            let pending = state.sequencers.iter().filter_map(|known| known.pending);
            !pending.into_iter().any(|pending| {
                matches!(pending.write, Write::Register { session: asked, .. } if asked == session)
            })
        });
        if waits && of.session.is_none() {
            state.pods[at(pod)].waits_for = None;
            return Some(());
        }
        if state.crashes >= self.scenario.crashes || of.session.is_none() {
            return None;
        }
        state.crashes += 1;
        state.pods[at(pod)] = Pod::default();
        Some(())
    }
}

/// W6: as far as all puts below succeeded.
fn acknowledge(state: &mut State, pod: u8) {
    loop {
        let of = &mut state.pods[at(pod)];
        let next = of.slots.get(at(of.acked)).copied().flatten();
        let Some(slot) = next.filter(|slot| slot.is_known) else {
            return;
        };
        of.acked += 1;
        state.tell(slot.placed);
    }
}

fn begin_session(pod: &mut Pod, session: u8, sequencer: u8) {
    *pod = Pod {
        session: Some(session),
        epoch: sequencer + 1,
        has_plain: pod.has_plain,
        ..Pod::default()
    };
}

/// The durable end settles what is in flight: below it committed, else surely not written.
fn hear_end(state: &mut State, pod: u8) -> Option<()> {
    let of = &mut state.pods[at(pod)];
    let session = of.session?;
    let end = state.durable.sessions[at(session)].end?;
    let mut has_plain = of.has_plain;
    let mut committed = Vec::new();
    for (place, slot) in (0_u8..).zip(of.slots) {
        match slot {
            Some(slot) if place < end => committed.push(slot.placed),
            Some(slot) => has_plain |= slot.placed.batch == PLAIN,
            None => {}
        }
    }
    *of = Pod {
        has_plain,
        ..Pod::default()
    };
    for placed in committed {
        state.tell(placed);
    }
    Some(())
}

fn checkpoint(state: &mut State, sequencer: u8, session: u8) -> Option<()> {
    let known = &mut state.sequencers[at(sequencer)];
    let open = known.sessions[at(session)];
    if known.status != Status::Serving || known.pending.is_some() {
        return None;
    }
    (open.checkpointed < open.committed).then_some(())?;
    let place = open.checkpointed;
    let placed = open.placed[at(place)]?;
    known.pending = Some(Pending {
        write: Write::Checkpoint {
            session,
            place,
            placed,
        },
        is_durable: false,
    });
    Some(())
}

fn ask(state: &mut State, sequencer: u8) -> Option<()> {
    let known = &state.sequencers[at(sequencer)];
    if state.question != Question::NotAsked || known.status != Status::Serving {
        return None;
    }
    let undecided = known.undecided().map(|(_, placed)| 1_u16 << placed.offset);
    state.question = Question::Asked {
        sequencer,
        floor: state.acked_end(),
        undecided: undecided.fold(0, |all, one| all | one),
        is_checked: false,
    };
    Some(())
}

impl ChainModel {
    /// R2: after the question came, nobody had taken over.
    fn check(&self, state: &mut State) -> Option<()> {
        let Question::Asked {
            sequencer,
            is_checked,
            ..
        } = &mut state.question
        else {
            return None;
        };
        if *is_checked {
            return None;
        }
        if state.durable.owner == *sequencer + 1 || self.is(M::LatestUnchecked) {
            *is_checked = true;
        } else {
            state.sequencers[at(*sequencer)].status = Status::Dead;
            state.question = Question::Answered;
        }
        Some(())
    }

    fn answer(&self, state: &mut State) -> Option<()> {
        let Question::Asked {
            sequencer,
            floor,
            undecided,
            is_checked,
        } = state.question
        else {
            return None;
        };
        let known = &state.sequencers[at(sequencer)];
        let mut waits = known.undecided().map(|(_, placed)| 1_u16 << placed.offset);
        let waits = waits.any(|one| undecided & one != 0) && !self.is(M::LatestUnwaited);
        if self.is(M::StaleOutOfRange) {
            // A client at the acknowledged end asks a pod that knows less, and is refused.
            state.broken.latest |= state.fetch_hw < floor;
        } else if !is_checked || waits || known.status != Status::Serving {
            return None;
        } else {
            state.broken.latest |= known.hw < floor;
        }
        state.question = Question::Answered;
        Some(())
    }

    fn fetch(&self, state: &mut State, sequencer: u8) -> Option<()> {
        let known = &state.sequencers[at(sequencer)];
        matches!(known.status, Status::Serving).then_some(())?;
        state.fetch_hw = if self.is(M::FetchTrustsAny) {
            known.hw
        } else {
            state.fetch_hw.max(known.hw)
        };
        state.fetch_shown = state.fetch_shown.max(state.fetch_hw);
        Some(())
    }

    fn collect(&self, state: &mut State, session: u8, place: u8) -> Option<()> {
        let record = state.durable.sessions[at(session)];
        let known = state.sequencers.iter();
        let in_memory = known.filter(|known| known.status == Status::Serving);
        let mut in_memory = in_memory.map(|known| known.sessions[at(session)].committed);
        let early = self.is(M::CollectedEarly) && in_memory.any(|committed| place < committed);
        let allowed = place < record.decided || record.end.is_some_and(|end| place >= end);
        let cell = &mut state.bucket[at(session)][at(place)];
        if *cell != Cell::Segment || !(allowed || early) {
            return None;
        }
        *cell = Cell::Empty;
        state.collected[at(session)][at(place)] = true;
        Some(())
    }
}

/// Whether the journal takes commands of this sequencer.
pub(crate) fn owns(state: &State, sequencer: u8) -> bool {
    state.durable.owner == sequencer + 1
}

/// The record of a session that is registered.
pub(crate) fn registered(state: &State, session: u8) -> Option<SessionRecord> {
    let record = state.durable.sessions[at(session)];
    (record.epoch > 0).then_some(record)
}
