//! Sealing, the journal's answers, and the take-over: `decide.rs`, `stall.rs`, `recover.rs`.

use super::mutation::Mutation as M;
use super::scenario::ChainModel;
use super::state::{Cell, OpenSession, Pending, Phase, Sequencer, State, Status, Write, at, below};
use super::steps::{owns, registered};

impl ChainModel {
    /// A look at the first undecided place. `Missing` proves nothing (Q2).
    pub(crate) fn probe(&self, state: &mut State, sequencer: u8, session: u8) -> Option<()> {
        let open = self.own_session(state, sequencer, session)?;
        let place = open.committed;
        if self.is(M::CommitByExistence) {
            return self.commit_by_existence(state, sequencer, session, open);
        }
        open.placed.get(at(place)).copied().flatten()?;
        match state.cell(session, place) {
            Cell::Segment => state.sequencers[at(sequencer)].commit_first(session, self),
            Cell::Seal => self.seen_seal(state, sequencer, session)?,
            Cell::Empty if self.is(M::VoidBy404) => self.seen_seal(state, sequencer, session)?,
            Cell::Empty => return None,
        }
        state.show(sequencer);
        Some(())
    }

    /// Its own session, not ending.
    fn own_session(&self, state: &State, sequencer: u8, session: u8) -> Option<OpenSession> {
        let known = &state.sequencers[at(sequencer)];
        let open = known.sessions[at(session)];
        let is_open = matches!(open.phase, Phase::Open | Phase::Sealing);
        (known.status == Status::Serving && is_open).then_some(open)
    }

    fn commit_by_existence(
        &self,
        state: &mut State,
        sequencer: u8,
        session: u8,
        open: OpenSession,
    ) -> Option<()> {
        let place = below(self.scenario.places)
            .skip(at(open.committed))
            .find(|place| {
                state.cell(session, *place) == Cell::Segment && open.placed[at(*place)].is_some()
            })?;
        let known = &mut state.sequencers[at(sequencer)];
        let placed = known.sessions[at(session)].placed[at(place)].take()?;
        known.learn(placed, self);
        known.advance(self);
        state.show(sequencer);
        Some(())
    }

    /// Q1: create a seal at the first place that is not committed, and look again if it is taken.
    pub(crate) fn seal(&self, state: &mut State, sequencer: u8, session: u8) -> Option<()> {
        let open = self.own_session(state, sequencer, session)?;
        let place = at(open.committed);
        let known = &mut state.sequencers[at(sequencer)];
        known.sessions[at(session)].phase = Phase::Sealing;
        let cell = state.bucket[at(session)].get_mut(place)?;
        match *cell {
            Cell::Segment if open.placed[place].is_some() => known.commit_first(session, self),
            // A segment that was collected, revived: nobody reserved it here. Damaged.
            Cell::Segment => return None,
            Cell::Empty | Cell::Seal => {
                *cell = Cell::Seal;
                self.seen_seal(state, sequencer, session)?;
            }
        }
        state.show(sequencer);
        Some(())
    }

    /// A seal stands where all below is committed: the end is to become durable (C2).
    fn seen_seal(&self, state: &mut State, sequencer: u8, session: u8) -> Option<()> {
        let known = &mut state.sequencers[at(sequencer)];
        if known.pending.is_some() {
            return None;
        }
        let end = known.sessions[at(session)].committed;
        known.sessions[at(session)].phase = Phase::Ending(end);
        known.pending = Some(Pending {
            write: Write::End { session, end },
            is_durable: false,
        });
        if self.is(M::VoidBeforeDurable) {
            self.end(state, sequencer, session, end);
        }
        Some(())
    }

    /// What lies at and above the end is void now.
    fn end(&self, state: &mut State, sequencer: u8, session: u8, end: u8) {
        let known = &mut state.sequencers[at(sequencer)];
        let reserved = known.sessions[at(session)].placed;
        known.void(session, self);
        known.sessions[at(session)].phase = Phase::Ended(end);
        known.advance(self);
        for place in below(self.scenario.places).skip(at(end)) {
            state.voided[at(session)][at(place)] |= reserved[at(place)].is_some();
        }
        state.show(sequencer);
    }

    /// The journal takes the command of its owner, and of nobody else.
    pub(crate) fn durable(&self, state: &mut State, sequencer: u8) -> Option<()> {
        let pending = state.sequencers[at(sequencer)].pending?;
        if pending.is_durable {
            return None;
        }
        let unfenced = match pending.write {
            Write::Register { .. } => self.is(M::RegisterUnfenced),
            Write::Checkpoint { .. } => self.is(M::CheckpointUnfenced),
            Write::End { .. } | Write::Entries { .. } => false,
        };
        if !owns(state, sequencer) && !unfenced {
            return None;
        }
        state.sequencers[at(sequencer)].pending = Some(Pending {
            is_durable: true,
            ..pending
        });
        self.apply(state, sequencer, pending.write);
        Some(())
    }

    /// `LogState::apply`: what does not fit stops the process (Damaged).
    fn apply(&self, state: &mut State, sequencer: u8, write: Write) {
        let durable = &mut state.durable;
        match write {
            Write::Register { session, .. } => {
                let record = &mut durable.sessions[at(session)];
                state.broken.journal |= record.epoch > 0;
                record.epoch = sequencer + 1;
            }
            Write::End { session, end } => {
                let record = &mut durable.sessions[at(session)];
                let moved = record.end.is_some_and(|known| known != end);
                state.broken.journal |= moved || end < record.decided;
                record.end = Some(end);
            }
            Write::Checkpoint {
                session,
                place,
                placed,
            } => {
                let record = &mut durable.sessions[at(session)];
                let past_end = record.end.is_some_and(|end| place >= end);
                state.broken.journal |= place != record.decided || past_end;
                record.decided = place + 1;
                if !self.is(M::CheckpointSplit) {
                    durable.index[at(placed.offset)] = Some(placed.batch);
                }
            }
            Write::Entries { placed } => {
                durable.index[at(placed.offset)] = Some(placed.batch);
            }
        }
    }

    /// The sequencer hears of its command: durable, or refused because it is deposed.
    pub(crate) fn hear(&self, state: &mut State, sequencer: u8) -> Option<()> {
        let pending = state.sequencers[at(sequencer)].pending?;
        if !pending.is_durable {
            if owns(state, sequencer) {
                return None;
            }
            let known = &mut state.sequencers[at(sequencer)];
            known.status = Status::Dead;
            known.pending = None;
            return Some(());
        }
        let known = &mut state.sequencers[at(sequencer)];
        known.pending = None;
        match pending.write {
            Write::Register { session, pod } => {
                known.sessions[at(session)].phase = Phase::Open;
                let asking = &mut state.pods[at(pod)];
                if asking.waits_for == Some(session) && asking.session.is_none() {
                    asking.session = Some(session);
                    asking.epoch = sequencer + 1;
                    asking.waits_for = None;
                }
            }
            Write::End { session, end } if known.status == Status::Serving => {
                if matches!(known.sessions[at(session)].phase, Phase::Ending(_)) {
                    self.end(state, sequencer, session, end);
                }
            }
            Write::End { session, end } => {
                known.sessions[at(session)].phase = Phase::Ended(end);
            }
            Write::Checkpoint {
                session, placed, ..
            } => {
                known.sessions[at(session)].checkpointed += 1;
                if self.is(M::CheckpointSplit) {
                    known.pending = Some(Pending {
                        write: Write::Entries { placed },
                        is_durable: false,
                    });
                }
            }
            Write::Entries { .. } => {}
        }
        Some(())
    }

    /// Step 1: the next sequencer owns the journal; the one before does not know.
    pub(crate) fn take_over(&self, state: &mut State) -> Option<()> {
        let next = state.durable.owner;
        if next >= self.scenario.sequencers {
            return None;
        }
        state.durable.owner = next + 1;
        let mut known = Sequencer {
            status: Status::Walking,
            log: state.durable.index,
            ..Sequencer::default()
        };
        for session in below(self.scenario.sessions) {
            let record = state.durable.sessions[at(session)];
            let open = &mut known.sessions[at(session)];
            open.committed = if self.is(M::ProbeFromZero) {
                0
            } else {
                record.decided
            };
            open.checkpointed = record.decided;
            let is_settled = record.end.is_some_and(|end| end <= record.decided);
            open.walked = record.end.filter(|_| is_settled);
        }
        if self.is(M::SessionSkipped) {
            let mut all = below(self.scenario.sessions);
            let skipped = all.find(|session| registered(state, *session).is_some());
            if let Some(session) = skipped {
                known.sessions[at(session)].walked = Some(PLACE_NONE);
            }
        }
        state.sequencers[at(next)] = known;
        Some(())
    }

    /// Step 3: one place further, or the end.
    pub(crate) fn walk(&self, state: &mut State, sequencer: u8, session: u8) -> Option<()> {
        let known = state.sequencers[at(sequencer)];
        let open = known.sessions[at(session)];
        let record = registered(state, session)?;
        // What was registered behind the take-over is not in the state that was loaded.
        let is_loaded = record.epoch <= sequencer;
        if known.status != Status::Walking || open.walked.is_some() || !is_loaded {
            return None;
        }
        let place = open.committed;
        if record.end.is_some_and(|end| place >= end) {
            state.sequencers[at(sequencer)].sessions[at(session)].walked = record.end;
            return Some(());
        }
        let cell = state.cell(session, place);
        match cell {
            Cell::Segment => self.walked_over(state, sequencer, session, place)?,
            // Below a durable end: damage, stop and alarm.
            _ if record.end.is_some() => state.broken.journal = true,
            Cell::Seal if self.is(M::ReadPastSeal) => {
                let beyond = state.cell(session, place + 1) == Cell::Segment;
                if beyond {
                    let placed = state.put(session, place + 1)?;
                    state.sequencers[at(sequencer)].learn(placed, self);
                }
                state.sequencers[at(sequencer)].sessions[at(session)].walked = Some(place);
            }
            Cell::Seal => {
                state.sequencers[at(sequencer)].sessions[at(session)].walked = Some(place);
            }
            Cell::Empty if self.is(M::SealAboveIsEnd) => {
                let above = state.bucket[at(session)].get_mut(at(place + 1))?;
                (*above == Cell::Empty).then(|| *above = Cell::Seal)?;
                state.sequencers[at(sequencer)].sessions[at(session)].walked = Some(place + 1);
            }
            Cell::Empty => {
                // A place beyond the last of a full session is never put to.
                if let Some(cell) = state.bucket[at(session)].get_mut(at(place)) {
                    *cell = Cell::Seal;
                }
                state.sequencers[at(sequencer)].sessions[at(session)].walked = Some(place);
            }
        }
        Some(())
    }

    fn walked_over(&self, state: &mut State, sequencer: u8, session: u8, place: u8) -> Option<()> {
        let placed = state.put(session, place)?;
        let known = &mut state.sequencers[at(sequencer)];
        let taken = known.log[at(placed.offset)];
        // Two contents for one offset stop the take-over; told by CP2 as well.
        state.broken.journal |= taken.is_some_and(|batch| batch != placed.batch);
        known.learn(placed, self);
        let open = &mut known.sessions[at(session)];
        open.placed[at(place)] = Some(placed);
        open.committed += 1;
        Some(())
    }

    pub(crate) fn rebuild(&self, state: &mut State, sequencer: u8) -> Option<()> {
        if state.sequencers[at(sequencer)].status != Status::Walking {
            return None;
        }
        let mut loaded = below(self.scenario.sessions).filter(|session| {
            registered(state, *session).is_some_and(|record| record.epoch <= sequencer)
        });
        let all = loaded.all(|session| {
            state.sequencers[at(sequencer)].sessions[at(session)]
                .walked
                .is_some()
        });
        if !all && !self.is(M::AssignEarly) {
            return None;
        }
        let known = &mut state.sequencers[at(sequencer)];
        if self.is(M::FoldedByArrival) {
            fold_by_session(known);
        }
        known.rebuilt();
        known.status = Status::Settling;
        Some(())
    }

    /// Step 5: ends and segments become durable one after the other; then it serves (CP11).
    pub(crate) fn settle(&self, state: &mut State, sequencer: u8) -> Option<()> {
        let known = state.sequencers[at(sequencer)];
        if known.status != Status::Settling || known.pending.is_some() {
            return None;
        }
        let write = below(self.scenario.sessions).find_map(|session| {
            let open = known.sessions[at(session)];
            let record = registered(state, session)?;
            let end = open.walked.filter(|end| *end != PLACE_NONE)?;
            if record.end.is_none() {
                return Some(Write::End { session, end });
            }
            let place = open.checkpointed.max(record.decided);
            let placed = open.placed.get(at(place)).copied().flatten()?;
            (place < open.committed).then_some(Write::Checkpoint {
                session,
                place,
                placed,
            })
        });
        let known = &mut state.sequencers[at(sequencer)];
        match write {
            Some(write) => {
                known.pending = Some(Pending {
                    write,
                    is_durable: false,
                });
            }
            None => {
                known.status = Status::Serving;
                state.show(sequencer);
            }
        }
        Some(())
    }
}

/// Stands for the end of a session that was not looked at.
const PLACE_NONE: u8 = u8::MAX;

/// Of the batches of the producer the one read last counts, in the order of sessions.
fn fold_by_session(known: &mut Sequencer) {
    let mut placed = known.sessions.iter().flat_map(|open| open.placed).flatten();
    let last = placed.rfind(|placed| placed.batch != super::state::PLAIN);
    if let Some(last) = last {
        known.last_folded = Some(last.batch);
    }
}
