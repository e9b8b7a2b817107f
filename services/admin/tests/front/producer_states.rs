//! DescribeProducers: what the sequencer remembers, in Kafka's terms.

use esker_admin::limits::DESCRIBED_PRODUCERS_MAX;
use esker_kafka::Request;
use esker_kafka::messages::describe_producers_request::TopicRequest;
use esker_kafka::messages::describe_producers_response::PartitionResponse;
use esker_kafka::messages::{DescribeProducersRequest, DescribeProducersResponse};
use esker_metadata_api::{ActiveProducer, LogIndexError, MetadataError};
use esker_types::{ProducerEpoch, ProducerId, Timestamp};

use crate::wire::{World, at, body, name, topic, world};

fn producer(id: i64, last_timestamp: Option<i64>) -> ActiveProducer {
    ActiveProducer {
        producer_id: ProducerId::from_wire(id).unwrap(),
        producer_epoch: ProducerEpoch::from_wire(3).unwrap(),
        last_sequence: 41,
        last_timestamp: last_timestamp.map(Timestamp::from_millis),
    }
}

async fn ask(world: &World, topics: &[(&str, &[i32])]) -> Vec<PartitionResponse> {
    let topic = |(topic, indexes): &(&str, &[i32])| {
        TopicRequest::default()
            .with_name(name(topic))
            .with_partition_indexes(indexes.to_vec())
    };
    let request =
        DescribeProducersRequest::default().with_topics(topics.iter().map(topic).collect());
    let response = world.ask(0, Request::DescribeProducers(request)).await;
    let response: DescribeProducersResponse = body!(DescribeProducers, response);
    let names: Vec<&str> = response
        .topics
        .iter()
        .map(|row| row.name.as_str())
        .collect();
    assert!(names.iter().eq(topics.iter().map(|(topic, _)| topic)));
    let partitions = response
        .topics
        .into_iter()
        .flat_map(|topic| topic.partitions);
    partitions.collect()
}

#[tokio::test]
async fn producers_are_told_with_epoch_sequence_and_time_and_without_a_transaction() {
    let world = world();
    world.admin.add(topic("t", 1, 2));
    world.admin.add(topic("u", 2, 1));
    let known = vec![producer(7, Some(1234)), producer(8, None)];
    world.admin.set_producers(at(1, 1), Ok(known));

    let rows = ask(&world, &[("t", &[1, 0]), ("u", &[0])]).await;

    let told: Vec<_> = rows[0]
        .active_producers
        .iter()
        .map(|one| {
            let who = (one.producer_id.0, one.producer_epoch, one.last_sequence);
            let open = (one.coordinator_epoch, one.current_txn_start_offset);
            (who, one.last_timestamp, open)
        })
        .collect();
    let none = (-1, -1);
    assert_eq!(told, [((7, 3, 41), 1234, none), ((8, 3, 41), -1, none)]);
    let indexes: Vec<i32> = rows.iter().map(|row| row.partition_index).collect();
    assert_eq!(indexes, [1, 0, 0]);
    assert!(
        rows.iter()
            .all(|row| row.error_code == 0 && row.error_message.is_none())
    );
}

#[tokio::test]
async fn partitions_that_do_not_exist_and_silence_are_told_each_for_itself() {
    let world = world();
    world.admin.add(topic("t", 1, 4));
    for (index, error) in [
        (1, LogIndexError::UnknownPartition),
        (2, LogIndexError::NotDecided),
        (3, LogIndexError::Metadata(MetadataError::Recovering)),
    ] {
        world.admin.set_producers(at(1, index), Err(error));
    }

    let rows = ask(&world, &[("t", &[0, 1, 2, 3, 4]), ("absent", &[0])]).await;
    world.admin.fail_current(MetadataError::Unavailable);
    let unconfirmed = ask(&world, &[("absent", &[0])]).await;

    let codes: Vec<i16> = rows.iter().map(|row| row.error_code).collect();
    assert_eq!(codes, [0, 3, 6, 6, 3, 3]);
    assert!(rows[1..].iter().all(|row| row.error_message.is_some()));
    assert_eq!(unconfirmed[0].error_code, 6);
}

#[tokio::test]
async fn an_answer_has_its_limit_of_producers_and_not_one_more() {
    let world = world();
    world.admin.add(topic("t", 1, 3));
    let most = i64::try_from(DESCRIBED_PRODUCERS_MAX).unwrap();
    let some = |count: i64| Ok((0..count).map(|id| producer(id, None)).collect());
    world.admin.set_producers(at(1, 0), some(most));
    world.admin.set_producers(at(1, 1), some(1));

    let rows = ask(&world, &[("t", &[0, 1, 2])]).await;

    let codes: Vec<i16> = rows.iter().map(|row| row.error_code).collect();
    assert_eq!(
        codes,
        [0, 44, 44],
        "behind the first that does not fit nobody is asked"
    );
    assert_eq!(rows[0].active_producers.len(), DESCRIBED_PRODUCERS_MAX);
}
