//! What all handlers share: the parts behind the front, and room for requests, streams and bytes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::BodyDataStream;
use esker_env::{Env, Shutdown};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{ADMIT_WAIT_MAX, BODIES_BYTES_MAX, STREAMS_MAX};
use crate::parts::HttpParts;
use crate::problem::{Problem, ProblemKind};

/// A refused body is read on for so long and so far, so that its client reads the refusal instead
/// of finding the connection reset.
const DRAIN_TIME: Duration = Duration::from_secs(1);
const DRAIN_BYTES: usize = 16 * 1024 * 1024;
/// Streams and answers take memory in steps of so many bytes.
const ROOM_STEP: usize = 64 * 1024;

/// The state of every handler.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) parts: HttpParts,
    pub(crate) env: Env,
    pub(crate) shutdown: Shutdown,
    pub(crate) places: Places,
}

/// Room for requests, streams, and the bytes that they hold.
#[derive(Debug)]
pub(crate) struct Places {
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// The place of one request, held by the router while it is worked on. A stream gives it back: how
/// long it rests is its client's affair, and requests must not be refused for it.
#[derive(Clone, Debug)]
pub(crate) struct RequestPlace(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl RequestPlace {
    fn give_back(&self) {
        let place = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(place);
    }
}

fn overloaded(what: &str) -> Problem {
    let detail = format!("{what}; come back a little later");
    Problem::new(ProblemKind::Overloaded, detail)
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.min(BODIES_BYTES_MAX)).unwrap_or(u32::MAX)
}

impl Places {
    pub(crate) fn new(requests_max: usize) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(requests_max)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            bytes: Arc::new(Semaphore::new(BODIES_BYTES_MAX)),
        }
    }

    pub(crate) fn request(&self) -> Result<RequestPlace, Problem> {
        let place = Arc::clone(&self.requests).try_acquire_owned();
        let place = place.map_err(|_| overloaded("too many requests are in progress"))?;
        Ok(RequestPlace(Arc::new(Mutex::new(Some(place)))))
    }

    /// A place for a stream, in exchange for that of its request.
    pub(crate) fn stream(&self, request: &RequestPlace) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        let place = place.map_err(|_| overloaded("too many streams are in progress"))?;
        request.give_back();
        Ok(place)
    }

    /// Memory for a body, now or not at all.
    pub(crate) fn body(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let room = Arc::clone(&self.bytes).try_acquire_many_owned(units(bytes));
        room.map_err(|_| overloaded("too many bytes are in progress"))
    }

    #[cfg(test)]
    pub(crate) fn free_streams(&self) -> usize {
        self.streams.available_permits()
    }

    /// Completes when no stream is in progress.
    #[cfg(test)]
    pub(crate) async fn all_streams_free(&self) {
        let all = u32::try_from(STREAMS_MAX).unwrap_or(u32::MAX);
        drop(self.streams.acquire_many(all).await);
    }

    fn no_bytes(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.body(0)
    }
}

impl Front {
    /// Reads a body that was refused a little on.
    pub(crate) async fn drain(&self, body: &mut BodyDataStream) {
        let reading = async {
            let mut left = DRAIN_BYTES;
            while let Some(Ok(frame)) = body.next().await {
                match left.checked_sub(frame.len()) {
                    Some(less) => left = less,
                    None => break,
                }
            }
        };
        // Whether it ends or not, it is refused.
        let _ = esker_env::timeout(&*self.env.clock, DRAIN_TIME, reading).await;
    }

    /// Memory for an answer, waiting a little for it.
    pub(crate) async fn answer_room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let room = Arc::clone(&self.places.bytes).acquire_many_owned(units(bytes));
        let room = esker_env::timeout(&*self.env.clock, ADMIT_WAIT_MAX, room).await;
        match room {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) | Err(_) => Err(overloaded("too many bytes are in progress")),
        }
    }
}

/// The memory of one stream or answer, taken in steps as it needs it.
#[derive(Debug)]
pub(crate) struct Room {
    front: Arc<Front>,
    held: OwnedSemaphorePermit,
}

impl Room {
    pub(crate) fn new(front: &Arc<Front>) -> Result<Self, Problem> {
        Ok(Self {
            held: front.places.no_bytes()?,
            front: Arc::clone(front),
        })
    }

    /// Makes the memory held at least `bytes`, and gives back what is far above.
    pub(crate) async fn cover(&mut self, bytes: usize) -> Result<(), Problem> {
        let wanted = bytes.div_ceil(ROOM_STEP).saturating_mul(ROOM_STEP);
        let held = self.held.num_permits();
        if let Some(more) = wanted.checked_sub(held).filter(|more| *more > 0) {
            self.held.merge(self.front.answer_room(more).await?);
        } else if held > wanted {
            drop(self.held.split(held - wanted));
        }
        Ok(())
    }
}
