//! The journal's rules, by their names in docs/journal.md, as properties of every state.

use stateright::{Model, Property};

use super::scenario::JournalModel;
use super::state::{ROLLS, Role, State, at};
use super::steps::Step;

impl Model for JournalModel {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, _state: &State, actions: &mut Vec<Step>) {
        self.steps(actions);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        self.after(state, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "J2 what was answered is in the journal, once",
                |_, state: &State| {
                    let truth = state.truth(u8::MAX);
                    state.answered.is_within(&truth) && !truth.repeats()
                },
            ),
            Property::always("J3 a new leader lacks nothing", |_, state: &State| {
                !state.lacks && complete(state)
            }),
            Property::always("J4 seals and places 0 stay", |_, state: &State| kept(state)),
            Property::always("J5 nothing whole is called damage", |_, state: &State| {
                !state.is_damaged
            }),
            Property::always(
                "J7 a snapshot is the state before its roll",
                |_, state: &State| snapshots(state),
            ),
            Property::always("J8 answers are current", |_, state: &State| !state.is_stale),
            Property::sometimes(
                "every command is answered",
                |model: &Self, state: &State| state.answered.count == model.scenario.commands,
            ),
            Property::sometimes("the last process leads", |model: &Self, state: &State| {
                let last = model.scenario.processes - 1;
                state.processes[at(last)].role == Role::Leading
            }),
        ]
    }
}

/// Each leader, deposed or not, began with everything that its roll was begun behind.
fn complete(state: &State) -> bool {
    let leading = state
        .processes
        .iter()
        .filter(|process| process.role == Role::Leading);
    leading
        .into_iter()
        .all(|process| process.at_start == state.truth(process.roll))
}

fn kept(state: &State) -> bool {
    let rolls = state.keys.iter().zip(&state.written);
    rolls
        .into_iter()
        .all(|(keys, written)| written[0].is_none() || keys[0].is_some())
}

fn snapshots(state: &State) -> bool {
    (0..ROLLS).all(|roll| {
        let snapshot = state.snapshots[roll];
        let until = u8::try_from(roll).unwrap_or(u8::MAX);
        let held = snapshot.state.filter(|_| snapshot.is_done);
        held.is_none_or(|held| held == state.truth(until))
    })
}
