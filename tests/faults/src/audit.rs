//! The audit of the bucket behind a run, by `esker verify`, where the binary has that command.

use std::time::Duration;

use anyhow::ensure;
use esker_e2e::{TestStore, esker};
use serde::Serialize;

const WITHIN: Duration = Duration::from_secs(60);

/// Whether the bucket was audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Audit {
    /// Nothing is wrong with it.
    Clean,
    /// This binary has no `verify`.
    NotAudited,
    /// The row ended before, or leaves a bucket that is broken on purpose.
    NotDue,
}

fn arguments(store: &TestStore) -> Vec<String> {
    let mut arguments = vec!["--store".to_owned(), store.url()];
    if let Some(endpoint) = store.endpoint() {
        arguments.extend(TestStore::s3_arguments(endpoint));
    }
    arguments
}

/// Whether the binary can audit.
pub(crate) async fn is_possible() -> anyhow::Result<bool> {
    let help = esker()?.args(["verify", "--help"]).run().await?;
    Ok(help.status.success())
}

/// What `esker verify` writes and whether it is content.
pub(crate) async fn verify(store: &TestStore) -> anyhow::Result<(bool, String)> {
    let program = esker()?.args(["verify"]).args(arguments(store));
    let ran = program.limit(WITHIN).run().await?;
    Ok((ran.status.success(), ran.tell()))
}

/// Audits the bucket of a run whose processes have ended.
///
/// # Errors
/// Something is wrong with it.
pub(crate) async fn audit(store: &TestStore) -> anyhow::Result<Audit> {
    if !is_possible().await? {
        return Ok(Audit::NotAudited);
    }
    let (is_clean, told) = verify(store).await?;
    ensure!(is_clean, "the audit of the bucket: {told}");
    Ok(Audit::Clean)
}
