//! Frames on a socket: a 4-byte length that is compared before memory is taken, then so many bytes.
//!
//! Used by the connection and by the client. Reading is bounded in time from a frame's first byte
//! on; writing is vectored, so that record bytes are never copied.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use esker_env::Clock;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

use crate::budget::Lane;
use crate::limits::WRITE_SLICES_MAX;
use crate::stragglers::{Holds, Stragglers, Watched};

/// Bytes read ahead from a socket, so that a small request costs one read.
const READ_AHEAD_BYTES: usize = 4096;

/// Why no further frame comes, or a frame could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The peer closed between two frames.
    #[error("the peer closed the connection")]
    Closed,
    /// No frame began, or no byte was taken, for too long.
    #[error("nothing happened for {limit:?}")]
    Idle { limit: Duration },
    /// A frame did not end in time.
    #[error("a frame did not end within {limit:?}")]
    Partial { limit: Duration },
    /// It stood still, and others waited for the memory that it held.
    #[error("the transfer stood still while others waited for its memory")]
    Straggler,
    /// The length is negative, too small or too large.
    #[error("a frame of {length} bytes is outside {min}..={max}")]
    Length { length: i32, min: usize, max: usize },
    /// The socket failed, or closed in the middle of a frame.
    #[error("socket failed")]
    Socket(#[source] io::Error),
}

/// Bounds of the frames that are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameLimits {
    pub(crate) bytes_min: usize,
    pub(crate) bytes_max: usize,
    pub(crate) idle: Duration,
    pub(crate) partial: Duration,
}

/// Reads frames, one length and one body at a time.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    socket: BufReader<R>,
    limits: FrameLimits,
    /// The first bytes of the body, when they were read ahead of it.
    key: Option<[u8; 2]>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(socket: R, limits: FrameLimits) -> Self {
        Self {
            socket: BufReader::with_capacity(READ_AHEAD_BYTES, socket),
            limits,
            key: None,
        }
    }

    /// The socket itself; what was read ahead is not seen through it.
    pub(crate) fn socket(&self) -> &R {
        self.socket.get_ref()
    }

    /// The length of the next frame, within the limits.
    pub(crate) async fn length(&mut self, clock: &dyn Clock) -> Result<usize, FrameError> {
        let mut length = [0; 4];
        let idle = self.limits.idle;
        let first = esker_env::timeout(clock, idle, self.socket.read(&mut length)).await;
        let first = first.map_err(|_| FrameError::Idle { limit: idle })?;
        let begun = match first.map_err(FrameError::Socket)? {
            0 => return Err(FrameError::Closed),
            begun => begun,
        };
        let rest = length.get_mut(begun..).unwrap_or_default();
        if !rest.is_empty() {
            within(clock, self.limits.partial, self.socket.read_exact(rest)).await?;
        }
        let length = i32::from_be_bytes(length);
        let FrameLimits {
            bytes_min,
            bytes_max,
            ..
        } = self.limits;
        let fits = |bytes: &usize| (bytes_min..=bytes_max).contains(bytes);
        usize::try_from(length)
            .ok()
            .filter(fits)
            .ok_or(FrameError::Length {
                length,
                min: bytes_min,
                max: bytes_max,
            })
    }

    /// The first two bytes of a request's body, its API key, before memory is taken for the rest.
    /// Once between [`Self::length`] and [`Self::body`].
    pub(crate) async fn key(&mut self, clock: &dyn Clock) -> Result<i16, FrameError> {
        let mut key = [0; 2];
        within(clock, self.limits.partial, self.socket.read_exact(&mut key)).await?;
        self.key = Some(key);
        Ok(i16::from_be_bytes(key))
    }

    /// The body: exactly `length` bytes, which [`Self::length`] gave. Takes the memory now.
    pub(crate) async fn body(
        &mut self,
        clock: &dyn Clock,
        length: usize,
        stragglers: Option<&Arc<Stragglers>>,
    ) -> Result<Bytes, FrameError> {
        let megabytes = u64::try_from(length / (1024 * 1024)).unwrap_or(u64::MAX);
        let limit = self
            .limits
            .partial
            .saturating_add(Duration::from_secs(megabytes));
        let socket = &mut self.socket;
        let key = self.key.take();
        let holds = key.map_or(Holds::Requests, |key| {
            Lane::of(i16::from_be_bytes(key), length).holds()
        });
        let mut watched = Watched::new(stragglers, holds, length);
        let read = async {
            let mut body = BytesMut::with_capacity(length).limit(length);
            if let Some(key) = key {
                body.put_slice(&key);
            }
            while body.has_remaining_mut() {
                if watched.step(socket.read_buf(&mut body)).await? == 0 {
                    return Err(FrameError::Socket(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            Ok(body.into_inner().freeze())
        };
        let read = esker_env::timeout(clock, limit, read).await;
        read.unwrap_or(Err(FrameError::Partial { limit }))
    }
}

async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    read: impl Future<Output = io::Result<T>>,
) -> Result<T, FrameError> {
    match esker_env::timeout(clock, limit, read).await {
        Ok(read) => read.map_err(FrameError::Socket),
        Err(_) => Err(FrameError::Partial { limit }),
    }
}

/// Writes `slices` in order, without copying them; every write must make progress within `stall`.
/// `watched` sees each of them. Gives the number of bytes written.
pub(crate) async fn write_slices<W: AsyncWrite + Unpin>(
    socket: &mut W,
    clock: &dyn Clock,
    stall: Duration,
    watched: &mut Watched,
    slices: Vec<Bytes>,
) -> Result<usize, FrameError> {
    let mut left: VecDeque<Bytes> = slices
        .into_iter()
        .filter(|slice| !slice.is_empty())
        .collect();
    let mut total = 0;
    while !left.is_empty() {
        let mut vectors = [IoSlice::new(&[]); WRITE_SLICES_MAX];
        for (vector, slice) in vectors.iter_mut().zip(&left) {
            *vector = IoSlice::new(slice);
        }
        let count = left.len().min(WRITE_SLICES_MAX);
        let write = socket.write_vectored(vectors.get(..count).unwrap_or_default());
        let written = esker_env::timeout(clock, stall, watched.step(write)).await;
        let written = written.map_err(|_| FrameError::Idle { limit: stall })??;
        if written == 0 {
            return Err(FrameError::Socket(io::ErrorKind::WriteZero.into()));
        }
        total += written;
        advance(&mut left, written);
    }
    let flushed = esker_env::timeout(clock, stall, socket.flush()).await;
    let flushed = flushed.map_err(|_| FrameError::Idle { limit: stall })?;
    flushed.map_err(FrameError::Socket)?;
    Ok(total)
}

fn advance(left: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(mut slice) = left.pop_front() {
        if written < slice.len() {
            slice.advance(written);
            left.push_front(slice);
            return;
        }
        written -= slice.len();
        if written == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use esker_env::SystemClock;

    use super::*;

    const LIMITS: FrameLimits = FrameLimits {
        bytes_min: 2,
        bytes_max: 8,
        idle: Duration::from_secs(600),
        partial: Duration::from_secs(30),
    };

    async fn read(bytes: &[u8]) -> Result<Bytes, FrameError> {
        let clock = SystemClock::new();
        let mut reader = FrameReader::new(bytes, LIMITS);
        let length = reader.length(&clock).await?;
        reader.body(&clock, length, None).await
    }

    #[tokio::test]
    async fn a_frame_is_read_at_its_limits_and_refused_one_past_them() {
        assert_eq!(read(&[0, 0, 0, 2, 1, 2]).await.unwrap(), &[1, 2][..]);
        assert_eq!(
            read(&[0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])
                .await
                .unwrap()
                .len(),
            8
        );
        for length in [
            [0, 0, 0, 1],
            [0, 0, 0, 9],
            [0xff; 4],
            [0x7f, 0xff, 0xff, 0xff],
        ] {
            assert!(matches!(
                read(&length).await,
                Err(FrameError::Length { .. })
            ));
        }
        assert!(matches!(read(&[]).await, Err(FrameError::Closed)));
        assert!(matches!(read(&[0, 0]).await, Err(FrameError::Socket(_))));
        assert!(matches!(
            read(&[0, 0, 0, 2, 1]).await,
            Err(FrameError::Socket(_))
        ));
    }

    #[tokio::test]
    async fn a_key_that_was_read_ahead_is_in_the_body_once() {
        let clock = SystemClock::new();
        let bytes: &[u8] = &[0, 0, 0, 3, 0, 18, 7, 0, 0, 0, 2, 5, 6];
        let mut reader = FrameReader::new(bytes, LIMITS);

        let length = reader.length(&clock).await.unwrap();
        let key = reader.key(&clock).await.unwrap();
        let first = reader.body(&clock, length, None).await.unwrap();
        let length = reader.length(&clock).await.unwrap();
        let second = reader.body(&clock, length, None).await.unwrap();

        assert_eq!(key, 18);
        assert_eq!((&first[..], &second[..]), (&[0, 18, 7][..], &[5, 6][..]));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_between_frames_and_within_one_ends_at_its_own_limit() {
        let clock = SystemClock::new();
        let (near, mut far) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(near, LIMITS);

        let idle = reader.length(&clock).await;
        far.write_all(&[0]).await.unwrap();
        let partial = reader.length(&clock).await;

        assert!(matches!(idle, Err(FrameError::Idle { limit }) if limit == LIMITS.idle));
        assert!(matches!(partial, Err(FrameError::Partial { limit }) if limit == LIMITS.partial));
    }

    #[tokio::test]
    async fn more_slices_than_one_write_takes_arrive_whole_and_in_order() {
        let clock = SystemClock::new();
        let (mut near, mut far) = tokio::io::duplex(7);
        let slices = vec![Bytes::from_static(&[1, 2, 3]); 3 * WRITE_SLICES_MAX + 1];
        let expected: Vec<u8> = slices.concat();
        let mut nobody = Watched::new(None, Holds::Replies, 0);

        let write = write_slices(&mut near, &clock, LIMITS.idle, &mut nobody, slices);
        let mut received = vec![0; expected.len()];
        let (written, read) = tokio::join!(write, far.read_exact(&mut received));

        assert_eq!(
            (written.unwrap(), read.unwrap()),
            (expected.len(), expected.len())
        );
        assert_eq!(received, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_ends_the_write() {
        let clock = SystemClock::new();
        let (mut near, _far) = tokio::io::duplex(4);

        let slices = vec![Bytes::from_static(&[0; 9])];
        let mut nobody = Watched::new(None, Holds::Replies, 0);
        let written = write_slices(&mut near, &clock, LIMITS.idle, &mut nobody, slices).await;

        assert!(matches!(written, Err(FrameError::Idle { .. })));
    }
}
