//! Judges one session's chain by what stands at its places, told in ascending order. Pure.
//!
//! C1: the chain ends at its first place that holds no segment. A damaged object counts as a
//! segment: it is told by itself. Q2: only a seal proves an end; a missing place proves nothing.

use esker_sequencer::SessionRecord;
use esker_types::{ChainIndex, SessionId};

use crate::finding::FindingKind;
use crate::limits::IN_FLIGHT_MAX;

/// Whether a segment belongs to the chain by the bucket alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All places below hold segments.
    Chain,
    /// A seal or a missing place lies below.
    Behind,
}

/// Something odd about a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Oddity {
    pub(crate) kind: FindingKind,
    pub(crate) index: ChainIndex,
    pub(crate) what: String,
}

/// Places in a row, `from..to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) from: ChainIndex,
    pub(crate) to: ChainIndex,
}

/// A chain as far as it was told.
#[derive(Clone, Debug)]
pub(crate) struct ChainJudge {
    pub(crate) session: SessionId,
    /// The place behind the highest one told.
    next: ChainIndex,
    /// The first place that holds no segment, once it is known.
    end: Option<ChainIndex>,
    is_sealed_at_end: bool,
    lowest_seal: Option<ChainIndex>,
    highest_seal: Option<ChainIndex>,
    first_gap: Option<Run>,
    /// Missing places in all.
    missing: u64,
    highest_segment: Option<ChainIndex>,
    segments_behind: u64,
}

impl ChainJudge {
    pub(crate) fn new(session: SessionId) -> Self {
        Self {
            session,
            next: ChainIndex::ZERO,
            end: None,
            is_sealed_at_end: false,
            lowest_seal: None,
            highest_seal: None,
            first_gap: None,
            missing: 0,
            highest_segment: None,
            segments_behind: 0,
        }
    }

    /// A segment stands at `index`, or an object that cannot be read.
    pub(crate) fn segment(&mut self, index: ChainIndex) -> Standing {
        self.reach(index);
        self.highest_segment = Some(index);
        match self.end {
            None => Standing::Chain,
            Some(_) => {
                self.segments_behind += 1;
                Standing::Behind
            }
        }
    }

    /// A seal stands at `index`.
    pub(crate) fn seal(&mut self, index: ChainIndex) {
        self.reach(index);
        self.lowest_seal.get_or_insert(index);
        self.highest_seal = Some(index);
        if self.end.is_none() {
            self.end = Some(index);
            self.is_sealed_at_end = true;
        }
    }

    fn reach(&mut self, index: ChainIndex) {
        assert!(index >= self.next, "a listing is ascending");
        if index > self.next {
            self.missing += index.get() - self.next.get();
            let run = Run {
                from: self.next,
                to: index,
            };
            self.first_gap.get_or_insert(run);
            self.end.get_or_insert(self.next);
        }
        self.next = index.after();
    }

    /// The first place that holds no segment.
    pub(crate) fn end(&self) -> ChainIndex {
        self.end.unwrap_or(self.next)
    }

    /// Whether a seal stands at [`Self::end`].
    pub(crate) fn is_sealed(&self) -> bool {
        self.is_sealed_at_end
    }

    /// The first places that are missing below others.
    pub(crate) fn first_gap(&self) -> Option<Run> {
        self.first_gap
    }

    /// Segments behind the end, and how far behind the highest one stands.
    pub(crate) fn behind(&self) -> (u64, u64) {
        let end = self.end().get();
        let highest = self.highest_segment.map_or(0, ChainIndex::get);
        (self.segments_behind, highest.saturating_sub(end))
    }

    /// Whether what stands behind the first missing place is more than a crash leaves: then the
    /// place held a segment once.
    pub(crate) fn lost_segments(&self) -> bool {
        let Some(gap) = self.first_gap else {
            return false;
        };
        let sealed_at_gap = self.lowest_seal.is_some_and(|seal| seal < gap.from);
        !sealed_at_gap && self.behind().1 > IN_FLIGHT_MAX
    }

    /// Whether segments that were acknowledged are missing, for whoever has no journal: more stands
    /// behind the first missing place than a crash leaves, or segments and then a seal.
    pub(crate) fn has_lost(&self) -> bool {
        let is_sealed_above = self.highest_seal > self.highest_segment;
        let is_behind = self.segments_behind > 0 && !self.is_sealed_at_end;
        self.lost_segments() || (is_behind && is_sealed_above)
    }

    /// The place behind the highest one that was told.
    pub(crate) fn next(&self) -> ChainIndex {
        self.next
    }

    /// What is odd, for a session that the journal knows as `record`.
    pub(crate) fn judge_known(&self, record: SessionRecord) -> Vec<Oddity> {
        let mut odd = Vec::new();
        match record.end {
            Some(end) => self.judge_ended(record, end, &mut odd),
            None => self.judge_open(record, &mut odd),
        }
        odd
    }

    fn judge_ended(&self, record: SessionRecord, end: ChainIndex, odd: &mut Vec<Oddity>) {
        // Below `decided_upto` the index says what must be there (C3).
        if self.end() < end && record.decided_upto < end && self.end() >= record.decided_upto {
            let what = format!("segment below the session's end, {end}, is missing");
            odd.push(oddity(FindingKind::SegmentMissing, self.end(), what));
        }
        if !self.is_seal(end) {
            let what = format!("session ended at {end}, where no seal stands");
            odd.push(oddity(FindingKind::SealMissing, end, what));
        }
        self.judge_deleted(record.decided_upto.min(end), odd);
        let above = self.highest_segment.is_some_and(|highest| highest >= end);
        if above {
            let what = format!("segments at or above the session's end, {end}");
            odd.push(oddity(FindingKind::VoidSegment, end, what));
        }
    }

    /// Of seals only the lowest and the highest are remembered: others stand between them.
    fn is_seal(&self, index: ChainIndex) -> bool {
        let (Some(lowest), Some(highest)) = (self.lowest_seal, self.highest_seal) else {
            return false;
        };
        index == lowest || (lowest < index && index <= highest)
    }

    fn judge_open(&self, record: SessionRecord, odd: &mut Vec<Oddity>) {
        self.judge_deleted(record.decided_upto, odd);
        let Some(gap) = self.first_gap.filter(|gap| gap.to > record.decided_upto) else {
            return;
        };
        let at = gap.from.max(record.decided_upto);
        let (segments, _) = self.behind();
        if self.lost_segments() {
            let what = format!("no object stands here, yet {segments} segments behind it");
            odd.push(oddity(FindingKind::ChainGap, at, what));
        } else if segments > 0 && self.lowest_seal.is_none_or(|seal| seal > at) {
            let what = format!("no object stands here, yet {segments} segments shortly behind it");
            odd.push(oddity(FindingKind::OpenGap, at, what));
        }
    }

    fn judge_deleted(&self, decided_upto: ChainIndex, odd: &mut Vec<Oddity>) {
        if let Some(gap) = self.first_gap.filter(|gap| gap.from < decided_upto) {
            let what = format!("{} places of this session have no object", self.missing);
            odd.push(oddity(FindingKind::SegmentDeleted, gap.from, what));
        }
    }

    /// What is odd, for a session that is settled and forgotten: it must end with a seal.
    pub(crate) fn judge_forgotten(&self) -> Vec<Oddity> {
        let mut odd = Vec::new();
        let gap = self.first_gap.map(|gap| gap.from);
        let seal_above = |gap| self.highest_seal.is_some_and(|seal| seal > gap);
        match gap {
            _ if self.is_sealed_at_end => {}
            Some(gap) if seal_above(gap) => {
                self.judge_deleted(self.next, &mut odd);
                return odd;
            }
            _ => {
                let what = "session is over, but no seal ends its chain".to_owned();
                odd.push(oddity(FindingKind::SealMissing, self.end(), what));
            }
        }
        if self.segments_behind > 0 {
            let what = format!("{} segments behind the chain's end", self.segments_behind);
            odd.push(oddity(FindingKind::VoidSegment, self.end(), what));
        }
        odd
    }
}

fn oddity(kind: FindingKind, index: ChainIndex, what: String) -> Oddity {
    Oddity { kind, index, what }
}

#[cfg(test)]
mod tests {
    use esker_types::SequencerEpoch;

    use super::*;

    /// `s` a segment, `x` a seal, `.` nothing.
    fn judge(places: &str) -> ChainJudge {
        let mut judge = ChainJudge::new(SessionId::from_bytes([1; 16]));
        for (place, index) in places.chars().zip(0..) {
            match place {
                's' => {
                    judge.segment(ChainIndex::new(index));
                }
                'x' => judge.seal(ChainIndex::new(index)),
                _ => {}
            }
        }
        judge
    }

    fn record(decided_upto: u64, end: Option<u64>) -> SessionRecord {
        SessionRecord {
            epoch: SequencerEpoch::FIRST,
            decided_upto: ChainIndex::new(decided_upto),
            end: end.map(ChainIndex::new),
        }
    }

    fn known(places: &str, decided_upto: u64, end: Option<u64>) -> Vec<(FindingKind, u64)> {
        let odd = judge(places).judge_known(record(decided_upto, end));
        odd.iter().map(|one| (one.kind, one.index.get())).collect()
    }

    fn forgotten(places: &str) -> Vec<(FindingKind, u64)> {
        let odd = judge(places).judge_forgotten();
        odd.iter().map(|one| (one.kind, one.index.get())).collect()
    }

    #[test]
    fn nothing_is_odd_about_chains_as_they_are() {
        assert_eq!(known("sss", 1, None), []);
        assert_eq!(known("", 0, None), []);
        assert_eq!(known("sssx", 1, None), [], "sealed, not yet ended");
        assert_eq!(known("sssx", 3, Some(3)), []);
        assert_eq!(known("x", 0, Some(0)), []);
        assert_eq!(known("ssxxxx", 2, Some(2)), [], "sealed ahead");
        assert_eq!(forgotten("sssx"), []);
        assert_eq!(forgotten("ssxx"), []);
        assert_eq!(judge("ssx").end().get(), 2);
    }

    #[test]
    fn each_thing_that_can_be_missing_is_missed() {
        use FindingKind::{OpenGap, SealMissing, SegmentDeleted, SegmentMissing, VoidSegment};

        assert_eq!(known("s.sx", 1, Some(3)), [(SegmentMissing, 1)]);
        assert_eq!(known("sss", 3, Some(3)), [(SealMissing, 3)]);
        assert_eq!(
            known("ssss", 3, Some(3)),
            [(SealMissing, 3), (VoidSegment, 3)]
        );
        assert_eq!(known("ss.sx", 5, Some(4)), [(SegmentDeleted, 2)]);
        assert_eq!(known("ssxs", 2, Some(2)), [(VoidSegment, 2)]);
        assert_eq!(known("s.ss", 1, None), [(OpenGap, 1)]);
        assert_eq!(known(".sss", 1, None), [(SegmentDeleted, 0)]);
        assert_eq!(forgotten("sss"), [(SealMissing, 3)]);
        assert_eq!(forgotten("s.sx"), [(SegmentDeleted, 1)]);
        assert_eq!(forgotten("ssxs"), [(VoidSegment, 2)]);
        assert_eq!(forgotten("s.s"), [(SealMissing, 1), (VoidSegment, 1)]);
    }

    #[test]
    fn one_segment_more_than_a_crash_leaves_shows_that_a_place_was_lost() {
        let in_flight = usize::try_from(IN_FLIGHT_MAX).unwrap();
        let crash = format!("s.{}", "s".repeat(in_flight));
        let damage = format!("s.{}", "s".repeat(in_flight + 1));

        assert_eq!(known(&crash, 1, None), [(FindingKind::OpenGap, 1)]);
        assert_eq!(known(&damage, 1, None), [(FindingKind::ChainGap, 1)]);
        assert!(!judge(&crash).lost_segments() && judge(&damage).lost_segments());
        assert!(!judge(&crash).has_lost() && judge(&damage).has_lost());
        assert!(judge("s.sx").has_lost() && !judge("sxs.x").has_lost());
        assert!(!judge("s.x").has_lost() && !judge("ssx").has_lost());
    }
}
