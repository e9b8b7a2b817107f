//! Versions and clusters that do not go together: a clear error, and nothing asked.

use std::sync::Arc;

use esker_metadata_api::{Admin as _, AnnounceError, MetadataError, Pod, Pods as _, Roles};
use esker_remote::{ConnectError, PROTOCOL_MAX, PeerCondition, Protocols};
use esker_types::{ClusterId, PodId, ProducerId, SessionId};

use crate::stage::running::{Client, Serving, config, parts, server_config};
use crate::stage::scripted::{CLUSTER, Scripted};

fn why(client: &Client) -> Arc<ConnectError> {
    match client.remote.peers().remove(0).condition {
        PeerCondition::Failed(error) => error,
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn no_shared_version_is_an_error_of_its_own_on_either_side() {
    let newer = Protocols {
        min: PROTOCOL_MAX + 1,
        max: PROTOCOL_MAX + 2,
    };
    let service = Arc::new(Scripted::default());
    let mut server_config = server_config(CLUSTER);
    server_config.protocols = newer;
    let serving = Serving::start(server_config, parts(&service)).await;
    let client = Client::start(config(&[serving.address], CLUSTER));

    let asked = client.remote.producer_id().await;

    assert_eq!(asked, Err(MetadataError::Unavailable));
    let ours = Protocols::OURS;
    assert!(
        matches!(*why(&client), ConnectError::Protocol { ours: a, theirs: b }
            if a == ours && b == newer),
        "{:?}",
        why(&client)
    );
    assert_eq!(service.asked(), Vec::<String>::new());
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn of_two_ranges_the_newest_shared_version_is_spoken() {
    let service = Arc::new(Scripted::default());
    let id = ProducerId::from_wire(1).unwrap();
    service.script().producer_id.push_back(Ok(id));
    let mut server_config = server_config(CLUSTER);
    server_config.protocols.max = PROTOCOL_MAX + 5;
    let serving = Serving::start(server_config, parts(&service)).await;
    let mut client_config = config(&[serving.address], CLUSTER);
    client_config.protocols.max = PROTOCOL_MAX + 2;
    let client = Client::start(client_config);

    let asked = client.remote.producer_id().await;

    assert_eq!(asked, Ok(id));
    let status = client.remote.peers().remove(0).condition;
    let protocol = PROTOCOL_MAX + 2;
    assert!(
        matches!(status, PeerCondition::Connected { protocol: spoken } if spoken == protocol),
        "{status:?}"
    );
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn another_cluster_is_not_spoken_to() {
    let service = Arc::new(Scripted::default());
    let serving = Serving::of(&service, CLUSTER).await;
    let other = ClusterId::from_bytes([6; 16]);
    let client = Client::start(config(&[serving.address], other));

    let asked = client.remote.producer_id().await;

    assert_eq!(asked, Err(MetadataError::Unavailable));
    assert!(
        matches!(*why(&client), ConnectError::Cluster { ours, theirs }
            if ours == other && theirs == CLUSTER),
        "{:?}",
        why(&client)
    );
    assert_eq!(service.asked(), Vec::<String>::new());
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn a_server_of_the_first_version_hears_an_announcement_without_sessions() {
    let pod = Pod {
        pod: PodId::from_bytes([1; 16]),
        node_id: 3,
        roles: Roles::INGEST,
        zone: None,
        kafka: None,
        internal: None,
        version: "1".to_owned(),
        is_draining: false,
        sessions: vec![SessionId::from_bytes([2; 16])],
    };
    let without = Pod {
        sessions: Vec::new(),
        ..pod.clone()
    };
    let service = Arc::new(Scripted::default());
    let refused = || Err(AnnounceError::TooManyPods);
    service.script().announce.extend([refused(), refused()]);
    for (newest, heard) in [(1, &without), (2, &pod)] {
        let mut server_config = server_config(CLUSTER);
        server_config.protocols.max = newest;
        let serving = Serving::start(server_config, parts(&service)).await;
        let client = Client::start(config(&[serving.address], CLUSTER));

        let told = client.remote.announce(pod.clone()).await;

        assert_eq!(told, refused());
        let asked = service.asked();
        assert_eq!(asked.last(), Some(&format!("{heard:?}")));
        client.stop().await;
        serving.stop().await;
    }
}
