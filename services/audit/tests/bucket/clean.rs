//! Nothing is found in buckets that are whole: at rest, after kills, in use.

use esker_audit::{AuditError, Depth, FindingKind, Silent, audit, audit_bucket};
use esker_object::{ClusterError, Fault, FaultRule, FaultyBucket, ObjectKey, Operation};
use esker_types::ClusterId;

use crate::world::{Acknowledged, CLUSTER, World, at};

#[tokio::test(start_paused = true)]
async fn a_bucket_at_rest_is_clean_and_its_figures_are_what_was_written() {
    let world = World::new().await;
    let process = world.start().await;
    let topic = process.topic("orders").await;
    let mut acknowledged = Acknowledged::new();
    let mut pod = process.register().await;
    for _ in 0..5 {
        pod.append(&process, at(&topic, 0), &mut acknowledged).await;
    }
    process.stop().await;

    let report = world.audit(Depth::Deep).await;
    let quick = world.audit(Depth::Quick).await;

    assert_eq!(report.findings.rows(), []);
    let figures = report.figures;
    assert_eq!((figures.segments, figures.extents), (5, 5));
    assert_eq!((figures.offsets, figures.void_offsets), (15, 0));
    assert_eq!((figures.partitions, figures.sessions), (1, 1));
    assert_eq!(report.topics[0].name.as_str(), "orders");
    assert!(figures.read_bytes > 0 && quick.figures.read_bytes <= figures.read_bytes);
    assert_eq!(quick.findings.rows(), []);
    let entry = audit_bucket(world.bucket(), world.env.clone()).await;
    assert!(!entry.unwrap().is_damaged());
}

#[tokio::test(start_paused = true)]
async fn kills_leave_void_segments_and_gaps_and_no_damage() {
    let world = World::new().await;
    let mut acknowledged = Acknowledged::new();
    let mut topic = None;
    for round in 0..20_u32 {
        let process = world.start().await;
        if topic.is_none() {
            topic = Some(process.topic("orders").await);
        }
        let orders = at(topic.as_ref().unwrap(), round % 2);
        let mut pod = process.register().await;
        let other = process.register().await;
        pod.append(&process, orders, &mut acknowledged).await;
        let lost = pod.reserve(&process, orders, (2, None)).await;
        let behind = pod.reserve(&process, orders, (4, None)).await;
        pod.upload(&process, &behind).await;
        drop((lost, other));
        process.kill();
        world.is_clean().await;
    }
    let process = world.start().await;
    process.holds(&acknowledged).await;
    process.stop().await;

    let report = world.audit(Depth::Deep).await;

    assert!(!report.is_damaged(), "{:?}", report.findings.rows());
    let kinds: Vec<FindingKind> = report.findings.counts().keys().copied().collect();
    assert!(kinds.contains(&FindingKind::VoidSegment), "{kinds:?}");
    assert!(report.figures.snapshot_roll > 0, "rolls outgrow the state");
    assert_eq!(report.figures.segments, 40);
    let (void, seen) = (
        report.figures.void_offsets,
        report.figures.void_offsets_seen,
    );
    assert!(seen <= void, "{seen} of {void}");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_in_use_is_clean_whatever_is_under_way() {
    let world = World::new().await;
    let process = world.start().await;
    let topic = process.topic("orders").await;
    let mut acknowledged = Acknowledged::new();
    let mut pod = process.register().await;
    pod.append(&process, at(&topic, 0), &mut acknowledged).await;
    let open = pod.reserve(&process, at(&topic, 1), (2, None)).await;
    let next = pod.reserve(&process, at(&topic, 1), (2, None)).await;
    pod.upload(&process, &next).await;
    let silent = process.register().await;

    world.is_clean().await;
    pod.upload(&process, &open).await;
    world.is_clean().await;

    assert!(world.found().await.is_empty());
    assert_eq!(silent.next, 0);
    process.stop().await;
    assert!(world.found().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn deleted_topics_leave_segments_that_nothing_refers_to() {
    let world = World::new().await;
    let process = world.start().await;
    let topic = process.topic("orders").await;
    let mut acknowledged = Acknowledged::new();
    let mut pod = process.register().await;
    pod.append(&process, at(&topic, 0), &mut acknowledged).await;
    let named = esker_metadata_api::TopicRef::Id(topic.id);
    let deleted = esker_metadata_api::Admin::delete_topic(&process.service, named).await;
    deleted.unwrap();
    process.stop().await;

    world.is_clean().await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_cluster_is_clean_and_no_cluster_is_an_error() {
    let world = World::new().await;
    let other = esker_audit::AuditParts {
        cluster: ClusterId::from_bytes([6; 16]),
        ..world.parts()
    };

    world.is_clean().await;
    let wrong = audit(&other, Depth::Deep, &Silent).await;
    world.delete(&ObjectKey::cluster()).await;
    let none = audit_bucket(world.bucket(), world.env.clone()).await;
    let found = world.found().await;

    let is_other = |error: &AuditError| {
        matches!(
            error,
            AuditError::Cluster(ClusterError::OtherCluster { .. })
        )
    };
    assert!(wrong.is_err_and(|error| is_other(&error)));
    assert!(matches!(none, Err(AuditError::NoCluster)));
    assert_eq!(found, [FindingKind::ClusterFileMissing]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_an_error_and_no_finding() {
    let world = World::new().await;
    let faulty = FaultyBucket::new(std::sync::Arc::new(world.memory.clone()), world.env.clone());
    let kind = esker_object::StoreErrorKind::Denied;
    faulty.add(FaultRule::new(Fault::Refuse(kind)).on(Operation::List));
    let parts = esker_audit::AuditParts {
        bucket: std::sync::Arc::new(faulty),
        ..world.parts()
    };

    let failed = audit(&parts, Depth::Quick, &Silent).await;

    assert!(matches!(failed, Err(AuditError::Store(error)) if error.kind == kind));
}

#[tokio::test(start_paused = true)]
async fn stray_keys_and_leftovers_are_told_and_are_no_damage() {
    let world = World::new().await;
    let process = world.start().await;
    process.stop().await;
    let stray = [
        format!("{CLUSTER}/a"),
        format!("{CLUSTER}/journal/x"),
        format!("{CLUSTER}/locks/1"),
        format!("{CLUSTER}/sessions/ab/x"),
        format!("{CLUSTER}/snapshots/x"),
        format!("{CLUSTER}/z"),
    ];
    for key in stray.iter().chain([&"probe/ab".to_owned()]) {
        world
            .put(&ObjectKey::from_listing(key).unwrap(), vec![1])
            .await;
    }

    let report = world.audit(Depth::Quick).await;

    assert!(!report.is_damaged());
    let counts = report.findings.counts();
    assert_eq!(counts[&FindingKind::UnknownKey], 6);
    assert_eq!(counts[&FindingKind::ProbeLeftover], 1);
}
