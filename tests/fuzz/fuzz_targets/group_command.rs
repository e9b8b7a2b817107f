//! Group commands and group snapshots: any bytes are refused or read back as the same bytes.
#![no_main]

use bytes::Bytes;
use esker_groups::{GroupCommand, GroupOffsets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = GroupCommand::decode(bytes) {
        assert_eq!(command.encode(), bytes, "one command has one form");
        let mut offsets = GroupOffsets::default();
        offsets.apply(&command, &|_| true);
        let again = GroupOffsets::restore(&offsets.snapshot());
        assert_eq!(again.expect("a snapshot of ours reads back"), offsets);
    }
    if let Ok(offsets) = GroupOffsets::restore(&[Bytes::copy_from_slice(bytes)]) {
        let again = GroupOffsets::restore(&offsets.snapshot());
        assert_eq!(again.expect("a snapshot of ours reads back"), offsets);
    }
});
