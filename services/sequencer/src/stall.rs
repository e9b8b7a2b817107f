//! Segments that stay undecided: looked for, then their session is sealed (H3, D3, Q1).
//!
//! Progress only: nothing here makes a segment committed or void. Each session has at most one look
//! and one seal on its way, spaced out by doubling delays.

use esker_metadata_api::SessionEnd;
use esker_types::{MonotonicTime, SegmentId, SessionId};
use esker_types::{Planted, planted};

use crate::session::{Phase, Session};
use crate::state::LogState;
use crate::{Effect, EndAnswer, Sequencer, SequencerConfig};

impl Sequencer {
    /// Looks for what is overdue. Call it when [`Self::next_tick`] comes, or every now and then.
    pub fn tick(&mut self, now: MonotonicTime) -> Vec<Effect> {
        let mut effects = Vec::new();
        let config = self.config;
        for session in self.sessions.values_mut() {
            match session.phase {
                Phase::Open if session.is_idle(&config, now) => session.seal_on(now, &mut effects),
                Phase::Open => {
                    if session.is_overdue(&config, now) {
                        session.wanted_upto = session.wanted_upto.max(session.committed().after());
                    }
                    session.look_on(now, &mut effects);
                }
                Phase::Sealing(_) => session.seal_on(now, &mut effects),
                Phase::Ending(_) => {}
            }
        }
        effects
    }

    /// When [`Self::tick`] next has something to do, if nothing else happens before.
    #[must_use]
    pub fn next_tick(&self) -> Option<MonotonicTime> {
        let due = |session: &Session| session.due_at(&self.config);
        self.sessions.values().filter_map(due).min()
    }

    /// Seals a session that its pod gives up, or that is replaced (W7).
    pub fn end_requested(
        &mut self,
        state: &LogState,
        session: SessionId,
        now: MonotonicTime,
    ) -> (EndAnswer, Vec<Effect>) {
        let mut effects = Vec::new();
        self.begin_sealing(session, now, &mut effects);
        let answer = match state.session(session).map(|record| record.end) {
            Some(Some(end)) => EndAnswer::Ended(SessionEnd { end }),
            Some(None) if planted(Planted::EndToldEarly) => {
                let known = self.sessions.get(&session);
                known.map_or(EndAnswer::Pending, |known| {
                    let end = known.committed();
                    EndAnswer::Ended(SessionEnd { end })
                })
            }
            Some(None) => EndAnswer::Pending,
            None => EndAnswer::Unknown,
        };
        (answer, effects)
    }

    /// Takes the failure of [`Effect::Seal`]: it is not known who holds the place.
    pub fn seal_failed(&mut self, session: SessionId, now: MonotonicTime) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.seal.failed(&self.config, now);
        }
    }

    pub(crate) fn begin_sealing(
        &mut self,
        session: SessionId,
        now: MonotonicTime,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(session) = self.sessions.get_mut(&session)
            && session.phase == Phase::Open
        {
            session.seal_on(now, effects);
        }
    }

    /// Somebody waits for this segment: look at its session now, and on until it is decided (D3).
    pub(crate) fn want_decided(
        &mut self,
        segment: SegmentId,
        now: MonotonicTime,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(session) = self.sessions.get_mut(&segment.session)
            && session.phase == Phase::Open
        {
            session.wanted_upto = session.wanted_upto.max(segment.index.after());
            session.look_on(now, effects);
        }
    }

    /// A place was looked at, to no end: go on with the session's first undecided one.
    pub(crate) fn looked(
        &mut self,
        segment: SegmentId,
        now: MonotonicTime,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(&segment.session) else {
            return;
        };
        session.probe.succeeded();
        match session.phase {
            Phase::Open => session.look_on(now, effects),
            Phase::Sealing(at) if at == segment.index => {
                session.seal.succeeded();
                session.seal_on(now, effects);
            }
            Phase::Sealing(_) | Phase::Ending(_) => {}
        }
    }

    /// A look found nobody. That proves nothing (Q2): only a seal makes the place void.
    pub(crate) fn found_missing(
        &mut self,
        segment: SegmentId,
        now: MonotonicTime,
        effects: &mut Vec<Effect>,
    ) {
        self.found_nothing(segment, now);
        if let Some(session) = self.sessions.get_mut(&segment.session)
            && session.phase == Phase::Open
            && session.committed() == segment.index
            && session.is_overdue(&self.config, now)
        {
            session.seal_on(now, effects);
        }
    }

    pub(crate) fn found_nothing(&mut self, segment: SegmentId, now: MonotonicTime) {
        if let Some(session) = self.sessions.get_mut(&segment.session) {
            session.probe.failed(&self.config, now);
            let overdue_at = session.overdue_at(&self.config);
            if let Some(overdue_at) = overdue_at.filter(|at| *at > now) {
                session.probe.no_later_than(overdue_at);
            }
        }
    }
}

impl Session {
    /// When its first undecided segment will have waited too long.
    fn overdue_at(&self, config: &SequencerConfig) -> Option<MonotonicTime> {
        let first = self.undecided().front()?;
        Some(first.reserved_at.after(config.stall_deadline))
    }

    fn is_overdue(&self, config: &SequencerConfig, now: MonotonicTime) -> bool {
        self.overdue_at(config).is_some_and(|at| at <= now)
    }

    fn is_idle(&self, config: &SequencerConfig, now: MonotonicTime) -> bool {
        self.undecided().is_empty() && self.active_at.after(config.session_idle_max) <= now
    }

    /// Looks at the first undecided place, when somebody waits and a look is due.
    fn look_on(&mut self, now: MonotonicTime, effects: &mut Vec<Effect>) {
        let wanted = self.wanted_upto > self.committed() && !self.undecided().is_empty();
        if wanted && self.probe.take(now) {
            effects.push(Effect::Probe(self.first_undecided()));
        }
    }

    /// Seals the first place that is not committed, when a try is due.
    fn seal_on(&mut self, now: MonotonicTime, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Open {
            self.phase = Phase::Sealing(self.committed());
        }
        if self.seal.take(now) {
            self.phase = Phase::Sealing(self.committed());
            let place = self.first_undecided();
            effects.push(Effect::Seal(place.session, place.index));
        }
    }

    fn due_at(&self, config: &SequencerConfig) -> Option<MonotonicTime> {
        match self.phase {
            Phase::Open if self.undecided().is_empty() => {
                Some(self.active_at.after(config.session_idle_max))
            }
            Phase::Open if self.wanted_upto > self.committed() => self.probe.due_at(),
            Phase::Open => self.overdue_at(config),
            Phase::Sealing(_) => self.seal.due_at(),
            Phase::Ending(_) => None,
        }
    }
}
