//! `esker topic`: create, list, describe, delete.

use std::collections::BTreeMap;
use std::io;
use std::io::IsTerminal as _;

use clap::{Args, Subcommand};
use esker_env::Env;
use esker_kafka::client::{ClientError, NewTopic, Target};
use esker_kafka::messages::describe_configs_request::DescribeConfigsResource;
use esker_kafka::messages::{ApiKey, DescribeConfigsRequest, StrBytes};
use esker_kafka::{KafkaError, messages::MetadataResponse};
use serde::Serialize;

use super::exit::{Cause, Failure, say};
use super::table::{Align, Table, put, put_json};
use super::{Common, Output, Session, partition_indexes};

/// Kafka's code of a topic among resources that have configs.
const TOPIC_RESOURCE: i8 = 2;
/// Kafka's code of a config that was set for the topic.
const TOPIC_CONFIG: i8 = 1;
/// Kafka's code of a config that nobody has set.
const DEFAULT_CONFIG: i8 = 5;

/// `esker topic`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TopicCommand {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Create a topic
    Create {
        name: String,
        /// Number of partitions; the broker's default without it
        #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// A config of the topic, such as retention.ms=86400000; may be given again
        #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = pair)]
        configs: Vec<(String, String)>,
    },
    /// List topics
    List,
    /// Show partitions, offsets and configs of a topic
    Describe {
        name: String,
        /// Show configs at their defaults too
        #[arg(short, long)]
        all: bool,
    },
    /// Delete a topic with all its records
    Delete {
        name: String,
        /// Do not ask on a terminal
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Debug, Serialize)]
struct TopicLine {
    name: String,
    topic_id: String,
    partitions: usize,
    internal: bool,
}

#[derive(Debug, Serialize)]
struct PartitionLine {
    partition: i32,
    leader: Option<i32>,
    start_offset: i64,
    end_offset: i64,
}

#[derive(Debug, Serialize)]
struct ConfigLine {
    value: Option<String>,
    source: &'static str,
}

#[derive(Debug, Serialize)]
struct TopicPicture {
    name: String,
    topic_id: String,
    partitions: Vec<PartitionLine>,
    configs: BTreeMap<String, ConfigLine>,
}

#[derive(Debug, Serialize)]
struct Created<'a> {
    name: &'a str,
    topic_id: String,
    partitions: i32,
}

/// Reads `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is wanted"),
    }
}

pub(crate) async fn run(command: TopicCommand, env: Env) -> Result<(), Failure> {
    let session = Session::open(&command.common, env).await?;
    let output = command.common.output;
    match command.action {
        Action::Create {
            name,
            partitions,
            configs,
        } => create(&session, output, &name, partitions, &configs).await,
        Action::List => list(&session, output).await,
        Action::Describe { name, all } => describe(&session, output, &name, all).await,
        Action::Delete { name, yes } => delete(&session, &name, yes).await,
    }
}

async fn create(
    session: &Session,
    output: Output,
    name: &str,
    partitions: Option<i32>,
    configs: &[(String, String)],
) -> Result<(), Failure> {
    let configs = configs.iter();
    let configs: Vec<(&str, &str)> = configs
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let topic = NewTopic {
        name,
        partitions,
        replication_factor: None,
        configs: &configs,
    };
    let created = session.client.create_topic(&topic).await;
    let created = created.map_err(|error| {
        let exists = error.code() == Some(KafkaError::TopicAlreadyExists);
        let failure = Failure::client(format!("create topic {name}"), error);
        match exists {
            true => failure.advise(format!("esker topic describe {name} shows what it is like")),
            false => failure,
        }
    })?;
    match output {
        Output::Table => say(&format!(
            "created topic {name} with {} partitions",
            created.partitions
        )),
        Output::Json => put_json(&Created {
            name,
            topic_id: created.topic_id.to_string(),
            partitions: created.partitions,
        })?,
    }
    Ok(())
}

async fn list(session: &Session, output: Output) -> Result<(), Failure> {
    let asked = session.client.metadata(None).await;
    let response = asked.map_err(|error| Failure::client("list topics", error))?;
    let lines = topic_lines(&response);
    match output {
        Output::Json => put_json(&lines),
        Output::Table => {
            let mut table = Table::new(&[
                ("NAME", Align::Left),
                ("PARTITIONS", Align::Right),
                ("TOPIC ID", Align::Left),
            ]);
            for line in lines {
                table.row(vec![line.name, line.partitions.to_string(), line.topic_id]);
            }
            put(&table.render())
        }
    }
}

fn topic_lines(response: &MetadataResponse) -> Vec<TopicLine> {
    let topics = response.topics.iter().filter_map(|topic| {
        Some(TopicLine {
            name: topic.name.as_ref()?.to_string(),
            topic_id: topic.topic_id.to_string(),
            partitions: topic.partitions.len(),
            internal: topic.is_internal,
        })
    });
    let mut lines: Vec<TopicLine> = topics.collect();
    lines.sort_by(|left, right| left.name.cmp(&right.name));
    lines
}

async fn describe(session: &Session, output: Output, name: &str, all: bool) -> Result<(), Failure> {
    let topic = session.topic(name).await?;
    let indexes = partition_indexes(&topic);
    let bounds = session.bounds(name, &indexes).await?;
    let leader_of = |index: i32| {
        let mut partitions = topic.partitions.iter();
        let partition = partitions.find(|partition| partition.partition_index == index)?;
        Some(partition.leader_id.0).filter(|leader| *leader >= 0)
    };
    let partitions = bounds.iter().map(|(partition, bounds)| PartitionLine {
        partition: *partition,
        leader: leader_of(*partition),
        start_offset: bounds.start,
        end_offset: bounds.end,
    });
    let picture = TopicPicture {
        name: name.to_owned(),
        topic_id: topic.topic_id.to_string(),
        partitions: partitions.collect(),
        configs: configs(session, name, all).await?,
    };
    match output {
        Output::Json => put_json(&picture),
        Output::Table => put(&picture.render()),
    }
}

impl TopicPicture {
    fn render(&self) -> String {
        let mut partitions = Table::new(&[
            ("PARTITION", Align::Right),
            ("LEADER", Align::Right),
            ("START", Align::Right),
            ("END", Align::Right),
            ("OFFSETS", Align::Right),
        ]);
        for line in &self.partitions {
            partitions.row(vec![
                line.partition.to_string(),
                super::table::number_or_dash(line.leader.map(i64::from)),
                line.start_offset.to_string(),
                line.end_offset.to_string(),
                (line.end_offset.saturating_sub(line.start_offset)).to_string(),
            ]);
        }
        let mut text = format!("topic {}  id {}\n\n", self.name, self.topic_id);
        text.push_str(&partitions.render());
        if self.configs.is_empty() {
            return text;
        }
        let columns = [
            ("CONFIG", Align::Left),
            ("VALUE", Align::Left),
            ("SOURCE", Align::Left),
        ];
        let mut configs = Table::new(&columns);
        for (name, config) in &self.configs {
            let value = config.value.clone().unwrap_or_else(|| "-".to_owned());
            configs.row(vec![name.clone(), value, config.source.to_owned()]);
        }
        text.push('\n');
        text.push_str(&configs.render());
        text
    }
}

/// Who has set a config.
fn source(code: i8) -> &'static str {
    match code {
        TOPIC_CONFIG => "topic",
        DEFAULT_CONFIG => "default",
        _ => "broker",
    }
}

/// The topic's configs by name: all, or those that are set somewhere. None from a broker that does
/// not tell.
async fn configs(
    session: &Session,
    name: &str,
    all: bool,
) -> Result<BTreeMap<String, ConfigLine>, Failure> {
    let tried = || format!("describe configs of topic {name}");
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(StrBytes::from_string(name.to_owned()))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response = match session.client.request(Target::Any, &request).await {
        Ok(response) => response,
        Err(ClientError::Unsupported { .. }) => return Ok(BTreeMap::new()),
        Err(error) => return Err(Failure::client(tried(), error)),
    };
    let result = response.results.into_iter().next();
    let result = result.ok_or_else(|| Failure::new(tried(), Cause::Unanswered))?;
    if result.error_code != KafkaError::None.code() {
        let api = ApiKey::DescribeConfigs;
        return Err(Failure::refused(
            tried(),
            api,
            result.error_code,
            result.error_message,
        ));
    }
    let configs = result.configs.into_iter();
    let shown = configs.filter(|config| all || config.config_source != DEFAULT_CONFIG);
    let lines = shown.map(|config| {
        let line = ConfigLine {
            value: config.value.map(|value| value.to_string()),
            source: source(config.config_source),
        };
        (config.name.to_string(), line)
    });
    Ok(lines.collect())
}

async fn delete(session: &Session, name: &str, yes: bool) -> Result<(), Failure> {
    let tried = || format!("delete topic {name}");
    if !yes && io::stdin().is_terminal() {
        say(&format!(
            "type {name} to delete the topic with all its records:"
        ));
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        read.map_err(|error| Failure::new(tried(), Cause::Input(error)))?;
        if answer.trim() != name {
            return Err(Failure::new(tried(), Cause::Unconfirmed));
        }
    }
    let deleted = session.client.delete_topic(name).await;
    deleted.map_err(|error| Failure::client(tried(), error))?;
    say(&format!("deleted topic {name}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_are_read_as_pairs_whose_values_may_hold_anything() {
        let given = pair("retention.ms=60000");
        let given_twice = pair("a=b=c");

        assert_eq!(given, Ok(("retention.ms".into(), "60000".into())));
        assert_eq!(given_twice, Ok(("a".into(), "b=c".into())));
        assert!(pair("retention.ms").is_err());
        assert!(pair("=1").is_err());
    }

    #[test]
    fn a_topic_is_drawn_with_partitions_and_what_was_set() {
        let config = ConfigLine {
            value: Some("1".into()),
            source: "topic",
        };
        let picture = TopicPicture {
            name: "orders".into(),
            topic_id: "x".into(),
            partitions: vec![PartitionLine {
                partition: 0,
                leader: None,
                start_offset: 5,
                end_offset: 15,
            }],
            configs: BTreeMap::from([("retention.ms".to_owned(), config)]),
        };

        let text = picture.render();

        assert_eq!(
            text,
            "topic orders  id x\n\n\
             PARTITION  LEADER  START  END  OFFSETS\n        0       -      5   15       10\n\n\
             CONFIG        VALUE  SOURCE\nretention.ms  1      topic\n"
        );
    }
}
