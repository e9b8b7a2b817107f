//! DescribeProducers, and DeleteRecords of a topic that is only compacted.

use anyhow::Context as _;
use esker_kafka::client::{Client, NewTopic, Target};
use esker_kafka::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use esker_kafka::messages::describe_producers_request::TopicRequest;
use esker_kafka::messages::{
    DeleteRecordsRequest, DescribeProducersRequest, InitProducerIdRequest,
};
use esker_record::{BatchBuilder, Compression, NewRecord};
use esker_types::{ProducerEpoch, ProducerId, Timestamp};

use crate::notes::Notes;
use crate::topics::{TRIES_MAX, name, settle};

const TOPIC: &str = "written";
const COMPACTED: &str = "compacted";
const BEGUN: i64 = 1_700_000_000_000;

pub(crate) async fn observe(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    let compact = [("cleanup.policy", "compact")];
    for (topic, configs) in [(TOPIC, &[][..]), (COMPACTED, &compact[..])] {
        let wanted = NewTopic {
            name: topic,
            partitions: Some(1),
            replication_factor: Some(1),
            configs,
        };
        client.create_topic(&wanted).await?;
        settle(client, topic, 1).await?;
    }
    produce(client).await?;
    for (topic, partition) in [(TOPIC, 0), (TOPIC, 9), ("plain", 0), ("absent", 0)] {
        describe(client, notes, topic, partition).await?;
    }
    let partition = DeleteRecordsPartition::default().with_offset(0);
    let of_topic = DeleteRecordsTopic::default()
        .with_name(name(COMPACTED))
        .with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![of_topic])
        .with_timeout_ms(10_000);
    let response = client.request(Target::Any, &request).await?;
    let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let one = partitions.next().context("no partition")?;
    let answer = (one.error_code, one.low_watermark);
    notes.add("DeleteRecords compacted", answer);
    Ok(())
}

/// Three records, then two, of one idempotent producer.
async fn produce(client: &Client) -> anyhow::Result<()> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    let mut given = client.request(Target::Any, &request).await?;
    // Kafka has no ids at hand for a moment.
    for _ in 0..TRIES_MAX {
        if given.error_code == 0 {
            break;
        }
        given = client.request(Target::Any, &request).await?;
    }
    let id = ProducerId::from_wire(given.producer_id.0).context("no producer id")?;
    let epoch = ProducerEpoch::from_wire(given.producer_epoch).context("no epoch")?;
    for (base_sequence, times) in [(0, &[5, 9, 7][..]), (3, &[4, 6])] {
        let mut builder = BatchBuilder::new(Compression::None).producer(id, epoch, base_sequence);
        for time in times {
            builder.push(&NewRecord {
                timestamp: Timestamp::from_millis(BEGUN + time),
                ..NewRecord::default()
            })?;
        }
        client.produce(TOPIC, 0, builder.build()?).await?;
    }
    Ok(())
}

/// Producer ids differ, all else does not.
async fn describe(
    client: &Client,
    notes: &mut Notes,
    topic: &str,
    partition: i32,
) -> anyhow::Result<()> {
    let asked = TopicRequest::default()
        .with_name(name(topic))
        .with_partition_indexes(vec![partition]);
    let request = DescribeProducersRequest::default().with_topics(vec![asked]);
    let response = client.request(Target::Any, &request).await?;
    for one in response.topics.iter().flat_map(|topic| &topic.partitions) {
        let producers = one.active_producers.iter().map(|producer| {
            let open = (
                producer.coordinator_epoch,
                producer.current_txn_start_offset,
            );
            let last = (producer.last_sequence, producer.last_timestamp);
            (producer.producer_epoch, last, open)
        });
        let producers: Vec<_> = producers.collect();
        let answer = (one.error_code, one.partition_index, producers);
        notes.add(format!("DescribeProducers {topic} {partition}"), answer);
    }
    Ok(())
}
