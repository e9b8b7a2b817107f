//! Zigzag variable-length integers, as records use them. Bounded: 5 bytes for 32 bits, 10 for 64.

/// Most bytes of a 32-bit number.
pub(crate) const VARINT_BYTES_MAX: usize = 5;
/// Most bytes of a 64-bit number.
pub(crate) const VARLONG_BYTES_MAX: usize = 10;

/// A number that does not end, does not fit, or is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadVarint;

/// Reads a 64-bit number from the front of `bytes`; gives it and its length.
pub(crate) fn read_varlong(bytes: &[u8]) -> Result<(i64, usize), BadVarint> {
    let (value, length) = read_unsigned(bytes, VARLONG_BYTES_MAX)?;
    Ok((
        (value >> 1).cast_signed() ^ -(value & 1).cast_signed(),
        length,
    ))
}

/// Reads a 32-bit number from the front of `bytes`; gives it and its length.
pub(crate) fn read_varint(bytes: &[u8]) -> Result<(i32, usize), BadVarint> {
    let (value, length) = read_unsigned(bytes, VARINT_BYTES_MAX)?;
    let value = u32::try_from(value).map_err(|_| BadVarint)?;
    Ok((
        (value >> 1).cast_signed() ^ -(value & 1).cast_signed(),
        length,
    ))
}

fn read_unsigned(bytes: &[u8], bytes_max: usize) -> Result<(u64, usize), BadVarint> {
    let mut value = 0_u64;
    let mut shift = 0_u32;
    for (length, byte) in (1..=bytes_max).zip(bytes) {
        let low = u64::from(byte & 0x7f);
        let placed = low << shift;
        if placed >> shift != low {
            return Err(BadVarint);
        }
        value |= placed;
        if byte & 0x80 == 0 {
            return Ok((value, length));
        }
        shift += 7;
    }
    Err(BadVarint)
}

/// Appends a number; 32-bit ones have the same form.
pub(crate) fn put_varlong(bytes: &mut Vec<u8>, value: i64) {
    let mut left = (value << 1 ^ value >> 63).cast_unsigned();
    loop {
        let low = u8::try_from(left & 0x7f).unwrap_or(0x7f);
        left >>= 7;
        if left == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varlong(&mut bytes, value);
        bytes
    }

    #[test]
    fn known_numbers_have_their_known_bytes() {
        assert_eq!(written(0), [0]);
        assert_eq!(written(-1), [1]);
        assert_eq!(written(64), [0x80, 1]);
        assert_eq!(written(i64::from(i32::MIN)), [0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(written(i64::MAX).len(), VARLONG_BYTES_MAX);
    }

    #[test]
    fn a_number_that_is_cut_endless_or_too_wide_is_refused() {
        assert_eq!(read_varint(&[]), Err(BadVarint));
        assert_eq!(read_varint(&[0x80]), Err(BadVarint));
        assert_eq!(read_varint(&[0x80; 6]), Err(BadVarint));
        assert_eq!(read_varint(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(BadVarint));
        assert_eq!(read_varlong(&[0x80; 11]), Err(BadVarint));
        let mut wide = [0xff; 10];
        wide[9] = 0x02;
        assert_eq!(read_varlong(&wide), Err(BadVarint));
    }

    proptest! {
        #[test]
        fn every_number_reads_back(value: i64, small: i32) {
            let bytes = written(value);
            prop_assert_eq!(read_varlong(&bytes), Ok((value, bytes.len())));

            let bytes = written(i64::from(small));
            prop_assert_eq!(read_varint(&bytes), Ok((small, bytes.len())));
        }
    }
}
