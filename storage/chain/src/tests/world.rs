//! What the tests of this crate share: a store with scripted faults, plain and made dependable.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_env::{Env, Rng};
use esker_object::{
    Bucket as _, DurableBucket, DurableConfig, Fault, FaultRule, FaultyBucket, MemoryBucket,
    ObjectKey, Operation, PutOutcome, ReadRange,
};
use esker_record::{BatchBuilder, Compression, NewRecord};
use esker_segment::{BuiltSegment, PlacedBatch, SegmentBuilder, SegmentHead};
use esker_types::{
    ChainIndex, ClusterId, ObjectHeader, ObjectKind, Offset, PartitionIndex, SegmentId,
    SequencerEpoch, SessionId, Timestamp, TopicId, TopicPartition, WriteId,
};

use crate::Chain;

pub(crate) const SESSION: SessionId = SessionId::from_bytes([7; 16]);
pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([2; 16]);

/// One store, seen three ways.
pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) memory: MemoryBucket,
    pub(crate) faulty: FaultyBucket,
    pub(crate) durable: Arc<DurableBucket>,
}

impl World {
    pub(crate) fn new() -> Self {
        let env = Env {
            rng: Rng::from_seed(5),
            ..Env::system()
        };
        let memory = MemoryBucket::new();
        let faulty = FaultyBucket::new(Arc::new(memory.clone()), env.clone());
        let inner = Arc::new(faulty.clone());
        let durable = DurableBucket::new(inner, DurableConfig::default(), env.clone());
        Self {
            env,
            memory,
            faulty,
            durable: Arc::new(durable),
        }
    }

    /// The chains, seen through the dependable bucket.
    pub(crate) fn chain(&self) -> Chain {
        Chain::new(self.durable.clone(), self.env.clone(), CLUSTER)
    }

    /// The chains, seen through the faulty bucket itself.
    pub(crate) fn plain_chain(&self) -> Chain {
        Chain::new(Arc::new(self.faulty.clone()), self.env.clone(), CLUSTER)
    }

    /// Puts a segment of the session straight into the store.
    pub(crate) async fn plant_segment(&self, index: u64) -> BuiltSegment {
        let built = segment(place(index), 1);
        self.plant(&key_of(index), built.object.clone()).await;
        built
    }

    /// Puts bytes straight into the store.
    pub(crate) async fn plant(&self, key: &ObjectKey, object: impl Into<Bytes>) {
        let outcome = self.memory.put_if_absent(key, object.into()).await;
        assert!(matches!(outcome, PutOutcome::Created), "{outcome:?}");
    }

    /// The whole object at a key.
    pub(crate) async fn stored(&self, key: &ObjectKey) -> Option<Bytes> {
        let read = self.memory.get(key, ReadRange::Full).await.unwrap();
        read.map(|read| read.bytes)
    }

    /// Requests that reached the store: puts, gets, all.
    pub(crate) fn requests(&self) -> (usize, usize, usize) {
        let all = self.faulty.requests();
        let of = |wanted| {
            all.iter()
                .filter(|(operation, _)| *operation == wanted)
                .count()
        };
        (of(Operation::Put), of(Operation::Get), all.len())
    }

    /// Lets time pass until the tasks around it have had every chance.
    pub(crate) async fn pass(&self, seconds: u64) {
        self.env.clock.sleep(Duration::from_secs(seconds)).await;
    }
}

pub(crate) fn on_put(fault: Fault) -> FaultRule {
    FaultRule::new(fault).on(Operation::Put)
}

pub(crate) fn on_get(fault: Fault) -> FaultRule {
    FaultRule::new(fault).on(Operation::Get)
}

/// An object with a header, as `write` of `cluster` makes it.
pub(crate) fn object_of(kind: ObjectKind, cluster: ClusterId, write: u8, body: &[u8]) -> Bytes {
    let header = ObjectHeader {
        kind,
        cluster,
        write_id: WriteId::from_bytes([write; 16]),
        body_bytes: u64::try_from(body.len()).unwrap(),
        body_crc: crc32c::crc32c(body),
    };
    Bytes::from([header.encode().as_slice(), body].concat())
}

/// A place of the session's chain.
pub(crate) fn place(index: u64) -> SegmentId {
    SegmentId {
        session: SESSION,
        index: ChainIndex::new(index),
    }
}

pub(crate) fn key_of(index: u64) -> ObjectKey {
    ObjectKey::session_place(CLUSTER, place(index))
}

/// A segment of one small batch.
pub(crate) fn segment(segment: SegmentId, write: u8) -> BuiltSegment {
    wide_segment(segment, write, 1, 10)
}

/// A segment of one batch in each of so many partitions, with values of so many bytes.
pub(crate) fn wide_segment(
    segment: SegmentId,
    write: u8,
    partitions: u32,
    value_bytes: usize,
) -> BuiltSegment {
    let mut batch = BatchBuilder::new(Compression::None);
    let record = NewRecord {
        timestamp: Timestamp::from_millis(1),
        key: None,
        value: Some(Bytes::from(vec![write; value_bytes])),
        headers: Vec::new(),
    };
    batch.push(&record).unwrap();
    let batch = batch.build().unwrap();
    let mut builder = SegmentBuilder::new(SegmentHead {
        cluster: CLUSTER,
        segment,
        epoch: SequencerEpoch::FIRST,
        write_id: WriteId::from_bytes([write; 16]),
    });
    for partition in 0..partitions {
        let placed = PlacedBatch {
            topic_partition: TopicPartition {
                topic: TopicId::from_bytes([4; 16]),
                partition: PartitionIndex::new(partition).unwrap(),
            },
            base_offset: Offset::new(segment.index.get()).unwrap(),
            record_count: 1,
            max_timestamp: Timestamp::from_millis(1),
            producer: None,
            transactional: false,
        };
        builder.push(placed, &batch);
    }
    builder.finish()
}
