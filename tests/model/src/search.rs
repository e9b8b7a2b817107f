//! Searches a model to its end, or to the first broken rule, and tells what it found.

use std::hash::Hash;
use std::time::{Duration, Instant};

use stateright::{Checker as _, Expectation, HasDiscoveries, Model};

use crate::chain::{self, ChainModel};
use crate::journal::{self, JournalModel};

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The rule.
    pub rule: &'static str,
    /// The shortest way there.
    pub steps: Vec<String>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Different states.
    pub states: usize,
    /// Steps to the state that is farthest away.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// The first rule that is broken.
    pub broken: Option<Broken>,
    /// What must be possible and was never seen: a model in which nothing happens proves nothing.
    pub never: Vec<&'static str>,
}

/// Searches breadth first: to the end, or to the first broken rule; with `rule`, to the first state
/// that breaks this one.
///
/// Cost: about 70 000 states a second and thread of a dev build, 100 bytes a state.
#[expect(clippy::disallowed_methods, reason = "the time of a search is told")]
pub fn search<M>(model: M, threads: usize, rule: Option<&str>) -> Found
where
    M: Model + Send + Sync + 'static,
    M::State: std::fmt::Debug + Hash + Clone + PartialEq + Send + Sync,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync,
{
    let begun = Instant::now();
    let properties = model.properties();
    let names = properties.iter().map(|property| property.name);
    let wanted = names.filter(|name| rule.is_some_and(|rule| is_of(name, rule)));
    let until = match rule {
        Some(_) => HasDiscoveries::AnyOf(wanted.collect()),
        None => HasDiscoveries::AnyFailures,
    };
    let checker = model.checker().threads(threads).finish_when(until);
    let checker = checker.spawn_bfs().join();
    let mut broken = None;
    let mut never = Vec::new();
    for property in checker.model().properties() {
        let path = checker.discovery(property.name);
        let is_wish = matches!(property.expectation, Expectation::Sometimes);
        match path {
            None if is_wish => never.push(property.name),
            Some(path) if !is_wish && rule.is_none_or(|rule| is_of(property.name, rule)) => {
                let steps = path.into_actions();
                broken = Some(Broken {
                    rule: property.name,
                    steps: steps.iter().map(|step| format!("{step:?}")).collect(),
                });
            }
            Some(_) | None => {}
        }
    }
    Found {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        time: begun.elapsed(),
        broken,
        never,
    }
}

/// Whether a property is that of a rule: its name begins with it.
fn is_of(property: &str, rule: &str) -> bool {
    property.split(' ').next() == Some(rule)
}

/// Searches one scenario without a bug; whether all rules hold and all that must be possible is.
fn is_clean<M>(name: &str, model: M, tell: &mut dyn FnMut(&str)) -> bool
where
    M: Model + Send + Sync + 'static,
    M::State: std::fmt::Debug + Hash + Clone + PartialEq + Send + Sync,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync,
{
    let found = search(model, 2, None);
    let (states, depth) = (found.states, found.depth);
    let seconds = found.time.as_secs_f64();
    tell(&format!(
        "{name:18} {states:9} states, depth {depth:2}, {seconds:6.1} s"
    ));
    for wish in &found.never {
        tell(&format!("  never: {wish}"));
    }
    if let Some(Broken { rule, steps }) = &found.broken {
        tell(&format!("  BROKEN: {rule}"));
        steps.iter().for_each(|step| tell(&format!("    {step}")));
    }
    found.broken.is_none() && found.never.is_empty()
}

/// How much is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// On every change.
    Small,
    /// By a command of its own.
    Large,
}

/// Searches scenarios without a bug, all or those of these names; whether there are some, and all
/// are clean.
pub fn search_clean(bounds: Bounds, names: &[String], tell: &mut dyn FnMut(&str)) -> bool {
    let (chains, journals) = match bounds {
        Bounds::Small => (chain::SMALL, journal::SMALL),
        Bounds::Large => (chain::LARGE, journal::LARGE),
    };
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let mutation = None;
    let mut outcomes = Vec::new();
    for scenario in chains.iter().filter(|one| is_wanted(one.name)) {
        let scenario = *scenario;
        let model = ChainModel { scenario, mutation };
        outcomes.push(is_clean(scenario.name, model, tell));
    }
    let mutation = None;
    for scenario in journals.iter().filter(|one| is_wanted(one.name)) {
        let scenario = *scenario;
        let model = JournalModel { scenario, mutation };
        outcomes.push(is_clean(scenario.name, model, tell));
    }
    if outcomes.is_empty() {
        tell("no scenario has this name");
    }
    !outcomes.is_empty() && outcomes.iter().all(|good| *good)
}

/// Searches for the counterexample of a planted bug; whether there is one that breaks its rule.
fn is_found<M>(
    (says, breaks, name): (&str, &str, &str),
    model: M,
    tell: &mut dyn FnMut(&str),
) -> bool
where
    M: Model + Send + Sync + 'static,
    M::State: std::fmt::Debug + Hash + Clone + PartialEq + Send + Sync,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync,
{
    // One thread: the way that is found is a shortest one, and always the same.
    let found = search(model, 1, Some(breaks));
    let row = match &found.broken {
        Some(Broken { rule, steps }) => format!("{rule}: {} steps", steps.len()),
        None => format!("HIDDEN, {breaks} holds"),
    };
    let states = found.states;
    tell(&format!("  {says} -> {row} ({states} states, {name})"));
    found.broken.is_some()
}

/// Searches for the counterexample of each planted bug; whether there is one for each.
pub fn search_planted(tell: &mut dyn FnMut(&str)) -> bool {
    tell("planted bug -> broken rule: length of the counterexample");
    let mut hidden = 0;
    for planted in chain::Mutation::ALL {
        let scenario = planted.scenario();
        let mutation = Some(*planted);
        let model = ChainModel { scenario, mutation };
        let row = (planted.says(), planted.breaks(), scenario.name);
        hidden += u32::from(!is_found(row, model, tell));
    }
    for planted in journal::Mutation::ALL {
        let scenario = planted.scenario();
        let mutation = Some(*planted);
        let model = JournalModel { scenario, mutation };
        let row = (planted.says(), planted.breaks(), scenario.name);
        hidden += u32::from(!is_found(row, model, tell));
    }
    for (bug, why) in chain::ABSENT.iter().chain(journal::ABSENT) {
        tell(&format!("  not modelled: {bug} ({why})"));
    }
    hidden == 0
}
