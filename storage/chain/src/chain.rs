//! The handle on all chains of one cluster, and the upload of a segment to its place (W5).
//!
//! Cheap to clone. What it does to a place is in `look`, `seal` and `walk`.

use std::sync::Arc;

use bytes::Bytes;
use esker_env::Env;
use esker_object::{Bucket, ObjectKey, Patience};
use esker_segment::{TailRead, read_tail};
use esker_types::{
    ClusterId, ObjectHeader, ObjectKind, Planted, SegmentId, SequencerEpoch, planted,
};
use futures::FutureExt as _;
use tracing::Instrument as _;

use crate::limits::UPLOAD_DENIED_MAX;
use crate::settle::{Settled, byte_count, create_settled};
use crate::{ForeignObject, SettleError, UploadError, Uploaded};

/// The chains of one cluster's sessions. Clones share the bucket.
#[derive(Clone, Debug)]
pub struct Chain {
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) env: Env,
    pub(crate) cluster: ClusterId,
    pub(crate) sealer_epoch: Option<SequencerEpoch>,
}

impl Chain {
    /// `bucket` is the dependable one (`DurableBucket`); whoever asks for `cluster` has read it
    /// from `cluster.json`.
    #[must_use]
    pub fn new(bucket: Arc<dyn Bucket>, env: Env, cluster: ClusterId) -> Self {
        Self {
            bucket,
            env,
            cluster,
            sealer_epoch: None,
        }
    }

    /// The same chains, whose seals name a sequencer. Without this they name the pod itself.
    #[must_use]
    pub fn sealing_as(self, epoch: SequencerEpoch) -> Self {
        assert!(epoch >= SequencerEpoch::FIRST, "epoch 0 stands for a pod");
        Self {
            sealer_epoch: Some(epoch),
            ..self
        }
    }

    pub(crate) fn key(&self, segment: SegmentId) -> ObjectKey {
        ObjectKey::session_place(self.cluster, segment)
    }

    /// Puts `object`, a whole segment, at its place and returns once it is known who is there:
    /// passing failures are tried again for ever, missing rights for [`UPLOAD_DENIED_MAX`]. One PUT
    /// when all goes well.
    ///
    /// # Errors
    /// [`UploadError`]: each variant says what is known and what to do.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown: the segment may exist, now or later. Calling
    /// again with the same bytes finds out; other bytes must never be put at this place.
    ///
    /// Source: W5, W7.
    pub async fn upload(&self, segment: SegmentId, object: Bytes) -> Result<Uploaded, UploadError> {
        self.check_ours(segment, &object);
        let bytes = byte_count(&object);
        let span = tracing::debug_span!("segment.upload", %segment, bytes);
        let key = self.key(segment);
        let patience = Patience::new(UPLOAD_DENIED_MAX);
        let put = create_settled(self.bucket.as_ref(), &self.env, &key, object, patience);
        let stranger = |source| UploadError::Stranger { segment, source };
        if planted(Planted::AckBeforePut) {
            let _sent = put.now_or_never();
            return Ok(Uploaded::new(segment));
        }
        match put.instrument(span).await {
            Ok(Settled::Ours) => Ok(Uploaded::new(segment)),
            Ok(Settled::Other(other)) => Err(match other.kind {
                ObjectKind::SessionSeal if planted(Planted::SealIsSuccess) => {
                    return Ok(Uploaded::new(segment));
                }
                ObjectKind::SessionSeal => UploadError::Sealed { segment },
                ObjectKind::Segment => stranger(ForeignObject::OtherWrite {
                    write_id: other.write_id,
                }),
                kind => stranger(ForeignObject::Kind { kind }),
            }),
            Err(SettleError::Store { in_doubt, source }) if in_doubt => {
                Err(UploadError::Indeterminate { segment, source })
            }
            Err(SettleError::Store { source, .. }) => Err(UploadError::Refused { segment, source }),
            Err(SettleError::Foreign { source, .. }) => Err(stranger(source)),
        }
    }

    /// What goes to a place must be a segment of this cluster that names this very place.
    fn check_ours(&self, segment: SegmentId, object: &Bytes) {
        let header = ObjectHeader::decode(object);
        assert!(
            header.is_ok_and(|header| {
                header.kind == ObjectKind::Segment && header.cluster == self.cluster
            }),
            "only segments of the own cluster are uploaded"
        );
        let tail = read_tail(byte_count(object), object);
        assert!(
            matches!(tail, Ok(TailRead::Footer(footer)) if footer.segment == segment),
            "CP18: a segment goes to the place its footer names"
        );
    }
}
