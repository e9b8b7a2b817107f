//! What can happen, and what comes of it: `replay.rs`, `take_over.rs`, `pipeline.rs`, `collect.rs`.

use super::mutation::Mutation as M;
use super::scenario::JournalModel;
use super::state::{
    Object, PLACES, Process, Question, ROLLS, Role, SealRef, Snapshot, Stage, State, at,
};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A process starts: LIST as a hint, then roll 0 or a snapshot (J5).
    Start(u8),
    /// A reader's next look.
    Read(u8),
    /// One at the end of the journal looks again.
    ReadAgain(u8),
    /// It seals the first empty place.
    Challenge(u8),
    /// It learns who holds the key that it sent to.
    Learn(u8),
    /// A leader appends a command (J1).
    Append(u8),
    /// A leader learns who holds a place of its window.
    LearnPlace(u8, u8),
    /// A leader ends its roll (J9).
    Roll(u8),
    /// A leader writes a snapshot: its parts, then its list (J7).
    Snapshot(u8),
    /// A process is over.
    Crash(u8),
    /// What was sent arrives: of this author, at this roll and place.
    Arrive(u8, u8, u8),
    /// An entry that nobody needs is deleted (J4).
    Collect(u8, u8),
    /// An older snapshot is deleted (J7).
    CollectSnapshot(u8),
    /// A leader is asked (R1).
    Ask(u8),
    /// It looks at its next place, and answers (J8).
    Answer,
}

impl JournalModel {
    pub(crate) fn steps(&self, steps: &mut Vec<Step>) {
        let bounds = &self.scenario;
        for process in 0..bounds.processes {
            steps.extend([
                Step::Start(process),
                Step::Read(process),
                Step::ReadAgain(process),
                Step::Challenge(process),
                Step::Learn(process),
                Step::Append(process),
                Step::Roll(process),
                Step::Snapshot(process),
                Step::Crash(process),
            ]);
            for place in 0..bounds.places {
                steps.push(Step::LearnPlace(process, place));
                let arrivals = 0..bounds.rolls;
                steps.extend(arrivals.map(|roll| Step::Arrive(process, roll, place)));
            }
            if bounds.question {
                steps.push(Step::Ask(process));
            }
        }
        if bounds.question {
            steps.push(Step::Answer);
        }
        if bounds.collects {
            for roll in 0..bounds.rolls {
                steps.extend((0..bounds.places).map(|place| Step::Collect(roll, place)));
                steps.push(Step::CollectSnapshot(roll));
            }
        }
    }

    pub(crate) fn after(&self, before: &State, step: Step) -> Option<State> {
        let mut state = *before;
        match step {
            Step::Start(process) => self.start(&mut state, process),
            Step::Read(process) => self.read(&mut state, process),
            Step::ReadAgain(process) => read_again(&mut state, process),
            Step::Challenge(process) => self.challenge(&mut state, process),
            Step::Learn(process) => self.learn(&mut state, process),
            Step::Append(process) => self.append(&mut state, process),
            Step::LearnPlace(process, place) => self.learn_place(&mut state, process, place),
            Step::Roll(process) => self.roll(&mut state, process),
            Step::Snapshot(process) => self.snapshot(&mut state, process),
            Step::Crash(process) => self.crash(&mut state, process),
            Step::Arrive(author, roll, place) => arrive(&mut state, author, roll, place),
            Step::Collect(roll, place) => self.collect(&mut state, roll, place),
            Step::CollectSnapshot(roll) => self.collect_snapshot(&mut state, roll),
            Step::Ask(process) => ask(&mut state, process),
            Step::Answer => self.answer(&mut state),
        }?;
        (state != *before).then_some(state)
    }

    fn start(&self, state: &mut State, process: u8) -> Option<()> {
        // Processes start in the order of their numbers: they are alike.
        let before = process
            .checked_sub(1)
            .map(|before| state.processes[at(before)].role);
        if state.processes[at(process)].role != Role::Off || before == Some(Role::Off) {
            return None;
        }
        let newest = state
            .snapshots
            .iter()
            .rposition(|snapshot| snapshot.is_done);
        match newest.and_then(|newest| u8::try_from(newest).ok()) {
            Some(from) => {
                let too_old = false;
                state.processes[at(process)].role = Role::Climbing { from, too_old };
            }
            None => begin_at_first(state, process),
        }
        Some(())
    }

    fn read(&self, state: &mut State, process: u8) -> Option<()> {
        let of = state.processes[at(process)];
        match of.role {
            Role::Climbing { from, too_old } => self.climb(state, process, from, too_old),
            Role::Reading => {
                let verdict = state.opening(of.roll + 1);
                state.processes[at(process)].role = Role::Walking { verdict };
            }
            Role::Walking {
                verdict: Some(verdict),
            } => self.read_ended(state, process, verdict)?,
            Role::Walking { verdict: None } => match state.key(of.roll, of.next) {
                Some(Object::Entry { command, .. }) => apply(state, process, command),
                Some(Object::Seal { author, .. }) => {
                    let place = of.next;
                    let end = SealRef { place, author };
                    state.processes[at(process)].role = Role::MetSeal { end };
                }
                Some(Object::Head { .. }) => return None,
                None => state.processes[at(process)].role = Role::AtEnd,
            },
            Role::MetSeal { end } => match state.opening(of.roll + 1) {
                Some(verdict) => self.judge(state, process, end, verdict),
                None => state.processes[at(process)].role = Role::Ended { end },
            },
            _ => return None,
        }
        Some(())
    }

    /// A roll with a verdict is exactly the entries below the seal that it names.
    fn read_ended(&self, state: &mut State, process: u8, verdict: Object) -> Option<()> {
        let of = state.processes[at(process)];
        let end = verdict.prev()?;
        if of.next >= end.place {
            open_roll(state, process, of.roll + 1, verdict);
            return Some(());
        }
        match state.key(of.roll, of.next) {
            Some(Object::Entry { command, .. }) => apply(state, process, command),
            _ if self.is(M::EntrySkipped) => state.processes[at(process)].next += 1,
            _ => self.too_old(state, process),
        }
        Some(())
    }

    fn judge(&self, state: &mut State, process: u8, end: SealRef, verdict: Object) {
        let roll = state.processes[at(process)].roll;
        if verdict.prev() == Some(end) || self.is(M::SealBelieved) {
            open_roll(state, process, roll + 1, verdict);
        } else {
            self.too_old(state, process);
        }
    }

    fn too_old(&self, state: &mut State, process: u8) {
        state.is_damaged |= self.is(M::DamageDownwards);
        let from = state.processes[at(process)].roll + 1;
        state.processes[at(process)] = Process {
            role: Role::Climbing {
                from,
                too_old: true,
            },
            ..Process::default()
        };
    }

    fn climb(&self, state: &mut State, process: u8, from: u8, too_old: bool) {
        let snapshot = state.snapshots.get(at(from)).copied().unwrap_or_default();
        if let Snapshot {
            state: Some(commands),
            is_done: true,
        } = snapshot
            && let Some(opening) = state.opening(from)
        {
            state.processes[at(process)].state = commands;
            open_roll(state, process, from, opening);
        } else if state.opening(from + 1).is_some() {
            let from = from + 1;
            state.processes[at(process)].role = Role::Climbing { from, too_old };
        } else if too_old {
            state.is_damaged = true;
        } else {
            begin_at_first(state, process);
        }
    }

    fn challenge(&self, state: &mut State, process: u8) -> Option<()> {
        let of = state.processes[at(process)];
        let author = process;
        match of.role {
            Role::NotBegun => {
                let head = Object::Head { author, prev: None };
                send(state, process, 0, 0, head)?;
                state.processes[at(process)].role = Role::Founding;
            }
            Role::AtEnd => {
                let place = of.next + u8::from(self.is(M::SealNotLowest));
                (place < self.scenario.places).then_some(())?;
                let seal = Object::Seal { author, prev: None };
                send(state, process, of.roll, place, seal)?;
                let at_opening = false;
                state.processes[at(process)].role = Role::Challenging { place, at_opening };
            }
            // The owner named by the seal does not come.
            Role::Ended { end } if end.author != process => {
                let prev = Some(end);
                (of.roll + 2 < self.scenario.rolls).then_some(())?;
                let seal = Object::Seal { author, prev };
                send(state, process, of.roll + 1, 0, seal)?;
                let (place, at_opening) = (0, true);
                state.processes[at(process)].role = Role::Challenging { place, at_opening };
            }
            Role::Ended { end } => {
                let prev = Some(end);
                (of.roll + 1 < self.scenario.rolls).then_some(())?;
                send(
                    state,
                    process,
                    of.roll + 1,
                    0,
                    Object::Head { author, prev },
                )?;
                state.processes[at(process)].role = Role::Heading { end };
                if self.is(M::LeadsBeforeHead) {
                    lead(state, process, of.roll + 1);
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Who holds the key that was sent to.
    fn learn(&self, state: &mut State, process: u8) -> Option<()> {
        let of = state.processes[at(process)];
        match of.role {
            Role::Founding => {
                let holder = state.opening(0)?;
                if holder.author() == process {
                    lead(state, process, 0);
                } else {
                    begin_at_first(state, process);
                }
            }
            Role::Challenging { place, at_opening } => {
                let roll = of.roll + u8::from(at_opening);
                let holder = state.key(roll, place)?;
                let of = &mut state.processes[at(process)];
                let author = process;
                if holder.author() == process {
                    of.roll = roll;
                    of.role = Role::Ended {
                        end: SealRef { place, author },
                    };
                } else {
                    of.role = Role::Reading;
                }
            }
            Role::Heading { end } => {
                let holder = state.opening(of.roll + 1)?;
                if holder.author() == process || self.is(M::StrangersHead) {
                    lead(state, process, of.roll + 1);
                } else if self.is(M::OldState) {
                    open_roll(state, process, of.roll + 1, holder);
                } else {
                    self.judge(state, process, end, holder);
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn append(&self, state: &mut State, process: u8) -> Option<()> {
        let of = state.processes[at(process)];
        let open = of.role == Role::Leading && of.stage == Stage::Open;
        let room = of.next - of.durable.min(of.next) < self.scenario.in_flight;
        let command = state.next_command;
        if !open || !room || command >= self.scenario.commands {
            return None;
        }
        // The last place is kept for a seal.
        (of.next + 1 < self.scenario.places).then_some(())?;
        let author = process;
        send(
            state,
            process,
            of.roll,
            of.next,
            Object::Entry { author, command },
        )?;
        state.processes[at(process)].next += 1;
        state.next_command += 1;
        Some(())
    }

    fn learn_place(&self, state: &mut State, process: u8, place: u8) -> Option<()> {
        let of = state.processes[at(process)];
        if of.role != Role::Leading {
            return None;
        }
        if of.stage == Stage::Heading {
            (place == 0).then_some(())?;
            let holder = state.opening(of.roll + 1)?;
            if holder.author() == process {
                lead(state, process, of.roll + 1);
            } else {
                state.processes[at(process)].role = Role::Over;
            }
            return Some(());
        }
        let in_window = of.durable <= place && place < of.next && !of.known[at(place)];
        in_window.then_some(())?;
        let holder = state.key(of.roll, place)?;
        if holder.author() != process && !self.is(M::SealIsSuccess) {
            state.processes[at(process)].role = Role::Over;
            return Some(());
        }
        state.processes[at(process)].known[at(place)] = true;
        if self.is(M::AnswerOutOfOrder)
            && let Some(Object::Entry { command, .. }) = own(state, process, place)
        {
            state.answered.push(command);
        }
        self.advance(state, process);
        Some(())
    }

    /// J2: durable is a prefix, told in order.
    fn advance(&self, state: &mut State, process: u8) {
        loop {
            let of = state.processes[at(process)];
            let early = self.is(M::OwnSealEarly) && of.stage == Stage::Sealing;
            let last = of.next.saturating_sub(1);
            if early && of.known[at(last)] {
                self.send_head(state, process, last);
                return;
            }
            if of.durable >= of.next || !of.known[at(of.durable)] {
                return;
            }
            let place = of.durable;
            state.processes[at(process)].durable += 1;
            match own(state, process, place) {
                Some(Object::Entry { command, .. }) => {
                    state.processes[at(process)].state.push(command);
                    if !self.is(M::AnswerOutOfOrder) {
                        state.answered.push(command);
                    }
                }
                Some(Object::Seal { .. }) => self.send_head(state, process, place),
                Some(Object::Head { .. }) | None => {}
            }
        }
    }

    fn send_head(&self, state: &mut State, process: u8, place: u8) {
        let author = process;
        let prev = Some(SealRef { place, author });
        let roll = state.processes[at(process)].roll;
        if send(state, process, roll + 1, 0, Object::Head { author, prev }).is_some() {
            state.processes[at(process)].stage = Stage::Heading;
        }
    }

    fn roll(&self, state: &mut State, process: u8) -> Option<()> {
        let of = state.processes[at(process)];
        let open = of.role == Role::Leading && of.stage == Stage::Open;
        let room = of.next - of.durable.min(of.next) < self.scenario.in_flight;
        let can = of.next > 1 && of.roll + 1 < self.scenario.rolls;
        (open && room && can && of.next < self.scenario.places).then_some(())?;
        let author = process;
        send(
            state,
            process,
            of.roll,
            of.next,
            Object::Seal { author, prev: None },
        )?;
        let of = &mut state.processes[at(process)];
        of.next += 1;
        of.stage = Stage::Sealing;
        Some(())
    }

    fn snapshot(&self, state: &mut State, process: u8) -> Option<()> {
        let of = state.processes[at(process)];
        if of.role != Role::Leading || of.roll == 0 || !self.scenario.collects {
            return None;
        }
        let held = if self.is(M::SnapshotOfRoll) {
            of.state
        } else {
            of.at_start
        };
        let snapshot = state.snapshots.get_mut(at(of.roll))?;
        if self.is(M::DoneFirst) {
            if !snapshot.is_done {
                snapshot.is_done = true;
            } else {
                snapshot.state = Some(held);
            }
        } else if snapshot.state.is_none() && !of.snapshot_taken {
            snapshot.state = Some(held);
            state.processes[at(process)].snapshot_taken = true;
        } else if snapshot.state.is_some() {
            snapshot.is_done = true;
        }
        Some(())
    }

    fn crash(&self, state: &mut State, process: u8) -> Option<()> {
        let last = process + 1 >= self.scenario.processes;
        let of = &mut state.processes[at(process)];
        if last || matches!(of.role, Role::Off | Role::Over) {
            return None;
        }
        *of = Process {
            role: Role::Over,
            ..Process::default()
        };
        Some(())
    }

    fn collect(&self, state: &mut State, roll: u8, place: u8) -> Option<()> {
        let above = state.snapshots.iter().skip(at(roll) + 1);
        let done = above.into_iter().any(|snapshot| snapshot.is_done);
        let ended = state.opening(roll + 1).is_some();
        let allowed = ended && (done || self.is(M::CollectedEarly));
        let key = state.keys.get_mut(at(roll))?.get_mut(at(place))?;
        let is_entry = matches!(key, Some(Object::Entry { .. }));
        let any = self.is(M::OpeningDeleted) && key.is_some() && place == 0 && roll > 0;
        (allowed && (is_entry || any)).then(|| *key = None)
    }

    fn collect_snapshot(&self, state: &mut State, roll: u8) -> Option<()> {
        let above = state.snapshots.iter().skip(at(roll) + 1);
        let later = above.into_iter().any(|snapshot| snapshot.is_done);
        let snapshot = state.snapshots.get_mut(at(roll))?;
        let can = snapshot.is_done && (later || self.is(M::NewestDoneDeleted));
        can.then(|| *snapshot = Snapshot::default())
    }

    fn answer(&self, state: &mut State) -> Option<()> {
        let Question::Asked { process, floor } = state.question else {
            return None;
        };
        let of = state.processes[at(process)];
        if of.role != Role::Leading || of.stage != Stage::Open {
            return None;
        }
        let quiet = of.durable == of.next || self.is(M::CheckedInFlight);
        let looked = state.key(of.roll, of.next);
        if !self.is(M::Unchecked) {
            quiet.then_some(())?;
            if looked.is_some() {
                state.processes[at(process)].role = Role::Over;
                state.question = Question::Answered;
                return Some(());
            }
        }
        state.is_stale |= !floor.is_within(&of.state);
        state.question = Question::Answered;
        Some(())
    }
}

/// What a process sent to a place of its own roll.
fn own(state: &State, process: u8, place: u8) -> Option<Object> {
    let roll = state.processes[at(process)].roll;
    state.sent[at(roll)][at(place)][at(process)]
}

fn begin_at_first(state: &mut State, process: u8) {
    let opening = state.opening(0);
    state.processes[at(process)] = Process {
        role: Role::NotBegun,
        ..Process::default()
    };
    if let Some(opening) = opening {
        open_roll(state, process, 0, opening);
    }
}

fn open_roll(state: &mut State, process: u8, roll: u8, opening: Object) {
    let of = &mut state.processes[at(process)];
    of.roll = roll;
    of.next = 1;
    of.role = match opening {
        Object::Seal { author, .. } => Role::Ended {
            end: SealRef { place: 0, author },
        },
        Object::Head { .. } | Object::Entry { .. } => Role::Reading,
    };
}

fn read_again(state: &mut State, process: u8) -> Option<()> {
    let of = &mut state.processes[at(process)];
    match of.role {
        Role::AtEnd => of.role = Role::Reading,
        Role::Ended { end } => of.role = Role::MetSeal { end },
        _ => return None,
    }
    Some(())
}

fn apply(state: &mut State, process: u8, command: u8) {
    let of = &mut state.processes[at(process)];
    of.state.push(command);
    of.next += 1;
}

/// Its head is known: it owns the roll, and must lack nothing of those before.
fn lead(state: &mut State, process: u8, roll: u8) {
    let held = state.processes[at(process)].state;
    state.lacks |= held != state.truth(roll);
    state.processes[at(process)] = Process {
        role: Role::Leading,
        roll,
        next: 1,
        state: held,
        stage: Stage::Open,
        durable: 1,
        known: [false; PLACES],
        at_start: held,
        snapshot_taken: false,
    };
}

fn send(state: &mut State, process: u8, roll: u8, place: u8, object: Object) -> Option<()> {
    let slot = state.sent.get_mut(at(roll))?.get_mut(at(place))?;
    let slot = slot.get_mut(at(process))?;
    slot.is_none().then(|| *slot = Some(object))
}

fn arrive(state: &mut State, author: u8, roll: u8, place: u8) -> Option<()> {
    let object = state.sent[at(roll)][at(place)][at(author)]?;
    let key = &mut state.keys[at(roll)][at(place)];
    if key.is_some() {
        return None;
    }
    *key = Some(object);
    state.written[at(roll)][at(place)].get_or_insert(object);
    Some(())
}

fn ask(state: &mut State, process: u8) -> Option<()> {
    let leads = state.processes[at(process)].role == Role::Leading;
    if state.question != Question::NotAsked || !leads {
        return None;
    }
    let floor = state.answered;
    state.question = Question::Asked { process, floor };
    Some(())
}

const _: () = assert!(
    ROLLS >= 3 && PLACES >= 4,
    "a roll of two entries, and one behind it"
);
