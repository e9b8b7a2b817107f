//! Reads every session's chain and compares it with the index; one session at a time, in key order.

use std::collections::{BTreeMap, BTreeSet};

use esker_chain::{LookError, PlaceHolder};
use esker_metadata::ReplayedState;
use esker_object::{ListedObject, ObjectKey, StoreError};
use esker_segment::SegmentFooter;
use esker_sequencer::SessionRecord;
use esker_types::{ChainIndex, ClusterId, SegmentId, SessionId};
use futures::StreamExt as _;

use crate::audit::{AuditParts, Depth};
use crate::chain_judge::{ChainJudge, Oddity, Standing};
use crate::error::AuditError;
use crate::finding::{FindingKind, Findings};
use crate::index_check::{IndexCheck, Wrong, referenced};
use crate::limits::{DEEP_READS_MAX, QUICK_READS_MAX, UNKNOWN_SESSIONS_MAX};
use crate::listing::list_all;
use crate::read::{Place, PlaceRead, PlaceReader};
use crate::report::{AuditFigures, AuditReport};
use crate::watch::Watch;

/// What can only be judged when the journal was read once more.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Sessions that the state did not know, and what would be odd about them.
    unknown: BTreeMap<SessionId, Vec<(SegmentId, Wrong)>>,
    unknown_untold: u64,
    /// Segments that the index referred to and that are gone.
    missing: Vec<SegmentId>,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.unknown.is_empty() && self.missing.is_empty() && self.unknown_untold == 0
    }

    /// `state` was read after everything was listed.
    pub(crate) fn judge(self, cluster: ClusterId, state: &ReplayedState, report: &mut AuditReport) {
        let key = |segment| Some(ObjectKey::session_place(cluster, segment));
        let over = |session: &SessionId| state.log().session(*session).is_none();
        for (_, odd) in self
            .unknown
            .into_iter()
            .filter(|(session, _)| over(session))
        {
            for (segment, (kind, what)) in odd {
                report.findings.add(kind, key(segment), what);
            }
        }
        if self.unknown_untold > 0 {
            let what = format!("{} more sessions are odd", self.unknown_untold);
            report.findings.add(FindingKind::SealMissing, None, what);
        }
        let still = match self.missing.is_empty() {
            true => Vec::new(),
            false => referenced(state),
        };
        for segment in self.missing {
            let found = still.binary_search_by_key(&segment, |(known, _)| *known);
            if let Some((_, count)) = found.ok().and_then(|at| still.get(at)) {
                let what = format!("segment is gone; the index refers to {count} extents of it");
                report
                    .findings
                    .add(FindingKind::SegmentMissing, key(segment), what);
            }
        }
    }

    fn add_unknown(&mut self, session: SessionId, odd: Vec<(SegmentId, Wrong)>) {
        if odd.is_empty() {
            return;
        }
        if self.unknown.len() >= UNKNOWN_SESSIONS_MAX {
            self.unknown_untold += 1;
            return;
        }
        self.unknown.insert(session, odd);
    }
}

/// The session that is being read.
#[derive(Debug)]
struct Open {
    judge: ChainJudge,
    record: Option<SessionRecord>,
    wrong: Vec<(SegmentId, Wrong)>,
}

/// The audit of all sessions.
#[derive(Debug)]
pub(crate) struct SessionsAudit<'a> {
    parts: &'a AuditParts,
    watch: &'a dyn Watch,
    depth: Depth,
    reader: PlaceReader,
    state: Option<&'a ReplayedState>,
    index: Option<IndexCheck<'a>>,
    /// Sessions that the state knows and that were not listed yet.
    unseen: BTreeSet<SessionId>,
    open: Option<Open>,
    pending: Pending,
    findings: Findings,
    figures: AuditFigures,
}

impl<'a> SessionsAudit<'a> {
    /// Without a state only the objects and the holes of chains are judged.
    pub(crate) fn new(
        parts: &'a AuditParts,
        depth: Depth,
        watch: &'a dyn Watch,
        state: Option<&'a ReplayedState>,
    ) -> Self {
        let sessions = state.into_iter().flat_map(|state| state.log().sessions());
        Self {
            parts,
            watch,
            depth,
            reader: PlaceReader::new(parts, depth),
            state,
            index: state.map(IndexCheck::new),
            unseen: sessions.map(|(session, _)| session).collect(),
            open: None,
            pending: Pending::default(),
            findings: Findings::default(),
            figures: AuditFigures::default(),
        }
    }

    pub(crate) async fn run(mut self, report: &mut AuditReport) -> Result<Pending, AuditError> {
        let partitions = self.state.into_iter();
        let partitions = partitions.flat_map(|state| state.log().partitions());
        let extents = partitions.flat_map(|(_, view)| view.extents());
        self.watch
            .expect(extents.map(|extent| extent.range.byte_count()).sum());
        self.read_all().await.map_err(AuditError::Store)?;
        self.close().await?;
        self.look_for_passed().await.map_err(AuditError::Store)?;
        self.judge_unseen();
        if let Some(index) = &self.index {
            for (kind, what) in index.finish(&mut self.figures) {
                self.findings.add(kind, None, what);
            }
        }
        self.tell(report);
        Ok(self.pending)
    }

    fn tell(&mut self, report: &mut AuditReport) {
        report.findings.extend(std::mem::take(&mut self.findings));
        let (own, all) = (self.figures, &mut report.figures);
        *all = AuditFigures {
            objects: all.objects + own.objects,
            object_bytes: all.object_bytes + own.object_bytes,
            read_bytes: all.read_bytes + own.read_bytes,
            rolls: all.rolls,
            journal_entries: all.journal_entries,
            snapshot_roll: all.snapshot_roll,
            ..own
        };
    }

    async fn read_all(&mut self) -> Result<(), StoreError> {
        let prefix = ObjectKey::sessions(self.parts.cluster);
        let (parts, reader) = (self.parts, self.reader.clone());
        let rows = list_all(parts.bucket.as_ref(), &prefix);
        let reads = rows.map(|row| {
            let reader = &reader;
            async move {
                let row = row?;
                let read = match row.key.as_session_place(parts.cluster) {
                    Some(segment) => Some(reader.read(segment, row.object_bytes).await?),
                    None => None,
                };
                Ok::<(ListedObject, Option<PlaceRead>), StoreError>((row, read))
            }
        });
        let at_once = match self.depth {
            Depth::Quick => QUICK_READS_MAX,
            Depth::Deep => DEEP_READS_MAX,
        };
        let mut reads = std::pin::pin!(reads.buffered(at_once));
        while let Some(read) = reads.next().await {
            let (row, read) = read?;
            self.figures.objects += 1;
            self.figures.object_bytes += row.object_bytes;
            self.watch.done(1, row.object_bytes);
            match read {
                Some(read) => self.place(read, row.key).await?,
                None => {
                    let what = "no place of a session".to_owned();
                    self.findings
                        .add(FindingKind::UnknownKey, Some(row.key), what);
                }
            }
        }
        Ok(())
    }

    async fn place(&mut self, read: PlaceRead, key: ObjectKey) -> Result<(), StoreError> {
        self.figures.read_bytes += read.bytes;
        let SegmentId { session, index } = read.segment;
        if self
            .open
            .as_ref()
            .is_none_or(|open| open.judge.session != session)
        {
            self.close_session().await?;
            self.begin_session(session);
        }
        let references = self
            .index
            .as_mut()
            .map_or(0, |check| check.reach(read.segment));
        match read.place {
            // Deleted since it was listed.
            Place::Gone if references > 0 => self.pending.missing.push(read.segment),
            Place::Gone => {}
            Place::Seal => {
                self.figures.session_seals += 1;
                if let Some(open) = &mut self.open {
                    open.judge.seal(index);
                }
            }
            Place::Damaged(what) => self.damaged(read.segment, references, (key, what)),
            Place::Segment(footer) => self.segment(&footer, references, &key),
        }
        Ok(())
    }

    fn begin_session(&mut self, session: SessionId) {
        self.unseen.remove(&session);
        self.figures.sessions += 1;
        self.open = Some(Open {
            judge: ChainJudge::new(session),
            record: self.state.and_then(|state| state.log().session(session)),
            wrong: Vec::new(),
        });
    }

    fn damaged(&mut self, segment: SegmentId, references: u32, told: (ObjectKey, String)) {
        let Some(open) = &mut self.open else {
            return;
        };
        let standing = open.judge.segment(segment.index);
        let kind = match standing {
            Standing::Behind if references == 0 => FindingKind::RemainsDamaged,
            Standing::Behind | Standing::Chain => FindingKind::ObjectDamaged,
        };
        if let Some(index) = &mut self.index {
            index.is_whole = false;
        }
        self.findings.add(kind, Some(told.0), told.1);
    }

    fn segment(&mut self, footer: &SegmentFooter, references: u32, key: &ObjectKey) {
        self.figures.segments += 1;
        let (Some(open), index) = (&mut self.open, footer.segment.index) else {
            return;
        };
        let standing = open.judge.segment(index);
        let Some(check) = &mut self.index else {
            return;
        };
        let is_decided = open.record.map(|record| index < record.decided_upto);
        let may_grow = |record: SessionRecord| record.end.is_none_or(|end| index < end);
        let in_chain = standing == Standing::Chain;
        let mut wrong = match open.record {
            _ if references > 0 || is_decided == Some(true) => check.committed(footer, references),
            None if in_chain => check.committed(footer, references),
            Some(record) if in_chain && may_grow(record) => check.tail(footer),
            Some(_) | None => {
                check.void(footer);
                Vec::new()
            }
        };
        if open
            .record
            .is_some_and(|record| record.epoch != footer.epoch)
        {
            let what = format!("segment has epoch {}, its session another", footer.epoch);
            wrong.push((FindingKind::SegmentMismatch, what));
        }
        let may_be_new = open.record.is_none() && references == 0;
        for (kind, what) in wrong {
            match may_be_new {
                true => open.wrong.push((footer.segment, (kind, what))),
                false => self.findings.add(kind, Some(key.clone()), what),
            }
        }
    }

    async fn close(&mut self) -> Result<(), AuditError> {
        self.close_session().await.map_err(AuditError::Store)?;
        if let Some(index) = &mut self.index {
            index.reach_end();
        }
        Ok(())
    }

    async fn close_session(&mut self) -> Result<(), StoreError> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let session = open.judge.session;
        let at = |index| SegmentId { session, index };
        if self.state.is_none() {
            if open.judge.has_lost() {
                let index = open.judge.end();
                let what = "no object stands here, yet segments behind it".to_owned();
                self.odd(session, oddity(FindingKind::ChainGap, index, what));
            }
            return Ok(());
        }
        let Some(record) = open.record else {
            let odd = open.judge.judge_forgotten().into_iter();
            let odd = odd.map(|one| (at(one.index), (one.kind, one.what)));
            let remembers = |state: &ReplayedState| state.log().remembers_all_sessions();
            let never = open.judge.end() > ChainIndex::ZERO && self.state.is_some_and(remembers);
            let never = never.then(|| {
                let what = "session wrote, and the journal has never known it".to_owned();
                (at(ChainIndex::ZERO), (FindingKind::SessionUnknown, what))
            });
            let odd = open.wrong.into_iter().chain(odd).chain(never);
            self.pending.add_unknown(session, odd.collect());
            return Ok(());
        };
        for odd in open.judge.judge_known(record) {
            let is_gap = matches!(odd.kind, FindingKind::ChainGap | FindingKind::OpenGap);
            // What was under way while it was listed may stand there by now.
            if is_gap && self.is_taken(at(odd.index)).await? {
                continue;
            }
            self.odd(session, odd);
        }
        Ok(())
    }

    async fn is_taken(&self, segment: SegmentId) -> Result<bool, StoreError> {
        match self.reader.chain.look(segment).await {
            Ok(PlaceHolder::Missing) => Ok(false),
            Ok(PlaceHolder::Segment(_) | PlaceHolder::Seal) => Ok(true),
            Err(LookError::Foreign { .. }) => Ok(true),
            Err(LookError::Store { source, .. }) => Err(source),
        }
    }

    fn odd(&mut self, session: SessionId, odd: Oddity) {
        let index = odd.index;
        let key = ObjectKey::session_place(self.parts.cluster, SegmentId { session, index });
        self.findings.add(odd.kind, Some(key), odd.what);
    }

    /// A listing is a hint: what it left out is asked for by its key.
    async fn look_for_passed(&mut self) -> Result<(), StoreError> {
        let passed = self
            .index
            .as_mut()
            .map(|index| std::mem::take(&mut index.passed));
        let passed = passed.unwrap_or_default();
        let (cluster, bucket) = (self.parts.cluster, &self.parts.bucket);
        let heads = passed.into_iter().map(|segment| async move {
            let key = ObjectKey::session_place(cluster, segment);
            let found = bucket.head(&key).await?;
            Ok::<_, StoreError>((segment, found))
        });
        let mut heads = futures::stream::iter(heads).buffered(QUICK_READS_MAX);
        while let Some(head) = heads.next().await {
            let (segment, found) = head?;
            if let Some(index) = &mut self.index {
                index.is_whole = false;
            }
            if found.is_none() {
                self.pending.missing.push(segment);
                continue;
            }
            let what = "a listing leaves this object out".to_owned();
            let key = ObjectKey::session_place(cluster, segment);
            self.findings
                .add(FindingKind::ListingIncomplete, Some(key), what);
        }
        Ok(())
    }

    /// Sessions that the state knows and of which no object is there.
    fn judge_unseen(&mut self) {
        for session in std::mem::take(&mut self.unseen) {
            let record = self.state.and_then(|state| state.log().session(session));
            let odd = record.map(|record| ChainJudge::new(session).judge_known(record));
            for odd in odd.unwrap_or_default() {
                self.odd(session, odd);
            }
        }
    }
}

fn oddity(kind: FindingKind, index: ChainIndex, what: String) -> Oddity {
    Oddity { kind, index, what }
}
