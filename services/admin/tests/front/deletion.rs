//! DeleteTopics, all versions.

use esker_kafka::messages::delete_topics_request::DeleteTopicState;
use esker_kafka::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use esker_kafka::{Api, Request};
use esker_metadata_api::{DeleteTopicError, MetadataError, TopicRef};

use crate::wire::{World, body, name, topic, topic_id, uuid, versions, world};

fn by_name(version: i16, names: &[&str]) -> DeleteTopicsRequest {
    let request = DeleteTopicsRequest::default().with_timeout_ms(5000);
    if version < 6 {
        return request.with_topic_names(names.iter().map(|topic| name(topic)).collect());
    }
    let one = |topic: &&str| DeleteTopicState::default().with_name(Some(name(topic)));
    request.with_topics(names.iter().map(one).collect())
}

fn state(topic: Option<&str>, id: u8) -> DeleteTopicState {
    DeleteTopicState::default()
        .with_name(topic.map(name))
        .with_topic_id(uuid(id))
}

fn states(states: Vec<DeleteTopicState>) -> DeleteTopicsRequest {
    DeleteTopicsRequest::default()
        .with_timeout_ms(5000)
        .with_topics(states)
}

async fn ask(world: &World, version: i16, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let response = world.ask(version, Request::DeleteTopics(request)).await;
    body!(DeleteTopics, response)
}

fn codes(response: &DeleteTopicsResponse) -> Vec<i16> {
    response
        .responses
        .iter()
        .map(|topic| topic.error_code)
        .collect()
}

#[tokio::test]
async fn topics_are_deleted_by_name_in_every_version() {
    for version in versions(Api::DeleteTopics) {
        let world = world();
        world.admin.add(topic("t", 1, 1));

        let response = ask(&world, version, by_name(version, &["t", "absent", "a/b"])).await;

        assert_eq!(codes(&response), [0, 3, 3], "{version}");
        assert_eq!(response.responses[0].name, Some(name("t")));
        assert_eq!(response.responses[1].name, Some(name("absent")));
        let id = if version >= 6 { uuid(1) } else { uuid(0) };
        assert_eq!(response.responses[0].topic_id, id);
        assert_eq!(response.responses[0].error_message, None);
        assert_eq!(response.responses[1].error_message.is_some(), version >= 5);
        assert!(!world.admin.has("t"));
        assert_eq!(world.admin.deletions(), [TopicRef::Id(topic_id(1))]);
    }
}

#[tokio::test]
async fn topics_are_deleted_by_id_and_their_names_told() {
    let world = world();
    world.admin.add(topic("t", 1, 1));

    let response = ask(&world, 6, states(vec![state(None, 1), state(None, 9)])).await;

    assert_eq!(codes(&response), [0, 100]);
    assert_eq!(response.responses[0].name, Some(name("t")));
    assert_eq!(
        (&response.responses[1].name, response.responses[1].topic_id),
        (&None, uuid(9))
    );
    assert!(!world.admin.has("t"));
}

#[tokio::test]
async fn topics_must_be_named_in_one_way() {
    let world = world();
    world.admin.add(topic("t", 1, 1));

    let response = ask(&world, 6, states(vec![state(Some("t"), 1), state(None, 0)])).await;

    assert_eq!(codes(&response), [42, 42]);
    assert!(world.admin.has("t"));
}

#[tokio::test]
async fn a_topic_that_is_named_twice_is_not_deleted() {
    let world = world();
    world.admin.add(topic("t", 1, 1));
    world.admin.add(topic("u", 2, 1));

    let old = ask(&world, 5, by_name(5, &["t", "t"])).await;
    let new = ask(
        &world,
        6,
        states(vec![state(Some("t"), 0), state(None, 1), state(None, 2)]),
    )
    .await;

    assert_eq!(codes(&old), [42, 42]);
    assert_eq!(codes(&new), [42, 42, 0]);
    assert!(world.admin.has("t") && !world.admin.has("u"));
}

#[tokio::test]
async fn names_are_resolved_in_a_current_table() {
    let world = world();
    world.admin.add(topic("old", 1, 1));
    world.admin.lag();
    world.admin.remove(1);
    world.admin.add(topic("new", 2, 1));

    let response = ask(&world, 4, by_name(4, &["old", "new"])).await;

    assert_eq!(codes(&response), [3, 0]);
}

#[tokio::test]
async fn what_the_catalogue_answers_is_told_in_the_clients_terms() {
    for (error, by_name_code, by_id_code) in [
        (DeleteTopicError::Unknown, 3, 100),
        (DeleteTopicError::Metadata(MetadataError::Unknown), 7, 7),
        (DeleteTopicError::Metadata(MetadataError::Overloaded), 7, 7),
    ] {
        let world = world();
        world.admin.add(topic("t", 1, 1));
        world.admin.fail_next_deletion(error);
        let named = ask(&world, 6, by_name(6, &["t"])).await;
        world.admin.fail_next_deletion(error);
        let by_id = ask(&world, 6, states(vec![state(None, 1)])).await;

        assert_eq!(codes(&named), [by_name_code]);
        assert_eq!(codes(&by_id), [by_id_code]);
    }
}

#[tokio::test]
async fn without_a_metadata_leader_nothing_is_begun() {
    for (error, code) in [
        (MetadataError::Recovering, 41),
        (MetadataError::Unavailable, 41),
        (MetadataError::Deposed, 41),
        (MetadataError::Overloaded, 41),
        (MetadataError::Unknown, 7),
    ] {
        let world = world();
        world.admin.add(topic("t", 1, 1));
        world.admin.fail_current(error);

        let response = ask(&world, 6, by_name(6, &["t", "absent"])).await;

        assert_eq!(codes(&response), [code, code]);
        assert!(world.admin.deletions().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_of_the_request_the_outcome_is_unknown() {
    let world = world();
    world.admin.add(topic("t", 1, 1));
    world.admin.hang();
    let begun = tokio::time::Instant::now();

    let response = ask(&world, 6, by_name(6, &["t"])).await;

    assert_eq!(codes(&response), [7]);
    assert_eq!(begun.elapsed().as_secs(), 5);
}
