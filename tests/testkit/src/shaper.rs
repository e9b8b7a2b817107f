//! The S3 shaping proxy: counts requests, shapes latency, injects faults, in front of any store.
//!
//! HTTP/1.1, path-style addresses, Host unchanged so that signatures stay valid. One upstream
//! connection per client connection. Control below `/__shaper/`: `GET report`, `GET decisions`,
//! `POST rules`, `POST reset`. Vocabulary of faults: reliability design, section 4.

mod decisions;
mod listing;
mod profile;
mod proxy;
mod report;
mod rules;
mod serve;
#[cfg(test)]
mod tests;
mod upstream;

pub use decisions::{Decision, DecisionLog};
pub use profile::Profile;
pub use report::{FaultCount, LatencySummary, RequestCount, ShaperReport, StoreOperation};
pub use rules::{Reply, Rule, ShapedFault};
pub use serve::{Shaper, ShaperConfig, ShaperHandle};
