//! Limits of the Kafka front. Each has a test that goes one past it.

use std::time::Duration;

/// Bytes of one request or response, its 4-byte length not counted (`socket.request.max.bytes`).
pub const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;
/// Smallest request: key, version, correlation id, a null client id.
pub const FRAME_BYTES_MIN: usize = 10;
/// Bytes of one string in a request, as in Kafka.
pub const STRING_BYTES_MAX: usize = 32_767;
/// Elements of one list of a request (topics, partitions, members, …).
pub const LIST_ELEMENTS_MAX: usize = 10_000;
/// Elements of all lists of one request together.
pub const REQUEST_ELEMENTS_MAX: usize = 100_000;
/// Elements of all lists of one Fetch together: 10 000 partitions in up to as many topics.
pub const FETCH_ELEMENTS_MAX: usize = 20_000;
/// Tagged fields of one struct.
pub const TAGGED_FIELDS_MAX: usize = 64;
/// A request may take this many times its frame's bytes when decoded …
pub const DECODED_FACTOR: usize = 8;
/// … plus this.
pub const DECODED_SLACK_BYTES: usize = 1024 * 1024;

/// Requests of one connection that may be in flight at once (Produce; all others go alone).
pub const PIPELINE_MAX: u32 = 64;
/// Bytes of requests that one connection may have in flight.
pub const CONNECTION_BYTES_MAX: usize = FRAME_BYTES_MAX + 1024 * 1024;
/// Requests up to so many bytes, Produce apart, are paid from budgets of their own, as frames and
/// again decoded …
pub const SMALL_FRAME_BYTES_MAX: usize = 64 * 1024;
/// … of so many each.
pub const SMALL_FRAMES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Connections of one process.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Connections of one client address.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 1000;
/// New connections a second of one process; those that come faster wait in the kernel's queue …
pub const ARRIVALS_PER_SECOND_MAX: u64 = 1000;
/// … but so many may come at once after a quiet time.
pub const ARRIVALS_AT_ONCE_MAX: u64 = 1000;
/// A connection without a request for this long is closed; so is one that takes no reply bytes.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Time for the rest of a frame once its first byte has come, plus a second per MiB.
pub const PARTIAL_FRAME_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for replies in flight when the process stops.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
/// A transfer that has stood still for so long is ended when others wait for the memory it holds.
pub const STANDSTILL_MIN: Duration = Duration::from_secs(5);
/// A transfer that moved fewer bytes in that time has stood still.
pub const PROGRESS_BYTES_MIN: usize = 64 * 1024;
/// Whoever waits for memory looks as often for a transfer that stands still.
pub const RELIEF_INTERVAL: Duration = Duration::from_millis(250);
/// Larger answers (lists of topics, groups, settings) pay for their memory before they are made.
pub const ANSWER_BYTES_SMALL: usize = 64 * 1024;
/// Slices handed to one vectored write.
pub const WRITE_SLICES_MAX: usize = 64;

/// Addresses in one bootstrap list of the client.
pub const BOOTSTRAP_ADDRESSES_MAX: usize = 64;
/// Idle connections that a client keeps for each broker.
pub const CLIENT_IDLE_SOCKETS_MAX: usize = 8;
/// A client's connection that was idle for this long is not used again: brokers close at 10 min.
pub const CLIENT_SOCKET_IDLE_MAX: Duration = Duration::from_secs(60);

const _: () = assert!(
    FRAME_BYTES_MAX <= CONNECTION_BYTES_MAX,
    "one frame fits a connection"
);
const _: () = assert!(
    LIST_ELEMENTS_MAX <= FETCH_ELEMENTS_MAX,
    "one full list fits a request"
);
const _: () = assert!(
    RELIEF_INTERVAL.as_millis() < STANDSTILL_MIN.as_millis()
        && STANDSTILL_MIN.as_millis() < PARTIAL_FRAME_TIMEOUT.as_millis(),
    "pressure ends what stands still before its own limit does"
);
const _: () = assert!(FETCH_ELEMENTS_MAX <= REQUEST_ELEMENTS_MAX);
const _: () = assert!(FRAME_BYTES_MIN < FRAME_BYTES_MAX);
