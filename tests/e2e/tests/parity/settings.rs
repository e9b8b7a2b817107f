//! DescribeConfigs, IncrementalAlterConfigs, AlterConfigs.

use esker_kafka::client::{Client, ClientError, FetchOptions, NewTopic, Target};
use esker_kafka::messages::describe_configs_request::DescribeConfigsResource;
use esker_kafka::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    alter_configs_request, incremental_alter_configs_request,
};

use esker_record::{BatchHeader, Compression};

use crate::logs::batch;
use crate::notes::Notes;
use crate::topics::{TRIES_MAX, text};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Resource type and name, then key, operation and value of each change.
type Attempt = (
    i8,
    &'static str,
    &'static [(&'static str, i8, Option<&'static str>)],
);

const ATTEMPTS: [Attempt; 20] = [
    (
        TOPIC,
        "plain",
        &[
            ("retention.ms", 0, Some("5000")),
            ("flush.ms", 0, Some(" 7 ")),
        ],
    ),
    (TOPIC, "plain", &[("flush.ms", 1, None)]),
    (TOPIC, "plain", &[("nonsense", 0, Some("1"))]),
    (TOPIC, "plain", &[("nonsense", 1, None)]),
    (TOPIC, "plain", &[("segment.ms", 0, Some("0"))]),
    (TOPIC, "plain", &[("segment.ms", 0, Some("soon"))]),
    (TOPIC, "plain", &[("segment.ms", 0, None)]),
    (TOPIC, "plain", &[("segment.ms", 2, Some("1"))]),
    (TOPIC, "plain", &[("segment.ms", 3, Some("1"))]),
    (TOPIC, "plain", &[("cleanup.policy", 2, Some("compact"))]),
    (TOPIC, "plain", &[("cleanup.policy", 2, Some("burn"))]),
    (TOPIC, "plain", &[("cleanup.policy", 3, Some("delete"))]),
    (TOPIC, "plain", &[("cleanup.policy", 2, None)]),
    (
        TOPIC,
        "plain",
        &[
            ("retention.ms", 0, Some("1")),
            ("retention.ms", 0, Some("2")),
        ],
    ),
    (
        TOPIC,
        "plain",
        &[
            ("max.compaction.lag.ms", 0, Some("5")),
            ("min.compaction.lag.ms", 0, Some("6")),
        ],
    ),
    (TOPIC, "plain", &[("compression.type", 0, Some("zstd"))]),
    (TOPIC, "plain", &[("compression.type", 0, Some("brotli"))]),
    (TOPIC, "absent", &[("retention.ms", 0, Some("5000"))]),
    (TOPIC, "", &[("retention.ms", 0, Some("5000"))]),
    (
        TOPIC,
        "plain",
        &[("remote.storage.enable", 0, Some("true"))],
    ),
];

const BROKER_ATTEMPTS: [Attempt; 13] = [
    (BROKER, "1", &[("node.id", 0, Some("5"))]),
    (BROKER, "1", &[("num.partitions", 0, Some("5"))]),
    (BROKER, "one", &[("log.retention.ms", 0, Some("5000"))]),
    (BROKER, "1", &[("log.retention.ms", 0, Some("5000"))]),
    (BROKER, "1", &[("nonsense", 0, Some("5"))]),
    (BROKER, "", &[("node.id", 0, Some("5"))]),
    (BROKER, "", &[("message.max.bytes", 0, Some("many"))]),
    (BROKER, "", &[("message.max.bytes", 2, Some("5"))]),
    (BROKER, "", &[("message.max.bytes", 0, Some("2000000"))]),
    (BROKER, "", &[("log.cleanup.policy", 2, Some("compact"))]),
    (BROKER, "1", &[("message.max.bytes", 0, Some("3000000"))]),
    (BROKER, "1", &[("message.max.bytes", 1, None)]),
    (BROKER, "1", &[("log.segment.bytes", 0, Some("2097152"))]),
];

pub(crate) async fn observe(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    describe(client, notes, TOPIC, "plain", "at first").await?;
    describe(client, notes, TOPIC, "set", "at first").await?;
    describe(client, notes, TOPIC, "absent", "at first").await?;
    describe(client, notes, BROKER, "", "at first").await?;
    brokers(client, notes, "at first").await?;
    for (number, attempt) in ATTEMPTS.iter().enumerate() {
        for validate_only in [true, false] {
            alter(client, notes, number, attempt, validate_only).await?;
        }
    }
    describe(client, notes, TOPIC, "plain", "changed").await?;
    replace(client, notes, &[("retention.bytes", Some("9"))]).await?;
    describe(client, notes, TOPIC, "plain", "replaced").await?;
    obeyed(client, notes).await?;
    replace(client, notes, &[("nonsense", Some("9"))]).await?;
    replace(client, notes, &[("retention.bytes", None)]).await?;
    // Last: in Kafka they change what topics show.
    for (number, attempt) in BROKER_ATTEMPTS.iter().enumerate() {
        alter(client, notes, 100 + number, attempt, false).await?;
    }
    // The last one of them is seen: so are all others.
    shown(client, (BROKER, "1"), "log.segment.bytes", "2097152").await?;
    describe(client, notes, BROKER, "", "given").await?;
    describe(client, notes, TOPIC, "set", "brokers given").await?;
    brokers(client, notes, "given").await
}

/// Waits until Kafka obeys a changed setting: it is shown first, and taken up before a topic that
/// is created after that can be written to. Esker obeys it when it answers.
async fn settle(client: &Client, key: &str, value: &str) -> anyhow::Result<()> {
    shown(client, (TOPIC, "plain"), key, value).await?;
    let barrier = format!("after-{key}-{value}");
    client
        .create_topic(&NewTopic {
            name: &barrier,
            partitions: Some(1),
            replication_factor: Some(1),
            configs: &[],
        })
        .await?;
    client
        .produce(&barrier, 0, batch(Compression::None, 0)?)
        .await?;
    Ok(())
}

/// Asks until the setting is shown with the value.
async fn shown(
    client: &Client,
    (kind, resource): (i8, &str),
    key: &str,
    value: &str,
) -> anyhow::Result<()> {
    for _ in 0..TRIES_MAX {
        let results = described(client, kind, resource).await?.results;
        let mut configs = results.into_iter().flat_map(|result| result.configs);
        let config = configs.find(|config| config.name.as_str() == key);
        let shown = config.and_then(|config| config.value);
        if shown.is_some_and(|shown| shown.as_str() == value) {
            return Ok(());
        }
    }
    anyhow::bail!("{key} is not {value}")
}

/// Changed settings hold for the next batch.
async fn obeyed(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    for (key, value) in [
        ("max.message.bytes", "200"),
        ("message.timestamp.type", "LogAppendTime"),
        ("message.timestamp.before.max.ms", "1000"),
        ("compression.type", "gzip"),
        ("compression.type", "uncompressed"),
    ] {
        replace(client, notes, &[(key, Some(value))]).await?;
        settle(client, key, value).await?;
        let question = format!("Produce after {key}={value}");
        let produced = client
            .produce("plain", 2, batch(Compression::Zstd, 0)?)
            .await;
        let outcome = produced.as_ref().map(|one| one.log_append_time_ms > 0);
        notes.add(&question, outcome.map_err(ClientError::code));
        let Ok(produced) = produced else {
            continue;
        };
        let options = FetchOptions::default();
        let fetched = client
            .fetch("plain", 2, produced.base_offset, options)
            .await?;
        let header = BatchHeader::parse(&fetched.records)?;
        let times = (header.is_log_append_time(), header.base_timestamp());
        let answer = (header.compression(), header.record_count(), times);
        notes.add(format!("Fetch after {key}={value}"), answer);
    }
    Ok(())
}

async fn described(
    client: &Client,
    kind: i8,
    resource: &str,
) -> anyhow::Result<esker_kafka::messages::DescribeConfigsResponse> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    Ok(client.request(Target::Any, &request).await?)
}

async fn describe(
    client: &Client,
    notes: &mut Notes,
    kind: i8,
    resource: &str,
    when: &str,
) -> anyhow::Result<()> {
    for result in described(client, kind, resource).await?.results {
        let question = format!("DescribeConfigs {kind} {resource:?} {when}");
        // Kafka says "NONE" of a success.
        let told = result.error_code != 0 && result.error_message.is_some();
        notes.add(&question, (result.error_code, told));
        for config in result.configs {
            let synonyms: Vec<_> = config
                .synonyms
                .iter()
                .map(|one| (one.name.to_string(), one.value.clone(), one.source))
                .collect();
            let flags = (config.read_only, config.is_sensitive, config.config_type);
            let documented = config.documentation.is_some();
            let answer = (
                config.value,
                config.config_source,
                flags,
                synonyms,
                documented,
            );
            notes.add(format!("{question} {}", config.name), answer);
        }
    }
    Ok(())
}

/// Of the broker, only the settings that both show are compared: Kafka has some 300.
async fn brokers(client: &Client, notes: &mut Notes, when: &str) -> anyhow::Result<()> {
    const SHOWN: [&str; 12] = [
        "auto.create.topics.enable",
        "compression.type",
        "default.replication.factor",
        "delete.topic.enable",
        "group.max.size",
        "log.cleanup.policy",
        "log.retention.ms",
        "log.segment.bytes",
        "message.max.bytes",
        "node.id",
        "num.partitions",
        "offset.metadata.max.bytes",
    ];
    for result in described(client, BROKER, "1").await?.results {
        notes.add(format!("DescribeConfigs broker {when}"), result.error_code);
        let shown = result.configs.iter();
        for config in shown.filter(|config| SHOWN.contains(&config.name.as_str())) {
            let name = &config.name;
            let kind = (config.is_sensitive, config.config_type);
            notes.add(
                format!("DescribeConfigs broker value {name} {when}"),
                &config.value,
            );
            notes.add(format!("DescribeConfigs broker kind {name} {when}"), kind);
            let origin = (config.config_source, config.read_only);
            notes.add(
                format!("DescribeConfigs broker origin {name} {when}"),
                origin,
            );
        }
    }
    Ok(())
}

async fn alter(
    client: &Client,
    notes: &mut Notes,
    number: usize,
    (kind, resource, changes): &Attempt,
    validate_only: bool,
) -> anyhow::Result<()> {
    let change = |(key, operation, value): &(&str, i8, Option<&str>)| {
        incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    let target = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(*kind)
        .with_resource_name(text(resource))
        .with_configs(changes.iter().map(change).collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![target])
        .with_validate_only(validate_only);
    let response = client.request(Target::Any, &request).await?;
    for one in response.responses {
        let what = format!("{number} {resource:?} {changes:?} check {validate_only}");
        let answer = (one.error_code, one.error_message.is_some());
        notes.add(format!("IncrementalAlterConfigs {what}"), answer);
    }
    Ok(())
}

async fn replace(
    client: &Client,
    notes: &mut Notes,
    changes: &[(&str, Option<&str>)],
) -> anyhow::Result<()> {
    let change = |(key, value): &(&str, Option<&str>)| {
        alter_configs_request::AlterableConfig::default()
            .with_name(text(key))
            .with_value(value.map(text))
    };
    let target = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text("plain"))
        .with_configs(changes.iter().map(change).collect());
    let request = AlterConfigsRequest::default().with_resources(vec![target]);
    let response = client.request(Target::Any, &request).await?;
    for one in response.responses {
        notes.add(format!("AlterConfigs {changes:?}"), one.error_code);
    }
    Ok(())
}
