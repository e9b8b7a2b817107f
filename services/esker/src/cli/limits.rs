//! Limits of the command line's clients.

use std::time::Duration;

/// Bytes of one line of input: what a record can carry anywhere.
pub(crate) const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes read from the input at a time …
pub(crate) const INPUT_CHUNK_BYTES: usize = 64 * 1024;
/// … and how many such pieces wait to be looked at.
pub(crate) const INPUT_CHUNKS_MAX: usize = 16;
/// Bytes of batches that are open, ready or in flight before no more input is read.
pub(crate) const PRODUCE_BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the batches of one produce request, though at least one batch goes.
pub(crate) const PRODUCE_REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Produce requests in flight: as many as the client keeps connections for.
pub(crate) const PRODUCE_REQUESTS_MAX: usize = esker_kafka::limits::CLIENT_IDLE_SOCKETS_MAX;
/// Batches of one partition between the oldest unacknowledged and the youngest sent: brokers
/// recognise a repetition among so many.
pub(crate) const PARTITION_WINDOW_BATCHES: u64 = 5;
/// How long a batch is tried before it has failed.
pub(crate) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);
/// Wait before a batch is sent again.
pub(crate) const DELIVERY_RETRY_DELAY: Duration = Duration::from_millis(200);
/// How long a topic may take to appear that the broker creates by itself.
pub(crate) const AUTO_CREATE_TRIES_MAX: u32 = 20;
/// How often a topic that a benchmark has made is looked for, `DELIVERY_RETRY_DELAY` between.
pub(crate) const MADE_TOPIC_TRIES_MAX: u32 = 150;
/// Bytes of one partition in a fetch …
pub(crate) const FETCH_PARTITION_BYTES_MAX: i32 = 1024 * 1024;
/// … and of all partitions of one broker.
pub(crate) const FETCH_BYTES_MAX: i32 = 16 * 1024 * 1024;
/// How long a broker may wait for records.
pub(crate) const FETCH_WAIT_MAX: Duration = Duration::from_millis(500);
/// Failures of fetches one after another before consuming has failed.
pub(crate) const FETCH_FAILURES_MAX: u32 = 30;
/// Wait between failed fetches.
pub(crate) const FETCH_RETRY_DELAY: Duration = Duration::from_secs(1);
/// How long a partition may be without a known leader before the cluster is asked again.
pub(crate) const LEADERS_AGE_MAX: Duration = Duration::from_secs(5);
/// How often the offsets of a group are committed.
pub(crate) const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// Offsets looked up at the same time.
pub(crate) const LOOK_UPS_IN_FLIGHT_MAX: usize = 4;

/// Producers of one benchmark, each with a task and connections of its own.
pub(crate) const BENCH_PRODUCERS_MAX: u32 = 64;
/// Partitions of the topic that a benchmark makes; each has a reader.
pub(crate) const BENCH_PARTITIONS_MAX: u32 = 1000;
/// Partitions that share a client when they are read: as many as it keeps connections for.
pub(crate) const BENCH_PARTITIONS_PER_CLIENT: usize = esker_kafka::limits::CLIENT_IDLE_SOCKETS_MAX;
/// Requests of one producer in flight: as many as its client keeps connections for.
pub(crate) const BENCH_IN_FLIGHT_MAX: u32 = 8;
/// Records that a benchmark offers in a second.
pub(crate) const BENCH_RATE_MAX: u64 = 10_000_000;
/// Bytes of a benchmark's record: no fewer than its stamp …
pub(crate) const BENCH_RECORD_BYTES_MIN: u32 = 32;
/// … and no more than fit Kafka's default `max.message.bytes` with what is around them.
pub(crate) const BENCH_RECORD_BYTES_MAX: u32 = 1_000_000;

const _: () = assert!(BENCH_PARTITIONS_PER_CLIENT == 8 && BENCH_IN_FLIGHT_MAX == 8);
const _: () = assert!(LINE_BYTES_MAX < PRODUCE_BUFFER_BYTES_MAX);
const _: () = assert!(INPUT_CHUNK_BYTES * INPUT_CHUNKS_MAX < PRODUCE_BUFFER_BYTES_MAX);
