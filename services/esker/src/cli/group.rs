//! `esker group`: list, describe with lag, reset offsets.

mod lag;

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use esker_env::Env;
use esker_kafka::KafkaError;
use esker_kafka::client::OffsetToCommit;
use esker_kafka::messages::describe_groups_response::DescribedGroup;
use serde::Serialize;

use super::exit::{Cause, Exit, Failure, say};
use super::start::Start;
use super::table::{Align, Table, number_or_dash, put, put_json};
use super::{Common, Output, Session, partition_indexes};
use lag::{PartitionLag, assigned_partitions};

/// `esker group`.
#[derive(Args, Clone, Debug)]
pub(crate) struct GroupCommand {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// List groups
    List,
    /// Show a group's offsets, lag and members
    Describe { group: String },
    /// Set a group's offsets; its members must be stopped
    Reset {
        group: String,
        /// earliest, latest, an offset, -N (N before the end) or @TIMESTAMP
        #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
        to: Start,
        /// Only this topic, all of whose partitions are set; without it those with an offset
        #[arg(long)]
        topic: Option<String>,
        /// Show what would change and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Serialize)]
struct GroupLine {
    group: String,
    state: String,
    protocol_type: String,
}

#[derive(Debug, Serialize)]
struct MemberLine {
    member: String,
    client: String,
    host: String,
    partition_count: usize,
}

#[derive(Debug, Serialize)]
struct GroupPicture {
    group: String,
    state: String,
    protocol: String,
    lag: i64,
    partitions: Vec<PartitionLag>,
    members: Vec<MemberLine>,
}

#[derive(Debug, Serialize)]
struct ResetLine {
    topic: String,
    partition: i32,
    offset_before: Option<i64>,
    offset: i64,
}

/// What a group has committed, by topic and partition.
pub(crate) type Committed = BTreeMap<(String, i32), i64>;

pub(crate) async fn run(command: GroupCommand, env: Env) -> Result<(), Failure> {
    let session = Session::open(&command.common, env).await?;
    let output = command.common.output;
    match command.action {
        Action::List => list(&session, output).await,
        Action::Describe { group } => describe(&session, output, &group).await,
        Action::Reset {
            group,
            to,
            topic,
            dry_run,
        } => {
            let lines = plan_reset(&session, &group, to, topic.as_deref()).await?;
            reset(&session, output, &group, &lines, dry_run).await
        }
    }
}

async fn list(session: &Session, output: Output) -> Result<(), Failure> {
    let listed = session.client.list_groups().await;
    let groups = listed.map_err(|error| Failure::client("list groups", error))?;
    let lines = groups.into_iter().map(|group| GroupLine {
        group: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
    });
    let lines: Vec<GroupLine> = lines.collect();
    match output {
        Output::Json => put_json(&lines),
        Output::Table => {
            let columns = [
                ("GROUP", Align::Left),
                ("STATE", Align::Left),
                ("TYPE", Align::Left),
            ];
            let mut table = Table::new(&columns);
            for line in lines {
                table.row(vec![line.group, line.state, line.protocol_type]);
            }
            put(&table.render())
        }
    }
}

/// The group with its members; `None` when the cluster knows none of that name.
pub(crate) async fn find(
    session: &Session,
    group: &str,
) -> Result<Option<DescribedGroup>, Failure> {
    match session.client.describe_group(group).await {
        Ok(described) if described.group_state.as_str() == "Dead" => Ok(None),
        Ok(described) => Ok(Some(described)),
        Err(error) if error.code() == Some(KafkaError::GroupIdNotFound) => Ok(None),
        Err(error) => Err(Failure::client(format!("describe group {group}"), error)),
    }
}

/// Everything that the group has committed.
pub(crate) async fn committed(session: &Session, group: &str) -> Result<Committed, Failure> {
    let fetched = match session.client.offset_fetch(group, None).await {
        Ok(fetched) => fetched,
        Err(error) if error.code() == Some(KafkaError::GroupIdNotFound) => Vec::new(),
        Err(error) => {
            return Err(Failure::client(
                format!("read offsets of group {group}"),
                error,
            ));
        }
    };
    let offsets = fetched.into_iter().filter_map(|committed| {
        let place = (committed.topic.to_string(), committed.partition);
        Some((place, committed.offset?))
    });
    Ok(offsets.collect())
}

/// Refuses while members would overwrite what is set from outside.
pub(crate) fn check_unused(described: Option<&DescribedGroup>, tried: &str) -> Result<(), Failure> {
    let member_count = described.map_or(0, |described| described.members.len());
    match member_count {
        0 => Ok(()),
        _ => Err(Failure::new(tried, Cause::Members { member_count })),
    }
}

async fn describe(session: &Session, output: Output, group: &str) -> Result<(), Failure> {
    let described = find(session, group).await?;
    let committed = committed(session, group).await?;
    if described.is_none() && committed.is_empty() {
        return Err(Failure::new(
            format!("describe group {group}"),
            Cause::NoGroup,
        ));
    }
    let described = described.unwrap_or_default();
    let mut owners = BTreeMap::new();
    let mut members = Vec::new();
    for member in &described.members {
        let assigned = assigned_partitions(&member.member_assignment);
        let line = MemberLine {
            member: member.member_id.to_string(),
            client: member.client_id.to_string(),
            host: member.client_host.to_string(),
            partition_count: assigned.len(),
        };
        owners.extend(
            assigned
                .into_iter()
                .map(|place| (place, line.member.clone())),
        );
        members.push(line);
    }
    let places: BTreeSet<(String, i32)> = committed.keys().chain(owners.keys()).cloned().collect();
    let ends = ends(session, &places).await?;
    let lags = places.into_iter().map(|place| {
        let committed = committed.get(&place).copied();
        let end = ends.get(&place).copied();
        let owner = owners.get(&place).cloned();
        PartitionLag::new(place, committed, end, owner)
    });
    let partitions: Vec<PartitionLag> = lags.collect();
    let picture = GroupPicture {
        group: group.to_owned(),
        state: described.group_state.to_string(),
        protocol: described.protocol_data.to_string(),
        lag: lag::total(&partitions),
        partitions,
        members,
    };
    match output {
        Output::Json => put_json(&picture),
        Output::Table => put(&picture.render()),
    }
}

/// Log ends of these places; those of topics that are gone are left out.
async fn ends(session: &Session, places: &BTreeSet<(String, i32)>) -> Result<Committed, Failure> {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in places {
        by_topic.entry(topic).or_default().push(*partition);
    }
    let mut ends = Committed::new();
    for (topic, wanted) in by_topic {
        let existing = match session.topic(topic).await {
            Ok(found) => partition_indexes(&found),
            Err(failure) if failure.exit() == Exit::NotFound => continue,
            Err(failure) => return Err(failure),
        };
        let wanted: Vec<i32> = wanted
            .into_iter()
            .filter(|one| existing.contains(one))
            .collect();
        for (partition, bounds) in session.bounds(topic, &wanted).await? {
            ends.insert((topic.to_owned(), partition), bounds.end);
        }
    }
    Ok(ends)
}

impl GroupPicture {
    fn render(&self) -> String {
        let mut partitions = Table::new(&[
            ("TOPIC", Align::Left),
            ("PARTITION", Align::Right),
            ("COMMITTED", Align::Right),
            ("END", Align::Right),
            ("LAG", Align::Right),
            ("MEMBER", Align::Left),
        ]);
        for line in &self.partitions {
            partitions.row(vec![
                line.topic.clone(),
                line.partition.to_string(),
                number_or_dash(line.committed),
                number_or_dash(line.end),
                number_or_dash(line.lag),
                line.member.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        let mut text = format!(
            "group {}  state {}  members {}  lag {}\n",
            self.group,
            if self.state.is_empty() {
                "Empty"
            } else {
                &self.state
            },
            self.members.len(),
            self.lag
        );
        if !self.partitions.is_empty() {
            text.push('\n');
            text.push_str(&partitions.render());
        }
        if !self.members.is_empty() {
            let mut members = Table::new(&[
                ("MEMBER", Align::Left),
                ("CLIENT", Align::Left),
                ("HOST", Align::Left),
                ("PARTITIONS", Align::Right),
            ]);
            for line in &self.members {
                members.row(vec![
                    line.member.clone(),
                    line.client.clone(),
                    line.host.clone(),
                    line.partition_count.to_string(),
                ]);
            }
            text.push('\n');
            text.push_str(&members.render());
        }
        text
    }
}

async fn plan_reset(
    session: &Session,
    group: &str,
    to: Start,
    topic: Option<&str>,
) -> Result<Vec<ResetLine>, Failure> {
    let tried = format!("reset group {group}");
    check_unused(find(session, group).await?.as_ref(), &tried)?;
    let before = committed(session, group).await?;
    let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    match topic {
        Some(topic) => {
            let found = session.topic(topic).await?;
            wanted.insert(topic.to_owned(), partition_indexes(&found));
        }
        None => {
            for (topic, partition) in before.keys() {
                wanted.entry(topic.clone()).or_default().push(*partition);
            }
        }
    }
    if wanted.is_empty() {
        let advice = format!("esker group reset {group} --topic TOPIC … sets all of a topic");
        return Err(Failure::new(tried, Cause::NoOffsets).advise(advice));
    }
    let mut lines = Vec::new();
    for (topic, partitions) in wanted {
        for (partition, bounds) in session.bounds(&topic, &partitions).await? {
            lines.push(ResetLine {
                topic: topic.clone(),
                partition,
                offset_before: before.get(&(topic.clone(), partition)).copied(),
                offset: to.resolve(session, &topic, partition, bounds).await?,
            });
        }
    }
    Ok(lines)
}

async fn reset(
    session: &Session,
    output: Output,
    group: &str,
    lines: &[ResetLine],
    dry_run: bool,
) -> Result<(), Failure> {
    if !dry_run {
        let offsets = lines.iter().map(|line| OffsetToCommit {
            topic: &line.topic,
            partition: line.partition,
            offset: line.offset,
        });
        let offsets: Vec<_> = offsets.collect();
        let committed = session.client.offset_commit(group, &offsets).await;
        committed.map_err(|error| Failure::client(format!("reset group {group}"), error))?;
    }
    match output {
        Output::Json => put_json(&lines)?,
        Output::Table => {
            let mut table = Table::new(&[
                ("TOPIC", Align::Left),
                ("PARTITION", Align::Right),
                ("BEFORE", Align::Right),
                ("OFFSET", Align::Right),
            ]);
            for line in lines {
                table.row(vec![
                    line.topic.clone(),
                    line.partition.to_string(),
                    number_or_dash(line.offset_before),
                    line.offset.to_string(),
                ]);
            }
            put(&table.render())?;
        }
    }
    if dry_run {
        say("nothing was changed: --dry-run");
    }
    Ok(())
}
