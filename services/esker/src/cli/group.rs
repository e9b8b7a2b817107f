//! `esker group`: list, describe with lag, delete.

mod lag;

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use esker_env::Env;
use esker_kafka::KafkaError;
use esker_kafka::messages::describe_groups_response::DescribedGroup;
use serde::Serialize;

use super::exit::{Cause, Exit, Failure};
use super::paint::Paint;
use super::show::{Column, Row, Show, left, right, table_of, tell};
use super::table::number_or_dash;
use super::{Common, Session, partition_indexes};
pub(crate) use lag::PartitionLag;
use lag::assigned_partitions;

/// `esker group`.
#[derive(Args, Clone, Debug)]
pub(crate) struct GroupCommand {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// List groups
    List,
    /// Show a group's offsets, lag and members
    Describe {
        /// Its name
        group: String,
    },
    /// Delete a group with all its offsets; its members must be stopped
    Delete {
        /// Its name
        group: String,
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
struct Deleted<'a> {
    group: &'a str,
}

/// What a group has committed, by topic and partition.
pub(crate) type Committed = BTreeMap<(String, i32), i64>;

impl Row for GroupLine {
    const COLUMNS: &'static [Column<Self>] = &[
        left("GROUP", |line| line.group.clone()),
        left("STATE", |line| line.state.clone()),
        left("TYPE", |line| line.protocol_type.clone()),
    ];
}

impl Row for MemberLine {
    const COLUMNS: &'static [Column<Self>] = &[
        left("MEMBER", |line| line.member.clone()),
        left("CLIENT", |line| line.client.clone()),
        left("HOST", |line| line.host.clone()),
        right("PARTITIONS", |line| line.partition_count.to_string()),
    ];
}

impl Row for PartitionLag {
    const COLUMNS: &'static [Column<Self>] = &[
        left("TOPIC", |line| line.topic.clone()),
        right("PARTITION", |line| line.partition.to_string()),
        right("COMMITTED", |line| number_or_dash(line.committed)),
        right("END", |line| number_or_dash(line.end)),
        right("LAG", |line| number_or_dash(line.lag)),
        left("MEMBER", |line| {
            line.member.clone().unwrap_or_else(|| "-".to_owned())
        }),
    ];
}

impl Show for GroupPicture {
    fn text(&self, paint: Paint) -> String {
        let mut text = format!(
            "group {}  state {}  members {}  lag {}\n",
            self.group,
            self.state,
            self.members.len(),
            self.lag
        );
        if !self.partitions.is_empty() {
            text.push('\n');
            text.push_str(&table_of(&self.partitions, paint));
        }
        if !self.members.is_empty() {
            text.push('\n');
            text.push_str(&table_of(&self.members, paint));
        }
        text
    }
}

pub(crate) async fn run(command: GroupCommand, env: Env) -> Result<(), Failure> {
    let common = &command.common;
    let session = Session::open(common, env).await?;
    match command.action {
        Action::List => common.show(&list(&session).await?),
        Action::Describe { group } => common.show(&picture(&session, &group).await?),
        Action::Delete { group } => {
            let tried = format!("delete group {group}");
            check_unused(find(&session, &group).await?.as_ref(), &tried)?;
            let deleted = session.client.delete_group(&group).await;
            deleted.map_err(|error| Failure::client(tried, error))?;
            let json = Deleted { group: &group };
            tell(common, &format!("deleted group {group}"), &json)
        }
    }
}

async fn list(session: &Session) -> Result<Vec<GroupLine>, Failure> {
    let listed = session.client.list_groups().await;
    let groups = listed.map_err(|error| Failure::client("list groups", error))?;
    let lines = groups.into_iter().map(|group| GroupLine {
        group: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
    });
    Ok(lines.collect())
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

async fn picture(session: &Session, group: &str) -> Result<GroupPicture, Failure> {
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
    let state = match described.group_state.as_str() {
        "" => "Empty".to_owned(),
        state => state.to_owned(),
    };
    Ok(GroupPicture {
        group: group.to_owned(),
        state,
        protocol: described.protocol_data.to_string(),
        lag: lag::total(&partitions),
        partitions,
        members,
    })
}

/// What a group has committed, and how far behind that is; without its members.
pub(crate) async fn lags(session: &Session, group: &str) -> Result<Vec<PartitionLag>, Failure> {
    let committed = committed(session, group).await?;
    let places: BTreeSet<(String, i32)> = committed.keys().cloned().collect();
    let ends = ends(session, &places).await?;
    let lags = committed.into_iter().map(|(place, offset)| {
        let end = ends.get(&place).copied();
        PartitionLag::new(place, Some(offset), end, None)
    });
    Ok(lags.collect())
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
