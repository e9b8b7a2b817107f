//! One Kafka connection with any number of requests in flight; replies come in request order.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use esker_env::{Env, TaskGroup, timeout};
use esker_kafka::messages::{
    ApiKey, Decodable, Encodable, RequestHeader, ResponseHeader, StrBytes,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Replies that were read and not yet asked for.
const REPLIES_MAX: usize = 256;
const REPLY_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A connection: send with one half, receive with the other.
#[derive(Debug)]
pub struct Connection {
    /// Sends.
    pub sending: Sending,
    /// Receives.
    pub receiving: Receiving,
}

/// Sends requests without waiting for replies.
#[derive(Debug)]
pub struct Sending {
    socket: OwnedWriteHalf,
    correlation_id: i32,
}

/// Takes replies in the order of the requests.
#[derive(Debug)]
pub struct Receiving {
    replies: mpsc::Receiver<anyhow::Result<Bytes>>,
    correlation_id: i32,
    /// Reads the socket; ends with this.
    _reader: TaskGroup,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let clock = Env::system().clock;
        let connect = TcpStream::connect(address);
        let stream = timeout(clock.as_ref(), CONNECT_WITHIN, connect).await??;
        // A port that nobody listens on may be given to the connection itself.
        ensure!(stream.local_addr()? != address, "connected to itself");
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let (sender, replies) = mpsc::channel(REPLIES_MAX);
        let mut reader = TaskGroup::new("replies");
        reader.spawn(read_replies(read, sender));
        Ok(Self {
            sending: Sending {
                socket: write,
                correlation_id: 0,
            },
            receiving: Receiving {
                replies,
                correlation_id: 0,
                _reader: reader,
            },
        })
    }

    /// Sends one request and waits for its reply; none may be in flight.
    ///
    /// # Errors
    /// The connection ended, or no reply came within `limit`.
    pub async fn ask<Reply: Decodable>(
        &mut self,
        (api, version): (ApiKey, i16),
        request: &impl Encodable,
        limit: Duration,
    ) -> anyhow::Result<Reply> {
        let clock = Env::system().clock;
        self.sending.send((api, version), request).await?;
        timeout(
            clock.as_ref(),
            limit,
            self.receiving.receive((api, version)),
        )
        .await?
    }
}

async fn read_replies(socket: OwnedReadHalf, replies: mpsc::Sender<anyhow::Result<Bytes>>) {
    let mut socket = BufReader::new(socket);
    loop {
        let reply = read_reply(&mut socket).await;
        let is_last = reply.is_err();
        if replies.send(reply).await.is_err() || is_last {
            return;
        }
    }
}

async fn read_reply(socket: &mut BufReader<OwnedReadHalf>) -> anyhow::Result<Bytes> {
    let length = usize::try_from(socket.read_i32().await?)?;
    ensure!(length <= REPLY_BYTES_MAX, "a reply of {length} bytes");
    let mut reply = BytesMut::zeroed(length);
    socket.read_exact(&mut reply).await?;
    Ok(reply.freeze())
}

impl Sending {
    /// Writes one request.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn send(
        &mut self,
        (api, version): (ApiKey, i16),
        request: &impl Encodable,
    ) -> anyhow::Result<()> {
        self.correlation_id += 1;
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        let header = RequestHeader::default()
            .with_request_api_key(api_number(api))
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("e2e")));
        header.encode(&mut frame, api.request_header_version(version))?;
        request.encode(&mut frame, version)?;
        let length = i32::try_from(frame.len() - 4)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.socket.write_all(&frame).await.context("send")
    }
}

#[expect(clippy::as_conversions, reason = "the codec's enum has no other way")]
fn api_number(api: ApiKey) -> i16 {
    api as i16
}

impl Receiving {
    /// The next reply.
    ///
    /// # Errors
    /// The connection ended, or the reply makes no sense.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn receive<Reply: Decodable>(
        &mut self,
        (api, version): (ApiKey, i16),
    ) -> anyhow::Result<Reply> {
        let Some(reply) = self.replies.recv().await else {
            bail!("the connection has ended");
        };
        let mut reply = reply?;
        self.correlation_id += 1;
        let header = ResponseHeader::decode(&mut reply, api.response_header_version(version))?;
        ensure!(
            header.correlation_id == self.correlation_id,
            "reply {} where {} was due",
            header.correlation_id,
            self.correlation_id
        );
        Reply::decode(&mut reply, version)
    }
}
