//! Reads the chains of all sessions and puts their footers into an index, one session at a time.
//!
//! C1: a segment counts iff every place below it holds one. Only where it is certain that a place
//! held a segment that is lost, and the operator accepts that, what follows it counts too.

use std::collections::{BTreeMap, BTreeSet};

use esker_metadata::Salvage;
use esker_object::{ObjectKey, StoreError};
use esker_segment::SegmentFooter;
use esker_sequencer::{ApplyError, LogState};
use esker_types::{ChainIndex, SegmentId, SequencerEpoch, SessionId, TopicPartition};
use futures::StreamExt as _;

use super::RebuildPlan;
use crate::audit::{AuditParts, Depth};
use crate::chain_judge::{ChainJudge, Standing};
use crate::error::{AuditError, RebuildError};
use crate::limits::{ADOPTED_MAX, QUICK_READS_MAX};
use crate::listing::list_all;
use crate::read::{Place, PlaceRead, PlaceReader};
use crate::watch::Watch;

/// What the chains hold.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) log: LogState,
    pub(super) sessions: BTreeSet<SessionId>,
    /// Places that must be sealed.
    pub(super) open: Vec<SegmentId>,
    pub(super) epoch: SequencerEpoch,
    /// Epoch of the session that is read.
    session_epoch: SequencerEpoch,
    /// Chains by session: epoch and end.
    ends: BTreeMap<SessionId, (SequencerEpoch, ChainIndex)>,
    pub(super) producer_id_max: i64,
    pub(super) segments: u64,
    pub(super) void_segments: u64,
    pub(super) lost_segments: u64,
    pub(super) overlapping_segments: u64,
    first_lost: Option<SegmentId>,
    accepts_loss: bool,
    /// Topics that are known to be deleted.
    deleted: BTreeSet<esker_types::TopicId>,
    waiting: Vec<SegmentFooter>,
}

/// Reads all chains. `salvage` knows which topics are deleted.
pub(super) async fn gather(
    parts: &AuditParts,
    plan: &RebuildPlan,
    salvage: &Salvage,
    watch: &dyn Watch,
) -> Result<Gathered, RebuildError> {
    let store = |source| RebuildError::Audit(AuditError::Store(source));
    let mut gathered = Gathered::new(plan.accepts_loss, salvage);
    let reader = PlaceReader::new(parts, Depth::Quick);
    let prefix = ObjectKey::sessions(parts.cluster);
    let mut reads = std::pin::pin!(reads_below(parts, &reader, &prefix, watch));
    let mut open: Option<ChainJudge> = None;
    while let Some(read) = reads.next().await {
        let Some(read) = read.map_err(store)? else {
            continue;
        };
        let session = read.segment.session;
        if open.as_ref().is_none_or(|judge| judge.session != session) {
            if let Some(judge) = open.replace(ChainJudge::new(session)) {
                gathered.close(parts, &reader, &judge).await?;
            }
            gathered.sessions.insert(session);
        }
        if let Some(judge) = &mut open {
            gathered.place(judge, read)?;
        }
    }
    if let Some(judge) = open {
        gathered.close(parts, &reader, &judge).await?;
    }
    gathered.flush()?;
    match gathered.first_lost {
        Some(first) if !plan.accepts_loss => Err(RebuildError::Lost {
            segments: gathered.lost_segments,
            first,
        }),
        Some(_) | None => Ok(gathered),
    }
}

/// The places below a prefix, read; `None` for keys that are none.
fn reads_below<'a>(
    parts: &'a AuditParts,
    reader: &'a PlaceReader,
    prefix: &'a ObjectKey,
    watch: &'a dyn Watch,
) -> impl futures::Stream<Item = Result<Option<PlaceRead>, StoreError>> + 'a {
    let rows = list_all(parts.bucket.as_ref(), prefix);
    let reads = rows.map(move |row| async move {
        let row = row?;
        watch.done(1, row.object_bytes);
        match row.key.as_session_place(parts.cluster) {
            Some(segment) => reader.read(segment, row.object_bytes).await.map(Some),
            None => Ok(None),
        }
    });
    reads.buffered(QUICK_READS_MAX)
}

impl Gathered {
    fn new(accepts_loss: bool, salvage: &Salvage) -> Self {
        Self {
            log: LogState::empty(),
            sessions: BTreeSet::new(),
            open: Vec::new(),
            epoch: SequencerEpoch::default(),
            session_epoch: SequencerEpoch::default(),
            ends: BTreeMap::new(),
            producer_id_max: -1,
            segments: 0,
            void_segments: 0,
            lost_segments: 0,
            overlapping_segments: 0,
            first_lost: None,
            accepts_loss,
            deleted: salvage.deleted().collect(),
            waiting: Vec::new(),
        }
    }

    fn lost(&mut self, segment: SegmentId, count: u64) {
        self.lost_segments += count;
        self.first_lost.get_or_insert(segment);
    }

    fn place(&mut self, judge: &mut ChainJudge, read: PlaceRead) -> Result<(), RebuildError> {
        let index = read.segment.index;
        match read.place {
            Place::Gone => {}
            Place::Seal => judge.seal(index),
            Place::Damaged(what) => {
                let standing = judge.segment(index);
                tracing::warn!(segment = %read.segment, what, "object cannot be read");
                if standing == Standing::Chain {
                    self.lost(read.segment, 1);
                }
            }
            Place::Segment(footer) => {
                self.epoch = self.epoch.max(footer.epoch);
                self.session_epoch = footer.epoch;
                match judge.segment(index) {
                    Standing::Chain => self.take(footer)?,
                    Standing::Behind => self.void_segments += 1,
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, footer: SegmentFooter) -> Result<(), RebuildError> {
        self.waiting.push(footer);
        match self.waiting.len() >= ADOPTED_MAX {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), RebuildError> {
        let waiting = std::mem::take(&mut self.waiting);
        self.adopt(&waiting)
    }

    /// Takes committed segments into the index.
    fn adopt(&mut self, footers: &[SegmentFooter]) -> Result<(), RebuildError> {
        let ids = footers.iter().flat_map(|footer| &footer.batches);
        let ids = ids.filter_map(|batch| batch.producer);
        let ids = ids.filter(|stamp| !stamp.producer_id.is_keyed());
        let highest = ids.map(|stamp| stamp.producer_id.to_wire()).max();
        self.producer_id_max = self.producer_id_max.max(highest.unwrap_or(-1));
        if self.put(footers).is_ok() {
            self.segments += u64::try_from(footers.len()).unwrap_or(u64::MAX);
            return Ok(());
        }
        for footer in footers {
            match self.put(std::slice::from_ref(footer)) {
                Ok(()) => self.segments += 1,
                Err(_) if self.accepts_loss => self.overlapping_segments += 1,
                Err(error) => return Err(overlap(error, footer)),
            }
        }
        Ok(())
    }

    /// All chains are sealed and taken in: the state knows the sessions as settled ones, the oldest
    /// epoch first.
    pub(super) fn settle_sessions(&mut self) {
        let ends = std::mem::take(&mut self.ends).into_iter();
        let mut ends: Vec<_> = ends
            .map(|(session, (epoch, end))| (epoch, session, end))
            .collect();
        ends.sort_unstable();
        for (epoch, session, end) in ends {
            let settled = self.log.settle(session, epoch, end);
            assert!(settled.is_ok(), "a session is settled once");
        }
    }

    /// A chain was found longer while it was sealed.
    pub(super) fn grew(&mut self, footers: &[SegmentFooter]) -> Result<(), RebuildError> {
        for footer in footers {
            let SegmentId { session, index } = footer.segment;
            self.ends.insert(session, (footer.epoch, index.after()));
        }
        self.adopt(footers)
    }

    fn put(&mut self, footers: &[SegmentFooter]) -> Result<(), ApplyError> {
        let deleted = &self.deleted;
        let exists = |at: TopicPartition| !deleted.contains(&at.topic);
        self.log.adopt(footers, &exists)
    }

    /// A session has been told to its end.
    async fn close(
        &mut self,
        parts: &AuditParts,
        reader: &PlaceReader,
        judge: &ChainJudge,
    ) -> Result<(), RebuildError> {
        let session = judge.session;
        let end = SegmentId {
            session,
            index: judge.end(),
        };
        let epoch = std::mem::take(&mut self.session_epoch);
        if epoch > SequencerEpoch::default() {
            self.ends.insert(session, (epoch, end.index));
        }
        if !judge.is_sealed() {
            self.open.push(end);
        }
        if !judge.has_lost() {
            return Ok(());
        }
        let gap = judge.first_gap();
        let count = gap.map_or(1, |gap| gap.to.get() - gap.from.get());
        self.lost(end, count);
        if self.accepts_loss {
            self.adopt_behind(parts, reader, end).await?;
            let index = judge.next();
            self.open.push(SegmentId { session, index });
        }
        Ok(())
    }

    /// Takes what stands behind a lost segment: it was acknowledged, or could have been.
    async fn adopt_behind(
        &mut self,
        parts: &AuditParts,
        reader: &PlaceReader,
        from: SegmentId,
    ) -> Result<(), RebuildError> {
        let store = |source| RebuildError::Audit(AuditError::Store(source));
        self.flush()?;
        let key = ObjectKey::session_place(parts.cluster, from);
        let folder = key
            .as_str()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        let Some(prefix) = ObjectKey::from_listing(&format!("{folder}/")) else {
            return Ok(());
        };
        let mut reads = std::pin::pin!(reads_below(parts, reader, &prefix, &crate::Silent));
        while let Some(read) = reads.next().await {
            let read = read.map_err(store)?;
            let behind = read.filter(|read| read.segment > from);
            if let Some(Place::Segment(footer)) = behind.map(|read| read.place) {
                self.void_segments = self.void_segments.saturating_sub(1);
                self.adopt(std::slice::from_ref(&footer))?;
            }
        }
        Ok(())
    }
}

fn overlap(error: ApplyError, footer: &SegmentFooter) -> RebuildError {
    match error {
        ApplyError::OffsetTaken {
            segment,
            base_offset,
        } => RebuildError::OffsetTaken {
            segment,
            base_offset,
        },
        ApplyError::SessionExists { .. }
        | ApplyError::SessionUnknown { .. }
        | ApplyError::SessionEnd { .. }
        | ApplyError::SegmentTurn { .. }
        | ApplyError::SegmentEpoch { .. } => RebuildError::Lost {
            segments: 1,
            first: footer.segment,
        },
    }
}
