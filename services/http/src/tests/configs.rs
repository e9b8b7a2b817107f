//! Claims about changing the settings of a topic.

use super::*;
use crate::limits::CONFIG_CHANGE_TRIES_MAX;

const PATH: &str = "/api/v1/topics/t/configs";

/// Settings that an answer shows as not the default.
fn given(answer: &Answer) -> BTreeMap<String, String> {
    let rows = answer.body["configs"].as_array().unwrap().iter();
    let rows = rows.filter(|row| row["is_default"] == false);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.map(|row| (text(&row["name"]), text(&row["value"])))
        .collect()
}

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

async fn ask(world: &World, method: Method, body: Value) -> Answer {
    world.ask(method, PATH, body.to_string()).await
}

#[tokio::test]
async fn settings_are_changed_one_by_one_and_replaced_as_a_whole() {
    let world = World::new();
    let two = json!({"configs": {"retention.ms": " 60000 ", "cleanup.policy": "compact"}});

    let both = ask(&world, Method::PATCH, two).await;
    let more = json!({"configs": {"cleanup.policy": null, "segment.ms": "5000"}});
    let more = ask(&world, Method::PATCH, more).await;
    let one = json!({"configs": {"retention.bytes": "7"}});
    let one = ask(&world, Method::PUT, one).await;
    let shown = world.ask(Method::GET, PATH, "").await;
    let again = ask(
        &world,
        Method::PUT,
        json!({"configs": {"retention.bytes": "7"}}),
    )
    .await;

    assert_eq!(
        given(&both),
        configs(&[("cleanup.policy", "compact"), ("retention.ms", "60000")]),
        "in Kafka's spelling"
    );
    assert_eq!(
        given(&more),
        configs(&[("retention.ms", "60000"), ("segment.ms", "5000")])
    );
    assert_eq!(given(&one), configs(&[("retention.bytes", "7")]));
    assert_eq!(shown.body, one.body);
    assert_eq!(again.body, one.body);
    let asked = world.log.alterations.lock().unwrap().len();
    assert_eq!(asked, 3, "what is so already is not asked for");
}

#[tokio::test]
async fn a_change_that_is_not_allowed_is_told_by_name_and_changes_nothing() {
    let world = World::new();
    let start = json!({"configs": {"max.compaction.lag.ms": "100"}});
    let before = ask(&world, Method::PATCH, start).await;

    for (method, body, word) in [
        (
            Method::PATCH,
            json!({"configs": {"no.such": "1"}}),
            "no.such",
        ),
        (
            Method::PATCH,
            json!({"configs": {"no.such": null}}),
            "no.such",
        ),
        (
            Method::PATCH,
            json!({"configs": {"retention.ms": "soon"}}),
            "retention.ms",
        ),
        (
            Method::PATCH,
            json!({"configs": {"retention.ms": 5}}),
            "string",
        ),
        (
            Method::PATCH,
            json!({"configs": {"segment.ms": "5000", "cleanup.policy": "burn"}}),
            "cleanup.policy",
        ),
        (
            Method::PATCH,
            json!({"configs": {"min.compaction.lag.ms": "200"}}),
            "max.compaction.lag.ms",
        ),
        (
            Method::PUT,
            json!({"configs": {"retention.ms": null}}),
            "string",
        ),
        (Method::PUT, json!({"config": {}}), "config"),
        (Method::PUT, json!([]), "object"),
    ] {
        let answer = ask(&world, method, body).await;

        assert_problem(&answer, 400, "bad-request");
        assert!(answer.text.contains(word), "{}", answer.text);
    }
    let after = world.ask(Method::GET, PATH, "").await;
    let nowhere = "/api/v1/topics/none/configs";
    let nowhere = world.ask(Method::PATCH, nowhere, "{\"configs\":{}}").await;

    assert_eq!(after.body, before.body);
    assert_problem(&nowhere, 404, "unknown-topic");
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_in_force_and_changes_nothing() {
    let world = World::new();
    let body = json!({"configs": {"retention.ms": "60000"}, "dry_run": true});

    for method in [Method::PATCH, Method::PUT] {
        let told = ask(&world, method, body.clone()).await;

        assert_eq!(given(&told), configs(&[("retention.ms", "60000")]));
    }
    assert_eq!(given(&world.ask(Method::GET, PATH, "").await), configs(&[]));
    assert!(world.log.alterations.lock().unwrap()[0].validate_only);
}

#[tokio::test]
async fn a_change_that_comes_too_late_is_made_again_up_to_the_limit() {
    let world = World::new();
    let body = || json!({"configs": {"retention.ms": "60000"}});

    *world.log.too_late.lock().unwrap() = CONFIG_CHANGE_TRIES_MAX;
    let beyond = ask(&world, Method::PATCH, body()).await;
    *world.log.too_late.lock().unwrap() = CONFIG_CHANGE_TRIES_MAX - 1;
    let within = ask(&world, Method::PATCH, body()).await;

    assert_problem(&beyond, 429, "overloaded");
    assert_eq!(given(&within), configs(&[("retention.ms", "60000")]));
}

#[tokio::test]
async fn that_a_topic_exists_or_does_not_is_told_in_the_same_words_everywhere() {
    let world = World::new();
    let create = json!({"name": "t"}).to_string();
    let v3 = "/v3/clusters/AQEBAQEBAQEBAQEBAQEBAQ/topics";
    let offsets = json!({"offsets": [{"topic": "no", "partition": 0, "offset": 0}]}).to_string();
    let reset = json!({"topic": "no", "to": "latest"}).to_string();
    let v3_create = json!({"topic_name": "t"}).to_string();

    let exists = [
        world.ask(Method::POST, "/api/v1/topics", create).await.body["detail"].clone(),
        world.ask(Method::POST, v3, v3_create).await.body["message"].clone(),
    ];
    let mut missing = Vec::new();
    for (method, path, body) in [
        (Method::GET, "/api/v1/topics/no", String::new()),
        (Method::DELETE, "/api/v1/topics/no", String::new()),
        (Method::GET, "/api/v1/topics/no/configs", String::new()),
        (Method::POST, "/api/v1/topics/no/records", String::new()),
        (
            Method::GET,
            "/api/v1/topics/no/partitions/0/records",
            String::new(),
        ),
        (Method::PUT, "/api/v1/groups/g/offsets", offsets),
        (Method::POST, "/api/v1/groups/g/offsets/reset", reset),
    ] {
        missing.push(world.ask(method, path, body).await.body["detail"].clone());
    }
    for path in ["no", "no/partitions", "no/configs"] {
        let answer = world.ask(Method::GET, &format!("{v3}/{path}"), "").await;
        missing.push(answer.body["message"].clone());
    }

    assert_eq!(
        exists,
        ["topic \"t\" already exists"; 2].map(|text| json!(text))
    );
    for detail in missing {
        let detail = detail.as_str().unwrap().to_owned();
        assert!(detail.ends_with("topic \"no\" does not exist"), "{detail}");
    }
}

#[test]
fn a_brokers_default_is_shown_where_the_topic_has_none_of_its_own() {
    let defaults = configs(&[("retention.ms", "60000"), ("segment.ms", "5000")]);
    let topic = Topic {
        configs: configs(&[("retention.ms", "7")]),
        defaults: Arc::new(defaults),
        ..topic("t", 1)
    };

    let rows: Vec<_> = crate::configs::rows(&topic)
        .filter(|row| ["retention.ms", "segment.ms"].contains(&row.name))
        .map(|row| (row.name, row.value, row.is_default))
        .collect();

    assert!(
        rows.contains(&("retention.ms", "7".to_owned(), false)),
        "{rows:?}"
    );
    assert!(
        rows.contains(&("segment.ms", "5000".to_owned(), true)),
        "{rows:?}"
    );
}
