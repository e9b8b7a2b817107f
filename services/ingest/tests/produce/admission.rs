//! What is admitted, and what each refusal tells a Kafka client.

use std::time::Duration;

use bytes::Bytes;
use esker_ingest::{AppendError, AppendErrorKind, AppendRequest};
use esker_kafka::messages::produce_request::PartitionProduceData;
use esker_kafka::messages::produce_response::PartitionProduceResponse;
use esker_kafka::messages::{ProduceRequest, StrBytes, TransactionalId};
use esker_kafka::{KafkaError, Reply, Response};
use esker_metadata_api::{BatchVerdict, MetadataError, ProduceRefusal, ReserveReply, TopicTable};
use esker_record::{BatchBuilder, Compression, NewRecord};
use esker_types::{Offset, ProducerEpoch, ProducerId, Timestamp};
use std::sync::Arc;

use crate::sequencer::Scripted;
use crate::world::{PARTITIONS, TestBatch, World, place, request, request_of, rows, topics, world};

fn error(row: &PartitionProduceResponse) -> KafkaError {
    KafkaError::from_code(row.error_code).unwrap()
}

fn to_first(records: impl Into<Bytes>) -> ProduceRequest {
    request_of(vec![
        PartitionProduceData::default().with_records(Some(records.into())),
    ])
}

async fn row(world: &World, request: ProduceRequest) -> PartitionProduceResponse {
    rows(world.send_request(request).await.await).remove(0)
}

fn configured(configs: &[(&str, &str)]) -> World {
    let world = world();
    world.admin.set_heard(topics(configs));
    world
}

fn record(timestamp: Timestamp, key: Option<&'static [u8]>) -> NewRecord {
    NewRecord {
        timestamp,
        key: key.map(Bytes::from_static),
        value: Some(Bytes::from_static(b"value")),
        ..NewRecord::default()
    }
}

fn built(compression: Compression, records: &[NewRecord]) -> Bytes {
    let mut builder = BatchBuilder::new(compression);
    for record in records {
        builder.push(record).unwrap();
    }
    builder.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn other_acks_than_kafkas_are_refused() {
    let world = world();

    for acks in [-2, 2, i16::MAX] {
        let row = row(&world, request(&[TestBatch::plain(0)]).with_acks(acks)).await;
        assert_eq!(error(&row), KafkaError::InvalidRequiredAcks);
        assert_eq!(
            (
                row.base_offset,
                row.log_append_time_ms,
                row.log_start_offset
            ),
            (-1, -1, -1)
        );
    }
    let one = row(&world, request(&[TestBatch::plain(0)]).with_acks(1)).await;

    assert_eq!((one.error_code, one.base_offset), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn without_acks_there_is_no_answer_and_an_error_closes_the_connection() {
    let world = world();
    let good = request(&[TestBatch::plain(0)]).with_acks(0);
    let bad = to_first(&b"no batch"[..]).with_acks(0);

    let nothing = world.send_request(good).await.await;
    let close = world.send_request(bad).await.await;
    world.sleep(1000).await;

    assert!(matches!(nothing, Reply::Nothing));
    assert!(matches!(close, Reply::Close));
    assert_eq!(world.numbers().await, [0]);
}

#[tokio::test(start_paused = true)]
async fn exactly_one_batch_is_taken_per_partition() {
    let world = world();
    let one = TestBatch::plain(0).bytes();
    let two = [one.clone(), one.clone()].concat();

    let none = row(&world, request_of(vec![PartitionProduceData::default()])).await;
    let empty = row(&world, to_first(Bytes::new())).await;
    let many = row(&world, to_first(two)).await;
    let old = row(&world, to_first([&one[..16], &[1], &one[17..]].concat())).await;

    for refused in [none, empty, many, old] {
        assert_eq!(error(&refused), KafkaError::InvalidRecord);
        assert_eq!(refused.base_offset, -1);
        assert!(refused.error_message.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn damaged_and_cut_batches_are_told_as_corrupt() {
    let world = world();
    let good = TestBatch::plain(0).bytes();
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;

    let flipped = row(&world, to_first(flipped)).await;
    let cut = row(&world, to_first(good.slice(..good.len() - 1))).await;

    assert_eq!(error(&flipped), KafkaError::CorruptMessage);
    assert_eq!(error(&cut), KafkaError::CorruptMessage);
    assert_eq!(world.metrics.refusals(AppendErrorKind::Corrupt), 2);
}

#[tokio::test(start_paused = true)]
async fn one_byte_past_the_topics_limit_is_too_large() {
    let batch = TestBatch::plain(0).bytes();
    let fits = configured(&[("max.message.bytes", &batch.len().to_string())]);
    let past = configured(&[("max.message.bytes", &(batch.len() - 1).to_string())]);

    assert_eq!(row(&fits, to_first(batch.clone())).await.error_code, 0);
    assert_eq!(
        error(&row(&past, to_first(batch)).await),
        KafkaError::MessageTooLarge
    );
}

#[tokio::test(start_paused = true)]
async fn zstd_needs_produce_7() {
    let world = world();
    let records = [record(Timestamp::from_millis(1), Some(b"key"))];
    let request = to_first(built(Compression::Zstd, &records));

    let old = world
        .ingest
        .produce(world.context(6), request.clone())
        .await
        .await;
    let new = world.ingest.produce(world.context(7), request).await.await;

    assert_eq!(error(&rows(old)[0]), KafkaError::UnsupportedCompressionType);
    assert_eq!(error(&rows(new)[0]), KafkaError::None);
}

#[tokio::test(start_paused = true)]
async fn a_compacted_topic_takes_no_record_without_a_key_and_says_which() {
    let world = configured(&[("cleanup.policy", "compact,delete")]);
    let keyed = record(Timestamp::from_millis(1), Some(b"key"));
    let keyless = record(Timestamp::from_millis(1), None);

    let records = [keyed, keyless];
    let good = row(&world, to_first(built(Compression::Gzip, &records[..1]))).await;
    let bad = row(&world, to_first(built(Compression::Gzip, &records))).await;

    assert_eq!(error(&good), KafkaError::None);
    assert_eq!(error(&bad), KafkaError::InvalidRecord);
    assert_eq!(bad.record_errors.len(), 1);
    assert_eq!(bad.record_errors[0].batch_index, 1);
}

#[tokio::test(start_paused = true)]
async fn timestamps_outside_the_topics_bounds_are_refused() {
    let world = configured(&[
        ("message.timestamp.after.max.ms", "3600000"),
        ("message.timestamp.before.max.ms", "7200000"),
    ]);
    let now = world.env.clock.wall().millis();
    let hour = 3_600_000;
    let at = |millis| {
        to_first(built(
            Compression::None,
            &[record(Timestamp::from_millis(millis), None)],
        ))
    };

    let late = row(&world, at(now + hour + 60_000)).await;
    let soon = row(&world, at(now + hour - 60_000)).await;
    let old = row(&world, at(now - 2 * hour - 60_000)).await;
    let none = row(&world, at(-1)).await;

    assert_eq!(error(&late), KafkaError::InvalidTimestamp);
    assert_eq!(error(&soon), KafkaError::None);
    assert_eq!(error(&old), KafkaError::InvalidTimestamp);
    assert_eq!(error(&none), KafkaError::None);
}

#[tokio::test(start_paused = true)]
async fn a_topic_with_log_append_time_stamps_the_batch_and_answers_the_time() {
    let world = configured(&[("message.timestamp.type", "LogAppendTime")]);
    let before = world.env.clock.wall().millis();

    let row = row(&world, request(&[TestBatch::plain(1)])).await;

    let after = world.env.clock.wall().millis();
    assert_eq!(row.error_code, 0);
    assert!((before..=after).contains(&row.log_append_time_ms));
    let log = world.log().await;
    assert_eq!(log.get(&(0, 0)), Some(&row.log_append_time_ms));
}

#[tokio::test(start_paused = true)]
async fn a_topic_with_a_codec_of_its_own_rewrites_batches_and_then_measures_them() {
    let records: Vec<NewRecord> = (0..200)
        .map(|_| record(Timestamp::NONE, Some(b"k")))
        .collect();
    let (small, large) = (
        built(Compression::Gzip, &records),
        built(Compression::None, &records),
    );
    let limit = (large.len() - 1).to_string();
    let mut damaged = small.to_vec();
    *damaged.last_mut().unwrap() ^= 0xff;
    let crc = crc32c::crc32c(&damaged[21..]);
    damaged[17..21].copy_from_slice(&crc.to_be_bytes());

    let mut codes = Vec::new();
    for (codec, batch) in [
        ("producer", small.clone()),
        ("gzip", small.clone()),
        ("zstd", small.clone()),
        ("uncompressed", small.clone()),
        ("producer", Bytes::from(damaged.clone())),
        ("lz4", Bytes::from(damaged)),
    ] {
        let world = configured(&[("compression.type", codec), ("max.message.bytes", &limit)]);
        codes.push(error(&row(&world, to_first(batch)).await));
    }

    assert_eq!(
        codes,
        [
            KafkaError::None,
            KafkaError::None,
            KafkaError::None,
            KafkaError::MessageTooLarge,
            KafkaError::None,
            KafkaError::InvalidRecord,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn transactions_are_refused_as_such() {
    let world = world();
    let transactional = BatchBuilder::new(Compression::None)
        .producer(
            ProducerId::from_wire(1).unwrap(),
            ProducerEpoch::default(),
            0,
        )
        .transactional();
    let mut builder = transactional;
    builder
        .push(&record(Timestamp::from_millis(1), None))
        .unwrap();
    let id = TransactionalId(StrBytes::from_static_str("payments"));

    let by_batch = row(&world, to_first(builder.build().unwrap())).await;
    let by_id = request(&[TestBatch::plain(0)]).with_transactional_id(Some(id));
    let by_id = row(&world, by_id).await;

    assert_eq!(error(&by_batch), KafkaError::InvalidTxnState);
    assert_eq!(error(&by_id), KafkaError::InvalidTxnState);
    assert_eq!(world.puts(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_topic_is_told_only_by_a_current_answer() {
    let world = world();
    let known = topics(&[]);
    world.admin.set_heard(Arc::new(TopicTable::default()));

    let fresh = row(&world, request(&[TestBatch::plain(0)])).await;
    world.admin.set_current(Err(MetadataError::Unavailable));
    let unconfirmed = row(&world, request(&[TestBatch::plain(1)])).await;
    world.admin.set_current(Ok(Arc::new(TopicTable::default())));
    let unknown = row(&world, request(&[TestBatch::plain(1)])).await;
    let asked = world.admin.asked();
    world.admin.set_heard(known);
    let heard = row(&world, request(&[TestBatch::plain(2)])).await;

    assert_eq!(error(&fresh), KafkaError::None, "created a moment ago");
    assert_eq!(error(&unconfirmed), KafkaError::KafkaStorageError);
    assert_eq!(error(&unknown), KafkaError::UnknownTopicOrPartition);
    assert_eq!(error(&heard), KafkaError::None);
    assert_eq!(
        (asked, world.admin.asked()),
        (3, 3),
        "what is heard needs no question"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_partition_fails_alone() {
    let world = world();
    let past = i32::try_from(PARTITIONS).unwrap();
    let rows_of = |index: i32| {
        PartitionProduceData::default()
            .with_index(index)
            .with_records(Some(TestBatch::plain(index).bytes()))
    };
    let request = request_of(vec![rows_of(past), rows_of(1), rows_of(-1), rows_of(2)]);

    let answer = rows(world.send_request(request).await.await);

    let errors: Vec<_> = answer.iter().map(error).collect();
    let unknown = KafkaError::UnknownTopicOrPartition;
    assert_eq!(
        errors,
        [unknown, KafkaError::None, unknown, KafkaError::None]
    );
    assert!(answer.iter().map(|row| row.index).eq([past, 1, -1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_topics_is_answered_at_once() {
    let world = world();
    let request = ProduceRequest::default().with_acks(-1);

    let reply = world.send_request(request).await.await;

    let Reply::Message(Response::Produce(response)) = reply else {
        panic!("not a produce response");
    };
    assert!(response.responses.is_empty());
    assert_eq!(response.throttle_time_ms, 0);
    assert!(world.sequencer.sessions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_append_of_another_front_goes_the_same_way() {
    let world = world();
    let append = |partition: u32, number| AppendRequest {
        topic_partition: place(partition),
        batch: TestBatch::plain(number).bytes(),
        expected_end: None,
    };

    let first = world.ingest.append(append(0, 1)).await.unwrap();
    let second = world.ingest.append(append(0, 2)).await.unwrap();
    let unknown = world
        .ingest
        .append(append(PARTITIONS, 3))
        .await
        .unwrap_err();
    let bad = AppendRequest {
        batch: Bytes::from_static(b"no batch"),
        ..append(0, 4)
    };
    let bad = world.ingest.append(bad).await.unwrap_err();

    assert_eq!((first.base_offset.get(), second.base_offset.get()), (0, 1));
    assert!(matches!(unknown, AppendError::UnknownPartition));
    assert_eq!(unknown.kind(), AppendErrorKind::Refresh);
    assert_eq!(bad.kind(), AppendErrorKind::Invalid);
    assert_eq!(world.numbers().await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_append_without_a_sequencer_ends_by_its_own_timeout() {
    let world = world();
    world.sequencer.away(true);
    let append = AppendRequest {
        topic_partition: place(0),
        batch: TestBatch::plain(1).bytes(),
        expected_end: None,
    };

    let error = world.ingest.append(append).await.unwrap_err();

    assert_eq!(error.kind(), AppendErrorKind::Refresh);
    assert!(world.env.clock.now().since_start() < Duration::from_secs(31));
}

#[tokio::test(start_paused = true)]
async fn a_conditional_append_that_is_deferred_holds_nobody_up_and_its_refusal_is_told() {
    let world = world();
    let end = Offset::new(7).unwrap();
    let conditional = AppendRequest {
        topic_partition: place(0),
        batch: TestBatch::plain(1).bytes(),
        expected_end: Some(end),
    };
    let plain = AppendRequest {
        expected_end: None,
        batch: TestBatch::plain(2).bytes(),
        ..conditional.clone()
    };
    let answer = |verdict| {
        Scripted::Reply(ReserveReply {
            verdicts: vec![verdict],
        })
    };
    let refusal = ProduceRefusal::UnexpectedEnd { end: Offset::ZERO };
    let refused = answer(BatchVerdict::Refused(refusal));
    world.sequencer.script([answer(BatchVerdict::Deferred)]);

    let waiting = world.ingest.admit(conditional).await.unwrap();
    world.sleep(1).await;
    let plain = world.ingest.append(plain).await.unwrap();
    world.sequencer.script([refused]);
    let waiting = waiting.outcome().await.unwrap_err();

    assert_eq!(plain.base_offset, Offset::ZERO, "appended meanwhile");
    assert!(matches!(waiting, AppendError::Refused(found) if found == refusal));
    assert_eq!(waiting.kind(), AppendErrorKind::Invalid);
    let asked = world.sequencer.requests();
    let expected: Vec<_> = asked
        .iter()
        .map(|asked| asked.batches[0].expected_end)
        .collect();
    assert_eq!(expected, [Some(end), None, Some(end)]);
}
