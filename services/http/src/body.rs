//! Request bodies: JSON with an error that says where, and query parameters with none unknown.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::problem::{Problem, ProblemKind};

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

    pub(crate) fn end(self) -> Result<(), Problem> {
        match self.0.first_key_value() {
            Some((name, _)) => Err(bad(format!("parameter {name:?} is not known here"))),
            None => Ok(()),
        }
    }
}
