//! CRC-32C (Castagnoli, RFC 3720 appendix B.4): the one checksum of Kafka's batches and of ours.
//!
//! By the processor's carry-less multiplication where it has one (`crc-fast`): from 16 KiB on half
//! again as fast as its CRC instruction alone, and several times where vectors are wide.

use crc_fast::{CrcAlgorithm, Digest};

/// What the register is flipped by in front and behind.
const FLIP: u32 = u32::MAX;

/// The checksum of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The checksum of `bytes` behind others whose checksum is `crc` (0 for none).
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    let register = u64::from(crc ^ FLIP);
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, register);
    digest.update(bytes);
    // The register is 32 bits wide: nothing is cut off.
    u32::try_from(digest.finalize()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_check_value_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c_append(7, b""), 7);
    }

    proptest! {
        #[test]
        fn agrees_with_another_implementation_however_the_bytes_are_cut(
            bytes in proptest::collection::vec(any::<u8>(), 0..5000),
            cut in any::<prop::sample::Index>(),
        ) {
            let (front, behind) = bytes.split_at(cut.index(bytes.len() + 1));

            prop_assert_eq!(crc32c(&bytes), ::crc32c::crc32c(&bytes));
            prop_assert_eq!(crc32c_append(crc32c(front), behind), crc32c(&bytes));
        }
    }
}
