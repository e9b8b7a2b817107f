//! Turns a codec response into one frame: length, response header, body.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::Encodable;

use crate::limits::FRAME_BYTES_MAX;
use crate::request::{CodecError, Response};

/// A reply that cannot be put on the wire: a bug of ours, the connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    /// A field is set that the version does not have, or a list is too long.
    #[error("codec cannot write the response in version {version}")]
    Codec {
        version: i16,
        #[source]
        source: CodecError,
    },
    /// Longer than any client reads.
    #[error("response of {bytes} bytes is longer than a frame")]
    TooLong { bytes: usize },
}

/// The whole frame, length included.
pub(crate) fn encode_response(
    response: &Response,
    version: i16,
    correlation_id: i32,
) -> Result<Bytes, EncodeError> {
    let wrap = |source: CodecError| EncodeError::Codec { version, source };
    let mut frame = BytesMut::with_capacity(512);
    frame.put_i32(0);
    ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(&mut frame, response.header_version(version))
        .map_err(|error| wrap(error.into()))?;
    response.encode_body(&mut frame, version).map_err(wrap)?;
    let bytes = frame.len() - 4;
    let length = i32::try_from(bytes).ok();
    let length = length.filter(|_| bytes <= FRAME_BYTES_MAX);
    let length = length.ok_or(EncodeError::TooLong { bytes })?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::{ApiVersionsResponse, FetchResponse, MetadataResponse};

    use super::*;

    #[test]
    fn the_header_of_api_versions_never_has_a_tag_byte() {
        let response = Response::ApiVersions(ApiVersionsResponse::default());
        let other = Response::Metadata(MetadataResponse::default());

        let frame = encode_response(&response, 4, 7).unwrap();

        assert_eq!(
            &frame[4..10],
            [0, 0, 0, 7, 0, 0],
            "the error code follows the correlation id"
        );
        assert_eq!(other.header_version(13), 1);
        assert_eq!(other.header_version(8), 0);
    }

    #[test]
    fn a_reply_that_no_client_would_read_is_an_error_not_a_frame() {
        let records = Bytes::from(vec![0; FRAME_BYTES_MAX]);
        let partition = PartitionData::default().with_records(Some(records));
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
        let fetch = FetchResponse::default().with_responses(vec![topic]);

        let encoded = encode_response(&Response::Fetch(fetch), 12, 7);

        assert!(matches!(encoded, Err(EncodeError::TooLong { .. })));
    }

    #[test]
    fn a_field_that_the_version_lacks_is_an_error_not_a_frame() {
        let partition = PartitionData::default().with_preferred_read_replica(7.into());
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
        let fetch = FetchResponse::default().with_responses(vec![topic]);

        let encoded = encode_response(&Response::Fetch(fetch), 4, 7);

        assert!(matches!(
            encoded,
            Err(EncodeError::Codec { version: 4, .. })
        ));
    }
}
