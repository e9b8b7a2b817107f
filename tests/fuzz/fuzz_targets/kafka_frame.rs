//! F1: a stream of length-prefixed frames, any keys and versions: no panic, no unbounded memory.
#![no_main]

use bytes::Bytes;
use esker_kafka::{decode_frame, limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let mut stream = Bytes::copy_from_slice(stream);
    while stream.len() >= 4 {
        let length = stream.split_to(4);
        let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        let Ok(length) = usize::try_from(length) else {
            return;
        };
        if length < limits::FRAME_BYTES_MIN || length > stream.len() {
            return;
        }
        // Either outcome is fine; a disagreement of guard and codec is not.
        if let Err(error @ esker_kafka::DecodeError::Codec { .. }) =
            decode_frame(stream.split_to(length))
        {
            panic!("{error:?}");
        }
    }
});
