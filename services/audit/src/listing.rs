//! Lists a prefix page by page, without holding more than a page.

use esker_object::limits::LIST_PAGE_COUNT_MAX;
use esker_object::{Bucket, ListedObject, ObjectKey, StoreError};
use futures::stream::{self, Stream, StreamExt as _};

/// All objects below `prefix`, in key order. One LIST per 1000 of them.
pub(crate) fn list_all<'a>(
    bucket: &'a dyn Bucket,
    prefix: &'a ObjectKey,
) -> impl Stream<Item = Result<ListedObject, StoreError>> + 'a {
    let pages = stream::try_unfold(Some(None::<ObjectKey>), move |after| async move {
        let Some(after) = after else {
            return Ok(None);
        };
        let page = bucket
            .list_after(prefix, after.as_ref(), LIST_PAGE_COUNT_MAX)
            .await?;
        let is_last = page.len() < LIST_PAGE_COUNT_MAX;
        let last = page.last().map(|row| row.key.clone());
        let next = if is_last { None } else { Some(last) };
        Ok(Some((page, next)))
    });
    pages.flat_map(|page| {
        let (rows, failure) = match page {
            Ok(rows) => (rows, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        stream::iter(rows.into_iter().map(Ok).chain(failure.map(Err)))
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use esker_object::MemoryBucket;

    use super::*;

    #[tokio::test]
    async fn every_object_comes_once_over_page_boundaries() {
        let prefix = ObjectKey::from_listing("p/").unwrap();
        for count in [0, 1, 1000, 1001, 2000] {
            let bucket = MemoryBucket::new();
            for number in 0..count {
                let key = ObjectKey::from_listing(&format!("p/{number:05}")).unwrap();
                let _ = bucket.put_if_absent(&key, Bytes::new()).await;
            }

            let rows: Vec<_> = list_all(&bucket, &prefix).collect().await;

            assert_eq!(rows.len(), count);
            let last = rows.last().map(|row| row.as_ref().unwrap().key.to_string());
            assert_eq!(
                last,
                count.checked_sub(1).map(|last| format!("p/{last:05}"))
            );
        }
    }
}
