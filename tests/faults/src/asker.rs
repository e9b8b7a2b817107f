//! Asks for what must be current: the ends of partitions, and a group's committed offsets.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use esker_e2e::load::Connection;
use esker_env::{Env, Shutdown};
use esker_history::format::{Commit, Committed, Done, Isolation, Latest, Operation};
use esker_kafka::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use esker_kafka::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use esker_kafka::messages::offset_fetch_request::OffsetFetchRequestTopic;
use esker_kafka::messages::{
    ApiKey, GroupId, ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, StrBytes, TopicName,
};

use crate::reader::PodAddress;
use crate::recorder::{End, Recorder, key, nothing};

const LIST: (ApiKey, i16) = (ApiKey::ListOffsets, 7);
const COMMIT: (ApiKey, i16) = (ApiKey::OffsetCommit, 7);
const COMMITTED: (ApiKey, i16) = (ApiKey::OffsetFetch, 7);
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);
const LATEST_TIMESTAMP: i64 = -1;

/// A client that asks, on one connection at a time.
#[derive(Debug)]
pub(crate) struct Asker {
    p: u32,
    topic: String,
    group: String,
    recorder: Recorder,
    /// Ends that it was told.
    pub(crate) ends: u64,
}

fn named(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

impl Asker {
    pub(crate) fn new(recorder: &Recorder, topic: &str, group: &str) -> Self {
        Self {
            p: recorder.process(),
            topic: topic.to_owned(),
            group: group.to_owned(),
            recorder: recorder.clone(),
            ends: 0,
        }
    }

    /// Asks and commits by turns until asked to stop, pod after pod.
    pub(crate) async fn ask_on(
        &mut self,
        pods: &[PodAddress],
        partitions: i32,
        stop: &Shutdown,
    ) -> anyhow::Result<()> {
        let clock = Env::system().clock;
        let (mut turn, mut committed) = (0_usize, 0_u64);
        while !stop.is_requested() {
            let (name, address) = pods.get(turn % pods.len()).context("a pod")?;
            turn += 1;
            let partition = i32::try_from(turn)? % partitions;
            if let Ok(mut connection) = Connection::open(*address).await {
                let end = self.latest(name, &mut connection, partition).await;
                self.ends += u64::from(end.is_some());
                committed += 1;
                self.commit(*address, &mut connection, partition, committed)
                    .await;
                self.committed(&mut connection, partition).await;
            }
            clock.sleep(PAUSE).await;
        }
        Ok(())
    }

    /// The end of a partition, when the pod tells one.
    pub(crate) async fn latest(
        &self,
        pod: &str,
        connection: &mut Connection,
        partition: i32,
    ) -> Option<u64> {
        let key = key(&self.topic, partition);
        let iso = Isolation::Ru;
        let what = Operation::Latest(Latest { key, iso });
        let op = self.recorder.begin(self.p, Some(pod), what);
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(LATEST_TIMESTAMP);
        let topic = ListOffsetsTopic::default()
            .with_name(named(&self.topic))
            .with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_topics(vec![topic]);
        let reply = connection.ask(LIST, &request, ANSWER_WITHIN).await;
        let offset = reply.ok().and_then(|reply: ListOffsetsResponse| {
            let mut answers = reply.topics.iter().flat_map(|topic| &topic.partitions);
            let answer = answers.next().filter(|answer| answer.error_code == 0)?;
            u64::try_from(answer.offset).ok()
        });
        let end = offset.map_or(End::Fail, |_| End::Ok);
        self.recorder.end(
            op,
            end,
            Done {
                offset,
                ..nothing()
            },
        );
        offset
    }

    async fn commit(
        &mut self,
        address: SocketAddr,
        connection: &mut Connection,
        partition: i32,
        offset: u64,
    ) {
        let commit = Commit {
            group: self.group.clone(),
            generation: 0,
            key: key(&self.topic, partition),
            offset,
        };
        let op = self.recorder.begin(self.p, None, Operation::Commit(commit));
        let request = commit_request(
            (&self.group, "", -1),
            &self.topic,
            partition,
            i64::try_from(offset).unwrap_or(i64::MAX),
        );
        let reply = connection.ask(COMMIT, &request, ANSWER_WITHIN).await;
        let end = match reply {
            Ok(reply) => committed_as(&reply),
            Err(_) => End::Info,
        };
        self.recorder.end(op, end, nothing());
        if end == End::Info
            && let Ok(again) = Connection::open(address).await
        {
            *connection = again;
        }
    }

    /// The group's committed offset of a partition, as far as it is told.
    pub(crate) async fn committed(&self, connection: &mut Connection, partition: i32) {
        let what = Operation::Committed(Committed {
            group: self.group.clone(),
            key: key(&self.topic, partition),
        });
        let op = self.recorder.begin(self.p, None, what);
        let topic = OffsetFetchRequestTopic::default()
            .with_name(named(&self.topic))
            .with_partition_indexes(vec![partition]);
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(self.group.clone())))
            .with_topics(Some(vec![topic]));
        let reply = connection.ask(COMMITTED, &request, ANSWER_WITHIN).await;
        let told = reply.ok().and_then(|reply: OffsetFetchResponse| {
            let mut answers = reply.topics.iter().flat_map(|topic| &topic.partitions);
            let answer = answers.next()?;
            let is_well = reply.error_code == 0 && answer.error_code == 0;
            is_well.then_some(answer.committed_offset)
        });
        let end = told.map_or(End::Fail, |_| End::Ok);
        let offset = told.and_then(|offset| u64::try_from(offset).ok());
        self.recorder.end(
            op,
            end,
            Done {
                offset,
                ..nothing()
            },
        );
    }
}

/// A commit of one offset by (group, member, generation).
pub(crate) fn commit_request(
    (group, member, generation): (&str, &str, i32),
    topic: &str,
    partition: i32,
    offset: i64,
) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(StrBytes::new()));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(named(topic))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
        .with_member_id(StrBytes::from_string(member.to_owned()))
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![topic])
}

/// Any error of a coordinator leaves open what became of a commit.
pub(crate) fn committed_as(reply: &OffsetCommitResponse) -> End {
    let mut answers = reply.topics.iter().flat_map(|topic| &topic.partitions);
    match answers.next() {
        Some(answer) if answer.error_code == 0 => End::Ok,
        Some(_) | None => End::Info,
    }
}

/// Asks one pod for the end of a partition.
///
/// # Errors
/// It does not tell.
pub(crate) async fn end_of(
    recorder: &Recorder,
    topic: &str,
    (name, address): &PodAddress,
    partition: i32,
) -> anyhow::Result<u64> {
    let mut connection = Connection::open(*address).await?;
    let asker = Asker::new(recorder, topic, "none");
    let told = asker.latest(name, &mut connection, partition).await;
    told.with_context(|| format!("{name} does not tell the end of {topic}-{partition}"))
}
