//! Ending a session's chain: one seal at one place, or several ahead of a busy pod (Q1-Q3).
//!
//! Called by the sequencer's shell, by `walk` and by a pod at shutdown. Invariants: a place is
//! called missing only because our create succeeded there; a seal is never deleted (G3); the end of
//! a chain is its lowest place that is no segment.

use esker_segment::SegmentFooter;
use esker_types::{ChainIndex, Planted, SegmentId, SessionId, planted};
use futures::future::join_all;

use crate::limits::SEAL_AHEAD_MAX;
use crate::session_seal::SessionSeal;
use crate::settle::{Claim, Creation, GaveUp};
use crate::{Chain, LookError, PlaceHolder, SealError};

/// What places in a row hold after each was sealed or found taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "without an end the chain goes on"]
pub struct SealedAhead {
    /// The segments in front of the end, in order from the first place on.
    pub segments: Vec<SegmentFooter>,
    /// The lowest sealed place; `None` when every place holds a segment: go on behind them.
    pub end: Option<ChainIndex>,
}

impl Chain {
    /// Seals one place unless a segment is there: [`PlaceHolder::Seal`] = a seal stands there now,
    /// ours or another's; [`PlaceHolder::Segment`] = a segment was first; never `Missing`. Passing
    /// failures are tried again for ever. One PUT; two GETs more when the place was taken (the
    /// bucket's own look, and ours for the footer).
    ///
    /// A seal found or made here may end a session only as Q1 says: every lower place committed,
    /// and `ended` made durable by a fenced write.
    ///
    /// # Errors
    /// [`SealError`]: each variant says what is known.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether a seal stands there, now or later. Seal again.
    ///
    /// Source: Q1, Q2, docs/formats/session-seal.md.
    pub async fn seal(&self, segment: SegmentId) -> Result<PlaceHolder, SealError> {
        let seal = SessionSeal {
            place: segment,
            sealer_epoch: self.sealer_epoch,
        };
        let object = seal.encode(self.cluster, self.env.rng.write_id());
        let key = self.key(segment);
        let mut creation = Creation::new(self.bucket.as_ref(), &self.env, &key, object);
        let gave_up = |gave_up| given_up(segment, gave_up);
        if planted(Planted::SealedWithoutCreate)
            && matches!(self.look(segment).await, Ok(PlaceHolder::Missing))
        {
            return Ok(PlaceHolder::Seal);
        }
        loop {
            if creation.claim().await.map_err(gave_up)? == Claim::Ours {
                tracing::info!(%segment, sealer_epoch = ?self.sealer_epoch, "sealed a session");
                if planted(Planted::SealDeleted) {
                    let _deleted = self.bucket.delete(&key).await;
                }
                return Ok(PlaceHolder::Seal);
            }
            match self.look(segment).await {
                // Taken and then free: only the next create can tell.
                Ok(PlaceHolder::Missing) => creation.nobody_there().await,
                Ok(holder) => return Ok(holder),
                Err(LookError::Store { source, .. }) => {
                    creation.look_failed(source).await.map_err(gave_up)?;
                }
                Err(LookError::Foreign { source, .. }) => {
                    return Err(SealError::Foreign { segment, source });
                }
            }
        }
    }

    /// Seals `count` places from `from` on at once: stops a pod that keeps writing in one round
    /// trip, if `count` is at least the number of segments it may have in flight. Each place costs
    /// what [`Self::seal`] costs, and a seal is kept for ever: more than one only against a busy
    /// pod.
    ///
    /// # Errors
    /// [`SealError`] of the lowest place that failed in front of the end; seals behind it may
    /// stand.
    ///
    /// # Cancel safety
    /// As [`Self::seal`].
    ///
    /// Source: Q2.
    pub async fn seal_ahead(
        &self,
        session: SessionId,
        from: ChainIndex,
        count: u32,
    ) -> Result<SealedAhead, SealError> {
        assert!(
            (1..=SEAL_AHEAD_MAX).contains(&count),
            "seals are put at a bounded number of places"
        );
        let mut places = Vec::new();
        let mut index = from;
        for _ in 0..count {
            places.push(SegmentId { session, index });
            index = index.after();
        }
        let outcomes = join_all(places.iter().map(|place| self.seal(*place))).await;
        let mut segments = Vec::new();
        for (place, outcome) in places.iter().zip(outcomes) {
            match outcome? {
                PlaceHolder::Segment(footer) => {
                    assert_eq!(footer.segment, *place, "CP1: places are taken in order");
                    segments.push(footer);
                }
                holder => {
                    assert_eq!(
                        holder,
                        PlaceHolder::Seal,
                        "Q2: only a create proves missing"
                    );
                    let end = Some(place.index);
                    return Ok(SealedAhead { segments, end });
                }
            }
        }
        Ok(SealedAhead {
            segments,
            end: None,
        })
    }
}

fn given_up(segment: SegmentId, GaveUp { in_doubt, source }: GaveUp) -> SealError {
    if in_doubt {
        SealError::Indeterminate { segment, source }
    } else {
        SealError::Refused { segment, source }
    }
}
