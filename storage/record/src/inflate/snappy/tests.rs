//! Snappy: both shapes read, each damage named, output bounded by input.

use super::*;
use crate::forge;

fn read(input: &[u8]) -> Result<Vec<u8>, SnappyError> {
    let mut stream = Stream::open(Bytes::copy_from_slice(input))?;
    let mut plain = Vec::new();
    let mut piece = [0; 1000];
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok(plain),
            count => plain.extend_from_slice(&piece[..count]),
        }
    }
}

fn text(bytes: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(bytes).collect()
}

#[test]
fn raw_and_framed_streams_read_alike() {
    for bytes in [1, XERIAL_BLOCK_BYTES, XERIAL_BLOCK_BYTES + 1, 100_000] {
        let plain = text(bytes);

        assert_eq!(read(&forge::snappy(&plain)).unwrap(), plain);
        assert_eq!(read(&compress(&plain)).unwrap(), plain);
    }
    assert_eq!(read(&compress(&[])).unwrap(), []);
    assert_eq!(read(&[]).unwrap(), []);
}

#[test]
fn framing_cut_anywhere_is_an_error_or_a_whole_number_of_blocks() {
    let framed = compress(&text(2 * XERIAL_BLOCK_BYTES));

    for cut in 1..framed.len() {
        match read(&framed[..cut]) {
            Ok(plain) => assert_eq!(plain.len() % XERIAL_BLOCK_BYTES, 0, "cut at {cut}"),
            Err(SnappyError::Short(_)) => assert!(cut >= 8),
            Err(error) => assert!(cut < 8, "cut at {cut}: {error:?}"),
        }
    }
}

#[test]
fn a_block_cannot_claim_more_than_its_bytes_can_become() {
    // 2^26 as a varint, then nothing: 4 bytes that ask for 64 MiB.
    let claim = [0x80, 0x80, 0x80, 0x20];
    let most = 4 * SNAPPY_RATIO_MAX;

    let error = read(&claim).unwrap_err();

    assert!(matches!(
        error,
        SnappyError::BlockBytes {
            compressed_bytes: 4,
            block_bytes: 67_108_864
        }
    ));
    let one_past = u8::try_from(most + 1).unwrap();
    assert!(matches!(
        read(&[one_past, 0, 0, 0]),
        Err(SnappyError::BlockBytes { .. })
    ));
    assert!(matches!(
        read(&[one_past - 1, 0, 0, 0]),
        Err(SnappyError::Block(_))
    ));
}

#[test]
fn the_best_case_of_snappy_stays_below_the_ratio() {
    let zeros = vec![0; 1 << 20];

    let packed = forge::snappy(&zeros);

    let most = packed.len() * usize::try_from(SNAPPY_RATIO_MAX).unwrap();
    assert!(most > zeros.len());
    assert_eq!(read(&packed).unwrap(), zeros);
}

#[test]
fn a_block_that_reaches_before_its_start_or_is_cut_is_an_error() {
    let reaching = [4, 0x01, 0x05]; // four bytes, copied from five before the first
    let cut = &forge::snappy(&text(500))[..40];

    for block in [&reaching[..], cut] {
        assert!(matches!(read(block), Err(SnappyError::Block(_))));
    }
}
