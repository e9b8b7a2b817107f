//! One connection: frames in, guarded and decoded; requests admitted and answered in order.
//!
//! Produce requests overlap, up to `PIPELINE_MAX`: each is admitted in turn while the replies of
//! earlier ones are still pending. Every other request waits until all earlier replies are written,
//! and nothing is read past it. Reading and answering are two halves of one task, so a panic or an
//! end of either ends this connection alone. Run by the listener.

mod answer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use esker_env::{Env, Shutdown};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::api_versions;
use crate::budget::{ConnectionBudget, Lane, RequestPermit, Slot};
use crate::config::ListenerConfig;
use crate::frame::{FrameError, FrameLimits, FrameReader};
use crate::guard::{GuardError, GuardedFrame, guard_frame};
use crate::limits::{FRAME_BYTES_MIN, PIPELINE_MAX};
use crate::metrics::{Metrics, Refusal};
use crate::request::{Request, decode_request};
use crate::service::{Reply, RequestContext, Service};
use crate::versions::Api;
use answer::{Answering, Pending};

/// What a connection is made of, its socket apart.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) env: Env,
    pub(crate) config: Arc<ListenerConfig>,
    pub(crate) budget: ConnectionBudget,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: Shutdown,
    pub(crate) client_address: SocketAddr,
    pub(crate) local_address: SocketAddr,
    pub(crate) id: u64,
    /// The client has said what software it is; `false` at first.
    pub(crate) is_software_named: AtomicBool,
}

/// The connection must end after the replies that are in flight.
struct End;

impl Connection {
    /// Serves the socket until either side closes it, a rule is broken, or the process stops.
    /// When the process stops, requests that were admitted are still answered.
    pub(crate) async fn run<R, W>(self, reader: R, writer: W)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let capacity = usize::try_from(PIPELINE_MAX).unwrap_or(1);
        let (replies, inbox) = mpsc::channel(capacity);
        let answering = Answering {
            clock: Arc::clone(&self.env.clock),
            stall: self.config.idle_timeout,
            metrics: Arc::clone(&self.metrics),
            stragglers: Arc::clone(self.budget.stragglers()),
            answer_sizes: Arc::clone(self.budget.answer_sizes()),
            connection_id: self.id,
        };
        let mut receive = Box::pin(self.receive(reader, replies));
        let mut answer = Box::pin(answering.run(writer, inbox));
        tokio::select! {
            () = &mut answer => {}
            () = &mut receive => answer.await,
        }
    }

    async fn receive<R: AsyncRead + Unpin>(&self, reader: R, replies: mpsc::Sender<Pending>) {
        let limits = FrameLimits {
            bytes_min: FRAME_BYTES_MIN,
            bytes_max: self.config.frame_bytes_max,
            idle: self.config.idle_timeout,
            partial: self.config.partial_frame_timeout,
        };
        let mut reader = FrameReader::new(reader, limits);
        loop {
            let slot = self.budget.slot().await;
            let next = tokio::select! {
                biased;
                () = self.shutdown.requested() => return,
                next = self.next_frame(&mut reader) => next,
            };
            let admitted = match next {
                Ok((frame, permit)) => self.handle(frame, permit, slot).await,
                Err(error) => {
                    self.count(&error);
                    return;
                }
            };
            let Ok(pending) = admitted else {
                return;
            };
            if replies.send(pending).await.is_err() {
                return;
            }
        }
    }

    async fn next_frame<R: AsyncRead + Unpin>(
        &self,
        reader: &mut FrameReader<R>,
    ) -> Result<(Bytes, RequestPermit), FrameError> {
        let clock = self.env.clock.as_ref();
        let length = reader.length(clock).await?;
        let key = reader.key(clock).await?;
        let permit = self.budget.frame(length, Lane::of(key, length)).await;
        let stragglers = Some(self.budget.stragglers());
        let frame = reader.body(clock, length, stragglers).await?;
        Ok((frame, permit))
    }

    async fn handle(
        &self,
        frame: Bytes,
        mut permit: RequestPermit,
        mut slot: Slot,
    ) -> Result<Pending, End> {
        let received = self.env.clock.now();
        let guarded = match guard_frame(&frame) {
            Ok(guarded) => guarded,
            Err(error) => {
                let reply = self.refused(error)?;
                self.budget.alone(&mut slot).await;
                return Ok(reply.holding(slot, permit));
            }
        };
        self.metrics.request(guarded.api, frame.len());
        let (api, bytes) = (guarded.api, guarded.memory_bytes);
        self.budget.decoded(&mut permit, api, bytes).await;
        let (client_id, request) = match decode_request(&guarded, frame) {
            Ok(decoded) => decoded,
            Err(error) => {
                self.metrics.refused(Refusal::Guard);
                tracing::error!(connection = self.id, ?error, "guard and codec disagree");
                return Err(End);
            }
        };
        if guarded.api != Api::Produce {
            self.budget.alone(&mut slot).await;
            self.budget.answer(&mut permit, guarded.api).await;
        }
        let context = RequestContext {
            api_version: guarded.version,
            correlation_id: guarded.correlation_id,
            client_id,
            client_address: self.client_address,
            local_address: self.local_address,
            received,
            connection_id: self.id,
            is_software_named: self.is_software_named.load(Ordering::Relaxed),
        };
        let reply = self.admit(&guarded, context, request).await;
        Ok(Pending::new(&guarded, reply).holding(slot, permit))
    }

    async fn admit(
        &self,
        guarded: &GuardedFrame,
        context: RequestContext,
        request: Request,
    ) -> BoxFuture<'static, Reply> {
        tracing::debug!(
            api = guarded.api.name(),
            version = guarded.version,
            correlation_id = guarded.correlation_id,
            connection = self.id,
            "kafka request"
        );
        match request {
            Request::ApiVersions(request) => {
                if api_versions::names_software(&request, guarded.version) {
                    self.is_software_named.store(true, Ordering::Relaxed);
                }
                let answer = api_versions::answer(&request, guarded.version);
                std::future::ready(Reply::Message(answer)).boxed()
            }
            request => self.service.admit(context, request).await,
        }
    }

    /// ApiVersions in an unsupported version is answered; everything else that the guard refuses
    /// closes the connection, as in Kafka.
    fn refused(&self, error: GuardError) -> Result<Pending, End> {
        tracing::debug!(connection = self.id, %error, "request refused");
        match error {
            GuardError::UnsupportedVersion {
                api: Api::ApiVersions,
                correlation_id,
                ..
            } => {
                self.metrics.request(Api::ApiVersions, 0);
                let answer = std::future::ready(Reply::Message(api_versions::unsupported()));
                let guarded = GuardedFrame {
                    api: Api::ApiVersions,
                    version: 0,
                    correlation_id,
                    header_bytes: 0,
                    memory_bytes: 0,
                };
                Ok(Pending::new(&guarded, answer.boxed()))
            }
            GuardError::UnknownApi { .. } | GuardError::UnsupportedVersion { .. } => {
                self.metrics.refused(Refusal::Unsupported);
                Err(End)
            }
            _ => {
                self.metrics.refused(Refusal::Guard);
                Err(End)
            }
        }
    }

    fn count(&self, error: &FrameError) {
        tracing::debug!(connection = self.id, %error, "connection ends");
        match error {
            FrameError::Idle { .. } => self.metrics.refused(Refusal::Idle),
            FrameError::Partial { .. } => self.metrics.refused(Refusal::PartialFrame),
            FrameError::Straggler => self.metrics.refused(Refusal::Straggler),
            FrameError::Length { .. } => self.metrics.refused(Refusal::FrameLength),
            FrameError::Closed | FrameError::Socket(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
