//! Stored bytes of the log state: what decodes, encodes to something that decodes the same, and any
//! row of commands leaves a state whose snapshot restores it.
#![no_main]

use bytes::Bytes;
use esker_sequencer::{LogCommand, LogState, limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(state) = LogState::restore(&[Bytes::copy_from_slice(bytes)]) {
        let parts = state.snapshot(limits::SNAPSHOT_PART_BYTES_MIN);
        assert_eq!(LogState::restore(&parts), Ok(state));
    }
    let mut state = LogState::empty();
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length));
        let (command, behind) = behind.split_at(behind.len().min(length));
        rest = behind;
        let Ok(command) = LogCommand::decode(command) else {
            continue;
        };
        assert_eq!(LogCommand::decode(&command.encode()), Ok(command.clone()));
        let before = state.clone();
        if state.apply(&command, &|_| true).is_err() {
            assert_eq!(state, before, "a refused command changes nothing");
        }
    }
    let parts = state.snapshot(limits::SNAPSHOT_PART_BYTES_MIN);
    assert_eq!(LogState::restore(&parts), Ok(state));
});
