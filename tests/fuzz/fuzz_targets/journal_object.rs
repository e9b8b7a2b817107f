//! Objects of the journal, as they come and with the header made to fit: no panic, memory bounded
//! by the input.
#![no_main]

use bytes::Bytes;
use esker_types::{ClusterId, ObjectHeader, ObjectKind, WriteId};
use libfuzzer_sys::fuzz_target;

const CLUSTER: ClusterId = ClusterId::from_bytes([2; 16]);
const KINDS: [ObjectKind; 5] = [
    ObjectKind::JournalHead,
    ObjectKind::JournalEntry,
    ObjectKind::JournalSeal,
    ObjectKind::SnapshotPart,
    ObjectKind::SnapshotDone,
];

fuzz_target!(|bytes: &[u8]| {
    let _ = esker_journal::check_object(CLUSTER, &Bytes::copy_from_slice(bytes));
    let Some((kind, body)) = bytes.split_first() else {
        return;
    };
    let header = ObjectHeader {
        kind: KINDS[usize::from(*kind) % KINDS.len()],
        cluster: CLUSTER,
        write_id: WriteId::from_bytes([1; 16]),
        body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
        body_crc: crc32c::crc32c(body),
    };
    let object = Bytes::from([header.encode().as_slice(), body].concat());
    if let Ok(found) = esker_journal::check_object(CLUSTER, &object) {
        assert_eq!(found, header.kind);
    }
});
