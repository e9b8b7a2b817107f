//! Audits a bucket, and rebuilds its journal from the segments.
//!
//! Called by `esker verify` and `esker rebuild`, and by tests on any bucket ([`audit_bucket`]).
//! Reads with the decoders of `journal`, `chain` and `segment`, judges by the rules of the commit
//! protocol (C, G, H, CP) and of the journal (J). An audit writes nothing; a rebuild deletes and
//! overwrites nothing. Memory: the state that a leader has, an entry for each segment it refers to,
//! a page of a listing and the objects under way. Operators: docs/verify-and-rebuild.md.

mod audit;
mod chain_judge;
mod clusters;
mod error;
mod finding;
mod index_check;
mod journal_audit;
pub mod limits;
mod listing;
mod read;
mod rebuild;
mod remains;
mod report;
mod rolls;
mod sessions_audit;
mod stray_keys;
mod watch;

pub use audit::{AuditParts, Depth, audit, audit_bucket};
pub use clusters::find_clusters;
pub use error::{AuditError, RebuildError};
pub use finding::{Finding, FindingKind, Findings, Severity};
pub use rebuild::{RebuildPlan, RebuildReport, rebuild};
pub use report::{AuditFigures, AuditReport};
pub use watch::{Silent, Watch};
