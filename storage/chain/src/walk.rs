//! Reading a session's chain in order up to its end: what take-over replays (commit protocol §7).
//!
//! Called by the sequencer's shell. Invariants: segments come in order without a gap, nothing at or
//! behind a seal is read as part of the log (CP5), and only a create that succeeded ends an open
//! chain (Q2).

use esker_segment::SegmentFooter;
use esker_types::{ChainIndex, Planted, SegmentId, SessionId, planted};
use futures::stream::{FuturesOrdered, StreamExt as _};

use crate::limits::{SEAL_AHEAD_MAX, WALK_READ_AHEAD_FIRST, WALK_READ_AHEAD_MAX};
use crate::{Chain, PlaceHolder, WalkError};

/// Where a walk ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkEnd {
    /// At the first missing place, which is sealed, or at a seal that is there.
    Open,
    /// In front of this place: the session's durable end (C3). Nothing at or behind it is looked
    /// at.
    At(ChainIndex),
}

/// A part of a chain, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "these segments are part of the log"]
pub struct Walked {
    /// The session.
    pub session: SessionId,
    /// The footers from the first place on, in order, no gap.
    pub segments: Vec<SegmentFooter>,
    /// The place behind the last of them: the session's end.
    pub end: ChainIndex,
}

impl Walked {
    fn new(session: SessionId, from: ChainIndex) -> Self {
        Self {
            session,
            segments: Vec::new(),
            end: from,
        }
    }

    fn push(&mut self, footer: SegmentFooter) {
        assert_eq!(
            footer.segment,
            self.next_place(),
            "CP1: a walk takes each place of a chain in order"
        );
        self.segments.push(footer);
        self.end = self.end.after();
    }

    fn next_place(&self) -> SegmentId {
        SegmentId {
            session: self.session,
            index: self.end,
        }
    }
}

/// Why reading on stopped at the walk's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoppedAt {
    Limit,
    Missing,
    Seal,
}

/// Which places to look at next, and how many at once. Towards an open end it begins carefully,
/// since most of these chains end soon, and widens with each segment found.
struct ReadAhead {
    next: ChainIndex,
    limit: Option<ChainIndex>,
    window: usize,
}

impl ReadAhead {
    fn new(from: ChainIndex, limit: Option<ChainIndex>) -> Self {
        Self {
            next: from,
            limit,
            window: match limit {
                Some(_) => WALK_READ_AHEAD_MAX,
                None => WALK_READ_AHEAD_FIRST,
            },
        }
    }

    /// The next place to look at while `under_way` looks are; `None` when there is none for now.
    fn next(&mut self, under_way: usize) -> Option<ChainIndex> {
        let index = self.next;
        if under_way >= self.window || self.limit.is_some_and(|limit| index >= limit) {
            return None;
        }
        self.next = index.after();
        Some(index)
    }

    fn widen(&mut self) {
        self.window = self.window.saturating_mul(2).min(WALK_READ_AHEAD_MAX);
    }
}

impl Chain {
    /// Reads the chain of `session` from `from` (its `decided_upto`) to its end. Footers are read
    /// up to [`WALK_READ_AHEAD_MAX`] at once. Memory: the footers, so bounded by the checkpoint's
    /// lag (K2).
    ///
    /// Cost: a GET per segment; an open end adds the seal's PUT and a few GETs of places behind it.
    /// With [`WalkEnd::Open`] the result is the chain's end in this caller's eyes: it counts once
    /// the caller's fenced write of `ended` is durable (C2).
    ///
    /// # Errors
    /// [`WalkError`]; [`WalkError::is_damage`] tells what a person must look at from what passes.
    ///
    /// # Cancel safety
    /// May leave a seal at the first missing place. Walk again.
    ///
    /// Source: take-over step 3, Q1, Q2, C3.
    pub async fn walk(
        &self,
        session: SessionId,
        from: ChainIndex,
        until: WalkEnd,
    ) -> Result<Walked, WalkError> {
        match until {
            WalkEnd::Open => self.walk_open(Walked::new(session, from)).await,
            WalkEnd::At(end) => {
                assert!(
                    from <= end,
                    "C3: what is decided lies in front of the durable end"
                );
                self.walk_to(Walked::new(session, from), end).await
            }
        }
    }

    async fn walk_to(&self, mut walked: Walked, end: ChainIndex) -> Result<Walked, WalkError> {
        let stopped = self.read_segments(&mut walked, Some(end)).await?;
        let segment = walked.next_place();
        match stopped {
            StoppedAt::Limit => {
                assert_eq!(walked.end, end, "CP1: every segment below the end is there");
                Ok(walked)
            }
            StoppedAt::Missing => Err(WalkError::Missing { segment }),
            StoppedAt::Seal => Err(WalkError::SealedBelowEnd { segment }),
        }
    }

    async fn walk_open(&self, mut walked: Walked) -> Result<Walked, WalkError> {
        let mut seals_wanted = 1;
        loop {
            let stopped = self.read_segments(&mut walked, None).await?;
            if stopped == StoppedAt::Seal {
                return Ok(walked);
            }
            assert_eq!(stopped, StoppedAt::Missing, "an open walk has no limit");
            if planted(Planted::RecoveryWithoutSeal) {
                return Ok(walked);
            }
            if planted(Planted::SealTooHigh) {
                let above = self.seal_ahead(walked.session, walked.end.after(), 1);
                return above.await.map(|_| walked).map_err(WalkError::Seal);
            }
            let sealed = self
                .seal_ahead(walked.session, walked.end, seals_wanted)
                .await;
            let sealed = sealed.map_err(WalkError::Seal)?;
            for footer in sealed.segments {
                walked.push(footer);
            }
            if let Some(end) = sealed.end {
                assert_eq!(
                    end, walked.end,
                    "CP5: the end is the lowest place without a segment"
                );
                return Ok(walked);
            }
            // The pod was quicker: it is alive and busy, so get in front of all it has in flight.
            seals_wanted = SEAL_AHEAD_MAX;
        }
    }

    /// Reads on from the walk's end until something other than a segment, or `limit`, comes next.
    async fn read_segments(
        &self,
        walked: &mut Walked,
        limit: Option<ChainIndex>,
    ) -> Result<StoppedAt, WalkError> {
        let mut ahead = ReadAhead::new(walked.end, limit);
        let mut looks = FuturesOrdered::new();
        loop {
            while let Some(index) = ahead.next(looks.len()) {
                let session = walked.session;
                looks.push_back(self.look(SegmentId { session, index }));
            }
            let Some(looked) = looks.next().await else {
                return Ok(StoppedAt::Limit);
            };
            match looked.map_err(WalkError::Look)? {
                PlaceHolder::Segment(footer) => walked.push(footer),
                PlaceHolder::Missing => return Ok(StoppedAt::Missing),
                PlaceHolder::Seal if planted(Planted::ReadPastSeal) => {
                    walked.end = walked.end.after();
                }
                PlaceHolder::Seal => return Ok(StoppedAt::Seal),
            }
            ahead.widen();
        }
    }
}
