//! Connections to the store behind the proxy.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use esker_env::TaskGroup;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// A body on its way through.
pub(super) type Body = UnsyncBoxBody<Bytes, anyhow::Error>;

pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// The upstream connection of one client connection, made when needed.
#[derive(Debug)]
pub(super) struct Link {
    upstream: SocketAddr,
    open: Mutex<Option<SendRequest<Body>>>,
    /// Drives the connections; ends with the link.
    drivers: std::sync::Mutex<TaskGroup>,
}

impl Link {
    pub(super) fn new(upstream: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            upstream,
            open: Mutex::new(None),
            drivers: std::sync::Mutex::new(TaskGroup::new("shaper upstream")),
        })
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Body>> {
        let stream = TcpStream::connect(self.upstream)
            .await
            .context("connect to the store")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut drivers = self
            .drivers
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        let _ = drivers.reap();
        drivers.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the store ended");
            }
        });
        Ok(sender)
    }

    /// Sends one request. A kept connection that the store has closed meanwhile is replaced first.
    pub(super) async fn send(&self, request: Request<Body>) -> anyhow::Result<Response<Incoming>> {
        let mut open = self.open.lock().await;
        let kept = match open.take() {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let response = sender
            .send_request(request)
            .await
            .context("send to the store")?;
        *open = Some(sender);
        Ok(response)
    }
}
