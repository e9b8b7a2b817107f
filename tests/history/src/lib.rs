//! Checks histories of client operations against the promises P1 to P7 (docs/history.md).
//!
//! Invariants: a clean history never gets an anomaly; what the rules of an anomaly describe is
//! always found; a history that cannot be understood is an error, never clean. Limits: `limits.rs`.
//! Cost: one pass, O(1) an event and a record, then O(p log p) for p pages of 64 offsets; about
//! 120 bytes a record and 150 an operation; measured by the property test. A second pass of the
//! file fetches the cited lines. Pure but for `reader` and the binary.

mod anomaly;
mod checker;
mod cycles;
mod error;
mod findings;
mod finish;
pub mod format;
mod groups;
pub mod limits;
mod log;
mod partition_end;
mod polls;
mod reader;
mod report;
mod sends;
mod tables;
mod transactions;
mod watermarks;

pub use anomaly::{Anomaly, Kind};
pub use checker::Checker;
pub use error::HistoryError;
pub use reader::{add_excerpts, check, check_file};
pub use report::{Figures, Report};
