//! What a place holds: one read of an object's end tells a segment (and its footer) from a seal.
//!
//! Called by the sequencer's probe, by `seal` and by `walk`. Invariant: an object counts only if it
//! names the very place it stands at; nothing seen here proves that a place is missing (Q2).

use esker_object::{ObjectRead, ReadRange};
use esker_segment::{FOOTER_TAIL_BYTES, SegmentFooter, TailRead, read_tail};
use esker_types::{ObjectHeader, ObjectKind, SegmentId};

use crate::limits::FOREIGN_READS_MAX;
use crate::session_seal::SessionSeal;
use crate::settle::{byte_count, check_header};
use crate::{Chain, ForeignObject, LookError};

/// What a place of a chain holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a missing place and a seal are not segments"]
pub enum PlaceHolder {
    /// Nothing was there when we looked. No proof: a put may be under way (Q2).
    Missing,
    /// A segment.
    Segment(SegmentFooter),
    /// A session seal.
    Seal,
}

/// What one read told.
enum Told {
    Holder(PlaceHolder),
    /// The footer is longer than what was read.
    NeedMore {
        tail_bytes: u64,
    },
}

impl Chain {
    /// Looks at one place. One GET of at most [`FOOTER_TAIL_BYTES`]; a second one only for a footer
    /// that is longer.
    ///
    /// # Errors
    /// - [`LookError::Store`]: not answered, look again.
    /// - [`LookError::Foreign`]: damage, read several times to be sure; stop and alarm.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// Source: Q1, H2, docs/formats/segment.md, docs/formats/session-seal.md.
    pub async fn look(&self, segment: SegmentId) -> Result<PlaceHolder, LookError> {
        let mut reads = 0;
        loop {
            reads += 1;
            match self.look_once(segment).await {
                Err(LookError::Foreign { source, .. }) if reads < FOREIGN_READS_MAX => {
                    tracing::debug!(%segment, error = ?source, "reading the place again");
                }
                outcome => return outcome,
            }
        }
    }

    async fn look_once(&self, segment: SegmentId) -> Result<PlaceHolder, LookError> {
        let foreign = |source| LookError::Foreign { segment, source };
        let mut tail_bytes = FOOTER_TAIL_BYTES;
        loop {
            let Some(read) = self.read_end(segment, tail_bytes).await? else {
                return Ok(PlaceHolder::Missing);
            };
            match self.understand(segment, &read).map_err(foreign)? {
                Told::Holder(holder) => return Ok(holder),
                // Once in fact: the longer read holds the whole footer.
                Told::NeedMore { tail_bytes: more } => {
                    assert!(more > tail_bytes, "a footer asks for more than was read");
                    tail_bytes = more;
                }
            }
        }
    }

    async fn read_end(
        &self,
        segment: SegmentId,
        tail_bytes: u64,
    ) -> Result<Option<ObjectRead>, LookError> {
        let key = self.key(segment);
        let read = self.bucket.get(&key, ReadRange::Suffix(tail_bytes)).await;
        let read = read.map_err(|source| LookError::Store { segment, source })?;
        if let Some(read) = &read {
            let wanted_bytes = tail_bytes.min(read.object_bytes);
            let read_bytes = byte_count(&read.bytes);
            if read_bytes != wanted_bytes {
                let source = ForeignObject::CutRead {
                    wanted_bytes,
                    read_bytes,
                };
                return Err(LookError::Foreign { segment, source });
            }
        }
        Ok(read)
    }

    fn understand(&self, segment: SegmentId, read: &ObjectRead) -> Result<Told, ForeignObject> {
        if byte_count(&read.bytes) == read.object_bytes {
            let header = ObjectHeader::decode(&read.bytes).map_err(ForeignObject::Header)?;
            check_header(&header, self.cluster, read.object_bytes)?;
            match header.kind {
                ObjectKind::Segment => {}
                ObjectKind::SessionSeal => return understand_seal(segment, read),
                kind => return Err(ForeignObject::Kind { kind }),
            }
        }
        match read_tail(read.object_bytes, &read.bytes).map_err(ForeignObject::Footer)? {
            TailRead::NeedMore { tail_bytes } => Ok(Told::NeedMore { tail_bytes }),
            TailRead::Footer(footer) => {
                check_place(segment, footer.segment)?;
                Ok(Told::Holder(PlaceHolder::Segment(footer)))
            }
        }
    }
}

fn understand_seal(segment: SegmentId, read: &ObjectRead) -> Result<Told, ForeignObject> {
    let seal = SessionSeal::decode(&read.bytes).map_err(ForeignObject::Seal)?;
    check_place(segment, seal.place)?;
    tracing::debug!(%segment, sealer_epoch = ?seal.sealer_epoch, "place is sealed");
    Ok(Told::Holder(PlaceHolder::Seal))
}

fn check_place(asked: SegmentId, found: SegmentId) -> Result<(), ForeignObject> {
    if asked != found {
        return Err(ForeignObject::OtherPlace { found });
    }
    Ok(())
}
