//! Finds keys below the cluster's prefix that Esker never makes, and what the probe left.
//!
//! Cost: a LIST for each place between two folders, and one more per 1000 stray keys.

use esker_object::limits::LIST_PAGE_COUNT_MAX;
use esker_object::{ListedObject, ObjectKey, StoreError};
use futures::StreamExt as _;

use crate::audit::AuditParts;
use crate::error::AuditError;
use crate::finding::FindingKind;
use crate::listing::list_all;
use crate::report::AuditReport;

pub(crate) async fn find_stray_keys(
    parts: &AuditParts,
    report: &mut AuditReport,
) -> Result<(), AuditError> {
    let cluster = parts.cluster;
    let folders = [
        ObjectKey::journal(cluster),
        ObjectKey::sessions(cluster),
        ObjectKey::snapshots(cluster),
    ];
    let mut after: Option<ObjectKey> = None;
    loop {
        let page = page_after(parts, after.as_ref()).await;
        let page = page.map_err(AuditError::Store)?;
        let mut next = None;
        for row in &page {
            let is_below = |folder: &&ObjectKey| row.key.as_str().starts_with(folder.as_str());
            if let Some(folder) = folders.iter().find(is_below) {
                next = behind(folder);
                break;
            }
            stray(row, report);
            next = Some(row.key.clone());
        }
        if next.is_none() {
            break;
        }
        after = next;
    }
    let probes = ObjectKey::probes();
    let mut rows = std::pin::pin!(list_all(parts.bucket.as_ref(), &probes));
    while let Some(row) = rows.next().await {
        let row = row.map_err(AuditError::Store)?;
        let what = format!("object of the start-up probe, {} bytes", row.object_bytes);
        report
            .findings
            .add(FindingKind::ProbeLeftover, Some(row.key), what);
    }
    Ok(())
}

async fn page_after(
    parts: &AuditParts,
    after: Option<&ObjectKey>,
) -> Result<Vec<ListedObject>, StoreError> {
    let everything = ObjectKey::everything(parts.cluster);
    let bucket = &parts.bucket;
    bucket
        .list_after(&everything, after, LIST_PAGE_COUNT_MAX)
        .await
}

/// A text that sorts behind every key of a folder: its names are digits and letters.
fn behind(folder: &ObjectKey) -> Option<ObjectKey> {
    ObjectKey::from_listing(&format!("{folder}~"))
}

fn stray(row: &ListedObject, report: &mut AuditReport) {
    report.figures.objects += 1;
    report.figures.object_bytes += row.object_bytes;
    let what = format!("key that esker never makes, {} bytes", row.object_bytes);
    report
        .findings
        .add(FindingKind::UnknownKey, Some(row.key.clone()), what);
}
