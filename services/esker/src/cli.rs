//! Command line of clients: topics, producing, consuming, groups; against any Kafka broker.
//!
//! Data goes to stdout, everything said to a person to stderr. Exit codes are those of
//! [`exit::Exit`]. The environment is read through clap alone.

mod bench;
mod configs;
mod consume;
pub(crate) mod exit;
mod format;
mod group;
mod limits;
mod offsets;
pub(crate) mod paint;
mod produce;
pub(crate) mod progress;
pub(crate) mod show;
mod start;
pub(crate) mod table;
mod topic;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use esker_env::Env;
use esker_kafka::client::{Client, Isolation, OffsetQuery};
use esker_kafka::messages::metadata_response::MetadataResponseTopic;
use esker_kafka::{KafkaError, messages::ApiKey};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use exit::Failure;
use start::Bounds;

// What a client can do. No doc comment: clap would make it the help of the whole program.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Create, list, describe and delete topics
    Topic(topic::TopicCommand),
    /// Append lines of stdin or a file to a topic
    Produce(produce::ProduceCommand),
    /// Write the records of a topic to stdout
    Consume(consume::ConsumeCommand),
    /// List, describe and delete consumer groups
    Group(group::GroupCommand),
    /// Look offsets up by place or time; show, set and forget those of groups
    Offsets(offsets::OffsetsCommand),
    /// Configs of topics and brokers, and the settings of this program
    Config(configs::ConfigCommand),
    /// Measure throughput and latency of a cluster
    Bench(bench::BenchCommand),
}

impl ClientCommand {
    fn plainness(&self) -> Plainness {
        let common = match self {
            Self::Topic(command) => &command.common,
            Self::Produce(command) => &command.common,
            Self::Consume(command) => &command.common,
            Self::Group(command) => &command.common,
            Self::Offsets(command) => &command.common,
            Self::Config(command) => &command.common,
            Self::Bench(command) => &command.common,
        };
        common.plainness
    }
}

/// How structured output looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Aligned text for people; of records only what the format names
    #[default]
    Table,
    /// JSON; for records one object a line
    Json,
}

/// Arguments of every client command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// Brokers to ask first, separated by commas
    #[arg(
        long,
        env = "ESKER_BOOTSTRAP",
        default_value = "127.0.0.1:9092",
        value_name = "HOST:PORT",
        global = true
    )]
    pub(crate) bootstrap: String,
    /// How the output looks
    #[arg(short, long, value_enum, default_value_t, global = true)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) plainness: Plainness,
}

/// Reasons not to colour and not to draw; two are conventions of the environment.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Plainness {
    /// No progress bar, even on a terminal
    #[arg(long, global = true)]
    no_progress: bool,
    /// No colours and no progress bar, even on a terminal [env: NO_COLOR]
    #[arg(
        long,
        env = "NO_COLOR",
        hide_env = true,
        value_parser = clap::builder::ValueParser::new(is_given),
        global = true
    )]
    no_color: bool,
    #[arg(
        long = "ci",
        env = "CI",
        hide = true,
        value_parser = clap::builder::FalseyValueParser::new(),
        global = true
    )]
    ci: bool,
}

/// `NO_COLOR` counts whatever it says, unless it is empty; "false" is clap's own word for a flag
/// that is not given.
fn is_given(text: &str) -> Result<bool, std::convert::Infallible> {
    Ok(!text.is_empty() && text != "false")
}

/// Runs a client command to its end; whatever went wrong has been said on stderr.
pub(crate) async fn run(command: ClientCommand, env: Env) -> ExitCode {
    let paint = paint::Paint::of_stderr(command.plainness());
    let outcome = match command {
        ClientCommand::Topic(command) => Box::pin(topic::run(command, env)).await,
        ClientCommand::Produce(command) => Box::pin(produce::run(command, env)).await,
        ClientCommand::Consume(command) => Box::pin(consume::run(command, env)).await,
        ClientCommand::Group(command) => Box::pin(group::run(command, env)).await,
        ClientCommand::Offsets(command) => Box::pin(offsets::run(command, env)).await,
        ClientCommand::Config(command) => Box::pin(configs::run(command, env)).await,
        ClientCommand::Bench(command) => Box::pin(bench::run(command, env)).await,
    };
    exit::report(outcome, paint)
}

/// A connected client and what every command needs beside it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    client: Arc<Client>,
    env: Env,
}

impl Session {
    pub(crate) async fn open(common: &Common, env: Env) -> Result<Self, Failure> {
        let client = Client::connect(&common.bootstrap, "esker-cli", env.clone()).await;
        let client = client
            .map_err(|error| Failure::client(format!("connect to {}", common.bootstrap), error))?;
        Ok(Self {
            client: Arc::new(client),
            env,
        })
    }

    /// The topic as the cluster knows it now; never creates one.
    pub(crate) async fn topic(&self, name: &str) -> Result<MetadataResponseTopic, Failure> {
        let tried = || format!("find topic {name}");
        let asked = self.client.metadata(Some(&[name])).await;
        let response = asked.map_err(|error| Failure::client(tried(), error))?;
        let found = response.topics.into_iter().next();
        let Some(found) = found else {
            return Err(Failure::refused(
                tried(),
                ApiKey::Metadata,
                KafkaError::UnknownTopicOrPartition.code(),
                None,
            ));
        };
        if found.error_code != KafkaError::None.code() {
            return Err(Failure::refused(
                tried(),
                ApiKey::Metadata,
                found.error_code,
                None,
            ));
        }
        Ok(found)
    }

    /// First kept offset and end of each of these partitions.
    pub(crate) async fn bounds(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, Bounds>, Failure> {
        let one = |partition: i32| async move {
            let start = self.offset(topic, partition, OffsetQuery::Earliest).await?;
            let end = self.offset(topic, partition, OffsetQuery::Latest).await?;
            Ok((partition, Bounds { start, end }))
        };
        stream::iter(partitions.to_vec())
            .map(one)
            .buffered(limits::LOOK_UPS_IN_FLIGHT_MAX)
            .try_collect()
            .await
    }

    /// An offset of one partition; -1 when no record fits.
    pub(crate) async fn offset(
        &self,
        topic: &str,
        partition: i32,
        query: OffsetQuery,
    ) -> Result<i64, Failure> {
        let asked = self
            .client
            .list_offset(topic, partition, query, Isolation::ReadUncommitted)
            .await;
        let tried = || format!("look up offsets of topic {topic}, partition {partition}");
        let listed = asked.map_err(|error| Failure::client(tried(), error))?;
        Ok(listed.offset)
    }
}

/// The indexes of a topic's partitions, ascending.
pub(crate) fn partition_indexes(topic: &MetadataResponseTopic) -> Vec<i32> {
    let indexes = topic.partitions.iter();
    let mut indexes: Vec<i32> = indexes.map(|partition| partition.partition_index).collect();
    indexes.sort_unstable();
    indexes
}

#[cfg(test)]
mod tests;
