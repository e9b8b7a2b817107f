//! Snappy as Kafka's clients write it: raw blocks, alone or in the framing of Java's xerial
//! library (a 16-byte header, then blocks behind their lengths).

use bytes::{Buf as _, Bytes};
use esker_types::{ByteReader, ShortBytes};

use crate::limits::SNAPPY_RATIO_MAX;

const XERIAL_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// Version and oldest compatible version of the framing.
const XERIAL_VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// Bytes of one block, as Java's library cuts them.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

/// Bytes that are not snappy.
#[derive(Debug, thiserror::Error)]
pub enum SnappyError {
    /// The framing ends within a block or its length.
    #[error("snappy framing is cut")]
    Short(#[source] ShortBytes),
    /// A block that cannot become as long as it says.
    #[error("snappy block of {compressed_bytes} bytes claims {block_bytes} decompressed")]
    BlockBytes {
        /// Compressed bytes.
        compressed_bytes: usize,
        /// Bytes by its own length.
        block_bytes: usize,
    },
    /// A block that does not decompress.
    #[error("snappy block is damaged")]
    Block(#[source] snap::Error),
}

/// A stream of snappy blocks.
#[derive(Debug)]
pub(crate) struct Stream {
    input: Bytes,
    framed: bool,
    block: Vec<u8>,
    at: usize,
}

impl Stream {
    pub(crate) fn open(mut input: Bytes) -> Result<Self, SnappyError> {
        let framed = input.starts_with(&XERIAL_MAGIC);
        if framed {
            let header = XERIAL_MAGIC.len() + XERIAL_VERSIONS.len();
            let versions = ByteReader::new(&input).take(header).map(|_| ());
            versions.map_err(SnappyError::Short)?;
            input.advance(header);
        }
        Ok(Self {
            input,
            framed,
            block: Vec::new(),
            at: 0,
        })
    }

    pub(crate) fn read(&mut self, room: &mut [u8]) -> Result<usize, SnappyError> {
        while self.at >= self.block.len() {
            if self.input.is_empty() {
                return Ok(0);
            }
            self.next_block()?;
        }
        let ready = self.block.get(self.at..).unwrap_or_default();
        let count = ready.len().min(room.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }

    fn next_block(&mut self) -> Result<(), SnappyError> {
        let compressed = match self.framed {
            true => {
                let mut reader = ByteReader::new(&self.input);
                let block = reader.bytes_u32().map_err(SnappyError::Short)?.len();
                self.input.advance(4);
                self.input.split_to(block)
            }
            false => std::mem::take(&mut self.input),
        };
        let compressed_bytes = compressed.len();
        let block_bytes = snap::raw::decompress_len(&compressed).map_err(SnappyError::Block)?;
        let most = u64::try_from(compressed_bytes).map(|bytes| bytes * SNAPPY_RATIO_MAX);
        if u64::try_from(block_bytes).ok() > most.ok() {
            return Err(SnappyError::BlockBytes {
                compressed_bytes,
                block_bytes,
            });
        }
        self.block.clear();
        self.block.resize(block_bytes, 0);
        self.at = 0;
        let mut decoder = snap::raw::Decoder::new();
        let written = decoder.decompress(&compressed, &mut self.block);
        self.block.truncate(written.map_err(SnappyError::Block)?);
        Ok(())
    }
}

/// Compresses in the xerial framing, as Java does.
pub(crate) fn compress(plain: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    framed.extend_from_slice(&XERIAL_MAGIC);
    framed.extend_from_slice(&XERIAL_VERSIONS);
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(XERIAL_BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block);
        assert!(compressed.is_ok(), "a block of 32 KiB always compresses");
        let compressed = compressed.unwrap_or_default();
        let length = u32::try_from(compressed.len()).unwrap_or(u32::MAX);
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&compressed);
    }
    framed
}

#[cfg(test)]
mod tests;
