//! Announcements arrive as they were made, and tables come back as they are.

use std::sync::Arc;
use std::time::Duration;

use esker_metadata_api::{AnnounceError, Endpoint, Pod, PodLease, PodTable, Roles};
use esker_types::{PodId, SessionId};

use crate::exact::{answers, check};

fn pod(node_id: i32) -> Pod {
    Pod {
        pod: PodId::from_bytes([u8::try_from(node_id).unwrap(); 16]),
        node_id,
        roles: Roles::INGEST.and(Roles::METADATA),
        zone: Some("eu-1a".to_owned()),
        kafka: Some(Endpoint {
            host: "kafka.example.com".to_owned(),
            port: 9092,
        }),
        internal: None,
        version: "0.1.0".to_owned(),
        is_draining: false,
        sessions: vec![SessionId::from_bytes([6; 16])],
    }
}

fn lease(is_settled: bool, nodes: &[i32]) -> PodLease {
    let pods = nodes.iter().map(|node| (*node, Arc::new(pod(*node))));
    PodLease {
        lease: Duration::from_millis(5001),
        table: Arc::new(PodTable {
            is_settled,
            pods: pods.collect(),
        }),
    }
}

#[tokio::test]
async fn pods_are_announced_and_hear_who_is_there() {
    let own = [
        AnnounceError::NodeIdTaken,
        AnnounceError::TooManyPods,
        AnnounceError::Malformed,
    ];
    let leases = [lease(false, &[]), lease(true, &[1, 7])];
    let all = answers(leases, own, AnnounceError::Metadata);
    check(
        &pod(3),
        all,
        |script| &mut script.announce,
        |subject| async move { subject.pods.announce(pod(3)).await },
    )
    .await;
}
