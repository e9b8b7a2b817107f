//! CreateTopics, all versions.

use esker_admin::AdminConfig;
use esker_admin::limits::{METADATA_TIMEOUT, REQUEST_TIMEOUT_MAX, TOPIC_CHANGES_PARALLEL};
use esker_kafka::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use esker_kafka::messages::create_topics_response::CreatableTopicResult;
use esker_kafka::messages::{CreateTopicsRequest, CreateTopicsResponse};
use esker_kafka::{Api, Request};
use esker_metadata_api::{CreateTopicError, MetadataError};
use esker_types::limits::PARTITIONS_PER_TOPIC_MAX;

use crate::wire::{World, body, name, text, topic, uuid, versions, world, world_with};

fn wanted(topic: &str, partitions: i32, factor: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(factor)
}

fn setting(key: &str, value: Option<&str>) -> CreatableTopicConfig {
    CreatableTopicConfig::default()
        .with_name(text(key))
        .with_value(value.map(text))
}

fn assigned(index: i32, brokers: &[i32]) -> CreatableReplicaAssignment {
    CreatableReplicaAssignment::default()
        .with_partition_index(index)
        .with_broker_ids(brokers.iter().map(|id| (*id).into()).collect())
}

fn request(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(5000)
}

async fn ask(world: &World, version: i16, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let response = world.ask(version, Request::CreateTopics(request)).await;
    body!(CreateTopics, response)
}

/// The result of one topic in the newest version.
async fn create(world: &World, topic: CreatableTopic) -> CreatableTopicResult {
    ask(world, 7, request(vec![topic])).await.topics.remove(0)
}

#[tokio::test]
async fn a_topic_is_created_and_shown_in_every_version() {
    for version in versions(Api::CreateTopics) {
        let world = world();
        let topic = wanted("t", 3, 2).with_configs(vec![
            setting("cleanup.policy", Some("compact, delete")),
            setting("retention.ms", Some(" 1000 ")),
        ]);

        let result = ask(&world, version, request(vec![topic]))
            .await
            .topics
            .remove(0);

        assert_eq!((result.error_code, result.error_message), (0, None));
        assert_eq!(result.name, name("t"));
        assert!(world.admin.has("t"));
        let creation = world.admin.creations().remove(0);
        assert_eq!(
            (creation.partition_count.get(), creation.replication_factor),
            (3, 2)
        );
        assert_eq!(creation.configs["cleanup.policy"], "compact,delete");
        assert_eq!(creation.configs["retention.ms"], "1000");
        assert_eq!(
            result.topic_id,
            if version >= 7 { uuid(201) } else { uuid(0) }
        );
        let shown = (result.num_partitions, result.replication_factor);
        assert_eq!(shown, if version >= 5 { (3, 2) } else { (-1, -1) });
        let configs = result.configs.unwrap_or_default();
        assert_eq!(configs.len(), if version >= 5 { 33 } else { 0 });
        assert_eq!(result.topic_config_error_code, 0);
        let source = |key: &str| {
            let config = configs.iter().find(|config| config.name.as_str() == key);
            config.map(|config| {
                (
                    config.value.clone().unwrap().to_string(),
                    config.config_source,
                )
            })
        };
        if version >= 5 {
            assert_eq!(
                source("cleanup.policy"),
                Some((String::from("compact,delete"), 1))
            );
            assert_eq!(source("segment.ms"), Some((String::from("604800000"), 5)));
        }
    }
}

#[tokio::test]
async fn minus_one_asks_for_the_defaults_of_the_operator() {
    let world = world_with(AdminConfig {
        partition_count_default: 6,
        replication_factor_default: 3,
        ..AdminConfig::default()
    });
    for version in versions(Api::CreateTopics) {
        let topic = format!("t{version}");
        let response = ask(&world, version, request(vec![wanted(&topic, -1, -1)])).await;
        assert_eq!(response.topics[0].error_code, 0);
    }

    for creation in world.admin.creations() {
        assert_eq!(
            (creation.partition_count.get(), creation.replication_factor),
            (6, 3)
        );
    }
}

#[tokio::test]
async fn counts_below_one_are_refused_and_any_factor_from_one_on_is_taken() {
    let world = world();
    for (partitions, factor, code) in [
        (0, 1, 37),
        (-2, 1, 37),
        (i32::MIN, 1, 37),
        (i32::try_from(PARTITIONS_PER_TOPIC_MAX).unwrap() + 1, 1, 37),
        (i32::MAX, 1, 37),
        (1, 0, 38),
        (1, -2, 38),
    ] {
        let result = create(&world, wanted("t", partitions, factor)).await;
        assert_eq!(result.error_code, code, "{partitions} {factor}");
        assert_eq!((result.num_partitions, result.replication_factor), (-1, -1));
        assert_eq!(
            (result.topic_id, result.configs),
            (uuid(0), Some(Vec::new()))
        );
        assert!(result.error_message.is_some());
    }
    assert!(world.admin.creations().is_empty());

    let result = create(&world, wanted("wide", 10_000, 3)).await;

    assert_eq!(
        (
            result.error_code,
            result.num_partitions,
            result.replication_factor
        ),
        (0, 10_000, 3)
    );
}

#[tokio::test]
async fn names_that_kafka_refuses_or_keeps_for_itself_are_invalid() {
    let world = world();
    let long = "a".repeat(250);
    for bad in [
        "",
        ".",
        "..",
        "a/b",
        "ä",
        &long,
        "__consumer_offsets",
        "__transaction_state",
    ] {
        let result = create(&world, wanted(bad, 1, 1)).await;
        assert_eq!((result.error_code, result.name), (17, name(bad)), "{bad}");
    }
    assert!(world.admin.creations().is_empty());
}

#[tokio::test]
async fn what_the_catalogue_refuses_has_its_own_code() {
    let with = esker_metadata_api::TopicName::new("a_b").unwrap();
    for (error, code) in [
        (CreateTopicError::Exists, 36),
        (CreateTopicError::Collides { with }, 17),
        (CreateTopicError::TooManyPartitions, 37),
        (CreateTopicError::TooManyTopics, 44),
        (CreateTopicError::Metadata(MetadataError::Unknown), 7),
        (CreateTopicError::Metadata(MetadataError::Unavailable), 7),
        (CreateTopicError::Metadata(MetadataError::Deposed), 7),
    ] {
        let world = world();
        world.admin.fail_next_creation(error.clone());

        let result = create(&world, wanted("a.b", 1, 1)).await;

        assert_eq!(result.error_code, code, "{error}");
        assert!(result.error_message.is_some_and(|words| !words.is_empty()));
    }
    let world = world();
    world.admin.add(topic("t", 1, 1));
    let again = create(&world, wanted("t", 1, 1)).await;
    assert_eq!(again.error_code, 36);
    let words = again.error_message.unwrap();
    assert_eq!(words.as_str(), "Topic 't' already exists.");
}

#[tokio::test]
async fn manual_assignments_count_for_their_partitions_and_replicas() {
    let world = world();
    let topic = wanted("t", -1, -1).with_assignments(vec![
        assigned(2, &[7, 1]),
        assigned(0, &[1, 2]),
        assigned(1, &[2, 7]),
    ]);

    let result = create(&world, topic).await;

    assert_eq!(
        (
            result.error_code,
            result.num_partitions,
            result.replication_factor
        ),
        (0, 3, 2)
    );
}

#[tokio::test]
async fn assignments_that_contradict_themselves_are_refused() {
    let world = world();
    let with = |partitions, factor, assignments: &[(i32, &[i32])]| {
        let assignments = assignments
            .iter()
            .map(|(index, brokers)| assigned(*index, brokers));
        wanted("t", partitions, factor).with_assignments(assignments.collect())
    };
    for (topic, code) in [
        (with(1, -1, &[(0, &[1])]), 42),
        (with(-1, 1, &[(0, &[1])]), 42),
        (with(-1, -1, &[(1, &[1])]), 39),
        (with(-1, -1, &[(0, &[1]), (0, &[1])]), 39),
        (with(-1, -1, &[(-1, &[1]), (0, &[1])]), 39),
        (with(-1, -1, &[(0, &[])]), 39),
        (with(-1, -1, &[(0, &[1, 1])]), 39),
        (with(-1, -1, &[(0, &[-1])]), 39),
        (with(-1, -1, &[(0, &[1]), (1, &[1, 2])]), 39),
    ] {
        let shown = format!("{topic:?}");
        assert_eq!(create(&world, topic).await.error_code, code, "{shown}");
    }
    assert!(world.admin.creations().is_empty());
}

#[tokio::test]
async fn settings_are_checked_by_kafkas_rules_and_the_answer_says_what_is_wrong() {
    let world = world();
    for (key, value, words) in [
        ("nonsense", Some("1"), "unknown topic config name: nonsense"),
        (
            "retention.ms",
            None,
            "null value is not allowed for topic config: retention.ms",
        ),
        (
            "segment.bytes",
            Some("14"),
            "invalid value for configuration segment.bytes: value must be at least 1048576",
        ),
        (
            "cleanup.policy",
            Some("none"),
            "invalid value for configuration cleanup.policy: \
             string must be one of: compact, delete",
        ),
        ("min.compaction.lag.ms", Some("9223372036854775807"), ""),
    ] {
        let topic = wanted(&format!("t-{key}"), 1, 1).with_configs(vec![setting(key, value)]);
        let result = create(&world, topic).await;
        if words.is_empty() {
            assert_eq!(result.error_code, 0, "the bound itself is allowed");
            continue;
        }
        assert_eq!(
            (result.error_code, result.error_message),
            (40, Some(text(words)))
        );
    }
    let crossed = vec![
        setting("min.compaction.lag.ms", Some("5")),
        setting("max.compaction.lag.ms", Some("4")),
    ];
    let result = create(&world, wanted("t", 1, 1).with_configs(crossed)).await;
    assert_eq!(result.error_code, 40);
    assert!(
        result
            .error_message
            .unwrap()
            .starts_with("topic configs contradict each other: ")
    );
    let long = "x".repeat(5000);
    let result = create(
        &world,
        wanted("t", 1, 1).with_configs(vec![setting(&long, None)]),
    )
    .await;
    assert!(
        result.error_message.unwrap().len() < 200,
        "foreign text is cut"
    );
    assert!(!world.admin.has("t"));
}

#[tokio::test]
async fn a_setting_that_comes_twice_counts_as_it_came_last() {
    let world = world();
    let twice = vec![
        setting("retention.ms", Some("1")),
        setting("retention.ms", Some("2")),
    ];

    let result = create(&world, wanted("t", 1, 1).with_configs(twice)).await;

    assert_eq!(result.error_code, 0);
    assert_eq!(world.admin.creations()[0].configs["retention.ms"], "2");
}

#[tokio::test]
async fn validation_creates_nothing_and_answers_as_if_it_had() {
    let world = world();
    let asked = request(vec![wanted("t", 3, 1), wanted("a/b", 1, 1)]).with_validate_only(true);

    for version in versions(Api::CreateTopics) {
        let response = ask(&world, version, asked.clone()).await;
        let codes: Vec<i16> = response
            .topics
            .iter()
            .map(|topic| topic.error_code)
            .collect();
        assert_eq!(codes, [0, 17]);
        assert!(!world.admin.has("t"));
    }
    assert!(
        world
            .admin
            .creations()
            .iter()
            .all(|creation| creation.validate_only)
    );
}

#[tokio::test]
async fn a_name_that_comes_twice_is_refused_once_and_nothing_is_created_for_it() {
    let world = world();
    let topics = vec![wanted("t", 1, 1), wanted("other", 1, 1), wanted("t", 2, 1)];

    let response = ask(&world, 7, request(topics)).await;

    let results: Vec<(&str, i16)> = response
        .topics
        .iter()
        .map(|topic| (topic.name.as_str(), topic.error_code))
        .collect();
    assert_eq!(results, [("t", 42), ("other", 0)]);
    assert!(!world.admin.has("t") && world.admin.has("other"));
}

#[tokio::test]
async fn many_topics_are_created_at_once_and_answered_in_order() {
    let world = world();
    let count = i32::try_from(TOPIC_CHANGES_PARALLEL).unwrap() + 5;
    let topics = (1..=count).map(|partitions| wanted(&format!("t{partitions}"), partitions, 1));

    let response = ask(&world, 5, request(topics.collect())).await;

    let counts: Vec<i32> = response
        .topics
        .iter()
        .map(|topic| topic.num_partitions)
        .collect();
    assert_eq!(counts, (1..=count).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_a_metadata_leader_nothing_is_begun_and_clients_look_for_the_controller() {
    for (error, code) in [
        (MetadataError::Recovering, 41),
        (MetadataError::Unavailable, 41),
        (MetadataError::Deposed, 41),
        (MetadataError::Overloaded, 41),
        (MetadataError::Unknown, 7),
    ] {
        let world = world();
        world.admin.fail_current(error);
        let topics = vec![wanted("t", 1, 1), wanted("u", 0, 1)];

        let response = ask(&world, 7, request(topics)).await;

        let codes: Vec<i16> = response
            .topics
            .iter()
            .map(|topic| topic.error_code)
            .collect();
        assert_eq!(codes, [code, 37]);
        assert!(world.admin.creations().is_empty());
    }
}

#[tokio::test]
async fn requests_that_are_refused_as_a_whole_cost_no_metadata_call() {
    let world = world();

    ask(&world, 7, request(vec![wanted("a/b", 1, 1)])).await;

    assert_eq!(world.admin.current_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_of_the_request_the_outcome_is_unknown() {
    let world = world();
    world.admin.hang();
    let begun = tokio::time::Instant::now();

    let response = ask(
        &world,
        7,
        request(vec![wanted("t", 1, 1), wanted("u", 1, 1)]),
    )
    .await;

    let codes: Vec<i16> = response
        .topics
        .iter()
        .map(|topic| topic.error_code)
        .collect();
    assert_eq!(codes, [7, 7]);
    assert_eq!(begun.elapsed().as_secs(), 5);
    for (asked, waited) in [
        (0, METADATA_TIMEOUT),
        (-1, METADATA_TIMEOUT),
        (i32::MAX, REQUEST_TIMEOUT_MAX),
    ] {
        let begun = tokio::time::Instant::now();
        let late = request(vec![wanted("t", 1, 1)]).with_timeout_ms(asked);
        assert_eq!(ask(&world, 7, late).await.topics[0].error_code, 7);
        assert_eq!(begun.elapsed().as_secs(), waited.as_secs(), "{asked}");
    }
}
