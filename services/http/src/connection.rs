//! Connections: as many as there is room for, each in its own task, none held by a silent client.
//!
//! hyper bounds the head of a request and the rest between two; what is written must be read within
//! [`WRITE_STALL_MAX`]; a client that is gone is noticed also while nothing is written
//! (`socket.rs`). Stop order: stop accepting, finish what is in progress, cut the rest.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use esker_env::{Clock, Shutdown, TaskFailure, TaskGroup};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::limits::{HEAD_BYTES_MAX, HEAD_TIME_MAX, WRITE_STALL_MAX};
use crate::socket::Socket;

/// How long accepting rests after it failed, usually because file descriptors ran out.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Serves the connections of a socket.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(crate) router: Router,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shutdown: Shutdown,
    pub(crate) connections_max: usize,
}

impl Connections {
    /// Serves until asked to stop, then finishes what is in progress within `drain_timeout`.
    pub(crate) async fn serve(self, socket: TcpListener, drain_timeout: Duration) {
        let mut connections = TaskGroup::new("http connections");
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shutdown.requested() => break,
                Some(ended) = connections.join_next(), if connections.count() > 0 => {
                    report(ended);
                    continue;
                }
                accepted = socket.accept() => accepted,
            };
            match accepted {
                // Dropped, it is closed: the client sees that at once.
                Ok((_, peer)) if connections.count() >= self.connections_max => {
                    tracing::debug!(%peer, "http connection refused: too many");
                }
                Ok((stream, _)) => connections.spawn(serve(
                    stream,
                    self.router.clone(),
                    Arc::clone(&self.clock),
                    self.shutdown.clone(),
                )),
                Err(error) => {
                    tracing::warn!(%error, "accepting an http connection failed");
                    self.clock.sleep(ACCEPT_REST).await;
                }
            }
        }
        drop(socket);
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        let drained = esker_env::timeout(&*self.clock, drain_timeout, all_ended).await;
        if drained.is_err() {
            let left = connections.count();
            tracing::warn!(left, "http requests cut at the drain limit");
            connections.abort_all();
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        }
    }
}

fn report(ended: Result<(), TaskFailure>) {
    if let Err(error) = ended {
        tracing::error!(?error, "an http connection panicked");
    }
}

async fn serve(stream: TcpStream, router: Router, clock: Arc<dyn Clock>, shutdown: Shutdown) {
    let socket = match Socket::new(stream) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, "socket closed before it was served");
            return;
        }
    };
    let io = TokioIo::new(Guarded::new(socket.clone(), clock));
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        // By default each connection may keep 400 KiB, also at rest.
        .max_buf_size(HEAD_BYTES_MAX)
        // A client that has sent all it has may close its side and still wants the answer.
        .half_close(true)
        .serve_connection(io, service);
    let served = async {
        let mut connection = pin!(connection);
        tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = shutdown.requested() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    tokio::select! {
        biased;
        ended = served => if let Err(error) = ended {
            tracing::debug!(%error, "http connection ended");
        },
        error = socket.gone() => tracing::debug!(%error, "http client is gone"),
    }
}

/// A socket whose writes fail when the other side takes nothing for too long.
pub(crate) struct Guarded<S> {
    stream: S,
    clock: Arc<dyn Clock>,
    /// Runs while a write waits.
    stall: Option<BoxFuture<'static, ()>>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(stream: S, clock: Arc<dyn Clock>) -> Self {
        Self {
            stream,
            clock,
            stall: None,
        }
    }

    fn watched<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stall = None;
            return progress;
        }
        let clock = &self.clock;
        let stall = self
            .stall
            .get_or_insert_with(|| clock.sleep(WRITE_STALL_MAX));
        ready!(stall.poll_unpin(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watched(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(cx);
        self.watched(cx, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
