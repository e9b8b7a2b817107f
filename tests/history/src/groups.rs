//! Consumer groups: committed offsets as registers, fences by generation, ownership.
//!
//! A commit is the last one until another that succeeded began behind its success. A question may
//! be answered with any commit that could be the last at some moment while it was open.

use std::collections::{BTreeMap, HashMap};

use crate::anomaly::Kind;
use crate::checker::Checker;
use crate::error::HistoryError;
use crate::findings::{Cite, Mark};
use crate::format::{Commit, Committed, Done, Owns};
use crate::limits::COMMITS_IN_DOUBT_MAX;
use crate::tables::{NameIndex, Outcome};

/// Group and partition.
type Place = (NameIndex, NameIndex);

/// A commit that may be the last one.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    serial: u64,
    offset: Option<u64>,
    cite: Cite,
    /// The answer that showed it first.
    seen: Cite,
    /// It is known to have had its effect by this line.
    done: Option<u64>,
    /// From this line on another one is surely behind it.
    over: Option<u64>,
}

/// The commits of one group and partition.
#[derive(Debug)]
struct Register {
    candidates: Vec<Candidate>,
    next_serial: u64,
    open_questions: u64,
    /// Too many commits were in doubt at once.
    is_unchecked: bool,
}

impl Register {
    fn new() -> Self {
        let nothing = Candidate {
            serial: 0,
            offset: None,
            cite: Cite::default(),
            seen: Cite::default(),
            done: Some(0),
            over: None,
        };
        Self {
            candidates: vec![nothing],
            next_serial: 1,
            open_questions: 0,
            is_unchecked: false,
        }
    }

    fn begin(&mut self, offset: u64, line: u64) -> u64 {
        let serial = self.next_serial;
        self.next_serial = serial.saturating_add(1);
        if self.candidates.len() > COMMITS_IN_DOUBT_MAX {
            self.is_unchecked = true;
            self.candidates.clear();
        }
        if !self.is_unchecked {
            self.candidates.push(Candidate {
                serial,
                offset: Some(offset),
                cite: Cite {
                    begun: line,
                    done: 0,
                },
                seen: Cite::default(),
                done: None,
                over: None,
            });
        }
        serial
    }

    fn complete(&mut self, serial: u64, outcome: Outcome, cite: Cite) {
        match outcome {
            Outcome::Ok => {
                let known = self.candidates.iter_mut().find(|one| one.serial == serial);
                if let Some(known) = known {
                    known.cite = cite;
                }
                self.took_effect(serial, cite.done);
            }
            Outcome::Fail => self.candidates.retain(|one| one.serial != serial),
            Outcome::Open | Outcome::Info => {}
        }
        self.prune();
    }

    /// It is known by this line that this commit had its effect.
    fn took_effect(&mut self, serial: u64, line: u64) {
        let Some(known) = self.candidates.iter_mut().find(|one| one.serial == serial) else {
            return;
        };
        known.done = Some(known.done.map_or(line, |done| done.min(line)));
        let begun = known.cite.begun;
        for one in &mut self.candidates {
            let was_before = one.done.is_some_and(|done| done < begun || done == 0);
            if one.serial != serial && was_before && one.over.is_none() {
                one.over = Some(line);
            }
        }
    }

    fn prune(&mut self) {
        if self.open_questions == 0 {
            self.candidates.retain(|one| one.over.is_none());
        }
    }

    /// Candidates for the answer of a question that began at this line.
    fn possible(&self, begun: u64) -> impl Iterator<Item = &Candidate> {
        let all = self.candidates.iter();
        all.filter(move |one| one.over.is_none_or(|over| over > begun))
    }
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    registers: HashMap<Place, Register>,
    generations: HashMap<NameIndex, Mark>,
    owners: BTreeMap<(Place, u32), (String, u64)>,
}

/// A commit on its way.
#[derive(Debug)]
pub(crate) struct OpenCommit {
    place: Place,
    serial: u64,
    generation: u32,
    fence: Option<Mark>,
}

/// A question for a committed offset on its way.
#[derive(Debug)]
pub(crate) struct OpenQuestion {
    place: Place,
    epoch: Option<Mark>,
}

impl Checker {
    fn register(&mut self, place: Place) -> &mut Register {
        self.groups
            .registers
            .entry(place)
            .or_insert_with(Register::new)
    }

    pub(crate) fn begin_commit(&mut self, commit: &Commit) -> Result<OpenCommit, HistoryError> {
        let place = (self.name(&commit.group)?, self.key(&commit.key)?);
        let line = self.line;
        let serial = self.register(place).begin(commit.offset, line);
        Ok(OpenCommit {
            place,
            serial,
            generation: commit.generation,
            fence: self.groups.generations.get(&place.0).copied(),
        })
    }

    pub(crate) fn complete_commit(&mut self, open: &OpenCommit, outcome: Outcome, cite: Cite) {
        self.register(open.place)
            .complete(open.serial, outcome, cite);
        if outcome != Outcome::Ok {
            return;
        }
        let generation = u64::from(open.generation);
        if let Some(fence) = open.fence.filter(|fence| generation < fence.value) {
            let lines = [fence.cite.lines(), cite.lines()].concat();
            let name = self.partition(open.place.1).name.clone();
            let why = || {
                format!(
                    "generation {generation} committed after {} began",
                    fence.value
                )
            };
            self.findings
                .found(Kind::FencedGroup, Some(&name), &lines, why);
        }
        self.hear_generation(open.place.0, open.generation, cite);
    }

    fn hear_generation(&mut self, group: NameIndex, generation: u32, cite: Cite) {
        let value = u64::from(generation);
        let heard = self.groups.generations.entry(group);
        let heard = heard.or_insert(Mark { value, cite });
        if value > heard.value {
            *heard = Mark { value, cite };
        }
    }

    pub(crate) fn begin_committed(
        &mut self,
        asked: &Committed,
    ) -> Result<OpenQuestion, HistoryError> {
        let place = (self.name(&asked.group)?, self.key(&asked.key)?);
        let register = self.register(place);
        register.open_questions = register.open_questions.saturating_add(1);
        let epoch = self.tables.sequencer_epoch;
        Ok(OpenQuestion { place, epoch })
    }

    pub(crate) fn complete_committed(
        &mut self,
        open: &OpenQuestion,
        done: &Done,
        outcome: Outcome,
        cite: Cite,
    ) {
        let name = self.partition(open.place.1).name.clone();
        let register = self.register(open.place);
        register.open_questions = register.open_questions.saturating_sub(1);
        if outcome != Outcome::Ok {
            register.prune();
            return;
        }
        if register.is_unchecked {
            self.figures.unchecked = self.figures.unchecked.saturating_add(1);
            return;
        }
        let possible: Vec<Candidate> = register.possible(cite.begun).copied().collect();
        let mut fitting = possible.iter().filter(|one| one.offset == done.offset);
        let (first, another) = (fitting.next(), fitting.next());
        if let (Some(only), None) = (first, another) {
            // From now on this one is known to have had its effect.
            let serial = only.serial;
            register.took_effect(serial, cite.done);
            let known = register
                .candidates
                .iter_mut()
                .find(|one| one.serial == serial);
            if let Some(known) = known.filter(|known| known.seen.done == 0) {
                known.seen = cite;
            }
        }
        register.prune();
        if first.is_none() {
            let mut lines = cite.lines().to_vec();
            let cites = possible.iter().flat_map(|one| [one.cite, one.seen]);
            lines.extend(cites.flat_map(Cite::lines));
            let could: Vec<Option<u64>> = possible.iter().map(|one| one.offset).collect();
            let why = || format!("{:?} was answered, it can be {could:?}", done.offset);
            self.findings
                .found(Kind::OffsetRegress, Some(&name), &lines, why);
        }
        self.check_epoch(open.epoch, done.epoch, cite);
    }

    pub(crate) fn note_owns(&mut self, owns: Owns) -> Result<(), HistoryError> {
        let group = self.name(&owns.group)?;
        let line = self.line;
        for name in owns.keys {
            let key = self.key(&name)?;
            let owner = self.groups.owners.entry(((group, key), owns.generation));
            let (member, before) = owner.or_insert_with(|| (owns.member.clone(), line));
            if *member != owns.member {
                let generation = owns.generation;
                let why = || format!("{member} and {} in generation {generation}", owns.member);
                let lines = [*before, line];
                self.findings
                    .found(Kind::Ownership, Some(&name), &lines, why);
            }
        }
        let cite = Cite {
            begun: line,
            done: 0,
        };
        self.hear_generation(group, owns.generation, cite);
        Ok(())
    }
}
