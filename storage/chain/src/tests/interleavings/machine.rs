//! A pod with K segments in flight, walkers and sealers over a [`StepBucket`], and the model that
//! says after each step whether a promise is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use esker_env::{Env, Rng};
use esker_object::{Bucket as _, ReadRange};
use esker_segment::SegmentFooter;
use esker_types::{ChainIndex, ObjectHeader, ObjectKind};
use futures::FutureExt as _;
use futures::executor::{LocalPool, LocalSpawner};
use futures::future::{AbortHandle, Abortable, LocalBoxFuture};
use futures::task::LocalSpawnExt as _;

use super::store::{NoWait, StepBucket, Treatment, now};
use crate::tests::world::{CLUSTER, SESSION, key_of, place, segment};
use crate::{
    Chain, ChainTail, PlaceHolder, SealError, SealedAhead, UploadError, Uploaded, WalkEnd,
    WalkError, Walked,
};

const IN_FLIGHT: usize = 4;
const PLACES: u64 = 12;
const WALKERS: usize = 3;

/// What must happen in a good number of runs.
pub(super) const EVENTS: [&str; 14] = [
    "executed",
    "reply lost",
    "request lost",
    "refused",
    "false exists",
    "held",
    "landed late",
    "acknowledged",
    "sealed at the pod",
    "walk ended",
    "walk failed",
    "walk dropped",
    "upload dropped",
    "sealed ahead",
];

/// A bug that the model must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    /// A walk takes a place for missing without a create.
    MissingByLook,
    /// A segment is acknowledged although one before it is not there.
    CommitByExistence,
    /// The pod takes the seal at its place for success.
    SealIsSuccess,
    /// A walk seals far ahead and takes that seal for the end.
    SealAheadIsEnd,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) broken: Option<String>,
    pub(super) events: BTreeMap<&'static str, u32>,
    pub(super) trace: Vec<String>,
}

enum Report {
    Upload(u64, Result<Uploaded, UploadError>),
    Walk(u64, Result<Walked, WalkError>),
    Seal(Result<PlaceHolder, SealError>),
    SealAhead(Result<SealedAhead, SealError>),
}

pub(super) struct Machine {
    planted: Planted,
    pool: LocalPool,
    spawner: LocalSpawner,
    reports: futures::channel::mpsc::Sender<Report>,
    inbox: futures::channel::mpsc::Receiver<Report>,
    bucket: StepBucket,
    chain: Chain,
    pod: Pod,
    walks_under_way: BTreeMap<u64, AbortHandle>,
    walks_begun: u64,
    walked: Option<Walked>,
    seen_at: BTreeMap<u64, ObjectKind>,
    run: Run,
}

/// The ingest side: what is in flight, what has landed, what is acknowledged.
struct Pod {
    tail: ChainTail,
    next: u64,
    in_flight: BTreeMap<u64, AbortHandle>,
    landed: BTreeMap<ChainIndex, Uploaded>,
    acknowledged: BTreeSet<u64>,
    is_dead: bool,
}

impl Machine {
    pub(super) fn new(planted: Planted) -> Self {
        let bucket = StepBucket::default();
        let env = Env {
            clock: Arc::new(NoWait),
            rng: Rng::from_seed(1),
        };
        let pool = LocalPool::new();
        let (reports, inbox) = futures::channel::mpsc::channel(100);
        Self {
            planted,
            spawner: pool.spawner(),
            pool,
            reports,
            inbox,
            chain: Chain::new(Arc::new(bucket.clone()), env, CLUSTER),
            bucket,
            pod: Pod {
                tail: ChainTail::new(SESSION),
                next: 0,
                in_flight: BTreeMap::new(),
                landed: BTreeMap::new(),
                acknowledged: BTreeSet::new(),
                is_dead: false,
            },
            walks_under_way: BTreeMap::new(),
            walks_begun: 0,
            walked: None,
            seen_at: BTreeMap::new(),
            run: Run {
                broken: None,
                events: BTreeMap::new(),
                trace: Vec::new(),
            },
        }
    }

    pub(super) fn broken(&self) -> Option<&String> {
        self.run.broken.as_ref()
    }

    fn event(&mut self, event: &'static str) {
        *self.run.events.entry(event).or_insert(0) += 1;
        self.run.trace.push(event.to_owned());
    }

    fn promise(&mut self, kept: bool, broken: impl FnOnce() -> String) {
        if !kept && self.run.broken.is_none() {
            self.run.broken = Some(broken());
        }
    }

    /// One event; `step` says which.
    pub(super) fn step(&mut self, step: u16) {
        let (kind, pick) = (step % 32, usize::from(step / 32));
        match kind {
            0..=8 => self.begin_upload(),
            9 => self.begin_walk(pick),
            10 => self.begin_seal(pick),
            11 => self.drop_walk(pick),
            12 => self.drop_upload(pick),
            13 | 14 => self.land(pick),
            15 => self.treat(pick, Treatment::LoseReply),
            16 => self.treat(pick, Treatment::LoseRequest),
            17 => self.treat(pick, Treatment::Refuse),
            18 => self.treat(pick, Treatment::FalseExists),
            19 => self.treat(pick, Treatment::Hold),
            _ => self.treat(pick, Treatment::Execute),
        }
        self.settle();
    }

    /// The store is well again: everything under way ends, a last walk comes, held puts land late.
    pub(super) fn finish(mut self) -> Run {
        if self.run.broken.is_none() {
            self.run_dry();
            self.spawn_walk(0);
            self.run_dry();
            while self.bucket.held() > 0 {
                self.land(0);
                self.settle();
            }
            self.spawn_walk(0);
            self.run_dry();
            let quiet = self.pod.in_flight.is_empty() && self.walks_under_way.is_empty();
            self.promise(quiet, || "something never ends".to_owned());
        }
        self.run
    }

    fn run_dry(&mut self) {
        self.settle();
        for _ in 0..10_000 {
            if self.bucket.waiting() == 0 {
                return;
            }
            self.bucket.treat(0, Treatment::Execute);
            self.settle();
        }
        self.promise(false, || "requests without end".to_owned());
    }

    /// Lets everybody run until all wait for the store, takes their reports, checks the promises.
    fn settle(&mut self) {
        loop {
            self.pool.run_until_stalled();
            match self.inbox.try_recv() {
                Ok(report) => self.take(report),
                Err(_) => break,
            }
        }
        self.check();
    }

    fn spawn(&mut self, report: LocalBoxFuture<'static, Report>) -> AbortHandle {
        let (handle, registration) = AbortHandle::new_pair();
        let mut reports = self.reports.clone();
        let task = async move {
            let report = report.await;
            reports.try_send(report).unwrap();
        };
        let task = Abortable::new(task, registration).map(|_| ());
        self.spawner.spawn_local(task).unwrap();
        handle
    }

    fn treat(&mut self, pick: usize, treatment: Treatment) {
        let waiting = self.bucket.waiting();
        if waiting > 0 {
            self.event(treatment.label());
            self.bucket.treat(pick % waiting, treatment);
        }
    }

    fn land(&mut self, pick: usize) {
        let held = self.bucket.held();
        if held > 0 {
            self.event("landed late");
            self.bucket.land(pick % held);
        }
    }

    fn begin_upload(&mut self) {
        let undecided = self.pod.in_flight.len() + self.pod.landed.len();
        if self.pod.is_dead || undecided >= IN_FLIGHT || self.pod.next >= PLACES {
            return;
        }
        let index = self.pod.next;
        self.pod.next += 1;
        self.upload(index);
    }

    fn upload(&mut self, index: u64) {
        let chain = self.chain.clone();
        let upload = async move {
            let object = segment(place(index), 1).object;
            Report::Upload(index, chain.upload(place(index), object).await)
        };
        let handle = self.spawn(upload.boxed_local());
        self.pod.in_flight.insert(index, handle);
    }

    /// An upload is dropped: its outcome is unknown. The same bytes are sent again.
    fn drop_upload(&mut self, pick: usize) {
        let count = self.pod.in_flight.len().max(1);
        let Some(index) = self.pod.in_flight.keys().nth(pick % count).copied() else {
            return;
        };
        self.event("upload dropped");
        self.pod.in_flight[&index].abort();
        self.upload(index);
    }

    fn begin_walk(&mut self, pick: usize) {
        if self.walks_under_way.len() >= WALKERS {
            return;
        }
        // A sequencer begins at `decided_upto`, which never runs ahead of the truth.
        let decided = u64::try_from(self.pod.acknowledged.len()).unwrap();
        let from = u64::try_from(pick).unwrap() % (decided + 1);
        let walked = self.walked.as_ref();
        self.spawn_walk(walked.map_or(from, |walked| from.min(walked.end.get())));
    }

    fn spawn_walk(&mut self, from: u64) {
        self.walks_begun += 1;
        let (number, chain, planted) = (self.walks_begun, self.chain.clone(), self.planted);
        let walk = async move {
            let walked = match planted {
                Planted::MissingByLook => walk_by_look(&chain, from).await,
                Planted::SealAheadIsEnd => walk_to_far_seal(&chain, from).await,
                _ => chain.walk(SESSION, place(from).index, WalkEnd::Open).await,
            };
            Report::Walk(number, walked)
        };
        let handle = self.spawn(walk.boxed_local());
        self.walks_under_way.insert(number, handle);
    }

    fn drop_walk(&mut self, pick: usize) {
        let count = self.walks_under_way.len().max(1);
        let Some(number) = self.walks_under_way.keys().nth(pick % count).copied() else {
            return;
        };
        self.event("walk dropped");
        self.walks_under_way.remove(&number).unwrap().abort();
    }

    /// Anybody may seal anywhere (Q3), several places at once too (Q2).
    fn begin_seal(&mut self, pick: usize) {
        let index = u64::try_from(pick).unwrap() % PLACES;
        let chain = self.chain.clone();
        if pick.is_multiple_of(3) {
            let ahead = async move {
                let from = place(index).index;
                Report::SealAhead(chain.seal_ahead(SESSION, from, 3).await)
            };
            self.spawn(ahead.boxed_local());
        } else {
            let seal = async move { Report::Seal(chain.seal(place(index)).await) };
            self.spawn(seal.boxed_local());
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Upload(index, uploaded) => {
                self.pod.in_flight.remove(&index);
                self.take_upload(index, uploaded);
            }
            Report::Walk(number, walked) => {
                self.walks_under_way.remove(&number);
                self.take_walk(walked);
            }
            Report::Seal(sealed) => {
                let known = matches!(sealed, Ok(PlaceHolder::Seal | PlaceHolder::Segment(_)));
                self.promise(known, || format!("a seal ended as {sealed:?}"));
            }
            Report::SealAhead(ahead) => {
                self.event("sealed ahead");
                self.promise(ahead.is_ok(), || format!("seals ahead ended as {ahead:?}"));
            }
        }
    }

    fn take_upload(&mut self, index: u64, uploaded: Result<Uploaded, UploadError>) {
        match uploaded {
            Ok(uploaded) => {
                let kind = self.kind_at(index);
                self.promise(kind == Some(ObjectKind::Segment), || {
                    format!("CP18: {index} is told as uploaded and holds {kind:?}")
                });
                if self.planted == Planted::CommitByExistence {
                    self.acknowledge(index);
                } else {
                    self.pod.landed.insert(uploaded.index(), uploaded);
                }
            }
            Err(UploadError::Sealed { .. }) => {
                self.event("sealed at the pod");
                self.pod.is_dead = true;
                let kind = self.kind_at(index);
                self.promise(kind == Some(ObjectKind::SessionSeal), || {
                    format!("CP18: {index} is told as sealed and holds {kind:?}")
                });
                if self.planted == Planted::SealIsSuccess {
                    self.acknowledge(index);
                }
            }
            Err(error) => self.promise(false, || format!("upload of {index}: {error:?}")),
        }
        while let Some(next) = self.pod.landed.remove(&self.pod.tail.next()) {
            let committed = self.pod.tail.extend(next).unwrap();
            self.acknowledge(committed.index().get());
        }
    }

    fn acknowledge(&mut self, index: u64) {
        self.event("acknowledged");
        let is_first = self.pod.acknowledged.insert(index);
        self.promise(is_first, || format!("CP1: {index} acknowledged twice"));
    }

    /// The first walk that ends decides; every other must find the same.
    fn take_walk(&mut self, walked: Result<Walked, WalkError>) {
        let walked = match walked {
            Ok(walked) => walked,
            Err(error) => {
                self.event("walk failed");
                return self.promise(!error.is_damage(), || format!("a walk says {error:?}"));
            }
        };
        self.event("walk ended");
        let Some(first) = &self.walked else {
            self.walked = Some(walked);
            return;
        };
        let ends = (first.end, walked.end);
        let both = first
            .segments
            .iter()
            .rev()
            .zip(walked.segments.iter().rev());
        let same = ends.0 == ends.1 && both.into_iter().all(|(left, right)| left == right);
        self.promise(same, || format!("CP18: two walks end at {ends:?}"));
    }

    fn kind_at(&self, index: u64) -> Option<ObjectKind> {
        let read = now(self.bucket.memory.get(&key_of(index), ReadRange::Full));
        let read = read.unwrap()?;
        Some(ObjectHeader::decode(&read.bytes).unwrap().kind)
    }

    fn check(&mut self) {
        for index in 0..PLACES {
            if let Some(kind) = self.kind_at(index) {
                let first = *self.seen_at.entry(index).or_insert(kind);
                self.promise(first == kind, || {
                    format!("CP18: {index} changed to {kind:?}")
                });
            }
        }
        let Some(end) = self.walked.as_ref().map(|walked| walked.end.get()) else {
            return;
        };
        let lost = self
            .pod
            .acknowledged
            .iter()
            .find(|index| **index >= end)
            .copied();
        self.promise(lost.is_none(), || {
            format!("CP1, CP5: {lost:?} is acknowledged, the session ended at {end}")
        });
        let below = (0..end).all(|index| self.kind_at(index) == Some(ObjectKind::Segment));
        self.promise(below, || format!("CP1: a gap below the end {end}"));
        let mutant = matches!(
            self.planted,
            Planted::MissingByLook | Planted::SealAheadIsEnd
        );
        // The mutants put no seal there; it is the harm of it that must be found.
        let at_end = mutant || self.kind_at(end) == Some(ObjectKind::SessionSeal);
        self.promise(at_end, || format!("CP5: no seal at the end {end}"));
    }
}

/// Planted: a 404 is taken as proof.
async fn walk_by_look(chain: &Chain, from: u64) -> Result<Walked, WalkError> {
    let mut segments = Vec::new();
    let mut end = from;
    while let PlaceHolder::Segment(footer) =
        chain.look(place(end)).await.map_err(WalkError::Look)?
    {
        segments.push(footer);
        end += 1;
    }
    Ok(planted(segments, end))
}

/// Planted: the seal is not put at the first missing place.
async fn walk_to_far_seal(chain: &Chain, from: u64) -> Result<Walked, WalkError> {
    let walked = walk_by_look(chain, from).await?;
    let far = walked.end.get() + 2;
    let _ = chain.seal(place(far)).await.map_err(WalkError::Seal)?;
    Ok(walked)
}

fn planted(segments: Vec<SegmentFooter>, end: u64) -> Walked {
    Walked {
        session: SESSION,
        segments,
        end: place(end).index,
    }
}
