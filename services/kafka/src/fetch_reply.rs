//! A Fetch response whose records are never copied: header bytes of our own between shared slices.
//!
//! Filled by the fetch role, written by the connection. The codec would copy every record into one
//! buffer; a test holds that the bytes are the same.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use esker_types::TopicId;
use kafka_protocol::protocol::StrBytes;

use crate::error_code::KafkaError;

/// First version with compact lengths, tagged fields and response header 1.
const FLEXIBLE_FROM: i16 = 12;
/// First version that names topics by id alone.
const TOPIC_ID_FROM: i16 = 13;

/// A whole Fetch response.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchReply {
    /// How long the client must wait before its next request; whole milliseconds count.
    pub throttle: Duration,
    /// An error of the whole request.
    pub error: KafkaError,
    /// 0 declines a fetch session.
    pub session_id: i32,
    /// Every requested topic that has something to say, in the request's order.
    pub topics: Vec<FetchTopicReply>,
}

/// One topic of a [`FetchReply`].
#[derive(Clone, Debug, PartialEq)]
pub struct FetchTopicReply {
    /// Its name; written below version 13.
    pub topic: StrBytes,
    /// Its id; written from version 13.
    pub topic_id: TopicId,
    /// Its requested partitions.
    pub partitions: Vec<FetchPartitionReply>,
}

/// One partition of a [`FetchReply`]. Offsets are -1 where unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchPartitionReply {
    /// The partition's index.
    pub partition: i32,
    /// An error of this partition alone.
    pub error: KafkaError,
    /// Where readers must stop.
    pub high_watermark: i64,
    /// Where readers of committed transactions must stop.
    pub last_stable_offset: i64,
    /// The first offset that is kept.
    pub log_start_offset: i64,
    /// Transactions to leave out, sorted by first offset; `None` (null) for isolation level 0.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// A node that the client should read from instead; -1 for none.
    pub preferred_read_replica: i32,
    /// Whole record batches; their concatenation goes out. Each is shared, none is copied.
    pub records: Vec<Bytes>,
}

/// A transaction whose records a reader of committed ones must leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer's id.
    pub producer_id: i64,
    /// Offset of its first record in this transaction.
    pub first_offset: i64,
}

impl FetchReply {
    /// A reply that fails the whole request with `error`.
    #[must_use]
    pub fn failed(error: KafkaError) -> Self {
        Self {
            throttle: Duration::ZERO,
            error,
            session_id: 0,
            topics: Vec::new(),
        }
    }

    /// The whole frame for `version` (4 to 18), its 4-byte length first: bytes of ours and the
    /// record slices, in order. The slices share memory with `self`.
    #[must_use]
    pub fn encode(&self, version: i16, correlation_id: i32) -> Vec<Bytes> {
        let mut writer = Writer {
            buffer: BytesMut::with_capacity(256),
            done: Vec::new(),
            version,
        };
        writer.buffer.put_i32(correlation_id);
        writer.tags();
        writer.buffer.put_i32(milliseconds(self.throttle));
        if version >= 7 {
            writer.buffer.put_i16(self.error.code());
            writer.buffer.put_i32(self.session_id);
        }
        writer.count(self.topics.len());
        for topic in &self.topics {
            writer.topic(topic);
        }
        writer.tags();
        writer.finish()
    }
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

struct Writer {
    buffer: BytesMut,
    done: Vec<Bytes>,
    version: i16,
}

impl Writer {
    fn flexible(&self) -> bool {
        self.version >= FLEXIBLE_FROM
    }

    /// An empty list of tagged fields, where the version has one.
    fn tags(&mut self) {
        if self.flexible() {
            self.buffer.put_u8(0);
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            let low = u8::try_from(value & 0x7f).unwrap_or(0);
            self.buffer.put_u8(low | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(u8::try_from(value).unwrap_or(0));
    }

    /// A count of elements or bytes, 4 bytes wide or compact.
    fn count(&mut self, count: usize) {
        let count = i32::try_from(count);
        assert!(
            count.is_ok(),
            "a fetch reply is below 2 GiB: the fetch role's budget bounds it"
        );
        let count = count.unwrap_or(0);
        if self.flexible() {
            self.varint(count.unsigned_abs() + 1);
        } else {
            self.buffer.put_i32(count);
        }
    }

    fn topic(&mut self, topic: &FetchTopicReply) {
        if self.version >= TOPIC_ID_FROM {
            self.buffer.put_slice(&topic.topic_id.bytes());
        } else if self.flexible() {
            self.count(topic.topic.len());
            self.buffer.put_slice(topic.topic.as_bytes());
        } else {
            let length = i16::try_from(topic.topic.len());
            assert!(length.is_ok(), "a topic name has at most 249 bytes");
            self.buffer.put_i16(length.unwrap_or(0));
            self.buffer.put_slice(topic.topic.as_bytes());
        }
        self.count(topic.partitions.len());
        for partition in &topic.partitions {
            self.partition(partition);
        }
        self.tags();
    }

    fn partition(&mut self, partition: &FetchPartitionReply) {
        self.buffer.put_i32(partition.partition);
        self.buffer.put_i16(partition.error.code());
        self.buffer.put_i64(partition.high_watermark);
        self.buffer.put_i64(partition.last_stable_offset);
        if self.version >= 5 {
            self.buffer.put_i64(partition.log_start_offset);
        }
        match &partition.aborted_transactions {
            None if self.flexible() => self.buffer.put_u8(0),
            None => self.buffer.put_i32(-1),
            Some(aborted) => self.aborted(aborted),
        }
        if self.version >= 11 {
            self.buffer.put_i32(partition.preferred_read_replica);
        }
        self.records(&partition.records);
        self.tags();
    }

    fn aborted(&mut self, aborted: &[AbortedTransaction]) {
        self.count(aborted.len());
        for transaction in aborted {
            self.buffer.put_i64(transaction.producer_id);
            self.buffer.put_i64(transaction.first_offset);
            self.tags();
        }
    }

    fn records(&mut self, records: &[Bytes]) {
        self.count(records.iter().map(Bytes::len).sum());
        for slice in records.iter().filter(|slice| !slice.is_empty()) {
            if !self.buffer.is_empty() {
                self.done.push(self.buffer.split().freeze());
            }
            self.done.push(slice.clone());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        let bytes: usize = self.done.iter().map(Bytes::len).sum();
        let length = i32::try_from(bytes + self.buffer.len());
        assert!(
            length.is_ok(),
            "a fetch reply is below 2 GiB: the fetch role's budget bounds it"
        );
        let length = length.unwrap_or(0).to_be_bytes();
        let mut frame = Vec::with_capacity(self.done.len() + 2);
        frame.push(Bytes::copy_from_slice(&length));
        frame.append(&mut self.done);
        if !self.buffer.is_empty() {
            frame.push(self.buffer.freeze());
        }
        frame
    }
}

#[cfg(test)]
mod tests;
