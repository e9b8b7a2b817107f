//! What the other roles ask of the metadata service: plain types and five traits.
//!
//! `Sequencer` (ingest), `LogIndex` (fetch), `Admin` and `TopicAdmin` (fronts), `Pods` (all).
//! Nothing here assumes that the service is in this process: every call may fail, be lost or
//! answer late; all carry the cluster's view by sequencer epoch. Kafka's numbers do not appear:
//! each front translates in its own `reply.rs`.

mod admin;
mod broker_configs;
pub mod configs;
mod error;
mod group;
pub mod limits;
mod log_index;
mod pods;
mod sequencer;
mod topic;
mod topic_admin;

pub use admin::{Admin, CreateTopic, CreateTopicError, CreatedTopic, DeleteTopicError, TopicRef};
pub use broker_configs::{AlterBroker, AlterBrokerError, BrokerConfigs, BrokerScope, Configs};
pub use error::{MetadataError, MetadataErrorKind};
pub use group::{
    CommitOffsets, CommittedOffset, DeleteOffsets, DescribedGroup, DescribedMember, FetchOffsets,
    GroupError, GroupOverview, GroupReply, GroupRequest, GroupState, HeartbeatGroup, JoinGroup,
    JoinedGroup, JoinedMember, LeaveGroup, LeavingMember, OffsetPartition, SyncGroup, SyncedGroup,
};
pub use log_index::{
    FeedUpdate, IndexExtent, IndexFeed, IndexSlice, ListedOffset, LogIndex, LogIndexError,
    OffsetQuery, PartitionAdvance,
};
pub use pods::{AnnounceError, Endpoint, Pod, PodLease, PodTable, Pods, Roles};
pub use sequencer::{
    BatchVerdict, ProduceRefusal, ProducerSpan, Registered, ReservationSummary, ReserveError,
    ReserveReply, ReserveRequest, Sequencer, SessionEnd, WrittenReport,
};
pub use topic::{Topic, TopicName, TopicNameError, TopicTable};
pub use topic_admin::{
    ActiveProducer, AlterTopic, AlterTopicError, DeleteBefore, DeleteRecordsError, Leadership,
    TopicAdmin, TopicChange,
};
