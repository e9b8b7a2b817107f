//! Why a history cannot be checked. Nothing is said about it then: bad input is never "no anomaly".

/// A line that is no part of a history, or a history past a limit.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be read.
    #[error("read of the history failed behind line {line}")]
    Io {
        /// Last line that was read.
        line: u64,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A line is not what the format says.
    #[error("line {line} is no line of a history")]
    Syntax {
        /// The line.
        line: u64,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// There is no header, or not a line behind it was complete.
    #[error("history has no header")]
    NoHeader,
    /// The header names another version.
    #[error("history has version {found}, not {}", crate::format::FORMAT_VERSION)]
    Version {
        /// The version found.
        found: u32,
    },
    /// Time went back.
    #[error("line {line} is earlier than the line before it")]
    Time {
        /// The line.
        line: u64,
    },
    /// The line contradicts the lines before it.
    #[error("line {line}: {rule}")]
    Contradiction {
        /// The line.
        line: u64,
        /// The rule of the format that it breaks.
        rule: &'static str,
    },
    /// More than a limit allows.
    #[error("line {line}: more than {limit} of {what}")]
    Limit {
        /// The line.
        line: u64,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}
