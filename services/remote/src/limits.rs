//! Limits of the internal API between processes. Each has a test that goes one past it.

use std::time::Duration;

use esker_env::RetryPolicy;

/// Bytes of one message, either way: more than the largest request that a front takes in.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Bytes of requests that a server is receiving, all together. Past it a request is refused.
pub const REQUEST_BYTES_RECEIVED_MAX: usize = 256 * 1024 * 1024;
/// Connections of a server. One more is closed at once.
pub const CONNECTIONS_MAX: usize = 1024;
/// Streams of one connection: calls and feeds. One more waits in its client.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 16_384;
/// Calls and feeds that a server has in hand, all connections together. One more is refused.
pub const CALLS_IN_FLIGHT_MAX: usize = 65_536;
/// Calls that a client has in flight. One more is refused before anything is sent.
pub const CALLS_PER_CLIENT_MAX: usize = 16_000;
/// Feeds that a client follows, its own of topics aside. One more is refused.
pub const FEEDS_PER_CLIENT_MAX: usize = 8;
/// Bytes at which a part of a feed or of a table takes nothing further.
pub const PART_BYTES: usize = 256 * 1024;
/// Extents of one advance that a client puts together from parts; past it the feed ends.
pub const ADVANCE_EXTENTS_MAX: usize = 1_000_000;
/// Bytes of a block that processes ask one another for; the cache's blocks have as many.
pub const BLOCK_BYTES: u32 = 1024 * 1024;
/// Bytes of a question for a block: ids and numbers.
pub const BLOCK_QUESTION_BYTES_MAX: usize = 256;
/// Bytes of an answer with a block in it.
pub const BLOCK_ANSWER_BYTES_MAX: usize = 1024 * 1024 + 64;
/// Questions for blocks that a server has in hand, each until its answer has left. One more is
/// refused: the asker turns to the bucket.
pub const BLOCKS_SERVED_MAX: usize = 64;
/// Questions for blocks that a client has in flight. One more is refused before anything is sent.
pub const BLOCKS_ASKED_MAX: usize = 256;
/// Processes that are asked for blocks and stay connected; who was asked longest ago goes first.
pub const BLOCK_PEERS_MAX: usize = 256;
/// Addresses that a client is given.
pub const ADDRESSES_MAX: usize = 16;
/// Addresses that a client has heard of from servers and remembers; the oldest goes first.
pub const ADDRESSES_LEARNED_MAX: usize = 8;
/// Bytes of an address: a name of 253, a colon, a port.
pub const ADDRESS_BYTES_MAX: usize = 259;
/// The longest deadline of a call: a rebalance waits for members as long as they ask for.
pub const CALL_DEADLINE_MAX: Duration = Duration::from_secs(3600);
/// Bytes of one file with a certificate or key.
pub const PEM_BYTES_MAX: usize = 1024 * 1024;
/// How old what a server knows of its certificates' files may be when a client connects.
pub const CERTIFICATES_AGE_MAX: Duration = Duration::from_secs(10);
/// Bytes of the headers of one request or reply.
pub const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Window of one stream: what a reader that stands still makes its peer's kernel and us hold.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Window of one connection: all its feeds may stand still, and calls still pass.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Waits between two dials of one address. Calls end them, not a count.
pub const DIAL_RETRY: RetryPolicy = RetryPolicy {
    delay_first: Duration::from_millis(50),
    delay_max: Duration::from_secs(2),
    tries_max: u32::MAX,
};

const _: () = assert!(MESSAGE_BYTES_MAX <= REQUEST_BYTES_RECEIVED_MAX);
const _: () = assert!(PART_BYTES < MESSAGE_BYTES_MAX);
const _: () = assert!(BLOCK_ANSWER_BYTES_MAX < MESSAGE_BYTES_MAX);
