//! Claims about gathering records into batches.

use std::collections::BTreeSet;

use esker_record::BatchHeader;

use super::*;
use crate::cli::limits::{
    PARTITION_WINDOW_BATCHES, PRODUCE_BUFFER_BYTES_MAX, PRODUCE_REQUEST_BYTES_MAX,
};

fn at(millis: u64) -> MonotonicTime {
    MonotonicTime::from_start(Duration::from_millis(millis))
}

fn batcher(partition_count: u32, is_idempotent: bool) -> Batcher {
    let producer = Producer {
        id: ProducerId::from_wire(7).unwrap(),
        epoch: ProducerEpoch::from_wire(0).unwrap(),
    };
    let config = BatcherConfig {
        compression: Compression::None,
        batch_bytes: 1024,
        linger: Duration::from_millis(5),
        producer: is_idempotent.then_some(producer),
    };
    Batcher::new(config, None, partition_count, &Rng::from_seed(1))
}

fn record(key: Option<&str>, value_bytes: usize) -> NewRecord {
    NewRecord {
        key: key.map(|key| Bytes::from(key.to_owned())),
        value: Some(vec![b'v'; value_bytes].into()),
        ..NewRecord::default()
    }
}

fn all_to_one(_: i32) -> Option<i32> {
    Some(1)
}

fn ship_one(batcher: &mut Batcher) -> Option<Batch> {
    let mut batches = batcher.ship(at(100), all_to_one)?.batches;
    assert_eq!(batches.len(), 1);
    batches.pop()
}

/// One partition, `count` batches ready, the first acknowledged.
fn known(count: u64) -> Batcher {
    let mut batcher = batcher(1, true);
    for _ in 0..=count {
        batcher.append(&record(None, 900), at(0)).unwrap();
    }
    batcher.flush_due(at(0), true).unwrap();
    let first = ship_one(&mut batcher).unwrap();
    batcher.acknowledged(&first);
    batcher
}

#[test]
fn keys_go_where_java_sends_them_and_stay_there() {
    let mut batcher = batcher(12, true);
    for key in ["21", "foobar", "abc", "21"] {
        batcher.append(&record(Some(key), 10), at(0)).unwrap();
    }

    batcher.flush_due(at(0), true).unwrap();
    let shipment = batcher.ship(at(0), all_to_one).unwrap();

    let placed = shipment.batches.iter();
    let placed: Vec<(i32, u32)> = placed
        .map(|batch| (batch.partition, batch.record_count))
        .collect();
    assert_eq!(placed, [(0, 2), (3, 1), (6, 1)]);
}

#[test]
fn records_without_a_key_fill_one_batch_then_go_elsewhere() {
    let mut batcher = batcher(4, true);
    let mut used = BTreeSet::new();
    for _ in 0..40 {
        batcher.append(&record(None, 400), at(0)).unwrap();
    }

    batcher.flush_due(at(0), true).unwrap();
    while let Some(shipment) = batcher.ship(at(0), all_to_one) {
        for batch in shipment.batches {
            assert!(batch.record_count >= 1 && batch.bytes.len() <= 1024);
            used.insert(batch.partition);
            batcher.acknowledged(&batch);
        }
    }

    assert_eq!(used.len(), 4);
    assert!(batcher.is_empty());
}

#[test]
fn a_batch_goes_when_it_is_full_or_has_waited() {
    let mut batcher = batcher(1, true);
    batcher.append(&record(None, 10), at(0)).unwrap();

    batcher.flush_due(at(4), false).unwrap();
    assert!(batcher.ship(at(4), all_to_one).is_none());
    assert_eq!(batcher.next_due(at(4)), Some(at(5)));
    assert_eq!(batcher.next_due(at(5)), None);

    batcher.flush_due(at(5), false).unwrap();
    assert!(batcher.ship(at(5), all_to_one).is_some());
}

#[test]
fn a_record_larger_than_a_batch_is_a_batch_of_its_own() {
    let mut batcher = batcher(1, true);

    batcher.append(&record(None, 10), at(0)).unwrap();
    batcher.append(&record(None, 5000), at(0)).unwrap();

    let first = ship_one(&mut batcher).unwrap();
    batcher.acknowledged(&first);
    let second = ship_one(&mut batcher).unwrap();
    assert_eq!((first.record_count, second.record_count), (1, 1));
    assert!(second.bytes.len() > 5000);
}

#[test]
fn the_first_batch_of_a_producer_goes_alone() {
    let mut batcher = batcher(1, true);
    for _ in 0..4 {
        batcher.append(&record(None, 900), at(0)).unwrap();
    }

    let first = ship_one(&mut batcher).unwrap();
    assert!(ship_one(&mut batcher).is_none());
    batcher.acknowledged(&first);

    assert!(ship_one(&mut batcher).is_some());
    assert!(ship_one(&mut batcher).is_some());
}

#[test]
fn no_batch_is_sent_past_the_window_behind_an_unacknowledged_one() {
    let mut batcher = known(12);
    let mut sent = Vec::new();
    while let Some(batch) = ship_one(&mut batcher) {
        sent.push(batch);
    }
    assert_eq!(u64::try_from(sent.len()).unwrap(), PARTITION_WINDOW_BATCHES);

    // All but the oldest are acknowledged: the window does not move.
    let oldest = sent.remove(0);
    for batch in &sent {
        batcher.acknowledged(batch);
    }

    assert!(ship_one(&mut batcher).is_none());
    batcher.acknowledged(&oldest);
    assert!(ship_one(&mut batcher).is_some());
}

#[test]
fn sequences_count_records_and_a_returned_batch_keeps_its_own() {
    let mut batcher = known(3);
    let first = ship_one(&mut batcher).unwrap();
    let second = ship_one(&mut batcher).unwrap();
    let sequence = |batch: &Batch| BatchHeader::parse(&batch.bytes).unwrap().base_sequence();
    assert_eq!((sequence(&first), sequence(&second)), (1, 2));

    batcher.returned(first);

    let again = ship_one(&mut batcher).unwrap();
    assert_eq!((again.ordinal, sequence(&again)), (1, 1));
}

#[test]
fn a_batch_that_came_too_early_waits_for_those_before_it() {
    let mut batcher = known(3);
    let first = ship_one(&mut batcher).unwrap();
    let mut second = ship_one(&mut batcher).unwrap();
    assert!(second.may_overtake && !first.may_overtake);
    second.waits_for_earlier = true;

    batcher.returned(second);

    assert!(ship_one(&mut batcher).is_none());
    batcher.acknowledged(&first);
    let again = ship_one(&mut batcher).unwrap();
    assert_eq!((again.ordinal, again.may_overtake), (2, false));
}

#[test]
fn a_retry_waits_for_its_time_and_says_when_that_is() {
    let mut batcher = known(1);
    let mut batch = ship_one(&mut batcher).unwrap();
    batch.not_before = at(500);

    batcher.returned(batch);

    assert!(batcher.ship(at(499), all_to_one).is_none());
    assert_eq!(batcher.next_due(at(499)), Some(at(500)));
    assert!(batcher.ship(at(500), all_to_one).is_some());
}

#[test]
fn without_idempotence_one_batch_of_a_partition_is_in_flight() {
    let mut batcher = batcher(1, false);
    for _ in 0..4 {
        batcher.append(&record(None, 900), at(0)).unwrap();
    }

    let first = ship_one(&mut batcher).unwrap();
    assert!(ship_one(&mut batcher).is_none());
    batcher.acknowledged(&first);
    assert!(ship_one(&mut batcher).is_some());
    assert!(ship_one(&mut batcher).is_none());
}

#[test]
fn a_request_holds_one_batch_of_each_partition_of_one_leader() {
    let mut batcher = batcher(12, true);
    for key in ["21", "foobar", "abc"] {
        batcher.append(&record(Some(key), 10), at(0)).unwrap();
    }
    batcher.flush_due(at(0), true).unwrap();
    let leader = |partition: i32| (partition != 6).then_some(partition % 2);

    let even = batcher.ship(at(0), leader).unwrap();
    let odd = batcher.ship(at(0), leader).unwrap();

    assert_eq!((even.leader, even.batches[0].partition), (0, 0));
    assert_eq!((odd.leader, odd.batches[0].partition), (1, 3));
    assert!(
        batcher.ship(at(0), leader).is_none(),
        "partition 6 has no leader"
    );
    assert!(batcher.lacks_leader(at(0), leader));
    assert!(!batcher.lacks_leader(at(0), all_to_one));
}

#[test]
fn the_buffer_is_full_at_its_limit_and_free_after_acknowledgements() {
    let mut batcher = batcher(1, true);
    let record_bytes = 8 * 1024 * 1024;
    for _ in 1..PRODUCE_BUFFER_BYTES_MAX / record_bytes {
        batcher.append(&record(None, record_bytes), at(0)).unwrap();
        assert!(!batcher.is_full());
    }
    while !batcher.is_full() {
        batcher
            .append(&record(None, 8 * 1024 * 1024), at(0))
            .unwrap();
    }

    while let Some(batch) = ship_one(&mut batcher) {
        batcher.acknowledged(&batch);
    }

    assert!(!batcher.is_full());
    assert!(batcher.is_empty());
}

#[test]
fn a_request_past_its_bytes_is_cut_between_batches() {
    let mut batcher = batcher(12, true);
    let large = PRODUCE_REQUEST_BYTES_MAX / 2;
    for key in ["21", "foobar", "abc"] {
        batcher.append(&record(Some(key), large), at(0)).unwrap();
    }

    let requests: Vec<usize> =
        std::iter::from_fn(|| Some(batcher.ship(at(0), all_to_one)?.batches.len())).collect();

    assert_eq!(
        requests,
        [1, 1, 1],
        "headers make two halves more than a whole"
    );
}
