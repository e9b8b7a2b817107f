//! IncrementalAlterConfigs and AlterConfigs, all versions, and what DescribeConfigs shows after.

use std::collections::BTreeMap;

use esker_kafka::messages::alter_configs_request;
use esker_kafka::messages::describe_configs_request::DescribeConfigsResource;
use esker_kafka::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use esker_kafka::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use esker_kafka::{Api, Request};
use esker_metadata_api::limits::CONFIG_VALUE_BYTES_MAX;
use esker_metadata_api::{AlterTopicError, MetadataError};

use crate::wire::{World, body, text, topic, versions, world};

const TOPIC: i8 = 2;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

type Row<'a> = (&'a str, i8, Option<&'a str>);

fn resource(kind: i8, name: &str, rows: &[Row<'_>]) -> AlterConfigsResource {
    let one = |(key, operation, value): &Row<'_>| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(rows.iter().map(one).collect())
}

async fn send(
    world: &World,
    version: i16,
    resources: Vec<AlterConfigsResource>,
    validate_only: bool,
) -> IncrementalAlterConfigsResponse {
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(resources)
        .with_validate_only(validate_only);
    body!(
        IncrementalAlterConfigs,
        world
            .ask(version, Request::IncrementalAlterConfigs(request))
            .await
    )
}

async fn alter(world: &World, rows: &[Row<'_>]) -> i16 {
    let response = send(world, 1, vec![resource(TOPIC, "t", rows)], false).await;
    assert_eq!(response.responses.len(), 1);
    response.responses[0].error_code
}

fn configs(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    rows.iter().map(own).collect()
}

fn world_with_topic(rows: &[(&str, &str)]) -> World {
    let world = world();
    let mut topic = topic("t", 1, 1);
    topic.configs = configs(rows);
    world.admin.add(topic);
    world
}

#[tokio::test]
async fn settings_are_set_and_deleted_in_every_version_and_shown_as_the_topics_own() {
    for version in versions(Api::IncrementalAlterConfigs) {
        let world = world_with_topic(&[("flush.ms", "5")]);
        let rows = [
            ("retention.ms", SET, Some(" 1000 ")),
            ("flush.ms", DELETE, None),
            ("segment.ms", DELETE, None),
        ];

        let response = send(&world, version, vec![resource(TOPIC, "t", &rows)], false).await;

        let answer = &response.responses[0];
        assert_eq!((answer.error_code, &answer.error_message), (0, &None));
        assert_eq!(
            (answer.resource_type, answer.resource_name.as_str()),
            (TOPIC, "t")
        );
        assert_eq!(
            world.admin.topic("t").configs,
            configs(&[("retention.ms", "1000")])
        );
        assert_eq!(shown(&world, "retention.ms").await, ("1000".to_owned(), 1));
        assert_eq!(shown(&world, "flush.ms").await.1, 5);
    }
}

/// The value and the number of its source.
async fn shown(world: &World, key: &str) -> (String, i8) {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text("t"))
        .with_configuration_keys(Some(vec![text(key)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response = body!(
        DescribeConfigs,
        world.ask(4, Request::DescribeConfigs(request)).await
    );
    let config = &response.results[0].configs[0];
    let value = config.value.as_ref().unwrap().to_string();
    (value, config.config_source)
}

#[tokio::test]
async fn lists_are_appended_to_and_subtracted_from_default_included() {
    for (before, operation, words, after) in [
        (&[][..], APPEND, "compact", "delete,compact"),
        (
            &[("cleanup.policy", "compact")],
            APPEND,
            "compact",
            "compact",
        ),
        (
            &[("cleanup.policy", "compact,delete")],
            SUBTRACT,
            "delete",
            "compact",
        ),
        (
            &[("cleanup.policy", "compact")],
            SUBTRACT,
            "delete",
            "compact",
        ),
    ] {
        let world = world_with_topic(before);

        let code = alter(&world, &[("cleanup.policy", operation, Some(words))]).await;

        assert_eq!(code, 0);
        assert_eq!(shown(&world, "cleanup.policy").await.0, after);
    }
}

#[tokio::test]
async fn what_kafka_refuses_is_refused_and_nothing_of_the_resource_changes() {
    let good = ("retention.ms", SET, Some("7"));
    let cases: [(Row<'_>, i16); 11] = [
        (("nonsense", SET, Some("1")), 40),
        (("segment.ms", SET, Some("0")), 40),
        (("segment.ms", SET, Some("soon")), 40),
        (("cleanup.policy", APPEND, Some("burn")), 40),
        (("segment.ms", APPEND, Some("1")), 40),
        (("compression.type", SUBTRACT, Some("gzip")), 40),
        (
            ("min.compaction.lag.ms", SET, Some("9223372036854775807")),
            0,
        ),
        (("segment.ms", SET, None), 42),
        (("cleanup.policy", APPEND, None), 42),
        (("segment.ms", 9, Some("1")), 42),
        (("retention.ms", SET, Some("8")), 42),
    ];
    for (row, expected) in cases {
        let world = world_with_topic(&[]);

        let code = alter(&world, &[good, row]).await;

        assert_eq!(code, expected, "{row:?}");
        let changed = !world.admin.topic("t").configs.is_empty();
        assert_eq!(changed, expected == 0, "{row:?}");
    }
    let world = world_with_topic(&[("max.compaction.lag.ms", "10")]);
    let crossing = alter(&world, &[("min.compaction.lag.ms", SET, Some("11"))]).await;
    assert_eq!(crossing, 40);
}

#[tokio::test]
async fn a_list_that_grows_too_long_is_refused() {
    let replicas = format!("1:{}", "1".repeat(CONFIG_VALUE_BYTES_MAX - 4));
    let key = "leader.replication.throttled.replicas";
    let world = world_with_topic(&[(key, &replicas)]);

    let fits = alter(&world, &[(key, APPEND, Some(&replicas))]).await;
    let too_long = alter(&world, &[(key, APPEND, Some("2:2"))]).await;

    assert_eq!((fits, too_long), (0, 40));
}

#[tokio::test]
async fn topics_that_do_not_exist_and_other_resources_are_refused() {
    let world = world_with_topic(&[]);
    let row = [("retention.ms", SET, Some("7"))];
    let resources = vec![
        resource(TOPIC, "absent", &row),
        resource(TOPIC, "a/b", &row),
        resource(TOPIC, "", &row),
        resource(8, "1", &row),
        resource(TOPIC, "t", &row),
        resource(TOPIC, "t", &row),
    ];

    let response = send(&world, 1, resources, false).await;

    let codes: Vec<i16> = response
        .responses
        .iter()
        .map(|row| row.error_code)
        .collect();
    assert_eq!(codes, [3, 17, 42, 42, 42, 42]);
}

#[tokio::test]
async fn a_check_changes_nothing() {
    let world = world_with_topic(&[]);
    let good = resource(TOPIC, "t", &[("retention.ms", SET, Some("7"))]);
    let bad = resource(TOPIC, "absent", &[("retention.ms", SET, Some("7"))]);

    let response = send(&world, 1, vec![good, bad], true).await;

    let codes: Vec<i16> = response
        .responses
        .iter()
        .map(|row| row.error_code)
        .collect();
    assert_eq!(codes, [0, 3]);
    assert!(world.admin.topic("t").configs.is_empty());
}

#[tokio::test]
async fn a_change_that_was_overtaken_is_worked_out_again() {
    let world = world_with_topic(&[]);
    world
        .admin
        .be_overtaken(configs(&[("retention.ms", "3"), ("flush.ms", "4")]));

    let code = alter(&world, &[("retention.ms", SET, Some("7"))]).await;

    assert_eq!(code, 0);
    assert_eq!(
        world.admin.topic("t").configs,
        configs(&[("retention.ms", "7"), ("flush.ms", "4")])
    );
    assert_eq!(world.admin.alterations().len(), 2);
}

#[tokio::test]
async fn one_that_is_overtaken_again_and_again_is_told_to_come_back() {
    let world = world_with_topic(&[]);
    let tries = esker_admin::limits::CONFIG_CHANGE_TRIES_MAX;
    for number in 0..=tries {
        let value = number.to_string();
        world.admin.be_overtaken(configs(&[("flush.ms", &value)]));
    }

    let code = alter(&world, &[("retention.ms", SET, Some("7"))]).await;

    assert_eq!(code, 7);
    assert_eq!(world.admin.alterations().len(), tries);
}

#[tokio::test]
async fn what_the_catalogue_answers_is_told_in_the_clients_terms() {
    for (error, code) in [
        (AlterTopicError::Unknown, 3),
        (AlterTopicError::Metadata(MetadataError::Unknown), 7),
    ] {
        let world = world_with_topic(&[]);
        world.admin.fail_next_alteration(error);

        assert_eq!(
            alter(&world, &[("retention.ms", SET, Some("7"))]).await,
            code
        );
    }
    let world = world_with_topic(&[]);
    world.admin.fail_current(MetadataError::Deposed);
    assert_eq!(alter(&world, &[("retention.ms", SET, Some("7"))]).await, 41);
}

async fn replace(
    world: &World,
    version: i16,
    rows: &[(&str, Option<&str>)],
) -> AlterConfigsResponse {
    let one = |(key, value): &(&str, Option<&str>)| {
        alter_configs_request::AlterableConfig::default()
            .with_name(text(key))
            .with_value(value.map(text))
    };
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text("t"))
        .with_configs(rows.iter().map(one).collect());
    let request = AlterConfigsRequest::default().with_resources(vec![resource]);
    body!(
        AlterConfigs,
        world.ask(version, Request::AlterConfigs(request)).await
    )
}

#[tokio::test]
async fn the_older_request_replaces_all_settings_in_every_version() {
    for version in versions(Api::AlterConfigs) {
        let world = world_with_topic(&[("flush.ms", "5"), ("retention.ms", "5")]);

        let good = replace(&world, version, &[("retention.ms", Some("9"))]).await;
        let unknown = replace(&world, version, &[("nonsense", Some("9"))]).await;
        let null = replace(&world, version, &[("retention.ms", None)]).await;

        assert_eq!(good.responses[0].error_code, 0);
        assert_eq!(good.responses[0].resource_name.as_str(), "t");
        assert_eq!(unknown.responses[0].error_code, 40);
        assert_eq!(null.responses[0].error_code, 42);
        assert_eq!(
            world.admin.topic("t").configs,
            configs(&[("retention.ms", "9")])
        );
    }
}
