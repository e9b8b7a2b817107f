//! One journal command: a change of the log, of groups or of the catalogue, behind a domain byte.

use bytes::{BufMut as _, Bytes, BytesMut};
use esker_groups::{GroupCodecError, GroupCommand};
use esker_journal::CommandError;
use esker_sequencer::{CodecError, LogCommand};

use crate::catalogue::{CatalogueCommand, CatalogueDecodeError};

/// Domains, as stored in front of a command.
const LOG: u8 = 1;
const GROUP: u8 = 2;
const CATALOGUE: u8 = 3;

fn join(domain: u8, bytes: &[u8]) -> Bytes {
    let mut stored = BytesMut::with_capacity(bytes.len() + 1);
    stored.put_u8(domain);
    stored.put_slice(bytes);
    stored.freeze()
}

/// A command of the metadata journal. Format: docs/formats/metadata-catalogue.md and its like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    Log(LogCommand),
    Group(GroupCommand),
    Catalogue(CatalogueCommand),
}

impl Command {
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Log(command) => join(LOG, &command.encode()),
            Self::Group(command) => join(GROUP, &command.encode()),
            Self::Catalogue(command) => join(CATALOGUE, &command.encode()),
        }
    }

    pub(crate) fn decode(stored: &Bytes) -> Result<Self, CommandError> {
        let (domain, bytes) = stored.split_first().ok_or(CommandError::Malformed)?;
        match *domain {
            LOG => LogCommand::decode(bytes).map(Self::Log).map_err(log_error),
            GROUP => GroupCommand::decode(bytes)
                .map(Self::Group)
                .map_err(group_error),
            CATALOGUE => CatalogueCommand::decode(bytes)
                .map(Self::Catalogue)
                .map_err(catalogue_error),
            _ => Err(CommandError::Malformed),
        }
    }
}

pub(crate) fn log_error(error: CodecError) -> CommandError {
    tracing::error!(%error, "log command or snapshot cannot be read");
    match error {
        CodecError::Version { version } => CommandError::UnknownVersion {
            version: u32::from(version),
        },
        _ => CommandError::Malformed,
    }
}

pub(crate) fn group_error(error: GroupCodecError) -> CommandError {
    tracing::error!(%error, "group command or snapshot cannot be read");
    match error {
        GroupCodecError::Version { version } => CommandError::UnknownVersion {
            version: u32::from(version),
        },
        _ => CommandError::Malformed,
    }
}

pub(crate) fn catalogue_error(error: CatalogueDecodeError) -> CommandError {
    tracing::error!(%error, "catalogue command or snapshot cannot be read");
    match error {
        CatalogueDecodeError::Version { version } => CommandError::UnknownVersion {
            version: u32::from(version),
        },
        _ => CommandError::Malformed,
    }
}
