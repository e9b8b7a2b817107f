//! Produce requests that get no answer (acks = 0), which the client cannot send: it waits for one.
//!
//! Each broker has one connection, so that order holds. A broker that refuses a batch can only
//! close; so at the end each is asked a question behind all requests: an answer means that it read
//! them and did not close.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use esker_env::Env;
use esker_kafka::client::{Address, ClientError};
use esker_kafka::messages::{
    ApiKey, ApiVersionsRequest, Encodable, ProduceRequest, RequestHeader, StrBytes,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Produce since Kafka 2.1, the first with zstd; in every broker since.
const PRODUCE_VERSION: i16 = 7;
/// ApiVersions in the version that every broker knows.
const API_VERSIONS_VERSION: i16 = 0;
/// Header of requests that are not flexible.
const HEADER_VERSION: i16 = 1;
/// How long a broker may take to take a request in.
const LIMIT: Duration = Duration::from_secs(30);

/// Connections by address.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    streams: BTreeMap<Address, TcpStream>,
}

impl Unanswered {
    pub(super) async fn send(
        &mut self,
        address: &Address,
        env: &Env,
        request: &ProduceRequest,
    ) -> Result<(), ClientError> {
        let stream = match self.streams.remove(address) {
            Some(stream) => stream,
            None => open(address, env).await?,
        };
        let frame = frame(ApiKey::Produce, PRODUCE_VERSION, request)?;
        let stream = write(stream, address, env, &frame).await?;
        self.streams.insert(address.clone(), stream);
        Ok(())
    }

    /// Waits until every broker has read what it was sent.
    pub(super) async fn finish(&mut self, env: &Env) -> Result<(), ClientError> {
        for (address, stream) in std::mem::take(&mut self.streams) {
            let request = ApiVersionsRequest::default();
            let question = frame(ApiKey::ApiVersions, API_VERSIONS_VERSION, &request)?;
            let mut stream = write(stream, &address, env, &question).await?;
            let mut length = [0; 4];
            let read = stream.read_exact(&mut length);
            let read = esker_env::timeout(env.clock.as_ref(), LIMIT, read).await;
            let read = read.map_err(|_| no_answer(&address))?;
            read.map_err(|error| closed(&address, error))?;
        }
        Ok(())
    }
}

async fn open(address: &Address, env: &Env) -> Result<TcpStream, ClientError> {
    let unreachable = |source| ClientError::Unreachable {
        address: address.clone(),
        source,
    };
    let connect = TcpStream::connect((address.host(), address.port()));
    let connected = esker_env::timeout(env.clock.as_ref(), LIMIT, connect).await;
    let stream = connected
        .map_err(|_| unreachable(std::io::ErrorKind::TimedOut.into()))?
        .map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    Ok(stream)
}

async fn write(
    mut stream: TcpStream,
    address: &Address,
    env: &Env,
    frame: &Bytes,
) -> Result<TcpStream, ClientError> {
    let written = esker_env::timeout(env.clock.as_ref(), LIMIT, stream.write_all(frame)).await;
    let written = written.map_err(|_| no_answer(address))?;
    written.map_err(|error| closed(address, error))?;
    Ok(stream)
}

fn no_answer(address: &Address) -> ClientError {
    ClientError::NoAnswer {
        address: address.clone(),
        limit: LIMIT,
    }
}

fn closed(address: &Address, error: std::io::Error) -> ClientError {
    ClientError::Closed {
        address: address.clone(),
        source: Some(error).filter(|error| error.kind() != std::io::ErrorKind::UnexpectedEof),
    }
}

/// A request with its length and header.
fn frame(api: ApiKey, version: i16, request: &impl Encodable) -> Result<Bytes, ClientError> {
    let mut body = BytesMut::new();
    let encoded = RequestHeader::default()
        .with_request_api_key(code_of(api))
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("esker-cli")))
        .encode(&mut body, HEADER_VERSION)
        .and_then(|()| request.encode(&mut body, version));
    let length = i32::try_from(body.len());
    let (Ok(()), Ok(length)) = (encoded, length) else {
        return Err(ClientError::Incomplete { api });
    };
    let mut frame = BytesMut::with_capacity(body.len().saturating_add(4));
    frame.put_i32(length);
    frame.extend_from_slice(&body);
    Ok(frame.freeze())
}

/// The number of the two APIs that are sent here.
fn code_of(api: ApiKey) -> i16 {
    match api {
        ApiKey::Produce => 0,
        _ => 18,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_length_key_version_correlation_id_client_id_and_body() {
        let request = ApiVersionsRequest::default();

        let frame = frame(ApiKey::ApiVersions, API_VERSIONS_VERSION, &request).unwrap();

        let head = [0, 0, 0, 19, 0, 18, 0, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(frame.get(..14), Some(head.as_slice()));
        assert_eq!(frame.get(14..), Some(b"esker-cli".as_slice()));
    }
}
