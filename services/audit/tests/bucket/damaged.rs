//! Each damage is found, and called by its name.

use esker_audit::{Depth, FindingKind, limits};
use esker_object::ObjectKey;
use esker_types::{ChainIndex, SegmentId};

use crate::world::{Acknowledged, CLUSTER, Pod, World, at};

/// Five segments of one session, checkpointed and sealed.
async fn written() -> (World, Pod) {
    let world = World::new().await;
    let process = world.start().await;
    let topic = process.topic("orders").await;
    let mut pod = process.register().await;
    let mut producer = process.producer().await;
    for _ in 0..5 {
        let reserved = pod
            .reserve(&process, at(&topic, 0), (3, Some(producer)))
            .await;
        pod.write(&process, &reserved, &mut Acknowledged::new())
            .await;
        producer.base_sequence += 3;
    }
    process.stop().await;
    let process = world.start().await;
    process.stop().await;
    world.is_clean().await;
    (world, pod)
}

fn place(pod: &Pod, index: u64) -> ObjectKey {
    let session = pod.registered.session;
    let index = ChainIndex::new(index);
    ObjectKey::session_place(CLUSTER, SegmentId { session, index })
}

/// The kinds that mean damage and name this key, or any kind that means damage.
async fn damage(world: &World, depth: Depth, key: &ObjectKey) -> Vec<FindingKind> {
    let report = world.audit(depth).await;
    let rows = report.findings.rows().iter();
    let rows = rows.filter(|row| row.key.as_ref() == Some(key));
    assert!(report.is_damaged(), "{:?}", report.findings.rows());
    rows.map(|row| row.kind).collect()
}

#[tokio::test(start_paused = true)]
async fn a_deleted_segment_is_missed_by_both_depths() {
    let (world, pod) = written().await;
    let key = place(&pod, 2);
    world.delete(&key).await;

    for depth in [Depth::Quick, Depth::Deep] {
        let found = damage(&world, depth, &key).await;
        assert!(found.contains(&FindingKind::SegmentMissing), "{found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_truncated_segment_is_found_by_both_depths() {
    let (world, pod) = written().await;
    let key = place(&pod, 4);
    world
        .change(&key, |bytes| bytes.truncate(bytes.len() - 7))
        .await;

    for depth in [Depth::Quick, Depth::Deep] {
        let found = damage(&world, depth, &key).await;
        assert_eq!(found, [FindingKind::ObjectDamaged]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_anywhere_in_a_segment_is_found() {
    let (world, pod) = written().await;
    let key = place(&pod, 1);
    let whole = world.bytes(&key).await;

    for at in (0..whole.len()).step_by(7) {
        world.change(&key, |bytes| bytes[at] ^= 0x10).await;
        let found = damage(&world, Depth::Deep, &key).await;
        assert_eq!(
            found,
            [FindingKind::ObjectDamaged],
            "byte {at} of {}",
            whole.len()
        );
        world.delete(&key).await;
        world.put(&key, whole.clone()).await;
    }
    world.is_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_stands_in_for_another_is_found() {
    let (world, pod) = written().await;
    let other = world.bytes(&place(&pod, 0)).await;
    let key = place(&pod, 1);
    world.change(&key, |bytes| *bytes = other).await;

    for depth in [Depth::Quick, Depth::Deep] {
        let found = damage(&world, depth, &key).await;
        assert_eq!(found, [FindingKind::ObjectDamaged]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_seal_is_missed() {
    let (world, pod) = written().await;
    let key = place(&pod, 5);
    world.delete(&key).await;

    let found = damage(&world, Depth::Quick, &key).await;

    assert_eq!(found, [FindingKind::SealMissing]);
}

#[tokio::test(start_paused = true)]
async fn a_hole_behind_which_more_stands_than_a_crash_leaves_is_found() {
    let world = World::new().await;
    let process = world.start().await;
    let topic = process.topic("orders").await;
    let mut pod = process.register().await;
    let count = limits::IN_FLIGHT_MAX + 3;
    for _ in 0..count {
        let reserved = pod.reserve(&process, at(&topic, 0), (1, None)).await;
        pod.write(&process, &reserved, &mut Acknowledged::new())
            .await;
    }
    process.kill();
    world.is_clean().await;
    let key = place(&pod, 1);
    world.delete(&key).await;

    let found = damage(&world, Depth::Quick, &key).await;

    assert_eq!(found, [FindingKind::ChainGap]);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_or_deleted_journal_entry_is_found() {
    let (world, _) = written().await;
    let key = ObjectKey::journal_place(CLUSTER, 0, 1);
    let whole = world.bytes(&key).await;
    world.change(&key, |bytes| bytes[80] ^= 1).await;

    let damaged = damage(&world, Depth::Quick, &key).await;
    world.delete(&key).await;
    let missing = damage(&world, Depth::Quick, &key).await;
    world.put(&key, whole).await;

    assert!(damaged.contains(&FindingKind::ObjectDamaged), "{damaged:?}");
    assert!(
        damaged.contains(&FindingKind::JournalUnreadable),
        "{damaged:?}"
    );
    assert!(
        missing.contains(&FindingKind::JournalEntryMissing),
        "{missing:?}"
    );
    world.is_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_head_or_seal_of_the_journal_is_found() {
    let (world, _) = written().await;
    let journal = world.keys(&ObjectKey::journal(CLUSTER)).await;
    let ends: Vec<&ObjectKey> = journal
        .windows(2)
        .filter(|pair| pair[1].as_str().ends_with("/0000000000000000"))
        .flatten()
        .collect();
    assert!(ends.len() >= 2);

    for key in ends {
        let whole = world.bytes(key).await;
        world.delete(key).await;
        let found = damage(&world, Depth::Deep, key).await;
        assert!(
            found.contains(&FindingKind::JournalPlaceMissing),
            "{key}: {found:?}"
        );
        world.put(key, whole).await;
    }
    world.is_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_or_damaged_part_of_the_snapshot_is_found() {
    let (world, _) = written().await;
    for _ in 0..20 {
        world.start().await.stop().await;
    }
    world.is_clean().await;
    let roll = world.audit(Depth::Quick).await.figures.snapshot_roll;
    assert!(roll > 0);
    let snapshots = world.keys(&ObjectKey::snapshots(CLUSTER)).await;
    let folder = format!("{}{roll:016}/", ObjectKey::snapshots(CLUSTER));
    let of_newest = snapshots
        .iter()
        .filter(|key| key.as_str().starts_with(&folder));

    for key in of_newest {
        let whole = world.bytes(key).await;
        world.delete(key).await;
        let gone = damage_of_any(&world, Depth::Quick).await;
        world.put(key, whole.clone()).await;
        world.change(key, |bytes| bytes[70] ^= 1).await;
        let damaged = damage_of_any(&world, Depth::Deep).await;
        world.delete(key).await;
        world.put(key, whole).await;

        let is_list = key.as_str().ends_with("/done");
        if !is_list {
            assert!(
                gone.contains(&FindingKind::SnapshotIncomplete),
                "{key}: {gone:?}"
            );
        }
        assert!(
            damaged.contains(&FindingKind::SnapshotIncomplete),
            "{key}: {damaged:?}"
        );
    }
    world.is_clean().await;
}

async fn damage_of_any(world: &World, depth: Depth) -> Vec<FindingKind> {
    let report = world.audit(depth).await;
    report.findings.counts().keys().copied().collect()
}

#[tokio::test(start_paused = true)]
async fn a_committed_segment_that_the_index_lost_is_found() {
    let (world, _) = written().await;
    let other = World::new().await;
    let process = other.start().await;
    let topic = process.topic("orders").await;
    process.stop().await;
    // The same cluster, whose journal knows nothing of what was written.
    for key in world.keys(&ObjectKey::sessions(CLUSTER)).await {
        other.put(&key, world.bytes(&key).await).await;
    }

    let unknown = other.found().await;

    assert_eq!(unknown, [FindingKind::SessionUnknown]);
    let process = other.start().await;
    let mut pod = process.register().await;
    let mut acknowledged = Acknowledged::new();
    pod.append(&process, at(&topic, 0), &mut acknowledged).await;
    process.stop().await;
    let journal = other.keys(&ObjectKey::journal(CLUSTER)).await;
    let before = World::new().await;
    for key in journal
        .iter()
        .filter(|key| key.as_str().contains("/0000000000000000/"))
    {
        before.put(key, other.bytes(key).await).await;
    }
    for key in other.keys(&ObjectKey::sessions(CLUSTER)).await {
        before.put(&key, other.bytes(&key).await).await;
    }
    let found = before.found().await;
    assert!(found.contains(&FindingKind::SegmentNotIndexed), "{found:?}");
}
