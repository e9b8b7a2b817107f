//! Produce, ListOffsets, Fetch, OffsetForLeaderEpoch, DeleteRecords, and questions about replicas.

use bytes::Bytes;
use esker_kafka::client::{Client, ClientError, FetchOptions, Isolation, OffsetQuery, Target};
use esker_kafka::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use esker_kafka::messages::elect_leaders_request::TopicPartitions;
use esker_kafka::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use esker_kafka::messages::{
    DeleteRecordsRequest, DescribeLogDirsRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest, OffsetForLeaderEpochRequest,
};
use esker_record::{BatchBuilder, Compression, NewRecord};
use esker_types::Timestamp;

use crate::notes::Notes;
use crate::topics::name;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];
/// Time of the first record; the others go up and down after it.
const BEGUN: i64 = 1_700_000_000_000;

/// Ten records whose times rise, fall back and rise again.
pub(crate) fn batch(codec: Compression, round: i64) -> anyhow::Result<Bytes> {
    let mut builder = BatchBuilder::new(codec);
    for (number, time) in [0, 10, 20, 90, 40, 90, 30, 70, 60, 50]
        .into_iter()
        .enumerate()
    {
        builder.push(&NewRecord {
            timestamp: Timestamp::from_millis(BEGUN + round * 100 + time),
            key: Some(Bytes::from(format!("key-{number}"))),
            value: Some(Bytes::from("value ".repeat(10))),
            headers: Vec::new(),
        })?;
    }
    Ok(builder.build()?)
}

fn code<T: std::fmt::Debug>(outcome: &Result<T, ClientError>) -> String {
    match outcome {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("{:?}", error.code()),
    }
}

pub(crate) async fn observe(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    produce(client, notes).await?;
    list(client, notes, "after produce").await?;
    epochs(client, notes).await?;
    delete_records(client, notes).await?;
    list(client, notes, "after deletion").await?;
    replicas(client, notes).await
}

async fn produce(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    for (partition, codec) in (0..).zip(CODECS) {
        for round in 0..3 {
            let question = format!("Produce {codec:?} {round}");
            let produced = client
                .produce("codecs", partition, batch(codec, round)?)
                .await;
            notes.add(question, code(&produced));
        }
    }
    let appended = client
        .produce("appended", 0, batch(Compression::Lz4, 0)?)
        .await;
    let has_time = appended
        .as_ref()
        .is_ok_and(|one| one.log_append_time_ms > BEGUN);
    notes.add("Produce with log append time", (appended.is_ok(), has_time));
    let large = client
        .produce("small", 0, batch(Compression::None, 0)?)
        .await;
    notes.add("Produce past max.message.bytes", code(&large));
    let late = client
        .produce("plain", 0, batch(Compression::None, 100_000_000_000)?)
        .await;
    notes.add("Produce far in the future", code(&late));
    let mut keyless = BatchBuilder::new(Compression::None);
    keyless.push(&NewRecord::default())?;
    let keyless = client.produce("set", 0, keyless.build()?).await;
    notes.add("Produce without a key to a compacted topic", code(&keyless));
    Ok(())
}

async fn list(client: &Client, notes: &mut Notes, when: &str) -> anyhow::Result<()> {
    let times = [0, 1, 20, 21, 89, 90, 91, 100, 150, 290, 291];
    let times = times.map(|time| OffsetQuery::At(BEGUN + time));
    let ends = [
        OffsetQuery::Earliest,
        OffsetQuery::Latest,
        OffsetQuery::MaxTimestamp,
    ];
    for (partition, codec) in (0..).zip(CODECS) {
        for query in ends.into_iter().chain(times) {
            let listed = client
                .list_offset("codecs", partition, query, Isolation::ReadUncommitted)
                .await;
            let question = format!("ListOffsets {codec:?} {query:?} {when}");
            notes.add(question, code(&listed));
        }
    }
    for query in ends {
        let listed = client
            .list_offset("plain", 1, query, Isolation::ReadCommitted)
            .await;
        notes.add(format!("ListOffsets empty {query:?} {when}"), code(&listed));
    }
    Ok(())
}

async fn epochs(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    for (topic, current, asked) in [
        ("codecs", -1, 0),
        ("codecs", 0, 0),
        ("codecs", 0, -1),
        ("codecs", 7, 0),
        ("absent", 0, 0),
    ] {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(current)
            .with_leader_epoch(asked);
        let of_topic = OffsetForLeaderTopic::default()
            .with_topic(name(topic))
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id((-1).into())
            .with_topics(vec![of_topic]);
        let response = client.request(Target::Any, &request).await?;
        for one in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let question = format!("OffsetForLeaderEpoch {topic} {current} {asked}");
            notes.add(question, (one.error_code, one.leader_epoch, one.end_offset));
        }
    }
    Ok(())
}

async fn delete_records(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    for (topic, partition, offset) in [
        ("codecs", 0, 31),
        ("codecs", 0, 13),
        ("codecs", 0, 5),
        ("codecs", 1, -1),
        ("codecs", 2, -7),
        ("plain", 1, 0),
        ("absent", 0, 0),
    ] {
        let one = DeleteRecordsPartition::default()
            .with_partition_index(partition)
            .with_offset(offset);
        let of_topic = DeleteRecordsTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![one]);
        let request = DeleteRecordsRequest::default()
            .with_topics(vec![of_topic])
            .with_timeout_ms(10_000);
        let response = client.request(Target::Any, &request).await?;
        for one in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let question = format!("DeleteRecords {topic} {partition} {offset}");
            notes.add(question, (one.error_code, one.low_watermark));
        }
    }
    for (partition, offset) in [(0, 12), (0, 13), (0, 31), (1, 0), (1, 30)] {
        let fetched = client
            .fetch("codecs", partition, offset, FetchOptions::default())
            .await;
        let answer = fetched.as_ref().map(|fetched| {
            let marks = (fetched.high_watermark, fetched.log_start_offset);
            let first = fetched.records.get(..8).map(<[u8]>::to_vec);
            (marks, fetched.last_stable_offset, first)
        });
        let answer = answer.map_err(ClientError::code);
        notes.add(
            format!("Fetch {partition} from {offset} after deletion"),
            answer,
        );
    }
    Ok(())
}

async fn replicas(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    let one = |topic: &str| {
        TopicPartitions::default()
            .with_topic(name(topic))
            .with_partitions(vec![0])
    };
    for topics in [None, Some(vec![one("plain"), one("absent")])] {
        let question = format!("ElectLeaders {}", topics.is_some());
        let request = ElectLeadersRequest::default()
            .with_topic_partitions(topics)
            .with_timeout_ms(10_000);
        let response = client.request(Target::Any, &request).await?;
        let results = response.replica_election_results.iter();
        let codes: Vec<i16> = results
            .flat_map(|topic| &topic.partition_result)
            .map(|one| one.error_code)
            .collect();
        notes.add(question, (response.error_code, codes));
    }
    let request = ListPartitionReassignmentsRequest::default().with_timeout_ms(10_000);
    let response = client.request(Target::Any, &request).await?;
    let answer = (
        response.error_code,
        response.error_message,
        response.topics.len(),
    );
    notes.add("ListPartitionReassignments", answer);
    let request = DescribeLogDirsRequest::default().with_topics(None);
    let response = client.request(Target::Any, &request).await?;
    let dirs: Vec<i16> = response.results.iter().map(|dir| dir.error_code).collect();
    notes.add("DescribeLogDirs", (response.error_code, dirs));
    for topic in response.results.iter().flat_map(|dir| &dir.topics) {
        let mut rows: Vec<(i32, i64, bool)> = topic
            .partitions
            .iter()
            .map(|one| (one.partition_index, one.offset_lag, one.is_future_key))
            .collect();
        rows.sort_unstable();
        notes.add(format!("DescribeLogDirs {}", topic.name.as_str()), rows);
    }
    Ok(())
}
