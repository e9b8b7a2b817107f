//! Five thousand topics in one request: made, listed, named, unknown. Answers are whole, memory is
//! bounded, the times are printed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use esker_e2e::load::Connection;
use esker_e2e::{StoreKind, TestStore, proved, resident_now, resident_peak};
use esker_env::Env;
use esker_kafka::limits::LIST_ELEMENTS_MAX;
use esker_kafka::messages::create_topics_request::CreatableTopic;
use esker_kafka::messages::metadata_request::MetadataRequestTopic;
use esker_kafka::messages::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, MetadataRequest, MetadataResponse, StrBytes,
    TopicName,
};

const TOPICS: usize = 5000;
/// Of one CreateTopics.
const CREATED_AT_ONCE: usize = 1000;
const CREATE: (ApiKey, i16) = (ApiKey::CreateTopics, 7);
const METADATA: (ApiKey, i16) = (ApiKey::Metadata, 12);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Table, journal and answers of so many topics.
const TOPICS_BYTES_MAX: u64 = 192 * 1024 * 1024;
const UNKNOWN_TOPIC: i16 = 3;

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{prefix}-{number:05}"))
        .collect()
}

fn named(names: Option<&[String]>) -> MetadataRequest {
    let one = |name: &String| {
        let name = TopicName(StrBytes::from_string(name.clone()));
        MetadataRequestTopic::default().with_name(Some(name))
    };
    MetadataRequest::default()
        .with_topics(names.map(|names| names.iter().map(one).collect()))
        .with_allow_auto_topic_creation(false)
}

async fn create(connection: &mut Connection, names: &[String]) -> anyhow::Result<()> {
    let one = |name: &String| {
        CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_string(name.clone())))
            .with_num_partitions(1)
            .with_replication_factor(1)
    };
    let request = CreateTopicsRequest::default()
        .with_topics(names.iter().map(one).collect())
        .with_timeout_ms(30_000);
    let reply: CreateTopicsResponse = connection.ask(CREATE, &request, ANSWER_WITHIN).await?;
    let made = reply
        .topics
        .iter()
        .filter(|topic| topic.error_code == 0)
        .count();
    ensure!(
        made == names.len(),
        "{made} of {} topics were created",
        names.len()
    );
    Ok(())
}

/// Asks, and holds that the answer has each of `names` once with `code`; how long it took.
async fn ask(
    connection: &mut Connection,
    request: &MetadataRequest,
    names: &[String],
    code: i16,
) -> anyhow::Result<Duration> {
    let clock = Env::system().clock;
    let begun = clock.now();
    let reply: MetadataResponse = connection.ask(METADATA, request, ANSWER_WITHIN).await?;
    let took = clock.now().since(begun);
    let partitions = usize::from(code == 0);
    for topic in &reply.topics {
        ensure!(topic.error_code == code, "{topic:?}");
        ensure!(topic.partitions.len() == partitions, "{topic:?}");
    }
    let told: BTreeSet<&str> = reply
        .topics
        .iter()
        .filter_map(|topic| topic.name.as_ref().map(|name| name.as_str()))
        .collect();
    ensure!(
        reply.topics.len() == names.len(),
        "{} topics",
        reply.topics.len()
    );
    ensure!(
        names.iter().all(|name| told.contains(name.as_str())),
        "a topic is missing"
    );
    Ok(took)
}

#[tokio::test]
async fn five_thousand_topics_are_made_listed_named_and_unknown() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let mut connection = Connection::open(esker.kafka).await?;
    let all = names("made", TOPICS);
    let before = resident_now(esker.id())?;
    let clock = Env::system().clock;

    let begun = clock.now();
    for some in all.chunks(CREATED_AT_ONCE) {
        create(&mut connection, some).await?;
    }
    let made = clock.now().since(begun);
    let listed = ask(&mut connection, &named(None), &all, 0).await?;
    let by_name = ask(&mut connection, &named(Some(&all)), &all, 0).await?;
    let absent = names("absent", TOPICS);
    let unknown = ask(
        &mut connection,
        &named(Some(&absent)),
        &absent,
        UNKNOWN_TOPIC,
    )
    .await?;
    // At the limit of a list, and one past it.
    let most = names("absent", LIST_ELEMENTS_MAX);
    let at_limit = ask(&mut connection, &named(Some(&most)), &most, UNKNOWN_TOPIC).await?;
    let beyond = names("absent", LIST_ELEMENTS_MAX + 1);
    let mut other = Connection::open(esker.kafka).await?;
    let refused = other
        .ask::<MetadataResponse>(METADATA, &named(Some(&beyond)), ANSWER_WITHIN)
        .await;
    let again = ask(&mut connection, &named(None), &all, 0).await?;
    let peak = resident_peak(esker.id())?;

    ensure!(
        refused.is_err(),
        "{} topics were answered",
        LIST_ELEMENTS_MAX + 1
    );
    let bound = before + TOPICS_BYTES_MAX;
    ensure!(peak <= bound, "{peak} bytes were resident, {before} before");
    proved(&format!(
        "{TOPICS} topics: made in {made:.1?}, listed in {listed:.0?} and {again:.0?}, named in \
         {by_name:.0?}, {TOPICS} unknown ones in {unknown:.0?}, {LIST_ELEMENTS_MAX} in \
         {at_limit:.0?}, one more is refused; {} MiB resident before, {} at most",
        before >> 20,
        peak >> 20
    ));
    Ok(())
}
