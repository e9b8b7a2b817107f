//! `esker offsets`: what a topic holds, where groups are, and setting groups elsewhere.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use esker_env::Env;
use esker_kafka::client::{Isolation, OffsetQuery, OffsetToCommit};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::exit::{Cause, Failure, say};
use super::limits::LOOK_UPS_IN_FLIGHT_MAX;
use super::show::{Column, Row, left, right};
use super::start::{Bounds, Start, Time};
use super::table::number_or_dash;
use super::{Common, Session, group, partition_indexes};

/// `esker offsets`.
#[derive(Args, Clone, Debug)]
pub(crate) struct OffsetsCommand {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Show the first and the next offset of each partition, or those at a time
    Topic {
        /// The topic
        topic: String,
        #[command(flatten)]
        partitions: Partitions,
        /// The first record at or after this time: milliseconds since 1970, or a date
        #[arg(long, value_name = "TIME")]
        at: Option<Time>,
    },
    /// Show what a group has committed, and how far behind that is
    Group {
        /// The group
        group: String,
    },
    /// Set a group's offsets; its members must be stopped
    Reset {
        /// The group
        group: String,
        #[command(flatten)]
        to: To,
        /// Only this topic, all of whose partitions are set; without it those with an offset
        #[arg(long)]
        topic: Option<String>,
        #[command(flatten)]
        partitions: Partitions,
        /// Show what would change and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Forget offsets of a group; nobody may be reading the topic for it
    Delete {
        /// The group
        group: String,
        /// The topic
        #[arg(long)]
        topic: String,
        #[command(flatten)]
        partitions: Partitions,
        /// Show what would be forgotten and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Args, Clone, Debug)]
struct Partitions {
    /// Only this partition; may be given again
    #[arg(short, long = "partition", value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,
}

/// Where a group goes: one of them.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct To {
    /// earliest, latest, an offset, -N (N before the end) or @TIME
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    to: Option<Start>,
    /// The first record that is kept
    #[arg(long)]
    to_earliest: bool,
    /// Behind the last record
    #[arg(long)]
    to_latest: bool,
    /// The first record at or after this time: milliseconds since 1970, or a date
    #[arg(long, value_name = "TIME")]
    to_datetime: Option<Time>,
    /// This offset, or the nearest that exists
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// So many records on from where the group is, or back with a minus
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    shift_by: Option<i64>,
}

/// Where a group goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Place(Start),
    Shift(i64),
}

#[derive(Debug, Serialize)]
struct TopicOffsets {
    partition: i32,
    earliest: i64,
    latest: i64,
    records: i64,
}

#[derive(Debug, Serialize)]
struct OffsetAtTime {
    partition: i32,
    /// `None`: no record is as young.
    offset: Option<i64>,
    timestamp: Option<i64>,
}

#[derive(Debug, Serialize)]
struct ResetLine {
    topic: String,
    partition: i32,
    offset_before: Option<i64>,
    offset: i64,
}

#[derive(Debug, Serialize)]
struct DeleteLine {
    topic: String,
    partition: i32,
    offset_before: i64,
}

impl Row for TopicOffsets {
    const COLUMNS: &'static [Column<Self>] = &[
        right("PARTITION", |line| line.partition.to_string()),
        right("EARLIEST", |line| line.earliest.to_string()),
        right("LATEST", |line| line.latest.to_string()),
        right("OFFSETS", |line| line.records.to_string()),
    ];
}

impl Row for OffsetAtTime {
    const COLUMNS: &'static [Column<Self>] = &[
        right("PARTITION", |line| line.partition.to_string()),
        right("OFFSET", |line| number_or_dash(line.offset)),
        right("TIMESTAMP", |line| number_or_dash(line.timestamp)),
    ];
}

impl Row for ResetLine {
    const COLUMNS: &'static [Column<Self>] = &[
        left("TOPIC", |line| line.topic.clone()),
        right("PARTITION", |line| line.partition.to_string()),
        right("BEFORE", |line| number_or_dash(line.offset_before)),
        right("OFFSET", |line| line.offset.to_string()),
    ];
}

impl Row for DeleteLine {
    const COLUMNS: &'static [Column<Self>] = &[
        left("TOPIC", |line| line.topic.clone()),
        right("PARTITION", |line| line.partition.to_string()),
        right("BEFORE", |line| line.offset_before.to_string()),
    ];
}

impl To {
    fn place(&self) -> Move {
        let place = match self {
            Self { to: Some(to), .. } => *to,
            Self {
                to_latest: true, ..
            } => Start::Latest,
            Self {
                to_datetime: Some(time),
                ..
            } => Start::At(time.millis()),
            Self {
                to_offset: Some(offset),
                ..
            } => Start::Offset(*offset),
            Self {
                shift_by: Some(count),
                ..
            } => return Move::Shift(*count),
            // One of them is given: what is left is --to-earliest.
            Self { .. } => Start::Earliest,
        };
        Move::Place(place)
    }
}

impl Partitions {
    fn wants(&self, partition: i32) -> bool {
        self.partitions.is_empty() || self.partitions.contains(&partition)
    }

    /// Those that are wanted of the topic's; one that does not exist is an error.
    async fn of(&self, session: &Session, topic: &str) -> Result<Vec<i32>, Failure> {
        let existing = partition_indexes(&session.topic(topic).await?);
        let mut wanted = self.partitions.iter();
        if let Some(missing) = wanted.find(|one| !existing.contains(one)) {
            let last = existing.last().copied().unwrap_or(0);
            let tried = format!("look up partition {missing} of topic {topic}");
            return Err(Failure::new(tried, Cause::Partition { last }));
        }
        let wanted = existing.into_iter().filter(|one| self.wants(*one));
        Ok(wanted.collect())
    }
}

pub(crate) async fn run(command: OffsetsCommand, env: Env) -> Result<(), Failure> {
    let common = &command.common;
    let session = Session::open(common, env).await?;
    match command.action {
        Action::Topic {
            topic,
            partitions,
            at,
        } => {
            let partitions = partitions.of(&session, &topic).await?;
            match at {
                None => common.show(&topic_offsets(&session, &topic, &partitions).await?),
                Some(time) => {
                    common.show(&offsets_at(&session, &topic, &partitions, time.millis()).await?)
                }
            }
        }
        Action::Group { group } => {
            let lags = group::lags(&session, &group).await?;
            if lags.is_empty() && group::find(&session, &group).await?.is_none() {
                let tried = format!("show offsets of group {group}");
                return Err(Failure::new(tried, Cause::NoGroup));
            }
            common.show(&lags)
        }
        Action::Reset {
            group,
            to,
            topic,
            partitions,
            dry_run,
        } => {
            let lines = plan_reset(&session, &group, to.place(), topic, &partitions).await?;
            if !dry_run {
                commit(&session, &group, &lines).await?;
            }
            common.show(&lines)?;
            say_if_dry(dry_run);
            Ok(())
        }
        Action::Delete {
            group,
            topic,
            partitions,
            dry_run,
        } => {
            let lines = delete(&session, &group, &topic, &partitions, dry_run).await?;
            common.show(&lines)?;
            say_if_dry(dry_run);
            Ok(())
        }
    }
}

fn say_if_dry(dry_run: bool) {
    if dry_run {
        say("nothing was changed: --dry-run");
    }
}

async fn topic_offsets(
    session: &Session,
    topic: &str,
    partitions: &[i32],
) -> Result<Vec<TopicOffsets>, Failure> {
    let bounds = session.bounds(topic, partitions).await?;
    let lines = bounds.into_iter().map(|(partition, bounds)| TopicOffsets {
        partition,
        earliest: bounds.start,
        latest: bounds.end,
        records: bounds.end.saturating_sub(bounds.start),
    });
    Ok(lines.collect())
}

async fn offsets_at(
    session: &Session,
    topic: &str,
    partitions: &[i32],
    millis: i64,
) -> Result<Vec<OffsetAtTime>, Failure> {
    let one = |partition: i32| async move {
        let (query, isolation) = (OffsetQuery::At(millis), Isolation::ReadUncommitted);
        let asked = session
            .client
            .list_offset(topic, partition, query, isolation);
        let tried = || format!("look up offsets of topic {topic}, partition {partition}");
        let found = asked
            .await
            .map_err(|error| Failure::client(tried(), error))?;
        let is_found = found.offset >= 0;
        Ok(OffsetAtTime {
            partition,
            offset: is_found.then_some(found.offset),
            timestamp: Some(found.timestamp).filter(|timestamp| is_found && *timestamp >= 0),
        })
    };
    stream::iter(partitions.to_vec())
        .map(one)
        .buffered(LOOK_UPS_IN_FLIGHT_MAX)
        .try_collect()
        .await
}

async fn plan_reset(
    session: &Session,
    group: &str,
    to: Move,
    topic: Option<String>,
    partitions: &Partitions,
) -> Result<Vec<ResetLine>, Failure> {
    let tried = format!("reset group {group}");
    group::check_unused(group::find(session, group).await?.as_ref(), &tried)?;
    let before = group::committed(session, group).await?;
    let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    match topic {
        Some(topic) => {
            let partitions = partitions.of(session, &topic).await?;
            wanted.insert(topic, partitions);
        }
        None => {
            let places = before.keys();
            for (topic, partition) in places.filter(|(_, one)| partitions.wants(*one)) {
                wanted.entry(topic.clone()).or_default().push(*partition);
            }
        }
    }
    let mut lines = Vec::new();
    for (topic, partitions) in wanted {
        for (partition, bounds) in session.bounds(&topic, &partitions).await? {
            let offset_before = before.get(&(topic.clone(), partition)).copied();
            let offset = match to {
                Move::Place(place) => place.resolve(session, &topic, partition, bounds).await?,
                Move::Shift(count) => match offset_before {
                    Some(offset) => shifted(offset, count, bounds),
                    None => continue,
                },
            };
            lines.push(ResetLine {
                topic: topic.clone(),
                partition,
                offset_before,
                offset,
            });
        }
    }
    if lines.is_empty() {
        let advice =
            format!("esker offsets reset {group} --topic TOPIC --to-earliest sets all of a topic");
        return Err(Failure::new(tried, Cause::NoOffsets).advise(advice));
    }
    Ok(lines)
}

/// So many records on, within what the partition holds.
fn shifted(offset: i64, count: i64, bounds: Bounds) -> i64 {
    let wanted = offset.saturating_add(count);
    wanted.min(bounds.end).max(bounds.start)
}

async fn commit(session: &Session, group: &str, lines: &[ResetLine]) -> Result<(), Failure> {
    let offsets = lines.iter().map(|line| OffsetToCommit {
        topic: &line.topic,
        partition: line.partition,
        offset: line.offset,
    });
    let offsets: Vec<_> = offsets.collect();
    let committed = session.client.offset_commit(group, &offsets).await;
    committed.map_err(|error| Failure::client(format!("reset group {group}"), error))
}

async fn delete(
    session: &Session,
    group: &str,
    topic: &str,
    partitions: &Partitions,
    dry_run: bool,
) -> Result<Vec<DeleteLine>, Failure> {
    let tried = || format!("delete offsets of group {group} in topic {topic}");
    let before = group::committed(session, group).await?;
    let places = before.into_iter();
    let wanted = places.filter(|((of, one), _)| of == topic && partitions.wants(*one));
    let lines = wanted.map(|((topic, partition), offset_before)| DeleteLine {
        topic,
        partition,
        offset_before,
    });
    let lines: Vec<DeleteLine> = lines.collect();
    if lines.is_empty() {
        let advice = format!("esker offsets group {group} shows what it has committed");
        return Err(Failure::new(tried(), Cause::NoOffsets).advise(advice));
    }
    if !dry_run {
        let places = lines.iter().map(|line| (topic, line.partition));
        let places: Vec<(&str, i32)> = places.collect();
        let deleted = session.client.offset_delete(group, &places).await;
        deleted.map_err(|error| Failure::client(tried(), error))?;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_stays_within_what_the_partition_holds() {
        let bounds = Bounds { start: 10, end: 20 };

        assert_eq!(shifted(15, 3, bounds), 18);
        assert_eq!(shifted(15, -3, bounds), 12);
        assert_eq!(shifted(15, 30, bounds), 20);
        assert_eq!(shifted(15, i64::MIN, bounds), 10);
        assert_eq!(shifted(15, i64::MAX, bounds), 20);
    }
}
