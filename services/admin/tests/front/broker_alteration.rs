//! Settings of brokers that change while they run: who may be given what, and what is shown then.

use std::collections::BTreeMap;

use esker_kafka::messages::create_topics_request::CreatableTopic;
use esker_kafka::messages::describe_configs_request::DescribeConfigsResource;
use esker_kafka::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use esker_kafka::messages::{
    AlterConfigsRequest, CreateTopicsRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, alter_configs_request,
};
use esker_kafka::{Api, Request};
use esker_metadata_api::{AlterBrokerError, BrokerScope, MetadataError};

use crate::wire::{World, body, name, text, topic, versions, world};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

type Row<'a> = (&'a str, i8, Option<&'a str>);

async fn send(world: &World, version: i16, broker: &str, rows: &[Row<'_>], check: bool) -> i16 {
    let one = |(key, operation, value): &Row<'_>| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text(broker))
        .with_configs(rows.iter().map(one).collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(check);
    let request = Request::IncrementalAlterConfigs(request);
    let response = body!(IncrementalAlterConfigs, world.ask(version, request).await);
    let row = &response.responses[0];
    assert_eq!(row.error_message.is_some(), row.error_code != 0);
    row.error_code
}

async fn alter(world: &World, broker: &str, rows: &[Row<'_>]) -> i16 {
    send(world, 1, broker, rows, false).await
}

async fn replace(world: &World, version: i16, broker: &str, rows: &[(&str, &str)]) -> i16 {
    let one = |(key, value): &(&str, &str)| {
        alter_configs_request::AlterableConfig::default()
            .with_name(text(key))
            .with_value(Some(text(value)))
    };
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text(broker))
        .with_configs(rows.iter().map(one).collect());
    let request = AlterConfigsRequest::default().with_resources(vec![resource]);
    let response = world.ask(version, Request::AlterConfigs(request)).await;
    body!(AlterConfigs, response).responses[0].error_code
}

/// Key, value and source of each setting shown, and whether it is read-only.
type Shown = BTreeMap<String, (String, i8, bool, Vec<(String, String, i8)>)>;

async fn shown(world: &World, kind: i8, resource: &str) -> Shown {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true);
    let response = world.ask(4, Request::DescribeConfigs(request)).await;
    let result = body!(DescribeConfigs, response).results.remove(0);
    assert_eq!(result.error_code, 0);
    let configs = result.configs.into_iter().map(|config| {
        let synonyms = config.synonyms.into_iter().map(|one| {
            let value = one.value.unwrap_or_default().to_string();
            (one.name.to_string(), value, one.source)
        });
        let value = config.value.unwrap_or_default().to_string();
        let row = (
            value,
            config.config_source,
            config.read_only,
            synonyms.collect(),
        );
        (config.name.to_string(), row)
    });
    configs.collect()
}

fn synonym(name: &str, value: &str, source: i8) -> (String, String, i8) {
    (name.to_owned(), value.to_owned(), source)
}

#[tokio::test]
async fn a_brokers_setting_beats_that_of_all_and_a_topics_own_beats_both() {
    for version in versions(Api::IncrementalAlterConfigs) {
        let world = world();
        let mut set = topic("set", 1, 1);
        set.configs.insert("retention.ms".into(), "5".into());
        world.admin.add(set);
        world.admin.add(topic("plain", 2, 1));
        let key = "log.retention.ms";

        let all = send(&world, version, "", &[(key, SET, Some(" 7 "))], false).await;
        let for_all = shown(&world, BROKER, "1").await[key].clone();
        let one = send(&world, version, "1", &[(key, SET, Some("9"))], false).await;
        let broker = shown(&world, BROKER, "1").await[key].clone();
        let plain = shown(&world, TOPIC, "plain").await["retention.ms"].clone();
        let set = shown(&world, TOPIC, "set").await["retention.ms"].clone();

        assert_eq!((all, one), (0, 0));
        let default = synonym(key, "604800000", 5);
        let (given_all, given_one) = (synonym(key, "7", 3), synonym(key, "9", 2));
        let synonyms = vec![given_all.clone(), default.clone()];
        assert_eq!(for_all, ("7".into(), 3, false, synonyms));
        let synonyms = vec![given_one.clone(), given_all.clone(), default];
        assert_eq!(broker, ("9".into(), 2, false, synonyms));
        let synonyms = vec![given_one.clone(), given_all.clone()];
        assert_eq!(plain, ("9".into(), 2, false, synonyms));
        let synonyms = vec![synonym("retention.ms", "5", 1), given_one, given_all];
        assert_eq!(set, ("5".into(), 1, false, synonyms));
    }
}

#[tokio::test]
async fn what_all_brokers_were_given_is_shown_alone_and_goes_again() {
    let world = world();
    let rows = [
        ("log.cleanup.policy", APPEND, Some("compact")),
        ("message.max.bytes", SET, Some("1000")),
    ];

    let set = alter(&world, "", &rows).await;
    let given = shown(&world, BROKER, "").await;
    let deleted = alter(&world, "", &[("message.max.bytes", DELETE, None)]).await;
    let left = shown(&world, BROKER, "").await;

    assert_eq!((set, deleted), (0, 0));
    let keys: Vec<&str> = given.keys().map(String::as_str).collect();
    assert_eq!(keys, ["log.cleanup.policy", "message.max.bytes"]);
    assert_eq!(given["log.cleanup.policy"].0, "delete,compact");
    let synonyms = vec![synonym("message.max.bytes", "1000", 3)];
    assert_eq!(
        given["message.max.bytes"],
        ("1000".into(), 3, false, synonyms)
    );
    assert_eq!(left.len(), 1);
}

#[tokio::test]
async fn a_created_topic_tells_what_brokers_were_given() {
    let world = world();
    alter(&world, "", &[("message.max.bytes", SET, Some("1000"))]).await;
    let asked = CreatableTopic::default()
        .with_name(name("new"))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![asked]);

    let response = world.ask(7, Request::CreateTopics(request)).await;

    let configs = body!(CreateTopics, response).topics.remove(0).configs;
    let configs = configs.unwrap_or_default();
    let told = |key: &str| {
        let config = configs.iter().find(|config| config.name.as_str() == key);
        let config = config.unwrap();
        (config.value.clone(), config.config_source)
    };
    assert_eq!(told("max.message.bytes"), (Some(text("1000")), 3));
    assert_eq!(told("retention.ms").1, 5);
}

#[tokio::test]
async fn what_is_set_at_the_start_other_brokers_and_bad_values_are_refused() {
    let world = world();
    let retention = ("log.retention.ms", SET, Some("7"));
    for (broker, row, code) in [
        ("1", ("node.id", SET, Some("7")), 42),
        ("", ("num.partitions", SET, Some("7")), 42),
        ("1", ("nonsense", SET, Some("7")), 40),
        // A topic's name of it is no broker's.
        ("1", ("retention.ms", SET, Some("7")), 40),
        ("1", ("log.retention.ms", SET, Some("soon")), 42),
        ("1", ("log.retention.ms", APPEND, Some("7")), 40),
        ("1", ("log.retention.ms", SET, None), 42),
        ("", ("log.cleaner.min.compaction.lag.ms", SET, Some("5")), 0),
        (
            "",
            ("log.cleaner.max.compaction.lag.ms", SET, Some("4")),
            42,
        ),
        ("2", retention, 42),
        ("one", retention, 42),
        ("1", ("nonsense", DELETE, None), 0),
    ] {
        assert_eq!(
            alter(&world, broker, &[row]).await,
            code,
            "{broker} {row:?}"
        );
    }
    let twice = alter(&world, "1", &[retention, retention]).await;
    let nothing = alter(&world, "1", &[]).await;

    assert_eq!((twice, nothing), (42, 0));
    assert!(world.admin.broker_configs(BrokerScope::Node(1)).is_empty());
}

#[tokio::test]
async fn a_check_changes_no_broker() {
    let world = world();
    let good = [("log.retention.ms", SET, Some("7"))];
    let bad = [("log.retention.ms", SET, Some("soon"))];

    let good = send(&world, 1, "", &good, true).await;
    let bad = send(&world, 1, "", &bad, true).await;

    assert_eq!((good, bad), (0, 42));
    assert!(world.admin.broker_configs(BrokerScope::All).is_empty());
}

#[tokio::test]
async fn the_older_request_replaces_all_that_a_broker_was_given_in_every_version() {
    for version in versions(Api::AlterConfigs) {
        let world = world();
        alter(&world, "1", &[("log.retention.ms", SET, Some("7"))]).await;

        let good = replace(&world, version, "1", &[("log.roll.ms", "9")]).await;
        let fixed = replace(&world, version, "1", &[("broker.id", "9")]).await;

        assert_eq!((good, fixed), (0, 42));
        let left = BTreeMap::from([("log.roll.ms".to_owned(), "9".to_owned())]);
        assert_eq!(world.admin.broker_configs(BrokerScope::Node(1)), left);
    }
}

#[tokio::test]
async fn a_change_that_was_overtaken_is_worked_out_again_and_trouble_is_told() {
    let retention = [("log.retention.ms", SET, Some("7"))];
    for (error, code) in [
        (AlterBrokerError::Changed, 0),
        (AlterBrokerError::TooManyBrokers, 44),
        (AlterBrokerError::Metadata(MetadataError::Unknown), 7),
    ] {
        let world = world();
        world.admin.fail_next_broker_alteration(error);

        assert_eq!(alter(&world, "1", &retention).await, code, "{error}");
    }
    let world = world();
    world.admin.hang();
    world.admin.fail_current(MetadataError::Deposed);
    assert_eq!(alter(&world, "1", &retention).await, 41);
}
