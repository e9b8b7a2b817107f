//! Bytes of a session seal: the small object that ends a session's chain at its place.
//!
//! Written by `Chain::seal`, read by `Chain::look`. Each seal has a write id of its own, so two
//! sealers of one place are told apart. Format page: docs/formats/session-seal.md.

use bytes::Bytes;
use esker_types::{
    ByteReader, ChainIndex, ClusterId, HeaderError, OBJECT_HEADER_BYTES, ObjectHeader, ObjectKind,
    SegmentId, SequencerEpoch, SessionId, ShortBytes, WriteId,
};

/// Bytes of a whole session seal.
pub const SESSION_SEAL_BYTES: usize = OBJECT_HEADER_BYTES + BODY_BYTES;
const BODY_BYTES: usize = 32;

/// Ends a session: the segments in front of `place` are the whole chain, if no lower place is
/// sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSeal {
    /// The place it stands at.
    pub place: SegmentId,
    /// The sequencer that sealed; `None` for the pod itself. For people only: nothing rests on it.
    pub sealer_epoch: Option<SequencerEpoch>,
}

/// Why bytes are not a session seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionSealError {
    /// The object header is not readable.
    #[error("session seal has no readable header")]
    Header(#[source] HeaderError),
    /// Another kind of object.
    #[error("object is a {kind:?}, not a session seal")]
    Kind {
        /// What it is.
        kind: ObjectKind,
    },
    /// Longer or shorter than a seal, or than its own header says.
    #[error("session seal has {found} bytes, not {SESSION_SEAL_BYTES}")]
    Length {
        /// Its length.
        found: usize,
    },
    /// The body fails its checksum.
    #[error("session seal fails its checksum")]
    Checksum,
}

impl SessionSeal {
    /// The whole object, as `write_id` of `cluster` puts it.
    #[must_use]
    pub fn encode(&self, cluster: ClusterId, write_id: WriteId) -> Bytes {
        let mut body = Vec::with_capacity(BODY_BYTES);
        body.extend_from_slice(&self.place.session.bytes());
        body.extend_from_slice(&self.place.index.get().to_be_bytes());
        let epoch = self.sealer_epoch.map_or(0, SequencerEpoch::get);
        body.extend_from_slice(&epoch.to_be_bytes());
        let header = ObjectHeader {
            kind: ObjectKind::SessionSeal,
            cluster,
            write_id,
            body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
            body_crc: esker_types::crc32c(&body),
        };
        let object = [header.encode().as_slice(), &body].concat();
        assert_eq!(object.len(), SESSION_SEAL_BYTES, "a seal has one length");
        Bytes::from(object)
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// [`SessionSealError`]: not a session seal, or damaged.
    pub fn decode(object: &[u8]) -> Result<Self, SessionSealError> {
        let header = ObjectHeader::decode(object).map_err(SessionSealError::Header)?;
        if header.kind != ObjectKind::SessionSeal {
            return Err(SessionSealError::Kind { kind: header.kind });
        }
        let found = object.len();
        let wrong_length = SessionSealError::Length { found };
        if found != SESSION_SEAL_BYTES || u64::try_from(BODY_BYTES) != Ok(header.body_bytes) {
            return Err(wrong_length);
        }
        let body = object.get(OBJECT_HEADER_BYTES..).ok_or(wrong_length)?;
        if esker_types::crc32c(body) != header.body_crc {
            return Err(SessionSealError::Checksum);
        }
        Self::decode_body(body).map_err(|_| wrong_length)
    }

    fn decode_body(body: &[u8]) -> Result<Self, ShortBytes> {
        let mut reader = ByteReader::new(body);
        let place = SegmentId {
            session: SessionId::from_bytes(reader.array()?),
            index: ChainIndex::new(reader.u64()?),
        };
        let epoch = reader.u64()?;
        Ok(Self {
            place,
            sealer_epoch: (epoch > 0).then(|| SequencerEpoch::new(epoch)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_bytes([2; 16]);
    const WRITE: WriteId = WriteId::from_bytes([1; 16]);

    fn seal() -> SessionSeal {
        SessionSeal {
            place: SegmentId {
                session: SessionId::from_bytes([3; 16]),
                index: ChainIndex::new(5),
            },
            sealer_epoch: Some(SequencerEpoch::new(7)),
        }
    }

    /// The seal's bytes with one changed and the header's own checksum made right again.
    fn changed(at: usize, byte: u8) -> Vec<u8> {
        let mut object = seal().encode(CLUSTER, WRITE).to_vec();
        object[at] = byte;
        let checksum = crc32c::crc32c(&object[..60]);
        object[60..64].copy_from_slice(&checksum.to_be_bytes());
        object
    }

    #[test]
    fn golden_bytes_of_a_session_seal() {
        let golden = include_str!("../../../docs/formats/session-seal.hex");

        let object = seal().encode(CLUSTER, WRITE);

        let hex: String = object.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden.split_whitespace().collect::<String>());
    }

    #[test]
    fn what_is_no_session_seal_is_told_apart() {
        let object = seal().encode(CLUSTER, WRITE);
        let longer = [object.as_ref(), &[0]].concat();

        assert_eq!(SessionSeal::decode(&object), Ok(seal()));
        assert!(matches!(
            SessionSeal::decode(&object[..63]),
            Err(SessionSealError::Header(HeaderError::Short(_)))
        ));
        assert_eq!(
            SessionSeal::decode(&changed(5, 1)),
            Err(SessionSealError::Kind {
                kind: ObjectKind::Segment
            })
        );
        assert_eq!(
            SessionSeal::decode(&longer),
            Err(SessionSealError::Length { found: 97 })
        );
        assert_eq!(
            SessionSeal::decode(&changed(47, 31)),
            Err(SessionSealError::Length { found: 96 })
        );
        assert_eq!(
            SessionSeal::decode(&changed(80, 1)),
            Err(SessionSealError::Checksum)
        );
    }

    proptest! {
        #[test]
        fn every_seal_reads_back_and_no_flipped_bit_goes_unseen(
            session: [u8; 16], index: u64, epoch in 0_u64.., bit in 0..SESSION_SEAL_BYTES * 8,
        ) {
            let seal = SessionSeal {
                place: SegmentId {
                    session: SessionId::from_bytes(session),
                    index: ChainIndex::new(index),
                },
                sealer_epoch: (epoch > 0).then(|| SequencerEpoch::new(epoch)),
            };
            let mut object = seal.encode(CLUSTER, WRITE).to_vec();

            prop_assert_eq!(SessionSeal::decode(&object), Ok(seal));
            object[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(SessionSeal::decode(&object).is_err());
        }
    }
}
