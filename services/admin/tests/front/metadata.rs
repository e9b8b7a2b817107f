//! Metadata, all versions.

use esker_admin::AdminConfig;
use esker_kafka::messages::metadata_request::MetadataRequestTopic;
use esker_kafka::messages::{MetadataRequest, MetadataResponse};
use esker_kafka::{Api, Request};
use esker_metadata_api::{CreateTopicError, MetadataError};

use crate::wire::{
    World, body, name, pod, text, topic, topic_id, uuid, versions, world, world_of, world_with,
};

fn by_name(names: &[&str]) -> MetadataRequest {
    let one = |wanted: &&str| MetadataRequestTopic::default().with_name(Some(name(wanted)));
    MetadataRequest::default()
        .with_topics(Some(names.iter().map(one).collect()))
        .with_allow_auto_topic_creation(false)
}

fn by_id(ids: &[u8]) -> MetadataRequest {
    let one = |id: &u8| {
        MetadataRequestTopic::default()
            .with_name(None)
            .with_topic_id(uuid(*id))
    };
    by_name(&[]).with_topics(Some(ids.iter().map(one).collect()))
}

async fn ask(world: &World, version: i16, mut request: MetadataRequest) -> MetadataResponse {
    if version < 4 {
        // The codec refuses to write what the version lacks; it reads back as "allowed".
        request.allow_auto_topic_creation = true;
    }
    body!(
        Metadata,
        world.ask(version, Request::Metadata(request)).await
    )
}

fn no_auto_create() -> World {
    world_with(AdminConfig {
        auto_create_topics: false,
        ..AdminConfig::default()
    })
}

/// Name and error code of each topic of an answer.
fn codes(response: &MetadataResponse) -> Vec<(String, i16)> {
    let one = |topic: &esker_kafka::messages::metadata_response::MetadataResponseTopic| {
        let name = topic.name.as_ref().map_or("null", |name| name.as_str());
        (name.to_owned(), topic.error_code)
    };
    response.topics.iter().map(one).collect()
}

#[tokio::test]
async fn every_version_names_brokers_controller_cluster_and_partitions() {
    let config = AdminConfig {
        auto_create_topics: false,
        ..AdminConfig::default()
    };
    let world = world_of(config, pod(5, Some("zone-a")), Vec::new());
    world.admin.add(topic("t", 1, 3));

    for version in versions(Api::Metadata) {
        let response = ask(&world, version, by_name(&["t", "absent"])).await;

        let broker = &response.brokers[0];
        assert_eq!(
            (broker.node_id.0, broker.host.as_str(), broker.port),
            (5, "127.0.0.1", 9092)
        );
        assert_eq!(response.brokers.len(), 1);
        assert_eq!(broker.rack, (version >= 1).then(|| text("zone-a")));
        assert_eq!(response.controller_id.0, if version >= 1 { 5 } else { -1 });
        let cluster = response.cluster_id.map(|cluster| cluster.to_string());
        assert_eq!(
            cluster,
            (version >= 2).then(|| String::from("-_v7-_v7-_v7-_v7-_v7-w"))
        );
        assert_eq!(response.topics.len(), 2);
        let known = &response.topics[0];
        assert_eq!(
            (known.error_code, known.name.as_ref()),
            (0, Some(&name("t")))
        );
        assert_eq!(
            known.topic_id,
            if version >= 10 { uuid(1) } else { uuid(0) }
        );
        assert!(!known.is_internal);
        let indexes: Vec<i32> = known
            .partitions
            .iter()
            .map(|one| one.partition_index)
            .collect();
        assert_eq!(indexes, [0, 1, 2]);
        for partition in &known.partitions {
            assert_eq!((partition.error_code, partition.leader_id.0), (0, 5));
            assert_eq!(partition.leader_epoch, if version >= 7 { 0 } else { -1 });
            assert_eq!(partition.replica_nodes, [5]);
            assert_eq!(partition.isr_nodes, [5]);
            assert!(partition.offline_replicas.is_empty());
        }
        let unknown = &response.topics[1];
        assert_eq!(
            (unknown.error_code, unknown.name.as_ref()),
            (3, Some(&name("absent")))
        );
        assert!(unknown.partitions.is_empty());
    }
}

#[tokio::test]
async fn null_asks_for_all_topics_and_an_empty_list_for_none_but_in_version_0() {
    let world = world();
    world.admin.add(topic("b", 2, 1));
    world.admin.add(topic("a", 1, 1));

    for version in versions(Api::Metadata) {
        let all = by_name(&[]).with_topics((version == 0).then(Vec::new));
        let all = ask(&world, version, all).await;
        assert_eq!(
            codes(&all),
            [(String::from("a"), 0), (String::from("b"), 0)],
            "{version}"
        );
        if version > 0 {
            let none = ask(&world, version, by_name(&[])).await;
            assert!(
                none.topics.is_empty() && !none.brokers.is_empty(),
                "{version}"
            );
        }
    }
    assert_eq!(
        world.admin.current_calls(),
        0,
        "the cached table answers both"
    );
}

#[tokio::test]
async fn a_topic_that_a_lagging_table_lacks_is_looked_for_in_a_current_one() {
    let world = no_auto_create();
    world.admin.lag();
    world.admin.add(topic("new", 1, 1));

    let named = ask(&world, 12, by_name(&["new"])).await;
    let by_id = ask(&world, 12, by_id(&[1])).await;

    assert_eq!(codes(&named), [(String::from("new"), 0)]);
    assert_eq!(codes(&by_id), [(String::from("new"), 0)]);
    assert_eq!(world.admin.current_calls(), 2);
}

#[tokio::test]
async fn unknown_is_not_told_while_no_current_table_can_be_had() {
    for error in [
        MetadataError::Recovering,
        MetadataError::Unavailable,
        MetadataError::Unknown,
        MetadataError::Deposed,
        MetadataError::Overloaded,
    ] {
        let world = world();
        world.admin.add(topic("known", 1, 1));
        world.admin.fail_current(error);

        let named = by_name(&["known", "other", "a/b"]).with_allow_auto_topic_creation(true);
        let named = ask(&world, 9, named).await;
        let id = ask(&world, 12, by_id(&[9])).await;

        let codes: Vec<i16> = named.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, 5, 17], "{error}");
        assert_eq!(id.topics[0].error_code, 5);
        assert!(
            world.admin.creations().is_empty(),
            "what may exist is not created"
        );
    }
}

#[tokio::test]
async fn ids_are_looked_up_from_version_12_on_and_refused_before() {
    let world = no_auto_create();
    world.admin.add(topic("t", 1, 1));

    for version in 12..=13 {
        let response = ask(&world, version, by_id(&[1, 9, 0])).await;
        assert_eq!(codes(&response)[0], (String::from("t"), 0));
        assert_eq!(
            codes(&response)[1..],
            [(String::from("null"), 100), (String::from("null"), 100)]
        );
        assert_eq!(response.topics[1].topic_id, uuid(9));
    }
    for version in 10..=11 {
        let both = by_name(&[]).with_topics(Some(vec![
            MetadataRequestTopic::default()
                .with_name(Some(name("t")))
                .with_topic_id(uuid(1)),
            MetadataRequestTopic::default().with_name(None),
        ]));
        let response = ask(&world, version, both).await;
        assert_eq!(
            codes(&response),
            [(String::from("t"), 42), (String::new(), 42)]
        );
    }
}

#[tokio::test]
async fn a_topic_named_twice_is_answered_once() {
    let world = no_auto_create();
    world.admin.add(topic("t", 1, 1));

    let response = ask(&world, 9, by_name(&["t", "x", "t", "x"])).await;

    assert_eq!(
        codes(&response),
        [(String::from("t"), 0), (String::from("x"), 3)]
    );
}

#[tokio::test]
async fn topics_are_created_on_the_way_where_client_and_operator_allow_it() {
    for version in versions(Api::Metadata) {
        let world = world_with(AdminConfig {
            partition_count_default: 4,
            replication_factor_default: 3,
            ..AdminConfig::default()
        });
        let flags = if version < 4 {
            &[true][..]
        } else {
            &[false, true][..]
        };
        for allowed in flags {
            let request = by_name(&["fresh"]).with_allow_auto_topic_creation(*allowed);
            let response = ask(&world, version, request).await;

            assert_eq!(
                world.admin.has("fresh"),
                *allowed,
                "durable before it is told"
            );
            let topic = &response.topics[0];
            assert_eq!(topic.error_code, if *allowed { 0 } else { 3 });
            assert_eq!(topic.partitions.len(), if *allowed { 4 } else { 0 });
        }
        let creation = &world.admin.creations()[0];
        assert_eq!(
            (creation.replication_factor, creation.validate_only),
            (3, false)
        );
        assert_eq!(world.admin.creations().len(), 1);
    }
}

#[tokio::test]
async fn nothing_is_created_when_switched_off_reserved_misnamed_or_asked_by_id() {
    let off = no_auto_create();
    let on = world();

    let request = by_name(&["fresh"]).with_allow_auto_topic_creation(true);
    assert_eq!(ask(&off, 4, request).await.topics[0].error_code, 3);
    let odd = by_name(&["__consumer_offsets", "__transaction_state", "a b", ""]);
    let odd = ask(&on, 9, odd.with_allow_auto_topic_creation(true)).await;
    let id = ask(&on, 12, by_id(&[9]).with_allow_auto_topic_creation(true)).await;

    let codes: Vec<i16> = odd.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [3, 3, 17, 17]);
    assert_eq!(id.topics[0].error_code, 100);
    assert!(off.admin.creations().is_empty() && on.admin.creations().is_empty());
}

#[tokio::test]
async fn a_creation_on_the_way_that_fails_says_what_a_client_should_do() {
    let with = esker_metadata_api::TopicName::new("a_b").unwrap();
    for (error, code) in [
        (CreateTopicError::Collides { with }, 17),
        (CreateTopicError::TooManyPartitions, 44),
        (CreateTopicError::TooManyTopics, 44),
        (CreateTopicError::Metadata(MetadataError::Unknown), 5),
        (CreateTopicError::Metadata(MetadataError::Overloaded), 5),
        (CreateTopicError::Exists, 5),
    ] {
        let world = world();
        world.admin.fail_next_creation(error.clone());

        let request = by_name(&["a.b"]).with_allow_auto_topic_creation(true);
        let response = ask(&world, 9, request).await;

        assert_eq!(response.topics[0].error_code, code, "{error}");
    }
}

#[tokio::test]
async fn a_topic_that_somebody_else_created_first_is_told_all_the_same() {
    let world = world();
    world.admin.be_quicker(topic("t", 1, 2));

    let request = by_name(&["t"]).with_allow_auto_topic_creation(true);
    let response = ask(&world, 13, request).await;

    let topic = &response.topics[0];
    assert_eq!(
        (topic.error_code, topic.topic_id, topic.partitions.len()),
        (0, uuid(1), 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_hangs_ends_after_the_metadata_timeout() {
    let world = world();
    world.admin.hang();

    let request = by_name(&["t"]).with_allow_auto_topic_creation(true);
    let response = ask(&world, 9, request).await;

    assert_eq!(response.topics[0].error_code, 5);
}

#[tokio::test]
async fn many_topics_are_created_at_once_and_answered_in_order() {
    let world = world();
    let count = esker_admin::limits::TOPIC_CHANGES_PARALLEL * 2 + 1;
    let names: Vec<String> = (0..count)
        .map(|index| format!("t-{:03}", count - index))
        .collect();
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();

    let request = by_name(&asked).with_allow_auto_topic_creation(true);
    let response = ask(&world, 9, request).await;

    let answered: Vec<String> = codes(&response).into_iter().map(|(name, _)| name).collect();
    assert_eq!(answered, names);
    assert!(response.topics.iter().all(|topic| topic.error_code == 0));
}

#[tokio::test]
async fn operations_are_told_to_those_who_ask() {
    let world = world();
    world.admin.add(topic("t", 1, 1));
    for version in 8..=13 {
        let asking = by_name(&["t"]).with_include_topic_authorized_operations(true);
        let asking = asking.with_include_cluster_authorized_operations(version <= 10);
        let asked = ask(&world, version, asking).await;
        let silent = ask(&world, version, by_name(&["t"])).await;

        assert_eq!(asked.topics[0].topic_authorized_operations, 3576);
        let cluster = if version <= 10 { 8096 } else { i32::MIN };
        assert_eq!(asked.cluster_authorized_operations, cluster);
        assert_eq!(silent.topics[0].topic_authorized_operations, i32::MIN);
        assert_eq!(silent.cluster_authorized_operations, i32::MIN);
    }
}

#[tokio::test]
async fn replicas_are_listed_brokers_as_many_as_the_factor_or_there_are() {
    let others = vec![pod(3, None), pod(2, None), pod(1, None)];
    let world = world_of(AdminConfig::default(), pod(1, None), others);
    let mut wide = topic("wide", 1, 50);
    wide.replication_factor = 2;
    let mut wider = topic("wider", 2, 1);
    wider.replication_factor = 9;
    world.admin.add(wide);
    world.admin.add(wider);

    let response = ask(&world, 9, by_name(&["wide", "wider"])).await;

    let ids: Vec<i32> = response
        .brokers
        .iter()
        .map(|broker| broker.node_id.0)
        .collect();
    assert_eq!(ids, [1, 2, 3], "each once");
    assert_eq!(
        response.brokers[0].host.as_str(),
        "127.0.0.1",
        "our own address wins"
    );
    assert!(ids.contains(&response.controller_id.0));
    let mut leaders = Vec::new();
    for partition in &response.topics[0].partitions {
        assert_eq!(partition.replica_nodes.len(), 2);
        assert_eq!(partition.isr_nodes, partition.replica_nodes);
        assert_eq!(partition.replica_nodes[0], partition.leader_id);
        leaders.push(partition.leader_id.0);
    }
    leaders.sort_unstable();
    leaders.dedup();
    assert_eq!(leaders, [1, 2, 3], "leaders are spread");
    assert_eq!(response.topics[1].partitions[0].replica_nodes.len(), 3);
}

#[tokio::test]
async fn a_topic_created_again_has_a_new_id_at_once() {
    let world = no_auto_create();
    world.admin.add(topic("t", 1, 1));
    let before = ask(&world, 13, by_name(&["t"])).await;

    world.admin.remove(1);
    world.admin.add(topic("t", 2, 1));
    let after = ask(&world, 13, by_name(&["t"])).await;
    let old = ask(&world, 13, by_id(&[1])).await;

    assert_eq!(
        (before.topics[0].topic_id, after.topics[0].topic_id),
        (uuid(1), uuid(2))
    );
    assert_eq!(old.topics[0].error_code, 100);
    assert_eq!(topic_id(1).bytes(), [1; 16]);
}
