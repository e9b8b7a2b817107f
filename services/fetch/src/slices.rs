//! Bytes that lie in several shared slices, read as if they were one. Nothing is copied but headers
//! that straddle two slices, and what somebody wants copied.

use std::ops::Range;

use bytes::Bytes;

/// Slices, one behind the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slices {
    parts: Vec<Bytes>,
    /// Where each part ends.
    ends: Vec<usize>,
}

impl Slices {
    pub(crate) fn new(parts: impl IntoIterator<Item = Bytes>) -> Self {
        let mut slices = Self::default();
        slices.extend(parts);
        slices
    }

    pub(crate) fn extend(&mut self, parts: impl IntoIterator<Item = Bytes>) {
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            self.ends.push(self.len() + part.len());
            self.parts.push(part);
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.extend(other.parts);
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The parts that `[start, end)` touches, and what of each; nothing beyond the last byte.
    fn touched(
        &self,
        start: usize,
        end: usize,
    ) -> impl Iterator<Item = (&Bytes, Range<usize>)> + '_ {
        let first = self.ends.partition_point(|part_end| *part_end <= start);
        let parts = self.parts.iter().zip(&self.ends).skip(first);
        parts
            .map(move |(part, part_end)| {
                let part_start = part_end - part.len();
                let from = start.clamp(part_start, *part_end) - part_start;
                let to = end.clamp(part_start, *part_end) - part_start;
                (part, from..to.max(from))
            })
            .take_while(|(_, range)| !range.is_empty())
    }

    /// The pieces of `[start, end)`, each within one slice; nothing beyond the last byte.
    pub(crate) fn pieces(&self, start: usize, end: usize) -> impl Iterator<Item = Bytes> + '_ {
        let touched = self.touched(start, end);
        touched.map(|(part, range)| part.slice(range))
    }

    /// The same, borrowed.
    fn chunks(&self, start: usize, end: usize) -> impl Iterator<Item = &[u8]> + '_ {
        let touched = self.touched(start, end);
        touched.filter_map(|(part, range)| part.get(range))
    }

    /// `N` bytes from `start`; `None` when fewer are there.
    pub(crate) fn array<const N: usize>(&self, start: usize) -> Option<[u8; N]> {
        let end = start.checked_add(N).filter(|end| *end <= self.len())?;
        let mut array = [0; N];
        let mut rest = array.as_mut_slice();
        for chunk in self.chunks(start, end) {
            let (front, behind) = rest.split_at_mut_checked(chunk.len())?;
            front.copy_from_slice(chunk);
            rest = behind;
        }
        Some(array)
    }

    /// `[start, end)` as one slice: shared when it lies in one, else copied. `None` when not all of
    /// it is there.
    pub(crate) fn contiguous(&self, start: usize, end: usize) -> Option<Bytes> {
        if start > end || end > self.len() {
            return None;
        }
        let mut pieces = self.pieces(start, end);
        let first = pieces.next().unwrap_or_default();
        if first.len() == end - start {
            return Some(first);
        }
        let mut whole = Vec::with_capacity(end - start);
        whole.extend_from_slice(&first);
        pieces.for_each(|piece| whole.extend_from_slice(&piece));
        Some(Bytes::from(whole))
    }

    /// The same bytes in memory of their own.
    pub(crate) fn copied(&self) -> Self {
        let mut whole = Vec::with_capacity(self.len());
        self.parts
            .iter()
            .for_each(|part| whole.extend_from_slice(part));
        Self::new([Bytes::from(whole)])
    }

    /// CRC-32C of `[start, end)`.
    pub(crate) fn crc(&self, start: usize, end: usize) -> u32 {
        let chunks = self.chunks(start, end);
        chunks.fold(0, esker_types::crc32c_append)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slices_read_as_if_they_were_one(
            lengths in proptest::collection::vec(0_usize..9, 0..8),
            range in (0_usize..70, 0_usize..70),
        ) {
            let total: usize = lengths.iter().sum();
            let whole: Bytes = (0..total).map(|at| u8::try_from(at).unwrap()).collect();
            let mut at = 0;
            let slices = Slices::new(lengths.iter().map(|length| {
                at += length;
                whole.slice(at - length..at)
            }));
            let (start, end) = (range.0.min(range.1), range.0.max(range.1));

            let found: Vec<u8> = slices.pieces(start, end).flatten().collect();

            let within = &whole[start.min(total)..end.min(total)];
            prop_assert_eq!(slices.len(), total);
            prop_assert_eq!(&found, within);
            prop_assert_eq!(slices.crc(start, end), crc32c::crc32c(within));
            let all_there = end <= total;
            let contiguous = slices.contiguous(start, end);
            prop_assert_eq!(contiguous, all_there.then(|| Bytes::copy_from_slice(within)));
            let array = slices.array::<4>(start);
            let wanted = whole.get(start..start + 4).map(<[u8]>::to_vec);
            prop_assert_eq!(array.map(Vec::from), wanted);
        }
    }

    #[test]
    fn a_copy_shares_nothing() {
        let part = Bytes::from(vec![7; 100]);
        let slices = Slices::new([part.slice(90..), part.slice(..5)]);

        let copied = slices.copied();

        assert_eq!(copied.contiguous(0, 15), slices.contiguous(0, 15));
        drop(slices);
        assert!(part.try_into_mut().is_ok(), "nobody else has the part");
    }

    #[test]
    fn what_lies_in_one_slice_is_shared() {
        let part = Bytes::from(vec![7; 100]);
        let slices = Slices::new([part.clone(), part.clone()]);

        let inside = slices.contiguous(110, 120).unwrap();

        assert_eq!(inside.as_ptr(), part.slice(10..).as_ptr());
    }
}
