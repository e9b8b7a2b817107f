//! DescribeTopicPartitions.

use esker_admin::limits::DESCRIBED_PARTITIONS_MAX;
use esker_kafka::Request;
use esker_kafka::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use esker_kafka::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use esker_metadata_api::MetadataError;

use crate::wire::{World, body, name, topic, uuid, world};

fn request(names: &[&str], limit: i32) -> DescribeTopicPartitionsRequest {
    let one = |topic: &&str| TopicRequest::default().with_name(name(topic));
    DescribeTopicPartitionsRequest::default()
        .with_topics(names.iter().map(one).collect())
        .with_response_partition_limit(limit)
        .with_cursor(None)
}

fn at(topic: &str, partition: i32) -> Option<Cursor> {
    Some(
        Cursor::default()
            .with_topic_name(name(topic))
            .with_partition_index(partition),
    )
}

async fn ask(
    world: &World,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let response = world
        .ask(0, Request::DescribeTopicPartitions(request))
        .await;
    body!(DescribeTopicPartitions, response)
}

/// Topics with their error and partition indexes, and the cursor.
type Shown = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

fn shown(response: &DescribeTopicPartitionsResponse) -> Shown {
    let topics = response.topics.iter().map(|topic| {
        let name = topic.name.as_ref().unwrap().to_string();
        let indexes = topic
            .partitions
            .iter()
            .map(|one| one.partition_index)
            .collect();
        (name, topic.error_code, indexes)
    });
    let cursor = response.next_cursor.as_ref();
    let cursor = cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
    (topics.collect(), cursor)
}

fn three_topics() -> World {
    let world = world();
    world.admin.add(topic("a", 1, 2));
    world.admin.add(topic("b", 2, 3));
    world.admin.add(topic("c", 3, 1));
    world
}

fn entry(name: &str, code: i16, partitions: &[i32]) -> (String, i16, Vec<i32>) {
    (name.to_owned(), code, partitions.to_vec())
}

#[tokio::test]
async fn topics_come_by_name_with_all_that_tools_show() {
    let world = three_topics();

    let response = ask(&world, request(&["c", "x", "a", "a/b", "a"], 2000)).await;

    let topics = vec![
        entry("a", 0, &[0, 1]),
        entry("a/b", 17, &[]),
        entry("c", 0, &[0]),
        entry("x", 3, &[]),
    ];
    assert_eq!(shown(&response), (topics, None));
    let first = &response.topics[0];
    assert_eq!(
        (first.topic_id, first.topic_authorized_operations),
        (uuid(1), 3576)
    );
    let partition = &first.partitions[0];
    assert_eq!((partition.leader_id.0, partition.leader_epoch), (1, 0));
    assert_eq!(partition.replica_nodes, partition.isr_nodes);
    assert!(partition.offline_replicas.is_empty());
    assert_eq!(
        partition.eligible_leader_replicas,
        Some(Vec::new()),
        "null breaks Java"
    );
    assert_eq!(partition.last_known_elr, Some(Vec::new()));
}

#[tokio::test]
async fn an_empty_list_asks_for_all_topics() {
    let world = three_topics();

    let response = ask(&world, request(&[], 2000)).await;

    let topics = vec![
        entry("a", 0, &[0, 1]),
        entry("b", 0, &[0, 1, 2]),
        entry("c", 0, &[0]),
    ];
    assert_eq!(shown(&response), (topics, None));
    assert_eq!(world.admin.current_calls(), 0);
}

#[tokio::test]
async fn pages_of_any_size_put_together_are_the_whole() {
    for names in [&[][..], &["a", "b", "c"]] {
        for limit in 1..=7 {
            let world = three_topics();
            let mut seen = Vec::new();
            let mut cursor = None;
            for _ in 0..10 {
                let response = ask(&world, request(names, limit).with_cursor(cursor)).await;
                let (topics, next) = shown(&response);
                let count: usize = topics.iter().map(|(_, _, indexes)| indexes.len()).sum();
                assert!(count <= usize::try_from(limit).unwrap());
                seen.extend(topics.into_iter().flat_map(|(topic, code, indexes)| {
                    assert_eq!(code, 0);
                    indexes.into_iter().map(move |index| (topic.clone(), index))
                }));
                cursor = next.and_then(|(topic, index)| at(&topic, index));
                if cursor.is_none() {
                    break;
                }
            }
            let whole = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("c", 0)];
            let whole: Vec<_> = whole
                .map(|(topic, index)| (topic.to_owned(), index))
                .to_vec();
            assert_eq!((seen, cursor), (whole, None), "{names:?} {limit}");
        }
    }
}

#[tokio::test]
async fn the_limit_is_at_least_one_and_at_most_ours() {
    let world = world();
    let partitions = u32::try_from(DESCRIBED_PARTITIONS_MAX).unwrap() + 1;
    world.admin.add(topic("wide", 1, partitions));
    let last = i32::try_from(DESCRIBED_PARTITIONS_MAX).unwrap();

    for (limit, next) in [(i32::MIN, 1), (0, 1), (1, 1), (i32::MAX, last)] {
        let response = ask(&world, request(&["wide"], limit)).await;
        assert_eq!(
            shown(&response).1,
            Some((String::from("wide"), next)),
            "{limit}"
        );
    }
}

#[tokio::test]
async fn a_cursor_at_a_topic_that_is_gone_goes_on_with_the_next() {
    let world = three_topics();
    world.admin.remove(2);

    let all = ask(&world, request(&[], 10).with_cursor(at("b", 1))).await;
    let named = ask(
        &world,
        request(&["a", "b", "c"], 10).with_cursor(at("b", 1)),
    )
    .await;

    assert_eq!(shown(&all), (vec![entry("c", 0, &[0])], None));
    assert_eq!(
        shown(&named),
        (vec![entry("b", 3, &[]), entry("c", 0, &[0])], None)
    );
}

#[tokio::test]
async fn a_cursor_past_the_last_partition_shows_the_topic_without_any() {
    let world = three_topics();

    let response = ask(&world, request(&["a"], 10).with_cursor(at("a", 2))).await;

    assert_eq!(shown(&response), (vec![entry("a", 0, &[])], None));
}

#[tokio::test]
async fn a_cursor_that_points_nowhere_is_refused() {
    let world = three_topics();

    let negative = ask(&world, request(&["a", "b"], 10).with_cursor(at("a", -1))).await;
    let other = ask(&world, request(&["a", "b"], 10).with_cursor(at("c", 0))).await;

    let refused = (vec![entry("a", 42, &[]), entry("b", 42, &[])], None);
    assert_eq!(shown(&negative), refused);
    assert_eq!(shown(&other), refused);
}

#[tokio::test]
async fn a_topic_is_unknown_only_in_a_current_table() {
    let lagging = world();
    lagging.admin.lag();
    lagging.admin.add(topic("new", 1, 1));
    let leaderless = world();
    leaderless.admin.fail_current(MetadataError::Recovering);

    let found = ask(&lagging, request(&["new"], 10)).await;
    let doubted = ask(&leaderless, request(&["new"], 10)).await;

    assert_eq!(shown(&found).0, [entry("new", 0, &[0])]);
    assert_eq!(shown(&doubted).0, [entry("new", 5, &[])]);
}
