//! Consumer groups over HTTP: who they are, and their committed offsets: get, set, reset.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use esker_metadata_api::{
    CommitOffsets, CommittedOffset, DescribedGroup, FetchOffsets, GroupError, GroupReply,
    GroupRequest, GroupState, OffsetPartition, TopicTable,
};
use esker_types::{Offset, PartitionIndex, Timestamp, TopicPartition};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::{AtMost, Object, WholeBody, bad, parse_json};
use crate::front::Front;
use crate::limits::GROUP_OFFSETS_MAX;
use crate::parts::ReadFrom;
use crate::problem::{Problem, ProblemKind};
use crate::record::no_partition;
use crate::topics::{find, no_topic, unavailable};

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupRow {
    group: String,
    /// As Kafka's tools print it: Empty, PreparingRebalance, CompletingRebalance, Stable, Dead.
    state: &'static str,
    protocol_type: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupList {
    groups: Vec<GroupRow>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberRow {
    member: String,
    #[schema(required)]
    instance: Option<String>,
    client_id: String,
    client_host: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DescribedGroupRow {
    #[serde(flatten)]
    group: GroupRow,
    protocol: String,
    members: Vec<MemberRow>,
}

/// A committed offset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OffsetRow {
    topic: String,
    partition: u32,
    /// The next record to be read; Kafka's clients may commit negative ones, which mean none.
    offset: i64,
    metadata: String,
    log_start: u64,
    high_watermark: u64,
    /// Offsets between the committed one and the end.
    lag: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OffsetList {
    offsets: Vec<OffsetRow>,
}

/// Offsets to be committed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOffsets {
    #[schema(min_items = 1, max_items = 10_000, value_type = Vec<NewOffset>)]
    offsets: AtMost<Object<NewOffset>, GROUP_OFFSETS_MAX>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOffset {
    topic: String,
    #[schema(minimum = 0, maximum = 9999)]
    partition: i32,
    #[schema(minimum = 0)]
    offset: i64,
    /// The client's own text.
    #[serde(default)]
    #[schema(max_length = 4096)]
    metadata: String,
}

/// Where to move the offsets of a topic.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetBody {
    topic: String,
    /// Without them all.
    #[serde(default)]
    #[schema(max_items = 10_000)]
    partitions: Option<Vec<i32>>,
    to: ResetTo,
    /// Tell what would be done, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

/// The log's start or end, or the first record with at least a time (the end without one).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResetTo {
    Earliest,
    Latest,
    /// Milliseconds since 1970.
    Timestamp(i64),
}

/// What was or would be committed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResetAnswer {
    topic: String,
    dry_run: bool,
    partitions: Vec<ResetRow>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResetRow {
    partition: u32,
    offset: u64,
}

fn state(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "Empty",
        GroupState::PreparingRebalance => "PreparingRebalance",
        GroupState::CompletingRebalance => "CompletingRebalance",
        GroupState::Stable => "Stable",
        GroupState::Dead => "Dead",
    }
}

fn group_problem(error: &GroupError) -> Problem {
    let kind = match error {
        GroupError::UnknownMember
        | GroupError::IllegalGeneration
        | GroupError::RebalanceInProgress
        | GroupError::FencedInstance
        | GroupError::NotEmpty
        | GroupError::SubscribedToTopic
        | GroupError::MemberIdRequired { .. } => ProblemKind::GroupActive,
        GroupError::UnknownPartition => ProblemKind::UnknownTopic,
        GroupError::UnknownGroup => ProblemKind::NotFound,
        GroupError::InvalidGroup
        | GroupError::InconsistentProtocol
        | GroupError::InvalidSessionTimeout
        | GroupError::OffsetMetadataTooLarge => ProblemKind::BadRequest,
        GroupError::GroupFull => ProblemKind::Refused,
    };
    let detail = match kind {
        ProblemKind::GroupActive => {
            format!("{error}: stop its consumers, or let them commit themselves")
        }
        _ => error.to_string(),
    };
    Problem::new(kind, detail)
}

async fn ask(front: &Front, request: GroupRequest) -> Result<GroupReply, Problem> {
    let asked = front.parts.admin.group(request).await;
    asked.map_err(unavailable)
}

/// The coordinator answered another question: a bug, but the client's outcome is unknown.
fn stray(_: GroupReply) -> Problem {
    Problem::new(
        ProblemKind::Unknown,
        "the group coordinator gave no answer that fits",
    )
}

/// Lists consumer groups.
#[utoipa::path(
    get,
    path = "/groups",
    tag = "groups",
    responses((status = 200, description = "All groups", body = GroupList)),
)]
pub(crate) async fn list(State(front): State<Arc<Front>>) -> Result<Response, Problem> {
    let groups = match ask(&front, GroupRequest::List).await? {
        GroupReply::Listed(groups) => groups,
        other => return Err(stray(other)),
    };
    let groups = groups.into_iter().map(|group| GroupRow {
        group: group.group,
        state: state(group.state),
        protocol_type: group.protocol_type,
    });
    let groups = groups.collect();
    Ok(Json(GroupList { groups }).into_response())
}

async fn described(front: &Front, group: String) -> Result<DescribedGroup, Problem> {
    match ask(front, GroupRequest::Describe(vec![group])).await? {
        GroupReply::Described(mut groups) if groups.len() == 1 => Ok(groups.remove(0)),
        other => Err(stray(other)),
    }
}

/// Describes a consumer group. One that nobody ever used is "Dead" and without members.
#[utoipa::path(
    get,
    path = "/groups/{group}",
    tag = "groups",
    params(("group" = String, Path)),
    responses((status = 200, description = "The group", body = DescribedGroupRow)),
)]
pub(crate) async fn describe(
    State(front): State<Arc<Front>>,
    Path(group): Path<String>,
) -> Result<Response, Problem> {
    let group = described(&front, group).await?;
    let members = group.members.into_iter().map(|member| MemberRow {
        member: member.member,
        instance: member.instance,
        client_id: member.client_id,
        client_host: member.client_host,
    });
    Ok(Json(DescribedGroupRow {
        members: members.collect(),
        protocol: group.protocol,
        group: GroupRow {
            group: group.group,
            state: state(group.state),
            protocol_type: group.protocol_type,
        },
    })
    .into_response())
}

/// Committed offsets of a group, with the lag of each.
#[utoipa::path(
    get,
    path = "/groups/{group}/offsets",
    tag = "groups",
    params(("group" = String, Path)),
    responses((status = 200, description = "What is committed", body = OffsetList)),
)]
pub(crate) async fn offsets(
    State(front): State<Arc<Front>>,
    Path(group): Path<String>,
) -> Result<Response, Problem> {
    let request = FetchOffsets {
        group,
        partitions: None,
    };
    let stored = match ask(&front, GroupRequest::Fetch(request)).await? {
        GroupReply::Offsets(stored) => stored.map_err(|error| group_problem(&error))?,
        other => return Err(stray(other)),
    };
    let topics = front.parts.admin.topics();
    let mut offsets = Vec::with_capacity(stored.len());
    for (at, committed) in stored {
        // Of a topic that is gone: nothing can be told of it.
        let Some(topic) = topics.with_id(at.topic) else {
            continue;
        };
        let (log_start, end) = front.parts.reader.bounds(at).await?;
        let offset = u64::try_from(committed.offset).unwrap_or(0);
        offsets.push(OffsetRow {
            topic: topic.name.to_string(),
            partition: at.partition.get(),
            offset: committed.offset,
            metadata: committed.metadata,
            log_start: log_start.get(),
            high_watermark: end.get(),
            lag: end.get().saturating_sub(offset.max(log_start.get())),
        });
    }
    offsets.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
    Ok(Json(OffsetList { offsets }).into_response())
}

fn too_many() -> Problem {
    let detail = format!("at most {GROUP_OFFSETS_MAX} offsets are taken at once");
    Problem::new(ProblemKind::TooLarge, detail)
}

fn place(topics: &TopicTable, wanted: &NewOffset) -> Result<TopicPartition, Problem> {
    let topic = topics.named(&wanted.topic);
    let topic = topic.ok_or_else(|| no_topic(&wanted.topic))?;
    let index = PartitionIndex::from_wire(wanted.partition).filter(|index| topic.has(*index));
    let index = index.ok_or_else(|| no_partition(wanted.partition))?;
    Ok(topic.at(index))
}

/// Commits offsets for a group without members at work. All of them or, when one cannot be, none.
#[utoipa::path(
    put,
    path = "/groups/{group}/offsets",
    tag = "groups",
    params(("group" = String, Path)),
    request_body = NewOffsets,
    responses((status = 204, description = "Committed")),
)]
pub(crate) async fn set(
    State(front): State<Arc<Front>>,
    Path(group): Path<String>,
    body: WholeBody,
) -> Result<Response, Problem> {
    let wanted: NewOffsets = parse_json(&body.bytes)?;
    let AtMost(wanted) = wanted.offsets;
    if wanted.is_empty() {
        return Err(bad("there are no offsets in the body"));
    }
    if wanted.len() > GROUP_OFFSETS_MAX {
        return Err(too_many());
    }
    let topics = front
        .parts
        .admin
        .topics_current()
        .await
        .map_err(unavailable)?;
    let mut seen = BTreeSet::new();
    let mut offsets = Vec::with_capacity(wanted.len());
    for (number, Object(wanted)) in wanted.into_iter().enumerate() {
        let at = |problem: Problem| Problem {
            detail: format!("offsets[{number}]: {}", problem.detail),
            ..problem
        };
        let topic_partition = place(&topics, &wanted).map_err(at)?;
        if !seen.insert(topic_partition) {
            return Err(at(bad("the partition is given twice")));
        }
        let offset = Offset::from_wire(wanted.offset);
        let committed = CommittedOffset {
            offset: offset
                .ok_or_else(|| at(bad("offset is below 0")))?
                .to_wire(),
            leader_epoch: -1,
            metadata: wanted.metadata,
        };
        offsets.push(OffsetPartition {
            topic_partition,
            committed,
        });
    }
    commit(&front, group, offsets).await?;
    Ok(axum::http::StatusCode::NO_CONTENT.into_response())
}

async fn commit(
    front: &Front,
    group: String,
    offsets: Vec<OffsetPartition>,
) -> Result<(), Problem> {
    let request = CommitOffsets {
        group,
        member: String::new(),
        instance: None,
        generation: -1,
        offsets,
    };
    let rows = match ask(front, GroupRequest::Commit(request)).await? {
        GroupReply::Committed(rows) => rows.map_err(|error| group_problem(&error))?,
        other => return Err(stray(other)),
    };
    for row in rows {
        row.map_err(|error| group_problem(&error))?;
    }
    Ok(())
}

/// Moves a group's offsets of a topic to the log's start, its end, or a time.
#[utoipa::path(
    post,
    path = "/groups/{group}/offsets/reset",
    tag = "groups",
    params(("group" = String, Path)),
    request_body = ResetBody,
    responses((status = 200, description = "The new offsets", body = ResetAnswer)),
)]
pub(crate) async fn reset(
    State(front): State<Arc<Front>>,
    Path(group): Path<String>,
    body: WholeBody,
) -> Result<Response, Problem> {
    let wanted: ResetBody = parse_json(&body.bytes)?;
    let from = match wanted.to {
        ResetTo::Earliest => ReadFrom::Earliest,
        ResetTo::Latest => ReadFrom::Tail(0),
        ResetTo::Timestamp(millis) if millis < 0 => return Err(bad("timestamp is below 0")),
        ResetTo::Timestamp(millis) => ReadFrom::Timestamp(Timestamp::from_millis(millis)),
    };
    let topic = find(&front.parts, &wanted.topic).await?;
    let partitions: BTreeSet<PartitionIndex> = match wanted.partitions {
        None => (0..topic.partition_count.get())
            .filter_map(PartitionIndex::new)
            .collect(),
        Some(given) if given.len() > GROUP_OFFSETS_MAX => return Err(too_many()),
        Some(given) => {
            let index = |given: i32| {
                let index = PartitionIndex::from_wire(given).filter(|index| topic.has(*index));
                index.ok_or_else(|| no_partition(given))
            };
            given.into_iter().map(index).collect::<Result<_, _>>()?
        }
    };
    let mut rows = Vec::with_capacity(partitions.len());
    let mut offsets = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let topic_partition = topic.at(partition);
        let offset = front.parts.reader.locate(topic_partition, from).await?;
        rows.push(ResetRow {
            partition: partition.get(),
            offset: offset.get(),
        });
        let committed = CommittedOffset {
            offset: offset.to_wire(),
            leader_epoch: -1,
            metadata: String::new(),
        };
        offsets.push(OffsetPartition {
            topic_partition,
            committed,
        });
    }
    if !wanted.dry_run && !offsets.is_empty() {
        commit(&front, group, offsets).await?;
    }
    Ok(Json(ResetAnswer {
        topic: topic.name.to_string(),
        dry_run: wanted.dry_run,
        partitions: rows,
    })
    .into_response())
}
