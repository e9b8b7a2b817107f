//! Reads one place of a session's chain: its end only, or every byte of it.

use std::sync::Arc;

use bytes::Bytes;
use esker_chain::{Chain, LookError, PlaceHolder, SessionSeal};
use esker_env::Env;
use esker_object::{Bucket, ObjectKey, ReadRange, StoreError};
use esker_segment::limits::FOOTER_TAIL_BYTES;
use esker_segment::{SegmentFooter, check_segment};
use esker_types::{ClusterId, ObjectHeader, ObjectKind, SegmentId};

use crate::audit::{AuditParts, Depth};
use crate::error::with_causes;
use crate::limits::{READS_MAX, SESSION_OBJECT_BYTES_MAX};

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Gone,
    Segment(SegmentFooter),
    Seal,
    /// What is wrong with it.
    Damaged(String),
}

/// A place that was read, and how many bytes of it.
#[derive(Clone, Debug)]
pub(crate) struct PlaceRead {
    pub(crate) segment: SegmentId,
    pub(crate) place: Place,
    pub(crate) bytes: u64,
}

/// Reads places.
#[derive(Clone, Debug)]
pub(crate) struct PlaceReader {
    bucket: Arc<dyn Bucket>,
    cluster: ClusterId,
    pub(crate) chain: Chain,
    depth: Depth,
}

impl PlaceReader {
    pub(crate) fn new(parts: &AuditParts, depth: Depth) -> Self {
        let env: Env = parts.env.clone();
        Self {
            bucket: Arc::clone(&parts.bucket),
            cluster: parts.cluster,
            chain: Chain::new(Arc::clone(&parts.bucket), env, parts.cluster),
            depth,
        }
    }

    /// Reads the place; an object that makes no sense is read again before it is called damaged.
    pub(crate) async fn read(
        &self,
        segment: SegmentId,
        object_bytes: u64,
    ) -> Result<PlaceRead, StoreError> {
        let (place, bytes) = match self.depth {
            Depth::Quick => {
                let bytes = object_bytes.min(FOOTER_TAIL_BYTES);
                (self.look(segment).await?, bytes)
            }
            Depth::Deep => (self.read_whole(segment, object_bytes).await?, object_bytes),
        };
        Ok(PlaceRead {
            segment,
            place,
            bytes,
        })
    }

    async fn look(&self, segment: SegmentId) -> Result<Place, StoreError> {
        match self.chain.look(segment).await {
            Ok(PlaceHolder::Missing) => Ok(Place::Gone),
            Ok(PlaceHolder::Segment(footer)) => Ok(Place::Segment(footer)),
            Ok(PlaceHolder::Seal) => Ok(Place::Seal),
            Err(LookError::Store { source, .. }) => Err(source),
            Err(LookError::Foreign { source, .. }) => Ok(Place::Damaged(with_causes(&source))),
        }
    }

    async fn read_whole(&self, segment: SegmentId, object_bytes: u64) -> Result<Place, StoreError> {
        if object_bytes > SESSION_OBJECT_BYTES_MAX {
            let words = format!("object of {object_bytes} bytes is no segment");
            return Ok(Place::Damaged(words));
        }
        let key = ObjectKey::session_place(self.cluster, segment);
        let mut reads = 0;
        loop {
            reads += 1;
            let Some(read) = self.bucket.get(&key, ReadRange::Full).await? else {
                return Ok(Place::Gone);
            };
            match understand(self.cluster, segment, &read.bytes) {
                Err(words) if reads >= READS_MAX => return Ok(Place::Damaged(words)),
                Err(_) => {}
                Ok(place) => return Ok(place),
            }
        }
    }
}

/// What the bytes are, checked one by one.
fn understand(cluster: ClusterId, segment: SegmentId, object: &Bytes) -> Result<Place, String> {
    let header = ObjectHeader::decode(object).map_err(|error| with_causes(&error))?;
    if header.cluster != cluster {
        return Err(format!("object belongs to cluster {}", header.cluster));
    }
    let (found, place) = match header.kind {
        ObjectKind::Segment => {
            let checked = check_segment(object).map_err(|error| with_causes(&error))?;
            (checked.1.segment, Place::Segment(checked.1))
        }
        ObjectKind::SessionSeal => {
            let seal = SessionSeal::decode(object).map_err(|error| with_causes(&error))?;
            (seal.place, Place::Seal)
        }
        kind => return Err(format!("object of kind {kind:?} cannot stand here")),
    };
    match found == segment {
        true => Ok(place),
        false => Err(format!("object was written for place {found}")),
    }
}
