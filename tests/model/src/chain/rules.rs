//! The invariants, by their names in docs/commit-protocol.md, as properties of every state.

use stateright::{Model, Property};

use super::scenario::ChainModel;
use super::state::{Cell, OFFSETS, PLAIN, Placed, State, Status, at, below};
use super::steps::Step;

impl Model for ChainModel {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.first()]
    }

    fn actions(&self, _state: &State, actions: &mut Vec<Step>) {
        self.steps(actions);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        self.after(state, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always("CP1 acknowledged stays, once", |_, state: &State| {
                acknowledged(state)
            }),
            Property::always("CP2 one content an offset", |_, state: &State| {
                !state.log().has_two_contents
            }),
            Property::always(
                "CP3 below a shown watermark nothing changes",
                |_, state: &State| unchanged(state),
            ),
            Property::always("CP4 what is served is the log", |_, state: &State| {
                served(state)
            }),
            Property::always(
                "CP5 nothing at or above an end is visible",
                |_, state: &State| ended(state),
            ),
            Property::always("CP6 watermarks never fall", |_, state: &State| {
                rising(state)
            }),
            Property::always(
                "CP7 no watermark in what is not committed",
                |_, state: &State| watermark(state),
            ),
            Property::always(
                "CP8 in sequence, none twice or skipped",
                |_, state: &State| sequence(state),
            ),
            Property::always(
                "CP9 duplicates are of committed batches",
                |_, state: &State| !state.broken.duplicate,
            ),
            Property::always(
                "CP12 LATEST covers what was acknowledged",
                |_, state: &State| !state.broken.latest,
            ),
            Property::always(
                "CP16 checkpoints are whole, once, in turn",
                |_, state: &State| indexed(state),
            ),
            Property::always("CP17 every seal is there", |_, state: &State| seals(state)),
            Property::always(
                "CP18 committed or void, never both",
                |model: &Self, state: &State| decided_once(model, state),
            ),
            Property::always("C2 commands fit the journal", |_, state: &State| {
                !state.broken.journal
            }),
            Property::always("D3 a deferral holds nothing else up", |_, state: &State| {
                !state.broken.deferral
            }),
            Property::always("D4 no healthy producer is refused", |_, state: &State| {
                !state.broken.refusal
            }),
        ];
        all.extend(wishes());
        all
    }
}

/// What must be possible: where nothing happens no rule is broken.
fn wishes() -> Vec<Property<ChainModel>> {
    vec![
        Property::sometimes(
            "everything is acknowledged",
            |model: &ChainModel, state: &State| {
                let plain = model.scenario.plain.then_some(PLAIN);
                let mut all = below(model.scenario.idempotent).chain(plain);
                all.all(|batch| state.acked[at(batch)].is_some())
            },
        ),
        Property::sometimes(
            "the last sequencer serves",
            |model: &ChainModel, state: &State| {
                let last = model.scenario.sequencers - 1;
                state.sequencers[at(last)].status == Status::Serving
            },
        ),
    ]
}

fn acknowledged(state: &State) -> bool {
    let log = state.log();
    let told = (0_u8..).zip(state.acked);
    let mut told = told.filter_map(|(batch, offset)| {
        Some(Placed {
            batch,
            offset: offset?,
        })
    });
    told.all(|placed| {
        let there = log
            .at
            .iter()
            .filter(|held| **held == Some(placed.batch))
            .count();
        log.at.get(at(placed.offset)).copied().flatten() == Some(placed.batch) && there == 1
    })
}

fn unchanged(state: &State) -> bool {
    let log = state.log();
    let is_same = |offset: u8| log.at.get(at(offset)) == state.shown.get(at(offset));
    let cached = below(state.fetch_hw).all(|offset| {
        let cached = state.cached.get(at(offset)).copied().flatten();
        cached.is_none() || log.at.get(at(offset)).copied().flatten() == cached
    });
    below(state.shown_hw).all(is_same) && cached
}

fn served(state: &State) -> bool {
    let log = state.log();
    let serving = state
        .sequencers
        .iter()
        .filter(|known| known.status == Status::Serving);
    serving.into_iter().all(|known| {
        below(known.hw).all(|offset| log.at.get(at(offset)) == known.log.get(at(offset)))
    })
}

fn ended(state: &State) -> bool {
    let serving = state
        .sequencers
        .iter()
        .filter(|known| known.status == Status::Serving);
    serving.into_iter().all(|known| {
        let sessions = known.sessions.iter().zip(state.durable.sessions);
        let mut ends = sessions.filter(|(_, record)| record.epoch > 0);
        ends.all(|(open, record)| record.end.is_none_or(|end| open.committed <= end))
    })
}

/// The owner of the journal, serving, shows at least what anybody ever did; so does a fetch pod.
fn rising(state: &State) -> bool {
    let owner = state.sequencers.get(at(state.durable.owner - 1));
    let serving = owner.filter(|known| known.status == Status::Serving);
    serving.is_none_or(|known| known.hw >= state.shown_hw) && state.fetch_hw >= state.fetch_shown
}

fn watermark(state: &State) -> bool {
    let serving = state
        .sequencers
        .iter()
        .filter(|known| known.status == Status::Serving);
    serving.into_iter().all(|known| {
        let last = known.hw.checked_sub(1);
        let ends = last.is_none_or(|last| known.log.get(at(last)).copied().flatten().is_some());
        ends && known
            .undecided()
            .all(|(_, placed)| placed.offset >= known.hw)
    })
}

fn sequence(state: &State) -> bool {
    let log = state.log();
    let batches = log.at.iter().flatten().filter(|batch| **batch != PLAIN);
    (0_u8..).zip(batches).all(|(due, batch)| *batch == due)
}

fn indexed(state: &State) -> bool {
    (0_u8..)
        .zip(state.durable.sessions)
        .all(|(session, record)| {
            below(record.decided).all(|place| {
                state.put(session, place).is_some_and(|placed| {
                    state.durable.index[at(placed.offset)] == Some(placed.batch)
                })
            })
        })
}

/// A seal at the durable end stays: what it stands on was free when it was put.
fn seals(state: &State) -> bool {
    (0_u8..)
        .zip(state.durable.sessions)
        .all(|(session, record)| {
            record.end.is_none_or(|end| {
                let has_place = state.bucket[at(session)].get(at(end)).is_some();
                !has_place || state.cell(session, end) == Cell::Seal
            })
        })
}

fn decided_once(model: &ChainModel, state: &State) -> bool {
    below(model.scenario.sessions).all(|session| {
        below(model.scenario.places).all(|place| {
            !state.voided[at(session)][at(place)] || !state.is_committed(session, place)
        })
    })
}

const _: () = assert!(
    OFFSETS >= 8,
    "each place of a scenario may have an offset of its own"
);
