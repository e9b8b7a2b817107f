//! What an answer of S3 means. Pure: from status and error code to what the caller may do.
//!
//! `object_store` maps 412, 304 and 409 to one error; so the transport hands the status itself up
//! the source chain. Only answers that say so for sure count as "not executed".

use std::error::Error;

use http::StatusCode;
use object_store::client::{HttpError, HttpErrorKind};

use crate::{ObjectKey, PutOutcome, StoreError, StoreErrorKind};

use super::credentials::CredentialsError;
use super::transport::StatusError;

/// An answer that was not a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 412: the key is taken.
    Taken,
    /// The object is not there.
    Missing,
    /// 416: the range begins behind the object's end.
    RangePastEnd,
    /// The bucket is not there.
    NoBucket,
    /// Refused for want of credentials or rights.
    Denied,
    /// The credentials were good until a while ago.
    CredentialsExpired,
    /// The store asks for less.
    Throttled,
    /// The store's disk or quota is full.
    Full,
    /// The store says that it does not do such a thing, or that the request is wrong.
    Unsupported,
    /// The request never left: no connection.
    NotSent,
    /// 5xx, 409, 304, a reset, no answer: it may have been executed.
    Passing,
}

/// Finds what the transport said in the chain of sources.
pub(super) fn answer_of(error: &object_store::Error) -> Answer {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(refused) = current.downcast_ref::<StatusError>() {
            return answer_of_status(refused.status, &refused.body);
        }
        if current.is::<CredentialsError>() {
            return Answer::Denied;
        }
        if let Some(http) = current.downcast_ref::<HttpError>()
            && http.kind() == HttpErrorKind::Connect
        {
            return Answer::NotSent;
        }
        source = current.source();
    }
    match error {
        object_store::Error::NotImplemented { .. } | object_store::Error::InvalidPath { .. } => {
            Answer::Unsupported
        }
        _ => Answer::Passing,
    }
}

/// `body` is S3's XML error, or empty.
pub(super) fn answer_of_status(status: StatusCode, body: &str) -> Answer {
    let has_code = |code: &str| body.contains(&format!("<Code>{code}</Code>"));
    if ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"]
        .into_iter()
        .any(has_code)
    {
        return Answer::CredentialsExpired;
    }
    match status.as_u16() {
        412 => Answer::Taken,
        404 if has_code("NoSuchBucket") => Answer::NoBucket,
        404 | 410 => Answer::Missing,
        416 => Answer::RangePastEnd,
        401 | 403 => Answer::Denied,
        429 | 503 => Answer::Throttled,
        507 => Answer::Full,
        _ if has_code("SlowDown") => Answer::Throttled,
        // The store hung up on a slow or cut body: it took nothing, but the next try may do better.
        400 if [
            "RequestTimeout",
            "IncompleteBody",
            "BadDigest",
            "XAmzContentSHA256Mismatch",
        ]
        .into_iter()
        .any(has_code) =>
        {
            Answer::Passing
        }
        400 if has_code("AuthorizationHeaderMalformed") => Answer::Denied,
        400 | 405 | 411 | 413 | 501 => Answer::Unsupported,
        300..=303 | 305..=308 => Answer::Unsupported,
        _ => Answer::Passing,
    }
}

/// What became of a create.
pub(super) fn classify_put(
    key: &ObjectKey,
    answer: Answer,
    error: object_store::Error,
) -> PutOutcome {
    let failure = |kind| StoreError::new("put", key, kind).caused_by(error);
    match answer {
        Answer::Taken => PutOutcome::Exists,
        Answer::Missing | Answer::NoBucket => {
            PutOutcome::Refused(failure(StoreErrorKind::NoBucket))
        }
        Answer::Denied => PutOutcome::Refused(failure(StoreErrorKind::Denied)),
        Answer::Full => PutOutcome::Refused(failure(StoreErrorKind::Full)),
        Answer::Unsupported | Answer::RangePastEnd => {
            PutOutcome::Refused(failure(StoreErrorKind::Unsupported))
        }
        Answer::NotSent => PutOutcome::Refused(failure(StoreErrorKind::Retry)),
        Answer::Throttled => PutOutcome::Unknown(failure(StoreErrorKind::Throttled)),
        Answer::Passing | Answer::CredentialsExpired => {
            PutOutcome::Unknown(failure(StoreErrorKind::Retry))
        }
    }
}

/// What may be done about a failed request that is safe to repeat.
pub(super) fn classify_read(answer: Answer) -> StoreErrorKind {
    match answer {
        Answer::NoBucket => StoreErrorKind::NoBucket,
        Answer::Denied => StoreErrorKind::Denied,
        Answer::Throttled => StoreErrorKind::Throttled,
        Answer::Full => StoreErrorKind::Full,
        Answer::Unsupported => StoreErrorKind::Unsupported,
        Answer::Taken
        | Answer::Missing
        | Answer::RangePastEnd
        | Answer::NotSent
        | Answer::Passing
        | Answer::CredentialsExpired => StoreErrorKind::Retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_and_code_say_what_may_be_done() {
        let code = |code: &str| format!("<Error><Code>{code}</Code></Error>");
        for (status, body, wanted) in [
            (412, String::new(), Answer::Taken),
            (409, code("ConditionalRequestConflict"), Answer::Passing),
            (304, String::new(), Answer::Passing),
            (404, code("NoSuchKey"), Answer::Missing),
            (404, code("NoSuchBucket"), Answer::NoBucket),
            (403, code("SignatureDoesNotMatch"), Answer::Denied),
            (400, code("ExpiredToken"), Answer::CredentialsExpired),
            (403, code("InvalidToken"), Answer::CredentialsExpired),
            (400, code("BadDigest"), Answer::Passing),
            (400, code("InvalidArgument"), Answer::Unsupported),
            (501, code("NotImplemented"), Answer::Unsupported),
            (500, code("InternalError"), Answer::Passing),
            (503, code("SlowDown"), Answer::Throttled),
            (429, String::new(), Answer::Throttled),
            (507, code("XMinioStorageFull"), Answer::Full),
            (416, String::new(), Answer::RangePastEnd),
            (301, String::new(), Answer::Unsupported),
            (408, String::new(), Answer::Passing),
        ] {
            let status = StatusCode::from_u16(status).unwrap();

            assert_eq!(answer_of_status(status, &body), wanted, "{status} {body}");
        }
    }
}
