//! A sequencer in memory for tests: the rules of commit protocol §5 to §7 in the plainest form,
//! on the real chains of the test's bucket, with scripted failures.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use esker_chain::{Chain, WalkEnd};
use esker_env::Env;
use esker_metadata_api::{
    BatchVerdict, MetadataError, ProduceRefusal, Registered, ReservationSummary, ReserveError,
    ReserveReply, ReserveRequest, Sequencer, SessionEnd, WrittenReport,
};
use esker_types::{ChainIndex, ClusterId, Offset, SequencerEpoch, SessionId, TopicPartition};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;

/// What happens to the next reservations, one each.
#[derive(Clone, Debug)]
pub(crate) enum Scripted {
    /// Not executed.
    Before(ReserveError),
    /// Executed, but this is answered.
    After(ReserveError),
    /// Executed, but nothing is answered.
    HangAfter,
    /// Answered with this.
    Reply(ReserveReply),
    /// A bug of the path itself.
    Panic,
}

#[derive(Debug, Default)]
struct SessionState {
    is_closed: bool,
    ended: Option<ChainIndex>,
    committed: ChainIndex,
    answers: BTreeMap<ChainIndex, (Vec<ReservationSummary>, ReserveReply)>,
}

#[derive(Clone, Debug)]
struct Entry {
    session: SessionId,
    index: ChainIndex,
    batch: ReservationSummary,
    base_offset: Offset,
}

impl Entry {
    fn end(&self) -> Offset {
        self.base_offset.after(self.batch.record_count).unwrap()
    }
}

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<SessionId, SessionState>,
    entries: Vec<Entry>,
    voided: Vec<Entry>,
    register_errors: VecDeque<MetadataError>,
    scripted: VecDeque<Scripted>,
    requests: Vec<ReserveRequest>,
    reports: Vec<WrittenReport>,
    replaced: Vec<SessionId>,
    is_away: bool,
    is_deaf: bool,
    undecided_max: Option<usize>,
    told_end: Option<ChainIndex>,
}

#[derive(Debug)]
pub(crate) struct FakeSequencer {
    chain: Chain,
    env: Env,
    cluster: ClusterId,
    state: Mutex<State>,
    /// `false` while ends are held back.
    may_end: watch::Sender<bool>,
}

impl FakeSequencer {
    pub(crate) fn new(chain: Chain, env: Env, cluster: ClusterId) -> Arc<Self> {
        Arc::new(Self {
            chain,
            env,
            cluster,
            state: Mutex::default(),
            may_end: watch::channel(true).0,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn fail_registrations(&self, errors: impl IntoIterator<Item = MetadataError>) {
        self.state().register_errors.extend(errors);
    }

    pub(crate) fn script(&self, scripted: impl IntoIterator<Item = Scripted>) {
        self.state().scripted.extend(scripted);
    }

    /// Whether every call fails before it is sent.
    pub(crate) fn away(&self, is_away: bool) {
        self.state().is_away = is_away;
    }

    /// Whether `written` fails always.
    pub(crate) fn deaf(&self, is_deaf: bool) {
        self.state().is_deaf = is_deaf;
    }

    pub(crate) fn undecided_max(&self, segments: usize) {
        self.state().undecided_max = Some(segments);
    }

    /// Ends of sessions are not told until [`Self::let_end`].
    pub(crate) fn hold_ends(&self) {
        self.may_end.send_replace(false);
    }

    pub(crate) fn let_end(&self) {
        self.may_end.send_replace(true);
    }

    /// Every session is said to end there, whatever its chain holds.
    pub(crate) fn lie_about_ends(&self, end: u64) {
        self.state().told_end = Some(ChainIndex::new(end));
    }

    /// As a take-over or an impatient operator does: the session reserves nothing more.
    pub(crate) fn close(&self, session: SessionId) {
        self.state().sessions.get_mut(&session).unwrap().is_closed = true;
    }

    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        self.state().sessions.keys().copied().collect()
    }

    pub(crate) fn ended(&self, session: SessionId) -> Option<ChainIndex> {
        self.state().sessions.get(&session)?.ended
    }

    pub(crate) fn requests(&self) -> Vec<ReserveRequest> {
        self.state().requests.clone()
    }

    pub(crate) fn reports(&self) -> Vec<WrittenReport> {
        self.state().reports.clone()
    }

    pub(crate) fn replaced(&self) -> Vec<SessionId> {
        self.state().replaced.clone()
    }

    /// Batches of a producer written by a session of another pod, undecided until `decide_other`.
    pub(crate) fn other_pod_writes(&self, session: SessionId, batches: Vec<ReservationSummary>) {
        let mut state = self.state();
        state.sessions.entry(session).or_default();
        for batch in batches {
            let base_offset = state.next_offset(batch.topic_partition);
            state.entries.push(Entry {
                session,
                index: ChainIndex::ZERO,
                batch,
                base_offset,
            });
        }
    }

    pub(crate) fn decide_other(&self, session: SessionId) {
        let mut state = self.state();
        let other = state.sessions.get_mut(&session).unwrap();
        other.committed = other.committed.after();
    }

    async fn end(&self, session: SessionId) -> Result<SessionEnd, MetadataError> {
        if self.state().is_away {
            return Err(MetadataError::Unavailable);
        }
        self.close(session);
        let _ = self.may_end.subscribe().wait_for(|may_end| *may_end).await;
        let walk = self.chain.walk(session, ChainIndex::ZERO, WalkEnd::Open);
        let walked = walk.await.map_err(|_| MetadataError::Unavailable)?;
        let mut state = self.state();
        state.void(session, walked.end);
        let end = state.told_end.unwrap_or(walked.end);
        Ok(SessionEnd { end })
    }
}

impl State {
    fn next_offset(&self, at: TopicPartition) -> Offset {
        let there = self
            .entries
            .iter()
            .filter(|entry| entry.batch.topic_partition == at);
        there.map(Entry::end).max().unwrap_or(Offset::ZERO)
    }

    fn is_committed(&self, entry: &Entry) -> bool {
        let session = self.sessions.get(&entry.session);
        session.is_some_and(|session| entry.index < session.committed)
    }

    fn void(&mut self, id: SessionId, end: ChainIndex) {
        let session = self.sessions.get_mut(&id).unwrap();
        session.ended = Some(end);
        session.committed = end;
        let is_void = |entry: &Entry| entry.session == id && entry.index >= end;
        let (void, kept) = self.entries.drain(..).partition(is_void);
        self.voided.extend::<Vec<_>>(void);
        self.entries = kept;
    }

    fn written(&mut self, session: SessionId, written: ChainIndex) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.committed = session.committed.max(written);
        }
    }

    fn reserve(&mut self, request: &ReserveRequest) -> Result<ReserveReply, ReserveError> {
        self.written(request.session, request.written);
        let Some(session) = self.sessions.get_mut(&request.session) else {
            return Err(ReserveError::SessionClosed);
        };
        if session.is_closed || session.ended.is_some() {
            return Err(ReserveError::SessionClosed);
        }
        if let Some((batches, reply)) = session.answers.get(&request.index) {
            if *batches == request.batches {
                return Ok(reply.clone());
            }
            session.is_closed = true;
            return Err(ReserveError::OutOfTurn);
        }
        let undecided = session.answers.range(session.committed..).count();
        if self.undecided_max.is_some_and(|max| undecided >= max) {
            return Err(ReserveError::TooManyUndecided);
        }
        let mut verdicts = Vec::new();
        for batch in &request.batches {
            let verdict = self.judge(request, batch);
            if let BatchVerdict::Placed { base_offset, .. } = verdict {
                self.entries.push(Entry {
                    session: request.session,
                    index: request.index,
                    batch: batch.clone(),
                    base_offset,
                });
            }
            verdicts.push(verdict);
        }
        let reply = ReserveReply { verdicts };
        let is_placed = |verdict: &BatchVerdict| matches!(verdict, BatchVerdict::Placed { .. });
        if reply.verdicts.iter().any(is_placed) {
            let answer = (request.batches.clone(), reply.clone());
            let session = self.sessions.get_mut(&request.session).unwrap();
            session.answers.insert(request.index, answer);
        }
        Ok(reply)
    }

    fn judge(&self, request: &ReserveRequest, batch: &ReservationSummary) -> BatchVerdict {
        let log_start = Offset::ZERO;
        let base_offset = self.next_offset(batch.topic_partition);
        let placed = BatchVerdict::Placed {
            base_offset,
            log_start,
        };
        let Some(span) = batch.producer else {
            return placed;
        };
        let is_same = |entry: &&Entry| {
            entry.batch.topic_partition == batch.topic_partition
                && entry.batch.producer.map(|span| span.producer_id) == Some(span.producer_id)
        };
        let mine: Vec<_> = self.entries.iter().filter(is_same).collect();
        let is_undecided = |entry: &&&Entry| !self.is_committed(entry);
        if mine
            .iter()
            .filter(is_undecided)
            .any(|entry| entry.session != request.session)
        {
            return BatchVerdict::Deferred;
        }
        if let Some(original) = mine.iter().find(|entry| entry.batch.producer == Some(span)) {
            let base_offset = original.base_offset;
            return match self.is_committed(original) {
                true => BatchVerdict::Duplicate {
                    base_offset,
                    log_start,
                },
                false => BatchVerdict::DuplicateInFlight {
                    original: original.index,
                    base_offset,
                    log_start,
                },
            };
        }
        let last = mine.iter().filter_map(|entry| {
            let count = i32::try_from(entry.batch.record_count).ok()?;
            Some(entry.batch.producer?.base_sequence + count)
        });
        let Some(next) = last.max() else {
            // Like Kafka: no state, any first sequence. But not behind a batch that was voided.
            let was_void = |entry: &&Entry| {
                is_same(entry)
                    && entry
                        .batch
                        .producer
                        .is_some_and(|void| void.base_sequence < span.base_sequence)
            };
            return match self.voided.iter().any(|entry| was_void(&entry)) {
                true => BatchVerdict::Refused(ProduceRefusal::PredecessorVoid),
                false => placed,
            };
        };
        match next == span.base_sequence {
            true => placed,
            false => BatchVerdict::Refused(ProduceRefusal::OutOfOrderSequence),
        }
    }
}

impl Sequencer for FakeSequencer {
    fn register(
        &self,
        replaces: Option<SessionId>,
    ) -> BoxFuture<'_, Result<Registered, MetadataError>> {
        async move {
            let session = self.env.rng.session_id();
            let mut state = self.state();
            if state.is_away {
                return Err(MetadataError::Unavailable);
            }
            if let Some(error) = state.register_errors.pop_front() {
                return Err(error);
            }
            if let Some(replaces) = replaces {
                state.replaced.push(replaces);
                state.sessions.get_mut(&replaces).unwrap().is_closed = true;
            }
            state.sessions.insert(session, SessionState::default());
            Ok(Registered {
                session,
                epoch: SequencerEpoch::FIRST,
                cluster: self.cluster,
            })
        }
        .boxed()
    }

    fn reserve(
        &self,
        request: ReserveRequest,
    ) -> BoxFuture<'_, Result<ReserveReply, ReserveError>> {
        async move {
            let scripted = {
                let mut state = self.state();
                state.requests.push(request.clone());
                if state.is_away {
                    return Err(ReserveError::Metadata(MetadataError::Unavailable));
                }
                state.scripted.pop_front()
            };
            match scripted {
                None => self.state().reserve(&request),
                Some(Scripted::Before(error)) => Err(error),
                Some(Scripted::After(error)) => {
                    let _ = self.state().reserve(&request);
                    Err(error)
                }
                Some(Scripted::HangAfter) => {
                    let _ = self.state().reserve(&request);
                    std::future::pending().await
                }
                Some(Scripted::Reply(reply)) => Ok(reply),
                Some(Scripted::Panic) => panic!("planted"),
            }
        }
        .boxed()
    }

    fn written(&self, report: WrittenReport) -> BoxFuture<'_, Result<(), MetadataError>> {
        async move {
            let mut state = self.state();
            if state.is_away || state.is_deaf {
                return Err(MetadataError::Unknown);
            }
            state.reports.push(report);
            state.written(report.session, report.written);
            Ok(())
        }
        .boxed()
    }

    fn end_session(&self, session: SessionId) -> BoxFuture<'_, Result<SessionEnd, MetadataError>> {
        self.end(session).boxed()
    }
}
