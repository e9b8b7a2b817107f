//! Claims about consumer groups and settings over HTTP.

use super::*;
use crate::limits::GROUP_OFFSETS_MAX;

const OFFSETS: &str = "/api/v1/groups/g/offsets";

#[tokio::test]
async fn groups_are_listed_described_and_their_offsets_told_with_the_lag() {
    let world = World::new();
    world
        .append(&json!({"records": [{"value": "a"}, {"value": "b"}]}))
        .await;

    let listed = world.ask(Method::GET, "/api/v1/groups", "").await.body;
    let described = world.ask(Method::GET, "/api/v1/groups/g", "").await.body;
    let offsets = world.ask(Method::GET, OFFSETS, "").await.body;

    assert_eq!(listed["groups"][0]["state"], "Empty");
    assert_eq!(
        (&described["group"], &described["state"]),
        (&json!("g"), &json!("Stable"))
    );
    let expected = json!({"topic": "t", "partition": 0, "offset": 0, "metadata": "m",
        "log_start": 0, "high_watermark": 2, "lag": 2});
    assert_eq!(offsets["offsets"][0], expected);
}

#[tokio::test]
async fn offsets_are_set_as_a_group_without_members_does_it() {
    let world = World::new();
    let body = json!({"offsets": [{"topic": "t", "partition": 2, "offset": 5, "metadata": "x"}]});

    let set = world.ask(Method::PUT, OFFSETS, body.to_string()).await;
    let busy = world
        .ask(Method::PUT, "/api/v1/groups/busy/offsets", body.to_string())
        .await;

    assert_eq!(set.status, StatusCode::NO_CONTENT, "{}", set.text);
    assert_problem(&busy, 409, "group-active");
    let groups = world.log.groups.lock().unwrap();
    let GroupRequest::Commit(commit) = &groups[0] else {
        panic!("not a commit: {groups:?}")
    };
    assert_eq!((commit.generation, commit.member.as_str()), (-1, ""));
    assert_eq!(commit.offsets[0].committed.offset, 5);
    assert_eq!(commit.offsets[0].committed.metadata, "x");
}

#[tokio::test]
async fn offsets_that_cannot_be_are_told_by_their_place_and_none_is_set() {
    let world = World::new();
    let one = json!({"topic": "t", "partition": 0, "offset": 1});
    let with = |member: &str, value: Value| {
        let mut row = one.clone();
        row[member] = value;
        json!({"offsets": [one, row]})
    };
    let many = vec![one.clone(); GROUP_OFFSETS_MAX + 1];

    for (body, status) in [
        (json!({"offsets": []}), 400),
        (json!({"offsets": [{"topic": "t"}]}), 400),
        (with("offset", json!(-1)), 400),
        (with("partition", json!(3)), 404),
        (with("topic", json!("u")), 404),
        (with("x", json!(1)), 400),
        (json!({"offsets": [one, one]}), 400),
        (json!({"offsets": many}), 413),
    ] {
        let answer = world.ask(Method::PUT, OFFSETS, body.to_string()).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        assert_eq!(answer.kind, "application/problem+json");
    }
    assert!(world.log.groups.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_reset_moves_to_the_start_the_end_or_a_time_and_may_be_tried_dry() {
    let world = World::new();
    world
        .append(&json!({"records": [{"value": "a"}, {"value": "b"}]}))
        .await;
    let reset = async |body: Value| {
        let path = format!("{OFFSETS}/reset");
        world.ask(Method::POST, &path, body.to_string()).await
    };

    let dry = reset(json!({"topic": "t", "to": "latest", "dry_run": true})).await;
    let nothing_yet = world.log.groups.lock().unwrap().is_empty();
    let done = reset(json!({"topic": "t", "partitions": [1], "to": "earliest"})).await;
    let time = reset(json!({"topic": "t", "to": {"timestamp": 5}})).await;

    assert!(nothing_yet);
    assert_eq!(
        dry.body["partitions"][2],
        json!({"partition": 2, "offset": 2})
    );
    assert_eq!(
        done.body["partitions"],
        json!([{"partition": 1, "offset": 0}])
    );
    assert_eq!(time.status, StatusCode::OK);
    assert_eq!(world.log.groups.lock().unwrap().len(), 2);
    let many = vec![0; GROUP_OFFSETS_MAX + 1];
    for (body, status) in [
        (json!({"topic": "t", "to": "middle"}), 400),
        (json!({"topic": "t", "to": {"timestamp": -1}}), 400),
        (json!({"topic": "u", "to": "latest"}), 404),
        (
            json!({"topic": "t", "to": "latest", "partitions": [3]}),
            404,
        ),
        (
            json!({"topic": "t", "to": "latest", "partitions": many}),
            413,
        ),
    ] {
        assert_eq!(reset(body).await.status.as_u16(), status);
    }
}

#[tokio::test]
async fn settings_are_told_with_what_is_in_force() {
    let world = World::new();
    let mut set = topic("s", 1);
    set.configs
        .insert("retention.ms".to_owned(), "5".to_owned());
    set.id = TopicId::from_bytes([8; 16]);
    world.log.topics.lock().unwrap().insert(set);

    let configs = world
        .ask(Method::GET, "/api/v1/topics/s/configs", "")
        .await
        .body;

    let rows = configs["configs"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(
        (
            &row("retention.ms")["value"],
            &row("retention.ms")["is_default"]
        ),
        (&json!("5"), &json!(false))
    );
    assert_eq!(row("cleanup.policy")["is_default"], true);
}
