//! Decompression as a bounded stream: no more bytes come out than allowed, and no more memory is
//! taken than a window, a block and a read-ahead, whatever the input says.
//!
//! Blocks of snappy and lz4 are at most a fixed multiple of their compressed bytes.

mod lz4;
mod snappy;

use std::io::Read;

use bytes::buf::Reader;
use bytes::{Buf as _, Bytes};
use flate2::bufread::MultiGzDecoder;

pub use lz4::Lz4Error;
pub(crate) use lz4::compress as lz4_compress;
pub use snappy::SnappyError;
pub(crate) use snappy::compress as snappy_compress;

use crate::limits::{READ_AHEAD_BYTES, RECORD_RESERVE_BYTES_MAX, ZSTD_WINDOW_LOG_MAX};
use crate::{Compression, RecordError};

/// Bytes that are not of the codec that the batch names.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// No gzip stream, cut, or failing its checksum.
    #[error("gzip stream is damaged")]
    Gzip(#[source] std::io::Error),
    /// No snappy block or framing.
    #[error("snappy stream is damaged")]
    Snappy(#[source] SnappyError),
    /// No LZ4 frame, cut, or failing a checksum.
    #[error("lz4 frame is damaged")]
    Lz4(#[source] Lz4Error),
    /// No zstd frame, cut, failing its checksum, or with a window past
    /// [`ZSTD_WINDOW_LOG_MAX`].
    #[error("zstd frame is damaged or has too large a window")]
    Zstd(#[source] std::io::Error),
}

/// One decompressor.
pub(crate) enum Decoder {
    Gzip(Box<MultiGzDecoder<Reader<Bytes>>>),
    Snappy(snappy::Stream),
    Lz4(Box<lz4::Stream>),
    Zstd(zstd::stream::read::Decoder<'static, Reader<Bytes>>),
}

impl Decoder {
    /// `None` when there is nothing to decompress.
    pub(crate) fn open(codec: Compression, body: Bytes) -> Result<Option<Self>, CodecError> {
        Ok(Some(match codec {
            Compression::None => return Ok(None),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(body.reader()))),
            Compression::Snappy => {
                Self::Snappy(snappy::Stream::open(body).map_err(CodecError::Snappy)?)
            }
            Compression::Lz4 => {
                let stream = lz4::Stream::open(body).map_err(CodecError::Lz4)?;
                Self::Lz4(Box::new(stream))
            }
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(body.reader());
                let mut decoder = decoder.map_err(CodecError::Zstd)?;
                let limited = decoder.window_log_max(ZSTD_WINDOW_LOG_MAX);
                limited.map_err(CodecError::Zstd)?;
                Self::Zstd(decoder)
            }
        }))
    }

    /// Decompresses into the front of `room`; 0 at the end of the stream.
    fn read(&mut self, room: &mut [u8]) -> Result<usize, CodecError> {
        match self {
            Self::Gzip(decoder) => decoder.read(room).map_err(CodecError::Gzip),
            Self::Snappy(stream) => stream.read(room).map_err(CodecError::Snappy),
            Self::Lz4(stream) => stream.read(room).map_err(CodecError::Lz4),
            Self::Zstd(decoder) => decoder.read(room).map_err(CodecError::Zstd),
        }
    }
}

/// A decompressed stream that is read piece by piece.
pub(crate) struct Inflated {
    decoder: Decoder,
    /// Bytes that may come out in all.
    bytes_max: u64,
    /// Bytes that came out so far.
    produced: u64,
    /// Read ahead of the caller: `ahead[start..end]`.
    ahead: Vec<u8>,
    start: usize,
    end: usize,
}

impl std::fmt::Debug for Inflated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflated")
            .field("bytes_max", &self.bytes_max)
            .field("produced", &self.produced)
            .finish_non_exhaustive()
    }
}

impl Inflated {
    pub(crate) fn new(decoder: Decoder, bytes_max: u64) -> Self {
        Self {
            decoder,
            bytes_max,
            produced: 0,
            ahead: vec![0; READ_AHEAD_BYTES],
            start: 0,
            end: 0,
        }
    }

    /// Up to `count` bytes without taking them; fewer only at the end of the stream.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8], RecordError> {
        assert!(count <= READ_AHEAD_BYTES, "only a few bytes are peeked at");
        if self.end - self.start < count {
            self.ahead.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            while self.end < count {
                let room = self.ahead.get_mut(self.end..).unwrap_or_default();
                let got = produce(&mut self.decoder, room)?;
                if got == 0 {
                    break;
                }
                self.end += got;
                count_produced(&mut self.produced, got, self.bytes_max)?;
            }
        }
        let end = self.end.min(self.start + count);
        Ok(self.ahead.get(self.start..end).unwrap_or_default())
    }

    /// Takes `length` bytes behind `skip` peeked ones; `None` when the stream ends earlier. Memory
    /// grows with the bytes that really come.
    pub(crate) fn take(
        &mut self,
        skip: usize,
        length: usize,
    ) -> Result<Option<Bytes>, RecordError> {
        assert!(
            skip <= self.end - self.start,
            "skipped bytes were peeked at"
        );
        self.start += skip;
        let at_hand = length.min(self.end - self.start);
        let left = length - at_hand;
        if u64::try_from(left).unwrap_or(u64::MAX) > self.bytes_max - self.produced {
            let bytes_max = self.bytes_max;
            return Err(RecordError::TooLarge { bytes_max });
        }
        let mut taken = Vec::with_capacity(length.min(RECORD_RESERVE_BYTES_MAX));
        let first = self.ahead.get(self.start..self.start + at_hand);
        taken.extend_from_slice(first.unwrap_or_default());
        self.start += at_hand;
        while taken.len() < length {
            let at = taken.len();
            let more = (length - at).min(RECORD_RESERVE_BYTES_MAX);
            if taken.capacity() < at + more {
                // Twice as much each time, but never more than the record.
                taken.reserve_exact((length - at).min(at.max(more)));
            }
            taken.resize(at + more, 0);
            let room = taken.get_mut(at..).unwrap_or_default();
            let got = produce(&mut self.decoder, room)?;
            if got == 0 {
                return Ok(None);
            }
            taken.truncate(at + got);
            count_produced(&mut self.produced, got, self.bytes_max)?;
        }
        Ok(Some(Bytes::from(taken)))
    }
}

/// All bytes at once. Memory: they, and what the decoder holds.
pub(crate) fn inflate(
    codec: Compression,
    body: Bytes,
    bytes_max: u64,
) -> Result<Bytes, RecordError> {
    let decoder = Decoder::open(codec, body.clone()).map_err(RecordError::Codec)?;
    let Some(mut decoder) = decoder else {
        return Ok(body);
    };
    let mut room = vec![0; RECORD_RESERVE_BYTES_MAX];
    let mut all = Vec::new();
    let mut produced = 0;
    loop {
        let got = produce(&mut decoder, &mut room)?;
        if got == 0 {
            return Ok(Bytes::from(all));
        }
        count_produced(&mut produced, got, bytes_max)?;
        all.extend_from_slice(room.get(..got).unwrap_or_default());
    }
}

fn produce(decoder: &mut Decoder, room: &mut [u8]) -> Result<usize, RecordError> {
    decoder.read(room).map_err(RecordError::Codec)
}

fn count_produced(produced: &mut u64, got: usize, bytes_max: u64) -> Result<(), RecordError> {
    *produced = produced.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
    if *produced > bytes_max {
        return Err(RecordError::TooLarge { bytes_max });
    }
    Ok(())
}
