//! Stored bytes of commands and snapshots: the writer, the readers of single fields, the error.

use std::time::Duration;

use bytes::Bytes;
use esker_types::{ByteReader, ShortBytes, Timestamp};

use crate::limits::GROUP_TEXT_BYTES_MAX;

/// Why bytes are not a command or snapshot of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupCodecError {
    /// They end early, or a count is larger than what follows can hold.
    #[error("group command ends early")]
    Short(#[source] ShortBytes),
    /// Written by a newer Esker: upgrade before reading.
    #[error("group command has version {version}, this build knows 1")]
    Version {
        /// The version found.
        version: u8,
    },
    /// Right version but no kind we know.
    #[error("group command is of unknown kind {kind}")]
    Kind {
        /// The kind found.
        kind: u8,
    },
    /// Not UTF-8, or too long.
    #[error("text in a group command is not valid")]
    Text,
    /// A value that its type does not have.
    #[error("{field} in a group command is out of range")]
    OutOfRange {
        /// Which value.
        field: &'static str,
    },
    /// More bytes than the command has.
    #[error("group command is followed by {count} bytes")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// Fields that contradict each other: a leader that is no member, offsets of an unknown group.
    #[error("group command contradicts itself")]
    Inconsistent,
}

impl From<ShortBytes> for GroupCodecError {
    fn from(short: ShortBytes) -> Self {
        Self::Short(short)
    }
}

/// Appends big-endian values.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i64(&mut self, value: i64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn timestamp(&mut self, value: Timestamp) -> &mut Self {
        self.raw(&value.millis().to_be_bytes())
    }

    /// Whole milliseconds, saturating.
    pub(crate) fn millis(&mut self, value: Duration) -> &mut Self {
        self.u32(u32::try_from(value.as_millis()).unwrap_or(u32::MAX))
    }

    pub(crate) fn count(&mut self, value: usize) -> &mut Self {
        let count = u32::try_from(value);
        assert!(count.is_ok(), "collections are bounded far below 2^32");
        self.u32(count.unwrap_or(u32::MAX))
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        let length = u16::try_from(value.len());
        assert!(length.is_ok(), "texts are checked on arrival");
        self.raw(&length.unwrap_or(u16::MAX).to_be_bytes())
            .raw(value.as_bytes())
    }

    pub(crate) fn optional_text(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            None => self.u8(0),
            Some(text) => self.u8(1).text(text),
        }
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.count(value.len()).raw(value)
    }
}

pub(crate) fn text(from: &mut ByteReader<'_>) -> Result<String, GroupCodecError> {
    let length = usize::from(from.u16()?);
    if length > GROUP_TEXT_BYTES_MAX {
        return Err(GroupCodecError::Text);
    }
    let bytes = from.take(length)?;
    let text = std::str::from_utf8(bytes).map_err(|_| GroupCodecError::Text)?;
    Ok(text.to_owned())
}

pub(crate) fn flag(from: &mut ByteReader<'_>) -> Result<bool, GroupCodecError> {
    match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(GroupCodecError::OutOfRange { field: "flag" }),
    }
}

pub(crate) fn number<T>(value: Option<T>, field: &'static str) -> Result<T, GroupCodecError> {
    value.ok_or(GroupCodecError::OutOfRange { field })
}

pub(crate) fn finish(from: &ByteReader<'_>) -> Result<(), GroupCodecError> {
    match from.remaining() {
        0 => Ok(()),
        count => Err(GroupCodecError::Trailing { count }),
    }
}
