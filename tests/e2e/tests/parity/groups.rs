//! OffsetCommit, OffsetDelete, DeleteGroups, and questions about what neither broker has.

use esker_kafka::client::{Client, Target};
use esker_kafka::messages::describe_quorum_request;
use esker_kafka::messages::describe_user_scram_credentials_request::UserName;
use esker_kafka::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use esker_kafka::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use esker_kafka::messages::{
    DeleteGroupsRequest, DescribeAclsRequest, DescribeClientQuotasRequest, DescribeGroupsRequest,
    DescribeQuorumRequest, DescribeTransactionsRequest, DescribeUserScramCredentialsRequest,
    GroupId, ListConfigResourcesRequest, ListTransactionsRequest, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteRequest, TransactionalId,
};

use crate::notes::Notes;
use crate::topics::{TRIES_MAX, name, text};

const GROUP: &str = "simple";

pub(crate) async fn observe(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    let coordinator = client.find_coordinator(GROUP).await?;
    commit(client, coordinator, notes).await?;
    forget(client, coordinator, notes).await?;
    delete(client, coordinator, notes).await?;
    absent(client, notes).await
}

/// Asks again while Kafka's coordinator loads.
async fn loaded(
    client: &Client,
    at: Target,
    request: &OffsetCommitRequest,
) -> anyhow::Result<OffsetCommitResponse> {
    for _ in 0..TRIES_MAX {
        let response = client.request(at, request).await?;
        let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        if partitions.all(|one| !matches!(one.error_code, 14..=16)) {
            return Ok(response);
        }
    }
    anyhow::bail!("the group coordinator does not load")
}

async fn commit(client: &Client, at: Target, notes: &mut Notes) -> anyhow::Result<()> {
    for (topic, partition, offset) in [("plain", 0, 5), ("plain", 1, -2), ("absent", 0, 1)] {
        let one = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("note")));
        let of_topic = OffsetCommitRequestTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![one]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![of_topic]);
        let response = loaded(client, at, &request).await?;
        for one in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let question = format!("OffsetCommit {topic} {partition} {offset}");
            notes.add(question, one.error_code);
        }
    }
    let stored = client
        .offset_fetch(GROUP, Some(&[("plain", 0), ("plain", 1), ("plain", 2)]))
        .await?;
    notes.add("OffsetFetch", stored);
    Ok(())
}

async fn forget(client: &Client, at: Target, notes: &mut Notes) -> anyhow::Result<()> {
    for (number, (group, topic, partition)) in [
        (GROUP, "plain", 0),
        (GROUP, "plain", 0),
        (GROUP, "absent", 0),
        ("nobody", "plain", 1),
    ]
    .into_iter()
    .enumerate()
    {
        let one = OffsetDeleteRequestPartition::default().with_partition_index(partition);
        let of_topic = OffsetDeleteRequestTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![one]);
        let request = OffsetDeleteRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(vec![of_topic]);
        let response = client.request(at, &request).await?;
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        let codes: Vec<i16> = partitions.map(|one| one.error_code).collect();
        let question = format!("OffsetDelete {number} {group} {topic} {partition}");
        notes.add(question, (response.error_code, codes));
    }
    Ok(())
}

async fn delete(client: &Client, at: Target, notes: &mut Notes) -> anyhow::Result<()> {
    for round in 0..2 {
        let groups = ["nobody", GROUP].map(|group| GroupId(text(group)));
        let request = DeleteGroupsRequest::default().with_groups_names(groups.to_vec());
        let response = client.request(at, &request).await?;
        for result in response.results {
            let question = format!("DeleteGroups {} {round}", result.group_id.as_str());
            notes.add(question, result.error_code);
        }
    }
    for version in [5, 6] {
        let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text(GROUP))]);
        let response = client.request_at_most(at, &request, version).await?;
        let groups: Vec<_> = response
            .groups
            .iter()
            .map(|group| (group.error_code, group.group_state.to_string()))
            .collect();
        notes.add(
            format!("DescribeGroups of a deleted group {version}"),
            groups,
        );
    }
    Ok(())
}

async fn quorum(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    for topic in ["__cluster_metadata", "plain"] {
        let partition = describe_quorum_request::PartitionData::default();
        let of_topic = describe_quorum_request::TopicData::default()
            .with_topic_name(name(topic))
            .with_partitions(vec![partition]);
        let request = DescribeQuorumRequest::default().with_topics(vec![of_topic]);
        let response = client.request(Target::Any, &request).await?;
        for one in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let voters: Vec<i32> = one.current_voters.iter().map(|v| v.replica_id.0).collect();
            let answer = (one.error_code, one.leader_id.0, voters, one.observers.len());
            notes.add(format!("DescribeQuorum {topic}"), answer);
        }
    }
    Ok(())
}

async fn absent(client: &Client, notes: &mut Notes) -> anyhow::Result<()> {
    let request = DescribeAclsRequest::default()
        .with_resource_type_filter(1)
        .with_pattern_type_filter(1)
        .with_operation(1)
        .with_permission_type(1);
    let response = client.request(Target::Any, &request).await?;
    notes.add(
        "DescribeAcls",
        (response.error_code, response.resources.len()),
    );
    quorum(client, notes).await?;
    let request = DescribeClientQuotasRequest::default();
    let response = client.request(Target::Any, &request).await?;
    notes.add(
        "DescribeClientQuotas",
        (response.error_code, response.entries),
    );
    for users in [
        None,
        Some(vec![UserName::default().with_name(text("alice"))]),
    ] {
        let question = format!("DescribeUserScramCredentials {}", users.is_some());
        let request = DescribeUserScramCredentialsRequest::default().with_users(users);
        let response = client.request(Target::Any, &request).await?;
        let codes: Vec<i16> = response.results.iter().map(|one| one.error_code).collect();
        notes.add(question, (response.error_code, codes));
    }
    let request =
        ListTransactionsRequest::default().with_state_filters(vec![text("Ongoing"), text("Lost")]);
    let response = client.request(Target::Any, &request).await?;
    let unknown = response.unknown_state_filters;
    let answer = (
        response.error_code,
        unknown,
        response.transaction_states.len(),
    );
    notes.add("ListTransactions", answer);
    let request = DescribeTransactionsRequest::default()
        .with_transactional_ids(vec![TransactionalId(text("nothing"))]);
    let response = client.request(Target::Any, &request).await?;
    let codes: Vec<i16> = response
        .transaction_states
        .iter()
        .map(|one| one.error_code)
        .collect();
    notes.add("DescribeTransactions", codes);
    for types in [vec![], vec![2], vec![4], vec![16], vec![99]] {
        let question = format!("ListConfigResources {types:?}");
        let request = ListConfigResourcesRequest::default().with_resource_types(types);
        let response = client.request(Target::Any, &request).await?;
        let mut rows: Vec<_> = response
            .config_resources
            .iter()
            .map(|one| (one.resource_type, one.resource_name.to_string()))
            .collect();
        rows.sort_unstable();
        notes.add(question, (response.error_code, rows));
    }
    Ok(())
}
