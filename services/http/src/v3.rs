//! The part of Confluent's REST API, version 3, that producers and their set-up need.
//!
//! Clusters, topics, partitions, settings, and `POST …/records` in its streaming form. Errors are
//! theirs: `{"error_code": …, "message": …}`. Source: Confluent REST Proxy's OpenAPI document.

mod error;
mod json_split;
pub(crate) mod records;
pub(crate) mod resources;
mod time;

pub(crate) use error::V3Error;
