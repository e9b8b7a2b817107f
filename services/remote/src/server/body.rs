//! Bodies. That of a request as it is received: its bytes are counted against one budget, and a
//! message that says it is longer than allowed is refused before it is received.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body as ReplyBody;

use crate::proto::refusal::{Overloaded, Reason, TooLarge};
use crate::refusal::status_of;

/// A body that gives its bytes back to the budget when it is dropped: when its message is whole.
#[derive(Debug)]
pub(crate) struct MeteredBody {
    body: Incoming,
    budget: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    message_bytes_max: usize,
}

impl MeteredBody {
    pub(crate) fn new(body: Incoming, budget: Arc<Semaphore>, message_bytes_max: usize) -> Self {
        Self {
            body,
            budget,
            held: None,
            message_bytes_max,
        }
    }

    /// Looks at the length that gRPC's frame begins with. Where the first bytes are too few to hold
    /// it, the decoder finds out.
    fn check_length(&self, bytes: &[u8]) -> Result<(), Status> {
        let Some([_, length @ ..]) = bytes.first_chunk::<5>() else {
            return Ok(());
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length <= self.message_bytes_max {
            return Ok(());
        }
        let bytes_max = u64::try_from(self.message_bytes_max).unwrap_or(u64::MAX);
        Err(status_of(Reason::TooLarge(TooLarge { bytes_max })))
    }

    fn charge(&mut self, bytes: &[u8]) -> Result<(), Status> {
        if self.held.is_none() {
            self.check_length(bytes)?;
        }
        let refused = || status_of(Reason::Overloaded(Overloaded {}));
        let bytes = u32::try_from(bytes.len()).map_err(|_| refused())?;
        let more = Arc::clone(&self.budget).try_acquire_many_owned(bytes);
        let more = more.map_err(|_| refused())?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

impl Body for MeteredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            None => None,
            Some(Err(error)) => Some(Err(Status::from_error(Box::new(error)))),
            Some(Ok(frame)) => {
                let charged = match frame.data_ref() {
                    Some(bytes) => self.charge(bytes),
                    None => Ok(()),
                };
                Some(charged.map(|()| frame))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What is handed to a connection at once: it takes a piece when the one before may leave, and all
/// that it has been handed is in memory whether it leaves or not.
const PIECE_BYTES: usize = 64 * 1024;

/// The body of a reply that has a place among those in memory until all but its last piece has
/// left, or nobody wants it any more.
#[derive(Debug)]
pub(crate) struct HeldBody {
    body: ReplyBody,
    rest: Bytes,
    _place: OwnedSemaphorePermit,
}

impl HeldBody {
    pub(crate) fn new(body: ReplyBody, place: OwnedSemaphorePermit) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            _place: place,
        }
    }
}

impl Body for HeldBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended),
            };
            match frame.into_data() {
                Ok(bytes) => self.rest = bytes,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}
