//! Requests and responses as closed enums; the only place where the codec reads a client's bytes.
//!
//! `decode_request` takes what the guard passed; a failure there is a bug of ours.

use bytes::Bytes;
use kafka_protocol::messages as codec;
use kafka_protocol::messages::RequestHeader;
use kafka_protocol::protocol::buf::ByteBufMut;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use crate::guard::{GuardError, GuardedFrame, guard_frame};
use crate::versions::Api;

/// A frame that is not a request we can hand on.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The guard refused it.
    #[error("request refused by the guard")]
    Guard(#[source] GuardError),
    /// The guard passed it and the codec did not: the two disagree, which is a bug of ours.
    #[error("codec cannot read {api} version {version} that the guard passed")]
    Codec {
        /// What was asked.
        api: Api,
        /// In which version.
        version: i16,
        /// What the codec says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

macro_rules! messages {
    ($($api:ident $request:ident $response:ident,)*) => {
        /// A decoded request; one variant per served API.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request {
            $(#[doc = concat!("See Kafka's ", stringify!($request), ".")] $api(codec::$request),)*
        }

        /// A response for the codec; its variant must be that of the request.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Response {
            $(#[doc = concat!("See Kafka's ", stringify!($response), ".")] $api(codec::$response),)*
        }

        impl Request {
            /// Which API it asks.
            #[must_use]
            pub fn api(&self) -> Api {
                match self {
                    $(Self::$api(_) => Api::$api,)*
                }
            }

            fn decode(api: Api, version: i16, body: &mut Bytes) -> Result<Self, CodecError> {
                let version = api.codec_version(version);
                match api {
                    $(Api::$api => codec::$request::decode(body, version).map(Self::$api),)*
                }
                .map_err(Into::into)
            }

            /// Encodes the body, for tests and tools.
            ///
            /// # Errors
            /// The codec's, when a field is set that the version does not have.
            pub fn encode_body<B: ByteBufMut>(
                &self,
                into: &mut B,
                version: i16,
            ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
                let version = self.api().codec_version(version);
                match self {
                    $(Self::$api(request) => request.encode(into, version),)*
                }
                .map_err(Into::into)
            }
        }

        impl Response {
            /// Which API it answers.
            #[must_use]
            pub fn api(&self) -> Api {
                match self {
                    $(Self::$api(_) => Api::$api,)*
                }
            }

            /// Version of the response header that goes with `version` of the body.
            #[must_use]
            pub fn header_version(&self, version: i16) -> i16 {
                let version = self.api().codec_version(version);
                match self {
                    $(Self::$api(_) => codec::$response::header_version(version),)*
                }
            }

            /// Encodes the body; the connection adds the frame. For tests of roles and tools too.
            ///
            /// # Errors
            /// The codec's, when a field is set that the version does not have.
            pub fn encode_body<B: ByteBufMut>(
                &self,
                into: &mut B,
                version: i16,
            ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
                let version = self.api().codec_version(version);
                match self {
                    $(Self::$api(response) => response.encode(into, version),)*
                }
                .map_err(Into::into)
            }
        }

        /// Versions in which the codec knows both sides of `api`.
        #[cfg(test)]
        pub(crate) fn codec_versions(api: Api) -> crate::versions::VersionRange {
            use kafka_protocol::protocol::Message;
            match api {
                $(Api::$api => codec::$request::VERSIONS.intersect(&codec::$response::VERSIONS),)*
            }
        }

        /// Version of the request header that goes with `version` of `api`.
        pub(crate) fn request_header_version(api: Api, version: i16) -> i16 {
            let version = api.codec_version(version);
            match api {
                $(Api::$api => codec::$request::header_version(version),)*
            }
        }
    };
}

/// The codec's errors are untyped; they only say that a message does not fit its version.
pub(crate) type CodecError = Box<dyn std::error::Error + Send + Sync>;

messages! {
    Produce ProduceRequest ProduceResponse,
    Fetch FetchRequest FetchResponse,
    ListOffsets ListOffsetsRequest ListOffsetsResponse,
    Metadata MetadataRequest MetadataResponse,
    OffsetCommit OffsetCommitRequest OffsetCommitResponse,
    OffsetFetch OffsetFetchRequest OffsetFetchResponse,
    FindCoordinator FindCoordinatorRequest FindCoordinatorResponse,
    JoinGroup JoinGroupRequest JoinGroupResponse,
    Heartbeat HeartbeatRequest HeartbeatResponse,
    LeaveGroup LeaveGroupRequest LeaveGroupResponse,
    SyncGroup SyncGroupRequest SyncGroupResponse,
    DescribeGroups DescribeGroupsRequest DescribeGroupsResponse,
    ListGroups ListGroupsRequest ListGroupsResponse,
    ApiVersions ApiVersionsRequest ApiVersionsResponse,
    CreateTopics CreateTopicsRequest CreateTopicsResponse,
    DeleteTopics DeleteTopicsRequest DeleteTopicsResponse,
    DeleteRecords DeleteRecordsRequest DeleteRecordsResponse,
    InitProducerId InitProducerIdRequest InitProducerIdResponse,
    OffsetForLeaderEpoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse,
    DescribeAcls DescribeAclsRequest DescribeAclsResponse,
    DescribeConfigs DescribeConfigsRequest DescribeConfigsResponse,
    AlterConfigs AlterConfigsRequest AlterConfigsResponse,
    DescribeLogDirs DescribeLogDirsRequest DescribeLogDirsResponse,
    CreatePartitions CreatePartitionsRequest CreatePartitionsResponse,
    DeleteGroups DeleteGroupsRequest DeleteGroupsResponse,
    ElectLeaders ElectLeadersRequest ElectLeadersResponse,
    IncrementalAlterConfigs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse,
    AlterPartitionReassignments
        AlterPartitionReassignmentsRequest
        AlterPartitionReassignmentsResponse,
    ListPartitionReassignments ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse,
    OffsetDelete OffsetDeleteRequest OffsetDeleteResponse,
    DescribeClientQuotas DescribeClientQuotasRequest DescribeClientQuotasResponse,
    DescribeUserScramCredentials
        DescribeUserScramCredentialsRequest
        DescribeUserScramCredentialsResponse,
    DescribeQuorum DescribeQuorumRequest DescribeQuorumResponse,
    DescribeCluster DescribeClusterRequest DescribeClusterResponse,
    DescribeProducers DescribeProducersRequest DescribeProducersResponse,
    DescribeTransactions DescribeTransactionsRequest DescribeTransactionsResponse,
    ListTransactions ListTransactionsRequest ListTransactionsResponse,
    ListConfigResources ListConfigResourcesRequest ListConfigResourcesResponse,
    DescribeTopicPartitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse,
}

/// Decodes a frame that [`guard_frame`] passed as `guarded`. Strings and records share the frame's
/// memory.
///
/// # Errors
/// [`DecodeError::Codec`]: guard and codec disagree; close the connection and raise an alarm.
pub fn decode_request(
    guarded: &GuardedFrame,
    mut frame: Bytes,
) -> Result<(Option<StrBytes>, Request), DecodeError> {
    let wrap = |source: CodecError| DecodeError::Codec {
        api: guarded.api,
        version: guarded.version,
        source,
    };
    let header_version = request_header_version(guarded.api, guarded.version);
    let header = RequestHeader::decode(&mut frame, header_version).map_err(|e| wrap(e.into()))?;
    let request = Request::decode(guarded.api, guarded.version, &mut frame).map_err(wrap)?;
    Ok((header.client_id, request))
}

/// Guards and decodes one frame, its 4-byte length not included.
///
/// # Errors
/// [`DecodeError`]: refused by the guard, or guard and codec disagree.
pub fn decode_frame(
    frame: Bytes,
) -> Result<(GuardedFrame, Option<StrBytes>, Request), DecodeError> {
    let guarded = guard_frame(&frame).map_err(DecodeError::Guard)?;
    let (client_id, request) = decode_request(&guarded, frame)?;
    Ok((guarded, client_id, request))
}
