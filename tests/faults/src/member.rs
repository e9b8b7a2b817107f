//! A member of a consumer group, by hand: joins, is silent when it likes, commits when it likes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use esker_e2e::load::Connection;
use esker_env::Env;
use esker_kafka::KafkaError;
use esker_kafka::messages::join_group_request::JoinGroupRequestProtocol;
use esker_kafka::messages::sync_group_request::SyncGroupRequestAssignment;
use esker_kafka::messages::{
    ApiKey, GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    StrBytes, SyncGroupRequest, SyncGroupResponse,
};

const JOIN: (ApiKey, i16) = (ApiKey::JoinGroup, 5);
const SYNC: (ApiKey, i16) = (ApiKey::SyncGroup, 3);
const BEAT: (ApiKey, i16) = (ApiKey::Heartbeat, 3);
/// The version in which members of this kind commit.
pub(crate) const COMMIT: (ApiKey, i16) = (ApiKey::OffsetCommit, 7);
/// A join waits for the others.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const TRIES_MAX: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);
const EVERYTHING: &[u8] = b"everything";
/// Refusals of a join behind which another one is due.
const ASK_AGAIN: [KafkaError; 3] = [
    KafkaError::MemberIdRequired,
    KafkaError::UnknownMemberId,
    KafkaError::RebalanceInProgress,
];

/// A member and its connection.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its connection, with nothing in flight.
    pub(crate) connection: Connection,
    /// The id that the coordinator gave it.
    pub(crate) id: String,
    /// The generation that it belongs to.
    pub(crate) generation: i32,
    /// Whether it has the partitions: whoever leads a generation keeps all of them.
    pub(crate) owns_all: bool,
    group: String,
    session: Duration,
}

fn text(words: &str) -> StrBytes {
    StrBytes::from_string(words.to_owned())
}

impl Member {
    /// Joins, and has a place in a generation.
    ///
    /// # Errors
    /// The coordinator does not answer, or refuses for good.
    pub(crate) async fn join(
        address: SocketAddr,
        group: &str,
        session: Duration,
    ) -> anyhow::Result<Self> {
        let mut member = Self {
            connection: Connection::open(address).await?,
            id: String::new(),
            generation: -1,
            owns_all: false,
            group: group.to_owned(),
            session,
        };
        member.enter().await?;
        Ok(member)
    }

    /// Joins again, under its id as long as the coordinator knows it.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub(crate) async fn enter(&mut self) -> anyhow::Result<()> {
        let clock = Env::system().clock;
        self.owns_all = false;
        for _ in 0..TRIES_MAX {
            let reply = self.ask_to_join().await?;
            let error = KafkaError::from_code(reply.error_code).context("an unknown code")?;
            let is_joined = error == KafkaError::None;
            if is_joined || error == KafkaError::MemberIdRequired {
                self.id = reply.member_id.to_string();
            }
            if is_joined {
                self.generation = reply.generation_id;
                let is_leader = reply.leader == reply.member_id;
                if self.sync(is_leader).await? {
                    return Ok(());
                }
            }
            if error == KafkaError::UnknownMemberId {
                self.id = String::new();
            }
            let may_ask = is_joined || ASK_AGAIN.contains(&error) || error.is_retriable();
            ensure!(may_ask, "{} refused a member with {error}", self.group);
            clock.sleep(PAUSE).await;
        }
        bail!("{} took no member in {TRIES_MAX} tries", self.group)
    }

    async fn ask_to_join(&mut self) -> anyhow::Result<JoinGroupResponse> {
        let session = i32::try_from(self.session.as_millis())?;
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(
                b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
            ));
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_session_timeout_ms(session)
            .with_rebalance_timeout_ms(session)
            .with_member_id(text(&self.id))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        self.connection.ask(JOIN, &request, ANSWER_WITHIN).await
    }

    /// Whether the generation still stands.
    async fn sync(&mut self, is_leader: bool) -> anyhow::Result<bool> {
        let all = SyncGroupRequestAssignment::default()
            .with_member_id(text(&self.id))
            .with_assignment(Bytes::from_static(EVERYTHING));
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_assignments(is_leader.then_some(all).into_iter().collect());
        let reply: SyncGroupResponse = self.connection.ask(SYNC, &request, ANSWER_WITHIN).await?;
        self.owns_all = reply.error_code == 0 && reply.assignment == EVERYTHING;
        Ok(reply.error_code == 0)
    }

    /// What the coordinator says to a heartbeat.
    pub(crate) async fn heartbeat(&mut self) -> anyhow::Result<KafkaError> {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id));
        let reply: HeartbeatResponse = self.connection.ask(BEAT, &request, ANSWER_WITHIN).await?;
        KafkaError::from_code(reply.error_code).context("an unknown code")
    }
}
