//! Kafka frames by hand: what no client library sends, and what kcat does not print.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use esker_env::{Env, timeout};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Nothing here takes longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longer replies are a mistake.
const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A connection to the Kafka port.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
}

/// A request without tagged fields: header version 1, client id `e2e`.
#[must_use]
pub fn request(api_key: i16, api_version: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&api_key.to_be_bytes());
    bytes.extend_from_slice(&api_version.to_be_bytes());
    bytes.extend_from_slice(&7_i32.to_be_bytes());
    bytes.extend_from_slice(&3_i16.to_be_bytes());
    bytes.extend_from_slice(b"e2e");
    bytes.extend_from_slice(body);
    bytes
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// The port does not answer.
    pub async fn connect(kafka: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(kafka).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Connects from one of this machine's addresses, with a socket that takes at most about
    /// `receive_bytes` that nobody reads.
    ///
    /// # Errors
    /// The port does not answer, or the address is not ours.
    pub async fn connect_from(
        kafka: SocketAddr,
        source: [u8; 4],
        receive_bytes: Option<u32>,
    ) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(SocketAddr::from((source, 0)))?;
        let stream = socket.connect(kafka).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn end_sending(&mut self) -> anyhow::Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// Waits until the peer has closed, reading and forgetting what it sends.
    ///
    /// # Errors
    /// It has not closed within `limit`.
    pub async fn closed_within(&mut self, limit: Duration) -> anyhow::Result<()> {
        let clock = Env::system().clock;
        let mut bytes = vec![0; 64 * 1024];
        let closed = async {
            // A reset is a close too.
            while self
                .stream
                .read(&mut bytes)
                .await
                .is_ok_and(|read| read > 0)
            {}
        };
        let closed = timeout(clock.as_ref(), limit, closed).await;
        ensure!(
            closed.is_ok(),
            "the connection is still open after {limit:?}"
        );
        Ok(())
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The peer has closed.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Sends a frame: its length, then `bytes`.
    ///
    /// # Errors
    /// The peer has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut frame = i32::try_from(bytes.len())?.to_be_bytes().to_vec();
        frame.extend_from_slice(bytes);
        self.send_raw(&frame).await
    }

    /// The next reply without its length, or `None` once the peer has closed.
    ///
    /// # Errors
    /// Nothing comes in time.
    pub async fn reply(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let clock = Env::system().clock;
        let read = timeout(clock.as_ref(), ANSWER_WITHIN, self.read_frame()).await;
        let Ok(read) = read else {
            bail!("neither a reply nor a close within {ANSWER_WITHIN:?}");
        };
        read
    }

    async fn read_frame(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut length = [0_u8; 4];
        // A close in the middle, or a reset, is a close all the same.
        if self.stream.read_exact(&mut length).await.is_err() {
            return Ok(None);
        }
        let length = usize::try_from(i32::from_be_bytes(length))?;
        ensure!(length <= REPLY_BYTES_MAX, "a reply of {length} bytes");
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await?;
        Ok(Some(bytes))
    }
}

/// A field that is taken from the front of a reply.
fn take<'a>(rest: &mut &'a [u8], length: usize) -> anyhow::Result<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length).context("reply is cut")?;
    *rest = left;
    Ok(taken)
}

fn text(rest: &mut &[u8]) -> anyhow::Result<String> {
    let length = i16::from_be_bytes(take(rest, 2)?.try_into()?);
    let length = usize::try_from(length).unwrap_or(0);
    Ok(String::from_utf8(take(rest, length)?.to_vec())?)
}

/// The cluster id that Kafka clients are told (Metadata version 2).
///
/// # Errors
/// No answer, or one that is not to the point.
pub async fn cluster_id(kafka: SocketAddr) -> anyhow::Result<String> {
    let mut wire = Wire::connect(kafka).await?;
    wire.send(&request(3, 2, &0_i32.to_be_bytes())).await?;
    let reply = wire.reply().await?.context("closed without a reply")?;
    let mut rest = reply.as_slice();
    take(&mut rest, 4)?;
    let brokers = i32::from_be_bytes(take(&mut rest, 4)?.try_into()?);
    for _ in 0..brokers {
        take(&mut rest, 4)?;
        text(&mut rest)?;
        take(&mut rest, 4)?;
        text(&mut rest)?;
    }
    text(&mut rest)
}
