//! F2: whatever the guard passes, the codec reads whole, and writes back as the same request.
#![no_main]

use bytes::{Bytes, BytesMut};
use esker_kafka::{decode_request, guard_frame, limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let Ok(guarded) = guard_frame(frame) else {
        return;
    };
    let most = frame.len() * limits::DECODED_FACTOR + limits::DECODED_SLACK_BYTES;
    assert!(guarded.memory_bytes <= most);
    let (_, request) = decode_request(&guarded, Bytes::copy_from_slice(frame))
        .expect("what the guard passes, the codec reads");
    let mut body = BytesMut::new();
    if request.encode_body(&mut body, guarded.version).is_err() {
        return; // a tag that the version has, with a value that it cannot write
    }
    let mut again = BytesMut::from(&frame[..guarded.header_bytes]);
    again.extend_from_slice(&body);
    let (_, _, second) =
        esker_kafka::decode_frame(again.freeze()).expect("what the codec writes, the guard passes");
    assert_eq!(second, request);
});
