//! Makes a new journal from the segments, when the old one is lost or damaged.
//!
//! Order: read everything; end the old journal, which stops who still writes to it; seal every open
//! chain, which stops its pod; look for sessions that began meanwhile; begin the journal again.
//! Nothing is deleted or overwritten. What C1 says decides what is in the log.

mod gather;

use esker_chain::{Chain, PlaceHolder, SealError};
use esker_journal::{Fence, JournalIdentity, JournalParts, OwnerId, fence};
use esker_metadata::{LeaderProbe, RebuiltTopic};
use esker_metadata_api::Topic;
use esker_object::{ObjectKey, open_cluster, read_cluster};
use esker_types::{ChainIndex, ClusterId, SegmentId, SequencerEpoch};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::audit::{AuditParts, Depth};
use crate::error::{AuditError, RebuildError};
use crate::journal_audit::audit_journal;
use crate::limits::QUICK_READS_MAX;
use crate::listing::list_all;
use crate::remains::Remains;
use crate::watch::Watch;

use gather::{Gathered, gather};

/// What a rebuild may do.
#[derive(Clone, Debug, Default)]
pub struct RebuildPlan {
    /// Read and tell only.
    pub is_dry: bool,
    /// Even when the journal is sound.
    pub forces: bool,
    /// Go on without segments that are missing or cannot be read.
    pub accepts_loss: bool,
    /// Topics by id, for those whose names the journal does not tell any more.
    pub given: Vec<Topic>,
}

/// What a rebuild did, or would do.
#[derive(Clone, Debug)]
pub struct RebuildReport {
    /// Whose bucket.
    pub cluster: ClusterId,
    /// Whether nothing was written.
    pub is_dry: bool,
    /// Whether `cluster.json` was missing.
    pub cluster_file_missing: bool,
    /// The first roll of the new journal; `None` when none was begun.
    pub roll: Option<u64>,
    /// The epoch of the new journal: higher than any that was seen.
    pub epoch: SequencerEpoch,
    /// The topics, by name.
    pub topics: Vec<RebuiltTopic>,
    /// Sessions that have an object.
    pub sessions: u64,
    /// Chains that had no end and were sealed, or would be.
    pub sessions_open: u64,
    /// Segments in the new index.
    pub segments: u64,
    /// Extents in the new index.
    pub extents: u64,
    /// Partitions that have records.
    pub partitions: u64,
    /// Segments behind the end of their chain: no part of the log.
    pub void_segments: u64,
    /// Segments that are missing or cannot be read.
    pub lost_segments: u64,
    /// Segments that were left out because another one has their offsets.
    pub overlapping_segments: u64,
    /// Groups whose committed offsets were found.
    pub groups: usize,
    /// The first producer id that will be given out.
    pub producer_id_next: i64,
    /// The roll of the old snapshot that was read.
    pub old_snapshot_roll: Option<u64>,
    /// Commands of the old journal that were read behind it.
    pub old_commands: u64,
    /// Objects or commands of the old journal that could not be read.
    pub old_unreadable: u64,
}

/// Rebuilds the journal of a bucket. All processes that use it must be stopped: those that can be
/// noticed are, and refuse the rebuild; those whose journal is wholly gone cannot be noticed while
/// they are idle.
///
/// Cost: 1 LIST per 1000 objects, twice for sessions; 1 GET of at most 64 KiB per segment and seal,
/// 2 per object of the old journal; 1 PUT per open chain; those of [`esker_journal::fence`].
///
/// # Errors
/// [`RebuildError`]: no journal was begun; nothing was deleted or overwritten.
///
/// # Cancel safety
/// The old journal may be ended and chains sealed: rebuild again.
pub async fn rebuild(
    parts: &AuditParts,
    plan: &RebuildPlan,
    probe: &dyn LeaderProbe,
    watch: &dyn Watch,
) -> Result<RebuildReport, RebuildError> {
    let cluster_file_missing = is_cluster_file_missing(parts).await?;
    let journal = audit_journal(parts, Depth::Deep, watch).await;
    let journal = journal.map_err(RebuildError::Audit)?;
    let is_sound = journal.findings.damage() == 0;
    drop(journal);
    if is_sound && !plan.forces && !cluster_file_missing {
        return Err(RebuildError::Sound);
    }
    let store = |source| RebuildError::Audit(AuditError::Store(source));
    let mut remains = Remains::read(parts, watch).await.map_err(store)?;
    if let Some(leader) = &remains.leader
        && probe.is_alive(leader).await
    {
        let address = leader.address.clone();
        return Err(RebuildError::LeaderAlive { address });
    }
    let gathered = gather(parts, plan, &remains.salvage, watch).await?;
    for topic in &plan.given {
        remains.salvage.give(topic.clone());
    }
    let mut report = report_of(parts, plan, &remains, &gathered);
    report.cluster_file_missing = cluster_file_missing;
    if cluster_file_missing && !plan.is_dry {
        let opened = open_cluster(parts.bucket.as_ref(), Some(parts.cluster), &parts.env).await;
        opened.map_err(RebuildError::Cluster)?;
    }
    if is_sound && !plan.forces {
        return Ok(report);
    }
    replace_journal(parts, plan, (remains, gathered), &mut report).await?;
    Ok(report)
}

async fn is_cluster_file_missing(parts: &AuditParts) -> Result<bool, RebuildError> {
    let found = read_cluster(parts.bucket.as_ref()).await;
    let found = found.map_err(|error| RebuildError::Audit(AuditError::Cluster(error)))?;
    Ok(found.is_none())
}

/// Fences, seals, and begins again; of a dry run only the last figures.
async fn replace_journal(
    parts: &AuditParts,
    plan: &RebuildPlan,
    (remains, mut gathered): (Remains, Gathered),
    report: &mut RebuildReport,
) -> Result<(), RebuildError> {
    let store = |source| RebuildError::Audit(AuditError::Store(source));
    let fence = match plan.is_dry {
        true => None,
        false => Some(end_journal(parts, &remains, report.epoch).await?),
    };
    if fence.is_some() {
        let chain = Chain::new(parts.bucket.clone(), parts.env.clone(), parts.cluster);
        let chain = chain.sealing_as(report.epoch);
        seal_chains(&chain, &remains, &mut gathered).await?;
        let sessions = count_new_sessions(parts, &gathered).await.map_err(store)?;
        if sessions > 0 {
            return Err(RebuildError::InUse { sessions });
        }
    }
    gathered.settle_sessions();
    report.segments = gathered.segments;
    report.extents = u64::try_from(gathered.log.extent_count()).unwrap_or(u64::MAX);
    report.partitions = u64::try_from(gathered.log.partitions().count()).unwrap_or(u64::MAX);
    let rebuilt = remains
        .salvage
        .finish(gathered.log, gathered.producer_id_max);
    report.topics = rebuilt.topics;
    report.groups = rebuilt.groups;
    report.producer_id_next = rebuilt.producer_id_next;
    if let Some(fence) = fence {
        let roll = fence.begin(rebuilt.snapshot).await;
        report.roll = Some(roll.map_err(RebuildError::Journal)?.get());
    }
    Ok(())
}

async fn end_journal(
    parts: &AuditParts,
    remains: &Remains,
    epoch: SequencerEpoch,
) -> Result<Fence, RebuildError> {
    let identity = JournalIdentity {
        owner: OwnerId::draw(&parts.env.rng),
        address: "rebuild".to_owned(),
    };
    let journal = JournalParts {
        bucket: parts.bucket.clone(),
        env: parts.env.clone(),
        cluster: parts.cluster,
    };
    let ended = fence(journal, identity, epoch, &remains.old).await;
    ended.map_err(RebuildError::Journal)
}

/// Seals every chain that has no end, and sessions that were registered and never wrote. What a
/// live pod wrote meanwhile is taken into the log: it may have been acknowledged.
async fn seal_chains(
    chain: &Chain,
    remains: &Remains,
    gathered: &mut Gathered,
) -> Result<(), RebuildError> {
    let silent = remains.salvage.sessions();
    let silent = silent.filter(|session| !gathered.sessions.contains(session));
    let silent = silent.map(|session| SegmentId {
        session,
        index: ChainIndex::ZERO,
    });
    let ends: Vec<SegmentId> = gathered.open.iter().copied().chain(silent).collect();
    let seals = ends.into_iter().map(|at| seal_chain(chain, at));
    let mut seals = stream::iter(seals).buffered(QUICK_READS_MAX);
    while let Some(grown) = seals.try_next().await.map_err(RebuildError::Seal)? {
        gathered.grew(&grown)?;
    }
    Ok(())
}

/// Seals the first place that is missing; the segments that were met before it.
async fn seal_chain(
    chain: &Chain,
    at: SegmentId,
) -> Result<Vec<esker_segment::SegmentFooter>, SealError> {
    let mut grown = Vec::new();
    let mut at = at;
    loop {
        match chain.seal(at).await? {
            PlaceHolder::Segment(footer) => grown.push(footer),
            PlaceHolder::Seal | PlaceHolder::Missing => return Ok(grown),
        }
        at.index = at.index.after();
    }
}

/// Sessions that nobody knew when the chains were read: somebody still writes.
async fn count_new_sessions(
    parts: &AuditParts,
    gathered: &Gathered,
) -> Result<u64, esker_object::StoreError> {
    let prefix = ObjectKey::sessions(parts.cluster);
    let mut rows = std::pin::pin!(list_all(parts.bucket.as_ref(), &prefix));
    let mut last = None;
    let mut count = 0;
    while let Some(row) = rows.next().await {
        let place = row?.key.as_session_place(parts.cluster);
        let Some(place) = place.filter(|place| last != Some(place.session)) else {
            continue;
        };
        last = Some(place.session);
        count += u64::from(!gathered.sessions.contains(&place.session));
    }
    Ok(count)
}

fn report_of(
    parts: &AuditParts,
    plan: &RebuildPlan,
    remains: &Remains,
    gathered: &Gathered,
) -> RebuildReport {
    RebuildReport {
        cluster: parts.cluster,
        is_dry: plan.is_dry,
        cluster_file_missing: false,
        roll: None,
        epoch: remains.epoch.max(gathered.epoch).next(),
        topics: Vec::new(),
        sessions: u64::try_from(gathered.sessions.len()).unwrap_or(u64::MAX),
        sessions_open: u64::try_from(gathered.open.len()).unwrap_or(u64::MAX),
        segments: gathered.segments,
        extents: 0,
        partitions: 0,
        void_segments: gathered.void_segments,
        lost_segments: gathered.lost_segments,
        overlapping_segments: gathered.overlapping_segments,
        groups: 0,
        producer_id_next: 0,
        old_snapshot_roll: remains.snapshot_roll.map(|roll| roll.get()),
        old_commands: remains.commands,
        old_unreadable: remains.unreadable,
    }
}
