//! What the black-box tests share: stores, foreign programs, the HTTP API from outside.
//!
//! A tool that is missing fails the test that needs it: `.ci/bootstrap` installs them all.

mod http_api;
mod kafka_tools;
mod kcat;
pub mod load;
mod program;
mod reference;
mod store;
mod wire;

pub use http_api::{Answer, HttpApi, HttpRecord};
pub use kafka_tools::KafkaTools;
pub use kcat::{Kcat, KcatRecord};
pub use program::{Program, Ran, bootstrapped, esker, proved};
pub use reference::ReferenceBroker;
pub use store::{StoreKind, TestStore};
pub use wire::{Wire, cluster_id, request};
