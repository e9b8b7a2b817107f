//! One connection to one server: made, greeted, and called on.
//!
//! A call is `NotSent` only where the HTTP/2 layer hands its request back; it is `Refused` where
//! the server says in our own words that it did not take it up. All else is `Lost`: it may have
//! been done.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use esker_types::ClusterId;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Uri;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::{Status, Streaming};

use crate::codec::ReplyCodec;
use crate::config::RemoteConfig;
use crate::convert::{bytes16, cluster};
use crate::executor::ConnectionTasks;
use crate::limits::{CONNECTION_WINDOW_BYTES, HEADER_BYTES_MAX, STREAM_WINDOW_BYTES};
use crate::proto::hello_reply::{Outcome as Hello, Welcome};
use crate::proto::refusal::Reason;
use crate::proto::{HelloReply, HelloRequest};
use crate::protocol::{PACKAGE, Protocols, SERVICE, write_head};
use crate::refusal::reason_of;
use crate::tls::{self, TlsError};

/// The authority of every request; servers look at the path only.
const ORIGIN: &str = "http://esker.internal";

/// Why there is no connection to a server. Nothing was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Its name is not known, or nobody listens there.
    #[error("dial another process")]
    Dial(#[source] io::Error),
    /// Our own certificates cannot be used.
    #[error("certificates of the internal api")]
    Certificates(#[source] TlsError),
    /// No TLS with it: its certificate or ours is not trusted, or it speaks none.
    #[error("secure the connection to another process")]
    Tls(#[source] io::Error),
    /// It speaks no HTTP/2.
    #[error("open HTTP/2 with another process")]
    Http(#[source] hyper::Error),
    /// It did not answer Hello as a process of ours does.
    #[error("other process did not answer the greeting")]
    NoGreeting,
    /// It refused the greeting for the moment: it is about to end, or has too much to do.
    #[error("other process takes no further client now")]
    Busy,
    /// It took too long.
    #[error("no connection within {limit:?}")]
    TimedOut {
        /// How long was waited.
        limit: Duration,
    },
    /// It speaks other versions of the internal API.
    #[error("other process speaks protocol {theirs}, this process {ours}")]
    Protocol {
        /// What this process speaks.
        ours: Protocols,
        /// What it speaks.
        theirs: Protocols,
    },
    /// It serves another cluster.
    #[error("other process serves cluster {theirs}, not {ours}")]
    Cluster {
        /// The cluster that this process belongs to.
        ours: ClusterId,
        /// The cluster that it serves.
        theirs: ClusterId,
    },
}

/// What became of a call that has no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// It did not leave this process.
    NotSent,
    /// The server did not take it up.
    Refused(Reason),
    /// It may have been done.
    Lost(Status),
}

/// A connection that stands. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    channel: Channel,
    origin: Uri,
    cluster: ClusterId,
    protocols: Protocols,
    protocol: u32,
    message_bytes_max: usize,
}

/// What moves a connection's bytes. It ends with the connection, and ends it when dropped.
pub(super) type Driver = BoxFuture<'static, ()>;

/// What every call says, and where it notes that it was sent.
#[derive(Clone, Debug)]
pub(super) struct CallNote {
    pub(super) method: &'static str,
    pub(super) deadline: Duration,
    pub(super) sent: Arc<AtomicBool>,
}

impl CallNote {
    pub(super) fn new(method: &'static str, deadline: Duration) -> Self {
        Self {
            method,
            deadline,
            sent: Arc::default(),
        }
    }

    pub(super) fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

/// Dials `address`; HTTP/2 stands, nobody was greeted yet.
pub(super) async fn open(
    address: &str,
    config: &RemoteConfig,
) -> Result<(Connection, Driver), ConnectError> {
    let connector = match &config.tls {
        Some(tls) => {
            let connector = tls::connector(tls).await;
            Some((tls, connector.map_err(ConnectError::Certificates)?))
        }
        None => None,
    };
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(ConnectError::Dial)?;
    stream.set_nodelay(true).map_err(ConnectError::Dial)?;
    match connector {
        Some((tls, connector)) => {
            let stream = tls::connect(&connector, tls, address, stream).await;
            speak(stream.map_err(ConnectError::Tls)?, config).await
        }
        None => speak(stream, config).await,
    }
}

async fn speak(
    stream: impl Wire,
    config: &RemoteConfig,
) -> Result<(Connection, Driver), ConnectError> {
    let tasks = ConnectionTasks::new();
    let (sender, connection) = Builder::new(tasks.executor())
        .timer(TokioTimer::new())
        .keep_alive_interval(config.keep_alive.interval)
        .keep_alive_timeout(config.keep_alive.timeout)
        .keep_alive_while_idle(true)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(ConnectError::Http)?;
    let driver = async move {
        let _tasks = tasks;
        if let Err(error) = connection.await {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "a connection to another process ended");
        }
    };
    let connection = Connection {
        channel: Channel { sender },
        origin: Uri::from_static(ORIGIN),
        cluster: config.cluster,
        protocols: config.protocols,
        protocol: config.protocols.max,
        message_bytes_max: config.message_bytes_max,
    };
    Ok((connection, driver.boxed()))
}

impl Connection {
    /// Greets the server; the connection as both understand it.
    pub(super) async fn greet(mut self, limit: Duration) -> Result<Self, ConnectError> {
        let hello = HelloRequest {
            protocols: Some(self.protocols.into()),
            cluster: bytes16(self.cluster.bytes()),
            release: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let note = CallNote::new("Hello", limit);
        let reply: HelloReply = match self.unary(&note, hello).await {
            Ok(reply) => reply,
            Err(NoAnswer::Refused(reason)) => return Err(self.unwelcome(reason)),
            Err(NoAnswer::NotSent | NoAnswer::Lost(_)) => return Err(ConnectError::NoGreeting),
        };
        match reply.outcome {
            Some(Hello::Welcome(Welcome { protocol, .. })) if self.protocols.has(protocol) => {
                self.protocol = protocol;
                Ok(self)
            }
            Some(Hello::Refusal(refusal)) => Err(refusal
                .reason
                .map_or(ConnectError::NoGreeting, |reason| self.unwelcome(reason))),
            Some(Hello::Welcome(_)) | None => Err(ConnectError::NoGreeting),
        }
    }

    fn unwelcome(&self, reason: Reason) -> ConnectError {
        match reason {
            Reason::Protocols(theirs) => ConnectError::Protocol {
                ours: self.protocols,
                theirs: theirs.into(),
            },
            Reason::OtherCluster(other) => match cluster(&other.cluster) {
                Ok(theirs) => ConnectError::Cluster {
                    ours: self.cluster,
                    theirs,
                },
                Err(_) => ConnectError::NoGreeting,
            },
            Reason::Overloaded(_) | Reason::Stopping(_) => ConnectError::Busy,
            Reason::Malformed(_) | Reason::TooLarge(_) => ConnectError::NoGreeting,
        }
    }

    pub(super) fn protocol(&self) -> u32 {
        self.protocol
    }

    /// Whether calls may still be made on it.
    pub(super) fn is_open(&self) -> bool {
        !self.channel.sender.is_closed()
    }

    fn grpc(&self) -> Grpc<Channel> {
        Grpc::with_origin(self.channel.clone(), self.origin.clone())
            .max_decoding_message_size(self.message_bytes_max)
            .max_encoding_message_size(self.message_bytes_max)
    }

    fn request<Q>(&self, note: &CallNote, question: Q) -> tonic::Request<Q> {
        let mut request = tonic::Request::new(question);
        let metadata = request.metadata_mut();
        write_head(metadata, self.protocol, self.cluster, note.deadline);
        note.sent.store(true, Ordering::Relaxed);
        request
    }

    /// One question, one answer. Dropped, the server drops what it does for it.
    pub(super) async fn unary<Q, R>(&self, note: &CallNote, question: Q) -> Result<R, NoAnswer>
    where
        Q: prost::Message + 'static,
        R: prost::Message + Default + 'static,
    {
        let request = self.request(note, question);
        let codec = ReplyCodec::<Q, R>::new();
        let answer = self.grpc().unary(request, path(note.method), codec).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| note.classify(status))
    }

    /// One question, an answer in parts: the first, and the rest.
    pub(super) async fn streaming<Q, R>(
        &self,
        note: &CallNote,
        question: Q,
    ) -> Result<(R, Streaming<R>), NoAnswer>
    where
        Q: prost::Message + 'static,
        R: prost::Message + Default + 'static,
    {
        let request = self.request(note, question);
        let codec = ReplyCodec::<Q, R>::new();
        let mut grpc = self.grpc();
        let opened = grpc
            .server_streaming(request, path(note.method), codec)
            .await;
        let mut parts = opened
            .map(tonic::Response::into_inner)
            .map_err(|status| note.classify(status))?;
        match parts.message().await {
            Ok(Some(first)) => Ok((first, parts)),
            Ok(None) => Err(NoAnswer::Lost(Status::internal("an answer without parts"))),
            Err(status) => Err(note.classify(status)),
        }
    }
}

impl CallNote {
    fn classify(&self, status: Status) -> NoAnswer {
        let error = match reason_of(&status) {
            Some(reason) => NoAnswer::Refused(reason),
            None if is_not_sent(&status) => NoAnswer::NotSent,
            None => return NoAnswer::Lost(status),
        };
        self.sent.store(false, Ordering::Relaxed);
        error
    }
}

fn path(method: &str) -> PathAndQuery {
    // A method of another service than that of metadata is named with its service.
    let before = if method.contains('/') {
        PACKAGE
    } else {
        SERVICE
    };
    // The names of our own methods always are a path.
    PathAndQuery::try_from(format!("{before}{method}"))
        .unwrap_or_else(|_| PathAndQuery::from_static("/"))
}

/// The request was handed back: not a byte of it left.
#[derive(Debug, thiserror::Error)]
#[error("request was not sent")]
struct HandedBack;

fn is_not_sent(status: &Status) -> bool {
    let source = std::error::Error::source(status);
    source.is_some_and(|source| source.is::<HandedBack>())
}

/// HTTP/2 as tonic wants it, with what it knows of a request that was not sent.
#[derive(Clone, Debug)]
struct Channel {
    sender: SendRequest<Body>,
}

impl tower_service::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // A closed one hands requests back.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.sender.try_send_request(request);
        handed_back(answer).boxed()
    }
}

async fn handed_back<T, R>(
    answer: impl Future<Output = Result<T, hyper::client::conn::TrySendError<R>>>,
) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    match answer.await {
        Ok(answer) => Ok(answer),
        Err(mut error) => match error.take_message() {
            Some(_) => Err(Box::new(HandedBack)),
            None => Err(Box::new(error.into_error())),
        },
    }
}
