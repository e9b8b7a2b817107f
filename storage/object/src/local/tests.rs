//! The local bucket: contract, lock, leftovers, full and unreadable directories.

use std::sync::Arc;

use super::*;
use crate::limits::{LIST_PAGE_COUNT_MAX, LOCAL_DIRECTORIES_KNOWN_MAX, LOCAL_KEY_PARTS_MAX};

fn key(text: &str) -> ObjectKey {
    ObjectKey::from_listing(text).unwrap()
}

fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn a_local_bucket_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = LocalBucket::open(directory.path().join("a/b"))
        .await
        .unwrap();

    crate::conformance(&bucket).await;

    let leftover = std::fs::read_dir(directory.path().join("a/b/.tmp"))
        .unwrap()
        .count();
    assert_eq!(leftover, 0);
}

#[tokio::test]
async fn a_directory_in_use_can_be_read_and_is_not_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let owner = LocalBucket::open(directory.path()).await.unwrap();
    let _ = owner.put_if_absent(&key("x/y"), body("z")).await;

    let reader = LocalBucket::open_to_read(directory.path()).await.unwrap();
    let read = reader.get(&key("x/y"), ReadRange::Full).await.unwrap();
    let put = reader.put_if_absent(&key("x/z"), body("z")).await;
    let deleted = reader.delete(&key("x/y")).await.unwrap_err();
    let absent = LocalBucket::open_to_read(directory.path().join("no")).await;

    assert_eq!(read.unwrap().bytes, body("z"));
    assert!(matches!(put, PutOutcome::Refused(error) if error.kind == StoreErrorKind::Denied));
    assert_eq!(deleted.kind, StoreErrorKind::Denied);
    assert!(matches!(absent, Err(LocalOpenError::Io { .. })));
    assert!(!directory.path().join("no").exists());
}

#[tokio::test]
async fn objects_outlive_the_process_and_leftovers_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = LocalBucket::open(directory.path()).await.unwrap();
    assert!(matches!(
        bucket.put_if_absent(&key("x/y"), body("z")).await,
        PutOutcome::Created
    ));
    drop(bucket);
    std::fs::write(directory.path().join(".tmp/left"), b"half").unwrap();

    let bucket = LocalBucket::open(directory.path()).await.unwrap();

    let read = bucket
        .get(&key("x/y"), ReadRange::Full)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.bytes, body("z"));
    assert!(!directory.path().join(".tmp/left").exists());
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_names_its_holder() {
    let directory = tempfile::tempdir().unwrap();
    let first = LocalBucket::open(directory.path()).await.unwrap();

    let second = LocalBucket::open(directory.path()).await.unwrap_err();

    assert!(
        second
            .to_string()
            .contains(&format!("process {}", std::process::id()))
    );
    assert!(matches!(
        second,
        LocalOpenError::InUse { process_id: Some(id), .. } if id == std::process::id()
    ));
    drop(first);
    LocalBucket::open(directory.path()).await.unwrap();
}

#[tokio::test]
async fn a_file_in_place_of_the_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();

    let outcome = LocalBucket::open(file.path()).await;

    assert!(matches!(outcome, Err(LocalOpenError::Io { .. })));
}

#[tokio::test]
async fn a_directory_where_nothing_can_be_made_is_refused() {
    // /proc refuses new directories to root too.
    let outcome = LocalBucket::open("/proc/esker").await;

    assert!(matches!(
        outcome,
        Err(LocalOpenError::Denied { .. } | LocalOpenError::Io { .. })
    ));
}

#[tokio::test]
async fn of_many_writers_of_one_key_one_wins_and_nobody_sees_a_part() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = Arc::new(LocalBucket::open(directory.path()).await.unwrap());
    let bodies: Vec<Bytes> = (0..16u8).map(|n| Bytes::from(vec![n; 10_000])).collect();
    let target = key("race/key");

    let outcomes = futures::future::join_all(
        bodies
            .iter()
            .map(|body| bucket.put_if_absent(&target, body.clone())),
    )
    .await;

    let winners: Vec<_> = (0..16usize)
        .filter(|n| matches!(outcomes[*n], PutOutcome::Created))
        .collect();
    assert_eq!(winners.len(), 1);
    assert!(
        outcomes
            .iter()
            .all(|o| matches!(o, PutOutcome::Created | PutOutcome::Exists))
    );
    let read = bucket.get(&target, ReadRange::Full).await.unwrap().unwrap();
    assert_eq!(read.bytes, bodies[winners[0]]);
}

#[tokio::test]
async fn a_key_cannot_leave_the_directory_or_hide_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = LocalBucket::open(directory.path()).await.unwrap();
    let deep = vec!["d"; LOCAL_KEY_PARTS_MAX + 1].join("/");

    for bad in [
        "../x",
        "a/../../x",
        "/etc/x",
        ".lock",
        "a//b",
        ".tmp/x",
        deep.as_str(),
    ] {
        let outcome = bucket.put_if_absent(&key(bad), body("b")).await;

        assert!(
            matches!(&outcome, PutOutcome::Refused(e) if e.kind == StoreErrorKind::Unsupported),
            "{bad}: {outcome:?}"
        );
        assert!(bucket.head(&key(bad)).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_listing_is_in_key_order_across_directories_and_stops_at_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = LocalBucket::open(directory.path()).await.unwrap();
    for text in ["p/a.b", "p/a/2", "p/a-c", "p/a/1", "q/z"] {
        assert!(matches!(
            bucket.put_if_absent(&key(text), body("x")).await,
            PutOutcome::Created
        ));
    }
    for number in 0..=LIST_PAGE_COUNT_MAX {
        std::fs::write(directory.path().join(format!("q/{number:05}")), b"x").unwrap();
    }

    let all = bucket.list_after(&key("p/"), None, 10).await.unwrap();
    let some = bucket
        .list_after(&key("p/"), Some(&key("p/a.b")), 2)
        .await
        .unwrap();
    let page = bucket
        .list_after(&key("q/"), None, LIST_PAGE_COUNT_MAX + 1)
        .await
        .unwrap();

    let texts = |rows: &[ListedObject]| -> Vec<String> {
        rows.iter().map(|row| row.key.to_string()).collect()
    };
    assert_eq!(texts(&all), ["p/a-c", "p/a.b", "p/a/1", "p/a/2"]);
    assert_eq!(texts(&some), ["p/a/1", "p/a/2"]);
    assert_eq!(page.len(), LIST_PAGE_COUNT_MAX);
}

#[tokio::test]
async fn more_operations_than_may_run_at_once_wait_and_all_finish() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = LocalBucket::open(directory.path()).await.unwrap();
    let keys: Vec<_> = (0..=LOCAL_OPERATIONS_MAX)
        .map(|n| key(&format!("many/{n}")))
        .collect();

    let outcomes =
        futures::future::join_all(keys.iter().map(|key| bucket.put_if_absent(key, body("x"))))
            .await;

    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, PutOutcome::Created))
    );
    assert_eq!(bucket.permits.available_permits(), LOCAL_OPERATIONS_MAX);
}

#[tokio::test]
async fn a_bucket_that_knows_too_many_directories_forgets_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = LocalBucket::open(directory.path()).await.unwrap();

    for number in 0..=LOCAL_DIRECTORIES_KNOWN_MAX {
        bucket
            .directory
            .remember(&directory.path().join(format!("gone-{number}")));
    }
    let known_count = bucket.directory.known_count();
    let outcome = bucket.put_if_absent(&key("kept/x"), body("x")).await;

    assert_eq!(known_count, 1);
    assert!(matches!(outcome, PutOutcome::Created));
}

#[tokio::test]
async fn a_full_disk_refuses_a_put_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(directory.path())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        println!("SKIPPED: mounting a small tmpfs needs root");
        return;
    }

    let bucket = LocalBucket::open(directory.path()).await.unwrap();
    let outcome = bucket
        .put_if_absent(&key("full/x"), Bytes::from(vec![7; 1 << 20]))
        .await;
    let small = bucket.put_if_absent(&key("full/y"), body("y")).await;
    let head = bucket.head(&key("full/x")).await;
    drop(bucket);
    std::process::Command::new("umount")
        .arg(directory.path())
        .status()
        .unwrap();

    assert!(matches!(outcome, PutOutcome::Refused(error) if error.kind == StoreErrorKind::Full));
    assert!(matches!(small, PutOutcome::Created));
    assert_eq!(head.unwrap(), None);
}

#[test]
fn a_full_disk_is_named_as_such_at_the_start() {
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);

    let refused = LocalOpenError::from_io(Path::new("data"), full);

    assert!(matches!(refused, LocalOpenError::Full { .. }));
    assert!(refused.to_string().contains("data is full"));
}
