//! Refusals: a server did not take the request up, nothing was done. They travel as the details of
//! a gRPC status; any other status but OK says nothing about the outcome.

use bytes::Bytes;
use prost::Message as _;
use tonic::{Code, Status};

use crate::proto::Refusal;
use crate::proto::refusal::Reason;

/// The status that tells `reason`.
pub(crate) fn status_of(reason: Reason) -> Status {
    let (code, message) = match &reason {
        Reason::Protocols(_) => (
            Code::FailedPrecondition,
            "protocol version is not spoken here",
        ),
        Reason::OtherCluster(_) => (Code::FailedPrecondition, "this is another cluster"),
        Reason::Malformed(_) => (Code::InvalidArgument, "request makes no sense here"),
        Reason::TooLarge(_) => (Code::OutOfRange, "request has too many bytes"),
        Reason::Overloaded(_) => (Code::ResourceExhausted, "too many calls or bytes in flight"),
        Reason::Stopping(_) => (Code::Unavailable, "server is about to end"),
    };
    let details = Refusal {
        reason: Some(reason),
    };
    Status::with_details(code, message, Bytes::from(details.encode_to_vec()))
}

/// The refusal that `status` tells; `None` when the outcome is not known from it.
pub(crate) fn reason_of(status: &Status) -> Option<Reason> {
    if status.code() == Code::Ok || status.details().is_empty() {
        return None;
    }
    Refusal::decode(status.details()).ok()?.reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ProtocolRange;
    use crate::proto::refusal::{Malformed, OtherCluster, Overloaded, Stopping, TooLarge};

    #[test]
    fn every_reason_is_told_and_read_back() {
        let reasons = [
            Reason::Protocols(ProtocolRange { min: 2, max: 3 }),
            Reason::OtherCluster(OtherCluster {
                cluster: Bytes::from_static(&[7; 16]),
            }),
            Reason::Malformed(Malformed {
                field: "batches".to_owned(),
            }),
            Reason::TooLarge(TooLarge { bytes_max: 9 }),
            Reason::Overloaded(Overloaded {}),
            Reason::Stopping(Stopping {}),
        ];

        for reason in reasons {
            assert_eq!(reason_of(&status_of(reason.clone())), Some(reason));
        }
    }

    #[test]
    fn a_status_without_a_known_reason_says_nothing() {
        let bare = Status::unavailable("a proxy's own words");
        // A refusal with a reason of field 99, which a later version may have.
        let newer = Status::with_details(Code::Aborted, "", Bytes::from_static(&[0x9a, 0x06, 0]));
        let noise = Status::with_details(Code::Aborted, "", Bytes::from_static(b"\xff\xff"));

        assert_eq!(reason_of(&bare), None);
        assert_eq!(reason_of(&newer), None);
        assert_eq!(reason_of(&noise), None);
    }
}
