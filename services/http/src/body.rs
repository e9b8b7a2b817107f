//! Request bodies: JSON with an error that says where, and query parameters with none unknown.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::front::Front;
use crate::limits::{BODY_BYTES_MAX, BODY_TIME_MAX};
use crate::problem::{Problem, ProblemKind};

/// A body that came whole, and the memory it was promised for as long as it is worked on.
#[derive(Debug)]
pub(crate) struct WholeBody {
    pub(crate) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl FromRequest<Arc<Front>> for WholeBody {
    type Rejection = Problem;

    async fn from_request(request: Request, front: &Arc<Front>) -> Result<Self, Problem> {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        Self::read(front, request.into_body(), length).await
    }
}

impl WholeBody {
    /// Reads a body to its end, within its limits in bytes and time.
    pub(crate) async fn read(
        front: &Front,
        body: Body,
        length: Option<usize>,
    ) -> Result<Self, Problem> {
        let mut body = body.into_data_stream();
        if length.is_some_and(|length| length > BODY_BYTES_MAX) {
            return Err(too_large(front, &mut body).await);
        }
        let room = front.places.body(length.unwrap_or(BODY_BYTES_MAX))?;
        let reading = async {
            let mut whole = Vec::with_capacity(length.unwrap_or(0));
            while let Some(frame) = body.next().await {
                let frame = frame.map_err(|_| bad("the body broke off"))?;
                if whole.len().saturating_add(frame.len()) > BODY_BYTES_MAX {
                    return Err(too_large(front, &mut body).await);
                }
                whole.extend_from_slice(&frame);
            }
            Ok(Bytes::from(whole))
        };
        let read = esker_env::timeout(&*front.env.clock, BODY_TIME_MAX, reading).await;
        let bytes = read.map_err(|_| {
            let detail = format!("the body did not come within {BODY_TIME_MAX:?}");
            Problem::new(ProblemKind::Timeout, detail)
        })??;
        Ok(Self { bytes, _room: room })
    }
}

async fn too_large(front: &Front, body: &mut BodyDataStream) -> Problem {
    front.drain(body).await;
    let detail = format!("a body has at most {BODY_BYTES_MAX} bytes, a stream has no such limit");
    Problem::new(ProblemKind::TooLarge, detail)
}

pub(crate) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::BadRequest, detail)
}

/// Reads a JSON body, whatever its content type says: curl's default is a form.
pub(crate) fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| bad(format!("body is not the JSON wanted: {error}")))
}

/// Query parameters, taken out one by one; what is left over is refused by name.
#[derive(Debug)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut parameters = BTreeMap::new();
        for (name, value) in pairs {
            if parameters.insert(name.clone(), value).is_some() {
                return Err(bad(format!("parameter {name:?} is given twice")));
            }
        }
        Ok(Self(parameters))
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// A number up to `most`; a larger one is an error, not cut.
    pub(crate) fn number(&mut self, name: &str, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.0.remove(name) else {
            return Ok(None);
        };
        let number = text.parse().ok().filter(|number| *number <= most);
        let wanted = || {
            bad(format!(
                "parameter {name:?} must be a number from 0 to {most}"
            ))
        };
        number.map(Some).ok_or_else(wanted)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.0.remove(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(bad(format!("parameter {name:?} must be true or false"))),
        }
    }

    pub(crate) fn end(self) -> Result<(), Problem> {
        match self.0.first_key_value() {
            Some((name, _)) => Err(bad(format!("parameter {name:?} is not known here"))),
            None => Ok(()),
        }
    }
}
