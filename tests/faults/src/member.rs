//! A member of a consumer group, by hand: joins, is silent when it likes, commits when it likes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use esker_e2e::load::Connection;
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

/// A member and its connection.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its connection, with nothing in flight.
    pub(crate) connection: Connection,
    /// The id that the coordinator gave it.
    pub(crate) id: String,
    /// The generation that it belongs to.
    pub(crate) generation: i32,
    group: String,
}

fn text(words: &str) -> StrBytes {
    StrBytes::from_string(words.to_owned())
}

impl Member {
    /// Joins alone: it leads and owns everything.
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
            group: group.to_owned(),
        };
        for _ in 0..TRIES_MAX {
            let reply = member.ask_to_join(session).await?;
            member.id = reply.member_id.to_string();
            match KafkaError::from_code(reply.error_code).context("an unknown code")? {
                KafkaError::None => {
                    member.generation = reply.generation_id;
                    member.sync().await?;
                    return Ok(member);
                }
                KafkaError::MemberIdRequired => {}
                error if error.is_retriable() => {}
                error => bail!("{group} refused a member with {error}"),
            }
        }
        bail!("{group} took no member in {TRIES_MAX} tries")
    }

    async fn ask_to_join(&mut self, session: Duration) -> anyhow::Result<JoinGroupResponse> {
        let session = i32::try_from(session.as_millis())?;
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

    async fn sync(&mut self) -> anyhow::Result<()> {
        let all = SyncGroupRequestAssignment::default()
            .with_member_id(text(&self.id))
            .with_assignment(Bytes::from_static(b"everything"));
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_assignments(vec![all]);
        let reply: SyncGroupResponse = self.connection.ask(SYNC, &request, ANSWER_WITHIN).await?;
        let error = KafkaError::from_code(reply.error_code).context("an unknown code")?;
        ensure!(
            error == KafkaError::None,
            "the assignment was refused with {error}"
        );
        Ok(())
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
