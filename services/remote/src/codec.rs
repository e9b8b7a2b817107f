//! Messages as bytes in gRPC's frames, for both sides.
//!
//! A server reads requests strictly: one with a field that it does not know is refused, because
//! what it would leave out may be a condition. A client reads replies as protobuf does; what it
//! cannot understand there is an unknown outcome (see `convert`).

use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::proto::refusal::{Malformed, Reason};
use crate::refusal::status_of;

/// Server side: requests in, replies out.
#[derive(Debug)]
pub(crate) struct RequestCodec<Q, R>(PhantomData<(Q, R)>);

/// Client side: replies in, requests out.
#[derive(Debug)]
pub(crate) struct ReplyCodec<Q, R>(PhantomData<(Q, R)>);

#[derive(Debug)]
pub(crate) struct Encoded<M>(PhantomData<M>);

#[derive(Debug)]
pub(crate) struct Strict<M>(PhantomData<M>);

#[derive(Debug)]
pub(crate) struct Lenient<M>(PhantomData<M>);

impl<Q, R> RequestCodec<Q, R> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Q, R> ReplyCodec<Q, R> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Q, R> Codec for RequestCodec<Q, R>
where
    Q: Message + Default + Send + 'static,
    R: Message + Send + 'static,
{
    type Encode = R;
    type Decode = Q;
    type Encoder = Encoded<R>;
    type Decoder = Strict<Q>;

    fn encoder(&mut self) -> Self::Encoder {
        Encoded(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        Strict(PhantomData)
    }
}

impl<Q, R> Codec for ReplyCodec<Q, R>
where
    Q: Message + Send + 'static,
    R: Message + Default + Send + 'static,
{
    type Encode = Q;
    type Decode = R;
    type Encoder = Encoded<Q>;
    type Decoder = Lenient<R>;

    fn encoder(&mut self) -> Self::Encoder {
        Encoded(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        Lenient(PhantomData)
    }
}

impl<M: Message + Send + 'static> Encoder for Encoded<M> {
    type Item = M;
    type Error = Status;

    fn encode(&mut self, item: M, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(to)
            .map_err(|_| Status::internal("message does not fit its buffer"))
    }
}

impl<M: Message + Default + Send + 'static> Decoder for Strict<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        let message = strict(from).map_err(|field| {
            status_of(Reason::Malformed(Malformed {
                field: field.to_owned(),
            }))
        })?;
        Ok(Some(message))
    }
}

/// The message that is all of `from`; else what is wrong with it.
fn strict<M: Message + Default>(from: impl Buf) -> Result<M, &'static str> {
    let bytes = from.remaining();
    let message = M::decode(from).map_err(|_| "protobuf")?;
    // What was skipped is missing from the length.
    if message.encoded_len() != bytes {
        return Err("a field unknown to this version");
    }
    Ok(message)
}

impl<M: Message + Default + Send + 'static> Decoder for Lenient<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        let message = M::decode(from).map_err(|_| Status::internal("reply is no protobuf"))?;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{CreateTopicRequest, TopicPartition, WrittenRequest};

    fn written() -> WrittenRequest {
        WrittenRequest {
            session: vec![3; 16].into(),
            epoch: 4,
            written: 5,
        }
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let bytes = written().encode_to_vec();

        assert_eq!(strict::<WrittenRequest>(&*bytes), Ok(written()));
    }

    #[test]
    fn a_request_with_a_field_of_a_later_version_is_refused() {
        let mut bytes = written().encode_to_vec();
        // Field 99, a number.
        bytes.extend([0x98, 0x06, 0x01]);
        // Inside of another message as well: field 1 of LookUpRequest, with a field 99 in it.
        let mut inner = TopicPartition::default().encode_to_vec();
        inner.extend([0x98, 0x06, 0x01]);
        let mut outer = vec![0x0a, u8::try_from(inner.len()).unwrap()];
        outer.extend(inner);

        let unknown = "a field unknown to this version";
        assert_eq!(strict::<WrittenRequest>(&*bytes), Err(unknown));
        assert_eq!(strict::<crate::proto::LookUpRequest>(&*outer), Err(unknown));
        assert_eq!(strict::<WrittenRequest>(&b"\xff"[..]), Err("protobuf"));
    }

    #[test]
    fn settings_are_counted_as_they_are_written() {
        let rows = [("a", "b"), ("c", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let request = CreateTopicRequest {
            name: "t".to_owned(),
            configs: rows.into(),
            ..CreateTopicRequest::default()
        };

        let read = strict::<CreateTopicRequest>(&*request.encode_to_vec());

        assert_eq!(read, Ok(request));
    }
}
