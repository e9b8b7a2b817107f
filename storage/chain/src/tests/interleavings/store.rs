//! A bucket whose requests wait for the script, and a clock that does not wait.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use esker_env::Clock;
use esker_object::{
    Bucket, ListedObject, MemoryBucket, ObjectKey, ObjectRead, PutOutcome, ReadRange, StoreError,
    StoreErrorKind,
};
use esker_types::{MonotonicTime, Timestamp};
use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::BoxFuture;

type Looked = Result<Option<ObjectRead>, StoreError>;

/// A request that has come and is not answered yet.
#[derive(Debug)]
pub(super) enum Request {
    Put {
        key: ObjectKey,
        body: Bytes,
        reply: oneshot::Sender<PutOutcome>,
    },
    Get {
        key: ObjectKey,
        range: ReadRange,
        reply: oneshot::Sender<Looked>,
    },
}

/// What the script does with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Treatment {
    Execute,
    LoseReply,
    LoseRequest,
    Refuse,
    FalseExists,
    Hold,
}

impl Treatment {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Execute => "executed",
            Self::LoseReply => "reply lost",
            Self::LoseRequest => "request lost",
            Self::Refuse => "refused",
            Self::FalseExists => "false exists",
            Self::Hold => "held",
        }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    requests: Vec<Request>,
    held: Vec<(ObjectKey, Bytes)>,
}

/// Objects in memory behind requests that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct StepBucket {
    pub(super) memory: MemoryBucket,
    waiting: Arc<Mutex<Waiting>>,
}

impl StepBucket {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap()
    }

    /// Requests whose callers still wait. A put whose caller is gone may land later all the same.
    pub(super) fn waiting(&self) -> usize {
        let waiting = &mut *self.lock();
        for request in std::mem::take(&mut waiting.requests) {
            match request {
                Request::Put { key, body, reply } if reply.is_canceled() => {
                    waiting.held.push((key, body));
                }
                Request::Get { reply, .. } if reply.is_canceled() => {}
                request => waiting.requests.push(request),
            }
        }
        waiting.requests.len()
    }

    pub(super) fn held(&self) -> usize {
        self.lock().held.len()
    }

    pub(super) fn treat(&self, number: usize, treatment: Treatment) {
        let request = self.lock().requests.remove(number);
        match request {
            Request::Put { key, body, reply } => self.treat_put(&key, body, reply, treatment),
            Request::Get { key, range, reply } => {
                let looked = match treatment {
                    Treatment::Execute | Treatment::FalseExists | Treatment::Hold => {
                        now(self.memory.get(&key, range))
                    }
                    _ => Err(StoreError::new("get", &key, StoreErrorKind::Retry)),
                };
                let _ = reply.send(looked);
            }
        }
    }

    fn treat_put(
        &self,
        key: &ObjectKey,
        body: Bytes,
        reply: oneshot::Sender<PutOutcome>,
        treatment: Treatment,
    ) {
        let error = StoreError::new("put", key, StoreErrorKind::Retry);
        let outcome = match treatment {
            Treatment::Execute => now(self.memory.put_if_absent(key, body)),
            Treatment::LoseReply => {
                let _ = now(self.memory.put_if_absent(key, body));
                PutOutcome::Unknown(error)
            }
            Treatment::LoseRequest => PutOutcome::Unknown(error),
            Treatment::Refuse => PutOutcome::Refused(error),
            Treatment::FalseExists => PutOutcome::Exists,
            Treatment::Hold => {
                self.lock().held.push((key.clone(), body));
                PutOutcome::Unknown(error)
            }
        };
        let _ = reply.send(outcome);
    }

    /// A put that was held lands now.
    pub(super) fn land(&self, number: usize) {
        let (key, body) = self.lock().held.remove(number);
        let _ = now(self.memory.put_if_absent(&key, body));
    }
}

/// The memory bucket answers at once.
pub(super) fn now<T>(answer: BoxFuture<'_, T>) -> T {
    answer.now_or_never().unwrap()
}

impl Bucket for StepBucket {
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        async move {
            let (reply, answer) = oneshot::channel();
            let key = key.clone();
            self.lock().requests.push(Request::Put { key, body, reply });
            answer.await.unwrap()
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a ObjectKey, range: ReadRange) -> BoxFuture<'a, Looked> {
        async move {
            let (reply, answer) = oneshot::channel();
            let key = key.clone();
            self.lock()
                .requests
                .push(Request::Get { key, range, reply });
            answer.await.unwrap()
        }
        .boxed()
    }

    fn head<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        self.memory.head(key)
    }

    fn list_after<'a>(
        &'a self,
        prefix: &'a ObjectKey,
        after: Option<&'a ObjectKey>,
        count_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>> {
        self.memory.list_after(prefix, after, count_max)
    }

    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        self.memory.delete(key)
    }
}

/// Waits cost nothing: the script alone says in what order things happen.
#[derive(Debug)]
pub(super) struct NoWait;

impl Clock for NoWait {
    fn now(&self) -> MonotonicTime {
        MonotonicTime::default()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        futures::future::ready(()).boxed()
    }
}
