//! CRC-32C of a whole from the checksums of its parts, so that record bytes are summed once: when
//! they are admitted. What is changed or copied wrongly after that fails the segment's checksum.
//!
//! Appending `n` bytes to a text multiplies its checksum by x^(8n) modulo the polynomial and adds
//! that of the bytes. Bit-reflected, as the checksum itself. Cost: some 60 ns for bytes of the
//! length before, else about a microsecond. Source: zlib's `crc32_combine`, RFC 3720 appendix B.4.

/// The polynomial of CRC-32C, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// 1 as a reflected polynomial.
const ONE: u32 = 1 << 31;
/// `x^(8 * 2^i)` for each bit of a length in bytes.
const POWERS: [u32; 32] = powers();

/// The product of two polynomials modulo the one of CRC-32C.
const fn multiply(left: u32, mut right: u32) -> u32 {
    let mut product = 0;
    let mut bit = ONE;
    while bit != 0 {
        if left & bit != 0 {
            product ^= right;
        }
        let carry = right & 1 != 0;
        right >>= 1;
        if carry {
            right ^= POLYNOMIAL;
        }
        bit >>= 1;
    }
    product
}

const fn powers() -> [u32; 32] {
    let mut powers = [0; 32];
    // x, then squared three times: one byte.
    let mut power = 1 << 30;
    let mut count = 0;
    while count < 3 {
        power = multiply(power, power);
        count += 1;
    }
    let mut place = 0;
    while place < 32 {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            powers[place] = power;
        }
        power = multiply(power, power);
        place += 1;
    }
    powers
}

/// The checksum of bytes that are appended piece by piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JoinedCrc {
    crc: u32,
    /// The last length of a summed piece, and what it multiplies by: pieces are often alike.
    shift: (u32, u32),
}

impl JoinedCrc {
    pub(crate) fn new() -> Self {
        Self {
            crc: 0,
            shift: (0, ONE),
        }
    }

    /// Appends bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.crc = esker_types::crc32c_append(self.crc, bytes);
    }

    /// Appends `byte_count` bytes whose checksum is `crc`.
    pub(crate) fn summed(&mut self, crc: u32, byte_count: u32) {
        if self.shift.0 != byte_count {
            self.shift = (byte_count, shift(byte_count));
        }
        self.crc = multiply(self.shift.1, self.crc) ^ crc;
    }

    pub(crate) fn finish(self) -> u32 {
        self.crc
    }
}

/// `x^(8 * byte_count)`.
fn shift(byte_count: u32) -> u32 {
    let bits = POWERS.iter().enumerate();
    let set = bits.filter(|(place, _)| byte_count >> place & 1 != 0);
    set.fold(ONE, |product, (_, power)| multiply(product, *power))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..600)
    }

    proptest! {
        #[test]
        fn pieces_give_the_checksum_of_the_whole(
            pieces in prop::collection::vec((any::<bool>(), bytes()), 0..8)
        ) {
            let mut joined = JoinedCrc::new();
            let mut whole = Vec::new();
            for (is_summed, piece) in &pieces {
                match is_summed {
                    true => {
                        let byte_count = u32::try_from(piece.len()).unwrap();
                        joined.summed(crc32c::crc32c(piece), byte_count);
                    }
                    false => joined.bytes(piece),
                }
                whole.extend_from_slice(piece);
            }

            prop_assert_eq!(joined.finish(), crc32c::crc32c(&whole));
        }
    }

    #[test]
    fn long_pieces_and_pieces_of_one_length_count_too() {
        let piece: Vec<u8> = (0..=255).cycle().take(3_000_001).collect();
        let mut joined = JoinedCrc::new();
        let byte_count = u32::try_from(piece.len()).unwrap();

        joined.summed(crc32c::crc32c(&piece), byte_count);
        joined.summed(crc32c::crc32c(&piece), byte_count);

        assert_eq!(
            joined.finish(),
            crc32c::crc32c(&[&piece[..], &piece].concat())
        );
        assert_eq!(shift(0), ONE);
    }
}
