//! Finds the clusters that have objects below a prefix, when `cluster.json` does not tell.

use esker_object::{Bucket, ObjectKey, StoreError};
use esker_types::ClusterId;

/// The clusters that have an object directly below the prefix, ascending. 17 LISTs or so.
///
/// # Errors
/// [`StoreError`]: the prefix could not be listed.
pub async fn find_clusters(bucket: &dyn Bucket) -> Result<Vec<ClusterId>, StoreError> {
    let mut found = Vec::new();
    for digit in "0123456789abcdef".chars() {
        let prefix = ObjectKey::from_listing(&digit.to_string());
        let Some(prefix) = prefix else {
            continue;
        };
        let mut after: Option<ObjectKey> = None;
        loop {
            let page = bucket.list_after(&prefix, after.as_ref(), 1).await?;
            let Some(row) = page.into_iter().next() else {
                break;
            };
            let folder = row.key.as_str().split_once('/').map(|(folder, _)| folder);
            let cluster = folder.and_then(|folder| ClusterId::from_hex(folder).ok());
            found.extend(cluster);
            // Behind everything of this cluster, or behind this stray key.
            let next = cluster.map(|cluster| format!("{}~", ObjectKey::everything(cluster)));
            after = next
                .and_then(|text| ObjectKey::from_listing(&text))
                .or(Some(row.key));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use esker_object::MemoryBucket;

    use super::*;

    #[tokio::test]
    async fn every_cluster_with_an_object_is_found_once() {
        let bucket = MemoryBucket::new();
        let (one, other) = (
            ClusterId::from_bytes([0x1a; 16]),
            ClusterId::from_bytes([0x1b; 16]),
        );
        let keys = [
            ObjectKey::cluster(),
            ObjectKey::journal_place(one, 0, 0),
            ObjectKey::journal_place(one, 1, 0),
            ObjectKey::snapshot_done(other, 3),
            ObjectKey::from_listing("abc/def").unwrap(),
        ];
        for key in keys {
            let _ = bucket.put_if_absent(&key, Bytes::new()).await;
        }

        let found = find_clusters(&bucket).await.unwrap();

        assert_eq!(found, [one, other]);
    }
}
