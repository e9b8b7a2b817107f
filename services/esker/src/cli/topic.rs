//! `esker topic`: create, list, describe, delete.

use std::io;
use std::io::IsTerminal as _;

use clap::{Args, Subcommand};
use esker_env::Env;
use esker_kafka::KafkaError;
use esker_kafka::client::{ClientError, ConfigResource, NewTopic};
use esker_kafka::messages::MetadataResponse;
use serde::Serialize;

use super::configs::{self, ConfigLine};
use super::exit::{Cause, Failure, say};
use super::paint::Paint;
use super::show::{Column, Row, Show, left, right, table_of, tell};
use super::table::number_or_dash;
use super::{Common, Session, partition_indexes};

/// `esker topic`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TopicCommand {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Create a topic
    Create {
        /// Its name
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
        /// Its name
        name: String,
        /// Show configs at their defaults too
        #[arg(short, long)]
        all: bool,
    },
    /// Delete a topic with all its records
    Delete {
        /// Its name
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
struct TopicPicture {
    name: String,
    topic_id: String,
    partitions: Vec<PartitionLine>,
    configs: Vec<ConfigLine>,
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

impl Row for TopicLine {
    const COLUMNS: &'static [Column<Self>] = &[
        left("NAME", |line| line.name.clone()),
        right("PARTITIONS", |line| line.partitions.to_string()),
        left("TOPIC ID", |line| line.topic_id.clone()),
    ];
}

impl Row for PartitionLine {
    const COLUMNS: &'static [Column<Self>] = &[
        right("PARTITION", |line| line.partition.to_string()),
        right("LEADER", |line| number_or_dash(line.leader.map(i64::from))),
        right("START", |line| line.start_offset.to_string()),
        right("END", |line| line.end_offset.to_string()),
        right("OFFSETS", |line| {
            (line.end_offset.saturating_sub(line.start_offset)).to_string()
        }),
    ];
}

impl Show for TopicPicture {
    fn text(&self, paint: Paint) -> String {
        let mut text = format!("topic {}  id {}\n\n", self.name, self.topic_id);
        text.push_str(&table_of(&self.partitions, paint));
        if !self.configs.is_empty() {
            text.push('\n');
            text.push_str(&table_of(&self.configs, paint));
        }
        text
    }
}

pub(crate) async fn run(command: TopicCommand, env: Env) -> Result<(), Failure> {
    let common = &command.common;
    let session = Session::open(common, env).await?;
    match command.action {
        Action::Create {
            name,
            partitions,
            configs,
        } => create(&session, common, &name, partitions, &configs).await,
        Action::List => {
            let asked = session.client.metadata(None).await;
            let response = asked.map_err(|error| Failure::client("list topics", error))?;
            common.show(&topic_lines(&response))
        }
        Action::Describe { name, all } => common.show(&picture(&session, &name, all).await?),
        Action::Delete { name, yes } => delete(&session, &name, yes).await,
    }
}

async fn create(
    session: &Session,
    common: &Common,
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
    let words = match created.partitions {
        1 => format!("created topic {name} with 1 partition"),
        count => format!("created topic {name} with {count} partitions"),
    };
    let json = Created {
        name,
        topic_id: created.topic_id.to_string(),
        partitions: created.partitions,
    };
    tell(common, &words, &json)
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

async fn picture(session: &Session, name: &str, all: bool) -> Result<TopicPicture, Failure> {
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
    Ok(TopicPicture {
        name: name.to_owned(),
        topic_id: topic.topic_id.to_string(),
        partitions: partitions.collect(),
        configs: configs_of(session, name, all).await?,
    })
}

/// The topic's configs: all, or those that are set somewhere. None from a broker that tells none.
async fn configs_of(session: &Session, name: &str, all: bool) -> Result<Vec<ConfigLine>, Failure> {
    let asked = session.client.describe_configs(ConfigResource::Topic(name));
    match asked.await {
        Ok(configs) => Ok(configs::lines(configs, all)),
        Err(ClientError::Unsupported { .. }) => Ok(Vec::new()),
        Err(error) => Err(Failure::client(
            format!("describe configs of topic {name}"),
            error,
        )),
    }
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
        let picture = TopicPicture {
            name: "orders".into(),
            topic_id: "x".into(),
            partitions: vec![PartitionLine {
                partition: 0,
                leader: None,
                start_offset: 5,
                end_offset: 15,
            }],
            configs: vec![ConfigLine {
                name: "retention.ms".into(),
                value: Some("1".into()),
                source: "topic",
                read_only: false,
            }],
        };

        let text = picture.text(Paint::Plain);

        assert_eq!(
            text,
            "topic orders  id x\n\n\
             PARTITION  LEADER  START  END  OFFSETS\n        0       -      5   15       10\n\n\
             CONFIG        VALUE  SOURCE\nretention.ms  1      topic\n"
        );
    }
}
