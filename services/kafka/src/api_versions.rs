//! ApiVersions: the one request that the connection answers itself, with its special rules.
//!
//! An unsupported version is answered in version 0 with error 35 and the range of key 18, so that
//! the client can ask again (KIP-511); the response header is always version 0.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::error_code::KafkaError;
use crate::request::Response;
use crate::versions::Api;

/// First version that carries the client's software name and version.
const SOFTWARE_FROM: i16 = 3;

/// The answer to a request in a served `version`.
pub(crate) fn answer(request: &ApiVersionsRequest, version: i16) -> Response {
    if version >= SOFTWARE_FROM && !names_software(request, version) {
        let refused = ApiVersionsResponse::default();
        return Response::ApiVersions(refused.with_error_code(KafkaError::InvalidRequest.code()));
    }
    let keys = Api::ALL.iter().map(|api| entry(*api)).collect();
    Response::ApiVersions(ApiVersionsResponse::default().with_api_keys(keys))
}

/// Whether the client says what software it is.
pub(crate) fn names_software(request: &ApiVersionsRequest, version: i16) -> bool {
    version >= SOFTWARE_FROM
        && is_software_word(&request.client_software_name)
        && is_software_word(&request.client_software_version)
}

/// The answer to a request in any other version; to be written in version 0.
pub(crate) fn unsupported() -> Response {
    Response::ApiVersions(
        ApiVersionsResponse::default()
            .with_error_code(KafkaError::UnsupportedVersion.code())
            .with_api_keys(vec![entry(Api::ApiVersions)]),
    )
}

fn entry(api: Api) -> ApiVersion {
    let range = api.advertised();
    ApiVersion::default()
        .with_api_key(api.key())
        .with_min_version(range.min)
        .with_max_version(range.max)
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`, as Kafka has it.
fn is_software_word(word: &str) -> bool {
    let ends = word.bytes().next().into_iter().chain(word.bytes().last());
    let inner_fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    !word.is_empty()
        && ends.into_iter().all(|byte| byte.is_ascii_alphanumeric())
        && word.bytes().all(inner_fits)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn request(name: &'static str) -> ApiVersionsRequest {
        ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(name))
            .with_client_software_version(StrBytes::from_static_str("1.0"))
    }

    fn code_and_keys(response: &Response) -> (i16, usize) {
        match response {
            Response::ApiVersions(body) => (body.error_code, body.api_keys.len()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_served_api_is_named_once() {
        let answer = answer(&request("librdkafka"), 3);

        assert_eq!(code_and_keys(&answer), (0, Api::ALL.len()));
    }

    #[test]
    fn a_malformed_software_name_is_an_invalid_request_from_version_3() {
        for bad in ["", "-a", "a.", "a b", "ä"] {
            assert_eq!(code_and_keys(&answer(&request(bad), 3)), (42, 0), "{bad}");
            assert_eq!(code_and_keys(&answer(&request(bad), 2)).0, 0, "{bad}");
        }
        for good in ["a", "a1", "a-b.c", "0"] {
            assert_eq!(code_and_keys(&answer(&request(good), 4)).0, 0, "{good}");
        }
    }

    #[test]
    fn an_unsupported_version_gets_error_35_and_the_range_of_key_18() {
        assert_eq!(code_and_keys(&unsupported()), (35, 1));
    }
}
