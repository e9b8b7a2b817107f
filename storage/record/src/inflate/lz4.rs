//! The LZ4 frame format, as Kafka's clients write it: one frame, its header checksum included.
//!
//! Own frame, foreign blocks: a block is decompressed from the batch's own bytes into a buffer
//! that is bounded by them, and every checksum of the frame is compared.
//! Source: LZ4 Frame Format 1.6.4; Kafka's Lz4BlockOutputStream.

use bytes::Bytes;
use esker_types::{ByteReader, ShortBytes};
use xxhash_rust::xxh32::{Xxh32, xxh32};

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// Version 1, independent blocks, nothing optional: what Java writes, and all it reads.
const JAVA_FLAGS: u8 = 0b0110_0000;
/// Blocks of 64 KiB, as Java writes them.
const JAVA_BLOCKS: u8 = 4 << 4;
const JAVA_BLOCK_BYTES: usize = 64 * 1024;
const PLAIN_BLOCK_BIT: u32 = 1 << 31;
/// How far back a linked block may refer.
const WINDOW_BYTES: usize = 64 * 1024;
/// Bytes that one compressed byte can become: a length byte of 255.
const RATIO_MAX: usize = 255;
/// A block's first token can add so many more.
const RATIO_SLACK_BYTES: usize = 64;

/// Bytes that are not an LZ4 frame.
#[derive(Debug, thiserror::Error)]
pub enum Lz4Error {
    /// The frame is cut.
    #[error("lz4 frame is cut")]
    Short(#[source] ShortBytes),
    /// The first four bytes.
    #[error("lz4 frame has no magic number")]
    Magic,
    /// A version, reserved bit, dictionary or block size that Kafka does not use.
    #[error("lz4 frame has unsupported descriptor {flags:#04x} {blocks:#04x}")]
    Descriptor {
        /// First byte of the descriptor.
        flags: u8,
        /// Second byte.
        blocks: u8,
    },
    /// Of the frame's header.
    #[error("lz4 frame header fails its checksum")]
    HeaderChecksum,
    /// A block larger than the frame allows.
    #[error("lz4 block of {block_bytes} bytes where {block_bytes_max} are allowed")]
    BlockBytes {
        /// Its stored bytes.
        block_bytes: usize,
        /// By the frame's header.
        block_bytes_max: usize,
    },
    /// Of a block.
    #[error("lz4 block fails its checksum")]
    BlockChecksum,
    /// A block that does not decompress.
    #[error("lz4 block is damaged")]
    Block(#[source] lz4_flex::block::DecompressError),
    /// Of everything that came out.
    #[error("lz4 frame fails its content checksum")]
    ContentChecksum,
    /// Not as much came out as the header says.
    #[error("lz4 frame does not have the length it says")]
    ContentBytes,
    /// Something follows the frame.
    #[error("lz4 frame is followed by {left_bytes} more bytes")]
    Trailing {
        /// How many.
        left_bytes: usize,
    },
}

impl From<ShortBytes> for Lz4Error {
    fn from(short: ShortBytes) -> Self {
        Self::Short(short)
    }
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    block_bytes_max: usize,
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_bytes: Option<u64>,
}

/// One frame, decompressed block by block.
pub(crate) struct Stream {
    input: Bytes,
    /// Where in `input` the next block begins.
    next: usize,
    frame: Frame,
    /// The window before the block (when linked), then the block.
    block: Vec<u8>,
    at: usize,
    content: Xxh32,
    content_bytes: u64,
    ended: bool,
}

impl Stream {
    pub(crate) fn open(input: Bytes) -> Result<Self, Lz4Error> {
        let mut reader = ByteReader::new(&input);
        let frame = Frame::read(&mut reader)?;
        let next = reader.position();
        Ok(Self {
            input,
            next,
            frame,
            block: Vec::new(),
            at: 0,
            content: Xxh32::new(0),
            content_bytes: 0,
            ended: false,
        })
    }

    pub(crate) fn read(&mut self, room: &mut [u8]) -> Result<usize, Lz4Error> {
        while self.at >= self.block.len() {
            if self.ended {
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

    fn next_block(&mut self) -> Result<(), Lz4Error> {
        self.keep_window();
        let input = self.input.clone();
        let mut reader = ByteReader::new(input.get(self.next..).unwrap_or_default());
        let word = read_u32_le(&mut reader)?;
        if word == 0 {
            return self.end(&mut reader);
        }
        let stored = usize::try_from(word & !PLAIN_BLOCK_BIT).unwrap_or(usize::MAX);
        if stored > self.frame.block_bytes_max {
            return Err(Lz4Error::BlockBytes {
                block_bytes: stored,
                block_bytes_max: self.frame.block_bytes_max,
            });
        }
        let bytes = reader.take(stored)?;
        if self.frame.block_checksums && read_u32_le(&mut reader)? != xxh32(bytes, 0) {
            return Err(Lz4Error::BlockChecksum);
        }
        match word & PLAIN_BLOCK_BIT {
            0 => self.decompress(bytes)?,
            _ => self.block.extend_from_slice(bytes),
        }
        self.next += reader.position();
        let fresh = self.block.get(self.at..).unwrap_or_default();
        self.content_bytes += u64::try_from(fresh.len()).unwrap_or(u64::MAX);
        if self.frame.content_checksum {
            self.content.update(fresh);
        }
        Ok(())
    }

    /// Leaves in `block` only what the next one may refer to, and nothing to be read.
    fn keep_window(&mut self) {
        let keep = match self.frame.linked {
            true => self.block.len().min(WINDOW_BYTES),
            false => 0,
        };
        self.block.drain(..self.block.len() - keep);
        self.at = keep;
    }

    fn decompress(&mut self, bytes: &[u8]) -> Result<(), Lz4Error> {
        let possible = bytes
            .len()
            .saturating_mul(RATIO_MAX)
            .saturating_add(RATIO_SLACK_BYTES);
        let room = possible.min(self.frame.block_bytes_max);
        self.block.resize(self.at + room, 0);
        let (window, fresh) = self.block.split_at_mut(self.at);
        let written = lz4_flex::block::decompress_into_with_dict(bytes, fresh, window);
        let written = written.map_err(Lz4Error::Block)?;
        self.block.truncate(self.at + written);
        Ok(())
    }

    /// Compares what the frame says of its content, behind the end mark.
    fn end(&mut self, reader: &mut ByteReader<'_>) -> Result<(), Lz4Error> {
        self.ended = true;
        if self.frame.content_checksum && read_u32_le(reader)? != self.content.digest() {
            return Err(Lz4Error::ContentChecksum);
        }
        let said = self.frame.content_bytes;
        if said.is_some_and(|said| said != self.content_bytes) {
            return Err(Lz4Error::ContentBytes);
        }
        match reader.remaining() {
            0 => Ok(()),
            left_bytes => Err(Lz4Error::Trailing { left_bytes }),
        }
    }
}

impl Frame {
    fn read(reader: &mut ByteReader<'_>) -> Result<Self, Lz4Error> {
        if reader.array()? != MAGIC {
            return Err(Lz4Error::Magic);
        }
        let mut described = reader.clone();
        let flags = reader.u8()?;
        let blocks = reader.u8()?;
        let unsupported = Lz4Error::Descriptor { flags, blocks };
        let reserved = flags & 0b10 | blocks & 0b1000_1111;
        let dictionary = flags & 1;
        if flags >> 6 != 1 || reserved != 0 || dictionary != 0 {
            return Err(unsupported);
        }
        let block_bytes_max = match blocks >> 4 {
            4 => 64 * 1024,
            5 => 256 * 1024,
            6 => 1024 * 1024,
            7 => 4 * 1024 * 1024,
            _ => return Err(unsupported),
        };
        let content_bytes = match flags & 0b1000 {
            0 => None,
            _ => Some(u64::from_le_bytes(reader.array()?)),
        };
        let described = described.take(2 + 8 * usize::from(content_bytes.is_some()))?;
        let [_, checksum, ..] = xxh32(described, 0).to_le_bytes();
        if reader.u8()? != checksum {
            return Err(Lz4Error::HeaderChecksum);
        }
        Ok(Self {
            block_bytes_max,
            linked: flags & 0b10_0000 == 0,
            block_checksums: flags & 0b1_0000 != 0,
            content_checksum: flags & 0b100 != 0,
            content_bytes,
        })
    }
}

fn read_u32_le(reader: &mut ByteReader<'_>) -> Result<u32, Lz4Error> {
    Ok(u32::from_le_bytes(reader.array()?))
}

/// Compresses into one frame, as Java does.
pub(crate) fn compress(plain: &[u8]) -> Vec<u8> {
    let descriptor = [JAVA_FLAGS, JAVA_BLOCKS];
    let [_, checksum, ..] = xxh32(&descriptor, 0).to_le_bytes();
    let mut frame = Vec::new();
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&descriptor);
    frame.push(checksum);
    for block in plain.chunks(JAVA_BLOCK_BYTES) {
        let compressed = lz4_flex::block::compress(block);
        let smaller = compressed.len() < block.len();
        let (bytes, bit) = match smaller {
            true => (compressed.as_slice(), 0),
            false => (block, PLAIN_BLOCK_BIT),
        };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        frame.extend_from_slice(&(length | bit).to_le_bytes());
        frame.extend_from_slice(bytes);
    }
    frame.extend_from_slice(&[0; 4]);
    frame
}

#[cfg(test)]
mod tests;
