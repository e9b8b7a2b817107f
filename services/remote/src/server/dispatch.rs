//! From a request to its answer: what every call must say, limits, deadline, then the method.
//!
//! Whatever is refused here was not taken up: nothing was done.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use esker_env::{Env, Shutdown, timeout};
use esker_metadata_api::MetadataError;
use esker_types::ClusterId;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tonic::server::Grpc;

use super::ServerParts;
use super::blocks::read_block;
use super::body::{HeldBody, MeteredBody};
use super::task::{Answering, Parts};
use crate::codec::RequestCodec;
use crate::config::{ServerConfig, is_address};
use crate::convert::{Malformed, bytes16, failure_of};
use crate::limits::BLOCK_QUESTION_BYTES_MAX;
use crate::metrics::{ServerMetrics, add_one, set};
use crate::proto;
use crate::proto::refusal::{Malformed as Field, OtherCluster, Overloaded, Reason, Stopping};
use crate::protocol::{CallHead, PACKAGE, Protocols, READ_BLOCK, SERVICE};
use crate::refusal::status_of;

/// What all connections of a server share.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(super) parts: ServerParts,
    pub(super) cluster: ClusterId,
    pub(super) protocols: Protocols,
    /// Names this run of the server, so that a table of another one is not taken for its own.
    pub(super) server: u64,
    pub(super) stop: Shutdown,
    env: Env,
    message_bytes_max: usize,
    calls_max: usize,
    in_flight: Arc<Semaphore>,
    receiving: Arc<Semaphore>,
    blocks: Arc<Semaphore>,
    metrics: Arc<ServerMetrics>,
}

/// A place among the calls in hand.
#[derive(Debug)]
pub(super) struct InHand {
    calls: Arc<Calls>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.permit = None;
        self.calls.count();
    }
}

/// A call that may be taken up.
#[derive(Debug)]
struct Taken {
    request: http::Request<MeteredBody>,
    deadline: Duration,
    place: InHand,
}

macro_rules! unary {
    ($calls:ident, $taken:ident, $method:ident) => {{
        let calls = Arc::clone($calls);
        let handle = move |question| {
            let calls = Arc::clone(&calls);
            Answering::new(async move { calls.$method(question).await })
        };
        $calls.unary($taken, handle).await
    }};
}

impl Calls {
    pub(super) fn new(
        config: &ServerConfig,
        parts: ServerParts,
        env: &Env,
        stop: Shutdown,
        metrics: Arc<ServerMetrics>,
    ) -> Self {
        Self {
            parts,
            cluster: config.cluster,
            protocols: config.protocols,
            server: env.rng.u64().max(1),
            stop,
            env: env.clone(),
            message_bytes_max: config.message_bytes_max,
            calls_max: config.calls_max,
            in_flight: Arc::new(Semaphore::new(config.calls_max)),
            receiving: Arc::new(Semaphore::new(config.request_bytes_max)),
            blocks: Arc::new(Semaphore::new(config.blocks_max)),
            metrics,
        }
    }

    /// The answer to any request. Dropping it drops the call that it made.
    pub(super) fn answer(self: &Arc<Self>, request: http::Request<Incoming>) -> Answering<Reply> {
        let calls = Arc::clone(self);
        Answering::new(async move {
            let method = method_of(request.uri().path()).to_owned();
            match calls.admit(request, &method) {
                Ok(taken) => calls.call(&method, taken).await,
                Err(reason) => calls.refuse(reason),
            }
        })
    }

    fn refuse(&self, reason: Reason) -> Reply {
        add_one(&self.metrics.refusals);
        status_of(reason).into_http()
    }

    fn count(&self) {
        let free = self.in_flight.available_permits();
        set(&self.metrics.calls, self.calls_max.saturating_sub(free));
    }

    fn admit(
        self: &Arc<Self>,
        request: http::Request<Incoming>,
        method: &str,
    ) -> Result<Taken, Reason> {
        if self.stop.is_requested() {
            return Err(Reason::Stopping(Stopping {}));
        }
        let head = CallHead::of(request.headers());
        // What a stranger may have to be told is the answer to Hello.
        if method != "Hello" {
            if !head
                .protocol
                .is_some_and(|spoken| self.protocols.has(spoken))
            {
                return Err(Reason::Protocols(self.protocols.into()));
            }
            if head.cluster != Some(self.cluster) {
                return Err(self.other_cluster());
            }
        }
        let deadline = head.deadline.ok_or_else(|| malformed("deadline"))?;
        let permit = Arc::clone(&self.in_flight).try_acquire_owned();
        let permit = permit.map_err(|_| Reason::Overloaded(Overloaded {}))?;
        self.count();
        let place = InHand {
            calls: Arc::clone(self),
            permit: Some(permit),
        };
        let budget = Arc::clone(&self.receiving);
        let bytes_max = match method {
            READ_BLOCK => BLOCK_QUESTION_BYTES_MAX.min(self.message_bytes_max),
            _ => self.message_bytes_max,
        };
        Ok(Taken {
            request: request.map(|body| MeteredBody::new(body, budget, bytes_max)),
            deadline,
            place,
        })
    }

    pub(super) fn other_cluster(&self) -> Reason {
        Reason::OtherCluster(OtherCluster {
            cluster: bytes16(self.cluster.bytes()),
        })
    }

    /// The failure that tells `error`, and where the leader may be when it is not here.
    pub(super) fn failure(&self, error: MetadataError) -> proto::Failure {
        let elsewhere = matches!(error, MetadataError::Unavailable | MetadataError::Deposed);
        let leader = elsewhere.then(|| self.parts.hint.leader()).flatten();
        failure_of(error, leader.filter(|address| is_address(address)))
    }

    async fn call(self: &Arc<Self>, method: &str, taken: Taken) -> Reply {
        match method {
            "Hello" => unary!(self, taken, hello),
            "Register" => unary!(self, taken, register),
            "Reserve" => unary!(self, taken, reserve),
            "Written" => unary!(self, taken, written),
            "EndSession" => unary!(self, taken, end_session),
            "LookUp" => unary!(self, taken, look_up),
            "ListOffset" => unary!(self, taken, list_offset),
            "CreateTopic" => unary!(self, taken, create_topic),
            "DeleteTopic" => unary!(self, taken, delete_topic),
            "NewProducerId" => unary!(self, taken, new_producer_id),
            "Group" => unary!(self, taken, group),
            "AlterTopic" => unary!(self, taken, alter_topic),
            "DeleteRecords" => unary!(self, taken, delete_records),
            "LogBytes" => unary!(self, taken, log_bytes),
            "AlterBroker" => unary!(self, taken, alter_broker),
            "Producers" => unary!(self, taken, producers),
            "Leadership" => unary!(self, taken, leadership),
            "Announce" => unary!(self, taken, announce),
            "Follow" => {
                let calls = Arc::clone(self);
                let handle = move |question, place| {
                    let calls = Arc::clone(&calls);
                    Answering::new(async move { calls.follow(question, place).await })
                };
                self.streaming(taken, handle).await
            }
            "TopicsCurrent" => {
                let calls = Arc::clone(self);
                let handle = move |question, place| {
                    let calls = Arc::clone(&calls);
                    Answering::new(async move { calls.topics_current(question, place).await })
                };
                self.streaming(taken, handle).await
            }
            READ_BLOCK => self.block(taken).await,
            _ => self.refuse(malformed("method")),
        }
    }

    /// An answer with a block in it has its place until it has left: so many are in memory.
    async fn block(self: &Arc<Self>, taken: Taken) -> Reply {
        let Some(source) = self.parts.blocks.clone() else {
            return self.refuse(malformed("method"));
        };
        let Ok(place) = Arc::clone(&self.blocks).try_acquire_owned() else {
            return self.refuse(Reason::Overloaded(Overloaded {}));
        };
        let handle = move |question| {
            let source = Arc::clone(&source);
            Answering::new(async move { read_block(&*source, question).await })
        };
        let reply = self.unary(taken, handle).await;
        reply.map(|body| Body::new(HeldBody::new(body, place)))
    }

    async fn unary<Q, R>(
        &self,
        taken: Taken,
        handle: impl Fn(Q) -> Answering<Result<R, Malformed>> + Send + 'static,
    ) -> Reply
    where
        Q: prost::Message + Default + Send + 'static,
        R: prost::Message + Send + Sync + 'static,
    {
        let Taken {
            request,
            deadline,
            place,
        } = taken;
        let _place = place;
        let mut grpc = Grpc::new(RequestCodec::<Q, R>::new())
            .max_decoding_message_size(self.message_bytes_max)
            .max_encoding_message_size(self.message_bytes_max);
        let handler = Handler(move |question| self.within(deadline, handle(question)));
        grpc.unary(handler, request).await
    }

    async fn streaming<Q, R>(
        &self,
        taken: Taken,
        handle: impl Fn(Q, InHand) -> Answering<Result<Parts<R>, Malformed>> + Send + 'static,
    ) -> Reply
    where
        Q: prost::Message + Default + Send + 'static,
        R: prost::Message + Send + Sync + 'static,
    {
        let Taken {
            request,
            deadline,
            place,
        } = taken;
        let mut place = Some(place);
        let mut grpc = Grpc::new(RequestCodec::<Q, R>::new())
            .max_decoding_message_size(self.message_bytes_max)
            .max_encoding_message_size(self.message_bytes_max);
        let handler = Handler(move |question| match place.take() {
            Some(place) => self.within(deadline, handle(question, place)),
            None => Answering::new(std::future::ready(Err(Status::internal(
                "one request has one answer",
            )))),
        });
        grpc.server_streaming(handler, request).await
    }

    /// Past the deadline the call is dropped; nobody waits for its answer any more.
    fn within<T: Send + 'static>(
        &self,
        deadline: Duration,
        call: Answering<Result<T, Malformed>>,
    ) -> Answering<Result<T, Status>> {
        let clock = Arc::clone(&self.env.clock);
        let metrics = Arc::clone(&self.metrics);
        Answering::new(async move {
            match timeout(clock.as_ref(), deadline, call).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(refused)) => {
                    add_one(&metrics.refusals);
                    Err(status_of(malformed(refused.field)))
                }
                Err(_) => Err(Status::deadline_exceeded("outcome is not known")),
            }
        })
    }
}

pub(super) type Reply = http::Response<Body>;

/// A method of the metadata service by its name, of another service with that one's.
fn method_of(path: &str) -> &str {
    let of_metadata = path.strip_prefix(SERVICE);
    let method = of_metadata.or_else(|| path.strip_prefix(PACKAGE));
    method.unwrap_or_default()
}

fn malformed(field: &str) -> Reason {
    Reason::Malformed(Field {
        field: field.to_owned(),
    })
}

/// A method as tonic wants it.
struct Handler<F>(F);

impl<Q, T, F> tower_service::Service<tonic::Request<Q>> for Handler<F>
where
    F: FnMut(Q) -> Answering<Result<T, Status>>,
    T: Send + 'static,
{
    type Response = tonic::Response<T>;
    type Error = Status;
    type Future = Answering<Result<tonic::Response<T>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        let answer = (self.0)(request.into_inner());
        Answering::new(async move { answer.await.map(tonic::Response::new) })
    }
}
