//! ACLs, quotas, SCRAM credentials, transactions, and what has settings, all versions.

use esker_admin::AdminConfig;
use esker_kafka::messages::describe_user_scram_credentials_request::UserName;
use esker_kafka::messages::{
    DescribeAclsRequest, DescribeClientQuotasRequest, DescribeTransactionsRequest,
    DescribeUserScramCredentialsRequest, ListConfigResourcesRequest, ListTransactionsRequest,
    TransactionalId,
};
use esker_kafka::{Api, Request};

use crate::wire::{World, body, pod, text, topic, versions, world, world_of};

#[tokio::test]
async fn there_is_no_authorizer() {
    for version in versions(Api::DescribeAcls) {
        let request = DescribeAclsRequest::default().with_pattern_type_filter(3);

        let response = body!(
            DescribeAcls,
            world().ask(version, Request::DescribeAcls(request)).await
        );

        assert_eq!(response.error_code, 54);
        assert!(response.error_message.is_some() && response.resources.is_empty());
    }
}

#[tokio::test]
async fn there_are_no_quotas() {
    for version in versions(Api::DescribeClientQuotas) {
        let request = Request::DescribeClientQuotas(DescribeClientQuotasRequest::default());

        let response = body!(DescribeClientQuotas, world().ask(version, request).await);

        assert_eq!((response.error_code, response.error_message), (0, None));
        assert_eq!(response.entries, Some(Vec::new()), "null would be an error");
    }
}

#[tokio::test]
async fn there_are_no_scram_credentials() {
    let named = vec![UserName::default().with_name(text("alice"))];
    for (users, codes) in [
        (None, vec![]),
        (Some(vec![]), vec![]),
        (Some(named), vec![91]),
    ] {
        let request = DescribeUserScramCredentialsRequest::default().with_users(users);

        let response = body!(
            DescribeUserScramCredentials,
            world()
                .ask(0, Request::DescribeUserScramCredentials(request))
                .await
        );

        let told: Vec<i16> = response.results.iter().map(|row| row.error_code).collect();
        assert_eq!((response.error_code, told), (0, codes));
    }
}

#[tokio::test]
async fn there_are_no_transactions() {
    for version in versions(Api::ListTransactions) {
        let request = ListTransactionsRequest::default()
            .with_state_filters(vec![text("Ongoing"), text("Lost")]);
        let listed = body!(
            ListTransactions,
            world()
                .ask(version, Request::ListTransactions(request))
                .await
        );

        assert_eq!((listed.error_code, listed.transaction_states.len()), (0, 0));
        assert_eq!(listed.unknown_state_filters, [text("Lost")]);
    }
    let request = DescribeTransactionsRequest::default()
        .with_transactional_ids(vec![TransactionalId(text("a"))]);
    let described = body!(
        DescribeTransactions,
        world().ask(0, Request::DescribeTransactions(request)).await
    );
    assert_eq!(described.transaction_states[0].error_code, 105);
    assert_eq!(
        described.transaction_states[0].transactional_id.as_str(),
        "a"
    );
}

async fn listed(world: &World, version: i16, types: &[i8]) -> (i16, Vec<(String, i8)>) {
    let request = ListConfigResourcesRequest::default().with_resource_types(types.to_vec());
    let response = body!(
        ListConfigResources,
        world
            .ask(version, Request::ListConfigResources(request))
            .await
    );
    let rows = response.config_resources.iter();
    let rows = rows.map(|one| (one.resource_name.to_string(), one.resource_type));
    (response.error_code, rows.collect())
}

#[tokio::test]
async fn topics_and_brokers_are_listed_as_what_has_settings() {
    let world = world_of(AdminConfig::default(), pod(7, None), Vec::new());
    world.admin.add(topic("t", 1, 1));
    let broker = (String::from("7"), 4);
    let topic = (String::from("t"), 2);

    let client_metrics = listed(&world, 0, &[]).await;
    let all = listed(&world, 1, &[]).await;
    let topics = listed(&world, 1, &[2]).await;
    let groups = listed(&world, 1, &[32, 8, 16]).await;
    let unknown = listed(&world, 1, &[2, 99]).await;

    assert_eq!(client_metrics, (0, vec![]));
    assert_eq!(all, (0, vec![topic.clone(), broker]));
    assert_eq!(topics, (0, vec![topic]));
    assert_eq!(groups, (0, vec![]));
    assert_eq!(unknown, (35, vec![]));
}
