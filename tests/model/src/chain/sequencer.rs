//! A sequencer's memory: reserve, commit, void, watermark, as services/sequencer does it.

use super::mutation::Mutation as M;
use super::scenario::ChainModel;
use super::state::{BATCHES, OFFSETS, PLAIN, Phase, Placed, Sequencer, State, at, end_of};

/// What a reservation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Placed(u8),
    Duplicate(u8),
    Deferred,
    Refused,
}

impl Sequencer {
    /// Undecided placements, with their sessions.
    pub(crate) fn undecided(&self) -> impl Iterator<Item = (u8, Placed)> {
        (0_u8..).zip(&self.sessions).flat_map(|(number, session)| {
            let is_open = !matches!(session.phase, Phase::Foreign | Phase::Ended(_));
            let rest = session.placed.iter().skip(at(session.committed));
            rest.flatten()
                .filter(move |_| is_open)
                .map(move |placed| (number, *placed))
        })
    }

    /// Where a batch is committed, as far as it knows.
    pub(crate) fn committed_at(&self, batch: u8) -> Option<u8> {
        let found = self.log.iter().position(|held| *held == Some(batch));
        found.and_then(|offset| u8::try_from(offset).ok())
    }

    fn first_undecided(&self) -> u8 {
        let offsets = self.undecided().map(|(_, placed)| placed.offset);
        offsets.min().unwrap_or(self.next)
    }

    /// H1.
    pub(crate) fn advance(&mut self, model: &ChainModel) {
        if model.is(M::HwIsLogEnd) {
            self.hw = self.next;
            return;
        }
        let ceiling = if model.is(M::HwIgnoresUndecided) {
            u8::MAX
        } else {
            self.first_undecided()
        };
        let below = |(offset, held): &(u8, &Option<u8>)| *offset < ceiling && held.is_some();
        let last = (0_u8..).zip(&self.log).filter(below).last();
        let reached = last.map_or(0, |(offset, _)| offset + 1);
        self.hw = self.hw.max(reached);
    }

    /// H2: the first place that is not committed is.
    pub(crate) fn commit_first(&mut self, session: u8, model: &ChainModel) {
        let open = &mut self.sessions[at(session)];
        let placed = open.placed.get(at(open.committed)).copied().flatten();
        let Some(placed) = placed else {
            return;
        };
        open.committed += 1;
        self.learn(placed, model);
        self.advance(model);
    }

    /// A batch is committed.
    pub(crate) fn learn(&mut self, placed: Placed, model: &ChainModel) {
        if let Some(cell) = self.log.get_mut(at(placed.offset)) {
            *cell = Some(placed.batch);
        }
        if placed.batch != PLAIN && model.is(M::FoldedByArrival) {
            self.last_folded = Some(placed.batch);
        }
    }

    /// Everything of the session at and above its committed places is void (D1).
    pub(crate) fn void(&mut self, session: u8, model: &ChainModel) {
        let open = &mut self.sessions[at(session)];
        for place in at(open.committed)..open.placed.len() {
            let placed = open.placed[place].take();
            if let Some(placed) = placed.filter(|_| model.is(M::OverlayKept)) {
                self.kept[at(placed.batch)] = Some(placed.offset);
            }
        }
        self.advance(model);
    }

    /// D1 to D4, as `overlay.rs` judges.
    pub(crate) fn judge(&self, session: u8, batch: u8, model: &ChainModel) -> Verdict {
        if batch == PLAIN {
            return Verdict::Placed(self.next);
        }
        if let Some(offset) = self.kept[at(batch)] {
            return Verdict::Duplicate(offset);
        }
        let due = self.due(model);
        if batch < due {
            return match self.committed_at(batch) {
                Some(offset) => Verdict::Duplicate(offset),
                None => Verdict::Refused,
            };
        }
        let waits = !model.is(M::NoWaitForOther);
        let producers = || {
            let all = self.undecided().filter(|(_, placed)| placed.batch != PLAIN);
            all.filter(move |(other, _)| waits || *other == session)
        };
        let original = producers().find(|(_, placed)| placed.batch == batch);
        if let Some((_, original)) = original.filter(|_| model.is(M::DuplicateOfUndecided)) {
            return Verdict::Duplicate(original.offset);
        }
        let elsewhere = producers().any(|(other, _)| other != session);
        if elsewhere {
            return Verdict::Deferred;
        }
        if producers().any(|(other, placed)| other == session && placed.batch == batch) {
            return Verdict::Deferred;
        }
        let overlay = producers().map(|(_, placed)| placed.batch + 1).max();
        if batch == overlay.unwrap_or(due).max(due) {
            Verdict::Placed(self.next)
        } else if overlay.is_some() {
            Verdict::Deferred
        } else {
            Verdict::Refused
        }
    }

    /// The sequence that comes next behind committed batches: a function of their set (D5).
    fn due(&self, model: &ChainModel) -> u8 {
        if model.is(M::FoldedByArrival) {
            return self.last_folded.map_or(0, |last| last + 1);
        }
        let held = self.log.iter().flatten().filter(|batch| **batch != PLAIN);
        held.map(|batch| batch + 1).max().unwrap_or(0)
    }

    /// Step 4 of a take-over: what is known decides next offset and watermark.
    pub(crate) fn rebuilt(&mut self) {
        self.next = end_of(&self.log);
        self.hw = self.next;
    }
}

impl State {
    /// What a sequencer shows is remembered: it can never change (CP3).
    pub(crate) fn show(&mut self, sequencer: u8) {
        let known = self.sequencers[at(sequencer)];
        for offset in self.shown_hw..known.hw {
            if at(offset) < OFFSETS {
                self.shown[at(offset)] = known.log[at(offset)];
            }
        }
        self.shown_hw = self.shown_hw.max(known.hw);
    }

    /// A client is told where its batch lies.
    pub(crate) fn tell(&mut self, placed: Placed) {
        let told = &mut self.acked[at(placed.batch)];
        if told.is_some_and(|before| before != placed.offset) {
            self.broken.duplicate = true;
        }
        *told = Some(told.unwrap_or(placed.offset));
    }

    /// End of what was acknowledged.
    pub(crate) fn acked_end(&self) -> u8 {
        let ends = self.acked.iter().flatten().map(|offset| offset + 1);
        ends.max().unwrap_or(0)
    }
}

const _: () = assert!(
    BATCHES == 3 && PLAIN == 2,
    "two batches of a producer, one without"
);
