//! The leader loop: one task that owns the state, hears requests, and answers what is durable.
//!
//! requests.rs takes calls in, durable.rs applies what the journal made durable, effects.rs carries
//! out what the pure cores want, questions.rs holds answers back until they are current (R1).
//! J2: answers leave in journal order and show durable commands only. J3: deposed, it answers
//! nothing more; dropping the loop drops every caller, whose outcome is then unknown.

mod callers;
mod chain_work;
mod durable;
mod effects;
mod questions;
mod requests;
mod topics;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_chain::Chain;
use esker_env::{Env, Shutdown};
use esker_groups::{GroupConfig, GroupCoordinator, Moment};
use esker_journal::{
    JournalEvent, JournalEvents, JournalFailure, JournalWriter, LeaderInfo, TryAppendError,
};
use esker_metadata_api::{FeedUpdate, TopicTable};
use esker_sequencer::Sequencer;
use esker_types::{ClusterId, MonotonicTime, SequencerEpoch};
use futures::FutureExt as _;
use tokio::sync::{broadcast, mpsc, watch};

use crate::command::Command;
use crate::config::MetadataConfig;
use crate::limits::COMMANDS_WAITING_MAX;
use crate::metrics::{MetadataMetrics, set};
use crate::pods::PodRegistry;
use crate::request::Request;
use crate::state::DurableState;
use callers::Callers;
use chain_work::ChainWork;
use durable::Pending;
use questions::Questions;

/// A tick at least this often while anything waits for time to pass.
const TICK_MIN: Duration = Duration::from_millis(20);
const TICK_MAX: Duration = Duration::from_millis(500);
/// Bytes of durable commands that are applied before requests are heard again: no more than a full
/// checkpoint command, some 500 batches, about a millisecond.
const APPLIED_AT_ONCE_BYTES: usize = 16 * 1024;
/// Requests that are heard then, at most: what is durable frees memory.
const REQUESTS_BETWEEN: usize = 32;

/// What the loop works with.
#[derive(Clone, Debug)]
pub(crate) struct LeaderParts {
    pub(crate) env: Env,
    pub(crate) cluster: ClusterId,
    pub(crate) config: MetadataConfig,
    pub(crate) chain: Chain,
    pub(crate) metrics: Arc<MetadataMetrics>,
    pub(crate) feed: broadcast::Sender<FeedUpdate>,
    pub(crate) topics: watch::Sender<Arc<TopicTable>>,
}

/// Why the loop ended.
#[derive(Debug)]
pub(crate) enum LeaderEnd {
    /// Asked to stop; everything decided is checkpointed, if time allowed.
    Stopped,
    /// Another process leads.
    Deposed { by: Option<LeaderInfo> },
    /// The journal cannot go on.
    Journal(JournalFailure),
    /// A durable command does not fit the state, or a chain holds what nobody reserved.
    Damaged,
}

/// A leadership that serves.
pub(crate) struct Leader {
    parts: LeaderParts,
    epoch: SequencerEpoch,
    state: DurableState,
    sequencer: Sequencer,
    groups: GroupCoordinator,
    journal: JournalWriter,
    /// Commands that the journal has no room for yet.
    outbox: VecDeque<(Bytes, Pending)>,
    /// What follows each command in the journal, in order.
    pending: VecDeque<Pending>,
    questions: Questions,
    callers: Callers,
    pods: PodRegistry,
    work: ChainWork,
    /// The roll that we write, and how many of its commands are durable.
    roll: u64,
    commands: u64,
    topics_changed: bool,
    decisions_seen: u64,
    checked_at: MonotonicTime,
    checkpointed_at: MonotonicTime,
    ticked_at: MonotonicTime,
    end: Option<LeaderEnd>,
}

impl std::fmt::Debug for Leader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leader")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Leader {
    pub(crate) fn new(
        parts: LeaderParts,
        epoch: SequencerEpoch,
        state: DurableState,
        sequencer: Sequencer,
        journal: JournalWriter,
    ) -> Self {
        let now = parts.env.clock.now();
        let groups = GroupConfig {
            initial_rebalance_delay: parts.config.group_initial_rebalance_delay,
            ..GroupConfig::default()
        };
        Self {
            groups: GroupCoordinator::recovered(groups, &state.groups, now),
            work: ChainWork::new(parts.chain.clone()),
            parts,
            epoch,
            state,
            sequencer,
            journal,
            outbox: VecDeque::new(),
            pending: VecDeque::new(),
            questions: Questions::default(),
            callers: Callers::default(),
            pods: PodRegistry::new(now),
            roll: 0,
            commands: 0,
            topics_changed: true,
            decisions_seen: 0,
            checked_at: now,
            checkpointed_at: now,
            ticked_at: now,
            end: None,
        }
    }

    /// Queues the commands of a take-over; serve when [`Self::is_serving`].
    pub(crate) fn begin(&mut self, commands: Vec<esker_sequencer::LogCommand>) {
        for command in commands {
            self.append(Command::Log(command), Pending::Nobody);
        }
        self.settle();
    }

    /// Whether everything the take-over decided is durable (CP11).
    pub(crate) fn is_serving(&self) -> bool {
        self.sequencer.is_serving()
    }

    /// Hears one journal event while not serving yet. `Some` ends the leadership.
    pub(crate) async fn recovering_step(
        &mut self,
        events: &mut JournalEvents,
    ) -> Option<LeaderEnd> {
        match events.next().await {
            Some(event) => self.journal_event(event),
            None => return Some(LeaderEnd::Stopped),
        }
        self.settle();
        self.end.take()
    }

    /// Serves until asked to stop, deposed or failed.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut events: JournalEvents,
        shutdown: Shutdown,
    ) -> LeaderEnd {
        let clock = Arc::clone(&self.parts.env.clock);
        loop {
            // Here and not when a sleep has ended: under load none would end before the next turn.
            let due = self.tick_due();
            if self.now() >= due {
                self.tick();
            }
            self.settle();
            if let Some(end) = self.end.take() {
                return end;
            }
            let has_room = self.outbox.len() < COMMANDS_WAITING_MAX;
            let until_tick = self.tick_due().since(self.now());
            tokio::select! {
                biased; // few of these come; then what is durable: it frees memory, answers callers
                () = shutdown.requested() => return self.stop(&mut events).await,
                done = self.work.next(), if self.work.is_busy() => self.chain_done(done),
                checked = self.questions.checked(), if self.questions.is_checking() => {
                    self.epoch_checked(checked);
                }
                event = events.next() => match event {
                    Some(event) => {
                        if self.journal_events(event, &mut events) {
                            self.requests_between(&mut requests);
                        }
                    }
                    None => return LeaderEnd::Stopped,
                },
                Some(request) = requests.recv(), if has_room => self.request(request),
                () = clock.sleep(until_tick) => {}
            }
        }
    }

    fn now(&self) -> MonotonicTime {
        self.parts.env.clock.now()
    }

    fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            wall: self.parts.env.clock.wall(),
        }
    }

    /// This event, and those that came with it, until as many bytes were applied as callers can
    /// wait for: whether it stopped for that.
    fn journal_events(&mut self, first: JournalEvent, events: &mut JournalEvents) -> bool {
        let mut applied = 0;
        let mut next = Some(first);
        while let Some(event) = next {
            if let JournalEvent::Durable { command, .. } = &event {
                applied += command.len();
            }
            self.journal_event(event);
            if self.end.is_some() {
                return false;
            }
            if applied >= APPLIED_AT_ONCE_BYTES {
                return true;
            }
            next = events.next().now_or_never().flatten();
        }
        false
    }

    /// Requests that came meanwhile: they do not wait for all of a large checkpoint.
    fn requests_between(&mut self, requests: &mut mpsc::Receiver<Request>) {
        for _ in 0..REQUESTS_BETWEEN {
            if self.outbox.len() >= COMMANDS_WAITING_MAX {
                return;
            }
            let Ok(request) = requests.try_recv() else {
                return;
            };
            self.request(request);
        }
    }

    /// Puts a command behind all others; `pending` follows when it is durable.
    fn append(&mut self, command: Command, pending: Pending) {
        self.outbox.push_back((command.encode(), pending));
    }

    fn flush_outbox(&mut self) {
        while let Some((command, pending)) = self.outbox.pop_front() {
            match self.journal.try_append(command) {
                Ok(_) => self.pending.push_back(pending),
                Err(TryAppendError::Full { command }) => {
                    self.outbox.push_front((command, pending));
                    return;
                }
                Err(TryAppendError::Refused(error)) => {
                    // Closed: the journal's last event says why. Too large cannot be: every core
                    // bounds its commands below the journal's limit.
                    tracing::warn!(%error, "journal command not taken, its caller is not answered");
                }
            }
        }
    }

    /// What every turn of the loop ends with: commands out, topics told, held answers let go.
    fn settle(&mut self) {
        self.flush_outbox();
        self.publish_topics();
        self.answer_decided();
        self.work.start_waiting();
        let figures = self.sequencer.figures();
        let metrics = &self.parts.metrics;
        set(&metrics.undecided, figures.undecided_segments);
        set(&metrics.lag_segments, figures.lag.segments);
        set(&metrics.lag_bytes, figures.lag.bytes);
    }

    fn publish_topics(&mut self) {
        if std::mem::take(&mut self.topics_changed) {
            let table = self.table();
            set(&self.parts.metrics.topics, table.count());
            self.parts.topics.send_replace(Arc::clone(&table));
            // An error means that nobody follows.
            let _ = self.parts.feed.send(FeedUpdate::Topics(table));
        }
        self.callers.answer_topics();
    }

    /// The topics as they count on this broker.
    fn table(&self) -> Arc<TopicTable> {
        let node = self.parts.config.node_id;
        Arc::new(self.state.catalogue.topics().on_node(node))
    }

    /// When time must be told to the cores: at what they wait for, within bounds.
    fn tick_due(&self) -> MonotonicTime {
        let cores = [self.sequencer.next_tick(), self.groups.next_deadline()];
        let latest = self.ticked_at.after(TICK_MAX);
        let next = cores.into_iter().flatten().min().unwrap_or(latest);
        next.clamp(self.ticked_at.after(TICK_MIN), latest)
    }

    fn tick(&mut self) {
        let moment = self.moment();
        self.ticked_at = moment.now;
        let effects = self.sequencer.tick(moment.now);
        self.sequencer_effects(effects);
        let topics = self.state.catalogue.topics();
        let name_of = |topic| topics.with_id(topic).map(|topic| topic.name.clone());
        let effects = self.groups.tick(moment, &self.state.groups, &name_of);
        self.group_effects(effects);
        for ticket in self.callers.gone() {
            self.groups.cancel(moment.now, ticket);
        }
        self.expire_questions();
        self.checkpoint_if_due(moment.now);
        let unchecked = moment.now.since(self.checked_at);
        if unchecked >= self.parts.config.deposed_check_interval && !self.questions.is_checking() {
            self.start_check();
        }
    }

    fn checkpoint_if_due(&mut self, now: MonotonicTime) {
        let lag = self.sequencer.checkpoint_lag();
        if lag.segments_waiting == 0 {
            self.checkpointed_at = now;
            return;
        }
        let is_old = now.since(self.checkpointed_at) >= self.parts.config.checkpoint_interval;
        if is_old || lag.segments_waiting >= self.parts.config.checkpoint_segments {
            self.checkpoint();
            self.checkpointed_at = now;
        }
    }

    fn checkpoint(&mut self) {
        while let Some(command) = self.sequencer.checkpoint() {
            self.append(Command::Log(command), Pending::Nobody);
        }
    }

    /// Checkpoints what is decided, so that the next start reads no chain, and waits for it.
    async fn stop(mut self, events: &mut JournalEvents) -> LeaderEnd {
        self.checkpoint();
        self.settle();
        while !(self.outbox.is_empty() && self.pending.is_empty()) {
            match events.next().await {
                Some(event) => self.journal_event(event),
                None => break,
            }
            self.settle();
            if let Some(end) = self.end.take() {
                return end;
            }
        }
        LeaderEnd::Stopped
    }
}
