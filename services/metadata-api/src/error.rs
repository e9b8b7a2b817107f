//! Why a call to the metadata service had no answer.

/// What the caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataErrorKind {
    /// No leader answers now: try again, the outcome of this call is as [`MetadataError`] says.
    Retry,
    /// The answering leader is deposed: ask the new one.
    Fenced,
}

/// A call that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The service is still replaying its journal or reading chains; nothing was done.
    #[error("metadata service is recovering")]
    Recovering,
    /// No leader could be reached before anything was sent.
    #[error("no metadata leader answers")]
    Unavailable,
    /// The call was sent and its outcome is unknown.
    #[error("outcome of the metadata call is unknown")]
    Unknown,
    /// The leader found out that it is deposed; what it was asked is unknown.
    #[error("metadata leader was deposed")]
    Deposed,
    /// The queue in front of the leader is full; nothing was done.
    #[error("metadata service is overloaded")]
    Overloaded,
}

impl MetadataError {
    /// What may be done about it.
    #[must_use]
    pub fn kind(self) -> MetadataErrorKind {
        match self {
            Self::Recovering | Self::Unavailable | Self::Unknown | Self::Overloaded => {
                MetadataErrorKind::Retry
            }
            Self::Deposed => MetadataErrorKind::Fenced,
        }
    }
}
