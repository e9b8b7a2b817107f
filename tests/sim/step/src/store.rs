//! The simulated bucket: write-once cells, and every way a request to them can go wrong.
//!
//! A request is executed at one moment and answered at another; what is executed after its caller
//! gave up, or died, counts all the same.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use esker_object::{ObjectKey, ObjectRead, PutOutcome, ReadRange, StoreError, StoreErrorKind};
use futures::channel::oneshot;

use crate::fault::{Fault, Faults};
use crate::node::{MILLI, Nanos, Node, SECOND};

/// A put over a grey way takes up to so long to arrive, or its reply does.
const GREY_MAX: Nanos = 4 * SECOND;

/// What came of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutResult {
    Created,
    Exists,
    Unknown,
    Throttled,
}

/// A put on its way.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) key: ObjectKey,
    pub(crate) body: Bytes,
}

/// When a put is executed, and when and with what it is answered besides what the cell says.
#[derive(Debug, Default)]
pub(crate) struct PutPlan {
    pub(crate) executed: Vec<Nanos>,
    /// Answered then, with what the first execution came to unless this says otherwise.
    pub(crate) answered: Nanos,
    pub(crate) instead: Option<PutResult>,
}

/// How a get is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GetPlan {
    Whole,
    Cut,
    Flipped,
    Failed(StoreErrorKind),
}

/// All objects.
#[derive(Debug)]
pub(crate) struct Store {
    objects: BTreeMap<ObjectKey, Bytes>,
    /// Read wrong last time: the same object is not read wrong twice running (limits of the chain).
    read_wrong: BTreeSet<ObjectKey>,
    latency: Nanos,
    pub(crate) outage_until: Nanos,
    /// By pod: its puts or their replies are late until then, each for itself.
    pub(crate) grey_until: BTreeMap<Node, Nanos>,
    pub(crate) requests: u64,
}

impl Store {
    pub(crate) fn new(latency: Nanos) -> Self {
        Self {
            objects: BTreeMap::new(),
            read_wrong: BTreeSet::new(),
            latency,
            outage_until: 0,
            grey_until: BTreeMap::new(),
            requests: 0,
        }
    }

    /// Executes a put: true when the cell was free.
    pub(crate) fn create(&mut self, put: &Put) -> bool {
        if self.objects.contains_key(&put.key) {
            return false;
        }
        self.objects.insert(put.key.clone(), put.body.clone());
        true
    }

    fn delay(&self, faults: &mut Faults) -> Nanos {
        let usual = self.latency / 2 + faults.below(self.latency);
        match faults.strikes(Fault::StoreSlow) {
            true => usual.saturating_mul(5 + faults.below(100)),
            false => usual,
        }
    }

    /// How this put goes.
    pub(crate) fn plan_put(&mut self, now: Nanos, by: Node, faults: &mut Faults) -> PutPlan {
        self.requests += 1;
        let is_grey = self.grey_until.get(&by).is_some_and(|until| now < *until);
        let (there, back) = match is_grey.then(|| faults.below(2)) {
            Some(0) => (faults.below(GREY_MAX), 0),
            Some(_) => (0, faults.below(GREY_MAX)),
            None => (0, 0),
        };
        let delay = self.delay(faults);
        let reached = now + there + delay * 2 / 3;
        let mut plan = PutPlan {
            executed: vec![reached],
            answered: now + there + delay + back,
            instead: None,
        };
        let is_idle = now < self.outage_until
            || faults.strikes(Fault::PutFailed)
            || faults.strikes(Fault::PutCut)
            || faults.strikes(Fault::PutConflictIdle);
        if is_idle {
            plan.executed.clear();
            plan.instead = Some(PutResult::Unknown);
        } else if faults.strikes(Fault::StoreThrottled) {
            plan.executed.clear();
            plan.instead = Some(PutResult::Throttled);
        } else if faults.strikes(Fault::PutConflictDone) {
            plan.instead = Some(PutResult::Unknown);
        } else if faults.strikes(Fault::PutReplyLost) {
            plan.answered += faults.below(20 * SECOND);
            plan.instead = Some(PutResult::Unknown);
        } else if faults.strikes(Fault::PutHeld) {
            plan.executed = vec![now + SECOND + faults.below(90 * SECOND)];
            plan.answered = now + faults.below(15 * SECOND) + MILLI;
            plan.instead = Some(PutResult::Unknown);
        } else if faults.strikes(Fault::PutDoubled) {
            plan.executed.push(reached + faults.below(60 * SECOND));
        }
        plan
    }

    /// How this get goes, and when it is executed and answered.
    pub(crate) fn plan_get(&mut self, now: Nanos, faults: &mut Faults) -> (Nanos, Nanos, GetPlan) {
        self.requests += 1;
        let delay = self.delay(faults) / 2 + 1;
        let plan = if now < self.outage_until || faults.strikes(Fault::GetFailed) {
            GetPlan::Failed(StoreErrorKind::Retry)
        } else if faults.strikes(Fault::StoreThrottled) {
            GetPlan::Failed(StoreErrorKind::Throttled)
        } else if faults.strikes(Fault::GetCut) {
            GetPlan::Cut
        } else if faults.strikes(Fault::GetFlipped) {
            GetPlan::Flipped
        } else {
            GetPlan::Whole
        };
        (now + delay / 2, now + delay, plan)
    }

    /// Executes a get.
    pub(crate) fn read(
        &mut self,
        key: &ObjectKey,
        range: ReadRange,
        plan: GetPlan,
        faults: &Faults,
    ) -> Result<Option<ObjectRead>, StoreError> {
        if let GetPlan::Failed(kind) = plan {
            return Err(StoreError::new("get", key, kind));
        }
        let Some(body) = self.objects.get(key) else {
            return Ok(None);
        };
        let object_bytes = body.len();
        let (from, to) = match range {
            ReadRange::Full => (0, object_bytes),
            ReadRange::Suffix(last) => {
                let last = usize::try_from(last).unwrap_or(usize::MAX);
                (object_bytes.saturating_sub(last), object_bytes)
            }
            ReadRange::Bounded(range) => {
                let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(object_bytes);
                (bound(range.start()), bound(range.end()))
            }
        };
        let mut bytes = body.slice(from..to.max(from));
        let was_wrong = self.read_wrong.remove(key);
        if plan != GetPlan::Whole && !was_wrong && !bytes.is_empty() {
            self.read_wrong.insert(key.clone());
            let at = faults.below(u64::try_from(bytes.len()).unwrap_or(1));
            let at = usize::try_from(at).unwrap_or(0);
            if plan == GetPlan::Cut {
                bytes.truncate(at);
            } else {
                let mut damaged = bytes.to_vec();
                if let Some(byte) = damaged.get_mut(at) {
                    *byte ^= 1 << faults.below(8);
                }
                bytes = damaged.into();
            }
        }
        let object_bytes = u64::try_from(object_bytes).unwrap_or(u64::MAX);
        Ok(Some(ObjectRead {
            bytes,
            object_bytes,
        }))
    }
}

/// What a put is answered with.
pub(crate) fn put_outcome(key: &ObjectKey, result: PutResult) -> PutOutcome {
    let error = |kind| StoreError::new("put", key, kind);
    match result {
        PutResult::Created => PutOutcome::Created,
        PutResult::Exists => PutOutcome::Exists,
        PutResult::Unknown => PutOutcome::Unknown(error(StoreErrorKind::Retry)),
        PutResult::Throttled => PutOutcome::Refused(error(StoreErrorKind::Throttled)),
    }
}

/// A reply on its way to a future.
#[derive(Debug)]
pub(crate) enum StoreReply {
    Put(oneshot::Sender<PutOutcome>, PutOutcome),
    Get(
        oneshot::Sender<Result<Option<ObjectRead>, StoreError>>,
        Result<Option<ObjectRead>, StoreError>,
    ),
    Slept(oneshot::Sender<()>),
}

impl StoreReply {
    /// Whether somebody still waits.
    pub(crate) fn is_awaited(&self) -> bool {
        match self {
            Self::Put(sender, _) => !sender.is_canceled(),
            Self::Get(sender, _) => !sender.is_canceled(),
            Self::Slept(sender) => !sender.is_canceled(),
        }
    }

    /// Hands the reply over.
    pub(crate) fn deliver(self) {
        // The future may be gone: then nobody wants to know.
        match self {
            Self::Put(sender, outcome) => drop(sender.send(outcome)),
            Self::Get(sender, outcome) => drop(sender.send(outcome)),
            Self::Slept(sender) => drop(sender.send(())),
        }
    }
}
