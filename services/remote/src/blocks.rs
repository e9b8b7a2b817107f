//! Blocks of segments between processes that serve records: what is asked, and who answers.
//!
//! A server asks its [`BlockSource`]; a client is [`RemoteBlocks`](crate::RemoteBlocks). Nothing
//! here knows who owns a block, nor what to do without it.

use std::fmt::Debug;

use bytes::Bytes;
use esker_types::SegmentId;
use futures::future::BoxFuture;

/// Whether a block is to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockAsk {
    /// Only if it is in memory.
    Cached,
    /// Loaded if need be, for a reader at the log's end.
    Hot,
    /// Loaded if need be, for a reader that catches up.
    Cold,
}

/// A question for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockQuestion {
    /// The object.
    pub segment: SegmentId,
    /// Number of the block in it, of [`BLOCK_BYTES`](crate::limits::BLOCK_BYTES) each.
    pub block: u64,
    /// Whether it is to be loaded.
    pub ask: BlockAsk,
}

/// The answer of a process that took the question up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockAnswer {
    /// All of it; the object's last block may be short.
    Block(Bytes),
    /// It is not in memory, and was not to be loaded.
    NotHere,
    /// It could not be loaded.
    Failed,
}

/// The blocks of this process.
pub trait BlockSource: Debug + Send + Sync + 'static {
    /// Answers without asking a third process that would load it. Dropped when nobody waits for
    /// the answer any more.
    fn read(&self, question: BlockQuestion) -> BoxFuture<'_, BlockAnswer>;
}
