//! Audits a whole bucket: the journal first, then every session against what the journal said.
//!
//! Order matters on a bucket in use: what the state refers to existed before it was read, so it
//! must be listed afterwards; what the state does not know may be newer, so it is asked again at
//! the end.

use std::sync::Arc;

use esker_env::Env;
use esker_journal::{Follower, ReplayError};
use esker_metadata::ReplayedState;
use esker_object::{Bucket, ClusterError, ClusterFile, ObjectKey, read_cluster};
use esker_types::ClusterId;

use crate::error::{AuditError, with_causes};
use crate::finding::{FindingKind, Findings};
use crate::journal_audit::audit_journal;
use crate::report::{AuditFigures, AuditReport};
use crate::sessions_audit::{Pending, SessionsAudit};
use crate::stray_keys::find_stray_keys;
use crate::watch::{Silent, Watch};

/// How much of segments is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The footer of each: a damaged record batch is not found.
    Quick,
    /// Every byte of every object.
    Deep,
}

/// What is audited.
#[derive(Clone, Debug)]
pub struct AuditParts {
    /// The dependable bucket.
    pub bucket: Arc<dyn Bucket>,
    /// Time and randomness.
    pub env: Env,
    /// Whose bucket.
    pub cluster: ClusterId,
}

/// Audits every byte of a bucket whose `cluster.json` is there. For tests and simulations.
///
/// # Errors
/// [`AuditError`]: it could not be read.
pub async fn audit_bucket(bucket: Arc<dyn Bucket>, env: Env) -> Result<AuditReport, AuditError> {
    let file = read_cluster(bucket.as_ref()).await;
    let file = file.map_err(AuditError::Cluster)?;
    let cluster = file.ok_or(AuditError::NoCluster)?.cluster_id;
    let parts = AuditParts {
        bucket,
        env,
        cluster,
    };
    Box::pin(audit(&parts, Depth::Deep, &Silent)).await
}

/// Audits a bucket, at rest or in use. Writes nothing.
///
/// Cost: 1 LIST per 1000 objects; deep 1 GET per object, quick 1 GET of at most 64 KiB per segment
/// and seal and 1 per journal object behind the newest snapshot; and what a cold start reads.
///
/// # Errors
/// [`AuditError`]: it could not be read to its end.
///
/// # Cancel safety
/// Reads only.
pub async fn audit(
    parts: &AuditParts,
    depth: Depth,
    watch: &dyn Watch,
) -> Result<AuditReport, AuditError> {
    let mut report = AuditReport {
        cluster: parts.cluster,
        depth,
        findings: Findings::default(),
        figures: AuditFigures::default(),
        topics: Vec::new(),
    };
    audit_cluster_file(parts, &mut report).await?;
    let journal = audit_journal(parts, depth, watch).await?;
    journal.tell(&mut report);
    find_stray_keys(parts, &mut report).await?;
    match journal.follower {
        Some(follower) => {
            Box::pin(audit_sessions(parts, watch, follower, &mut report)).await?;
        }
        None => {
            let sessions = SessionsAudit::new(parts, depth, watch, None);
            let _nothing_more = sessions.run(&mut report).await?;
        }
    }
    Ok(report)
}

async fn audit_cluster_file(
    parts: &AuditParts,
    report: &mut AuditReport,
) -> Result<(), AuditError> {
    let found = match read_cluster(parts.bucket.as_ref()).await {
        Ok(found) => found,
        Err(ClusterError::Store(source)) => return Err(AuditError::Store(source)),
        Err(error) => return Err(AuditError::Cluster(error)),
    };
    let Some(ClusterFile { cluster_id, .. }) = found else {
        let key = Some(ObjectKey::cluster());
        let what = "cluster.json is missing".to_owned();
        report
            .findings
            .add(FindingKind::ClusterFileMissing, key, what);
        return Ok(());
    };
    if cluster_id != parts.cluster {
        let (found, expected) = (cluster_id, parts.cluster);
        return Err(AuditError::Cluster(ClusterError::OtherCluster {
            found,
            expected,
        }));
    }
    report.figures.objects += 1;
    Ok(())
}

async fn audit_sessions(
    parts: &AuditParts,
    watch: &dyn Watch,
    mut follower: Follower<ReplayedState>,
    report: &mut AuditReport,
) -> Result<(), AuditError> {
    let state = follower.state();
    report.topics = state.topics().iter().cloned().collect();
    let sessions = SessionsAudit::new(parts, report.depth, watch, Some(state));
    let pending: Pending = sessions.run(report).await?;
    if pending.is_empty() {
        return Ok(());
    }
    match follower.catch_up().await {
        Ok(()) => {}
        Err(ReplayError::Store(source)) => return Err(AuditError::Store(source)),
        Err(error) => {
            let what = with_causes(&error);
            report
                .findings
                .add(FindingKind::JournalUnreadable, None, what);
        }
    }
    pending.judge(parts.cluster, follower.state(), report);
    Ok(())
}
