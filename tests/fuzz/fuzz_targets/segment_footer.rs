//! F8: any bytes as a footer, as the end of a segment and as a whole one: no panic; what decodes
//! is written back as the same bytes.
#![no_main]

use esker_segment::{SegmentFooter, TailRead, check_segment, read_tail};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(footer) = SegmentFooter::decode(bytes) {
        assert_eq!(footer.encode(), bytes);
        assert!(footer.extents().len() <= footer.batches.len());
    }
    let object_bytes = u64::try_from(bytes.len()).expect("the fuzzer's inputs are small");
    for tail in [bytes, &bytes[bytes.len() / 2..]] {
        if let Ok(TailRead::NeedMore { tail_bytes }) = read_tail(object_bytes, tail) {
            assert!(tail_bytes <= object_bytes);
        }
    }
    let _ = check_segment(bytes);
    // The same bytes behind a right trailer: the fuzzer comes past the checksum.
    let length = u32::try_from(bytes.len()).expect("the fuzzer's inputs are small");
    let crc = crc32c::crc32c_append(crc32c::crc32c(bytes), &length.to_be_bytes());
    let tail = [bytes, &length.to_be_bytes(), &crc.to_be_bytes(), b"ESKF"].concat();
    let _ = read_tail(1 << 24, &tail);
});
