//! DescribeConfigs, all versions.

use esker_admin::AdminConfig;
use esker_kafka::messages::describe_configs_request::DescribeConfigsResource;
use esker_kafka::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use esker_kafka::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use esker_kafka::{Api, Request};
use esker_metadata_api::MetadataError;
use esker_metadata_api::configs::TOPIC_CONFIGS;

use crate::wire::{World, body, pod, text, topic, versions, world, world_of};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn resource(resource_type: i8, name: &str) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configuration_keys(None)
}

async fn ask(
    world: &World,
    version: i16,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let response = world.ask(version, Request::DescribeConfigs(request)).await;
    body!(DescribeConfigs, response)
}

async fn describe(
    world: &World,
    version: i16,
    resource: DescribeConfigsResource,
) -> DescribeConfigsResult {
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    ask(world, version, request).await.results.remove(0)
}

fn find<'a>(result: &'a DescribeConfigsResult, key: &str) -> &'a DescribeConfigsResourceResult {
    let found = result
        .configs
        .iter()
        .find(|config| config.name.as_str() == key);
    found.unwrap_or_else(|| panic!("{key} is missing"))
}

fn with_retention() -> World {
    let world = world();
    let mut topic = topic("t", 1, 1);
    topic
        .configs
        .insert(String::from("retention.ms"), String::from("1000"));
    world.admin.add(topic);
    world
}

#[tokio::test]
async fn every_setting_of_a_topic_is_described_in_every_version() {
    let world = with_retention();
    for version in versions(Api::DescribeConfigs) {
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource(TOPIC, "t")])
            .with_include_documentation(version >= 3);

        let result = ask(&world, version, request).await.results.remove(0);

        assert_eq!((result.error_code, &result.error_message), (0, &None));
        assert_eq!(
            (result.resource_type, result.resource_name.as_str()),
            (TOPIC, "t")
        );
        let names: Vec<&str> = result
            .configs
            .iter()
            .map(|config| config.name.as_str())
            .collect();
        let all: Vec<&str> = TOPIC_CONFIGS
            .iter()
            .map(|definition| definition.name)
            .collect();
        assert_eq!(names, all);
        for (config, definition) in result.configs.iter().zip(TOPIC_CONFIGS) {
            let is_set = definition.name == "retention.ms";
            let value = if is_set { "1000" } else { definition.default };
            assert_eq!(config.value, Some(text(value)));
            assert_eq!(config.config_source, if is_set { 1 } else { 5 });
            assert!(!config.read_only && !config.is_sensitive && config.synonyms.is_empty());
            let documentation = (version >= 3).then(|| text(definition.documentation));
            assert_eq!(
                config
                    .documentation
                    .clone()
                    .filter(|words| !words.is_empty()),
                documentation
            );
        }
        let types = [
            "preallocate",
            "compression.type",
            "segment.bytes",
            "retention.ms",
        ];
        let types = types.map(|key| find(&result, key).config_type);
        assert_eq!(types, if version >= 3 { [1, 2, 3, 5] } else { [0; 4] });
        if version >= 3 {
            assert_eq!(find(&result, "min.cleanable.dirty.ratio").config_type, 6);
            assert_eq!(find(&result, "cleanup.policy").config_type, 7);
        }
    }
}

#[tokio::test]
async fn synonyms_are_told_when_asked_for_in_the_order_in_which_they_count() {
    let world = with_retention();
    for version in versions(Api::DescribeConfigs) {
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource(TOPIC, "t"), resource(BROKER, "1")])
            .with_include_synonyms(true);

        let response = ask(&world, version, request).await;

        let synonyms = |result: usize, key: &str| -> Vec<(String, String, i8)> {
            let synonyms = &find(&response.results[result], key).synonyms;
            let one = |synonym: &DescribeConfigsSynonym| {
                let value = synonym.value.clone().unwrap_or_default();
                (synonym.name.to_string(), value.to_string(), synonym.source)
            };
            synonyms.iter().map(one).collect()
        };
        let own = (String::from("retention.ms"), String::from("1000"), 1);
        let broker = (
            String::from("log.retention.ms"),
            String::from("604800000"),
            5,
        );
        assert_eq!(synonyms(0, "retention.ms"), [own]);
        let tombstones = (
            String::from("log.cleaner.delete.retention.ms"),
            String::from("86400000"),
            5,
        );
        assert_eq!(synonyms(0, "delete.retention.ms"), [tombstones]);
        assert_eq!(
            synonyms(0, "segment.ms"),
            [],
            "Kafka's broker leaves it open"
        );
        assert_eq!(synonyms(0, "remote.storage.enable"), []);
        assert_eq!(synonyms(1, "log.retention.ms"), [broker]);
    }
}

#[tokio::test]
async fn documentation_is_null_unless_asked_for() {
    let world = with_retention();

    let result = describe(&world, 4, resource(TOPIC, "t")).await;

    assert!(
        result
            .configs
            .iter()
            .all(|config| config.documentation.is_none())
    );
}

#[tokio::test]
async fn keys_filter_and_null_or_empty_lists_do_not() {
    let world = with_retention();
    let keys = |keys: &[&str]| Some(keys.iter().map(|key| text(key)).collect());
    let some = resource(TOPIC, "t").with_configuration_keys(keys(&[
        "retention.ms",
        "nonsense",
        "cleanup.policy",
    ]));
    let none = resource(TOPIC, "t").with_configuration_keys(keys(&[]));
    let broker = resource(BROKER, "1").with_configuration_keys(keys(&["num.partitions"]));

    let some = describe(&world, 4, some).await;
    let none = describe(&world, 4, none).await;
    let broker = describe(&world, 4, broker).await;

    let names: Vec<&str> = some
        .configs
        .iter()
        .map(|config| config.name.as_str())
        .collect();
    assert_eq!(names, ["cleanup.policy", "retention.ms"]);
    assert_eq!(none.configs.len(), TOPIC_CONFIGS.len());
    assert_eq!(broker.configs.len(), 1);
}

#[tokio::test]
async fn a_broker_shows_what_it_was_started_with() {
    let config = AdminConfig {
        partition_count_default: 4,
        ..AdminConfig::default()
    };
    let world = world_of(config, pod(7, Some("zone-a")), Vec::new());
    for version in versions(Api::DescribeConfigs) {
        let result = describe(&world, version, resource(BROKER, "7")).await;

        assert_eq!(result.error_code, 0);
        for (key, value, source) in [
            ("num.partitions", "4", 4),
            ("auto.create.topics.enable", "true", 4),
            ("broker.id", "7", 4),
            ("broker.rack", "zone-a", 4),
            ("default.replication.factor", "1", 4),
            ("advertised.listeners", "PLAINTEXT://127.0.0.1:9092", 4),
            ("delete.topic.enable", "true", 5),
            ("message.max.bytes", "1048588", 5),
            ("log.retention.ms", "604800000", 5),
            ("inter.broker.protocol.version", "4.1-IV1", 5),
        ] {
            let config = find(&result, key);
            assert_eq!(
                (&config.value, config.config_source),
                (&Some(text(value)), source),
                "{key}"
            );
            let is_dynamic = ["message.max.bytes", "log.retention.ms"].contains(&key);
            assert_eq!(config.read_only, !is_dynamic, "{key}");
        }
    }
    let asked = versions(Api::DescribeConfigs).count();
    assert_eq!(
        world.admin.current_calls(),
        asked,
        "a setting may have been changed elsewhere"
    );
}

#[tokio::test]
async fn a_broker_without_a_rack_shows_null() {
    let result = describe(&world(), 4, resource(BROKER, "1")).await;

    assert_eq!(find(&result, "broker.rack").value, None);
}

#[tokio::test]
async fn settings_of_all_brokers_at_once_are_none() {
    let result = describe(&world(), 4, resource(BROKER, "")).await;

    assert_eq!((result.error_code, result.configs.len()), (0, 0));
}

#[tokio::test]
async fn resources_that_are_not_there_are_refused_each_for_itself() {
    let world = with_retention();
    let resources = [
        (TOPIC, "absent", 3),
        (TOPIC, "a/b", 17),
        (TOPIC, "t", 0),
        (BROKER, "2", 42),
        (BROKER, "one", 42),
        (8, "1", 42),
        (16, "metrics", 42),
        (32, "group", 42),
        (0, "", 42),
        (-1, "", 42),
    ];
    for version in versions(Api::DescribeConfigs) {
        let asked = resources
            .map(|(kind, name, _)| resource(kind, name))
            .to_vec();
        let request = DescribeConfigsRequest::default().with_resources(asked);

        let response = ask(&world, version, request).await;

        for (result, (kind, name, code)) in response.results.iter().zip(resources) {
            assert_eq!(
                (result.resource_type, result.resource_name.as_str()),
                (kind, name)
            );
            assert_eq!(result.error_code, code, "{kind} {name}");
            assert_eq!(result.error_message.is_some(), code != 0);
            assert_eq!(result.configs.is_empty(), code != 0);
        }
    }
}

#[tokio::test]
async fn a_topic_is_unknown_only_in_a_current_table() {
    let lagging = world();
    lagging.admin.lag();
    lagging.admin.add(topic("new", 1, 1));
    let leaderless = world();
    leaderless.admin.fail_current(MetadataError::Recovering);

    assert_eq!(
        describe(&lagging, 4, resource(TOPIC, "new"))
            .await
            .error_code,
        0
    );
    assert_eq!(
        describe(&leaderless, 4, resource(TOPIC, "new"))
            .await
            .error_code,
        7
    );
    assert_eq!(
        describe(&leaderless, 4, resource(BROKER, "1"))
            .await
            .error_code,
        0
    );
}
