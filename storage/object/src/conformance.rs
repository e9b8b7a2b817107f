//! What every `Bucket` must do, as one suite that each back end and each wrapper runs.
//!
//! Panics with the broken claim: it is called by tests only (feature `test-util`). Uses fresh keys
//! below `conformance/`, so it can run on a bucket that holds other things.

use bytes::Bytes;
use esker_env::Rng;
use esker_types::ByteRange;

use crate::{Bucket, ObjectKey, PutOutcome, ReadRange};

/// Runs every claim against `bucket`.
pub async fn conformance(bucket: &dyn Bucket) {
    let run = Rng::from_os().write_id();
    let key = |name: &str| {
        let key = ObjectKey::from_listing(&format!("conformance/{run}/{name}"));
        assert!(key.is_some(), "the suite makes short keys");
        key.unwrap_or_else(ObjectKey::cluster)
    };

    creates_once(bucket, &key("once")).await;
    reads_every_kind_of_range(bucket, &key("ranges")).await;
    keeps_an_empty_object(bucket, &key("empty")).await;
    misses_what_is_not_there(bucket, &key("missing")).await;
    lists_in_order_behind_a_key(bucket, &key).await;
    deletes_and_forgets(bucket, &key("once")).await;
    lets_one_of_many_win(bucket, &key("race")).await;
    keeps_large_objects(bucket, &key("large")).await;
}

async fn creates_once(bucket: &dyn Bucket, key: &ObjectKey) {
    let first = bucket
        .put_if_absent(key, Bytes::from_static(b"first"))
        .await;
    let other = bucket
        .put_if_absent(key, Bytes::from_static(b"other"))
        .await;

    assert!(
        matches!(first, PutOutcome::Created),
        "a free key is taken: {first:?}"
    );
    assert!(
        matches!(other, PutOutcome::Exists),
        "a taken key is refused: {other:?}"
    );
    let read = read(bucket, key, ReadRange::Full).await;
    assert_eq!(read, Some((b"first".to_vec(), 5)), "the first write stays");
}

async fn read(bucket: &dyn Bucket, key: &ObjectKey, range: ReadRange) -> Option<(Vec<u8>, u64)> {
    match bucket.get(key, range).await {
        Ok(found) => found.map(|read| (read.bytes.to_vec(), read.object_bytes)),
        Err(error) => {
            assert!(error.key != *key, "get of {key} {range:?} works: {error:?}");
            None
        }
    }
}

fn bounded(start: u64, end: u64) -> ReadRange {
    ByteRange::new(start, end).map_or(ReadRange::Full, ReadRange::Bounded)
}

async fn reads_every_kind_of_range(bucket: &dyn Bucket, key: &ObjectKey) {
    let created = bucket
        .put_if_absent(key, Bytes::from_static(b"0123456789"))
        .await;
    assert!(matches!(created, PutOutcome::Created));

    let cases: [(ReadRange, &[u8]); 8] = [
        (ReadRange::Full, b"0123456789"),
        (bounded(2, 5), b"234"),
        (bounded(8, 20), b"89"),
        (bounded(10, 20), b""),
        (bounded(300, 400), b""),
        (ReadRange::Suffix(3), b"789"),
        (ReadRange::Suffix(100), b"0123456789"),
        (ReadRange::Suffix(0), b""),
    ];
    for (range, wanted) in cases {
        let found = read(bucket, key, range).await;

        assert_eq!(found, Some((wanted.to_vec(), 10)), "{range:?}");
    }
    assert_eq!(bucket.head(key).await.ok(), Some(Some(10)));
}

async fn keeps_an_empty_object(bucket: &dyn Bucket, key: &ObjectKey) {
    let created = bucket.put_if_absent(key, Bytes::new()).await;

    assert!(matches!(created, PutOutcome::Created), "{created:?}");
    assert_eq!(bucket.head(key).await.ok(), Some(Some(0)));
    for range in [ReadRange::Full, bounded(0, 64), ReadRange::Suffix(8)] {
        assert_eq!(
            read(bucket, key, range).await,
            Some((Vec::new(), 0)),
            "{range:?}"
        );
    }
}

async fn misses_what_is_not_there(bucket: &dyn Bucket, key: &ObjectKey) {
    for range in [
        ReadRange::Full,
        bounded(0, 64),
        ReadRange::Suffix(8),
        ReadRange::Suffix(0),
    ] {
        assert_eq!(read(bucket, key, range).await, None, "{range:?}");
    }
    assert_eq!(bucket.head(key).await.ok(), Some(None));
    assert!(bucket.delete(key).await.is_ok(), "deleting nothing is fine");
}

async fn list(
    bucket: &dyn Bucket,
    prefix: &ObjectKey,
    after: Option<&ObjectKey>,
    count_max: usize,
) -> Vec<String> {
    let listed = bucket.list_after(prefix, after, count_max).await;
    assert!(listed.is_ok(), "a listing works: {listed:?}");
    let rows = listed.unwrap_or_default();
    assert!(
        rows.iter().all(|row| row.object_bytes == 3),
        "a listing tells lengths"
    );
    rows.into_iter()
        .map(|row| row.key.as_str().to_owned())
        .collect()
}

async fn lists_in_order_behind_a_key(bucket: &dyn Bucket, key: &impl Fn(&str) -> ObjectKey) {
    for name in ["list/b/2", "list/a", "list/b/1", "list/c"] {
        let created = bucket
            .put_if_absent(&key(name), Bytes::from_static(b"abc"))
            .await;
        assert!(matches!(created, PutOutcome::Created));
    }
    let names = |names: &[&str]| -> Vec<String> {
        names
            .iter()
            .map(|name| key(name).as_str().to_owned())
            .collect()
    };

    let all = list(bucket, &key("list/"), None, 100).await;
    let two = list(bucket, &key("list/"), Some(&key("list/a")), 2).await;
    let inner = list(bucket, &key("list/b/"), Some(&key("list/b/1")), 100).await;
    let none = list(bucket, &key("list/"), Some(&key("list/c")), 100).await;

    assert_eq!(all, names(&["list/a", "list/b/1", "list/b/2", "list/c"]));
    assert_eq!(two, names(&["list/b/1", "list/b/2"]));
    assert_eq!(inner, names(&["list/b/2"]));
    assert!(none.is_empty());
}

async fn deletes_and_forgets(bucket: &dyn Bucket, key: &ObjectKey) {
    assert!(bucket.delete(key).await.is_ok());

    assert_eq!(bucket.head(key).await.ok(), Some(None));
    assert_eq!(read(bucket, key, ReadRange::Full).await, None);
}

async fn lets_one_of_many_win(bucket: &dyn Bucket, key: &ObjectKey) {
    let bodies: Vec<Bytes> = (0..8u8)
        .map(|number| Bytes::from(vec![number; 100]))
        .collect();

    let puts = bodies
        .iter()
        .map(|body| bucket.put_if_absent(key, body.clone()));
    let outcomes = futures::future::join_all(puts).await;

    let mut winners = Vec::new();
    for (outcome, body) in outcomes.iter().zip(&bodies) {
        match outcome {
            PutOutcome::Created => winners.push(body.to_vec()),
            PutOutcome::Exists => {}
            other => assert!(other_is_fair(other), "a race has one winner: {other:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "a race has one winner");
    let found = read(bucket, key, ReadRange::Full).await;
    assert_eq!(
        found.map(|(bytes, _)| bytes),
        winners.pop(),
        "the winner's bytes stay"
    );
}

/// A raw back end may answer a race with "unknown" (409), never with more.
fn other_is_fair(outcome: &PutOutcome) -> bool {
    matches!(outcome, PutOutcome::Unknown(_))
}

async fn keeps_large_objects(bucket: &dyn Bucket, key: &ObjectKey) {
    let body: Vec<u8> = (0..5_000_000u32).map(|n| n.to_le_bytes()[1]).collect();

    let created = bucket.put_if_absent(key, Bytes::from(body.clone())).await;

    assert!(matches!(created, PutOutcome::Created), "{created:?}");
    let found = read(bucket, key, ReadRange::Full).await;
    assert!(found.is_some_and(|(bytes, length)| bytes == body && length == 5_000_000));
    let middle = read(bucket, key, bounded(1_000_000, 1_000_100)).await;
    assert_eq!(
        middle.map(|(bytes, _)| bytes),
        Some(body[1_000_000..1_000_100].to_vec())
    );
}
