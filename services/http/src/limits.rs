//! Limits of the HTTP front. Each has a test that goes one past it.

use std::time::Duration;

/// Bytes of one request's body, unless it is a stream.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long such a body may take to come, all of it. Beyond it 408.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(60);
/// How long the rest of a line, or of a record batch, in a streamed body may take. Beyond it 408.
pub const BODY_STALL_MAX: Duration = Duration::from_secs(30);
/// How long a streamed body may rest between records (Kafka's idle connections: as long).
pub const STREAM_IDLE_MAX: Duration = Duration::from_secs(10 * 60);
/// Records of one append that is not a stream.
pub const APPEND_RECORDS_MAX: usize = 10_000;
/// Headers of one record.
pub const RECORD_HEADERS_MAX: usize = 1024;
/// Bytes of one line of NDJSON, or of one JSON document of a stream: a record of Kafka's default
/// size in base64 fits.
pub const LINE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Records, or record batches, of a stream that are appended at once: a chunk. One is in flight.
pub const CHUNK_RECORDS_MAX: usize = 4000;
/// Bytes of records in a chunk, but for a single larger record.
pub const CHUNK_BYTES_MAX: usize = 512 * 1024;
/// Bytes of record batches in a chunk, but for a single larger batch.
pub const CHUNK_BATCHES_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Records of one read.
pub const READ_RECORDS_MAX: u32 = 10_000;
/// Bytes of record batches that one read looks at, as stored; and of records that it answers with,
/// but for a single larger record.
pub const READ_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Bytes of record batches that an outgoing stream holds, as stored, but for a single larger batch.
pub const PAGE_BYTES_MAX: u32 = 256 * 1024;
/// Bytes of an outgoing stream that are made at once, but for a single larger record.
pub const PIECE_BYTES_MAX: usize = 64 * 1024;
/// Longest that a read waits for new records.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// A stream that has nothing to tell says so as often.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Longest life of an outgoing stream: clients resume, and processes can be drained.
pub const STREAM_AGE_MAX: Duration = Duration::from_secs(60 * 60);
/// Requests in progress. One more is refused with 429 and a time to come back.
pub const REQUESTS_MAX: usize = 1024;
/// Streams in progress, in and out, beside the requests. One more is refused with 429.
pub const STREAMS_MAX: usize = 1024;
/// Connections. One more is closed at once.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Bytes of a request's head, about; and of what a connection reads ahead of its handler.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long the head of a request may take, and how long a connection may rest between requests.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(100);
/// How long a client may read nothing of an answer. Then its connection is cut.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// A client that sent nothing for so long is asked whether it is there (TCP keepalive), …
pub const PEER_PROBE_AFTER: Duration = Duration::from_secs(15);
/// … as often, …
pub const PEER_PROBE_EVERY: Duration = Duration::from_secs(5);
/// … and cut when its system has acknowledged nothing for so long, probes or bytes sent.
pub const PEER_SILENCE_MAX: Duration = Duration::from_secs(30);
/// Bytes that all requests and streams hold together: bodies, lines, records on their way into an
/// append, answers of reads. Beyond it requests are refused with 429, streams wait.
pub const BODIES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long an append waits for room behind the front, and a stream for memory. Then 429.
pub const ADMIT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Characters of a message that quotes a record of its client's; the rest is cut.
pub const MESSAGE_CHARS_MAX: usize = 200;
/// What the report of a record counts beside the record itself while a chunk is gathered.
pub const REPORT_BYTES: usize = 512;
/// How often a change of settings is worked out anew when others were faster. Then 429.
pub const CONFIG_CHANGE_TRIES_MAX: u32 = 5;
/// Offsets of a group in one request.
pub const GROUP_OFFSETS_MAX: usize = 10_000;

const _: () = assert!(BODY_BYTES_MAX <= BODIES_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES_MAX <= LINE_BYTES_MAX && LINE_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(CHUNK_BATCHES_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(PAGE_BYTES_MAX <= READ_BYTES_MAX);
const _: () = assert!(HEARTBEAT.as_secs() < WRITE_STALL_MAX.as_secs());
const _: () =
    assert!(PEER_PROBE_AFTER.as_secs() + PEER_PROBE_EVERY.as_secs() < PEER_SILENCE_MAX.as_secs());
const _: () = assert!(WAIT_MAX.as_secs() < HEAD_TIME_MAX.as_secs());
