//! Checks of what arrives, before anything is done with it.

use bytes::Bytes;
use esker_metadata_api::{GroupError, JoinGroup};

use crate::GroupConfig;
use crate::limits::{
    GROUP_TEXT_BYTES_MAX, MEMBER_METADATA_BYTES_MAX, MEMBER_OVERHEAD_BYTES, MEMBER_PROTOCOLS_MAX,
};
use crate::member::protocol_bytes;

/// A group that has members has a name. (Offsets may be stored under the empty one, as in Kafka.)
pub(crate) fn check_group(group: &str) -> Result<(), GroupError> {
    if group.is_empty() {
        Err(GroupError::InvalidGroup)
    } else {
        check_text(group)
    }
}

pub(crate) fn check_text(group: &str) -> Result<(), GroupError> {
    if group.len() > GROUP_TEXT_BYTES_MAX {
        Err(GroupError::InvalidGroup)
    } else {
        Ok(())
    }
}

/// Sizes and timeouts of a Join.
pub(crate) fn check_join(request: &JoinGroup, config: &GroupConfig) -> Result<(), GroupError> {
    check_group(&request.group)?;
    let allowed = config.session_timeout_min..=config.session_timeout_max;
    if !allowed.contains(&request.session_timeout) {
        return Err(GroupError::InvalidSessionTimeout);
    }
    let texts = [
        &request.member,
        &request.client_id,
        &request.client_host,
        &request.protocol_type,
    ];
    let names = request
        .protocols
        .iter()
        .map(|(name, _): &(String, Bytes)| name);
    let mut texts = texts.into_iter().chain(&request.instance).chain(names);
    if texts.any(|text| text.len() > GROUP_TEXT_BYTES_MAX)
        || request.protocols.len() > MEMBER_PROTOCOLS_MAX
        || protocol_bytes(&request.protocols) > MEMBER_METADATA_BYTES_MAX
    {
        return Err(GroupError::GroupFull);
    }
    Ok(())
}

/// What a Join may add to its group: as the member counts, with the longest id it may be given.
pub(crate) fn join_bytes(request: &JoinGroup) -> usize {
    let instance = request.instance.as_ref().map_or(0, String::len);
    let id = request.member.len().max(crate::join::MEMBER_ID_BYTES_MAX);
    let texts = id + instance + request.client_id.len() + request.client_host.len();
    texts + protocol_bytes(&request.protocols) + MEMBER_OVERHEAD_BYTES
}
