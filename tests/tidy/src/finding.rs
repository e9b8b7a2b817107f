//! What a check found: where, which rule, and what to do.

use std::fmt::{Display, Formatter, Result};

/// One breach of a rule. Ordered by path, line, rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path from the root of the tree.
    pub path: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Name of the rule, as in `exceptions.toml`.
    pub rule: &'static str,
    /// What is wrong.
    pub message: String,
}

impl Finding {
    pub(crate) fn new(
        rule: &'static str,
        path: &str,
        line: usize,
        message: impl Into<String>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            line,
            rule,
            message: message.into(),
        }
    }
}

impl Display for Finding {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let Self {
            path,
            line,
            rule,
            message,
        } = self;
        write!(formatter, "{path}:{line} {rule} {message}")
    }
}
