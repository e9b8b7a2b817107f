//! `esker config describe` and `alter`: configs of topics and brokers, on any Kafka cluster.
//!
//! `esker config show`, the settings of `esker serve`, is `serve_command`'s: it asks no broker.

use clap::{Args, Subcommand};
use esker_env::Env;
use esker_kafka::client::{ClientError, ConfigChange, ConfigResource, Effect};
use esker_kafka::messages::describe_configs_response::DescribeConfigsResourceResult;
use serde::Serialize;

use super::exit::Failure;
use super::show::{Column, Row, left, tell};
use super::topic::pair;
use super::{Common, Session};

/// `esker config`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigCommand {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Show the configs of a topic or a broker, and who has set them
    Describe {
        #[command(subcommand)]
        resource: Described,
    },
    /// Change configs of a topic or a broker; those that are not named stay
    Alter {
        #[command(subcommand)]
        resource: Altered,
    },
}

#[derive(Clone, Debug, Subcommand)]
enum Described {
    /// A topic's configs
    Topic {
        /// Its name
        name: String,
        /// Show those at their defaults too
        #[arg(short, long)]
        all: bool,
    },
    /// A broker's configs
    Broker {
        /// Its node id, or `default` for what all brokers start from
        node: Node,
        /// Show those at their defaults too
        #[arg(short, long)]
        all: bool,
    },
}

#[derive(Clone, Debug, Subcommand)]
enum Altered {
    /// A topic's configs
    Topic {
        /// Its name
        name: String,
        #[command(flatten)]
        changes: Changes,
    },
    /// A broker's configs
    Broker {
        /// Its node id, or `default` for what all brokers start from
        node: Node,
        #[command(flatten)]
        changes: Changes,
    },
}

/// What to change.
#[derive(Args, Clone, Debug)]
struct Changes {
    /// Set a config; may be given again
    #[arg(
        long,
        value_name = "NAME=VALUE",
        value_parser = pair,
        required_unless_present_any = ["delete", "append", "subtract"]
    )]
    set: Vec<(String, String)>,
    /// Set a config back to its default; may be given again
    #[arg(long, value_name = "NAME")]
    delete: Vec<String>,
    /// Add a value to a config that is a list; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    append: Vec<(String, String)>,
    /// Take a value from a config that is a list; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    subtract: Vec<(String, String)>,
    /// Let the broker check the changes, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// One broker, or the default of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node(Option<i32>);

impl std::str::FromStr for Node {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self(None)),
            number => match number.parse() {
                Ok(node) if node >= 0 => Ok(Self(Some(node))),
                _ => Err("a node id is wanted, such as 1, or default"),
            },
        }
    }
}

/// A config as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ConfigLine {
    pub(crate) name: String,
    /// `None`: there is none, or the broker keeps it secret.
    pub(crate) value: Option<String>,
    /// Who has set it.
    pub(crate) source: &'static str,
    pub(crate) read_only: bool,
}

impl Row for ConfigLine {
    const COLUMNS: &'static [Column<Self>] = &[
        left("CONFIG", |line| line.name.clone()),
        left("VALUE", |line| {
            line.value.clone().unwrap_or_else(|| "-".to_owned())
        }),
        left("SOURCE", |line| line.source.to_owned()),
    ];
}

#[derive(Debug, Serialize)]
struct ChangeLine<'a> {
    name: &'a str,
    operation: &'static str,
    value: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct AlteredPicture<'a> {
    resource: &'a str,
    dry_run: bool,
    changes: Vec<ChangeLine<'a>>,
}

/// Kafka's code of who has set a config.
const DEFAULT_CONFIG: i8 = 5;

fn source(code: i8) -> &'static str {
    match code {
        1 => "topic",
        2 => "broker",
        3 => "all brokers",
        4 => "broker file",
        DEFAULT_CONFIG => "default",
        _ => "unknown",
    }
}

/// Configs by name: all, or those that somebody has set.
pub(crate) fn lines(configs: Vec<DescribeConfigsResourceResult>, all: bool) -> Vec<ConfigLine> {
    let configs = configs.into_iter();
    let shown = configs.filter(|config| all || config.config_source != DEFAULT_CONFIG);
    let lines = shown.map(|config| ConfigLine {
        name: config.name.to_string(),
        value: config.value.map(|value| value.to_string()),
        source: source(config.config_source),
        read_only: config.read_only,
    });
    let mut lines: Vec<ConfigLine> = lines.collect();
    lines.sort_by(|left, right| left.name.cmp(&right.name));
    lines
}

pub(crate) async fn run(command: ConfigCommand, env: Env) -> Result<(), Failure> {
    let common = &command.common;
    let session = Session::open(common, env).await?;
    match &command.action {
        Action::Describe { resource } => {
            let (resource, all) = match resource {
                Described::Topic { name, all } => (ConfigResource::Topic(name), *all),
                Described::Broker { node, all } => (ConfigResource::Broker(node.0), *all),
            };
            let asked = session.client.describe_configs(resource).await;
            let tried = || format!("describe configs of {}", words(resource));
            let configs = asked.map_err(|error| advised(tried(), resource, error))?;
            common.show(&lines(configs, all))
        }
        Action::Alter { resource } => {
            let (resource, changes) = match resource {
                Altered::Topic { name, changes } => (ConfigResource::Topic(name), changes),
                Altered::Broker { node, changes } => (ConfigResource::Broker(node.0), changes),
            };
            alter(&session, common, resource, changes).await
        }
    }
}

fn words(resource: ConfigResource<'_>) -> String {
    match resource {
        ConfigResource::Topic(name) => format!("topic {name}"),
        ConfigResource::Broker(Some(node)) => format!("broker {node}"),
        ConfigResource::Broker(None) => "all brokers".to_owned(),
    }
}

fn advised(tried: String, resource: ConfigResource<'_>, error: ClientError) -> Failure {
    let is_unknown = matches!(error, ClientError::UnknownBroker { .. });
    let failure = Failure::client(tried, error);
    match resource {
        ConfigResource::Broker(_) if is_unknown => {
            failure.advise("esker topic describe shows node ids of brokers as leaders")
        }
        ConfigResource::Broker(_) | ConfigResource::Topic(_) => failure,
    }
}

impl Changes {
    fn all(&self) -> Vec<(&str, ConfigChange<'_>)> {
        fn of<'a>(
            pairs: &'a [(String, String)],
            change: fn(&'a str) -> ConfigChange<'a>,
        ) -> impl Iterator<Item = (&'a str, ConfigChange<'a>)> {
            let pairs = pairs.iter();
            pairs.map(move |(name, value)| (name.as_str(), change(value)))
        }
        let deleted = self.delete.iter();
        let deleted = deleted.map(|name| (name.as_str(), ConfigChange::Delete));
        of(&self.set, ConfigChange::Set)
            .chain(deleted)
            .chain(of(&self.append, ConfigChange::Append))
            .chain(of(&self.subtract, ConfigChange::Subtract))
            .collect()
    }
}

async fn alter(
    session: &Session,
    common: &Common,
    resource: ConfigResource<'_>,
    changes: &Changes,
) -> Result<(), Failure> {
    let wanted = changes.all();
    let effect = match changes.dry_run {
        true => Effect::Validate,
        false => Effect::Apply,
    };
    let altered = session.client.alter_configs(resource, &wanted, effect);
    let tried = || format!("alter configs of {}", words(resource));
    altered
        .await
        .map_err(|error| advised(tried(), resource, error))?;
    let lines = wanted.iter().map(|(name, change)| {
        let (operation, value) = match change {
            ConfigChange::Set(value) => ("set", Some(*value)),
            ConfigChange::Delete => ("delete", None),
            ConfigChange::Append(value) => ("append", Some(*value)),
            ConfigChange::Subtract(value) => ("subtract", Some(*value)),
        };
        ChangeLine {
            name,
            operation,
            value,
        }
    });
    let resource = words(resource);
    let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    let said = match changes.dry_run {
        true => format!("the broker would alter {resource}: {}", names.join(", ")),
        false => format!("altered {resource}: {}", names.join(", ")),
    };
    let json = AlteredPicture {
        resource: &resource,
        dry_run: changes.dry_run,
        changes: lines.collect(),
    };
    tell(common, &said, &json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &'static str, source: i8) -> DescribeConfigsResourceResult {
        DescribeConfigsResourceResult::default()
            .with_name(esker_kafka::messages::StrBytes::from_static_str(name))
            .with_config_source(source)
    }

    #[test]
    fn configs_are_sorted_and_defaults_shown_only_when_asked_for() {
        let configs = vec![result("b", 1), result("a", DEFAULT_CONFIG)];

        let set = lines(configs.clone(), false);
        let all = lines(configs, true);

        assert_eq!(set.len(), 1);
        assert_eq!((set[0].name.as_str(), set[0].source), ("b", "topic"));
        assert_eq!(all[0].name, "a");
    }

    #[test]
    fn a_node_is_a_number_or_the_default() {
        assert_eq!("3".parse(), Ok(Node(Some(3))));
        assert_eq!("default".parse(), Ok(Node(None)));
        assert!("-1".parse::<Node>().is_err());
        assert!("all".parse::<Node>().is_err());
    }
}
