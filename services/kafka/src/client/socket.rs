//! One connection of a client: versions negotiated once, then one request and one reply at a time.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use esker_env::Env;
use esker_types::MonotonicTime;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange,
};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::error::check;
use super::{Address, ClientError, api_of};
use crate::error_code::KafkaError;
use crate::frame::{FrameLimits, FrameReader, write_slices};
use crate::limits::FRAME_BYTES_MAX;
use crate::stragglers::{Holds, Watched};

/// Smallest reply: a correlation id.
const REPLY_BYTES_MIN: usize = 4;
/// Version of ApiVersions that is asked first.
const API_VERSIONS_FIRST: i16 = 4;

/// A connection. Lost, not given back to the pool, when an exchange fails or is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    address: Address,
    client_id: StrBytes,
    reader: FrameReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    timeout: Duration,
    versions: BTreeMap<i16, VersionRange>,
    correlation_id: i32,
    used: MonotonicTime,
}

impl Socket {
    /// Connects and asks which versions the broker serves.
    pub(super) async fn open(
        address: &Address,
        client_id: &StrBytes,
        env: &Env,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let unreachable = |source| ClientError::Unreachable {
            address: address.clone(),
            source,
        };
        let connect = TcpStream::connect((address.host(), address.port()));
        let connected = esker_env::timeout(env.clock.as_ref(), timeout, connect).await;
        let stream = connected
            .map_err(|_| unreachable(std::io::ErrorKind::TimedOut.into()))?
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let (reader, writer) = stream.into_split();
        let limits = FrameLimits {
            bytes_min: REPLY_BYTES_MIN,
            bytes_max: FRAME_BYTES_MAX,
            idle: timeout,
            partial: timeout,
        };
        let mut socket = Self {
            address: address.clone(),
            client_id: client_id.clone(),
            reader: FrameReader::new(reader, limits),
            writer,
            timeout,
            versions: BTreeMap::new(),
            correlation_id: 0,
            used: env.clock.now(),
        };
        socket.negotiate(env).await?;
        Ok(socket)
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn idle_since(&self, now: MonotonicTime) -> Duration {
        now.since(self.used)
    }

    /// False when the broker is known to have closed, or sent what nobody asked for.
    pub(super) fn looks_open(&self) -> bool {
        let read = self.reader.socket().try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Sends `request` in the best common version and reads its reply.
    pub(super) async fn exchange<Req: Request>(
        &mut self,
        env: &Env,
        request: &Req,
        versions: RangeInclusive<i16>,
    ) -> Result<Req::Response, ClientError> {
        let api = api_of::<Req>();
        let version = self.choose::<Req>(versions)?;
        let body = self.round_trip(env, request, version).await?;
        self.read_reply(body, version, Req::Response::header_version(version), api)
    }

    /// Asks in our highest version; a broker that is older answers in version 0 and names its own.
    async fn negotiate(&mut self, env: &Env) -> Result<(), ClientError> {
        let api = ApiKey::ApiVersions;
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("esker"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut version = API_VERSIONS_FIRST;
        let mut reply = self.round_trip(env, &request, version).await?;
        if error_code_of(&reply) == Some(KafkaError::UnsupportedVersion.code()) {
            version = 0;
            let plain = ApiVersionsRequest::default();
            reply = self.round_trip(env, &plain, version).await?;
        }
        let response: ApiVersionsResponse = self.read_reply(reply, version, 0, Some(api))?;
        check(api, response.error_code, None)?;
        let ranges = response.api_keys.iter().map(|range| {
            let (min, max) = (range.min_version, range.max_version);
            (range.api_key, VersionRange { min, max })
        });
        self.versions = ranges.collect();
        Ok(())
    }

    fn choose<Req: Request>(&self, wanted: RangeInclusive<i16>) -> Result<i16, ClientError> {
        let wanted = VersionRange {
            min: *wanted.start(),
            max: *wanted.end(),
        };
        let ours = Req::VERSIONS.intersect(&<Req::Response as Message>::VERSIONS);
        let ours = ours.intersect(&wanted);
        let theirs = self.versions.get(&Req::KEY).copied();
        let common = theirs.map(|theirs| ours.intersect(&theirs));
        match common.filter(|common| !common.is_empty()) {
            Some(common) => Ok(common.max),
            None => Err(ClientError::Unsupported {
                api: api_of::<Req>(),
                ours,
                theirs,
            }),
        }
    }

    async fn round_trip<Req: Request>(
        &mut self,
        env: &Env,
        request: &Req,
        version: i16,
    ) -> Result<Bytes, ClientError> {
        let api = api_of::<Req>();
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = self.frame(request, version)?;
        let clock = env.clock.as_ref();
        let failed = |error| ClientError::of_frame(&self.address, api, error);
        let mut unwatched = Watched::new(None, Holds::Requests, frame.len());
        let slices = vec![frame];
        write_slices(
            &mut self.writer,
            clock,
            self.timeout,
            &mut unwatched,
            slices,
        )
        .await
        .map_err(failed)?;
        let length = self.reader.length(clock).await.map_err(failed)?;
        let reply = self
            .reader
            .body(clock, length, None)
            .await
            .map_err(failed)?;
        self.used = clock.now();
        Ok(reply)
    }

    fn frame<Req: Request>(&self, request: &Req, version: i16) -> Result<Bytes, ClientError> {
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        let encoded = RequestHeader::default()
            .with_request_api_key(Req::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(self.client_id.clone()))
            .encode(&mut frame, Req::header_version(version))
            .and_then(|()| request.encode(&mut frame, version));
        let length = i32::try_from(frame.len().saturating_sub(4)).ok();
        match (encoded, length) {
            (Ok(()), Some(length)) => frame[..4].copy_from_slice(&length.to_be_bytes()),
            // The codec refuses a field that the version lacks; nothing else can fail here.
            _ => {
                return Err(ClientError::Unsupported {
                    api: api_of::<Req>(),
                    ours: Req::VERSIONS,
                    theirs: self.versions.get(&Req::KEY).copied(),
                });
            }
        }
        Ok(frame.freeze())
    }

    fn read_reply<Response: Decodable>(
        &self,
        mut reply: Bytes,
        version: i16,
        header_version: i16,
        api: Option<ApiKey>,
    ) -> Result<Response, ClientError> {
        let malformed = || ClientError::Malformed {
            address: self.address.clone(),
            api,
        };
        let header = ResponseHeader::decode(&mut reply, header_version);
        let header = header.map_err(|_| malformed())?;
        if header.correlation_id != self.correlation_id {
            return Err(malformed());
        }
        Response::decode(&mut reply, version).map_err(|_| malformed())
    }
}

/// The error code behind the correlation id, where ApiVersions has it in every version.
fn error_code_of(reply: &Bytes) -> Option<i16> {
    let mut code = reply.get(4..6)?;
    Some(code.get_i16())
}
