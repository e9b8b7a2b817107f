//! Command line of clients: topics, producing, consuming, groups; against any Kafka broker.
//!
//! Data goes to stdout, everything said to a person to stderr. Exit codes are those of
//! [`exit::Exit`]. The environment is read through clap alone.

mod consume;
mod exit;
mod format;
mod group;
mod limits;
mod produce;
mod progress;
mod start;
mod table;
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
    /// List and describe consumer groups, set their offsets
    Group(group::GroupCommand),
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
    bootstrap: String,
    /// How the output looks
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,
    #[command(flatten)]
    plainness: Plainness,
}

/// Reasons not to draw a progress bar; both are conventions of the environment.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Plainness {
    /// Draw no progress bar
    #[arg(
        long = "no-progress",
        env = "NO_COLOR",
        hide_env = true,
        value_parser = clap::builder::FalseyValueParser::new(),
        global = true
    )]
    no_progress: bool,
    #[arg(
        long = "ci",
        env = "CI",
        hide = true,
        value_parser = clap::builder::FalseyValueParser::new(),
        global = true
    )]
    ci: bool,
}

/// Runs a client command to its end; whatever went wrong has been said on stderr.
pub(crate) async fn run(command: ClientCommand, env: Env) -> ExitCode {
    let outcome = match command {
        ClientCommand::Topic(command) => Box::pin(topic::run(command, env)).await,
        ClientCommand::Produce(command) => Box::pin(produce::run(command, env)).await,
        ClientCommand::Consume(command) => Box::pin(consume::run(command, env)).await,
        ClientCommand::Group(command) => Box::pin(group::run(command, env)).await,
    };
    exit::report(outcome)
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
