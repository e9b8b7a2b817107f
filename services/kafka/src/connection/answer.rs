//! The answering half of a connection: replies are awaited together and written in request order.
//!
//! Holds each request's permits until its reply is on the socket, so that memory is bounded however
//! slowly the client reads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_env::Clock;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::answer_sizes::AnswerSizes;
use crate::budget::{RequestPermit, Slot};
use crate::encode::encode_response;
use crate::frame::{FrameError, write_slices};
use crate::guard::GuardedFrame;
use crate::limits::PIPELINE_MAX;
use crate::metrics::{Metrics, Refusal};
use crate::service::Reply;
use crate::stragglers::{Holds, Stragglers, Watched};
use crate::versions::Api;

/// A reply to come, and what its request holds until then.
pub(super) struct Pending {
    head: Head,
    reply: BoxFuture<'static, Reply>,
    held: Option<(Slot, RequestPermit)>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    api: Api,
    version: i16,
    correlation_id: i32,
}

impl Pending {
    pub(super) fn new(guarded: &GuardedFrame, reply: BoxFuture<'static, Reply>) -> Self {
        Self {
            head: Head {
                api: guarded.api,
                version: guarded.version,
                correlation_id: guarded.correlation_id,
            },
            reply,
            held: None,
        }
    }

    pub(super) fn holding(mut self, slot: Slot, permit: RequestPermit) -> Self {
        self.held = Some((slot, permit));
        self
    }
}

/// What the answering half needs besides the socket.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stall: Duration,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stragglers: Arc<Stragglers>,
    pub(super) answer_sizes: Arc<AnswerSizes>,
    pub(super) connection_id: u64,
}

/// The connection must end now.
struct End;

impl Answering {
    /// Ends when the receiving half is gone and all replies are written, or on the first failure.
    pub(super) async fn run<W: AsyncWrite + Unpin>(
        self,
        mut writer: W,
        mut inbox: mpsc::Receiver<Pending>,
    ) {
        let pipeline = usize::try_from(PIPELINE_MAX).unwrap_or(1);
        let mut pending = FuturesOrdered::new();
        let mut receiving = true;
        while receiving || !pending.is_empty() {
            tokio::select! {
                biased; // replies first: they free memory, requests take it
                Some((head, reply, mut held)) = pending.next(), if !pending.is_empty() => {
                    if self.write(&mut writer, head, reply, &mut held).await.is_err() {
                        return;
                    }
                    drop(held);
                }
                next = inbox.recv(), if receiving && pending.len() < pipeline => match next {
                    Some(Pending { head, reply, held }) => {
                        pending.push_back(async move { (head, reply.await, held) });
                    }
                    None => receiving = false,
                },
            }
        }
        // The peer may be gone already; either way the connection ends here.
        let _ = writer.shutdown().await;
    }

    async fn write<W: AsyncWrite + Unpin>(
        &self,
        writer: &mut W,
        head: Head,
        reply: Reply,
        held: &mut Option<(Slot, RequestPermit)>,
    ) -> Result<(), End> {
        let slices = self.slices(head, reply)?;
        let clock = self.clock.as_ref();
        let bytes = slices.iter().map(Bytes::len).sum();
        let holds = match held {
            Some((_, permit)) => {
                permit.reply_made(head.api, bytes);
                permit.holds(head.api)
            }
            None => Holds::Replies,
        };
        let mut watched = Watched::new(Some(&self.stragglers), holds, bytes);
        let written = write_slices(writer, clock, self.stall, &mut watched, slices).await;
        match written {
            Ok(bytes) => {
                self.metrics.sent(bytes);
                Ok(())
            }
            Err(error) => {
                match error {
                    FrameError::Idle { .. } => self.metrics.refused(Refusal::Idle),
                    FrameError::Straggler => self.metrics.refused(Refusal::Straggler),
                    FrameError::Closed
                    | FrameError::Partial { .. }
                    | FrameError::Length { .. }
                    | FrameError::Socket(_) => {}
                }
                tracing::debug!(connection = self.connection_id, %error, "reply not written");
                Err(End)
            }
        }
    }

    fn slices(&self, head: Head, reply: Reply) -> Result<Vec<Bytes>, End> {
        match reply {
            Reply::Message(response) if response.api() == head.api => {
                let encoded = encode_response(&response, head.version, head.correlation_id);
                let frame = encoded.map_err(|error| self.bug(head, &error))?;
                self.answer_sizes.made(head.api, frame.len());
                Ok(vec![frame])
            }
            Reply::Fetch(reply) if head.api == Api::Fetch => {
                Ok(reply.encode(head.version, head.correlation_id))
            }
            Reply::Nothing if head.api == Api::Produce => Ok(Vec::new()),
            Reply::Close => Err(End),
            Reply::Message(_) | Reply::Fetch(_) | Reply::Nothing => {
                Err(self.bug(head, &"reply does not belong to the request"))
            }
        }
    }

    fn bug(&self, head: Head, error: &dyn std::fmt::Debug) -> End {
        self.metrics.refused(Refusal::Reply);
        tracing::error!(
            connection = self.connection_id,
            api = head.api.name(),
            version = head.version,
            ?error,
            "reply cannot be written, connection closed"
        );
        End
    }
}
