//! A bounded cursor over stored or received bytes; the base of every decoder of ours.
//!
//! Never allocates, never panics: a read past the end is [`ShortBytes`].

/// The bytes ended before the value did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes end early: {wanted} more wanted at position {position}")]
pub struct ShortBytes {
    /// Where the value began.
    pub position: usize,
    /// Bytes the value needs from there.
    pub wanted: usize,
}

/// Reads big-endian values from a slice, front to back.
#[derive(Clone, Debug)]
pub struct ByteReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

macro_rules! read_number {
    ($($name:ident $kind:ty),*) => {$(
        /// Reads one big-endian number.
        ///
        /// # Errors
        /// [`ShortBytes`] when fewer bytes are left.
        pub fn $name(&mut self) -> Result<$kind, ShortBytes> {
            self.array().map(<$kind>::from_be_bytes)
        }
    )*};
}

impl<'a> ByteReader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes not yet read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`ShortBytes`] when fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ShortBytes> {
        let short = ShortBytes {
            position: self.position,
            wanted: count,
        };
        let end = self.position.checked_add(count).ok_or(short)?;
        let taken = self.bytes.get(self.position..end).ok_or(short)?;
        self.position = end;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`ShortBytes`] when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ShortBytes> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    read_number!(u8 u8, u16 u16, u32 u32, u64 u64, i8 i8, i16 i16, i32 i32, i64 i64, u128 u128);

    /// Bytes behind a `u32` length; the length is compared before anything is taken.
    ///
    /// # Errors
    /// [`ShortBytes`] when fewer are left than the length says.
    pub fn bytes_u32(&mut self) -> Result<&'a [u8], ShortBytes> {
        let count = self.u32()?;
        let short = ShortBytes {
            position: self.position,
            wanted: usize::MAX,
        };
        self.take(usize::try_from(count).map_err(|_| short)?)
    }

    /// A count that is believable: `count * smallest_bytes` fits what is left, so memory taken
    /// for it is bounded by the input.
    ///
    /// # Errors
    /// [`ShortBytes`] when it does not fit.
    pub fn count_u32(&mut self, smallest_bytes: usize) -> Result<usize, ShortBytes> {
        let position = self.position;
        let count = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        let wanted = count.saturating_mul(smallest_bytes.max(1));
        if wanted > self.remaining() {
            return Err(ShortBytes { position, wanted });
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_past_the_end_is_an_error_and_moves_nothing() {
        let mut reader = ByteReader::new(&[0, 0, 0, 9, 1]);

        assert_eq!(
            reader.clone().bytes_u32(),
            Err(ShortBytes {
                position: 4,
                wanted: 9
            })
        );
        assert_eq!(
            reader.clone().count_u32(1),
            Err(ShortBytes {
                position: 0,
                wanted: 9
            })
        );
        assert_eq!(reader.u32(), Ok(9));
        assert_eq!(
            reader.u16(),
            Err(ShortBytes {
                position: 4,
                wanted: 2
            })
        );
        assert_eq!(reader.remaining(), 1);
    }
}
