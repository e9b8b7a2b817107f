//! Classic consumer groups (any protocol type): requests and replies of the group coordinator.
//!
//! Shapes follow Kafka's JoinGroup, SyncGroup, Heartbeat, LeaveGroup, OffsetCommit, OffsetFetch,
//! DescribeGroups, ListGroups, DeleteGroups and OffsetDelete; member metadata and assignments are
//! opaque bytes.

use std::time::Duration;

use bytes::Bytes;
use esker_types::TopicPartition;

use crate::TopicName;

/// Any request to the group coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRequest {
    /// Become, or stay, a member.
    Join(JoinGroup),
    /// Hand in (leader) and receive an assignment.
    Sync(SyncGroup),
    /// Still alive.
    Heartbeat(HeartbeatGroup),
    /// Leave.
    Leave(LeaveGroup),
    /// Store offsets.
    Commit(CommitOffsets),
    /// Read stored offsets, current (R1).
    Fetch(FetchOffsets),
    /// State and members of groups, in the order asked.
    Describe(Vec<String>),
    /// All groups.
    List,
    /// Delete groups that have no members, offsets and all.
    Delete(Vec<String>),
    /// Forget stored offsets.
    DeleteOffsets(DeleteOffsets),
}

/// The reply of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupReply {
    /// To `Join`.
    Joined(Result<JoinedGroup, GroupError>),
    /// To `Sync`.
    Synced(Result<SyncedGroup, GroupError>),
    /// To `Heartbeat`.
    Heartbeat(Result<(), GroupError>),
    /// To `Leave`: per member, in the order given.
    Left(Result<Vec<Result<(), GroupError>>, GroupError>),
    /// To `Commit`: per partition, in the order given.
    Committed(Result<Vec<Result<(), GroupError>>, GroupError>),
    /// To `Fetch`: what is stored, by partition; asked-for partitions without an offset are left
    /// out.
    Offsets(Result<Vec<(TopicPartition, CommittedOffset)>, GroupError>),
    /// To `Describe`, in the order asked.
    Described(Vec<DescribedGroup>),
    /// To `List`.
    Listed(Vec<GroupOverview>),
    /// To `Delete`, in the order asked.
    Deleted(Vec<Result<(), GroupError>>),
    /// To `DeleteOffsets`: per partition, in the order given. An offset that was never stored is
    /// as good as deleted.
    OffsetsDeleted(Result<Vec<Result<(), GroupError>>, GroupError>),
}

/// JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinGroup {
    /// The group.
    pub group: String,
    /// Empty for a newcomer.
    pub member: String,
    /// Static membership.
    pub instance: Option<String>,
    /// Client id, the stem of member ids.
    pub client_id: String,
    /// Client host, shown by tools.
    pub client_host: String,
    /// `consumer`, `connect`, `sr` or any other word.
    pub protocol_type: String,
    /// Protocols the member can do, best first, with its metadata for each.
    pub protocols: Vec<(String, Bytes)>,
    /// Dead after so long without a heartbeat.
    pub session_timeout: Duration,
    /// How long a rebalance waits for this member.
    pub rebalance_timeout: Duration,
    /// A newcomer without an id is sent away with one first (JoinGroup v4 and later).
    pub member_id_required: bool,
    /// The client understands `skip_assignment` (v9).
    pub skip_assignment_supported: bool,
}

/// One member's metadata, for the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Member id.
    pub member: String,
    /// Static membership.
    pub instance: Option<String>,
    /// Metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// A completed join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedGroup {
    /// The new generation.
    pub generation: i32,
    /// As asked.
    pub protocol_type: String,
    /// The protocol all members can do.
    pub protocol: String,
    /// Member id of the leader.
    pub leader: String,
    /// Your member id.
    pub member: String,
    /// All members, for the leader only; empty for others.
    pub members: Vec<JoinedMember>,
    /// The leader may skip computing an assignment: a static leader came back.
    pub skip_assignment: bool,
}

/// SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// The group.
    pub group: String,
    /// The member.
    pub member: String,
    /// Static membership.
    pub instance: Option<String>,
    /// The generation joined.
    pub generation: i32,
    /// Must match when given (v5).
    pub protocol_type: Option<String>,
    /// Must match when given (v5).
    pub protocol: Option<String>,
    /// By member id; from the leader only.
    pub assignments: Vec<(String, Bytes)>,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncedGroup {
    /// The group's protocol type.
    pub protocol_type: String,
    /// The chosen protocol.
    pub protocol: String,
    /// Opaque; may be empty.
    pub assignment: Bytes,
}

/// Heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatGroup {
    /// The group.
    pub group: String,
    /// The member.
    pub member: String,
    /// Static membership.
    pub instance: Option<String>,
    /// The generation joined.
    pub generation: i32,
}

/// One member that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// Member id; may be empty when the instance is given.
    pub member: String,
    /// Static membership.
    pub instance: Option<String>,
}

/// LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveGroup {
    /// The group.
    pub group: String,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// One offset to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetPartition {
    /// The partition; `None` when the front knows no such topic (answered per partition).
    pub topic_partition: TopicPartition,
    /// What to store.
    pub committed: CommittedOffset,
}

/// A stored offset, verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record to read. Negative numbers are the client's own affair and are kept as well:
    /// kafkajs resets a group by committing -1 or -2.
    pub offset: i64,
    /// The leader epoch the client saw, -1 for none.
    pub leader_epoch: i32,
    /// The client's own text, at most 4096 bytes.
    pub metadata: String,
}

/// OffsetCommit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffsets {
    /// The group.
    pub group: String,
    /// Empty together with generation -1: a group without members ("simple").
    pub member: String,
    /// Static membership.
    pub instance: Option<String>,
    /// -1 for a simple group.
    pub generation: i32,
    /// What to store.
    pub offsets: Vec<OffsetPartition>,
}

/// OffsetFetch of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOffsets {
    /// The group.
    pub group: String,
    /// `None`: everything stored.
    pub partitions: Option<Vec<TopicPartition>>,
}

/// OffsetDelete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsets {
    /// The group.
    pub group: String,
    /// What to forget, each with the name that its topic has now: members subscribe by name.
    pub partitions: Vec<(TopicPartition, TopicName)>,
}

/// States as Kafka's tools name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; offsets may be stored.
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Working.
    Stable,
    /// Unknown or deleted.
    Dead,
}

/// One member, for tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Member id.
    pub member: String,
    /// Static membership.
    pub instance: Option<String>,
    /// Client id.
    pub client_id: String,
    /// Client host.
    pub client_host: String,
    /// Metadata for the chosen protocol.
    pub metadata: Bytes,
    /// Assignment.
    pub assignment: Bytes,
}

/// One group, for tools. An unknown group is described as `Dead`, without members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    /// The group.
    pub group: String,
    /// Its state.
    pub state: GroupState,
    /// Its protocol type; empty when never joined.
    pub protocol_type: String,
    /// The chosen protocol; empty unless stable.
    pub protocol: String,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// One row of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOverview {
    /// The group.
    pub group: String,
    /// Its protocol type.
    pub protocol_type: String,
    /// Its state.
    pub state: GroupState,
}

/// Why the coordinator refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Group id is empty or too long.
    #[error("group id is not valid")]
    InvalidGroup,
    /// Join again with this id.
    #[error("join again with the member id given")]
    MemberIdRequired {
        /// The id to use.
        member: String,
    },
    /// Not a member (any more).
    #[error("member is not known to the group")]
    UnknownMember,
    /// Another process took over this instance id.
    #[error("instance id belongs to another member now")]
    FencedInstance,
    /// An old generation.
    #[error("generation is not the current one")]
    IllegalGeneration,
    /// Join again.
    #[error("group is rebalancing")]
    RebalanceInProgress,
    /// No protocol that all members can do, or another protocol type.
    #[error("group protocol does not fit the group's")]
    InconsistentProtocol,
    /// Outside 6 s to 30 min (the server's bounds).
    #[error("session timeout is out of bounds")]
    InvalidSessionTimeout,
    /// More members, or more bytes of metadata, than allowed.
    #[error("group is full")]
    GroupFull,
    /// Metadata of an offset is longer than 4096 bytes.
    #[error("offset metadata is too large")]
    OffsetMetadataTooLarge,
    /// The topic or partition does not exist.
    #[error("topic or partition does not exist")]
    UnknownPartition,
    /// It has members, and only a group without may be changed so.
    #[error("group has members")]
    NotEmpty,
    /// There is no such group.
    #[error("group does not exist")]
    UnknownGroup,
    /// A member reads the topic: its offsets stay.
    #[error("group is subscribed to the topic")]
    SubscribedToTopic,
}
