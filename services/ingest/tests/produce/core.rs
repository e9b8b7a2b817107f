//! The real sequencer core behind the trait, as the metadata shell drives it: a journal that takes
//! a little while, looks and seals on the real chains, take-overs, calls that get lost.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use esker_chain::{Chain, PlaceHolder, WalkEnd};
use esker_env::{Env, Rng, Shutdown};
use esker_metadata_api::{
    MetadataError, Registered, ReserveError, ReserveReply, ReserveRequest, Sequencer, SessionEnd,
    WrittenReport,
};
use esker_sequencer::{
    Effect, EndAnswer, LogCommand, LogState, Probe, Recovered, Sequencer as Core, SequencerConfig,
    WalkedSession,
};
use esker_types::{
    ChainIndex, ClusterId, MonotonicTime, SegmentId, SequencerEpoch, SessionId, TopicPartition,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, FuturesUnordered, StreamExt as _};
use tokio::sync::watch;

const JOURNAL: Duration = Duration::from_millis(60);
const TICK: Duration = Duration::from_millis(50);

/// What a look or a seal came to.
#[derive(Debug)]
enum Seen {
    Probed(SegmentId, Probe),
    Sealed(SessionId, ChainIndex),
    SealFailed(SessionId),
}

#[derive(Debug)]
struct State {
    log: LogState,
    /// `None` while a take-over walks the chains.
    core: Option<Core>,
    epoch: SequencerEpoch,
    effects: VecDeque<Effect>,
    registered: Vec<SessionId>,
    take_over_wanted: bool,
}

#[derive(Debug)]
pub(crate) struct CoreSequencer {
    chain: Chain,
    env: Env,
    cluster: ClusterId,
    rng: Rng,
    state: Mutex<State>,
    /// Rises when effects wait or something was applied.
    changed: watch::Sender<u64>,
    /// In percent: calls that are lost before or after they are executed.
    lost_calls: Mutex<u64>,
}

fn exists(_: TopicPartition) -> bool {
    true
}

impl CoreSequencer {
    pub(crate) fn new(chain: Chain, env: Env, cluster: ClusterId) -> Arc<Self> {
        let log = LogState::empty();
        let epoch = SequencerEpoch::FIRST;
        let config = SequencerConfig::default();
        let recovered = Core::recover(epoch, config, &log, &exists, Vec::new()).unwrap();
        assert!(recovered.commands.is_empty());
        Arc::new(Self {
            chain,
            rng: env.rng.stream("calls"),
            env,
            cluster,
            state: Mutex::new(State {
                log,
                core: Some(recovered.sequencer),
                epoch,
                effects: VecDeque::new(),
                registered: Vec::new(),
                take_over_wanted: false,
            }),
            changed: watch::channel(0).0,
            lost_calls: Mutex::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn changed(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn lose_calls(&self, percent: u64) {
        *self.lost_calls.lock().unwrap() = percent;
    }

    /// The next leader takes over as soon as it can.
    pub(crate) fn take_over(&self) {
        self.state().take_over_wanted = true;
        self.changed();
    }

    pub(crate) fn take_overs(&self) -> u64 {
        self.state().epoch.get() - SequencerEpoch::FIRST.get()
    }

    /// Every session ever registered, with its durable end.
    pub(crate) fn sessions(&self) -> Vec<(SessionId, Option<ChainIndex>)> {
        let state = self.state();
        let end = |session: SessionId| state.log.session(session).and_then(|record| record.end);
        state
            .registered
            .iter()
            .map(|session| (*session, end(*session)))
            .collect()
    }

    fn is_lost(&self) -> bool {
        self.rng.below(100) < *self.lost_calls.lock().unwrap()
    }

    /// Runs a call on the core, unless it is lost or nobody serves.
    fn call<T>(
        &self,
        run: impl FnOnce(&mut Core, &LogState, MonotonicTime) -> (T, Vec<Effect>),
    ) -> Result<T, MetadataError> {
        if self.is_lost() {
            return Err(MetadataError::Unavailable);
        }
        let now = self.env.clock.now();
        let value = {
            let state = &mut *self.state();
            let core = state.core.as_mut().ok_or(MetadataError::Recovering)?;
            let (value, effects) = run(core, &state.log, now);
            state.effects.extend(effects);
            value
        };
        self.changed();
        if self.is_lost() {
            return Err(MetadataError::Unknown);
        }
        Ok(value)
    }

    /// Waits until `check` finds something in the durable state, or another epoch.
    async fn durable<T>(&self, check: impl Fn(&LogState) -> Option<T>) -> Result<T, MetadataError> {
        let mut changed = self.changed.subscribe();
        let epoch = self.state().epoch;
        loop {
            {
                let state = self.state();
                if let Some(found) = check(&state.log) {
                    return Ok(found);
                }
                if state.epoch != epoch {
                    return Err(MetadataError::Deposed);
                }
            }
            let _ = changed.changed().await;
        }
    }

    /// The shell's loop.
    pub(crate) async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let mut looks: FuturesUnordered<BoxFuture<'static, Seen>> = FuturesUnordered::new();
        let mut journal: FuturesOrdered<BoxFuture<'static, LogCommand>> = FuturesOrdered::new();
        let mut changed = self.changed.subscribe();
        loop {
            if std::mem::take(&mut self.state().take_over_wanted) {
                // What the old leader had under way is refused by the journal, or forgotten.
                (looks, journal) = (FuturesUnordered::new(), FuturesOrdered::new());
                self.walk_and_recover().await;
            }
            for effect in std::mem::take(&mut self.state().effects) {
                match effect {
                    Effect::Append(command) => journal.push_back(self.write(command)),
                    Effect::Probe(segment) => looks.push(self.look(segment)),
                    Effect::Seal(session, index) => {
                        looks.push(self.seal(SegmentId { session, index }));
                    }
                    Effect::Damaged(segment) => panic!("damaged at {segment}"),
                    Effect::Advanced(_) | Effect::Ended(..) => {}
                }
            }
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                Some(command) = journal.next() => self.apply(&command),
                Some(seen) = looks.next() => self.saw(seen),
                _ = changed.changed() => {}
                () = self.env.clock.sleep(TICK) => self.tick(),
            }
        }
    }

    fn write(&self, command: LogCommand) -> BoxFuture<'static, LogCommand> {
        let sleep = self.env.clock.sleep(JOURNAL);
        sleep.map(|()| command).boxed()
    }

    fn look(&self, segment: SegmentId) -> BoxFuture<'static, Seen> {
        let chain = self.chain.clone();
        async move {
            Seen::Probed(
                segment,
                match chain.look(segment).await {
                    Ok(PlaceHolder::Missing) => Probe::Missing,
                    Ok(PlaceHolder::Segment(_)) => Probe::Segment,
                    Ok(PlaceHolder::Seal) => Probe::Seal,
                    Err(_) => Probe::Unknown,
                },
            )
        }
        .boxed()
    }

    fn seal(&self, segment: SegmentId) -> BoxFuture<'static, Seen> {
        let chain = self.chain.clone();
        async move {
            match chain.seal(segment).await {
                Ok(PlaceHolder::Segment(_)) => Seen::Probed(segment, Probe::Segment),
                Ok(_) => Seen::Sealed(segment.session, segment.index),
                Err(_) => Seen::SealFailed(segment.session),
            }
        }
        .boxed()
    }

    fn saw(&self, seen: Seen) {
        let now = self.env.clock.now();
        let state = &mut *self.state();
        let Some(core) = &mut state.core else {
            return;
        };
        match seen {
            Seen::Probed(segment, probe) => {
                state
                    .effects
                    .extend(core.probed(&state.log, segment, probe, now));
            }
            Seen::Sealed(session, end) => {
                state
                    .effects
                    .extend(core.sealed_at(&state.log, session, end, now));
            }
            Seen::SealFailed(session) => core.seal_failed(session, now),
        }
    }

    fn tick(&self) {
        let now = self.env.clock.now();
        let state = &mut *self.state();
        if let Some(core) = &mut state.core {
            state.effects.extend(core.tick(now));
            state.effects.extend(core.checkpoint().map(Effect::Append));
        }
    }

    fn apply(&self, command: &LogCommand) {
        let now = self.env.clock.now();
        {
            let state = &mut *self.state();
            state.log.apply(command, &exists).unwrap();
            if let LogCommand::RegisterSession { session, .. } = command {
                state.registered.push(*session);
            }
            if let Some(core) = &mut state.core {
                state
                    .effects
                    .extend(core.command_applied(&state.log, command, now));
            }
        }
        self.changed();
    }

    /// Take-over, steps 1 to 5.
    async fn walk_and_recover(&self) {
        let (epoch, to_walk) = {
            let mut state = self.state();
            state.core = None;
            state.effects.clear();
            state.epoch = state.epoch.next();
            (state.epoch, state.log.sessions_to_walk())
        };
        self.changed();
        let mut walked = Vec::new();
        for wanted in to_walk {
            let until = wanted.end.map_or(WalkEnd::Open, WalkEnd::At);
            let found = loop {
                match self.chain.walk(wanted.session, wanted.from, until).await {
                    Ok(found) => break found,
                    Err(_) => self.env.clock.sleep(TICK).await,
                }
            };
            walked.push(WalkedSession {
                session: found.session,
                segments: found.segments,
                end: found.end,
            });
        }
        let now = self.env.clock.now();
        {
            let state = &mut *self.state();
            let config = SequencerConfig::default();
            let recovered = Core::recover(epoch, config, &state.log, &exists, walked);
            let Recovered {
                mut sequencer,
                commands,
            } = recovered.unwrap();
            for command in commands {
                state.log.apply(&command, &exists).unwrap();
                let effects = sequencer.command_applied(&state.log, &command, now);
                state.effects.extend(effects);
            }
            state.core = Some(sequencer);
        }
        self.changed();
    }
}

impl Sequencer for CoreSequencer {
    fn register(
        &self,
        replaces: Option<SessionId>,
    ) -> BoxFuture<'_, Result<Registered, MetadataError>> {
        async move {
            let session = self.env.rng.session_id();
            let epoch = self.call(|core, log, now| {
                let mut effects = Vec::new();
                if let Some(replaces) = replaces {
                    effects.extend(core.end_requested(log, replaces, now).1);
                }
                effects.push(Effect::Append(core.register(session).unwrap()));
                (core.epoch(), effects)
            })?;
            self.durable(|log| log.session(session).map(|_| ())).await?;
            Ok(Registered {
                session,
                epoch,
                cluster: self.cluster,
            })
        }
        .boxed()
    }

    fn reserve(
        &self,
        request: ReserveRequest,
    ) -> BoxFuture<'_, Result<ReserveReply, ReserveError>> {
        let answer = self.call(|core, log, now| core.reserve(log, &exists, &request, now));
        let answer = answer
            .map_err(ReserveError::Metadata)
            .and_then(|answer| answer);
        std::future::ready(answer).boxed()
    }

    fn written(&self, report: WrittenReport) -> BoxFuture<'_, Result<(), MetadataError>> {
        let answer = self.call(|core, log, now| ((), core.written(log, &report, now)));
        std::future::ready(answer).boxed()
    }

    fn end_session(&self, session: SessionId) -> BoxFuture<'_, Result<SessionEnd, MetadataError>> {
        async move {
            match self.call(|core, log, now| core.end_requested(log, session, now))? {
                EndAnswer::Ended(end) => Ok(end),
                EndAnswer::Pending => {
                    let end = |log: &LogState| log.session(session).and_then(|record| record.end);
                    self.durable(end).await.map(|end| SessionEnd { end })
                }
                EndAnswer::Unknown => Err(MetadataError::Unavailable),
            }
        }
        .boxed()
    }
}
