//! Request bodies: JSON with an error that says where, and query parameters with none unknown.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use futures::StreamExt as _;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
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
        // Without a length room grows as bytes come.
        let mut room = front.places.body(length.unwrap_or(0))?;
        let reading = async {
            let mut whole = Vec::with_capacity(length.unwrap_or(0));
            while let Some(frame) = body.next().await {
                let frame = frame.map_err(|_| bad("the body broke off"))?;
                let wanted = whole.len().saturating_add(frame.len());
                if wanted > BODY_BYTES_MAX {
                    return Err(too_large(front, &mut body).await);
                }
                let held = room.num_permits();
                if wanted > held {
                    let capacity = wanted.max(held.saturating_mul(2)).min(BODY_BYTES_MAX);
                    match front.places.body(capacity - held) {
                        Ok(more) => room.merge(more),
                        Err(problem) => {
                            front.drain(&mut body).await;
                            return Err(problem);
                        }
                    }
                    whole.reserve_exact(capacity - whole.len());
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

/// A JSON object. Without it serde takes an array for any struct, member by member.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wanted<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Wanted<T> {
            type Value = T;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Wanted(PhantomData)).map(Self)
    }
}

/// A JSON array of which only the first `MOST` elements and one more are kept, the sign that there
/// are too many: small elements take far more memory than text.
#[derive(Debug)]
pub(crate) struct AtMost<T, const MOST: usize>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for AtMost<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wanted<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Wanted<T, MOST> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<T>, A::Error> {
                let mut kept = Vec::new();
                while kept.len() <= MOST {
                    match array.next_element()? {
                        Some(element) => kept.push(element),
                        None => return Ok(kept),
                    }
                }
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(kept)
            }
        }
        deserializer
            .deserialize_seq(Wanted::<T, MOST>(PhantomData))
            .map(Self)
    }
}

/// Reads a JSON body, whatever its content type says: curl's default is a form.
pub(crate) fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map(|Object(body)| body)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_element_past_the_most_is_kept_and_the_rest_only_read() {
        let kept = |json: &str| serde_json::from_str(json).map(|AtMost::<u8, 2>(kept)| kept);

        assert_eq!(kept("[1]").unwrap(), [1]);
        assert_eq!(kept("[1,2,3]").unwrap(), [1, 2, 3]);
        assert_eq!(kept("[1,2,3,4,{}]").unwrap(), [1, 2, 3]);
        assert!(kept("[1,2,3,4").is_err());
        assert!(kept("{}").is_err());
    }
}
