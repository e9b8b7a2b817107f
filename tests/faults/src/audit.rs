//! The audit of the bucket behind a run, by `esker verify`.

use std::time::Duration;

use anyhow::ensure;
use esker_e2e::{TestStore, esker};
use serde::Serialize;

const WITHIN: Duration = Duration::from_secs(300);

/// Whether the bucket was audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Audit {
    /// Nothing is wrong with it.
    Clean,
    /// The row breaks the bucket on purpose, and what was broken was found.
    Found,
    /// The run ended before, or its bucket is an older one by intent.
    NotDue,
}

fn arguments(store: &TestStore) -> Vec<String> {
    let mut arguments = vec!["--store".to_owned(), store.url()];
    if let Some(endpoint) = store.endpoint() {
        arguments.extend(TestStore::s3_arguments(endpoint));
    }
    arguments
}

/// What `esker verify` ends with and writes; 0 is clean, 1 damage, 2 nothing is known.
async fn verify(store: &TestStore) -> anyhow::Result<(Option<i32>, String)> {
    let program = esker()?.args(["verify"]).args(arguments(store));
    let ran = program.limit(WITHIN).run().await?;
    Ok((ran.status.code(), ran.tell()))
}

/// Audits the bucket of a run whose processes have ended.
///
/// # Errors
/// Something is wrong with it, or it could not be audited.
pub(crate) async fn audit(store: &TestStore) -> anyhow::Result<Audit> {
    let (code, told) = verify(store).await?;
    ensure!(code == Some(0), "the audit of the bucket: {told}");
    Ok(Audit::Clean)
}

/// The same of a bucket in which `place` was damaged: the audit has to name it.
///
/// # Errors
/// It does not.
pub(crate) async fn audit_damaged(store: &TestStore, place: &str) -> anyhow::Result<Audit> {
    let (code, told) = verify(store).await?;
    let is_found = code == Some(1) && told.contains(place);
    ensure!(is_found, "the audit does not name {place}: {told}");
    Ok(Audit::Found)
}
